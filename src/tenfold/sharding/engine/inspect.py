"""Holds the file against the schema that the shards really have. Edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenfold.errors import NodeError, TenfoldError
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.layout import layout_of
from tenfold.sharding.schema import read_shape
from tenfold.sharding.schemarules import drift, table_mistakes
from tenfold.sharding.shapes import TableShape
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
                    shape = runner.run(read_shape(shard, placed.table, layout.dialect))
                except NodeError as error:
                    down[shard] = error
                    continue
                if shape is not None:
                    seen[shard] = shape
            _judge(found, placed.table, seen, [s for s in layout.shards_of(name) if s not in down and s not in seen])
            for shape in seen.values():
                lines = table_mistakes(layout, placed, shape)
                found.mistakes += [line for line in lines if line not in found.mistakes]
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
    if seen:
        found.mistakes += drift(table, seen)
