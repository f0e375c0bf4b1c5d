"""The handle that a blocking application holds. Edge."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tenfold.errors import PlatformError, TenfoldError
from tenfold.sharding.catalog import load
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.engine.renewal import Renewal, boot_clock
from tenfold.sharding.engine.router import Threads, new_executor, new_pools, read_topology, scratch_of, survive_forks
from tenfold.sharding.engine.runners import Runner
from tenfold.sharding.engine.sweeper import Sweeper
from tenfold.sharding.engine.turns import Turns
from tenfold.sharding.guard import Guard
from tenfold.sharding.lease import Lease
from tenfold.sharding.poolrules import Counters, closed
from tenfold.sharding.ports import Driver, Observer, Params, Steps, main_shard, side
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.result import Result
from tenfold.sharding.streams import Rows
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology


class Database:
    """All shards of a platform, as one database. Thread-safe; safe over a fork. One for each process."""

    def __init__(self, topology: Topology, observer: Observer | None = None) -> None:
        """Connect. `observer` is told of each statement. Raises ConfigError, CatalogError, NodeError."""
        self._catalog: Catalog | None = None
        self._threads = Threads(topology.database.pool_size)
        self._pools = new_pools(topology, lambda: self._catalog)
        self._turns = Turns(topology.database)
        self._runner = Runner(self._pools, self._threads, observer, scratch_of(topology), self._turns)
        try:
            self._catalog = self._runner.run(load(topology))
        except BaseException:
            self._close_pools()
            raise
        for pool in self._pools.values():
            pool.drain()  # opened before the cluster was known: the next ones are checked
        self._guard: Guard | None = None
        self._begin(topology, self._catalog)
        survive_forks(self, self._pools)

    def _begin(self, topology: Topology, catalog: Catalog) -> Guard:
        executor = new_executor(catalog, topology)
        guard = Guard(topology, executor, Lease(boot_clock), topology.database.lock_wait_s, self._changed)
        self._renewal, self._sweeper = Renewal(guard, self._learn), Sweeper(guard)
        self._guard = guard
        self._renewal.once(named=False)
        self._renewal.start()
        self._sweeper.start()
        return guard

    def _learn(self, topology: Topology) -> None:
        """The file names shards that it did not before."""
        fresh = new_pools(topology, lambda: self._catalog)
        self._pools.update({shard: pool for shard, pool in fresh.items() if shard not in self._pools})
        if self._guard is not None:
            self._guard.topology = topology

    def _changed(self, catalog: Catalog, before: Catalog) -> None:
        for shard in catalog.renewed_since(before):
            for name in (shard, side(shard)):
                self._pools[name].renew()

    def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement; `?` takes a sequence, `:name` a mapping. A write is committed on return.

        Raises RoutingError (rewrite as the hint says), StatementError, ConstraintError, NodeError (retryable).
        """
        guard = self._live()
        direct = guard.direct(sql, params)
        if direct is not None:
            shard, text, holds = direct
            reply = self._runner.send(shard, text, params, holds)
            if reply is not None:
                return Result(reply)
        return Result(self._runner.run(guard.execute(sql, params)))

    def executemany(self, sql: str, rows: Sequence[Params]) -> Result:
        """Run one INSERT, UPDATE or DELETE for each row of parameters. Each shard takes all of its rows or none;
        when a later shard fails, the error says which shards have theirs."""
        return Result(self._runner.run(self._live().execute_many(sql, list(rows))))

    @contextmanager
    def transaction(self) -> Iterator[SyncTransaction]:
        """A transaction on one shard, which its first statement decides. Committed at the end of the block,
        rolled back by an exception."""
        guard = self._live()
        held = SyncTransaction(guard, self._runner)
        try:
            yield held
        except BaseException:
            held.undo(guard.rollback(held.state))
            raise
        held.end(guard.commit(held.state))

    def stream(self, sql: str, params: Params = ()) -> Rows:
        """Run one SELECT and read its rows as they are wanted: memory stays small, however many there are.

        Holds a connection to each shard it reads from until the rows are exhausted or closed, so close them, or
        use `with`. Each shard is seen at its own moment. Raises as `execute`, and NodeError while rows are read.
        """
        return Rows(self._runner.stream(self._live().stream(sql, params)))

    def pools(self) -> dict[str, Counters]:
        """What the connections to each shard are doing, and have done since the process began."""
        return {name: pool.counters() for name, pool in self._pools.items() if main_shard(name) == name}

    def new_id(self, table: str, key: object = None) -> int:
        """An id for a row to be inserted later. `key`: the row's shard key; none for the key table itself."""
        return self._runner.run(self._live().new_id(table, key))

    def close(self) -> None:
        """Close all connections and give the rest of the id window back. The handle is of no use after it."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        self._sweeper.stop()
        self._renewal.stop()
        try:
            self._runner.run(guard.executor.ids.give_back())
        except TenfoldError:
            pass  # the window runs out by itself
        finally:
            self._threads.close()
            self._close_pools()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def runner(self) -> Runner:
        """What drives steps, for other interfaces."""
        return self._runner

    @property
    def guard(self) -> Guard:
        """What makes steps of statements, for other interfaces. Raises PlatformError once the handle is closed."""
        return self._live()

    def after_fork(self) -> None:
        """In the child of a fork: connections, threads and id window belong to the parent."""
        for pool in self._pools.values():
            pool.forget()
        self._threads.forget()
        self._turns.forget()
        if self._guard is not None:
            self._begin(self._guard.topology, self._guard.catalog)

    def _live(self) -> Guard:
        if self._guard is None:
            raise closed()
        return self._guard

    def _close_pools(self) -> None:
        for pool in self._pools.values():
            pool.close()


class SyncTransaction:
    """The statements of one transaction. For one thread."""

    def __init__(self, guard: Guard, runner: Runner) -> None:
        self.state = Transaction()
        self._guard, self._runner = guard, runner
        self._session: Session[Driver] | None = Session()

    def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement in the transaction. Raises CrossShardError for one of another shard."""
        return Result(self._runner.run(self._guard.execute(sql, params, self.state), self._live()))

    def executemany(self, sql: str, rows: Sequence[Params]) -> Result:
        """Run one writing statement for each row of parameters."""
        return Result(self._runner.run(self._guard.execute_many(sql, list(rows), self.state), self._live()))

    def end(self, steps: Steps[None]) -> None:
        """Commit or roll back by `steps`; whatever happens, nothing stays open."""
        session = self._live()
        try:
            self._runner.run(steps, session)
        finally:
            self._session = None
            self._runner.abort(session)

    def undo(self, steps: Steps[None]) -> None:
        """Roll back by `steps`. In the child of a fork the transaction is the parent's, and is let go of."""
        if self._session is not None and self._runner.is_copied(self._session):
            self._session = None
        else:
            self.end(steps)

    def _live(self) -> Session[Driver]:
        if self._session is None:
            raise PlatformError("the transaction has ended", hint="begin another with db.transaction()")
        return self._session


def connect(
    path: str | os.PathLike[str] | None = None, *, environment: str | None = None, observer: Observer | None = None
) -> Database:
    """As `tenfold.connect`; `observer` is told of each statement."""
    return Database(read_topology(path, environment), observer)
