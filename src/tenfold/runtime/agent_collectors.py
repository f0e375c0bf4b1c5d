"""Runs collectors, each in a thread of its own, so that one that hangs stops no other and not the agent. Edge."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenfold.dashboard.inputs import Collector

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What the collector's thread tells the others; each field is written by one statement."""

    begun_s: float | None = None  # of a round that has not come back
    answered_s: float | None = None
    cost_ms: float | None = None
    error: str | None = None


class Collecting(Generic[T]):
    """One collector at its pace.

    collect     is awaited in an event loop of its own; it may block, that costs nobody else anything
    deliver     gets each result, in the event loop that `start` was called in
    clock       what `collect` is told as now
    again       tells that a result was cut short, so that the next round follows at once
    timeout_s   a round that takes longer counts as failed; one that blocks its thread is waited for, and told
    """

    def __init__(
        self,
        name: str,
        collect: Callable[[float], Awaitable[T]],
        deliver: Callable[[T], None],
        *,
        interval_s: float,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.time,
        again: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self.name = name
        self._collect, self._deliver, self._clock, self._again = collect, deliver, clock, again
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._seen = _Seen()
        self._stop = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._home: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Begin; results come to the running event loop."""
        self._home = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True, name=f"collect {self.name}").start()

    async def stop(self, within_s: float) -> None:
        """One last round, and the end. One that hangs is left behind after `within_s`: its thread dies with us."""
        self._stop.set()
        self._wake()
        try:
            await asyncio.wait_for(self._ended.wait(), within_s)
        except TimeoutError:
            log.warning("%s: its last round did not end in time", self.name)

    def seen(self) -> Collector:
        """How it is doing, for the page."""
        now_s, seen = time.monotonic(), self._seen
        error, begun_s = seen.error, seen.begun_s
        if begun_s is not None and now_s - begun_s > self._timeout_s:
            error = f"hangs: no answer for {now_s - begun_s:.0f} s"
        age_s = None if seen.answered_s is None else now_s - seen.answered_s
        return Collector(self.name, error is None and age_s is not None, age_s, seen.cost_ms, error)

    # --- in the thread ---

    def _run(self) -> None:
        try:
            asyncio.run(self._rounds())
        finally:
            self._post(self._ended.set)

    async def _rounds(self) -> None:
        loop, pause = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(pause.set)
        last = False
        while not last:
            last = self._stop.is_set()
            begun_s = self._seen.begun_s = time.monotonic()
            at_once = await self._round(begun_s)
            self._seen.begun_s = None
            if last or self._stop.is_set() or at_once:
                continue
            rest_s = self._interval_s - (time.monotonic() - begun_s)
            try:
                await asyncio.wait_for(pause.wait(), max(0.0, rest_s))
            except TimeoutError:
                continue

    async def _round(self, begun_s: float) -> bool:
        """Collect once and hand the result over; tells whether more is waiting."""
        seen = self._seen
        try:
            result = await asyncio.wait_for(self._collect(self._clock()), self._timeout_s)
        except TimeoutError:
            seen.error = f"no answer within {self._timeout_s:g} s"
        except Exception as error:  # whatever a collector meets, the agent goes on and shows it
            if seen.error is None:
                log.warning("%s: %s: %s", self.name, type(error).__name__, error)
            seen.error = f"{type(error).__name__}: {error}"[:200]
        else:
            seen.cost_ms = (time.monotonic() - begun_s) * 1000
            seen.answered_s, seen.error = time.monotonic(), None
            await self._hand_over(result)
            return self._again(result)
        return False

    async def _hand_over(self, result: T) -> None:
        """Post a result and wait until it is taken: who reads a long log must not fill the memory with what it read."""
        taken: Future[None] = Future()
        self._post(self._take, result, taken)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(taken), self._timeout_s)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if self._home is not None and not self._home.is_closed():
            try:
                self._home.call_soon_threadsafe(call, *arguments)
            except RuntimeError:  # closed in this very moment: the agent has ended
                return

    def _take(self, result: T, taken: Future[None]) -> None:
        wanted = taken.set_running_or_notify_cancel()
        try:
            self._deliver(result)
        except Exception as error:
            log.exception("%s: its result cannot be taken", self.name)
            self._seen.error = f"{type(error).__name__}: {error}"[:200]
        finally:
            if wanted:
                taken.set_result(None)
