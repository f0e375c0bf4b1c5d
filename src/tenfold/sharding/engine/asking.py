"""One question to every shard, side by side, none waited for longer than its time. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
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
        self.answer: Future[T] = Future()
        # A daemon: a server that hangs must not hold the end of this process up.
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        try:
            self._driver = self._open()
            try:
                answer = self._question(self._driver)
            finally:
                with suppress(TenfoldError):
                    self._driver.close()
        except BaseException as error:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(answer)

    def ends(self, within_s: float) -> bool:
        """Whether there is an answer within so long; if not, what runs on the shard is stopped."""
        if wait([self.answer], max(0.0, within_s)).done:
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
        if not one.ends(until_s - time.monotonic()):
            found[shard] = NodeDown(
                f"{shard} did not answer within {limit_s:g} s", hint="look at its server: it hangs, or is too busy"
            )
            continue
        try:
            found[shard] = one.answer.result()
        except TenfoldError as error:
            found[shard] = error
    return found
