"""Fence rows at rest, and the numbers by which pinned tables are fenced. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.ports import Begin, Commit, Send, SendMany, Steps

FENCE = "INSERT INTO tf_fence (bucket, state, epoch, to_shard, token, captured) VALUES (?, ?, ?, ?, 0, 0)"
_FENCES = (
    "INSERT INTO tf_fence (bucket, state, epoch, to_shard, token, captured)"
    " SELECT bucket, CASE WHEN shard IN (?, '') THEN 'open' ELSE 'moved' END, epoch,"
    " CASE WHEN shard IN (?, '') THEN '' ELSE shard END, 0, 0 FROM tf_bucket"
)
"""`fence_row` of all rows of tf_bucket, by the server itself."""
COPY = "INSERT INTO tf_bucket (bucket, shard, epoch) VALUES (?, ?, ?)"
MapRow = tuple[int, str, int]
"""Bucket or number, owner ("" for what every shard has), and since which epoch: as in tf_bucket."""


def fence_row(shard: str, bucket: int, owner: str, epoch: int) -> tuple[int, str, int, str]:
    """How the fence of a bucket that rests stands on `shard`; owner "": every shard has it. For FENCE."""
    return (bucket, "open", epoch, "") if owner in (shard, "") else (bucket, "moved", epoch, owner)


def lay_map(shard: str, rows: Sequence[MapRow]) -> Steps[None]:
    """Give a shard its copy of the map and its fences, all at rest, in place of any that it has."""
    yield Begin(shard)
    yield Send(shard, "DELETE FROM tf_bucket")
    yield Send(shard, "DELETE FROM tf_fence")
    yield SendMany(shard, COPY, rows)
    yield Send(shard, _FENCES, (shard, shard))
    yield Send(shard, FENCE, fence_row(shard, REFERENCE, "", 1))
    yield Commit(shard)


def next_number(taken: Iterable[int | None]) -> int:
    """A number for a pinned table that has none."""
    return max([REFERENCE, *(number for number in taken if number is not None)]) + 1


def lay_number(shards: Iterable[str], number: int, owner: str, instead_of: int | None = None) -> Steps[None]:
    """Let every shard know the number of a pinned table, at rest on its owner, and forget another that it had."""
    for shard in shards:
        yield Begin(shard)
        for old in {number, instead_of} - {None}:
            yield Send(shard, "DELETE FROM tf_bucket WHERE bucket = ?", (old,))
            yield Send(shard, "DELETE FROM tf_fence WHERE bucket = ?", (old,))
        yield Send(shard, COPY, (number, owner, 1))
        yield Send(shard, FENCE, fence_row(shard, number, owner, 1))
        yield Commit(shard)


def has_all(shard: str) -> Steps[bool]:
    """Whether a shard has a fence for every bucket, and for the reference tables."""
    rows = (yield Send(shard, "SELECT COUNT(*) FROM tf_fence WHERE bucket <= ?", (REFERENCE,))).rows
    return bool(rows[0][0] == BUCKETS + 1)


def record_objects(catalog: str, shard: str, names: Iterable[str], now_s: float) -> Steps[None]:
    """Put what Tenfold creates on a shard on the clean-up ledger, where it is not there yet."""
    known: Mapping[Any, Any] = dict.fromkeys(
        row[0] for row in (yield Send(catalog, "SELECT object FROM tf_object WHERE shard = ?", (shard,))).rows
    )
    rows = [(shard, name, now_s) for name in names if name not in known]
    if rows:
        yield SendMany(catalog, "INSERT INTO tf_object (shard, object, created_s) VALUES (?, ?, ?)", rows)
