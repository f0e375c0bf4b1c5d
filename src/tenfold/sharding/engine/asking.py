"""One question to every shard, side by side, none waited for longer than its time. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from tenfold.errors import NodeDown, TenfoldError
from tenfold.sharding.engine.router import opener
from tenfold.sharding.ports import Driver
from tenfold.topology.model import Topology

T = TypeVar("T")

LIMIT_S = 3.0
"""How long a person who asks how the shards are is kept waiting by one that hangs."""


class _Asked(Generic[T]):
    """One shard being asked, on a thread of its own."""

    def __init__(self, open_one: Callable[[], Driver], question: Callable[[Driver], T]) -> None:
        self._open, self._question = open_one, question
        self._driver: Driver | None = None
        self.answer: T | Exception | None = None
        # A daemon: a server that hangs must not hold the end of this process up.
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._driver = self._open()
            try:
                self.answer = self._question(self._driver)
            finally:
                with suppress(TenfoldError):
                    self._driver.close()
        except Exception as error:  # handed to whoever waits
            self.answer = error

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so long; if not, what runs on the shard is stopped."""
        self._thread.join(max(0.0, seconds))
        if not self._thread.is_alive():
            return True
        if (driver := self._driver) is not None:
            threading.Thread(target=driver.close, daemon=True).start()
        return False


def ask_all(
    topology: Topology, question: Callable[[str, Driver], T], limit_s: float = LIMIT_S
) -> Mapping[str, T | TenfoldError]:
    """shard → its answer, or why there is none; back within `limit_s` whatever the shards do. Creates no file."""

    def about(shard: str) -> Callable[[Driver], T]:
        return lambda driver: question(shard, driver)

    until_s = time.monotonic() + limit_s
    asked = {shard: _Asked(opener(topology, shard, "ro"), about(shard)) for shard in topology.database.shards}
    found: dict[str, T | TenfoldError] = {}
    for shard, one in asked.items():
        if not one.wait(until_s - time.monotonic()):
            found[shard] = NodeDown(
                f"{shard} did not answer within {limit_s:g} s", hint="look at its server: it hangs, or is too busy"
            )
        elif isinstance(one.answer, Exception) and not isinstance(one.answer, TenfoldError):
            raise one.answer
        else:
            found[shard] = one.answer  # type: ignore[assignment]  # it has ended: an answer or an error
    return found
