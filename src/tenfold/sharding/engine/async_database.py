"""The handle that an asyncio application holds. Edge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from tenfold.errors import PlatformError, TenfoldError
from tenfold.sharding.catalog import load
from tenfold.sharding.engine.async_pools import AsyncDriver
from tenfold.sharding.engine.async_runner import AsyncRunner
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.engine.renewal import Renewal, boot_clock
from tenfold.sharding.engine.router import (
    Threads,
    async_scratch_of,
    new_async_pools,
    new_executor,
    one_off_runner,
    read_topology,
    survive_forks,
)
from tenfold.sharding.engine.sweeper import Sweeper
from tenfold.sharding.engine.turns import AsyncTurns
from tenfold.sharding.guard import Guard
from tenfold.sharding.lease import Lease
from tenfold.sharding.poolrules import Counters, closed
from tenfold.sharding.ports import Observer, Params, Steps, main_shard, side
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.result import Result
from tenfold.sharding.streams import AsyncRows
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology


def _load(topology: Topology) -> Catalog:
    with one_off_runner(topology) as runner:
        return runner.run(load(topology))


class AsyncDatabase:
    """All shards of a platform, as one database, for the tasks of one event loop."""

    def __init__(self, topology: Topology, catalog: Catalog, observer: Observer | None = None) -> None:
        """Use `connect_async`."""
        self._loop = asyncio.get_running_loop()
        self._catalog = catalog
        self._threads = Threads(topology.database.pool_size)
        self._pools = new_async_pools(topology, catalog, self._threads)
        self._turns = AsyncTurns(topology.database)
        self._runner = AsyncRunner(self._pools, observer, async_scratch_of(topology, self._threads), self._turns)
        self._guard: Guard | None = None
        self._begin(topology, catalog)
        survive_forks(self, self._pools)

    def _begin(self, topology: Topology, catalog: Catalog) -> None:
        executor = new_executor(catalog, topology)
        self._guard = Guard(topology, executor, Lease(boot_clock), topology.database.lock_wait_s, self._changed)
        self._renewal, self._sweeper = Renewal(self._guard, self._learn), Sweeper(self._guard)
        self._renewal.start()
        self._sweeper.start()

    async def ready(self) -> AsyncDatabase:
        """This, with a lease."""
        await asyncio.to_thread(partial(self._renewal.once, named=False))
        return self

    def _learn(self, topology: Topology) -> None:
        """The file names shards that it did not before."""
        fresh = new_async_pools(topology, self._catalog, self._threads)
        self._pools.update({shard: pool for shard, pool in fresh.items() if shard not in self._pools})
        if self._guard is not None:
            self._guard.topology = topology

    def _changed(self, catalog: Catalog, before: Catalog) -> None:
        for shard in catalog.renewed_since(before):
            with suppress(RuntimeError):  # the loop has ended, and its connections with it
                for name in (shard, side(shard)):
                    self._loop.call_soon_threadsafe(self._pools[name].renew)

    async def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement; `?` takes a sequence, `:name` a mapping. A write is committed on return.

        Raises RoutingError (rewrite as the hint says), StatementError, ConstraintError, NodeError (retryable).
        Cancelled midway, a write may have happened or not; its connection is discarded.
        """
        guard = self._live()
        direct = guard.direct(sql, params)
        if direct is not None:
            shard, text, holds = direct
            reply = await self._runner.send(shard, text, params, holds)
            if reply is not None:
                return Result(reply)
        return Result(await self._runner.run(guard.execute(sql, params)))

    async def executemany(self, sql: str, rows: Sequence[Params]) -> Result:
        """Run one INSERT, UPDATE or DELETE for each row of parameters. Each shard takes all of its rows or none;
        when a later shard fails, the error says which shards have theirs."""
        return Result(await self._runner.run(self._live().execute_many(sql, list(rows))))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncTransaction]:
        """A transaction on one shard, which its first statement decides. Committed at the end of the block,
        rolled back by an exception or a cancellation."""
        guard = self._live()
        held = AsyncTransaction(guard, self._runner)
        try:
            yield held
        except asyncio.CancelledError:
            await held.abandon()
            raise
        except BaseException:
            await held.undo(guard.rollback(held.state))
            raise
        await held.end(guard.commit(held.state))

    def stream(self, sql: str, params: Params = ()) -> AsyncRows:
        """Run one SELECT and read its rows as they are wanted: `async for row in db.stream(…)`.

        Holds a connection to each shard it reads from until the rows are exhausted or closed, so close them, or
        use `async with`. Each shard is seen at its own moment. Raises as `execute`, once rows are asked for.
        """
        return AsyncRows(self._runner.stream(self._live().stream(sql, params)))

    @property
    def runner(self) -> AsyncRunner:
        """What runs steps on the shards."""
        return self._runner

    @property
    def guard(self) -> Guard:
        """What makes the steps of statements. Raises PlatformError once the handle is closed."""
        return self._live()

    def pools(self) -> dict[str, Counters]:
        """What the connections to each shard are doing, and have done since the process began."""
        return {name: pool.counters() for name, pool in self._pools.items() if main_shard(name) == name}

    async def new_id(self, table: str, key: object = None) -> int:
        """An id for a row to be inserted later. `key`: the row's shard key; none for the key table itself."""
        return await self._runner.run(self._live().new_id(table, key))

    async def close(self) -> None:
        """Close all connections and give the rest of the id window back. The handle is of no use after it."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        try:
            await asyncio.to_thread(self._sweeper.stop)
            await asyncio.to_thread(self._renewal.stop)
            await self._runner.run(guard.executor.ids.give_back())
        except TenfoldError:
            pass  # the window runs out by itself
        finally:
            await asyncio.to_thread(self._threads.close)
            for pool in self._pools.values():
                pool.close()
                await pool.ended()

    async def __aenter__(self) -> AsyncDatabase:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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


class AsyncTransaction:
    """The statements of one transaction. For one task."""

    def __init__(self, guard: Guard, runner: AsyncRunner) -> None:
        self.state = Transaction()
        self._guard, self._runner = guard, runner
        self._session: Session[AsyncDriver] | None = Session()

    async def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement in the transaction. Raises CrossShardError for one of another shard."""
        return Result(await self._runner.run(self._guard.execute(sql, params, self.state), self._live()))

    async def executemany(self, sql: str, rows: Sequence[Params]) -> Result:
        """Run one writing statement for each row of parameters."""
        steps = self._guard.execute_many(sql, list(rows), self.state)
        return Result(await self._runner.run(steps, self._live()))

    async def end(self, steps: Steps[None]) -> None:
        """Commit or roll back by `steps`; whatever happens, nothing stays open."""
        session = self._live()
        try:
            await self._runner.run(steps, session)
        finally:
            self._session = None
            await self._runner.abort(session)

    async def undo(self, steps: Steps[None]) -> None:
        """Roll back by `steps`. In the child of a fork the transaction is the parent's, and is let go of."""
        if self._session is not None and self._runner.is_copied(self._session):
            self._session = None
        else:
            await self.end(steps)

    async def abandon(self) -> None:
        """After a cancellation: roll back; reservations are left to the sweeper, nothing is awaited for long."""
        session = self._live()
        self._session = None
        await self._runner.abort(session)

    def _live(self) -> Session[AsyncDriver]:
        if self._session is None:
            raise PlatformError("the transaction has ended", hint="begin another with db.transaction()")
        return self._session


async def connect_async(
    path: str | os.PathLike[str] | None = None, *, environment: str | None = None, observer: Observer | None = None
) -> AsyncDatabase:
    """As `tenfold.connect_async`; `observer` is told of each statement."""
    topology = await asyncio.to_thread(read_topology, path, environment)
    return await AsyncDatabase(topology, await asyncio.to_thread(_load, topology), observer).ready()
