"""To which shards a plan goes, under the values of one execution. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tenfold.errors import CrossShardError
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.ids import MAX_ID, id_bucket
from tenfold.sharding.keys import KeyType, bucket_of, canonical
from tenfold.sharding.layout import GroupTable, Layout
from tenfold.sharding.plan import AnyShard, ById, ByKey, ByKeys, ByUnique, Everywhere, OnShard, Plan, Route, Scatter
from tenfold.sharding.ports import Params, Send, Steps
from tenfold.sharding.reserve import LOOK_UP, Transaction, claim_of
from tenfold.sharding.statement import value


class Place(NamedTuple):
    """Where a statement goes.

    bucket    where it has just one; anywhere: every shard has the same answer
    listed    of a list of keys: shard → which of the keys are its own, by position
    """

    shards: Sequence[str]
    bucket: int | None = None
    anywhere: bool = False
    listed: Mapping[str, Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Placing:
    """watermarks: table (lower-case) → ids above it carry their bucket
    owning: the shards that own a bucket, in the file's order; empty: all"""

    map: BucketMap
    layout: Layout
    watermarks: Mapping[str, int]
    owning: Sequence[str] = ()

    def shard_of(self, bucket: int) -> str:
        """The shard that owns a bucket."""
        return self.map.owners[bucket]

    def bucket_in(self, table: GroupTable, row_id: object) -> int | None:
        """The bucket that an id carries; None for one that Tenfold did not draw for the table."""
        found = canonical(row_id, KeyType.INTEGER)
        watermark = self.watermarks.get(table.name.lower())
        ours = isinstance(found, int) and watermark is not None and watermark < found <= MAX_ID
        return id_bucket(found) if ours and isinstance(found, int) else None

    @property
    def alone(self) -> bool:
        """Whether one shard owns all buckets: then its own primary key sees every row."""
        return len(set(self.map.owners)) == 1

    def shards_of(self, keys: Iterable[object], kind: KeyType) -> list[str]:
        """The shards of some keys, in the file's order; NULL is on none."""
        wanted = {self.shard_of(bucket_of(key, kind)) for key in keys if key is not None}
        return [shard for shard in self.layout.shards if shard in wanted]

    def place(self, plan: Plan, params: Params, tx: Transaction | None) -> Steps[Place]:
        """Where a statement goes; a reserved value is looked up. Raises ShardKeyError, CrossShardError."""
        route = plan.route
        if isinstance(route, ByKey):
            return self._by_key(route, plan, params)
        if isinstance(route, ByUnique):
            return (yield from self._by_unique(route, params, tx))
        if isinstance(route, ById):
            return self._by_id(route, params)
        if isinstance(route, Scatter) and plan.staged is not None:
            return Place(self.layout.shards)  # its parts go where they have to
        if isinstance(route, AnyShard):
            return Place((_home(tx) or self.layout.shards[0],), anywhere=True)
        if isinstance(route, ByKeys):
            return self._by_keys(route, params)
        return Place(self.of_route(route, params))

    def of_route(self, route: Route, params: Params) -> Sequence[str]:
        """The shards of a route that its values alone decide."""
        if isinstance(route, ByKey):
            bucket = _one_bucket(route, params)
            if bucket is None:
                raise _apart()
            return (self.shard_of(bucket),)
        if isinstance(route, ByKeys):
            return self.shards_of([value(item, params) for item in route.sources], route.key_type)
        if isinstance(route, OnShard):
            return (route.shard,)
        if isinstance(route, Everywhere):
            return route.shards
        if isinstance(route, AnyShard):
            return self.layout.shards[:1]
        # While it fills, and once it is drained, a shard holds rows that nobody is to see, and none else.
        return self.owning or self.layout.shards

    def _by_keys(self, route: ByKeys, params: Params) -> Place:
        owners, kind = self.map.owners, route.key_type
        own: dict[str, list[int]] = {}
        for at, source in enumerate(route.sources):
            key = value(source, params)
            if key is not None:
                own.setdefault(owners[bucket_of(key, kind)], []).append(at)
        # NULL alone is on no shard: then any one gives the empty answer.
        return Place([shard for shard in self.layout.shards if shard in own] or self.layout.shards[:1], listed=own)

    def _by_key(self, route: ByKey, plan: Plan, params: Params) -> Place:
        bucket = _one_bucket(route, params)
        if bucket is not None:
            return Place((self.map.owners[bucket],), bucket)
        if plan.staged is None:
            raise _apart()
        return Place(self.layout.shards)

    def _by_id(self, route: ById, params: Params) -> Place:
        row_id = canonical(value(route.source, params), KeyType.INTEGER)
        bucket = self.bucket_in(route.table, row_id)
        if bucket is not None:
            return Place((self.shard_of(bucket),), bucket)
        if not route.scatters:
            raise CrossShardError(
                f"the id {row_id!r} of {route.table.name} is not one of Tenfold's, so it does not say where the row "
                "lives",
                hint=f"add `{route.table.key} = ?` to the WHERE, so that it goes to one shard",
            )
        return Place(self.owning or self.layout.shards)

    def _by_unique(self, route: ByUnique, params: Params, tx: Transaction | None) -> Steps[Place]:
        kind = route.table.reserved[route.column]
        claim = claim_of(route.table.name, route.column, value(route.source, params), kind, 0)
        shard = self.shard_of(claim.bucket)
        found = yield Send(shard, LOOK_UP, (claim.scope, claim.digest), buckets=(claim.bucket,))
        if found.rows:
            return Place((self.shard_of(found.rows[0][0]),), found.rows[0][0])
        # Nobody holds the value: any shard gives the empty answer, with its columns or its COUNT of 0.
        return Place((_home(tx) or shard,), claim.bucket, anywhere=True)


def _home(tx: Transaction | None) -> str | None:
    return tx.shard if tx is not None else None


def _one_bucket(route: ByKey, params: Params) -> int | None:
    """The bucket of all its keys; None where they lie apart. Raises ShardKeyError for a bad one."""
    kind = route.key_type
    bucket = bucket_of(value(route.sources[0], params), kind)
    apart = any(bucket_of(value(source, params), kind) != bucket for source in route.sources[1:])
    return None if apart else bucket


def _apart() -> CrossShardError:
    return CrossShardError(
        "the statement names several shard keys, which may live on different shards",
        hint="write one statement for each key; for many rows use executemany",
    )
