"""One clock for all open pages: the view is made and written once a tick, whoever looks. Edge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from tenfold.dashboard.frames import event, last_point, newest

log = logging.getLogger(__name__)
TROUBLE = "The agent could not make its figures; its log says why."


class _Frame:
    """One tick. A page that saw the tick before gets what is new, any other gets all; each is written at most once."""

    def __init__(self, number: int, view: dict[str, Any] | None, after_s: float) -> None:
        self.number = number
        self.view = view
        self._after_s = after_s
        self._all: bytes | None = None
        self._new: bytes | None = None

    def bytes_for(self, has_before: bool) -> bytes:
        if self.view is None:
            return event("trouble", {"sentence": TROUBLE})
        if not has_before:
            self._all = self._all or event("all", self.view)
            return self._all
        self._new = self._new or event("new", newest(self.view, self._after_s))
        return self._new


class Stream:
    """Fans the view out to the open pages; without one it does nothing.

    source      makes the view; called in the event loop, so it must not block
    period_s    seconds between two ticks
    most        pages at once; beyond it `open` refuses
    """

    def __init__(self, source: Callable[[], dict[str, Any]], period_s: float = 1.0, most: int = 64) -> None:
        self._source = source
        self._period_s = period_s
        self.most = most
        self._pages = 0
        self._frame: _Frame | None = None
        self._ticked = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def watched(self) -> int:
        """How many pages are open."""
        return self._pages

    @property
    def full(self) -> bool:
        """Whether one more page would be one too many."""
        return self._pages >= self.most

    def close(self) -> None:
        """End all streams, so that the server can stop; new ones end at once."""
        self._closed = True
        self._ticked.set()
        if self._ticker is not None:
            self._ticker.cancel()

    async def frames(self) -> AsyncIterator[bytes]:
        """Events for one page, the first of them at once, until it leaves or the stream is closed."""
        if self._closed:
            return
        self._pages += 1
        seen, whole = 0, False  # number of the last frame sent, and whether the page has all up to it
        try:
            # Try again after a second, not after the browser's three.
            yield b"retry: 1000\n\n"
            if self._ticker is None or self._ticker.done():
                self._tick()
                self._ticker = asyncio.create_task(self._run())
            while not self._closed:
                frame = self._frame
                if frame is not None and frame.number != seen:
                    # One that is slow misses ticks instead of piling them up, and then gets all again.
                    yield frame.bytes_for(whole and seen == frame.number - 1)
                    seen, whole = frame.number, frame.view is not None
                    continue
                await self._ticked.wait()
        finally:
            self._pages -= 1
            if self._pages == 0 and self._ticker is not None:
                self._ticker.cancel()
                self._ticker = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # Beats do not add up: after a pause the clock goes on from now.
            due = max(due + self._period_s, loop.time())
            await asyncio.sleep(due - loop.time())
            self._tick()

    def _tick(self) -> None:
        before = self._frame
        try:
            view: dict[str, Any] | None = self._source()
        except Exception:
            log.exception("the page has no figures")
            view = None
        after_s = last_point(before.view) if before is not None and before.view is not None else float("-inf")
        self._frame = _Frame((before.number if before else 0) + 1, view, after_s)
        woken, self._ticked = self._ticked, asyncio.Event()
        woken.set()
