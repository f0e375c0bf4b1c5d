"""How a statement is carried out: plan, place, send, put the answers together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import copy

from tenfold.errors import (
    ConfigError,
    CrossShardError,
    FenceError,
    NodeError,
    RoutingError,
    StatementError,
    TenfoldError,
)
from tenfold.sharding import planner
from tenfold.sharding.constraints import table_names
from tenfold.sharding.dialects import MYSQL, SQLITE
from tenfold.sharding.idlease import Ids
from tenfold.sharding.keys import bucket_of
from tenfold.sharding.layout import Grouped, GroupTable, Pinned, group_table
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.placing import Place, Placing
from tenfold.sharding.plan import ByKey, Everywhere, OnShard, Plan
from tenfold.sharding.plancache import Kept, Normal, normal, same_way
from tenfold.sharding.ports import Emit, Params, Reply, Send, SendMany, Steps
from tenfold.sharding.reads import Reads, StaleShape, stream_one
from tenfold.sharding.reserve import Reservations, Transaction
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import TableShape
from tenfold.sharding.statement import Kind, parse, value
from tenfold.sharding.together import Share, ddl_on_all, on_all
from tenfold.sharding.view import Catalog
from tenfold.sharding.writes import Rows, Writes


class Executor:
    """Carries statements out, as steps for a runner. Holds the map, the plans and the id window."""

    def __init__(
        self, catalog: Catalog, lock: AbstractContextManager[object], wait_s: float, pull_rows: int = 100_000
    ) -> None:
        self._wait_s, self._pull_rows = wait_s, pull_rows
        self.ids = Ids(catalog.layout.catalog, lock)
        self._route_by(catalog)
        self._plans: Kept[str, Plan] = Kept()
        # By the text without its literals. True: met once, not worth a plan of its own yet; False: it cannot be shared.
        self._shared: Kept[str, Plan | bool] = Kept()
        self._tables: dict[str, GroupTable] = {}
        self._shapes: dict[str, TableShape] = {}

    def _route_by(self, catalog: Catalog) -> None:
        self.catalog, self.layout = catalog, catalog.layout
        self.placing = Placing(catalog.map, self.layout, catalog.watermarks, catalog.owning)
        shard_of, hidden_on = self.placing.shard_of, catalog.hidden_on
        self.reservations = Reservations(shard_of, self._wait_s, self.layout.dialect, hidden_on)
        self.writes = Writes(self.placing, self.ids, self.reservations)
        self.reads = Reads(self.placing, self._pull_rows)

    def under(self, catalog: Catalog) -> Executor:
        """The same for another view of the catalog, with the same ids, and the same plans where they still hold."""
        other = copy(self)
        other._route_by(catalog)
        if catalog.layout != self.layout:
            other._plans, other._shared, other._tables, other._shapes = Kept(), Kept(), {}, {}
        return other

    def direct(self, sql: str, params: Params) -> tuple[str, str] | None:
        """Where and as what `execute`, outside a transaction, would send a statement of which nothing else is to be
        done, if its plan is known and its bucket at rest; else None. What is read and written most by far needs no
        steps. A write of SQLite does: the lease is looked at under its lock.

        Returns (shard, text). Raises ShardKeyError.
        """
        plan = self._plans.get(sql)
        if plan is None or plan.kind is Kind.INSERT or plan.changing is not None:
            return None
        route = plan.route
        if not isinstance(route, ByKey) or len(route.sources) != 1 or (plan.writes and self.layout.dialect is SQLITE):
            return None
        bucket = bucket_of(value(route.sources[0], params), route.key_type)
        return None if bucket in self.catalog.announced else (self.catalog.map.owners[bucket], plan.sql)

    def _touched(self, plan: Plan, place: Place) -> tuple[int, ...] | None:
        """The buckets of which a statement on one shard touches rows; None: any."""
        if place.bucket is not None:
            return None if place.anywhere else (place.bucket,)
        if place.anywhere:
            return ()
        if isinstance(plan.route, OnShard):
            numbers = self.catalog.numbers
            return tuple(numbers[name] for table in plan.tables if (name := table.lower()) in numbers)
        return None

    def execute(self, sql: str, given: Params, tx: Transaction | None, *, again: bool = True) -> Steps[Reply]:
        """Run one statement, in the caller's transaction if there is one. again: whether it may be planned anew."""
        plan, params = yield from self._planned(sql, given)
        if plan.inserting:
            return (yield from self.writes.insert(plan, [params], tx))
        if isinstance(plan.route, Everywhere):
            return (yield from self._everywhere(plan, [params], tx, many=False))
        place = yield from self.placing.place(plan, params, tx)
        shards = place.shards
        if len(shards) > 1:
            if plan.writes:
                return (yield from self.writes.change_on(plan, params, shards, tx))
            _refuse_in_transaction(tx, shards)
            try:
                return (yield from self.reads.answer(plan, params, place, tx))
            except StaleShape as stale:
                self._again(stale, again)
                return (yield from self.execute(sql, given, tx, again=False))
        if plan.changing:
            assert place.bucket is not None  # noqa: S101  # only tables of a group have reserved values
            return (yield from self.writes.change(plan, params, shards[0], place.bucket, tx))
        if tx is not None and _decides(plan, tx, place.anywhere):
            yield from self.writes.enter(tx, shards[0])
        reply: Reply = yield Send(shards[0], plan.sql, params, buckets=self._touched(plan, place))
        if plan.kind is not Kind.INSERT or not reply.rowcount:
            reply.lastrowid = None  # else it is that of whatever was inserted last on this connection
        return reply

    def stream(self, sql: str, given: Params, tx: Transaction | None, *, again: bool = True) -> Steps[Reply]:
        """Run one statement and hand its rows on as they come, as `Emit`s; the reply has none."""
        plan, params = yield from self._planned(sql, given)
        if plan.kind is not Kind.SELECT:
            reply = yield from self.execute(sql, given, tx)
            yield Emit(reply.columns, reply.rows, reply.types)
            return reply
        place = yield from self.placing.place(plan, params, tx)
        shards = place.shards
        if len(shards) > 1:
            _refuse_in_transaction(tx, shards)
            try:
                yield from self.reads.stream(plan, params, place, tx)
            except StaleShape as stale:  # before any row of it was handed on
                self._again(stale, again)
                return (yield from self.stream(sql, given, tx, again=False))
            return Reply()
        if tx is not None and _decides(plan, tx, place.anywhere):
            yield from self.writes.enter(tx, shards[0])
        yield from stream_one(shards[0], plan.sql, params, self._touched(plan, place))
        return Reply()

    def _planned(self, sql: str, params: Params) -> Steps[tuple[Plan, Params]]:
        """The plan of a text, and the parameters that it takes: also those that were written into the text."""
        plan = self._plans.get(sql)
        if plan is not None:
            return plan, params
        shared = normal(sql, self.layout.dialect.engine)
        known = self._shared.get(shared.sql) if shared else None
        values = shared.params(params) if shared else None
        if isinstance(known, Plan) and values is not None:
            return known, values
        plan = yield from self.plan(sql)
        if shared and known is not False:
            yield from self._share(shared, plan, met=known is True)
        else:
            self._plans.put(sql, plan)
        return plan, params

    def _share(self, shared: Normal, plan: Plan, *, met: bool) -> Steps[None]:
        """Keep one plan for all texts that differ from this one in their values, once a second one is met."""
        if not met:
            self._shared.put(shared.sql, True)
            return
        try:
            found = yield from self.plan(shared.sql)
        except (RoutingError, StatementError):  # as `-?` is no plain value where `-5` was
            self._shared.put(shared.sql, False)
        else:
            self._shared.put(shared.sql, found if same_way(plan, found) else False)

    def execute_many(self, sql: str, rows: Sequence[Params], tx: Transaction | None) -> Steps[Reply]:
        """Run one writing statement for many rows. All or none of the rows of each shard."""
        plan = yield from self.planned(sql)
        if not plan.writes or plan.kind is Kind.DDL:
            raise StatementError("executemany is for INSERT, UPDATE and DELETE", hint="use execute")
        if plan.inserting:
            return (yield from self.writes.insert(plan, rows, tx))
        if isinstance(plan.route, Everywhere):
            return (yield from self._everywhere(plan, rows, tx, many=True))
        if plan.changing:
            return (yield from self._one_by_one(sql, rows, tx))
        placed: dict[str, Rows] = {}
        for position, params in enumerate(rows):
            place = yield from self.placing.place(plan, params, tx)
            if len(place.shards) > 1:
                raise CrossShardError("a row needs several shards", hint="name the shard key in the WHERE")
            placed.setdefault(place.shards[0], Rows()).add(params, self._touched(plan, place), position)
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
                if isinstance(error, FenceError):
                    error.done = (frozenset(range(done)), changed)
                    raise
                said = f"{error} (the first {done} of {len(rows)} rows of parameters are done, the rest is not)"
                raise type(error)(said, hint=error.hint, retryable=error.retryable) from error
        return Reply(rowcount=changed)

    def planned(self, sql: str) -> Steps[Plan]:
        """The plan of a text, planned once."""
        plan = self._plans.get(sql)
        if plan is None:
            plan = yield from self.plan(sql)
            self._plans.put(sql, plan)
        return plan

    def _again(self, stale: StaleShape, again: bool) -> None:
        """Another process has changed the schema: read the shapes anew, once."""
        self.forget_shapes()
        if not again:
            raise StatementError(
                f"{stale.table}: {stale.shard} has other columns than another shard",
                hint="make the schema the same on all shards; `tenfold check --live` names every difference",
            )

    def plan(self, sql: str) -> Steps[Plan]:
        """Plan a statement. Reads the shape of a table that is met for the first time, and those of all tables
        again before a refusal that rests on what was read long ago: another process may have changed the schema."""
        known = set(self._shapes)
        try:
            return (yield from self._plan(sql))
        except (RoutingError, StatementError, ConfigError):
            if not known & set(self._shapes):
                raise
            self._tables.clear()
            self._shapes.clear()
            return (yield from self._plan(sql))

    def _plan(self, sql: str) -> Steps[Plan]:
        statement = parse(sql, self.layout.dialect)
        known = {}
        shapes = {}
        if statement.kind is not Kind.DDL:
            places = {name.lower(): self.layout.tables.get(name.lower()) for name in table_names(statement)}
            alone = len({place.shard for place in places.values() if isinstance(place, Pinned)}) < 2
            several = any(isinstance(place, Grouped) for place in places.values()) or not alone
            for name, place in places.items():
                if isinstance(place, Grouped):
                    known[name] = yield from self.table(place)
                elif place is not None and several:
                    shapes[name] = yield from self._shape(place.table, self.layout.shards_of(name))
        return planner.plan(statement, self.layout, known, shapes)

    def table(self, placed: Grouped) -> Steps[GroupTable]:
        """A table of a group with its shape, read once."""
        name = placed.table.lower()
        if name not in self._tables:
            self._tables[name] = group_table(placed, (yield from self._shape(placed.table, self.layout.shards)))
        return self._tables[name]

    def _shape(self, table: str, shards: Sequence[str]) -> Steps[TableShape]:
        """The shape of a table, read from the first shard that answers."""
        if table in self._shapes:
            return self._shapes[table]
        down: TenfoldError | None = None
        for shard in shards:
            try:
                shape = yield from read_shape(shard, table, self.layout.dialect)
            except NodeError as error:
                down = error
                continue
            if shape is None:
                raise StatementError(f"no such table: {table}", hint="create it first, through Tenfold")
            self._shapes[table] = shape
            return shape
        raise down or CrossShardError("there are no shards")

    def known_table(self, name: str) -> GroupTable | None:
        """A table of a group of which the shape was read; None for other tables. name: lower-case."""
        return self._tables.get(name)

    def new_id(self, table: str, key: object, tx: Transaction | None) -> Steps[int]:
        """An id for a row to come. `key`: the owner's shard key; None for the key table itself."""
        placed = self.layout.placed(table)
        known = (yield from self.table(placed)) if isinstance(placed, Grouped) else None
        if known is None or known.id_column is None:
            raise StatementError(f"{table} takes no ids from Tenfold", hint="ids are for tables of a group")
        if known.id_is_key:
            return (yield from self.ids.draw(None, tx))
        return (yield from self.ids.draw(bucket_of(key, known.key_type), tx))

    def forget_shapes(self) -> None:
        """After a change of the schema."""
        self._plans.clear()
        self._shared.clear()
        self._tables.clear()
        self._shapes.clear()

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
            shard: SendMany(shard, plan.sql, rows, buckets=(REFERENCE,))
            if many
            else Send(shard, plan.sql, rows[0], buckets=(REFERENCE,))
            for shard in route.shards
        }
        if tx is not None:
            yield from self.writes.enter(tx, route.shards[0])
            only: Reply = yield sends[route.shards[0]]
            return only
        if route.ddl and self.layout.dialect == MYSQL:
            try:
                replies = yield from ddl_on_all(sends, plan.tables[0])
            finally:
                self.forget_shapes()
        else:
            shares = {shard: Share([send]) for shard, send in sends.items()}
            yield from on_all(shares, self.reservations, plan.tables[0])
            replies = [share.total() for share in shares.values()]
            if route.ddl:
                self.forget_shapes()
        placed = self.layout.placed(plan.tables[0])
        if route.drops and isinstance(placed, Grouped):
            yield from self.reservations.forget(placed.table, placed.unique, route.shards)
        return replies[0]


def _refuse_in_transaction(tx: Transaction | None, shards: Sequence[str]) -> None:
    if tx is not None and not tx.reads_anywhere:
        raise CrossShardError(
            f"the statement needs {len(shards)} shards, a transaction has one",
            hint="run it outside the transaction, or add the shard key to its WHERE",
        )


def _decides(plan: Plan, tx: Transaction, anywhere: bool) -> bool:
    """Whether a statement of one shard belongs into the transaction, and so decides which shard that is on."""
    if plan.writes or plan.locks:
        return True
    if tx.reads_anywhere:
        return False  # it runs inside where the transaction is on its shard, and outside elsewhere
    return not (anywhere and tx.shard is None)
