"""What `\\d` of the shell shows: the tables and where they live, or one table's columns. Edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenfold.errors import NodeError, StatementError, TenfoldError

if TYPE_CHECKING:
    from tenfold.sharding.layout import Layout
    from tenfold.sharding.shapes import TableShape
    from tenfold.topology.model import Topology

Rows = tuple[Sequence[str], list[Sequence[str | None]]]
"""(names of columns, rows)."""


def tables(layout: Layout) -> Rows:
    """Every declared table: its name, how it is placed, its shards."""
    from tenfold.sharding.layout import Grouped, Pinned

    rows: list[Sequence[str | None]] = []
    for name, placed in sorted(layout.tables.items()):
        if isinstance(placed, Grouped):
            how, where = f"group {placed.group}, by {placed.key}", "all shards"
        elif isinstance(placed, Pinned):
            how, where = "pinned", placed.shard
        else:
            how, where = "reference", "a copy on every shard"
        rows.append((layout.tables[name].table, how, where))
    return ("table", "kind", "where"), rows


def columns(topology: Topology, layout: Layout, table: str) -> Rows:
    """The columns of one table, as the first of its shards that answers has them. Raises StatementError, NodeError."""
    shape = _shape(topology, layout, table)
    rows: list[Sequence[str | None]] = []
    for name, column in shape.columns.items():
        marks = ["primary key"] if name in shape.primary_key else []
        marks += [
            f"unique ({', '.join(index.columns)})" if len(index.columns) > 1 else "unique"
            for index in shape.indexes
            if index.unique and index.columns[0] == name and index.columns != shape.primary_key
        ]
        key = getattr(layout.placed(table), "key", None)
        marks += ["shard key"] if name == key else []
        marks += ["unique over all shards"] if name in getattr(layout.placed(table), "unique", ()) else []
        rows.append(
            (column.name, column.declared, "yes" if column.nullable else "no", column.default, ", ".join(marks))
        )
    return ("column", "type", "null", "default", "key"), rows


def _shape(topology: Topology, layout: Layout, table: str) -> TableShape:
    from tenfold.sharding.engine.router import one_off_runner
    from tenfold.sharding.schema import read_shape

    down: TenfoldError | None = None
    with one_off_runner(topology, mode="ro") as runner:
        for shard in layout.shards_of(table):
            try:
                shape = runner.run(read_shape(shard, layout.placed(table).table, layout.dialect))
            except NodeError as error:
                down = error
                continue
            if shape is not None:
                return shape
    raise down or StatementError(f"no such table: {table}", hint="\\d lists the declared ones; create it first")
