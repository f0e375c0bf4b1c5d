"""What a move would be before anybody begins it: legs, what they carry, and what stands in the way. Edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.errors import MoveError
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Grouped, Pinned
from tenfold.sharding.moves.obstacles import (
    Obstacle,
    leaving_obstacle,
    platform_obstacles,
    server_obstacles,
    space_obstacles,
    table_obstacles,
    target_obstacles,
    unknown_shard,
)
from tenfold.sharding.moves.plan import plan_moves
from tenfold.sharding.moves.record import REFERENCE, Leg, numbers, spans
from tenfold.sharding.moves.survey import Survey, survey
from tenfold.topology.model import Topology

ROWS_PER_S, BYTES_PER_S = 30_000.0, 20e6
"""What a copy is taken to reach where nobody limits it: see benchmarks/bench_moves.py."""
WAITS_S = 4.0
"""Leases that are waited for one after the other, in leases."""


@dataclass(frozen=True, slots=True)
class LegSize:
    """A leg and what it carries; tables: pinned ones, by name."""

    leg: Leg
    rows: int
    bytes: int
    tables: tuple[str, ...] = ()

    @property
    def buckets(self) -> int:
        """Without the numbers of pinned tables."""
        return sum(bucket < BUCKETS for bucket in self.leg.buckets)


@dataclass(frozen=True, slots=True)
class Proposal:
    """detail: for the record of the move; notes: what a person should know; seconds: how long it may take."""

    legs: tuple[LegSize, ...]
    obstacles: tuple[Obstacle, ...]
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "legs": [
                {
                    "source": one.leg.source, "target": one.leg.target, "buckets": spans(one.leg.buckets),
                    "count": one.buckets, "tables": one.tables, "rows": one.rows, "bytes": one.bytes,
                }
                for one in self.legs
            ],
            "obstacles": [{"said": one.said, "remedy": one.remedy} for one in self.obstacles],
            "seconds": round(self.seconds, 1),
            "notes": self.notes,
        }  # fmt: skip


def propose(topology: Topology, rows_per_s: float | None = None) -> Proposal:
    """The fewest buckets that give every member its share by weight."""
    seen = survey(topology)
    weights = {
        shard: topology.database.shards[shard].weight if shard in seen.weighed else 0
        for shard in seen.catalog.layout.shards
    }
    legs = plan_moves(seen.catalog.map, weights, seen.bytes)
    return _judged(topology, seen, legs, rows_per_s)


def propose_drain(topology: Topology, shard: str, rows_per_s: float | None = None) -> Proposal:
    """All buckets of a shard to the others by weight; its pinned tables, which may need each other, to one of them."""
    seen = survey(topology)
    layout, map = seen.catalog.layout, seen.catalog.map
    _refuse_unknown(topology, seen, shard)
    if shard == layout.catalog:
        raise MoveError(f"{shard} holds the catalog and cannot be drained", hint="drain another shard")
    weights = {
        one: topology.database.shards[one].weight if one in seen.weighed and one != shard else 0
        for one in layout.shards
    }
    legs = list(plan_moves(map, weights, seen.bytes, only=shard)) if shard in map.shares() else []
    pinned = tuple(seen.catalog.numbers[name] for name in _pinned_on(seen, shard))
    if pinned:
        target = next((leg.target for leg in legs), None) or max(
            (one for one in weights if weights[one]), key=lambda one: weights[one], default=None
        )
        if target is None:
            raise MoveError(f"no shard is left for the tables of {shard}", hint="`tenfold shard add` another first")
        legs = _merged([*legs, Leg(shard, target, pinned)])
    return _judged(topology, seen, legs, rows_per_s, {"drains": shard})


def propose_buckets(topology: Topology, text: str, to: str, rows_per_s: float | None = None) -> Proposal:
    """The buckets of "17,40-52" to a shard. Raises MoveError, by name, for a list that cannot be meant."""
    try:
        listed = numbers(text)
    except ValueError as error:
        raise MoveError(f'"{error}" in the list of buckets is none', hint="write numbers and spans: 17,40-52") from None
    beyond = sorted({bucket for bucket in listed if bucket >= BUCKETS})
    if beyond:
        raise MoveError(f"there is no bucket {spans(beyond)}", hint=f"they are numbered 0 to {BUCKETS - 1}")
    twice = sorted({bucket for bucket in listed if listed.count(bucket) > 1}) if len(set(listed)) < len(listed) else []
    if twice:
        raise MoveError(f"the list names {spans(twice)} more than once", hint="name each bucket once")
    if not listed:
        raise MoveError("the list of buckets is empty", hint="write numbers and spans: 17,40-52")
    seen = survey(topology)
    _refuse_unknown(topology, seen, to)
    return _judged(topology, seen, _legs_to(seen, listed, to, "bucket"), rows_per_s)


def propose_table(topology: Topology, tables: Sequence[str], to: str, rows_per_s: float | None = None) -> Proposal:
    """Pinned tables to a shard. Raises MoveError for one that is not pinned."""
    seen = survey(topology)
    _refuse_unknown(topology, seen, to)
    listed = []
    for table in dict.fromkeys(name.lower() for name in tables):
        placed = seen.catalog.layout.placed(table)
        if not isinstance(placed, Pinned):
            kind = "lies with its group" if isinstance(placed, Grouped) else "is on every shard"
            raise MoveError(f"{placed.table} is not pinned: it {kind}", hint="move buckets: --buckets 17,40-52")
        listed.append(seen.catalog.numbers[table])
    return _judged(topology, seen, _legs_to(seen, listed, to, "table"), rows_per_s)


def _refuse_unknown(topology: Topology, seen: Survey, shard: str) -> None:
    members = seen.catalog.layout.shards
    if shard not in members:
        found = unknown_shard(shard, members, topology.database.shards)
        raise MoveError(found.said, hint=found.remedy)


def _legs_to(seen: Survey, listed: Iterable[int], to: str, what: str) -> list[Leg]:
    by_source: dict[str, list[int]] = {}
    for bucket in sorted(listed):
        by_source.setdefault(seen.catalog.map.shard_of(bucket), []).append(bucket)
    here = by_source.pop(to, [])
    if here:
        names = _names(seen, here) if what == "table" else f"bucket{'s' * (len(here) > 1)} {spans(here)}"
        raise MoveError(
            f"{names} {'are' if len(here) > 1 else 'is'} on {to} already", hint=f"leave {spans(here)} out"
            if what == "bucket" and by_source else "nothing has to move",
        )  # fmt: skip
    return [Leg(source, to, tuple(buckets)) for source, buckets in by_source.items()]


def _names(seen: Survey, listed: Iterable[int]) -> str:
    known = {number: seen.catalog.layout.tables[name].table for name, number in seen.catalog.numbers.items()}
    return ", ".join(known[number] for number in listed)


def _pinned_on(seen: Survey, shard: str) -> list[str]:
    tables = seen.catalog.layout.tables.items()
    return [name for name, placed in tables if isinstance(placed, Pinned) and placed.shard == shard]


def _merged(legs: Iterable[Leg]) -> list[Leg]:
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for leg in legs:
        found[leg.source, leg.target] = found.get((leg.source, leg.target), ()) + leg.buckets
    return [Leg(source, target, tuple(sorted(buckets))) for (source, target), buckets in found.items()]


def _judged(
    topology: Topology,
    seen: Survey,
    legs: Iterable[Leg],
    rows_per_s: float | None,
    detail: dict[str, Any] | None = None,
) -> Proposal:
    legs = tuple(legs)
    known = {number: seen.catalog.layout.tables[name].table for name, number in seen.catalog.numbers.items()}
    sizes = tuple(
        LegSize(
            leg, sum(seen.rows.get(bucket, 0) for bucket in leg.buckets),
            sum(seen.bytes.get(bucket, 0) for bucket in leg.buckets),
            tuple(known[bucket] for bucket in leg.buckets if bucket > REFERENCE),
        )
        for leg in legs
    )  # fmt: skip
    rows, size = sum(one.rows for one in sizes), sum(one.bytes for one in sizes)
    rate = min(rows_per_s or ROWS_PER_S, ROWS_PER_S)
    # Copied once, and read on both sides once more to compare.
    seconds = 1.5 * max(rows / rate, size / BYTES_PER_S) + WAITS_S * seen.catalog.lease_s if legs else 0.0
    obstacles = tuple(dict.fromkeys(_obstacles(seen, sizes, detail or {})))
    return Proposal(sizes, obstacles, seconds, detail or {}, tuple(_notes(topology, seen)))


def _obstacles(seen: Survey, sizes: Sequence[LegSize], detail: dict[str, Any]) -> Iterable[Obstacle]:
    layout, numbered = seen.catalog.layout, seen.catalog.numbers
    taking_part = {shard for one in sizes for shard in (one.leg.source, one.leg.target)}
    yield from platform_obstacles(seen.settings, seen.catalog.moves, seen.routers, taking_part, seen.now_s)
    for shard in sorted({one.leg.target for one in sizes} & seen.leaving):
        yield leaving_obstacle(shard)
    if seen.catalog.moves:
        return  # what it has put on the shards is nothing to be removed
    for shard in sorted(taking_part):
        yield from server_obstacles(shard, seen.facts[shard])
    for one in sizes:
        moving = {name for name, number in numbered.items() if number in one.leg.buckets}
        if one.buckets:
            moving |= {name for name, placed in layout.tables.items() if isinstance(placed, Grouped)}
        source, target = one.leg.source, one.leg.target
        yield from table_obstacles(layout, numbered, moving, source, seen.facts[source])
        yield from target_obstacles(layout, moving, set(one.leg.buckets), source, target, seen.facts)
        groups = {name for name in moving if isinstance(layout.tables[name], Grouped)}
        yield from table_obstacles(layout, numbered, groups, target, seen.facts[target])
    incoming: dict[str, int] = {}
    for one in sizes:
        incoming[one.leg.target] = incoming.get(one.leg.target, 0) + one.bytes
    yield from space_obstacles(incoming, seen.facts)


def _notes(topology: Topology, seen: Survey) -> Iterable[str]:
    layout = seen.catalog.layout
    for shard in topology.database.shards:
        if shard not in layout.shards:
            yield f"{shard} is in the file and not yet part of the platform: `tenfold shard add {shard}`"
    for shard, tables in topology.database.pinned.items():
        for table in tables:
            placed = layout.tables[table.lower()]
            if isinstance(placed, Pinned) and placed.shard != shard:
                yield (
                    f"{table} is on {placed.shard}, and the file wants it on {shard}: "
                    f"`tenfold shard move --table {table} --to {shard}`"
                )
