"""Rows that lie on a shard which does not own their bucket: found, and brought to the one that does. Edge.

They were written past Tenfold, by a cron job or a shell. Buckets of a move that is under way are left out: there,
copies and remains lie on both shards by right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.errors import ConstraintError, FenceError, MoveError, StatementError
from tenfold.sharding.catalog import load
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Grouped
from tenfold.sharding.moves.codec import among, key_text, row_text
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import ACTIVE, move_of
from tenfold.sharding.moves.rows import insert_rows
from tenfold.sharding.moves.tables import BY_BUCKET, Moved, listed
from tenfold.sharding.schema import read_shape
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

SHOWN = 100
"""Rows that are named, of each table on each shard."""
_CHUNK = 200


@dataclass(slots=True)
class Strays:
    """Rows of one table on one shard that are not its own.

    count    of all; keyless: of these, those without a shard key, which belong nowhere
    named    (primary key as literals, owner) of the first
    mended   brought to their owner
    twice    primary keys of rows that are there and here, and not the same; or whose values are taken there
    """

    table: str
    shard: str
    count: int
    keyless: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    mended: int = 0
    twice: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "table": self.table, "shard": self.shard, "count": self.count, "keyless": self.keyless,
            "rows": [{"key": key, "owner": owner} for key, owner in self.named], "mended": self.mended,
            "twice": [{"key": key, "owner": owner} for key, owner in self.twice],
        }  # fmt: skip


def strays(topology: Topology, *, mend: bool = False) -> list[Strays]:
    """Look at every row of every group, and at Tenfold's reservations; with `mend`, bring them to their shard.

    Raises NodeError for a shard that does not answer.
    """
    shards = Shards(topology)
    try:
        catalog = shards.ask(load(topology))
        found = []
        for shard in catalog.layout.shards:
            for table in _tables(shards, catalog, shard):
                seen = _look(shards, catalog, shard, table)
                if seen is not None:
                    found.append(seen)
                    if mend and table.primary_key:
                        _mend(shards, topology, catalog, shard, table, seen)
        return found
    finally:
        shards.close()


def _tables(shards: Shards, catalog: Catalog, shard: str) -> Iterator[Moved]:
    for placed in catalog.layout.tables.values():
        if isinstance(placed, Grouped):
            shape = shards.ask(read_shape(shard, placed.table, shards.dialect))
            if shape is not None and placed.key in shape.columns:
                yield Moved(0, shape, placed.key, shape.columns[placed.key].key_type)
    for name in BY_BUCKET:
        shape = shards.ask(read_shape(shard, name, shards.dialect))
        if shape is not None:
            yield Moved(0, shape, "bucket")


def _foreign(catalog: Catalog, shard: str, table: Moved) -> str:
    """A condition: the row is of a bucket that is neither the shard's nor on the move."""
    own = [
        bucket for bucket in range(BUCKETS)
        if bucket in catalog.moving or catalog.map.shard_of(bucket) == shard
    ]  # fmt: skip
    return f"{table.bucket()} NOT IN ({listed(own)})" if own else f"{table.bucket()} IS NOT NULL"


def _look(shards: Shards, catalog: Catalog, shard: str, table: Moved) -> Strays | None:
    condition = _foreign(catalog, shard, table)
    name = table.name
    count = int(shards.rows(shard, f"SELECT COUNT(*) FROM {name} WHERE {condition}")[0][0])
    keyless = int(shards.rows(shard, f"SELECT COUNT(*) FROM {name} WHERE {table.bucket()} IS NULL")[0][0])
    if not count and not keyless:
        return None
    found = Strays(table.shape.name, shard, count + keyless, keyless)
    if table.primary_key:
        order = ", ".join(table.primary_key)
        sql = f"SELECT {key_text(table, table.shape.primary_key)}, {table.bucket()} FROM {name}"
        rows = shards.rows(shard, f"{sql} WHERE {condition} ORDER BY {order} LIMIT {SHOWN}")
        found.named = [(str(key), catalog.map.shard_of(int(bucket))) for key, bucket in rows]
    return found


def _mend(
    shards: Shards, topology: Topology, catalog: Catalog, shard: str, table: Moved, found: Strays
) -> None:  # fmt: skip
    """In the order of the primary key, so that what has to stay is met once."""
    condition, order = _foreign(catalog, shard, table), ", ".join(table.primary_key)
    key = key_text(table, table.shape.primary_key)
    left = 0
    while True:
        _refuse_moving(shards, topology, catalog)
        sql = (
            f"SELECT {key}, {table.bucket()}, {row_text(table)} FROM {table.name} WHERE {condition}"
            f" ORDER BY {order} LIMIT {_CHUNK} OFFSET {left}"
        )
        rows = shards.rows(shard, sql)
        if not rows:
            return
        by_owner: dict[str, list[tuple[str, int, str]]] = {}
        for text, bucket, row in rows:
            if row is None:
                raise MoveError(
                    f"the row {text} of {table.shape.name} is longer than {shard} sends it",
                    hint="raise max_allowed_packet on the servers",
                )
            by_owner.setdefault(catalog.map.shard_of(int(bucket)), []).append((str(text), int(bucket), str(row)))
        for owner, some in by_owner.items():
            there = _bring(shards, owner, table, some)
            found.twice += [(text, owner) for text, _, _ in some if text not in there]
            gone = _take_away(shards, shard, table, [one for one in some if one[0] in there])
            found.mended += gone
            left += len(some) - gone


def _refuse_moving(shards: Shards, topology: Topology, catalog: Catalog) -> None:
    moves = [move_of(row) for row in shards.rows(topology.catalog_shard, ACTIVE)]
    if any(move.buckets - catalog.moving for move in moves):
        raise MoveError("a move has begun meanwhile", hint="run it again once the move is done")


def _bring(shards: Shards, owner: str, table: Moved, rows: Sequence[tuple[str, int, str]]) -> set[str]:
    """Have rows on their owner → the keys of those that are there now, byte for byte."""
    try:
        return _bring_all(shards, owner, table, rows)
    except StatementError as error:
        # A value that must be unique is taken there, by a row with another key: find out which. Or they are too long.
        if len(rows) == 1:
            if isinstance(error, ConstraintError):
                return set()
            raise
        return set().union(*(_bring(shards, owner, table, [row]) for row in rows))


def _bring_all(shards: Shards, owner: str, table: Moved, rows: Sequence[tuple[str, int, str]]) -> set[str]:
    with shards.transaction(owner, token=False) as driver:
        _demand(shards, driver, {bucket for _, bucket, _ in rows}, owner, "open")
        there = _held(shards, driver, table, rows)
        absent = [row for text, _, row in rows if text not in there]
        if absent:
            driver.execute(insert_rows(table, ",".join(absent)), ())
    return {text for text, _, row in rows if there.get(text, row) == row}


def _take_away(shards: Shards, shard: str, table: Moved, rows: Sequence[tuple[str, int, str]]) -> int:
    """Delete rows that are with their owner now, unless they have been changed here meanwhile; → how many."""
    if not rows:
        return 0
    with shards.transaction(shard, token=False) as driver:
        _demand(shards, driver, {bucket for _, bucket, _ in rows}, shard, "moved")
        now = _held(shards, driver, table, rows)
        same = [text for text, _, row in rows if now.get(text) == row]
        if same:
            driver.execute(f"DELETE FROM {table.name} WHERE {among(table, table.primary_key, same)}", ())
    return len(same)


def _held(shards: Shards, driver: Any, table: Moved, rows: Sequence[tuple[str, int, str]]) -> dict[str, str]:
    """What a shard has under the primary keys of `rows`, locked to the end of the transaction: key → row."""
    keys = [text for text, _, _ in rows]
    sql = (
        f"SELECT {key_text(table, table.shape.primary_key)}, {row_text(table)} FROM {table.name}"
        f" WHERE {among(table, table.primary_key, keys)}{shards.dialect.current_read}"
    )
    return {str(text): str(row) for text, row in driver.execute(sql, ()).rows}


def _demand(shards: Shards, driver: Any, buckets: set[int], shard: str, state: str) -> None:
    """Hold the fences of buckets as they are to the end of the transaction. Raises FenceError for another state."""
    sql = f"SELECT bucket, state FROM tf_fence WHERE bucket IN ({listed(sorted(buckets))}){shards.dialect.shared_read}"
    for bucket, found in driver.execute(sql, ()).rows:
        if found != state:
            raise FenceError(f"bucket {bucket} is {found} on {shard}", hint="run it again once the move is done")
