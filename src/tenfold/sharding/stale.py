"""Rows on their way to another shard, or left behind there, that hold a value which is free by now. Pure.

A unique index of a shard sees them, though nobody else does: a copy that has not followed yet, and what remains of a
row until its move is finished. Whoever has reserved the value knows that no row holds it any more; so one that still
does is old, and its change is marked on the shard that owns it. It can be deleted: what follows the marks, forward or
back, puts the row there as it is then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenfold.errors import TenfoldError
from tenfold.sharding.bucketsql import bucket_sql
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.ports import Send, Steps

# Its triggers let a mover by. The connection is closed after it, so that nothing else ever gets by.
_PASS = {True: "SET @tf_mover = 1", False: "SELECT tf_pass(1)"}
_PASS_NO_MORE = {True: "SET @tf_mover = NULL", False: "SELECT tf_pass(0)"}


def make_room(shard: str, table: GroupTable, values: Iterable[tuple[str, Any]], hidden: frozenset[int]) -> Steps[None]:
    """Before a write in an open transaction: delete what holds one of its values and is not to be seen.

    values  (column, value) that are reserved for the write
    hidden  the buckets of which the shard may hold such rows
    """
    dialect = table.shape.dialect
    bucket = bucket_sql(dialect.quoted(table.shape.columns[table.key].name), table.key_type, dialect)
    listed = ", ".join(map(str, sorted(hidden)))
    mysql = dialect is MYSQL
    for column, value in values:
        name = dialect.quoted(table.shape.columns[column].name)
        held = f"FROM {dialect.quoted(table.name)} WHERE {name} = ? AND {bucket} IN ({listed})"
        if not (yield Send(shard, f"SELECT 1 {held}", (value,), buckets=())).rows:
            continue
        yield Send(shard, _PASS[mysql], buckets=(), spoils=True)
        try:
            yield Send(shard, f"DELETE {held}", (value,), buckets=())
        except TenfoldError:
            yield Send(shard, _PASS_NO_MORE[mysql], buckets=())
            raise
        yield Send(shard, _PASS_NO_MORE[mysql], buckets=())
