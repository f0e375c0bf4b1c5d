"""How a statement is carried out: plan, place, send, put the answers together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tenfold.errors import CrossShardError, NodeError, StatementError, TenfoldError
from tenfold.sharding import planner
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.constraints import table_names
from tenfold.sharding.idlease import Ids
from tenfold.sharding.ids import MAX_ID, id_bucket
from tenfold.sharding.keys import KeyType, bucket_of, canonical
from tenfold.sharding.layout import Grouped, GroupTable, Layout, group_table
from tenfold.sharding.plan import AnyShard, ById, ByKey, ByKeys, ByUnique, Everywhere, OnShard, Plan
from tenfold.sharding.ports import Begin, Commit, Gather, Params, Reply, Rollback, Send, SendMany, Steps
from tenfold.sharding.reserve import LOOK_UP, Reservations, Transaction, claim_of
from tenfold.sharding.shapes import read_sqlite_shape
from tenfold.sharding.statement import Kind, parse, value
from tenfold.sharding.writes import Writes

PLANS = 4096
"""Plans kept; beyond it the oldest goes."""


class Place(NamedTuple):
    """Where a statement goes: its bucket where it has just one; anywhere: every shard has the same answer."""

    shards: Sequence[str]
    bucket: int | None = None
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the catalog says. watermarks: table (lower-case) → ids above it carry their bucket."""

    cluster: str
    map: BucketMap
    layout: Layout
    watermarks: dict[str, int]


class Executor:
    """Carries statements out, as steps for a runner. Holds the map, the plans and the id window."""

    def __init__(self, catalog: Catalog, lock: AbstractContextManager[object], wait_s: float) -> None:
        self.catalog = catalog
        self.layout = catalog.layout
        self.ids = Ids(self.layout.catalog, lock)
        self.reservations = Reservations(self._shard_of, wait_s)
        self.writes = Writes(catalog.map, catalog.watermarks, self.ids, self.reservations)
        self._plans: dict[str, Plan] = {}
        self._tables: dict[str, GroupTable] = {}

    def _shard_of(self, bucket: int) -> str:
        return self.catalog.map.owners[bucket]

    def execute(self, sql: str, params: Params, tx: Transaction | None) -> Steps[Reply]:
        """Run one statement, in the caller's transaction if there is one."""
        plan = self._plans.get(sql) or (yield from self.plan(sql))
        if plan.inserting:
            return (yield from self.writes.insert(plan, [params], tx))
        if isinstance(plan.route, Everywhere):
            return (yield from self._everywhere(plan, [params], tx, many=False))
        shards, bucket, anywhere = yield from self._place(plan, params, tx)
        if len(shards) > 1:
            if tx is not None:
                raise CrossShardError(
                    f"the statement needs {len(shards)} shards, a transaction has one",
                    hint="run it outside the transaction, or add the shard key to its WHERE",
                )
            replies = yield Gather([Send(shard, plan.sql, params) for shard in shards])
            return _one_after_the_other(replies)
        if plan.changing:
            assert bucket is not None  # noqa: S101  # only tables of a group have reserved values
            return (yield from self.writes.change(plan, params, shards[0], bucket, tx))
        # A read that any shard answers does not decide which shard the transaction is on.
        if tx is not None and not (anywhere and tx.shard is None and not plan.writes):
            yield from self.writes.enter(tx, shards[0])
        reply: Reply = yield Send(shards[0], plan.sql, params)
        if plan.kind is not Kind.INSERT or not reply.rowcount:
            reply.lastrowid = None  # else it is that of whatever was inserted last on this connection
        return reply

    def execute_many(self, sql: str, rows: Sequence[Params], tx: Transaction | None) -> Steps[Reply]:
        """Run one writing statement for many rows. All or none of the rows of each shard."""
        plan = self._plans.get(sql) or (yield from self.plan(sql))
        if not plan.writes or plan.kind is Kind.DDL:
            raise StatementError("executemany is for INSERT, UPDATE and DELETE", hint="use execute")
        if plan.inserting:
            return (yield from self.writes.insert(plan, rows, tx))
        if isinstance(plan.route, Everywhere):
            return (yield from self._everywhere(plan, rows, tx, many=True))
        if plan.changing:
            return (yield from self._one_by_one(sql, rows, tx))
        placed: dict[str, list[Params]] = {}
        for params in rows:
            shards, _, _ = yield from self._place(plan, params, tx)
            if len(shards) > 1:
                raise CrossShardError("a row needs several shards", hint="name the shard key in the WHERE")
            placed.setdefault(shards[0], []).append(params)
        return (yield from self.writes.send_batches(plan.sql, placed, tx))

    def _one_by_one(self, sql: str, rows: Sequence[Params], tx: Transaction | None) -> Steps[Reply]:
        """Changes of reserved values: each row claims and frees by itself, and is committed by itself."""
        changed = 0
        for done, params in enumerate(rows):
            try:
                changed += (yield from self.execute(sql, params, tx)).rowcount
            except TenfoldError as error:
                if not done:
                    raise
                said = f"{error} (the first {done} of {len(rows)} rows of parameters are done, the rest is not)"
                raise type(error)(said, hint=error.hint, retryable=error.retryable) from error
        return Reply(rowcount=changed)

    def plan(self, sql: str) -> Steps[Plan]:
        """Plan a statement and keep the plan. Reads the shape of a table that is met for the first time."""
        statement = parse(sql, "sqlite")
        known = {}
        if statement.kind is not Kind.DDL:
            for name in table_names(statement.tree):
                placed = self.layout.tables.get(name.lower())
                if isinstance(placed, Grouped):
                    known[name.lower()] = yield from self.table(placed)
        found = planner.plan(statement, self.layout, known)
        if len(self._plans) >= PLANS:
            # A copy: other threads add plans meanwhile.
            self._plans.pop(list(self._plans)[0], None)  # noqa: RUF015
        self._plans[sql] = found
        return found

    def table(self, placed: Grouped) -> Steps[GroupTable]:
        """A table of a group with its shape, read from the first shard that answers, once."""
        name = placed.table.lower()
        down: TenfoldError | None = None
        if name in self._tables:
            return self._tables[name]
        for shard in self.layout.shards:
            try:
                shape = yield from read_sqlite_shape(shard, placed.table)
            except NodeError as error:
                down = error
                continue
            if shape is None:
                raise StatementError(f"no such table: {placed.table}", hint="create it first, through Tenfold")
            self._tables[name] = group_table(placed, shape)
            return self._tables[name]
        raise down or CrossShardError("there are no shards")

    def new_id(self, table: str, key: object, tx: Transaction | None) -> Steps[int]:
        """An id for a row to come. `key`: the owner's shard key; None for the key table itself."""
        placed = self.layout.placed(table)
        known = (yield from self.table(placed)) if isinstance(placed, Grouped) else None
        if known is None or known.id_column is None:
            raise StatementError(f"{table} takes no ids from Tenfold", hint="ids are for tables of a group")
        if known.id_is_key:
            return (yield from self.ids.draw(None, tx))
        return (yield from self.ids.draw(bucket_of(key, known.key_type), tx))

    def _place(self, plan: Plan, params: Params, tx: Transaction | None) -> Steps[Place]:
        """Where a statement goes."""
        route = plan.route
        if isinstance(route, ByKey):
            bucket = self.writes.one_bucket([value(item, params) for item in route.sources], route.key_type)
            return Place((self._shard_of(bucket),), bucket)
        if isinstance(route, OnShard):
            return Place((route.shard,))
        if isinstance(route, AnyShard):
            return Place((_home(tx) or self.layout.shards[0],), anywhere=True)
        if isinstance(route, ByKeys):
            keys = [value(item, params) for item in route.sources]
            wanted = {self._shard_of(bucket_of(key, route.key_type)) for key in keys if key is not None}
            return Place([shard for shard in self.layout.shards if shard in wanted] or self.layout.shards[:1])
        if isinstance(route, ById):
            return self._by_id(route, params)
        if isinstance(route, ByUnique):
            return (yield from self._by_unique(route, params, tx))
        return Place(self.layout.shards)

    def _by_id(self, route: ById, params: Params) -> Place:
        table = route.table
        row_id = canonical(value(route.source, params), KeyType.INTEGER)
        watermark = self.catalog.watermarks.get(table.name.lower())
        if isinstance(row_id, int) and watermark is not None and watermark < row_id <= MAX_ID:
            bucket = id_bucket(row_id)
            return Place((self._shard_of(bucket),), bucket)
        if not route.scatters:
            raise CrossShardError(
                f"the id {row_id!r} of {table.name} is not one of Tenfold's, so it does not say where the row lives",
                hint=f"add `{table.key} = ?` to the WHERE, so that it goes to one shard",
            )
        return Place(self.layout.shards)

    def _by_unique(self, route: ByUnique, params: Params, tx: Transaction | None) -> Steps[Place]:
        kind = route.table.reserved[route.column]
        claim = claim_of(route.table.name, route.column, value(route.source, params), kind, 0)
        shard = self._shard_of(claim.bucket)
        found = yield Send(shard, LOOK_UP, (claim.scope, claim.digest))
        if found.rows:
            return Place((self._shard_of(found.rows[0][0]),), found.rows[0][0])
        # Nobody holds the value: any shard gives the empty answer, with its columns or its COUNT of 0.
        return Place((_home(tx) or shard,), claim.bucket, anywhere=True)

    def _everywhere(self, plan: Plan, rows: Sequence[Params], tx: Transaction | None, *, many: bool) -> Steps[Reply]:
        route = plan.route
        assert isinstance(route, Everywhere)  # noqa: S101
        if tx is not None and (len(route.shards) > 1 or route.ddl):
            what = "changes the schema" if route.ddl else "writes to every shard"
            raise CrossShardError(
                f"the statement on {plan.tables[0]} {what}; a transaction has one shard",
                hint="run it outside the transaction",
            )
        sends = {
            shard: SendMany(shard, plan.sql, rows) if many else Send(shard, plan.sql, rows[0]) for shard in route.shards
        }
        if tx is not None:
            yield from self.writes.enter(tx, route.shards[0])
            only: Reply = yield sends[route.shards[0]]
            return only
        replies = yield from _on_all(sends, plan.tables[0])
        if route.ddl:
            self._plans.clear()
            self._tables.clear()
        placed = self.layout.placed(plan.tables[0])
        if route.drops and isinstance(placed, Grouped):
            yield from self.reservations.forget(placed.table, placed.unique, route.shards)
        return replies[0]


def _home(tx: Transaction | None) -> str | None:
    return tx.shard if tx is not None else None


def _on_all(sends: Mapping[str, Send | SendMany], table: str) -> Steps[list[Reply]]:
    """Write to every shard, always in the same order so that two such writers cannot block each other."""
    shards = list(sends)
    begun: list[str] = []
    replies: list[Reply] = []
    try:
        for shard in shards:
            yield Begin(shard)
            begun.append(shard)
            replies.append((yield sends[shard]))
    except TenfoldError:
        for shard in begun:
            yield Rollback(shard)
        raise
    for position, shard in enumerate(shards):
        try:
            yield Commit(shard)
        except TenfoldError as error:
            for rest in shards[position + 1 :]:
                yield Rollback(rest)
            if position == 0:
                raise
            raise NodeError(
                f"{table}: committed on {', '.join(shards[:position])}, not on {', '.join(shards[position:])}",
                hint="run the statement again once the shard is back, so that the copies agree",
            ) from error
    return replies


def _one_after_the_other(replies: Sequence[Reply]) -> Reply:
    rows: list[tuple[Any, ...]] = []
    for reply in replies:
        rows += reply.rows
    return Reply(replies[0].columns, rows, len(rows))
