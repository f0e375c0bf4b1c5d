"""Connections to one shard, shared by threads or by tasks. Edge."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from typing import Any, TypeVar

from tenfold.errors import PoolTimeout, TenfoldError
from tenfold.sharding.ports import Driver

T = TypeVar("T")


def _timeout(shard: str, size: int, wait_s: float) -> PoolTimeout:
    return PoolTimeout(
        f"all {size} connections to {shard} were busy for {wait_s:g} s",
        hint="try again, shorten transactions, or raise database.pool_size",
    )


def abandon(drivers: list[Driver]) -> None:
    """Forget connections that a fork copied, without closing them: they belong to the parent.

    Closing would run SQLite's last-connection clean-up on files that the parent still uses, so the
    objects are kept alive for good.
    """
    for driver in drivers:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(driver))
    drivers.clear()


class Pool:
    """At most `size` connections to a shard, for threads; opened when first needed."""

    def __init__(self, shard: str, open_one: Callable[[], Driver], size: int, wait_s: float) -> None:
        self.shard, self._open, self._size, self._wait_s = shard, open_one, size, wait_s
        self._idle: list[Driver] = []
        self._out: list[Driver] = []
        self._free = threading.BoundedSemaphore(size)

    def acquire(self) -> Driver:
        """A connection for this thread alone. Raises PoolTimeout, NodeDown."""
        if not self._free.acquire(timeout=self._wait_s):
            raise _timeout(self.shard, self._size, self._wait_s)
        try:
            driver = self._idle.pop() if self._idle else self._open()
        except BaseException:
            self._free.release()
            raise
        self._out.append(driver)
        return driver

    def release(self, driver: Driver, *, broken: bool = False) -> None:
        """Give a connection back, without a transaction; a broken one is closed."""
        self._out.remove(driver)
        if broken:
            driver.close()
        else:
            self._idle.append(driver)
        self._free.release()

    def close(self) -> None:
        """Close what is idle; what is out is closed by who holds it."""
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        abandon(self._idle)
        abandon(self._out)
        self._free = threading.BoundedSemaphore(self._size)


class AsyncPool:
    """The same for tasks of one event loop; drivers that block run on `threads`."""

    def __init__(
        self, shard: str, open_one: Callable[[], Driver], size: int, wait_s: float, threads: Callable[[], Threads]
    ) -> None:
        self.shard, self._open, self._size, self._wait_s, self._threads = shard, open_one, size, wait_s, threads
        self._idle: list[Driver] = []
        self._out: list[Driver] = []
        self._free = asyncio.Semaphore(size)

    async def acquire(self) -> AsyncDriver:
        """A connection for this task alone. Raises PoolTimeout, NodeDown."""
        if self._free.locked():
            try:
                await asyncio.wait_for(self._free.acquire(), self._wait_s)
            except TimeoutError:
                raise _timeout(self.shard, self._size, self._wait_s) from None
        else:
            await self._free.acquire()
        if self._idle:
            driver = self._idle.pop()
        else:
            opening = asyncio.get_running_loop().run_in_executor(self._threads(), self._open)
            try:
                driver = await opening
            except BaseException:
                opening.add_done_callback(_close_result)
                self._free.release()
                raise
        self._out.append(driver)
        return AsyncDriver(driver, self._threads())

    def release(self, held: AsyncDriver, *, broken: bool = False) -> None:
        """Give a connection back. One whose statement was cancelled is closed once its thread is done with it:
        no row of it ever reaches another task."""
        self._out.remove(held.driver)
        if held.running is not None and not held.running.done():
            held.running.add_done_callback(lambda ended: _close_after(ended, held.driver))
        elif broken or held.cancelled:
            held.driver.close()
        else:
            self._idle.append(held.driver)
        self._free.release()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        abandon(self._idle)
        abandon(self._out)
        self._free = asyncio.Semaphore(self._size)


def _close_after(ended: asyncio.Future[Any], driver: Driver) -> None:
    ended.exception()  # nobody waits for it any more
    driver.close()


def _close_result(opening: asyncio.Future[Driver]) -> None:
    with contextlib.suppress(asyncio.CancelledError, TenfoldError):
        opening.result().close()


class AsyncDriver:
    """A blocking driver for one task: each call runs on a thread and is awaited."""

    def __init__(self, driver: Driver, threads: Threads) -> None:
        self.driver, self._threads = driver, threads
        self.running: asyncio.Future[Any] | None = None
        self.cancelled = False

    async def call(self, method: Callable[..., T], *args: object) -> T:
        """Run one method of the driver. A cancelled caller leaves the connection to be discarded."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, method, *args)
        self.running = running
        try:
            # The thread cannot be stopped; the shield keeps its future alive, so that its end is noticed.
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
