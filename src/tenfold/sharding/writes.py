"""Writes to tables of a group: rows batched by shard, several shards committed one after the other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.errors import CrossShardError, FenceError, NodeError, TenfoldError
from tenfold.sharding.claiming import Claiming
from tenfold.sharding.filling import Filled, Filler
from tenfold.sharding.idlease import Ids
from tenfold.sharding.layout import GroupTable, Layout
from tenfold.sharding.placing import Placing
from tenfold.sharding.plan import Copying, Inserting, Plan
from tenfold.sharding.ports import Chance, Params, Reply, Send, SendMany, Steps
from tenfold.sharding.reserve import Claim, Reservations, Settlement, Transaction
from tenfold.sharding.statement import picked, value
from tenfold.sharding.together import Share, on_all
from tenfold.sharding.transactions import Transactions, refuse_several, refuse_to_leave
from tenfold.sharding.upserts import check_fits


@dataclass(slots=True)
class Batch:
    """What one shard inserts. texts: each with its rows of parameters; rows: how many they are all together."""

    texts: dict[str, list[Params]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    rows: int = 0
    buckets: set[int] = field(default_factory=set)
    positions: list[int] = field(default_factory=list)

    def writes(self, shard: str) -> list[Send | SendMany]:
        """As effects."""
        buckets = tuple(sorted(self.buckets))
        return [
            Send(shard, sql, rows[0], buckets=buckets)
            if len(rows) == 1
            else SendMany(shard, sql, rows, buckets=buckets)
            for sql, rows in self.texts.items()
        ]


@dataclass(slots=True)
class Rows:
    """What one shard is sent for many rows of parameters.

    buckets    those that they touch; None: any
    positions  of the rows among all that the caller gave
    """

    params: list[Params] = field(default_factory=list)
    buckets: set[int] | None = field(default_factory=set)
    positions: list[int] = field(default_factory=list)

    def add(self, params: Params, buckets: Sequence[int] | None, position: int) -> None:
        """One row more."""
        self.params.append(params)
        self.positions.append(position)
        self.buckets = None if self.buckets is None or buckets is None else self.buckets.union(buckets)


_Last = tuple[int | None, str]
"""Id and shard of the row that was named last."""


@dataclass(slots=True)
class Writes:
    """The writing half of the executor."""

    placing: Placing
    ids: Ids
    reservations: Reservations
    filler: Filler = field(init=False)
    transactions: Transactions = field(init=False)
    claiming: Claiming = field(init=False)

    def __post_init__(self) -> None:
        self.filler = Filler(self.placing, self.ids)
        self.transactions = Transactions(self.ids, self.reservations)
        self.claiming = Claiming(self.transactions, self.layout.dialect)

    @property
    def layout(self) -> Layout:
        """Where the tables are."""
        return self.placing.layout

    # --- the caller's transaction ---

    def enter(self, tx: Transaction, shard: str) -> Steps[None]:
        """See `Transactions.enter`."""
        return self.transactions.enter(tx, shard)

    def commit(self, tx: Transaction) -> Steps[None]:
        """See `Transactions.commit`."""
        return self.transactions.commit(tx)

    def rollback(self, tx: Transaction) -> Steps[None]:
        """See `Transactions.rollback`."""
        return self.transactions.rollback(tx)

    # --- INSERT ---

    def insert(self, plan: Plan, rows: Sequence[Params], tx: Transaction | None) -> Steps[Reply]:
        """Run an INSERT for each row of parameters.

        One execution is all or none, whatever shards its rows go to; several are all or none of the rows of each
        shard. RETURNING gives the rows of one shard after those of another. lastrowid is the id of the last row;
        None when that one was ignored, or updated a row that was there.
        """
        assert plan.inserting is not None  # noqa: S101
        inserting = plan.inserting
        if inserting.copying is not None:
            return (yield from self._copy(plan, inserting, inserting.copying, rows, tx))
        batches: dict[str, Batch] = {}
        apart = False
        last: _Last = (None, "")
        for position, params in enumerate(rows):
            filled = yield from self.filler.fill(inserting, params, tx)
            homes = [self.placing.shard_of(bucket) for bucket in filled.buckets]
            for shard in dict.fromkeys(homes):
                batches.setdefault(shard, Batch()).positions.append(position)
            apart = _deal(plan, inserting, filled, homes, batches) or apart
            last = (filled.ids[-1], homes[-1])
        if tx is not None:
            refuse_to_leave(tx, list(batches))
        batches = {shard: batches[shard] for shard in self.layout.shards if shard in batches}
        if apart:
            reply = yield from self._insert_apart(inserting, batches)
        elif any(batch.claims for batch in batches.values()):
            reply = yield from self._insert_claiming(inserting.table, batches, tx)
        elif len(rows) == 1:
            reply = yield from self._send_one(batches, tx)
        else:
            placed = {
                shard: Rows(batch.texts[plan.sql], batch.buckets, batch.positions) for shard, batch in batches.items()
            }
            reply = yield from self.send_batches(plan.sql, placed, tx)
        if inserting.table.id_column:
            expected = sum(batch.rows for batch in batches.values())
            reply.lastrowid = yield from self._last_id(inserting, last, reply.rowcount, expected)
        elif not reply.rowcount:
            reply.lastrowid = None  # else it is that of whatever was inserted last on this connection
        return reply

    def _last_id(self, inserting: Inserting, last: _Last, changed: int, expected: int) -> Steps[int | None]:
        """The id of the last row, if the table has it: an upsert may have kept the row that was in the way."""
        row_id, shard = last
        table = inserting.table
        if not changed or row_id is None or table.id_column is None:
            return None
        if inserting.verb not in ("ignore", "update") or (inserting.verb == "ignore" and changed == expected):
            return row_id
        quoted = self.layout.dialect.quoted
        column = quoted(table.shape.columns[table.id_column].name)
        found = yield Send(shard, f"SELECT 1 FROM {quoted(table.name)} WHERE {column} = ?", (row_id,), buckets=())  # noqa: S608
        return row_id if found.rows else None

    def _send_one(self, batches: Mapping[str, Batch], tx: Transaction | None) -> Steps[Reply]:
        ((shard, batch),) = batches.items()
        if tx is not None:
            yield from self.enter(tx, shard)
        (write,) = batch.writes(shard)
        reply: Reply = yield write
        return reply

    def send_batches(self, sql: str, batches: Mapping[str, Rows], tx: Transaction | None) -> Steps[Reply]:
        """Send each shard its rows. Outside a transaction a failure says which shards have theirs."""
        done: list[str] = []
        total = Reply()
        if tx is not None:
            refuse_to_leave(tx, list(batches))
        for shard, rows in batches.items():
            if tx is not None:
                yield from self.enter(tx, shard)
            try:
                buckets = None if rows.buckets is None else tuple(sorted(rows.buckets))
                reply: Reply = yield SendMany(shard, sql, rows.params, buckets=buckets)
            except FenceError as error:
                stored = [position for each in done for position in batches[each].positions]
                error.done = (frozenset(stored), total.rowcount)
                raise
            except TenfoldError as error:
                raise _partly(error, done, shard) from error
            total = Reply(rowcount=total.rowcount + reply.rowcount)
            done.append(shard)
        return total

    def _insert_apart(self, inserting: Inserting, batches: Mapping[str, Batch]) -> Steps[Reply]:
        """Rows of one execution that go to several shards, committed when all shards have theirs."""
        if inserting.verb == "fail":
            raise CrossShardError(
                "INSERT OR FAIL keeps the rows before a bad one, and the rows go to several shards",
                hint="write a plain INSERT, which stores all rows or none",
            )
        shares: dict[str, Share] = {}
        for shard, batch in batches.items():
            shares[shard] = Share(batch.writes(shard), rows=batch.rows)
            if batch.claims:
                shares[shard].settlement = Settlement(
                    (yield Chance()).token, shard, batch.claims, table=inserting.table
                )
        return (yield from on_all(shares, self.reservations, inserting.table.name))

    def _insert_claiming(self, table: GroupTable, batches: Mapping[str, Batch], tx: Transaction | None) -> Steps[Reply]:
        done: list[str] = []
        total = Reply()
        for shard, batch in batches.items():
            settlement = Settlement((yield Chance()).token, shard, batch.claims, table=table)
            (write,) = batch.writes(shard)
            exactly = range(batch.rows, batch.rows + 1)
            try:
                reply = yield from self.claiming.settled(settlement, write, exactly, tx, None)
            except TenfoldError as error:
                raise _partly(error, done, shard) from error
            done.append(shard)
            total = Reply(reply.columns, [*total.rows, *reply.rows], total.rowcount + reply.rowcount)
        return total

    # --- INSERT … SELECT ---

    def _copy(
        self, plan: Plan, inserting: Inserting, copying: Copying, rows: Sequence[Params], tx: Transaction | None
    ) -> Steps[Reply]:
        """On the shard of its key, or on every shard for the rows that this one has."""
        placed: dict[str, list[Params]] = {}
        for params in rows:
            for shard in self._copied_on(plan, inserting, copying, params):
                placed.setdefault(shard, []).append(params)
        shares = {
            shard: self._copied(plan, inserting, copying, shard, placed[shard])
            for shard in self.layout.shards
            if shard in placed
        }
        if tx is not None and len(shares) > 1:
            raise refuse_several(list(shares))
        if tx is not None:
            for shard, share in shares.items():
                yield from self.enter(tx, shard)
                yield from share.done(shard, self.reservations)
            reply = next(iter(shares.values())).total() if shares else Reply()
        elif len(shares) == 1 and not copying.check:
            ((write,),) = [share.writes for share in shares.values()]
            reply = yield write
        else:
            reply = yield from on_all(shares, self.reservations, inserting.table.name)
        if inserting.table.id_column or not reply.rowcount:
            reply.lastrowid = None
        return reply

    def _copied_on(self, plan: Plan, inserting: Inserting, copying: Copying, params: Params) -> Sequence[str]:
        table, route = inserting.table, plan.route
        if copying.key is not None:
            check_fits(inserting.verb, self.layout.dialect, table.shape.columns[table.key], value(copying.key, params))
        return self.placing.of_route(route, params) or self.layout.shards[:1]

    def _copied(self, plan: Plan, inserting: Inserting, copying: Copying, shard: str, rows: Sequence[Params]) -> Share:
        write = Send(shard, plan.sql, rows[0]) if len(rows) == 1 else SendMany(shard, plan.sql, rows)
        share = Share([write])
        if copying.check is not None:
            share.refusal = self.filler.foreign_id(inserting.table, "of a row that is selected")
            marks = [self.placing.watermarks.get(name) for name in (inserting.table.name.lower(), copying.origin)]
            known = [mark for mark in marks if mark is not None]
            if not self.placing.alone and len(known) < len(marks):
                raise share.refusal
            floor = -1 << 62 if self.placing.alone else max(known)
            share.guards = [
                Send(shard, f"{copying.check.sql}{floor}", picked(copying.check, params)) for params in rows
            ]
        return share

    # --- UPDATE and DELETE ---

    def change(self, plan: Plan, params: Params, shard: str, bucket: int, tx: Transaction | None) -> Steps[Reply]:
        """Run an UPDATE or DELETE that frees or claims reserved values, on the shard of its one bucket."""
        return self.claiming.change(plan, params, shard, bucket, tx)

    def change_on(self, plan: Plan, params: Params, shards: Sequence[str], tx: Transaction | None) -> Steps[Reply]:
        """Run an UPDATE or DELETE on several shards, each for its own rows; rowcount is the sum."""
        if tx is not None:
            raise refuse_several(shards)
        if plan.changing is not None:
            raise CrossShardError(
                f"{plan.kind.upper()} of values of {plan.tables[0]} that are reserved over all shards is done for one "
                "key at a time",
                hint=f"add `{plan.changing.table.key} = ?` to its WHERE",
            )
        ordered = [shard for shard in self.layout.shards if shard in shards]
        shares = {shard: Share([Send(shard, plan.sql, params)]) for shard in ordered}
        reply = yield from on_all(shares, self.reservations, plan.tables[0])
        reply.lastrowid = None
        return reply


def _deal(plan: Plan, inserting: Inserting, filled: Filled, homes: Sequence[str], batches: dict[str, Batch]) -> bool:
    """Give each shard its rows of one execution; → whether they go apart."""
    shards = list(dict.fromkeys(homes))
    for shard in shards:
        here = [row for row, home in enumerate(homes) if home == shard]
        sql, params = plan.sql, filled.params
        if len(shards) > 1:
            cuts = inserting.cuts
            if cuts is None:
                raise CrossShardError(
                    f"the rows of {inserting.table.name} go to several shards, and its text cannot be cut between them",
                    hint="insert them with executemany, one row of parameters each",
                )
            sql = cuts.only(here)
            if not isinstance(params, Mapping):
                whole = params
                params = [whole[slot] for slot in cuts.slots(here) if slot < len(whole)]
        batch = batches.setdefault(shard, Batch())
        batch.texts.setdefault(sql, []).append(params)
        batch.claims += [claim for row in here for claim in filled.claims[row]]
        batch.rows += len(here)
        batch.buckets.update(filled.buckets[row] for row in here)
    return len(shards) > 1


def _partly(error: TenfoldError, done: Sequence[str], failed: str) -> TenfoldError:
    """Say which shards have their rows already, if any has."""
    if not done:
        return error
    said = f"{error} (rows for {', '.join(done)} are stored, those for {failed} are not)"
    kind = NodeError if isinstance(error, FenceError) else type(error)  # run again, it would store the others twice
    return kind(said, hint=error.hint, retryable=error.retryable)
