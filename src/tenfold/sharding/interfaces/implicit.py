"""The transaction that PEP 249 begins by itself, on the one shard that its first write decides. Edge.

While nothing is pending, reads run by themselves, and so do the writes that no transaction can hold: those of the
schema, and of reference tables, which every shard must take. The first other write begins the transaction. From then
on statements of its shard run inside; reads of other shards run beside it; writes to other shards are refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from tenfold.errors import CrossShardError, NodeError, TenfoldError
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.guard import Guard
from tenfold.sharding.interfaces.shared import Shared
from tenfold.sharding.interfaces.stream import Stream
from tenfold.sharding.plan import Everywhere, Plan
from tenfold.sharding.ports import Driver, Params, Reply, Steps
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.statement import Kind

Work = Callable[[Guard, Transaction | None], Steps[Reply]]


class Implicit:
    """The statements of one connection. For one thread at a time. Errors are Tenfold's own."""

    def __init__(self, shared: Shared, *, autocommit: bool) -> None:
        self.autocommit = autocommit
        self._shared = shared
        self._undone = ""
        self._process = os.getpid()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._tx = Transaction(reads_anywhere=True)
        self._session: Session[Driver] = Session()

    @property
    def pending(self) -> bool:
        """Whether a transaction has begun that neither `commit` nor `rollback` has ended."""
        return self._tx.shard is not None or self._tx.moved or bool(self._undone)

    def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement."""
        return self._run(sql, lambda guard, tx: guard.execute(sql, params, tx))

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one writing statement for each row of parameters."""
        return self._run(sql, lambda guard, tx: guard.execute_many(sql, rows, tx))

    def stream(self, sql: str, params: Params) -> Stream | Reply:
        """As `execute`, but the rows of a SELECT are read from the shards as they are wanted. While a transaction is
        pending they are read at once: other statements must be able to follow on its connection."""
        guard = self._ready()
        if not self.pending:
            plan = self._plan(sql)
            if plan.kind is Kind.SELECT and (self.autocommit or not plan.locks):
                return Stream(self._shared.database.runner.stream(guard.stream(sql, params)))
        return self.execute(sql, params)

    def commit(self) -> None:
        """Make what is pending durable. Raises NodeError when the outcome is in doubt; nothing is pending after it."""
        guard = self._ready()
        if self.pending:
            self._end(guard.commit(self._tx))

    def rollback(self) -> None:
        """Undo what is pending."""
        self._notice_fork()
        self._undone = ""
        if self.pending:
            self._end(self._shared.database.guard.rollback(self._tx))

    def abandoned(self) -> Session[Driver]:
        """What is open, when nobody can reach the connection any more."""
        self._notice_fork()
        return self._session

    def _run(self, sql: str, work: Work) -> Reply:
        guard, runner = self._ready(), self._shared.database.runner
        if self.autocommit:
            return runner.run(work(guard, None))
        was_pending = self.pending
        try:
            return runner.run(work(guard, self._tx), self._session)
        except TenfoldError as error:
            if not was_pending:  # nothing was written: why keep locks and a connection?
                with suppress(TenfoldError):
                    self._end(guard.rollback(self._tx))
            if not isinstance(error, CrossShardError):
                raise
            plan = self._plan(sql)
            if was_pending or not isinstance(plan.route, Everywhere):
                raise _with_the_way_out(error, plan) from error
        except BaseException:
            # Nobody knows how far the statement came, so the transaction cannot be committed.
            session, self._undone = self._session, "a statement of it was interrupted" if self._tx.shard else ""
            self._begin_anew()
            for link in session.open.values():  # its next answer would be that of the interrupted statement
                link.driver.close()
            runner.abort(session)
            raise
        return runner.run(work(guard, None))  # every shard must take it, so no transaction can hold it

    def _plan(self, sql: str) -> Plan:
        database = self._shared.database
        return database.runner.run(database.guard.planned(sql))

    def _end(self, steps: Steps[None]) -> None:
        session, runner = self._session, self._shared.database.runner
        try:
            runner.run(steps, session)
        finally:
            self._begin_anew()
            runner.abort(session)

    def _ready(self) -> Guard:
        self._shared.reap()
        self._notice_fork()
        if self._undone:
            raise NodeError(
                f"the transaction is undone: {self._undone}",
                hint="call connection.rollback(), and run all of the transaction again",
            )
        return self._shared.database.guard

    def _notice_fork(self) -> None:
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        if self._tx.shard is not None:
            self._undone = "it was begun before the fork, and is the parent's"
        self._begin_anew()  # the pool keeps the parent's connections open and untouched


def _with_the_way_out(error: CrossShardError, plan: Plan) -> CrossShardError:
    if not plan.writes:
        return error
    if isinstance(plan.route, Everywhere):
        return CrossShardError(str(error), hint="commit or roll back first: it is then committed by itself")
    hint = f"{error.hint} (outside a transaction: commit, then set connection.autocommit = True)"
    return CrossShardError(str(error), hint=hint)
