"""Drives steps over blocking drivers. Edge.

A runner asks a generator for its next effect, does it, and sends the result in; a TenfoldError is
thrown in instead. Nothing above knows whether this runner drives it or that of `async_runner`. What a
run leaves open is rolled back and closed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_all
from typing import Any, TypeVar

from tenfold.errors import NodeDown, TenfoldError
from tenfold.sharding.engine.errand import Errand, Reading, Session
from tenfold.sharding.engine.pools import Pool
from tenfold.sharding.engine.watch import Watch
from tenfold.sharding.ports import (
    SCRATCH,
    Begin,
    Chance,
    Close,
    Commit,
    Cursor,
    Drawn,
    Driver,
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
)
from tenfold.sharding.streams import cursor_of

T = TypeVar("T")
_Errand = Errand[Driver, Cursor, Pool]


class Runner:
    """Runs steps on the calling thread; a Gather uses a thread of each shard but the first.

    threads  by shard: one that hangs keeps no thread from the others
    scratch  opens a scratch database of its own; None: it is a connection of the shard
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        threads: Callable[[str], ThreadPoolExecutor],
        observer: Observer | None = None,
        scratch: Callable[[], Driver] | None = None,
    ) -> None:
        self._pools, self._threads, self._watch, self._new_scratch = pools, threads, Watch(observer), scratch
        self._acts: dict[type, Callable[[Any, _Errand], object]] = {
            Send: self._send if observer is None else self._watched(self._send),
            SendMany: self._send_many if observer is None else self._watched(self._send_many),
            Open: self._open if observer is None else self._watched(self._open),
            Begin: self._begin if observer is None else self._watched(self._begin),
            Commit: self._end if observer is None else self._watched(self._end),
            Rollback: self._end,
            Fetch: self._fetch,
            Close: self._close,
            Gather: self._gather,
            Scratch: self._scratch,
            EndScratch: self._end_scratch,
            Chance: lambda _, __: Drawn(time.time(), secrets.token_hex(16)),
            Pause: lambda effect, _: time.sleep(effect.seconds),
        }

    def run(self, steps: Steps[T], session: Session[Driver] | None = None) -> T:
        """Drive `steps` to the end. Without a session of the caller's, none of its transactions stays open."""
        errand: _Errand = Errand({} if session is None else session.open)
        acts = self._acts
        try:
            effect = next(steps)
            while True:
                try:
                    answer = acts[type(effect)](effect, errand)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._leave(errand, session)

    def send(self, shard: str, sql: str, params: Params) -> Reply:
        """Run one statement, not an INSERT, on a shard, outside any transaction: what `run` does for
        `Executor.execute` when that has nothing else to do, sooner."""
        if self._watch.watches:
            reply: Reply = self._acts[Send](Send(shard, sql, params), Errand({}))  # type: ignore[assignment]
            reply.lastrowid = None
            return reply
        pool = self._pools[shard]
        link = pool.acquire()
        try:
            reply = link.driver.execute(sql, params)
        except BaseException as error:
            pool.settle(link, error)
            raise
        pool.release(link)
        reply.lastrowid = None  # of whatever was inserted last on this connection
        return reply

    def stream(self, steps: Steps[object], session: Session[Driver] | None = None) -> Generator[Reply, None, None]:
        """Drive `steps` as far as their answers are wanted; each Emit is a Reply. To abandon it, close it."""
        errand: _Errand = Errand({} if session is None else session.open)
        try:
            effect = next(steps)
            while True:
                try:
                    if isinstance(effect, Emit):
                        yield Reply(effect.columns, effect.rows, len(effect.rows), types=effect.types)
                        answer = None
                    else:
                        answer = self._acts[type(effect)](effect, errand)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration:
            return
        finally:
            steps.close()
            self._leave(errand, session)

    def abort(self, session: Session[Driver]) -> None:
        """Roll back whatever is open."""
        if session.open:
            self._leave(Errand(session.open), None)

    def _leave(self, errand: _Errand, session: Session[Driver] | None) -> None:
        """Close what a run left open."""
        if errand.reading or errand.scratch is not None:
            errand.leave()
        if session is None and errand.begun:
            for shard in list(errand.begun):
                self._end(Rollback(shard), errand)

    def _watched(self, act: Callable[[Any, _Errand], Any]) -> Callable[[Any, _Errand], Any]:
        watch = self._watch

        def watched(effect: Any, errand: _Errand) -> Any:
            started_s = time.perf_counter()
            try:
                answer = act(effect, errand)
            except TenfoldError as error:
                watch.ended(effect, started_s, error)
                raise
            watch.ended(effect, started_s)
            return answer

        return watched

    def _begin(self, effect: Begin, errand: _Errand) -> None:
        pool = self._pools[effect.shard]
        link = pool.acquire()
        try:
            link.driver.begin()
        except BaseException as error:
            pool.settle(link, error)
            raise
        errand.begun[effect.shard] = link

    def _end(self, effect: Commit | Rollback, errand: _Errand) -> None:
        link = errand.begun.pop(effect.shard, None)
        if link is None:
            return
        pool = self._pools[effect.shard]
        try:
            link.driver.commit() if isinstance(effect, Commit) else link.driver.rollback()
        except BaseException as error:
            # Whatever it was, nobody knows whether the transaction still is open.
            pool.discard(link, down=isinstance(error, NodeDown))
            if isinstance(effect, Commit) or not isinstance(error, TenfoldError):
                raise
            return
        pool.release(link)

    def _send(self, effect: Send, errand: _Errand) -> Reply:
        pool = self._pools.get(effect.shard)
        if pool is None or (errand.begun and not effect.aside):
            held = self._held(effect.shard, errand)
            if held is not None:
                return held.execute(effect.sql, effect.params)
            pool = self._pools[effect.shard]
        link = pool.acquire()
        try:
            reply = link.driver.execute(effect.sql, effect.params)
        except BaseException as error:
            pool.settle(link, error)
            raise
        pool.release(link)
        return reply

    def _send_many(self, effect: SendMany, errand: _Errand) -> Reply:
        held = None if effect.aside else self._held(effect.shard, errand)
        if held is not None:
            return held.execute_many(effect.sql, effect.rows)
        pool = self._pools[effect.shard]
        link = pool.acquire()
        try:
            reply = link.driver.execute_many(effect.sql, effect.rows)
        except BaseException as error:
            pool.settle(link, error)
            raise
        pool.release(link)
        return reply

    @staticmethod
    def _held(shard: str, errand: _Errand) -> Driver | None:
        if shard == SCRATCH:
            return errand.scratch
        link = errand.begun.get(shard)
        return link.driver if link is not None else None

    def _open(self, effect: Open, errand: _Errand) -> Opened:
        held = self._held(effect.shard, errand)
        if held is not None:
            # Other statements follow on this connection, so its rows are fetched now.
            cursor = cursor_of(held.execute(effect.sql, effect.params))
            reading: Reading[Driver, Cursor, Pool] = Reading(effect.shard, cursor, None, None)
        else:
            pool = self._pools[effect.shard]
            link = pool.acquire()
            try:
                cursor = cursor_of(link.driver.execute(effect.sql, effect.params, stream=True))
            except BaseException as error:
                pool.settle(link, error)
                raise
            reading = Reading(effect.shard, cursor, pool, link)
        return Opened(errand.keep(reading), cursor.columns, cursor.types)

    def _fetch(self, effect: Fetch, errand: _Errand) -> Any:
        reading = errand.reading.get(effect.cursor)
        if reading is None:
            return ()
        try:
            rows = reading.cursor.fetch(effect.count)
        except BaseException as error:
            self._stop_reading(effect.cursor, errand, down=isinstance(error, NodeDown), lost=True)
            raise
        if len(rows) < effect.count:
            self._stop_reading(effect.cursor, errand)
        return rows

    def _close(self, effect: Close, errand: _Errand) -> None:
        for number in effect.cursors:
            self._stop_reading(number, errand)

    def _stop_reading(self, number: int, errand: _Errand, *, down: bool = False, lost: bool = False) -> None:
        reading = errand.reading.pop(number, None)
        if reading is None:
            return
        going = False
        try:
            going = not lost and reading.cursor.close()
        except TenfoldError:
            pass
        finally:
            if reading.pool is not None and reading.link is not None:
                if going:
                    reading.pool.release(reading.link)
                else:
                    reading.pool.discard(reading.link, down=down)

    def _scratch(self, effect: Scratch, errand: _Errand) -> None:
        errand.drop_scratch(clean=False)
        if self._new_scratch is not None:
            errand.scratch = self._new_scratch()
            return
        # In a transaction it is the transaction's own connection: what it has written is seen.
        link = errand.begun.get(effect.shard)
        if link is None:
            errand.scratch_pool = self._pools[effect.shard]
            link = errand.scratch_pool.acquire()
        errand.scratch, errand.scratch_link = link.driver, link

    @staticmethod
    def _end_scratch(effect: EndScratch, errand: _Errand) -> None:
        errand.drop_scratch(clean=effect.clean)

    def _gather(self, effect: Gather, errand: _Errand) -> list[Any]:
        first, *others = effect.sends
        acts = self._acts
        running = []
        try:
            for other in others:
                threads = self._threads(self._shard_of(other, errand))
                running.append(threads.submit(acts[type(other)], other, errand))
            own = acts[type(first)](first, errand)
        finally:
            wait_all(running)
        return [own, *(one.result() for one in running)]

    @staticmethod
    def _shard_of(effect: Send | SendMany | Open | Fetch, errand: _Errand) -> str:
        if isinstance(effect, Fetch):
            reading = errand.reading.get(effect.cursor)
            return reading.shard if reading is not None else SCRATCH
        return effect.shard
