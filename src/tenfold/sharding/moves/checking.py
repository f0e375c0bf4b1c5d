"""Compares what is to be the same on several shards: reference tables, and the rows of a move on both sides. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tenfold.errors import MoveError
from tenfold.sharding.catalog import load
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Referenced
from tenfold.sharding.moves.codec import row_text
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import REFERENCE, Leg, Move
from tenfold.sharding.moves.rows import read_marks
from tenfold.sharding.moves.tables import Moved, moved, table_names
from tenfold.sharding.moves.verify import Difference, compare
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import TableShape
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

SHOWN = 100
AGAIN_S = 1.0
"""A row that differs is looked at once more after so long: it may have been on its way."""
_COPIED = {Phase.FOLLOWING, Phase.CUTTING, Phase.SERVING, Phase.RETURNING}
"""Phases in which rows are to be the same on both sides, but for those that are marked."""


@dataclass(slots=True)
class Checked:
    """buckets: of how many both sides were compared; differences: rows that are not the same; tables: reference tables
    that are not, in sentences."""

    buckets: int = 0
    reference: int = 0
    differences: list[Difference] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "buckets": self.buckets, "reference_tables": self.reference, "mistakes": self.tables,
            "differences": [
                {"table": one.table, "key": one.key, "bucket": one.bucket, "kind": one.kind} for one in self.differences
            ],
        }  # fmt: skip


def check(
    topology: Topology, buckets: Collection[int] | None = None, sleep: Callable[[float], None] = time.sleep
) -> Checked:
    """Compare. buckets: only those, and no reference tables. Raises MoveError for those that lie on one shard alone."""
    shards = Shards(topology)
    try:
        catalog = shards.ask(load(topology))
        found = Checked()
        if buckets is None:
            _check_reference(shards, catalog, found)
        move = next((move for move in catalog.moves if move.legs and move.phase in _COPIED), None)
        moving = move.buckets if move else frozenset()
        alone = sorted(set(buckets or ()) - moving)
        if alone:
            raise MoveError(
                f"bucket {alone[0]} lies on {catalog.map.shard_of(alone[0])} alone: nothing can be compared with it",
                hint="while a move follows or serves, its buckets can be compared; --placement looks at all others",
            )
        for leg in move.legs if move else ():
            chosen = [bucket for bucket in leg.buckets if buckets is None or bucket in buckets]
            if move is not None and chosen:
                _check_leg(shards, catalog, move, leg, chosen, found, sleep)
        return found
    finally:
        shards.close()


def _check_reference(shards: Shards, catalog: Catalog, found: Checked) -> None:
    layout = catalog.layout
    for placed in layout.tables.values():
        if not isinstance(placed, Referenced):
            continue
        held: dict[str, dict[str, int]] = {}
        named: Moved | None = None
        for shard in layout.shards:
            shape = shards.ask(read_shape(shard, placed.table, layout.dialect))
            if shape is not None:
                named = Moved(0, shape, "", pinned=REFERENCE)
                rows: dict[str, int] = {}
                for (text,) in shards.rows(shard, f"SELECT {row_text(named)} FROM {named.name}"):
                    rows[str(text)] = rows.get(str(text), 0) + 1
                held[shard] = rows
        if not held or named is None:
            continue
        found.reference += 1
        (first, rows), *others = held.items()
        for shard, theirs in others:
            if theirs != rows:
                lacking = sum(theirs.get(text, 0) < count for text, count in rows.items())
                more = sum(rows.get(text, 0) < count for text, count in theirs.items())
                found.tables.append(
                    f"{placed.table} is not the same on {first} and {shard}: {lacking} rows are only on {first}, "
                    f"{more} only on {shard}"
                )


def _check_leg(
    shards: Shards, catalog: Catalog, move: Move, leg: Leg, buckets: list[int], found: Checked,
    sleep: Callable[[float], None],
) -> None:  # fmt: skip
    tables = [table for table in _tables(shards, catalog, move, leg) if table.of(buckets)]
    for owner, other in ((leg.source, leg.target), (leg.target, leg.source)):
        mine = [bucket for bucket in buckets if catalog.map.shard_of(bucket) == owner]
        if not mine:
            continue
        found.buckets += sum(bucket < BUCKETS for bucket in mine)
        seen = _differing(shards, move, owner, other, tables, mine)
        if seen:
            sleep(AGAIN_S)
            again = _differing(shards, move, owner, other, tables, sorted({one.bucket for one in seen}))
            found.differences += sorted(
                set(seen) & set(again), key=lambda one: (one.table, one.bucket, one.key)
            )  # fmt: skip


def _differing(
    shards: Shards, move: Move, owner: str, other: str, tables: list[Moved], buckets: list[int]
) -> list[Difference]:
    """Rows that differ and are not marked as changed where they are served."""
    seen = list(compare(shards, move.id, owner, other, tables, buckets))
    if not seen:
        return []
    marked: set[tuple[str, str]] = set()
    for table in tables:
        for key, *_ in shards.rows(owner, read_marks(move.id, table, buckets, 1_000_000)):
            marked.add((table.shape.name, str(key)))
    return [one for one in seen if (one.table, one.key) not in marked]


def _tables(shards: Shards, catalog: Catalog, move: Move, leg: Leg) -> list[Moved]:
    found = []
    for number, name in enumerate(table_names(catalog.layout, dict(catalog.numbers), move.legs)):
        placed = catalog.layout.tables.get(name)
        shape: TableShape | None = shards.ask(
            read_shape(leg.source, placed.table if placed else name, catalog.layout.dialect)
        )
        if shape is not None:
            found.append(moved(catalog.layout, dict(catalog.numbers), number, name, shape))
    return found
