"""Statements on several shards at once: all are sent, then each answer is taken as it comes. Edge.

Without threads and tasks, which for short statements cost more than the statements. Only where a connection to each
shard lies ready: nobody holds one while he waits for another, and each is given back as soon as its shard has answered.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.async_pools import AsyncDriver, AsyncPool
from tenfold.sharding.engine.pools import Pool
from tenfold.sharding.engine.watch import Watch
from tenfold.sharding.poolrules import Link
from tenfold.sharding.ports import Driver, Params, Reply, Send


class Starter(Protocol):
    """What a driver can do besides where `Source.starts`: `execute` in two halves.

    patience_s  how long an answer is waited for
    """

    patience_s: float

    def start(self, sql: str, params: Params) -> None:
        """Send one statement; nothing else may be asked until `finish`."""

    def finish(self, *, overdue: bool = False) -> Reply:
        """Take its answer. overdue: do not wait any more."""

    def fileno(self) -> int:
        """Of its socket, readable once the answer begins to come."""


class AsyncStarter(Protocol):
    """The same for tasks; a connection whose answer is overdue closes itself."""

    async def start(self, sql: str, params: Params) -> None:
        """Send one statement."""

    async def finish(self) -> Reply:
        """Take its answer."""

    def has_news(self) -> bool:
        """Whether the answer begins to come, or the connection was lost."""

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Have `waiter` done once there is news."""


class _Asked(NamedTuple):
    send: Send
    pool: Pool
    link: Link[Driver]
    driver: Starter
    started_s: float


class _AsyncAsked(NamedTuple):
    send: Send
    pool: AsyncPool
    link: Link[AsyncDriver]
    driver: AsyncStarter
    started_s: float


def side_by_side(pools: Mapping[str, Pool], sends: Sequence[Any], watch: Watch) -> list[Reply | TenfoldError] | None:
    """What each of `sends` gave, in their order; None where they cannot be sent so, and nothing was done."""
    asked: list[_Asked] = []
    for send in sends:
        pool = pools.get(send.shard) if type(send) is Send else None
        link = pool.at_once() if pool is not None and pool.starts else None
        if pool is None or link is None:
            for one in asked:
                one.pool.release(one.link)
            return None
        asked.append(_Asked(send, pool, link, cast("Starter", link.driver), time.perf_counter()))
    return _Round(asked, watch).run()


class _Round:
    """One scatter on its way."""

    def __init__(self, asked: list[_Asked], watch: Watch) -> None:
        self._open = dict(enumerate(asked))
        self._outcomes: dict[int, Reply | TenfoldError] = {}
        self._watch = watch

    def run(self) -> list[Reply | TenfoldError]:
        try:
            for place, one in list(self._open.items()):
                try:
                    one.driver.start(one.send.sql, one.send.params)
                except TenfoldError as error:
                    self._failed(place, error)
            self._take_answers()
        except BaseException:
            for one in self._open.values():
                one.pool.discard(one.link)
            raise
        return [self._outcomes[place] for place in sorted(self._outcomes)]

    def _take_answers(self) -> None:
        poll = select.poll()
        places = {}
        patience_s = 0.0
        for place, one in self._open.items():
            number = one.driver.fileno()
            places[number] = place
            patience_s = max(patience_s, one.driver.patience_s)
            poll.register(number, select.POLLIN)
        while places:
            ready = poll.poll(patience_s * 1000)
            for number in [number for number, _ in ready] or list(places):
                poll.unregister(number)
                self._take(places.pop(number), overdue=not ready)

    def _take(self, place: int, *, overdue: bool) -> None:
        one = self._open[place]
        try:
            self._outcomes[place] = one.driver.finish(overdue=overdue)
        except TenfoldError as error:
            self._failed(place, error)
            return
        del self._open[place]
        one.pool.release(one.link)
        self._watch.ended(one.send, one.started_s)

    def _failed(self, place: int, error: TenfoldError) -> None:
        one = self._open.pop(place)
        self._outcomes[place] = error
        one.pool.settle(one.link, error)
        self._watch.ended(one.send, one.started_s, error)


async def side_by_side_async(
    pools: Mapping[str, AsyncPool], sends: Sequence[Any], watch: Watch
) -> list[Reply | TenfoldError] | None:
    """As `side_by_side`. Cancelled, it has the shards stop."""
    asked: list[_AsyncAsked] = []
    for send in sends:
        pool = pools.get(send.shard) if type(send) is Send else None
        link = pool.at_once() if pool is not None and pool.starts else None
        if pool is None or link is None:
            for one in asked:
                one.pool.release(one.link)
            return None
        asked.append(_AsyncAsked(send, pool, link, cast("AsyncStarter", link.driver), time.perf_counter()))
    return await _AsyncRound(asked, watch).run()


class _AsyncRound:
    """One scatter on its way."""

    def __init__(self, asked: list[_AsyncAsked], watch: Watch) -> None:
        self._open = dict(enumerate(asked))
        self._outcomes: dict[int, Reply | TenfoldError] = {}
        self._watch = watch

    async def run(self) -> list[Reply | TenfoldError]:
        try:
            for place, one in list(self._open.items()):
                try:
                    await one.driver.start(one.send.sql, one.send.params)
                except TenfoldError as error:
                    self._failed(place, error)
            while self._open:
                ready = [place for place, one in self._open.items() if one.driver.has_news()]
                for place in ready:
                    await self._take(place)
                if not ready:
                    await self._news()
        except BaseException:
            for one in self._open.values():
                one.pool.discard(one.link)
            raise
        return [self._outcomes[place] for place in sorted(self._outcomes)]

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for one in self._open.values():
            one.driver.wake(waiter)
        await waiter

    async def _take(self, place: int) -> None:
        one = self._open[place]
        try:
            self._outcomes[place] = await one.driver.finish()
        except TenfoldError as error:
            self._failed(place, error)
            return
        del self._open[place]
        one.pool.release(one.link)
        self._watch.ended(one.send, one.started_s)

    def _failed(self, place: int, error: TenfoldError) -> None:
        one = self._open.pop(place)
        self._outcomes[place] = error
        one.pool.settle(one.link, error)
        self._watch.ended(one.send, one.started_s, error)


def answers(outcomes: Sequence[object]) -> list[Any]:
    """The answers, where none is an error; else the first error is raised."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return list(outcomes)
