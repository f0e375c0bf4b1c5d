"""What a shard says of a table, whichever engine it is. Pure."""

from __future__ import annotations

from dataclasses import replace

from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.mysqlshapes import read_mysql_shape
from tenfold.sharding.ports import Steps
from tenfold.sharding.shapes import OWN_TRIGGER, TableShape, read_sqlite_shape


def read_shape(shard: str, table: str, dialect: Dialect) -> Steps[TableShape | None]:
    """Ask a shard for the shape of `table`, without the triggers of a move; None when it has no such table."""
    read = read_mysql_shape if dialect is MYSQL else read_sqlite_shape
    shape = yield from read(shard, table)
    if shape is None:
        return None
    return replace(shape, triggers=tuple(name for name in shape.triggers if not OWN_TRIGGER.fullmatch(name)))
