"""Statements on several shards at once: all are sent, then each answer is taken as it comes. Edge.

Without threads and tasks, which for short statements cost more than the statements. Only where a connection to each
shard lies ready: nobody holds one while he waits for another, and each is given back as soon as its shard has answered.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.async_pools import AsyncPool
from tenfold.sharding.engine.errand import settle
from tenfold.sharding.engine.pools import Pool
from tenfold.sharding.engine.watch import Watch
from tenfold.sharding.poolrules import Link
from tenfold.sharding.ports import Params, Reply, Send


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


L = TypeVar("L", Pool, AsyncPool)
S = TypeVar("S", Starter, AsyncStarter)


class _Asked(NamedTuple, Generic[L, S]):
    send: Send
    pool: L
    link: Link[Any]
    driver: S
    started_s: float


class _Round(Generic[L, S]):
    """One scatter on its way: what is still open, by its place, and what has come of the others."""

    def __init__(self, asked: Sequence[_Asked[L, S]], watch: Watch) -> None:
        self.open: dict[int, _Asked[L, S]] = dict(enumerate(asked))
        self._outcomes: dict[int, Reply | TenfoldError] = {}
        self._watch = watch

    def answered(self, place: int, reply: Reply) -> None:
        """It has gone well."""
        one = self.open.pop(place)
        self._outcomes[place] = reply
        one.pool.release(one.link)
        self._watch.ended(one.send, one.started_s)

    def failed(self, place: int, error: TenfoldError) -> None:
        """It has not."""
        one = self.open.pop(place)
        self._outcomes[place] = error
        settle(one.pool, one.link, error)
        self._watch.ended(one.send, one.started_s, error)

    def give_up(self) -> None:
        """Stop what is open, on the shards too."""
        for one in self.open.values():
            one.pool.discard(one.link)

    def outcomes(self) -> list[Reply | TenfoldError]:
        """In the order of asking."""
        return [self._outcomes[place] for place in sorted(self._outcomes)]


def _ready(
    pools: Mapping[str, L], sends: Sequence[Any], watch: Watch, see_lease: Callable[[], None]
) -> _Round[L, Any] | None:
    """A connection for each of `sends`; None where one does not lie ready, and nothing was taken."""
    asked: list[_Asked[L, Any]] = []
    for send in sends:
        pool = pools.get(send.shard) if type(send) is Send else None
        link: Link[Any] | None = pool.at_once() if pool is not None and pool.starts else None
        if pool is None or link is None:
            for one in asked:
                one.pool.release(one.link)
            return None
        asked.append(_Asked(send, pool, link, link.driver, time.perf_counter()))
    try:
        see_lease()
    except TenfoldError:
        for one in asked:
            one.pool.release(one.link)
        raise
    return _Round(asked, watch)


def side_by_side(
    pools: Mapping[str, Pool], sends: Sequence[Any], watch: Watch, see_lease: Callable[[], None]
) -> list[Reply | TenfoldError] | None:
    """What each of `sends` gave, in their order; None where they cannot be sent so, and nothing was done.

    see_lease  is asked once the connections are taken; raises what then keeps them from being sent
    """
    scatter: _Round[Pool, Starter] | None = _ready(pools, sends, watch, see_lease)
    if scatter is None:
        return None
    try:
        for place, one in list(scatter.open.items()):
            try:
                one.driver.start(one.send.sql, one.send.params)
            except TenfoldError as error:
                scatter.failed(place, error)
        _take_answers(scatter)
    except BaseException:
        scatter.give_up()
        raise
    return scatter.outcomes()


def _take_answers(scatter: _Round[Pool, Starter]) -> None:
    poll = select.poll()
    places = {}
    patience_s = 0.0
    for place, one in scatter.open.items():
        number = one.driver.fileno()
        places[number] = place
        patience_s = max(patience_s, one.driver.patience_s)
        poll.register(number, select.POLLIN)
    while places:
        ready = poll.poll(patience_s * 1000)
        for number in [number for number, _ in ready] or list(places):
            poll.unregister(number)
            place = places.pop(number)
            try:
                reply = scatter.open[place].driver.finish(overdue=not ready)
            except TenfoldError as error:
                scatter.failed(place, error)
            else:
                scatter.answered(place, reply)


async def side_by_side_async(
    pools: Mapping[str, AsyncPool], sends: Sequence[Any], watch: Watch, see_lease: Callable[[], None]
) -> list[Reply | TenfoldError] | None:
    """As `side_by_side`. Cancelled, it has the shards stop."""
    scatter: _Round[AsyncPool, AsyncStarter] | None = _ready(pools, sends, watch, see_lease)
    if scatter is None:
        return None
    try:
        for place, one in list(scatter.open.items()):
            try:
                await one.driver.start(one.send.sql, one.send.params)
            except TenfoldError as error:
                scatter.failed(place, error)
        while scatter.open:
            ready = [place for place, one in scatter.open.items() if one.driver.has_news()]
            for place in ready:
                try:
                    reply = await scatter.open[place].driver.finish()
                except TenfoldError as error:
                    scatter.failed(place, error)
                else:
                    scatter.answered(place, reply)
            if not ready:
                await _news(scatter)
    except BaseException:
        scatter.give_up()
        raise
    return scatter.outcomes()


async def _news(scatter: _Round[AsyncPool, AsyncStarter]) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for one in scatter.open.values():
        one.driver.wake(waiter)
    await waiter


def answers(outcomes: Sequence[object]) -> list[Any]:
    """The answers, where none is an error; else the first error is raised."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return list(outcomes)
