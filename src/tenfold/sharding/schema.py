"""What a shard says of a table, whichever engine it is. Pure."""

from __future__ import annotations

from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.mysqlshapes import read_mysql_shape
from tenfold.sharding.ports import Steps
from tenfold.sharding.shapes import TableShape, read_sqlite_shape


def read_shape(shard: str, table: str, dialect: Dialect) -> Steps[TableShape | None]:
    """Ask a shard for the shape of `table`; None when it has no such table."""
    read = read_mysql_shape if dialect is MYSQL else read_sqlite_shape
    return read(shard, table)
