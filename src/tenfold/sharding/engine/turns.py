"""How many statements of a process bring rows of several shards together at once. Edge.

Each holds connections of several shards while it asks for more. If all were held by such statements, none of them
could go on; so no more than half of a pool's size do it at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from tenfold.sharding.poolrules import rules_of_turns, timed_out
from tenfold.topology.model import Database


class Turns:
    """For threads."""

    def __init__(self, database: Database) -> None:
        self._rules = rules_of_turns(database)
        self.forget()

    def take(self) -> Callable[[], None]:
        """Wait for a turn; → what gives it back. Raises PoolTimeout."""
        if not self._free.acquire(timeout=self._rules.wait_s):
            raise timed_out(self._rules)
        return self._free.release

    def forget(self) -> None:
        """In the child of a fork: the turns that were taken are the parent's."""
        self._free = threading.BoundedSemaphore(self._rules.size)


class AsyncTurns:
    """The same for the tasks of an event loop."""

    def __init__(self, database: Database) -> None:
        self._rules = rules_of_turns(database)
        self.forget()

    async def take(self) -> Callable[[], None]:
        """Wait for a turn; → what gives it back. Raises PoolTimeout."""
        free = self._free
        try:
            async with asyncio.timeout(self._rules.wait_s):
                await free.acquire()
        except TimeoutError:
            raise timed_out(self._rules) from None
        return free.release

    def forget(self) -> None:
        """In the child of a fork."""
        self._free = asyncio.BoundedSemaphore(self._rules.size)
