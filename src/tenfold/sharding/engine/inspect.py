"""Holds the file against the schema that the shards really have. Edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenfold.errors import NodeError, TenfoldError
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.layout import Grouped, group_mistakes, layout_of
from tenfold.sharding.shapes import TableShape, read_sqlite_shape
from tenfold.topology.model import Topology


@dataclass(slots=True)
class Inspection:
    """mistakes: complete lines; notes: what could not be seen; reachable: whether all was seen."""

    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reachable: bool = True


def inspect(topology: Topology) -> Inspection:
    """Compare every declared table with every shard it should be on; writes nothing, creates no file."""
    found = Inspection()
    layout = layout_of(topology.database, topology.catalog_shard)
    down: dict[str, TenfoldError] = {}
    with one_off_runner(topology, mode="ro") as runner:
        for name, placed in layout.tables.items():
            seen: dict[str, TableShape] = {}
            for shard in layout.shards_of(name):
                if shard in down:
                    continue
                try:
                    shape = runner.run(read_sqlite_shape(shard, placed.table))
                except NodeError as error:
                    down[shard] = error
                    continue
                if shape is not None:
                    seen[shard] = shape
            _judge(found, placed.table, seen, [s for s in layout.shards_of(name) if s not in down and s not in seen])
            if isinstance(placed, Grouped):
                for shape in seen.values():
                    found.mistakes += [line for line in group_mistakes(placed, shape) if line not in found.mistakes]
    for shard, failure in down.items():
        found.notes.append(f"columns not checked: {shard} cannot be read ({failure})")
        found.reachable = False
    return found


def _judge(found: Inspection, table: str, seen: dict[str, TableShape], absent: list[str]) -> None:
    """Note a table that is missing, on all shards or on some, or that differs between them."""
    if absent and not seen:
        found.notes.append(f"columns not checked: {table} does not exist yet")
        found.reachable = False
    elif absent:
        found.mistakes.append(
            f"tenfold.toml: database: {table} is on {', '.join(seen)} and not on {', '.join(absent)}; "
            "create it there, through Tenfold"
        )
    shapes = list(seen.items())
    for shard, shape in shapes[1:]:
        first_shard, first = shapes[0]
        if shape.columns != first.columns or shape.primary_key != first.primary_key:
            columns = sorted(set(shape.columns.items()) ^ set(first.columns.items()))
            names = ", ".join(dict.fromkeys(name for name, _ in columns)) or "the primary key"
            found.mistakes.append(
                f"tenfold.toml: database: {table} differs between {first_shard} and {shard}: {names}; "
                "make the schema the same on all shards"
            )
