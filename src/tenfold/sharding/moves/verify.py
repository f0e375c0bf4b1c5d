"""Compares the rows of buckets on two shards, by count and digest, and names those that differ. Edge."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tenfold.sharding.moves import rows
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.tables import Moved

BUCKETS_AT_ONCE = 16
SIDE = "side"
"""The purpose of the second connection, which is asked at the same time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same on both shards. kind: missing (on the right), extra (there) or different."""

    table: str
    key: str
    bucket: int
    kind: str


def equal(
    shards: Shards, move: int, left: str, right: str, tables: Sequence[Moved], buckets: Collection[int], lock: str = ""
) -> list[Moved]:
    """Compare all rows of buckets by way of their shard keys → the tables that differ. lock: of the reads on `left`."""
    chosen = [table for table in tables if table.of(buckets)]
    with ThreadPoolExecutor(1) as aside:
        other = aside.submit(_summaries, shards, right, move, chosen, buckets, "")
        mine = _summaries(shards, left, move, chosen, buckets, lock)
        theirs = other.result()
    return [table for table, one, two in zip(chosen, mine, theirs, strict=True) if one != two]


def _summaries(
    shards: Shards, shard: str, move: int, tables: Sequence[Moved], buckets: Collection[int], lock: str
) -> list[tuple[int, int]]:
    driver = shards.at(shard, SIDE)
    found = [driver.execute(rows.summary(move, table, buckets, lock), ()).rows[0] for table in tables]
    return [(int(count), int(digest or 0)) for count, digest in found]


def compare(
    shards: Shards, move: int, left: str, right: str, tables: Sequence[Moved], buckets: Collection[int]
) -> Iterator[Difference]:
    """The rows of buckets that differ, while a move has listed their keys on both shards.

    Under writes a row may be told that is on its way: see whether it is told again, once marks were followed.
    """
    listing = sorted(buckets)
    for start in range(0, len(listing), BUCKETS_AT_ONCE):
        some = listing[start : start + BUCKETS_AT_ONCE]
        for table in equal(shards, move, left, right, tables, some):
            for bucket in table.of(some):
                yield from _rows(shards, move, left, right, table, bucket)


def _rows(shards: Shards, move: int, left: str, right: str, table: Moved, bucket: int) -> Iterator[Difference]:
    sql = rows.each_digest(move, table, (bucket,))
    here, there = ({key: row for key, _, row in shards.rows(shard, sql)} for shard in (left, right))
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            kind = "missing" if key not in there else "extra" if key not in here else "different"
            yield Difference(table.shape.name, key, bucket, kind)
