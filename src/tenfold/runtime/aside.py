"""Blocking work beside the event loop, in a thread that nobody has to wait for. Edge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Do blocking work in a thread of its own: a stop must not hang on it, as it would on asyncio's own threads."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name="aside").start()
    return await asyncio.wrap_future(outcome)
