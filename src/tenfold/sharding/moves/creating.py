"""Tables made on one shard as another has them. Edge."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenfold.errors import MoveError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.tables import ours

_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+\b")


def statements(shards: Shards, model: str, table: str) -> Iterator[str]:
    """What creates `table` anew as it is on the shard `model`: the table and, on SQLite, its indexes and triggers.

    On MySQL triggers are left out: SHOW CREATE TRIGGER needs a delimiter and a definer, and what moves has none.
    """
    if shards.dialect is MYSQL:
        created = str(shards.rows(model, f"SHOW CREATE TABLE {shards.dialect.quoted(table)}")[0][1])
        yield _COUNTER.sub("", created)
        return
    rows = shards.rows(
        model,
        "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = lower(?) AND sql IS NOT NULL"
        " ORDER BY CASE type WHEN 'table' THEN 0 ELSE 1 END, name",
        (table,),
    )
    yield from (sql for _, name, sql in rows if ours(name) is None)


def has_table(shards: Shards, shard: str, table: str) -> bool:
    """Whether a shard has such a table."""
    if shards.dialect is MYSQL:
        sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
    else:
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
    return bool(shards.rows(shard, sql, (table,)))


def is_empty(shards: Shards, shard: str, table: str) -> bool:
    """Whether a table that is there holds no row."""
    return not shards.rows(shard, f"SELECT 1 FROM {shards.dialect.quoted(table)} LIMIT 1")


def create_like(shards: Shards, model: str, shard: str, table: str) -> None:
    """Create `table` on a shard. Its foreign keys may name tables that come later."""
    for statement in statements(shards, model, table):
        shards.execute(shard, statement)


def make_room(shards: Shards, source: str, target: str, table: str) -> None:
    """Have an empty pinned table on `target`, as it is on `source` now.

    One that is there is of an earlier move: nobody writes to it, and its schema may be older. Raises MoveError where
    it holds rows.
    """
    if has_table(shards, target, table):
        if not is_empty(shards, target, table):
            raise MoveError(
                f"{table} holds rows on {target} already", hint=f"see what they are, and drop it on {target}"
            )
        shards.execute(target, f"DROP TABLE {shards.dialect.quoted(table)}")
    create_like(shards, source, target, table)


def drop_empty(shards: Shards, shard: str, table: str) -> None:
    """Drop a pinned table where it is no more, unless somebody has written to it past Tenfold."""
    if has_table(shards, shard, table) and is_empty(shards, shard, table):
        shards.execute(shard, f"DROP TABLE {shards.dialect.quoted(table)}")
