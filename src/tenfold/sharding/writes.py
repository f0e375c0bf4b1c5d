"""Writes to tables of a group: ids drawn, reserved values claimed, rows batched by shard. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tenfold.errors import (
    ConstraintError,
    CrossShardError,
    NodeError,
    ShardKeyError,
    StatementError,
    TenfoldError,
)
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.idlease import Ids
from tenfold.sharding.ids import MAX_ID, id_bucket
from tenfold.sharding.inserts import ID_PARAMETER
from tenfold.sharding.keys import KeyType, bucket_of, canonical
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.plan import Changing, Inserting, InsertRow, Plan
from tenfold.sharding.ports import Begin, Chance, Commit, Params, Reply, Rollback, Send, SendMany, Steps
from tenfold.sharding.reserve import Claim, Reservations, Settlement, Transaction, claim_of
from tenfold.sharding.statement import Param, value


@dataclass(slots=True)
class Batch:
    """The rows of an executemany that go to one shard."""

    rows: list[Params] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


class _Moved(Exception):
    """The rows to change are no longer those that the probe saw."""


_Seen = tuple[Send, list[tuple[object, ...]]]
"""A probe, and the rows that it gave before anything was claimed."""


def refuse_to_leave(tx: Transaction, shards: Sequence[str]) -> None:
    """Raises CrossShardError when a statement of the transaction needs another shard than the one it is on."""
    home = tx.shard or next(iter(shards), None)
    for shard in shards:
        if shard != home:
            raise CrossShardError(
                f"the statement belongs to {shard}, the transaction is on {home}",
                hint="a transaction has one shard: write the other part outside it, with an outbox row inside",
            )


@dataclass(slots=True)
class Writes:
    """The writing half of the executor."""

    map: BucketMap
    watermarks: Mapping[str, int]
    ids: Ids
    reservations: Reservations

    def one_bucket(self, keys: Sequence[object], kind: KeyType) -> int:
        """The one bucket of all keys. Raises CrossShardError when they lie apart, ShardKeyError for a bad one."""
        bucket = bucket_of(keys[0], kind)
        for key in keys[1:]:
            if bucket_of(key, kind) != bucket:
                raise CrossShardError(
                    "the statement names several shard keys, which may live on different shards",
                    hint="write one statement for each key; for many rows use executemany",
                )
        return bucket

    # --- the caller's transaction ---

    def enter(self, tx: Transaction, shard: str) -> Steps[None]:
        """Bring the transaction onto `shard`; the first statement decides which it is."""
        refuse_to_leave(tx, [shard])
        if tx.shard is None:
            if shard == self.ids.catalog:
                yield from self.ids.ahead(tx)
            yield Begin(shard)
            tx.shard = shard

    def commit(self, tx: Transaction) -> Steps[None]:
        """Commit. Raises NodeError when the outcome is in doubt; reservations are then settled by the sweeper.
        StatementError (a deferred constraint) leaves nothing in doubt: all is undone."""
        shard, tx.shard = tx.shard, None
        if shard is not None:
            try:
                yield Commit(shard)
            except StatementError:
                yield from self.rollback(tx)
                raise
        for settlement in tx.settlements:
            yield from self.reservations.confirm(settlement)

    def rollback(self, tx: Transaction) -> Steps[None]:
        """Undo everything."""
        if tx.shard is not None:
            yield Rollback(tx.shard)
            tx.shard = None
        for settlement in tx.settlements:
            yield from self.reservations.withdraw(settlement)

    # --- INSERT ---

    def insert(self, plan: Plan, rows: Sequence[Params], tx: Transaction | None) -> Steps[Reply]:
        """Run an INSERT for each row of parameters; all or none of the rows of each shard."""
        assert plan.inserting is not None  # noqa: S101
        batches: dict[str, Batch] = {}
        last_id: int | None = None
        for params in rows:
            filled, bucket, row_id, claims = yield from self._fill(plan.inserting, params, tx)
            batch = batches.setdefault(self.map.owners[bucket], Batch())
            batch.rows.append(filled)
            batch.claims += claims
            last_id = last_id if row_id is None else row_id
        if tx is not None:
            refuse_to_leave(tx, list(batches))
        if not any(batch.claims for batch in batches.values()):
            if len(rows) == 1:
                reply = yield from self._send_one(plan.sql, batches, tx)
            else:
                reply = yield from self.send_batches(plan.sql, {s: b.rows for s, b in batches.items()}, tx)
        else:
            reply = yield from self._insert_claiming(plan.sql, batches, len(plan.inserting.rows), tx)
        reply.lastrowid = (last_id if plan.inserting.table.id_column else reply.lastrowid) if reply.rowcount else None
        return reply

    def _send_one(self, sql: str, batches: dict[str, Batch], tx: Transaction | None) -> Steps[Reply]:
        ((shard, batch),) = batches.items()
        if tx is not None:
            yield from self.enter(tx, shard)
        reply: Reply = yield Send(shard, sql, batch.rows[0])
        return reply

    def send_batches(self, sql: str, batches: Mapping[str, Sequence[Params]], tx: Transaction | None) -> Steps[Reply]:
        """Send each shard its rows. Outside a transaction a failure says which shards have theirs."""
        done: list[str] = []
        total = 0
        if tx is not None:
            refuse_to_leave(tx, list(batches))
        for shard, rows in batches.items():
            if tx is not None:
                yield from self.enter(tx, shard)
            try:
                total += (yield SendMany(shard, sql, rows)).rowcount
            except TenfoldError as error:
                raise _partly(error, done, shard) from error
            done.append(shard)
        return Reply(rowcount=total)

    def _insert_claiming(
        self, sql: str, batches: dict[str, Batch], rows_each: int, tx: Transaction | None
    ) -> Steps[Reply]:
        done: list[str] = []
        total = Reply()
        for shard, batch in batches.items():
            settlement = Settlement((yield Chance()).token, shard, batch.claims)
            one = len(batch.rows) == 1
            write = Send(shard, sql, batch.rows[0]) if one else SendMany(shard, sql, batch.rows)
            try:
                reply = yield from self._settled(settlement, write, rows_each * len(batch.rows), tx, None)
            except TenfoldError as error:
                raise _partly(error, done, shard) from error
            done.append(shard)
            total = Reply(reply.columns, [*total.rows, *reply.rows], total.rowcount + reply.rowcount)
        return total

    def _fill(
        self, inserting: Inserting, params: Params, tx: Transaction | None
    ) -> Steps[tuple[Params, int, int | None, list[Claim]]]:
        """Parameters with ids, the bucket, the last id, the claims of one execution."""
        table = inserting.table
        buckets: set[int] = set()
        ids: list[int] = []
        claims: list[Claim] = []
        for row in inserting.rows:
            row_id = value(row.id, params) if row.id else None
            bucket = self._bucket(table, row, params)
            if table.id_column and row_id is None:
                row_id = yield from self.ids.draw(None if table.id_is_key else bucket, tx)
                ids.append(row_id)
                if row.id is not None:
                    params = _with(params, row.id, row_id)
            if bucket is None:
                bucket = bucket_of(row_id, table.key_type)
            elif row_id is not None and not table.id_is_key:
                row_id = self._checked_id(table, row_id, bucket)
            buckets.add(bucket)
            last_id = row_id
            for column, source in row.claims.items():
                held = value(source, params)
                if held is not None:
                    claims.append(claim_of(table.name, column, held, table.reserved[column], bucket))
        buckets |= {bucket_of(value(item, params), table.key_type) for item in inserting.others}
        if len(buckets) > 1:
            raise CrossShardError(
                f"the rows of {table.name}, or its sub-queries, have different shard keys, "
                "which may live on different shards",
                hint="insert them with executemany, one row of parameters each",
            )
        return _filled(inserting, params, ids), buckets.pop(), last_id, claims

    def _bucket(self, table: GroupTable, row: InsertRow, params: Params) -> int | None:
        if row.key is None:
            return None
        key = value(row.key, params)
        if key is None and table.id_is_key:
            return None
        if key is None:
            raise ShardKeyError(f"the shard key {table.name}.{table.key} is NULL", hint="give every row its shard key")
        return bucket_of(key, table.key_type)

    def _checked_id(self, table: GroupTable, row_id: object, bucket: int) -> int:
        """The id as its column holds it. One from elsewhere must not look like one of Tenfold's that lives on
        another shard; one that carries no bucket might be taken on another shard, and nobody would notice."""
        found = canonical(row_id, KeyType.INTEGER)
        watermark = self.watermarks.get(table.name.lower())
        ours = isinstance(found, int) and watermark is not None and watermark < found <= MAX_ID
        alone = len(set(self.map.owners)) == 1  # then that shard's own primary key sees every row
        if isinstance(found, int) and (id_bucket(found) == bucket if ours else alone):
            return found
        raise CrossShardError(
            f"the id {found!r} of {table.name} is not one that Tenfold drew for this shard key",
            hint=f'leave {table.id_column} out, or draw it with db.new_id("{table.name}", key)',
        )

    # --- UPDATE and DELETE of reserved values ---

    def change(self, plan: Plan, params: Params, shard: str, bucket: int, tx: Transaction | None) -> Steps[Reply]:
        """Run an UPDATE or DELETE that frees or claims reserved values."""
        assert plan.changing is not None  # noqa: S101
        changing = plan.changing
        probe = Send(shard, changing.probe, _picked(changing, params))
        for _ in range(10):
            before = list((yield probe).rows)
            settlement = Settlement((yield Chance()).token, shard)
            settlement.claims, settlement.frees = _claims_and_frees(changing, params, bucket, before)
            write = Send(shard, plan.sql, params)
            try:
                return (yield from self._settled(settlement, write, len(before), tx, (probe, before)))
            except _Moved:
                continue
        raise NodeError(f"the rows of {changing.table.name} keep changing", hint="try again")

    def _settled(
        self, settlement: Settlement, write: Send | SendMany, rows: int, tx: Transaction | None, seen: _Seen | None
    ) -> Steps[Reply]:
        """Claim, write with the verdict in one transaction, confirm: see `reserve`. rows: how many it must change."""
        own = tx if tx is not None else Transaction()
        yield from self.reservations.make(settlement, own)
        try:
            if tx is None:
                yield Begin(write.shard)
                own.shard = write.shard
                reply = yield from self._write(settlement, write, rows, seen)
            else:
                yield from self.enter(tx, write.shard)
                reply = yield from self._write_inside(settlement, write, rows, seen)
        except (TenfoldError, _Moved):
            if tx is None:
                own.settlements.append(settlement)
                yield from self.rollback(own)
            else:
                yield from self.reservations.withdraw(settlement)
            raise
        own.settlements.append(settlement)
        if tx is None:
            yield from self.commit(own)
        return reply

    def _write_inside(
        self, settlement: Settlement, write: Send | SendMany, rows: int, seen: _Seen | None
    ) -> Steps[Reply]:
        """The caller's transaction goes on without a statement that fails, and without its verdict."""
        yield Send(write.shard, "SAVEPOINT tf_write")
        try:
            reply = yield from self._write(settlement, write, rows, seen)
        except (TenfoldError, _Moved):
            with suppress(TenfoldError):  # the whole transaction is lost, and this statement with it
                yield Send(write.shard, "ROLLBACK TO tf_write")
                yield Send(write.shard, "RELEASE tf_write")
            raise
        yield Send(write.shard, "RELEASE tf_write")
        return reply

    def _write(self, settlement: Settlement, write: Send | SendMany, rows: int, seen: _Seen | None) -> Steps[Reply]:
        """Inside the transaction: see that the rows are those of the probe, give the verdict, write."""
        if seen is not None:
            probe, before = seen
            if list((yield probe).rows) != before or not (yield from self.reservations.still_absent(settlement)):
                raise _Moved
        yield from self.reservations.give_verdict(settlement, write.shard)
        reply: Reply = yield write
        if reply.rowcount != rows:
            raise StatementError(
                f"the database changed {reply.rowcount} rows where the statement changes {rows}: "
                "an ON CONFLICT clause or a trigger of the table stands in the way of its unique values",
                hint="take it out of the schema, or the column out of unique in tenfold.toml",
            )
        return reply


def _claims_and_frees(
    changing: Changing, params: Params, bucket: int, before: Sequence[tuple[object, ...]]
) -> tuple[list[Claim], list[Claim]]:
    table = changing.table
    claims: list[Claim] = []
    frees: list[Claim] = []
    for position, column in enumerate(changing.columns):
        kind = table.reserved[column]
        olds = {
            claim_of(table.name, column, row[position], kind, bucket) for row in before if row[position] is not None
        }
        new = value(changing.claims[column], params) if column in changing.claims else None
        if new is not None and before:
            if len(before) > 1:
                raise ConstraintError(
                    f"{table.name}.{column}: {len(before)} rows would have one value", hint="change one row"
                )
            claim = claim_of(table.name, column, new, kind, bucket)
            claims += [claim] if claim not in olds else []
            olds.discard(claim)
        frees += sorted(olds, key=lambda claim: claim.digest)
    return claims, frees


def _picked(changing: Changing, params: Params) -> Params:
    if isinstance(params, Mapping) or changing.probe_slots is None:
        return params
    return [params[slot] for slot in changing.probe_slots if slot < len(params)]


def _with(params: Params, source: object, row_id: int) -> Params:
    """The parameters with a NULL id replaced by the one drawn."""
    slot = source.slot if isinstance(source, Param) else None
    if isinstance(params, Mapping):
        return {**params, str(slot): row_id}
    return [row_id if position == slot else item for position, item in enumerate(params)]


def _filled(inserting: Inserting, params: Params, ids: Sequence[int]) -> Params:
    table = inserting.table
    if table.id_column is None or any(row.id is not None for row in inserting.rows):
        return params
    if isinstance(params, Mapping) or not inserting.id_slots:
        return {**dict(params), **{f"{ID_PARAMETER}{row}": row_id for row, row_id in enumerate(ids)}}
    filled = list(params)
    for slot, row_id in zip(inserting.id_slots, ids, strict=True):
        filled.insert(slot, row_id)
    return filled


def _partly(error: TenfoldError, done: Sequence[str], failed: str) -> TenfoldError:
    """Say which shards have their rows already, if any has."""
    if not done:
        return error
    said = f"{error} (rows for {', '.join(done)} are stored, those for {failed} are not)"
    return type(error)(said, hint=error.hint, retryable=error.retryable)
