"""Blocking work beside the event loop. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tenfold.monitor.collect.thread import begun

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Do blocking work in a thread that nobody has to wait for: whoever is cancelled leaves it to itself."""
    return await asyncio.wrap_future(begun(work, "aside"))
