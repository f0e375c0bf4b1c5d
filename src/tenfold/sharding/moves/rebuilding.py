"""The catalog's map out of what all shards still say: the newest word on every bucket, or none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.record import REFERENCE, spans

MapRow = tuple[int, str, int]
FenceRow = tuple[int, str, int, str]
"""bucket, state, epoch, to_shard."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one shard says. copy: its tf_bucket; fences: its tf_fence."""

    copy: Sequence[MapRow] = ()
    fences: Sequence[FenceRow] = ()


@dataclass(slots=True)
class Rebuilt:
    """map      bucket, or number → (owner, epoch)
    conflicts  sentences: what two shards say otherwise with one epoch, or nobody knows
    """

    map: dict[int, tuple[str, int]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The largest."""
        return max((epoch for _, epoch in self.map.values()), default=1)


def rebuild(told: Mapping[str, Told]) -> Rebuilt:
    """For every bucket the owner with the highest epoch that any shard knows.

    A fence that is open, or fenced, is its own shard's claim; one that has moved names the owner. An incoming one
    claims nothing: its shard has not been given the bucket.
    """
    claims: dict[int, dict[str, int]] = {}
    for shard, one in told.items():
        for bucket, owner, epoch in one.copy:
            _claim(claims, bucket, owner, epoch)
        for bucket, state, epoch, to in one.fences:
            if bucket == REFERENCE:
                _claim(claims, bucket, "", epoch)
            elif state in ("open", "fenced"):
                _claim(claims, bucket, shard, epoch)
            elif state == "moved":
                _claim(claims, bucket, to, epoch)
    found = Rebuilt()
    unknown = [bucket for bucket in range(BUCKETS) if bucket not in claims]
    if unknown:
        found.conflicts.append(f"no shard knows who owns bucket{'s' * (len(unknown) > 1)} {spans(unknown)}")
    torn: dict[tuple[str, ...], list[int]] = {}
    for bucket, owners in sorted(claims.items()):
        newest = max(owners.values())
        best = sorted(owner for owner, epoch in owners.items() if epoch == newest)
        if len(best) > 1:
            torn.setdefault(tuple(best), []).append(bucket)
        else:
            found.map[bucket] = (best[0], newest)
    for shards, buckets in torn.items():
        found.conflicts.append(f"{' and '.join(shards)} are both said to own {_named(buckets)} since the same epoch")
    return found


def _claim(claims: dict[int, dict[str, int]], bucket: int, owner: str, epoch: int) -> None:
    known = claims.setdefault(bucket, {})
    known[owner] = max(known.get(owner, 0), int(epoch))


def _named(buckets: Sequence[int]) -> str:
    below, beyond = [b for b in buckets if b < BUCKETS], [b for b in buckets if b >= BUCKETS]
    parts = [f"bucket{'s' * (len(below) > 1)} {spans(below)}"] if below else []
    return " and ".join([*parts, *(f"the pinned table with the number {number}" for number in beyond)])


def members_of(rebuilt: Rebuilt, told: Mapping[str, Told], order: Iterable[str]) -> list[str]:
    """The shards that belong to the platform: they own something, or the fence of their reference tables is open.

    One that has left keeps that fence closed.
    """
    owners = {owner for owner, _ in rebuilt.map.values()}
    open_to = {
        shard for shard, one in told.items() if any(row[0] == REFERENCE and row[1] == "open" for row in one.fences)
    }
    return [shard for shard in order if shard in owners | open_to]
