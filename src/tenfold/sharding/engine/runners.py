"""Two runners for one logic: steps over blocking drivers, steps over asyncio. Edge.

A runner asks a generator for its next effect, does it, and sends the result in; a TenfoldError is
thrown in instead. Nothing above knows which of the two runs it. A `Session` holds the connections
on which a transaction is open; what a broken run leaves open is rolled back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_all
from typing import Any, Generic, TypeVar

from tenfold.errors import NodeDown, NodeError, TenfoldError
from tenfold.sharding.engine.pools import AsyncDriver, AsyncPool, Pool
from tenfold.sharding.engine.watch import Sent, Watch
from tenfold.sharding.ports import (
    Begin,
    Chance,
    Commit,
    Drawn,
    Driver,
    Effect,
    Gather,
    Observer,
    Pause,
    Reply,
    Rollback,
    Send,
    SendMany,
    Steps,
)

T = TypeVar("T")
D = TypeVar("D", Driver, AsyncDriver)


class Session(Generic[D]):
    """The open transactions of one caller, by shard."""

    def __init__(self) -> None:
        self.open: dict[str, D] = {}


class Runner:
    """Runs steps on the calling thread; a Gather uses a thread for each shard but one."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        threads: Callable[[], ThreadPoolExecutor],
        observer: Observer | None = None,
    ) -> None:
        self._pools, self._threads, self._watch = pools, threads, Watch(observer)

    def run(self, steps: Steps[T], session: Session[Driver] | None = None) -> T:
        """Drive `steps` to the end. Without a session of the caller's, none of its transactions stays open."""
        own = session if session is not None else Session[Driver]()
        try:
            effect = next(steps)
            while True:
                try:
                    answer = self._do(effect, own)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if session is None and own.open:
                self.abort(own)

    def abort(self, session: Session[Driver]) -> None:
        """Roll back whatever is open."""
        for shard in list(session.open):
            self._do(Rollback(shard), session)

    def _do(self, effect: Effect, session: Session[Driver]) -> object:
        if isinstance(effect, Gather):
            return self._gather(effect, session)
        if isinstance(effect, Chance):
            return Drawn(time.time(), secrets.token_hex(16))
        if isinstance(effect, Pause):
            time.sleep(effect.seconds)
            return None
        if isinstance(effect, Rollback):
            self._end(effect, session)
            return None
        return self._watched(effect, session)

    def _watched(self, effect: Sent, session: Session[Driver]) -> Any:
        started_s = time.perf_counter()
        answer: Reply | None = None
        try:
            if isinstance(effect, Send | SendMany):
                answer = self._send(effect, session)
            elif isinstance(effect, Begin):
                self._begin(effect, session)
            else:
                self._end(effect, session)
        except TenfoldError as error:
            self._watch.ended(effect, started_s, error)
            raise
        self._watch.ended(effect, started_s)
        return answer

    def _begin(self, effect: Begin, session: Session[Driver]) -> None:
        pool = self._pools[effect.shard]
        driver = pool.acquire()
        try:
            driver.begin()
        except BaseException:
            pool.release(driver, broken=True)
            raise
        session.open[effect.shard] = driver

    def _end(self, effect: Commit | Rollback, session: Session[Driver]) -> None:
        driver = session.open.pop(effect.shard, None)
        if driver is None:
            return
        broken = True
        try:
            driver.commit() if isinstance(effect, Commit) else driver.rollback()
            broken = False
        except TenfoldError:
            if isinstance(effect, Commit):
                raise
        finally:
            self._pools[effect.shard].release(driver, broken=broken)

    def _send(self, effect: Send | SendMany, session: Session[Driver]) -> Reply:
        held = None if effect.aside else session.open.get(effect.shard)
        if held is not None:
            return _perform(held, effect)
        pool = self._pools[effect.shard]
        driver = pool.acquire()
        broken = True
        try:
            reply = _perform(driver, effect)
            broken = False
            return reply
        except TenfoldError as error:
            broken = isinstance(error, NodeDown)
            raise
        finally:
            pool.release(driver, broken=broken)

    def _gather(self, effect: Gather, session: Session[Driver]) -> list[Reply]:
        first, *others = effect.sends
        running = [self._threads().submit(self._watched, send, session) for send in others]
        try:
            own: Reply | TenfoldError = self._watched(first, session)
        except TenfoldError as error:
            own = error
        wait_all(running)
        if isinstance(own, TenfoldError):
            raise own
        return [own, *(one.result() for one in running)]


def _perform(driver: Driver, effect: Send | SendMany) -> Reply:
    if isinstance(effect, Send):
        return driver.execute(effect.sql, effect.params)
    return driver.execute_many(effect.sql, effect.rows)


def _cancelled(shard: str) -> NodeError:
    return NodeError(
        f"a statement of the transaction on {shard} was cancelled, and all of it is undone",
        hint="leave the transaction and run all of it again",
    )


class AsyncRunner:
    """Runs steps in the calling task."""

    def __init__(self, pools: Mapping[str, AsyncPool], observer: Observer | None = None) -> None:
        self._pools, self._watch = pools, Watch(observer)

    async def run(self, steps: Steps[T], session: Session[AsyncDriver] | None = None) -> T:
        """Drive `steps` to the end. Without a session of the caller's, none of its transactions stays open."""
        own = session if session is not None else Session[AsyncDriver]()
        try:
            effect = next(steps)
            while True:
                try:
                    answer = await self._do(effect, own)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if session is None and own.open:
                await self.abort(own)

    async def abort(self, session: Session[AsyncDriver]) -> None:
        """Roll back whatever is open. A connection in mid-statement is closed instead, which rolls back too."""
        for shard in list(session.open):
            await self._do(Rollback(shard), session)

    async def _do(self, effect: Effect, session: Session[AsyncDriver]) -> object:
        if isinstance(effect, Gather):
            return await self._gather(effect, session)
        if isinstance(effect, Chance):
            return Drawn(time.time(), secrets.token_hex(16))
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return None
        if isinstance(effect, Rollback):
            await self._end(effect, session)
            return None
        return await self._watched(effect, session)

    async def _watched(self, effect: Sent, session: Session[AsyncDriver]) -> Any:
        started_s = time.perf_counter()
        answer: Reply | None = None
        try:
            if isinstance(effect, Send | SendMany):
                answer = await self._send(effect, session)
            elif isinstance(effect, Begin):
                await self._begin(effect, session)
            else:
                await self._end(effect, session)
        except TenfoldError as error:
            self._watch.ended(effect, started_s, error)
            raise
        self._watch.ended(effect, started_s)
        return answer

    async def _begin(self, effect: Begin, session: Session[AsyncDriver]) -> None:
        pool = self._pools[effect.shard]
        held = await pool.acquire()
        try:
            await held.call(held.driver.begin)
        except BaseException:
            pool.release(held, broken=True)
            raise
        session.open[effect.shard] = held

    async def _end(self, effect: Commit | Rollback, session: Session[AsyncDriver]) -> None:
        held = session.open.pop(effect.shard, None)
        if held is None:
            return
        broken = True
        try:
            if held.cancelled:
                # Its statement still runs on a thread. Closing the connection rolls back; waiting would take as long.
                if isinstance(effect, Commit):
                    raise _cancelled(effect.shard)
                return
            await held.call(held.driver.commit if isinstance(effect, Commit) else held.driver.rollback)
            broken = False
        except TenfoldError:
            if isinstance(effect, Commit):
                raise
        finally:
            self._pools[effect.shard].release(held, broken=broken)

    async def _send(self, effect: Send | SendMany, session: Session[AsyncDriver]) -> Reply:
        held = None if effect.aside else session.open.get(effect.shard)
        if held is not None:
            if held.cancelled:
                raise _cancelled(effect.shard)
            return await held.call(_perform, held.driver, effect)
        pool = self._pools[effect.shard]
        held = await pool.acquire()
        broken = True
        try:
            reply = await held.call(_perform, held.driver, effect)
            broken = False
            return reply
        except TenfoldError as error:
            broken = isinstance(error, NodeDown)
            raise
        finally:
            pool.release(held, broken=broken)

    async def _gather(self, effect: Gather, session: Session[AsyncDriver]) -> list[Any]:
        answers = await asyncio.gather(*(self._watched(send, session) for send in effect.sends), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers
