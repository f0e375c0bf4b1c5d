"""Drives steps in the tasks of an event loop. Edge.

As `runners`, effect for effect. A cancelled task leaves its connections in mid-statement: they are closed,
the shard is told to stop, and no row of theirs reaches anybody.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from tenfold.errors import FenceError, NodeDown, TenfoldError
from tenfold.sharding.engine import direct
from tenfold.sharding.engine.async_pools import AsyncCursor, AsyncDriver, AsyncPool
from tenfold.sharding.engine.errand import Errand, Reading, Session, interrupted, of_the_parent, settle
from tenfold.sharding.engine.pools import AT_ONCE_S
from tenfold.sharding.engine.sidebyside import answers, side_by_side_async
from tenfold.sharding.engine.turns import AsyncTurns
from tenfold.sharding.engine.watch import Watch
from tenfold.sharding.poolrules import Link
from tenfold.sharding.ports import (
    SCRATCH,
    Begin,
    Chance,
    Close,
    Commit,
    Drawn,
    Emit,
    EndScratch,
    Fetch,
    Gather,
    Observer,
    Open,
    Opened,
    Params,
    Pause,
    Reply,
    Rollback,
    Scratch,
    Send,
    SendMany,
    Steps,
    Turn,
    Under,
)
from tenfold.sharding.streams import ReadyCursor
from tenfold.sharding.vetting import writes

T = TypeVar("T")
_Errand = Errand[AsyncDriver, AsyncCursor, AsyncPool]
_Act = Callable[[Any, _Errand], Awaitable[object]]


class AsyncRunner:
    """Runs steps in the calling task; a Gather uses a task for each of its effects.

    scratch  opens a scratch database of its own; None: it is a connection of the shard
    turns    None: whoever wants to brings rows together
    """

    def __init__(
        self,
        pools: Mapping[str, AsyncPool],
        observer: Observer | None = None,
        scratch: Callable[[], AsyncDriver] | None = None,
        turns: AsyncTurns | None = None,
    ) -> None:
        self._pools, self._watch, self._new_scratch, self._turns = pools, Watch(observer), scratch, turns
        self._acts: dict[type, _Act] = {
            Send: self._send if observer is None else self._watched(self._send),
            SendMany: self._send_many if observer is None else self._watched(self._send_many),
            Open: self._open if observer is None else self._watched(self._open),
            Begin: self._begin if observer is None else self._watched(self._begin),
            Commit: self._end if observer is None else self._watched(self._end),
            Rollback: self._end,
            Fetch: self._fetch,
            Close: self._close,
            Gather: self._gather,
            Turn: self._turn,
            Scratch: self._scratch,
            EndScratch: self._end_scratch,
            Chance: self._chance,
            Pause: lambda effect, _: asyncio.sleep(effect.seconds),
            Under: self._under,
        }

    async def run(self, steps: Steps[T], session: Session[AsyncDriver] | None = None) -> T:
        """Drive `steps` to the end. Without a session of the caller's, none of its transactions stays open."""
        if session is not None and session.is_copied(self._pools):
            raise of_the_parent()
        errand: _Errand = Errand({} if session is None else session.open)
        acts = self._acts
        try:
            effect = next(steps)
            while True:
                try:
                    answer = await acts[type(effect)](effect, errand)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException as error:
            errand.failed(error)
            raise
        finally:
            # Nothing of it is awaited: the task may be on its way out.
            if errand.holds:
                errand.leave()
            if session is None and errand.begun:
                await self._roll_back(errand)

    async def send(self, shard: str, sql: str, params: Params, holds: Callable[[], bool]) -> Reply | None:
        """Run one statement, not an INSERT, on a shard, outside any transaction. See `direct`."""
        if not self._watch.watches:
            return await direct.ask_async(self._pools[shard], sql, params, holds)
        errand: _Errand = Errand({})
        errand.leased = holds
        try:
            return direct.trusted(await self._watched(self._send)(Send(shard, sql, params), errand), holds)
        except FenceError:
            return None

    async def stream(
        self, steps: Steps[object], session: Session[AsyncDriver] | None = None
    ) -> AsyncGenerator[Reply, None]:
        """Drive `steps` as far as their answers are wanted; each Emit is a Reply. To abandon it, `aclose()` it."""
        errand: _Errand = Errand({} if session is None else session.open)
        process = os.getpid()
        try:
            effect = next(steps)
            while True:
                if isinstance(effect, Emit):
                    yield Reply(effect.columns, effect.rows, len(effect.rows), types=effect.types)
                    if os.getpid() != process:
                        raise of_the_parent()
                    effect = steps.send(None)
                    continue
                try:
                    answer = await self._acts[type(effect)](effect, errand)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration:
            return
        except GeneratorExit:  # between two calls
            raise
        except BaseException as error:
            errand.failed(error)
            raise
        finally:
            steps.close()
            # Nothing of it is awaited: the task may be on its way out.
            if errand.holds:
                errand.leave()
            if session is None and errand.begun:
                await self._roll_back(errand)

    async def abort(self, session: Session[AsyncDriver]) -> None:
        """Roll back whatever is open. A connection in mid-statement is closed instead, which rolls back too."""
        if session.open:
            await self._roll_back(Errand(session.open))

    def is_copied(self, session: Session[AsyncDriver]) -> bool:
        """Whether it is a transaction of the parent, in the child of a fork."""
        return session.is_copied(self._pools)

    async def _roll_back(self, errand: _Errand) -> None:
        for shard in list(errand.begun):
            await self._end(Rollback(shard), errand)

    def _watched(self, act: Callable[[Any, _Errand], Awaitable[T]]) -> Callable[[Any, _Errand], Awaitable[T]]:
        watch = self._watch

        async def watched(effect: Any, errand: _Errand) -> T:
            started_s = time.perf_counter()
            try:
                answer = await act(effect, errand)
            except TenfoldError as error:
                watch.ended(effect, started_s, error)
                raise
            watch.ended(effect, started_s)
            return answer

        return watched

    @staticmethod
    async def _chance(_effect: Chance, _errand: _Errand) -> Drawn:
        return Drawn(time.time(), secrets.token_hex(16))

    @staticmethod
    async def _under(effect: Under, errand: _Errand) -> None:
        errand.leased = effect.holds

    async def _begin(self, effect: Begin, errand: _Errand) -> None:
        pool = self._pools[effect.shard]
        link = await self._begun(pool, reads=effect.reads)
        try:
            errand.see_lease()
        except BaseException as error:
            await self._undo(pool, link, error)
            raise
        errand.begun[effect.shard] = link

    async def _begun(self, pool: AsyncPool, *, reads: bool, again: bool = True) -> Link[AsyncDriver]:
        link = pool.at_once() or await pool.acquire()
        started_s = time.monotonic()
        try:
            await link.driver.begin(reads=reads)
        except BaseException as error:
            settle(pool, link, error)
            if again and isinstance(error, NodeDown) and time.monotonic() - started_s < AT_ONCE_S:
                return await self._begun(pool, reads=reads, again=False)  # nothing has been done yet
            raise
        return link

    async def _end(self, effect: Commit | Rollback, errand: _Errand) -> None:
        link = errand.begun.pop(effect.shard, None)
        if link is None:
            return
        pool = self._pools[effect.shard]
        if link.cut or link.driver.spoiled or not pool.lends(link):
            # Its statement may still run. Closing the connection rolls back; waiting would take as long.
            pool.discard(link)
            if isinstance(effect, Commit):
                raise interrupted(effect.shard)
            return
        try:
            await (link.driver.commit() if isinstance(effect, Commit) else link.driver.rollback())
        except BaseException as error:
            await self._undo(pool, link, error)
            if isinstance(effect, Commit) or not isinstance(error, TenfoldError):
                raise
            return
        pool.release(link)

    @staticmethod
    async def _undo(pool: AsyncPool, link: Link[AsyncDriver], error: BaseException) -> None:
        """After a transaction that did not end as it should: have it undone, by closing the connection if need be."""
        if isinstance(error, NodeDown) or not isinstance(error, TenfoldError) or link.driver.spoiled:
            pool.discard(link, down=isinstance(error, NodeDown))
            return
        try:
            await link.driver.rollback()
        except BaseException as further:
            pool.discard(link, down=isinstance(further, NodeDown))
            if not isinstance(further, TenfoldError):
                raise
        else:
            pool.release(link)

    async def _send(self, effect: Send, errand: _Errand) -> Reply:
        pool = self._pools.get(effect.shard)
        if pool is None or (errand.begun and not effect.aside):
            held = self._held(effect.shard, errand)
            if held is not None:
                if effect.spoils:
                    errand.begun[effect.shard].spoiled = True
                return await held.execute(effect.sql, effect.params)
        ask = methodcaller("execute", effect.sql, effect.params)
        reply: Reply
        pool, link, reply = await self._lent(
            effect.shard, errand, errand.locking(pool, ask) if writes(effect.sql) else ask
        )
        pool.release(link)
        return reply

    async def _lent(
        self, shard: str, errand: _Errand, ask: Callable[[AsyncDriver], Awaitable[T]]
    ) -> tuple[AsyncPool, Link[AsyncDriver], T]:
        """Ask on a connection of its own, which the caller gives back."""
        pool = self._pools[shard]
        link = pool.at_once() or await pool.acquire()
        try:
            errand.see_lease(shard)
            return pool, link, await ask(link.driver)
        except BaseException as error:
            settle(pool, link, error)
            raise

    async def _send_many(self, effect: SendMany, errand: _Errand) -> Reply:
        held = None if effect.aside else self._held(effect.shard, errand)
        if held is not None:
            return await held.execute_many(effect.sql, effect.rows)
        ask = errand.locking(self._pools.get(effect.shard), methodcaller("execute_many", effect.sql, effect.rows))
        reply: Reply
        pool, link, reply = await self._lent(effect.shard, errand, ask)
        pool.release(link)
        return reply

    @staticmethod
    def _held(shard: str, errand: _Errand) -> AsyncDriver | None:
        if shard == SCRATCH:
            return errand.scratch
        link = errand.begun.get(shard)
        if link is None:
            return None
        if link.cut or link.driver.spoiled:
            raise interrupted(shard)
        return link.driver

    async def _open(self, effect: Open, errand: _Errand) -> Opened:
        held = self._held(effect.shard, errand)
        if held is not None:
            # Other statements follow on this connection, so its rows are fetched now.
            cursor: AsyncCursor = ReadyCursor(await held.execute(effect.sql, effect.params))
            reading: Reading[AsyncDriver, AsyncCursor, AsyncPool] = Reading(effect.shard, cursor, None, None)
        else:
            pool, link, cursor = await self._lent(
                effect.shard, errand, lambda driver: driver.open(effect.sql, effect.params)
            )
            reading = Reading(effect.shard, cursor, pool, link)
        return Opened(errand.keep(reading), cursor.columns, cursor.types)

    async def _fetch(self, effect: Fetch, errand: _Errand) -> Any:
        reading = errand.reading.get(effect.cursor)
        if reading is None:
            return ()
        try:
            rows = await reading.cursor.fetch(effect.count)
        except BaseException as error:
            await self._stop_reading(effect.cursor, errand, down=isinstance(error, NodeDown), lost=True)
            raise
        if len(rows) < effect.count:
            await self._stop_reading(effect.cursor, errand)
        return rows

    async def _close(self, effect: Close, errand: _Errand) -> None:
        for number in effect.cursors:
            await self._stop_reading(number, errand)

    @staticmethod
    async def _stop_reading(number: int, errand: _Errand, *, down: bool = False, lost: bool = False) -> None:
        reading = errand.reading.pop(number, None)
        if reading is None:
            return
        going = False
        try:
            going = not lost and await reading.cursor.close()
        except TenfoldError:
            pass
        finally:
            if reading.pool is not None and reading.link is not None:
                if going:
                    reading.pool.release(reading.link)
                else:
                    reading.pool.discard(reading.link, down=down)

    async def _turn(self, _: Turn, errand: _Errand) -> None:
        if self._turns is not None and errand.turn is None:
            errand.turn = await self._turns.take()

    async def _scratch(self, effect: Scratch, errand: _Errand) -> None:
        errand.drop_scratch(clean=False)
        if self._new_scratch is not None:
            errand.scratch = self._new_scratch()
            return
        # In a transaction it is the transaction's own connection: what it has written is seen.
        link: Link[AsyncDriver] | None = errand.begun.get(effect.shard)
        if link is None:
            pool = self._pools[effect.shard]
            link = await pool.acquire()
            errand.scratch_pool = pool
        errand.scratch, errand.scratch_link = link.driver, link

    async def _end_scratch(self, effect: EndScratch, errand: _Errand) -> None:
        errand.drop_scratch(clean=effect.clean)
        errand.end_turn()

    async def _gather(self, effect: Gather, errand: _Errand) -> list[Any]:
        outcomes: Sequence[object] | None = None
        if not errand.begun and len(effect.sends) > 1:
            outcomes = await side_by_side_async(self._pools, effect.sends, self._watch, errand.see_lease)
        if outcomes is None:
            acts = self._acts
            outcomes = await asyncio.gather(
                *(acts[type(send)](send, errand) for send in effect.sends), return_exceptions=True
            )
        return answers(outcomes)
