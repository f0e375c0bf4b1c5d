"""What `\\d` of the shell shows: the tables and where they live, or one table's columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenfold.errors import NodeError, StatementError, TenfoldError

if TYPE_CHECKING:
    from tenfold.sharding.layout import Layout, Placed
    from tenfold.sharding.ports import Steps
    from tenfold.sharding.shapes import TableShape

Rows = tuple[Sequence[str], list[Sequence[str | None]]]
"""(names of columns, rows)."""


def tables(layout: Layout) -> Rows:
    """Every declared table: its name, how it is placed, its shards."""
    from tenfold.sharding.layout import Grouped, Pinned

    rows: list[Sequence[str | None]] = []
    for _, placed in sorted(layout.tables.items()):
        if isinstance(placed, Grouped):
            how, where = f"group {placed.group}, by {placed.key}", "all shards"
        elif isinstance(placed, Pinned):
            how, where = "pinned", placed.shard
        else:
            how, where = "reference", "a copy on every shard"
        rows.append((placed.table, how, where))
    return ("table", "kind", "where"), rows


def columns(layout: Layout, table: str) -> Steps[Rows]:
    """The columns of one table, as the first of its shards that answers has them. Raises StatementError, NodeError."""
    from tenfold.sharding.layout import Grouped

    placed = layout.placed(table)
    shape = yield from _shape(layout, placed)
    rows: list[Sequence[str | None]] = []
    for name, column in shape.columns.items():
        marks = ["primary key"] if name in shape.primary_key else []
        marks += [
            f"unique ({', '.join(index.columns)})" if len(index.columns) > 1 else "unique"
            for index in shape.indexes
            if index.unique and index.columns[0] == name and index.columns != shape.primary_key
        ]
        if isinstance(placed, Grouped):
            marks += ["shard key"] if name == placed.key else []
            marks += ["unique over all shards"] if name in placed.unique else []
        rows.append(
            (column.name, column.declared, "yes" if column.nullable else "no", column.default, ", ".join(marks))
        )
    return ("column", "type", "null", "default", "key"), rows


def _shape(layout: Layout, placed: Placed) -> Steps[TableShape]:
    from tenfold.sharding.schema import read_shape

    down: TenfoldError | None = None
    for shard in layout.shards_of(placed.table):
        try:
            shape = yield from read_shape(shard, placed.table, layout.dialect)
        except NodeError as error:
            down = error
            continue
        if shape is not None:
            return shape
    raise down or StatementError(f"no such table: {placed.table}", hint="\\d lists the declared ones; create it first")
