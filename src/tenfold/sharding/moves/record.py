"""A move as the catalog keeps it: what goes where, who moves it, how far it is. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.phases import Phase

REFERENCE = BUCKETS
"""The number by which the reference tables are fenced, as if they were one bucket; pinned tables have the next ones."""
ACTIVE = "SELECT id, phase, token, legs, detail FROM tf_move WHERE phase <> 'done' ORDER BY id"
LATEST = "SELECT id, phase, token, legs, detail FROM tf_move ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Leg:
    """Buckets that go from one shard to another; from REFERENCE + 1 on, each number is that of a pinned table."""

    source: str
    target: str
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """One move. There is at most one that is not done.

    legs    what goes where; none: a shard that joins, for which only the reference tables are fenced
    detail  joins: the shard that joins; servers: shard → what its server says that it is, and must go on saying;
            stopped: why the mover gave up; result: how a move that is done ended (moved, undone, cancelled)
    """

    id: int
    phase: Phase
    token: int
    legs: tuple[Leg, ...]
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def buckets(self) -> frozenset[int]:
        """All that it moves, or fences."""
        moving = frozenset(bucket for leg in self.legs for bucket in leg.buckets)
        return moving | {REFERENCE} if self.detail.get("joins") else moving

    @property
    def shards(self) -> frozenset[str]:
        """All that take part."""
        return frozenset(shard for leg in self.legs for shard in (leg.source, leg.target))


def move_of(row: Sequence[Any]) -> Move:
    """A row of ACTIVE."""
    legs = tuple(Leg(one["source"], one["target"], tuple(numbers(one["buckets"]))) for one in json.loads(row[3]))
    return Move(row[0], Phase(row[1]), int(row[2]), legs, json.loads(row[4]))


def legs_text(legs: Iterable[Leg]) -> str:
    """Legs as the catalog keeps them."""
    return json.dumps(
        [{"source": leg.source, "target": leg.target, "buckets": spans(leg.buckets)} for leg in legs],
        separators=(",", ":"),
    )


def spans(buckets: Iterable[int]) -> str:
    """Bucket numbers for people: "0-3,17"."""
    found: list[list[int]] = []
    for bucket in sorted(set(buckets)):
        if found and found[-1][1] == bucket - 1:
            found[-1][1] = bucket
        else:
            found.append([bucket, bucket])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def numbers(text: str) -> list[int]:
    """The bucket numbers of "0-3,17", in order. Raises ValueError for what is no such list."""
    found: list[int] = []
    for part in text.split(",") if text else []:
        first, dash, last = part.strip().partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(part)
        span = range(int(first), int(last if dash else first) + 1)
        if not span:
            raise ValueError(part)
        found += span
    return found
