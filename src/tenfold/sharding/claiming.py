"""Writes of one shard that claim or free reserved values: claim, write with the verdict, confirm. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from tenfold.errors import ConstraintError, NodeError, TenfoldError
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.layout import refuse_cut
from tenfold.sharding.plan import Changing, Plan
from tenfold.sharding.ports import Begin, Chance, Params, Reply, Send, SendMany, Steps
from tenfold.sharding.reserve import Claim, Settlement, Transaction, claim_of
from tenfold.sharding.statement import Kind, picked, value
from tenfold.sharding.together import unlike
from tenfold.sharding.transactions import Transactions


class _Moved(Exception):
    """The rows to change are no longer those that the probe saw."""


_Rows = Counter[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A probe, as it is asked inside the transaction, and the rows that it gave before anything was claimed."""

    probe: Send
    before: _Rows


@dataclass(frozen=True, slots=True)
class Claiming:
    """Runs statements that touch values kept unique over all shards: see `reserve`."""

    transactions: Transactions
    dialect: Dialect

    def change(self, plan: Plan, params: Params, shard: str, bucket: int, tx: Transaction | None) -> Steps[Reply]:
        """Run an UPDATE or DELETE that frees or claims reserved values."""
        assert plan.changing is not None  # noqa: S101
        changing = plan.changing
        given = picked(changing.probe, params)
        # Only a locking read sees what others have committed since the transaction began.
        inside = Send(shard, changing.probe.sql + self.dialect.current_read, given, buckets=(bucket,))
        first = inside if tx is not None and tx.shard is not None else replace(inside, sql=changing.probe.sql)
        for _ in range(10):
            before = _Rows(tuple(row) for row in (yield first).rows)
            settlement = Settlement((yield Chance()).token, shard, table=changing.table)
            settlement.claims, settlement.frees = _claims_and_frees(changing, params, bucket, before)
            write = Send(shard, plan.sql, params, buckets=(bucket,))
            # MySQL counts the rows of an UPDATE that are not the same afterwards.
            least = 0 if plan.kind is Kind.UPDATE and self.dialect == MYSQL else before.total()
            rows = range(least, before.total() + 1)
            try:
                reply = yield from self.settled(settlement, write, rows, tx, _Seen(inside, before))
            except _Moved:
                continue
            reply.lastrowid = None  # it would be that of whatever was inserted last on this connection
            return reply
        raise NodeError(f"the rows of {changing.table.name} keep changing", hint="try again")

    def settled(
        self, settlement: Settlement, write: Send | SendMany, rows: range, tx: Transaction | None, seen: _Seen | None
    ) -> Steps[Reply]:
        """Claim, write with the verdict in one transaction, confirm. rows: how many it may change."""
        own = tx if tx is not None else Transaction()
        reservations = self.transactions.reservations
        yield from reservations.make(settlement, own)
        try:
            if tx is None:
                yield Begin(write.shard)
                own.shard = write.shard
                reply = yield from self._write(settlement, write, rows, seen)
            else:
                yield from self.transactions.enter(tx, write.shard)
                reply = yield from self._write_inside(settlement, write, rows, seen)
        except (TenfoldError, _Moved):
            if tx is None:
                own.settlements.append(settlement)
                yield from self.transactions.rollback(own)
            else:
                yield from reservations.withdraw(settlement)
            raise
        own.settlements.append(settlement)
        if tx is None:
            yield from self.transactions.commit(own)
        return reply

    def _write_inside(
        self, settlement: Settlement, write: Send | SendMany, rows: range, seen: _Seen | None
    ) -> Steps[Reply]:
        """The caller's transaction goes on without a statement that fails, and without its verdict."""
        yield Send(write.shard, "SAVEPOINT tf_write")
        try:
            reply = yield from self._write(settlement, write, rows, seen)
        except (TenfoldError, _Moved):
            with suppress(TenfoldError):  # the whole transaction is lost, and this statement with it
                yield Send(write.shard, "ROLLBACK TO SAVEPOINT tf_write")
                yield Send(write.shard, "RELEASE SAVEPOINT tf_write")
            raise
        yield Send(write.shard, "RELEASE SAVEPOINT tf_write")
        return reply

    def _write(self, settlement: Settlement, write: Send | SendMany, rows: range, seen: _Seen | None) -> Steps[Reply]:
        """Inside the transaction: see that the rows are those of the probe, give the verdict, write."""
        reservations = self.transactions.reservations
        if seen is not None:
            now = _Rows(tuple(row) for row in (yield seen.probe).rows)
            if now != seen.before or not (yield from reservations.still_absent(settlement)):
                raise _Moved
        yield from reservations.give_verdict(settlement, write.shard)
        reply: Reply = yield write
        if reply.rowcount not in rows:
            raise unlike(reply.rowcount, rows.stop - 1)
        return reply


def _claims_and_frees(
    changing: Changing, params: Params, bucket: int, before: _Rows
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
            if before.total() > 1:
                raise ConstraintError(
                    f"{table.name}.{column}: {before.total()} rows would have one value", hint="change one row"
                )
            refuse_cut(table, column, new)
            claim = claim_of(table.name, column, new, kind, bucket)
            claims += [claim] if claim not in olds else []
            olds.discard(claim)
        frees += _in_order(olds)
    return claims, frees


def _in_order(claims: Iterable[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: claim.digest)
