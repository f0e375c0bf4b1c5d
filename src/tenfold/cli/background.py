"""An event loop on a thread of its own, for a command whose user types in the meantime. Edge."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_S = 0.5
STOPPING_S = 5.0
"""How long something that was stopped may take to end."""


class Background:
    """Runs one coroutine after the other while the calling thread waits, and goes on while it does not: what was
    stopped ends on the servers too, and idle connections are looked after, while a person reads the answer."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tenfold-loop", daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(STOPPING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Ctrl-C cancels it and, once it has ended, raises KeyboardInterrupt; a second one at once."""
        begun = concurrent.futures.Future[asyncio.Task[T]]()
        with _ctrl_c(lambda: begun.add_done_callback(self._cancel)) as pressed:
            self._loop.call_soon_threadsafe(lambda: begun.set_result(self._loop.create_task(work)))
            task = begun.result()
            ended = asyncio.run_coroutine_threadsafe(_ended(task), self._loop)
            # Not one wait without an end: a signal that comes just before it would be seen only after it.
            while not concurrent.futures.wait([ended], LOOK_S).done:
                pass
        if pressed:
            if not task.cancelled():
                task.exception()  # looked at, or it is reported as forgotten
            raise KeyboardInterrupt
        return task.result()

    def _cancel(self, begun: concurrent.futures.Future[asyncio.Task[T]]) -> None:
        self._loop.call_soon_threadsafe(begun.result().cancel)


@contextmanager
def _ctrl_c(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Have the first Ctrl-C call `stop` and no more: an exception out of nowhere could leave a statement running that
    nobody waits for. → the signals that came."""
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        stop()

    if threading.current_thread() is not threading.main_thread():  # to which Python gives all signals
        yield pressed
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


async def _ended(task: asyncio.Task[Any]) -> None:
    await asyncio.wait({task})


async def _end_all() -> None:
    """Let what runs in the background end; what does not is cancelled."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
