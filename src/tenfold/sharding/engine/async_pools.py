"""Connections to one shard, shared by the tasks of an event loop. Edge."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.pools import CHANCE, SILENT_S, keep_alive
from tenfold.sharding.poolrules import Counters, Link, Rules, Shelf, timed_out
from tenfold.sharding.ports import Params, Reply

TICK_S = 1.0
"""How often a pool looks for connections that were idle for too long, or wait for an answer for too long."""


class AsyncCursor(Protocol):
    """As `ports.Cursor`, for a task."""

    columns: tuple[str, ...]
    types: tuple[Any, ...]

    async def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`; none left: an empty sequence."""

    async def close(self) -> bool:
        """Read no further; → whether the connection can go on with other statements."""


class AsyncDriver(Protocol):
    """As `ports.Driver`, for one task at a time.

    spoiled  a call was cancelled midway: nothing may follow on the connection
    ending   what still runs on the shard after a close; None: nothing
    """

    spoiled: bool

    @property
    def ending(self) -> asyncio.Future[Any] | None:
        """See above."""

    async def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement."""

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none."""

    async def open(self, sql: str, params: Params) -> AsyncCursor:
        """Begin to read the rows of one statement."""

    async def begin(self, *, reads: bool = False) -> None:
        """Open a transaction that may write."""

    async def commit(self) -> None:
        """Commit."""

    async def rollback(self) -> None:
        """Undo what the open transaction did."""

    def close(self) -> None:
        """Close at once; what runs is stopped on the shard too, in the background."""

    def tick(self, now_s: float) -> None:
        """Called now and then while it is lent: close it if its answer is overdue."""


async def ask(driver: AsyncDriver) -> None:
    """See whether a connection still answers. Raises NodeError."""
    await driver.execute("SELECT 1", ())


@dataclass(frozen=True, slots=True)
class AsyncSource:
    """As `pools.Source`. A cancelled `open` leaves no connection behind."""

    open: Callable[[], Awaitable[AsyncDriver]]
    check: Callable[[AsyncDriver], Awaitable[None]] = ask
    drop: Callable[[Any], None] = keep_alive
    alone: bool = True
    starts: bool = False
    locks: bool = False
    stale: Callable[[Any], bool] = lambda _: False


class AsyncPool:
    """As `pools.Pool`, for the tasks of one event loop."""

    def __init__(self, rules: Rules, source: AsyncSource) -> None:
        self._rules, self._source = rules, source
        self._shelf: Shelf[AsyncDriver] = Shelf(rules)
        self._waiting: deque[asyncio.Future[Link[AsyncDriver] | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.starts, self.locks = source.starts, source.locks

    def at_once(self) -> Link[AsyncDriver] | None:
        """A connection that lies ready; None: `acquire` has to be awaited."""
        shelf = self._shelf
        if shelf.idle and shelf.has_place() and not self._waiting:
            link = shelf.idle[-1]
            if self._is_fresh(link, time.monotonic()):
                shelf.borrowed += 1
                shelf.used += 1
                return shelf.take()
        return None

    async def acquire(self) -> Link[AsyncDriver]:
        """A connection for this task alone. Raises PoolTimeout, NodeDown, and what opening raises."""
        shelf = self._shelf
        shelf.borrowed += 1
        if shelf.has_place() and not self._waiting:
            shelf.used += 1
            return await self._readied(shelf.take())
        return await self._readied(await self._waited())

    def release(self, link: Link[AsyncDriver]) -> None:
        """Give a connection back, without a transaction and with nothing left to read."""
        if link not in self._shelf.out:
            return None
        if link.driver.spoiled:
            return self.discard(link)
        why = self._shelf.returned(link, time.monotonic())
        if why is None:
            self._pass_on(link)
        else:
            self._end(link, why, place=True)
        return None

    def discard(self, link: Link[AsyncDriver], why: str = "cut", *, down: bool = False) -> None:
        """Close a connection that cannot go on; its rows reach nobody. down: others are checked before use.

        Its place comes free once the shard is no longer busy with it, so that never more than `size`
        statements run there.
        """
        if link not in self._shelf.out:
            return
        self._shelf.lost(link, down=down)
        self._end(link, why, place=True)

    def lends(self, link: Link[AsyncDriver]) -> bool:
        """As `Pool.lends`."""
        return link in self._shelf.out

    def counters(self) -> Counters:
        """What the pool holds and what has happened in it."""
        return self._shelf.counters(len(self._waiting))

    def drain(self) -> None:
        """Close what is idle; the next one is opened anew."""
        idle, self._shelf.idle = self._shelf.idle, []
        for link in idle:
            self._end(link, "end", place=False)

    def renew(self) -> None:
        """Have every connection that is open now closed: what is idle at once, what is out when it comes back."""
        for link in self._shelf.out:
            link.spoiled = True
        self.drain()

    def close(self) -> None:
        """Close what is idle; what is out is closed when it comes back."""
        self._shelf.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.drain()

    async def ended(self) -> None:
        """Wait until nothing that was given up runs on the shard any more."""
        endings = [link.driver.ending for link in self._shelf.out]
        for ending in endings:
            if ending is not None:
                await asyncio.wait([ending])

    def hold(self, until_s: float) -> None:
        """Before a fork: close what is idle. What is out cannot be waited for: its task runs on this thread."""
        if self._source.alone:
            self.drain()

    def resume(self) -> None:
        """In the parent, after the fork."""

    def forget(self) -> None:
        """In the child of a fork: start anew."""
        old, self._shelf = self._shelf, Shelf(self._rules)
        self._shelf.closed = old.closed
        self._waiting, self._timer = deque(), None
        for link in [*old.idle, *old.out]:
            self._source.drop(link.driver)

    async def _waited(self) -> Link[AsyncDriver] | None:
        shelf, started_s = self._shelf, time.monotonic()
        turn: asyncio.Future[Link[AsyncDriver] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._rules.wait_s):
                return await turn
        except BaseException as error:
            # A place may have come at the very moment of the cancellation or the time-out.
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            if isinstance(error, TimeoutError):
                shelf.timed_out += 1
                raise timed_out(self._rules) from None
            raise
        finally:
            shelf.waited += 1
            shelf.waited_s += time.monotonic() - started_s

    async def _readied(self, link: Link[AsyncDriver] | None) -> Link[AsyncDriver]:
        """For someone who has a place: `link` if it is still good, else another, else a new one."""
        shelf = self._shelf
        try:
            while link is not None:
                now_s = time.monotonic()
                why = shelf.too_old(link, now_s)
                if why is None and (self._is_fresh(link, now_s) or await self._answers(link)):
                    return link
                shelf.out.discard(link)
                ending, link = link, None
                self._end(ending, why or "check", place=False)
                link = shelf.take()
            shelf.may_open(time.monotonic())
            return await self._opened()
        except BaseException:
            if link is not None:  # cancelled while it was asked
                self.discard(link)
            else:
                self._pass_on(None)
            raise

    async def _opened(self) -> Link[AsyncDriver]:
        try:
            driver = await self._source.open()
        except BaseException as error:
            self._shelf.not_made(error, time.monotonic(), CHANCE())
            raise
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return self._shelf.made(driver, time.monotonic(), CHANCE())

    def _is_fresh(self, link: Link[AsyncDriver], now_s: float) -> bool:
        """Whether it may be used unasked."""
        if not self._shelf.is_fresh(link, now_s):
            return False
        return now_s - link.idle_s < SILENT_S or not self._source.stale(link.driver)

    async def _answers(self, link: Link[AsyncDriver]) -> bool:
        try:
            await self._source.check(link.driver)
        except TenfoldError:
            return False
        self._shelf.answered(link)
        return True

    def _tick(self) -> None:
        shelf, now_s = self._shelf, time.monotonic()
        for link in list(shelf.out):
            link.driver.tick(now_s)
        for link in shelf.unused(now_s):
            self._end(link, "idle", place=False)
        self._timer = None
        if (shelf.out or shelf.idle) and not shelf.closed:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _end(self, link: Link[AsyncDriver], why: str, *, place: bool) -> None:
        link.driver.close()
        self._shelf.ended(why)
        if not place:
            return
        ending = link.driver.ending
        if ending is None or ending.done():
            self._pass_on(None)
        else:
            self._shelf.out.add(link)  # it still counts as in use
            ending.add_done_callback(lambda _: self._give_back_place(link))

    def _give_back_place(self, link: Link[AsyncDriver]) -> None:
        if link not in self._shelf.out:  # the process has forked
            return
        self._shelf.out.discard(link)
        self._pass_on(None)

    def _give_back(self, link: Link[AsyncDriver] | None) -> None:
        if link is not None:
            self._shelf.out.discard(link)
        self._pass_on(link)

    def _pass_on(self, link: Link[AsyncDriver] | None) -> None:
        """The caller's place, and maybe a connection, go to who has waited longest, else are free."""
        shelf = self._shelf
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                if link is not None:
                    shelf.out.add(link)
                turn.set_result(link)
                return
        shelf.used -= 1
        if link is not None:
            shelf.idle.append(link)
