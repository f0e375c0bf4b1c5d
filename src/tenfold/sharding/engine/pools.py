"""Connections to one shard, shared by threads or by tasks. Edge."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from typing import Any, TypeVar

from tenfold.errors import PlatformError, PoolTimeout, TenfoldError
from tenfold.sharding.ports import Driver

T = TypeVar("T")


def _timeout(shard: str, size: int, wait_s: float) -> PoolTimeout:
    return PoolTimeout(
        f"all {size} connections to {shard} were busy for {wait_s:g} s",
        hint="try again, shorten transactions, or raise database.pool_size",
    )


def closed() -> PlatformError:
    """What a statement gets whose handle was closed, before it or while it ran."""
    return PlatformError("the database handle is closed", hint="connect again")


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
        self._held_back = 0
        self._closed = False

    def acquire(self) -> Driver:
        """A connection for this thread alone. Raises PoolTimeout, NodeDown."""
        if not self._free.acquire(timeout=self._wait_s):
            raise _timeout(self.shard, self._size, self._wait_s)
        try:
            driver = _last(self._idle) or self._open()
        except BaseException:
            self._free.release()
            raise
        self._out.append(driver)
        return driver

    def release(self, driver: Driver, *, broken: bool = False) -> None:
        """Give a connection back, without a transaction; a broken one is closed."""
        self._out.remove(driver)
        try:
            if broken or self._closed:
                driver.close()
            else:
                self._idle.append(driver)
        finally:
            self._free.release()

    def drain(self) -> None:
        """Close what is idle; the next one is opened anew."""
        while driver := _last(self._idle):
            driver.close()

    def close(self) -> None:
        """Close what is idle; what is out is closed when it comes back."""
        self._closed = True
        self.drain()

    def hold(self, until_s: float) -> None:
        """Before a fork: wait until nothing is out, at most until the monotonic clock says `until_s`, and close all.

        SQLite counts its locks for each process. A child takes the count over and not the locks, so with a
        connection open across the fork its own ones lock nothing, and the parent's last close deletes the
        write-ahead log that the child writes to: what it committed is gone (measured).
        """
        while self._held_back < self._size and self._free.acquire(timeout=max(0.0, until_s - time.monotonic())):
            self._held_back += 1
        self.drain()

    def resume(self) -> None:
        """In the parent, after the fork."""
        while self._held_back:
            self._held_back -= 1
            self._free.release()

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        abandon(self._idle)
        abandon(self._out)
        self._free = threading.BoundedSemaphore(self._size)
        self._held_back = 0


def _last(idle: list[Driver]) -> Driver | None:
    # Not "if idle: idle.pop()": between the two another thread may take the last one.
    try:
        return idle.pop()
    except IndexError:
        return None


class AsyncPool:
    """The same for tasks of one event loop; drivers that block run on `threads`."""

    def __init__(
        self, shard: str, open_one: Callable[[], Driver], size: int, wait_s: float, threads: Callable[[], Threads]
    ) -> None:
        self.shard, self._open, self._size, self._wait_s, self._threads = shard, open_one, size, wait_s, threads
        self._idle: list[Driver] = []
        self._out: list[Driver] = []
        self._free = asyncio.Semaphore(size)
        self._closed = False

    async def acquire(self) -> AsyncDriver:
        """A connection for this task alone. Raises PoolTimeout, NodeDown."""
        if self._free.locked():
            try:
                await asyncio.wait_for(self._free.acquire(), self._wait_s)
            except TimeoutError:
                raise _timeout(self.shard, self._size, self._wait_s) from None
        else:
            await self._free.acquire()
        try:
            driver = _last(self._idle) or await self._opened()
        except BaseException:
            self._free.release()
            raise
        self._out.append(driver)
        return AsyncDriver(driver, self._threads)

    async def _opened(self) -> Driver:
        try:
            opening = asyncio.get_running_loop().run_in_executor(self._threads(), self._open)
        except RuntimeError:  # shut down this very moment
            raise closed() from None
        try:
            return await asyncio.shield(opening)  # else a cancelled task would lose the connection
        except BaseException:
            opening.add_done_callback(_close_result)
            raise

    def release(self, held: AsyncDriver, *, broken: bool = False) -> None:
        """Give a connection back. One whose statement was cancelled is closed once its thread is done with it:
        no row of it ever reaches another task."""
        self._out.remove(held.driver)
        if held.running is not None and not held.running.done():
            # Its place comes free only then, so that never more than `size` statements run on the shard.
            held.running.add_done_callback(lambda ended: self._close_after(ended, held.driver))
            return
        if broken or held.cancelled or self._closed:
            held.driver.close()
        else:
            self._idle.append(held.driver)
        self._free.release()

    def _close_after(self, ended: asyncio.Future[Any], driver: Driver) -> None:
        if not ended.cancelled():
            ended.exception()  # nobody waits for it any more
        driver.close()
        self._free.release()

    def drain(self) -> None:
        """Close what is idle; the next one is opened anew."""
        while driver := _last(self._idle):
            driver.close()

    def close(self) -> None:
        """Close what is idle; what is out is closed when it comes back."""
        self._closed = True
        self.drain()

    def hold(self, until_s: float) -> None:
        """Before a fork: close what is idle. What is out cannot be waited for: its task runs on this thread."""
        self.drain()

    def resume(self) -> None:
        """In the parent, after the fork."""

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        abandon(self._idle)
        abandon(self._out)
        self._free = asyncio.Semaphore(self._size)


def _close_result(opening: asyncio.Future[Driver]) -> None:
    with contextlib.suppress(asyncio.CancelledError, TenfoldError):
        opening.result().close()


class AsyncDriver:
    """A blocking driver for one task: each call runs on a thread and is awaited."""

    def __init__(self, driver: Driver, threads: Callable[[], Threads]) -> None:
        self.driver, self._threads = driver, threads
        self.running: asyncio.Future[Any] | None = None
        self.cancelled = False

    async def call(self, method: Callable[..., T], *args: object) -> T:
        """Run one method of the driver. A cancelled caller leaves the connection to be discarded."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads(), method, *args)
        except RuntimeError:  # shut down this very moment
            raise closed() from None
        self.running = running
        try:
            # The thread cannot be stopped; the shield keeps its future alive, so that its end is noticed.
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
