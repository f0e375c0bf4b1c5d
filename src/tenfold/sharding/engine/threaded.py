"""Blocking drivers for the tasks of an event loop: each call runs on a thread. Edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Threads
from functools import partial
from typing import Any, TypeVar

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.async_pools import AsyncCursor, AsyncDriver, AsyncSource
from tenfold.sharding.poolrules import closed
from tenfold.sharding.ports import Cursor, Driver, Params, Reply
from tenfold.sharding.streams import cursor_of

T = TypeVar("T")


class ThreadedDriver:
    """A blocking driver for tasks: each call runs on a thread and is awaited."""

    def __init__(self, driver: Driver, threads: Callable[[], Threads]) -> None:
        self._driver, self._threads = driver, threads
        self._running: asyncio.Future[Any] | None = None
        self.spoiled = False

    @property
    def ending(self) -> asyncio.Future[Any] | None:
        """The call that a thread is still busy with."""
        return self._running

    async def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement."""
        return await self.call(self._driver.execute, sql, params)

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none."""
        return await self.call(self._driver.execute_many, sql, rows)

    async def open(self, sql: str, params: Params) -> AsyncCursor:
        """Begin to read the rows of one statement."""
        reply = await self.call(lambda: self._driver.execute(sql, params, stream=True))
        return ThreadedCursor(self, cursor_of(reply))

    async def begin(self, *, reads: bool = False) -> None:
        """Open a transaction that may write."""
        await self.call(partial(self._driver.begin, reads=reads))

    async def commit(self) -> None:
        """Commit."""
        await self.call(self._driver.commit)

    async def rollback(self) -> None:
        """Undo what the open transaction did."""
        await self.call(self._driver.rollback)

    def close(self) -> None:
        """Close; a statement that a thread is busy with is stopped, and the thread closes."""
        self._driver.close()

    def tick(self, now_s: float) -> None:
        """A blocking driver has time-outs of its own."""

    async def locked(self, see_lease: Callable[[], None], ask: Callable[[Any], Reply]) -> Reply:
        """As `SqliteDriver.locked`; what `ask` is given is the blocking driver."""
        return await self.call(self._driver.locked, see_lease, ask)  # type: ignore[attr-defined]  # of SQLite alone

    async def call(self, method: Callable[..., T], *args: object) -> T:
        """Run one method on a thread. A cancelled caller leaves the connection to be discarded."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads(), method, *args)
        except RuntimeError:  # shut down this very moment
            raise closed() from None
        self._running = running
        try:
            # The thread cannot be stopped; the shield keeps its future alive, so that its end is noticed.
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.spoiled = True
            running.add_done_callback(_heard)
            raise


class ThreadedCursor:
    """A blocking cursor for tasks."""

    def __init__(self, driver: ThreadedDriver, cursor: Cursor) -> None:
        self._driver, self._cursor = driver, cursor
        self.columns, self.types = cursor.columns, cursor.types

    async def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows."""
        return await self._driver.call(self._cursor.fetch, count)

    async def close(self) -> bool:
        """Read no further."""
        return await self._driver.call(self._cursor.close)


def _heard(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()  # nobody waits for it any more


def threaded_source(open_one: Callable[[], Driver], threads: Callable[[], Threads]) -> AsyncSource:
    """A source of blocking drivers for tasks."""

    async def open_on_thread() -> AsyncDriver:
        try:
            opening = asyncio.get_running_loop().run_in_executor(threads(), open_one)
        except RuntimeError:  # shut down this very moment
            raise closed() from None
        try:
            driver = await asyncio.shield(opening)  # else a cancelled task would lose the connection
        except BaseException:
            opening.add_done_callback(_close_result)
            raise
        return ThreadedDriver(driver, threads)

    return AsyncSource(open_on_thread, locks=True)


def _close_result(opening: asyncio.Future[Driver]) -> None:
    with contextlib.suppress(asyncio.CancelledError, TenfoldError):
        opening.result().close()
