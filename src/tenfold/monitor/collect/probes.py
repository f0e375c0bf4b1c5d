"""Asks whether things answer: backends, shards, the balancer, the cache. Edge.

What a question is, the caller knows (`Question`); here is when it is asked, how long one waits, and that one
which hangs holds up no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future

from tenfold.errors import TenfoldError
from tenfold.monitor.collect.health import Answer, Health, after
from tenfold.monitor.collect.thread import begun

TIMEOUT_S = 2.0
# Many probers that start together must not ask together for ever.
JITTER = 0.1
# Most answers come at once; who takes longer is heard at the next call.
WAIT_S = 0.1

Question = Callable[[], Awaitable[Answer | None]]
"""Asks once; returns an answer, None when there is nothing to be learnt yet, or raises what went wrong."""


class Probes:
    """Asks each thing by itself, again and again.

    questions  by the name of the thing
    """

    def __init__(self, questions: Mapping[str, Question], timeout_s: float = TIMEOUT_S) -> None:
        self._questions, self._timeout_s = dict(questions), timeout_s
        self._health = {name: Health() for name in questions}
        self._due_s = dict.fromkeys(questions, 0.0)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._now_s = 0.0

    async def collect(self, now_s: float) -> Mapping[str, Health]:
        """Ask all that are due, and wait a moment; what is known of each. `now_s`: Unix time, for "since"."""
        self._now_s = now_s
        for name, due_s in self._due_s.items():
            if due_s <= time.monotonic() and name not in self._asking:
                self._asking[name] = asyncio.create_task(self._round(name))
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=WAIT_S)
        return dict(self._health)

    async def _round(self, name: str) -> None:
        begun_s = time.monotonic()
        try:
            answer = await self._ask(name)
            if answer is not None:
                self._health[name] = after(self._health[name], answer, self._now_s)
        finally:  # whatever became of it, it is asked again
            pause_s = self._health[name].next_s * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311  no secret
            self._due_s[name] = begun_s + pause_s
            del self._asking[name]

    async def _ask(self, name: str) -> Answer | None:
        begun_s = time.monotonic()
        try:
            answer = await asyncio.wait_for(self._questions[name](), self._timeout_s)
        except TimeoutError:
            return Answer(error=f"no answer within {self._timeout_s:g} s")
        except OSError as error:
            return Answer(error=(error.strerror or str(error) or type(error).__name__).lower())
        except TenfoldError as error:
            return Answer(error=str(error))
        except Exception as error:  # a driver's own kinds; one bad probe must not end the others
            return Answer(error=f"{type(error).__name__}: {error}"[:200])
        if answer is not None and answer.is_good and answer.latency_s is None:
            return Answer(time.monotonic() - begun_s, answer.size_bytes)
        return answer


class Aside:
    """A blocking question in a thread of its own, and no second one while the first has not come back."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._running: Future[Answer] | None = None

    async def __call__(self) -> Answer:
        if self._running is None or self._running.done():
            self._running = begun(self._ask, "probe")
        # Shielded: a question that we stop waiting for goes on, and its thread is not to be had back.
        return await asyncio.shield(asyncio.wrap_future(self._running))
