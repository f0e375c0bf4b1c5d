"""Collectors side by side: one that hangs, fails or floods stops no other. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tenfold.runtime.agent_collectors import Collecting


def together(seconds: float, *made: Callable[[], Collecting[Any]]) -> list[Collecting[Any]]:
    """Collectors after they ran side by side for so long, and were stopped."""

    async def run() -> list[Collecting[Any]]:
        collectors = [make() for make in made]
        for collector in collectors:
            collector.start()
        await asyncio.sleep(seconds)
        seen = [collector.seen() for collector in collectors]
        await asyncio.gather(*(collector.stop(0.2) for collector in collectors))
        assert [collector.name for collector in collectors] == [one.name for one in seen]
        return collectors

    return asyncio.run(run())


def counting(results: list[float], **options: Any) -> Callable[[], Collecting[Any]]:
    async def collect(now_s: float) -> float:
        return now_s

    return lambda: Collecting("counting", collect, results.append, **{"interval_s": 0.02, **options})


def test_one_that_blocks_its_thread_or_waits_for_ever_stops_no_other() -> None:
    release = threading.Event()

    async def blocks(now_s: float) -> None:
        release.wait(10)

    async def waits(now_s: float) -> None:
        await asyncio.sleep(60)

    async def fails(now_s: float) -> None:
        raise OSError(5, "Input/output error")

    def make(collect: Callable[[float], Awaitable[None]]) -> Callable[[], Collecting[None]]:
        return lambda: Collecting(collect.__name__, collect, lambda _: None, interval_s=0.02, timeout_s=0.2)

    results: list[float] = []
    collectors = together(2.0, make(blocks), make(waits), make(fails), counting(results))
    release.set()
    assert len(results) >= 15
    told = {one.name: one for one in (collector.seen() for collector in collectors)}
    assert not told["blocks"].ok and "hangs" in (told["blocks"].error or "hangs")
    # On a busy machine its last round may be looked at before it was given up.
    assert not told["waits"].ok and (told["waits"].error or "").startswith(("no answer within 0.2 s", "hangs"))
    assert (told["fails"].ok, told["fails"].error) == (False, "OSError: [Errno 5] Input/output error")
    assert told["counting"].ok and told["counting"].cost_ms is not None


def test_one_that_hangs_is_told_of_while_it_does() -> None:
    async def blocks(now_s: float) -> None:
        time.sleep(0.5)

    async def run() -> None:
        collector = Collecting("blocks", blocks, lambda _: None, interval_s=0.02, timeout_s=0.1)
        collector.start()
        await asyncio.sleep(0.3)
        assert "hangs" in (collector.seen().error or "") and not collector.seen().ok
        await collector.stop(2)

    asyncio.run(run())


def test_a_result_that_was_cut_short_is_followed_at_once() -> None:
    results: list[float] = []
    together(0.2, counting(results, interval_s=30, again=lambda _: len(results) < 5))
    assert len(results) == 6  # and the last round


def test_the_last_round_comes_when_it_is_stopped() -> None:
    results: list[float] = []

    async def run() -> None:
        (make,) = (counting(results, interval_s=30),)
        collector = make()
        collector.start()
        await asyncio.sleep(0.1)
        assert len(results) == 1
        await collector.stop(2)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert len(results) == 2


def test_a_result_that_cannot_be_taken_is_told_and_the_next_one_is_tried() -> None:
    taken: list[float] = []

    def take(result: float) -> None:
        taken.append(result)
        raise ValueError("no")

    async def collect(now_s: float) -> float:
        return now_s

    (collector,) = together(0.2, lambda: Collecting("one", collect, take, interval_s=0.02))
    assert len(taken) >= 3 and collector.seen().error == "ValueError: no"
