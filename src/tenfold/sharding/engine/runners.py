"""Drives steps over blocking drivers. Edge.

A runner asks a generator for its next effect, does it, and sends the result in; a TenfoldError is
thrown in instead. Nothing above knows whether this runner drives it or that of `async_runner`. What a
run leaves open is rolled back and closed.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_all
from operator import methodcaller
from typing import Any, TypeVar

from tenfold.errors import FenceError, NodeDown, TenfoldError
from tenfold.sharding.engine import direct
from tenfold.sharding.engine.crowd import Crowd
from tenfold.sharding.engine.errand import Errand, Reading, Session, interrupted, of_the_parent, settle
from tenfold.sharding.engine.pools import AT_ONCE_S, Pool
from tenfold.sharding.engine.sidebyside import answers, side_by_side
from tenfold.sharding.engine.turns import Turns
from tenfold.sharding.engine.watch import Watch
from tenfold.sharding.poolrules import Link
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
    Turn,
    Under,
)
from tenfold.sharding.streams import cursor_of
from tenfold.sharding.vetting import writes

T = TypeVar("T")
_Errand = Errand[Driver, Cursor, Pool]
STOP_WAIT_S = 2.0
"""How long the threads of an interrupted scatter are waited for, once their statements were stopped."""


class Runner:
    """Runs steps on the calling thread; a Gather uses a thread of each shard but the first.

    threads  by shard: one that hangs keeps no thread from the others
    scratch  opens a scratch database of its own; None: it is a connection of the shard
    turns    None: whoever wants to brings rows together
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        threads: Callable[[str], ThreadPoolExecutor],
        observer: Observer | None = None,
        scratch: Callable[[], Driver] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._pools, self._threads, self._watch, self._new_scratch = pools, threads, Watch(observer), scratch
        self._turns = turns
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
            Turn: self._turn,
            Scratch: self._scratch,
            EndScratch: self._end_scratch,
            Chance: lambda _, __: Drawn(time.time(), secrets.token_hex(16)),
            Pause: lambda effect, _: time.sleep(effect.seconds),
            Under: self._under,
        }

    def run(self, steps: Steps[T], session: Session[Driver] | None = None) -> T:
        """Drive `steps` to the end. Without a session of the caller's, none of its transactions stays open."""
        if session is not None and session.is_copied(self._pools):
            raise of_the_parent()
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
        except BaseException as error:
            errand.failed(error)
            raise
        finally:
            self._leave(errand, session)

    def send(self, shard: str, sql: str, params: Params, holds: Callable[[], bool]) -> Reply | None:
        """Run one statement, not an INSERT, on a shard, outside any transaction. See `direct`."""
        if not self._watch.watches:
            return direct.ask(self._pools[shard], sql, params, holds)
        errand: _Errand = Errand({})
        errand.leased = holds
        try:
            return direct.trusted(self._watched(self._send)(Send(shard, sql, params), errand), holds)
        except FenceError:
            return None

    def stream(self, steps: Steps[object], session: Session[Driver] | None = None) -> Generator[Reply, None, None]:
        """Drive `steps` as far as their answers are wanted; each Emit is a Reply. To abandon it, close it."""
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
                    answer = self._acts[type(effect)](effect, errand)
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
            self._leave(errand, session)

    def abort(self, session: Session[Driver]) -> None:
        """Roll back whatever is open."""
        if session.open:
            self._leave(Errand(session.open), None)

    def is_copied(self, session: Session[Driver]) -> bool:
        """Whether it is a transaction of the parent, in the child of a fork."""
        return session.is_copied(self._pools)

    def _leave(self, errand: _Errand, session: Session[Driver] | None) -> None:
        """Close what a run left open."""
        if errand.holds:
            errand.leave()
        if session is None and errand.begun:
            for shard in list(errand.begun):
                self._end(Rollback(shard), errand)

    def _watched(self, act: Callable[[Any, _Errand], T]) -> Callable[[Any, _Errand], T]:
        watch = self._watch

        def watched(effect: Any, errand: _Errand) -> T:
            started_s = time.perf_counter()
            try:
                answer = act(effect, errand)
            except TenfoldError as error:
                watch.ended(effect, started_s, error)
                raise
            watch.ended(effect, started_s)
            return answer

        return watched

    @staticmethod
    def _under(effect: Under, errand: _Errand) -> None:
        errand.leased = effect.holds

    def _begin(self, effect: Begin, errand: _Errand) -> None:
        pool = self._pools[effect.shard]
        link = self._begun(pool, reads=effect.reads)
        try:
            errand.see_lease()
        except BaseException as error:
            self._undo(pool, link, error)
            raise
        errand.begun[effect.shard] = link

    def _begun(self, pool: Pool, *, reads: bool, again: bool = True) -> Link[Driver]:
        link = pool.acquire()
        started_s = time.monotonic()
        try:
            link.driver.begin(reads=reads)
        except BaseException as error:
            settle(pool, link, error)
            if again and isinstance(error, NodeDown) and time.monotonic() - started_s < AT_ONCE_S:
                return self._begun(pool, reads=reads, again=False)  # nothing has been done yet
            raise
        return link

    def _end(self, effect: Commit | Rollback, errand: _Errand) -> None:
        link = errand.begun.pop(effect.shard, None)
        if link is None:
            return
        pool = self._pools[effect.shard]
        if link.cut or not pool.lends(link):
            # Nothing may be sent on it; closing it rolls back.
            pool.discard(link)
            if isinstance(effect, Commit):
                raise interrupted(effect.shard)
            return
        try:
            link.driver.commit() if isinstance(effect, Commit) else link.driver.rollback()
        except BaseException as error:
            self._undo(pool, link, error)
            if isinstance(effect, Commit) or not isinstance(error, TenfoldError):
                raise
            return
        pool.release(link)

    @staticmethod
    def _undo(pool: Pool, link: Link[Driver], error: BaseException) -> None:
        """After a transaction that did not end as it should: have it undone, by closing the connection if need be."""
        if isinstance(error, NodeDown) or not isinstance(error, TenfoldError):
            pool.discard(link, down=isinstance(error, NodeDown))
            return
        try:
            link.driver.rollback()
        except BaseException as further:
            pool.discard(link, down=isinstance(further, NodeDown))
            if not isinstance(further, TenfoldError):
                raise
        else:
            pool.release(link)

    def _send(self, effect: Send, errand: _Errand) -> Reply:
        pool = self._pools.get(effect.shard)
        if pool is None or (errand.begun and not effect.aside):
            held = self._held(effect.shard, errand)
            if held is not None:
                if effect.spoils:
                    errand.begun[effect.shard].spoiled = True
                return held.execute(effect.sql, effect.params)
        ask = methodcaller("execute", effect.sql, effect.params)
        pool, link, reply = self._lent(effect.shard, errand, errand.locking(pool, ask) if writes(effect.sql) else ask)
        pool.release(link)
        return reply

    def _lent(self, shard: str, errand: _Errand, ask: Callable[[Driver], Reply]) -> tuple[Pool, Link[Driver], Reply]:
        """Ask on a connection of its own, which the caller gives back."""
        pool = self._pools[shard]
        link = pool.acquire()
        try:
            errand.see_lease(shard)
            reply = ask(link.driver) if errand.crowd is None else errand.crowd.asked(link, ask)
        except BaseException as error:
            settle(pool, link, error)
            raise
        return pool, link, reply

    def _send_many(self, effect: SendMany, errand: _Errand) -> Reply:
        held = None if effect.aside else self._held(effect.shard, errand)
        if held is not None:
            return held.execute_many(effect.sql, effect.rows)
        ask = errand.locking(self._pools.get(effect.shard), methodcaller("execute_many", effect.sql, effect.rows))
        pool, link, reply = self._lent(effect.shard, errand, ask)
        pool.release(link)
        return reply

    @staticmethod
    def _held(shard: str, errand: _Errand) -> Driver | None:
        if shard == SCRATCH:
            return errand.scratch
        link = errand.begun.get(shard)
        if link is None:
            return None
        if link.cut:
            raise interrupted(shard)
        return link.driver

    def _open(self, effect: Open, errand: _Errand) -> Opened:
        held = self._held(effect.shard, errand)
        if held is not None:
            # Other statements follow on this connection, so its rows are fetched now.
            cursor = cursor_of(held.execute(effect.sql, effect.params))
            reading: Reading[Driver, Cursor, Pool] = Reading(effect.shard, cursor, None, None)
        else:
            pool, link, reply = self._lent(
                effect.shard, errand, lambda driver: driver.execute(effect.sql, effect.params, stream=True)
            )
            cursor = cursor_of(reply)
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

    def _turn(self, _: Turn, errand: _Errand) -> None:
        if self._turns is not None and errand.turn is None:
            errand.turn = self._turns.take()

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
        errand.end_turn()

    def _gather(self, effect: Gather, errand: _Errand) -> list[Any]:
        if not errand.begun and len(effect.sends) > 1:
            outcomes = side_by_side(self._pools, effect.sends, self._watch, errand.see_lease)
            if outcomes is not None:
                return answers(outcomes)
        first, *others = effect.sends
        acts = self._acts
        running: list[Future[Any]] = []
        crowd = errand.crowd = Crowd()
        own = failed = None
        try:
            for other in others:
                threads = self._threads(errand.shard_of(other))
                running.append(threads.submit(acts[type(other)], other, errand))
            try:
                own = acts[type(first)](first, errand)
            except TenfoldError as error:
                failed = error
            wait_all(running)
        except BaseException as error:
            errand.failed(error)
            crowd.stop([link for link in errand.begun.values() if link.cut])
            wait_all(running, STOP_WAIT_S)
            raise
        finally:
            errand.crowd = None
        if failed is not None:
            raise failed
        return [own, *(one.result() for one in running)]
