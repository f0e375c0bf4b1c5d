"""Numbers that a pinned table has given to rows, deleted ones too, are not given again on another shard. Edge."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.books import defining
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.tables import Moved

_NEXT = re.compile(r"\bAUTO_INCREMENT=([0-9]+)", re.ASCII)


def count_on(shards: Shards, giver: str, taker: str, tables: Sequence[Moved], buckets: Sequence[int]) -> None:
    """Let the pinned tables among `buckets` number their rows on `taker` from where they are on `giver`.

    To be called while nobody writes them. Raises NodeError where a transaction that read them on `taker` stays open.
    """
    for table in tables:
        if table.pinned in buckets and table.shape.self_numbering:
            count = _on_mysql if table.dialect is MYSQL else _on_sqlite
            count(shards, giver, taker, table)


def _on_mysql(shards: Shards, giver: str, taker: str, table: Moved) -> None:
    following, there = (_next(shards, shard, table) for shard in (giver, taker))
    if there < following:  # as rows were copied, most often it is there already
        with defining(shards, taker) as driver:
            driver.execute("SET SESSION lock_wait_timeout = 1", ())
            driver.execute(f"ALTER TABLE {table.name} AUTO_INCREMENT = {following:d}", ())


def _next(shards: Shards, shard: str, table: Moved) -> int:
    created = str(shards.rows(shard, f"SHOW CREATE TABLE {table.name}")[0][1])
    # After the columns, whose comments may hold anything; information_schema may answer from a cache.
    found = _NEXT.search(created.rpartition("\n)")[2])
    return int(found[1]) if found else 1


def _on_sqlite(shards: Shards, giver: str, taker: str, table: Moved) -> None:
    """Only AUTOINCREMENT promises it."""
    if not shards.rows(giver, "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
        return
    here = "FROM sqlite_sequence WHERE lower(name) = lower(?)"
    for (last,) in shards.rows(giver, f"SELECT seq {here}", (table.shape.name,)):
        with shards.transaction(taker) as driver:
            held = driver.execute(f"SELECT MAX(seq) {here}", (table.shape.name,)).rows[0][0]
            if held is None:
                driver.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.shape.name, last))
            elif held < last:
                sql = "UPDATE sqlite_sequence SET seq = ? WHERE lower(name) = lower(?)"
                driver.execute(sql, (last, table.shape.name))
