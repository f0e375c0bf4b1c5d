"""When something counts as up or down, and what a hanging probe cannot do. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping

import pytest

from tenfold.errors import NodeDown
from tenfold.monitor.collect.health import FALL, RISE, Answer, Health, after
from tenfold.monitor.collect.probes import Aside, Probes, Question
from tenfold.monitor.collect.sessions import LONGEST_S, Sessions

GOOD, BAD = Answer(latency_s=0.01), Answer(error="refuses connections")


def lived(*answers: Answer) -> Health:
    """The health after answers, a second apart."""
    health = Health()
    for now_s, answer in enumerate(answers):
        health = after(health, answer, float(now_s))
    return health


def test_the_first_answer_decides() -> None:
    assert lived(GOOD).state == "up" and lived(BAD).state == "down"
    assert Health().state == "unknown" and Health().in_doubt


def test_one_lost_answer_is_no_illness_and_two_are() -> None:
    once = lived(GOOD, BAD)
    assert (once.state, once.reason, once.in_doubt) == ("up", "refuses connections", True)
    assert lived(GOOD, BAD, GOOD).state == "up" and not lived(GOOD, BAD, GOOD).in_doubt
    twice = lived(GOOD, *[BAD] * FALL)
    assert (twice.state, twice.since_s, twice.latency_s) == ("down", float(FALL), None)


def test_an_ended_process_is_down_at_once() -> None:
    assert lived(GOOD, Answer(error="its process has ended", certain=True)).state == "down"


def test_a_recovery_is_believed_after_a_second_of_good_answers() -> None:
    ill = [GOOD, *[BAD] * FALL]
    assert lived(*ill, *[GOOD] * (RISE - 1)).state == "down"
    well = lived(*ill, *[GOOD] * RISE)
    assert (well.state, well.reason, well.latency_s) == ("up", None, 0.01)
    assert lived(*ill, *[GOOD] * (RISE - 1), BAD, GOOD).state == "down"


def rounds(questions: Mapping[str, Question], seconds: float, timeout_s: float = 2.0) -> Mapping[str, Health]:
    """What is known after asking for so long."""

    async def ask() -> Mapping[str, Health]:
        probes = Probes(questions, timeout_s)
        known: Mapping[str, Health] = {}
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            known = await probes.collect(time.time())
            await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return known

    return asyncio.run(ask())


async def well() -> Answer:
    return Answer(size_bytes=42)


def test_a_probe_that_hangs_holds_up_no_other() -> None:
    async def hangs() -> Answer:
        await asyncio.sleep(60)
        return Answer()

    asked: list[float] = []

    async def counted() -> Answer:
        asked.append(time.monotonic())
        return Answer()

    known = rounds({"hangs": hangs, "counted": counted, "well": well}, 1.3, timeout_s=0.3)
    assert known["hangs"].state == "down" and known["hangs"].reason == "no answer within 0.3 s"
    assert known["well"].state == "up" and known["well"].size_bytes == 42
    assert len(asked) >= 2


def test_a_blocking_probe_that_hangs_gets_no_second_thread() -> None:
    release = threading.Event()
    begun: list[int] = []

    def hangs() -> Answer:
        begun.append(1)
        release.wait(10)
        return Answer()

    known = rounds({"shard_0": Aside(hangs)}, 0.9, timeout_s=0.2)
    release.set()
    assert known["shard_0"].state == "down" and len(begun) == 1


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (NodeDown("shard_0: unable to open database file"), "shard_0: unable to open database file"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_whatever_a_probe_raises_is_its_reason(raised: Exception, reason: str) -> None:
    async def fails() -> Answer:
        raise raised

    known = rounds({"one": fails, "well": well}, 0.15)
    assert (known["one"].state, known["one"].reason) == ("down", reason)
    assert known["well"].state == "up"


def test_what_has_nothing_to_say_yet_stays_unknown() -> None:
    async def waits() -> None:
        return None

    assert rounds({"starting": waits}, 0.1)["starting"].state == "unknown"


def test_clients_count_until_they_were_silent_for_the_window() -> None:
    sessions = Sessions()
    sessions.seen("backend_0", ["a", "b"], 100.0)
    sessions.seen("backend_0", ["b", "c"], 130.0)
    sessions.seen("backend_1", ["a"], 130.0)
    assert [sessions.count("backend_0", now_s) for now_s in (130, 160, 161, 190, 191)] == [3, 3, 2, 2, 0]
    assert sessions.count("backend_0", 131, window_s=2) == 2
    assert sessions.count("backend_9", 100) == 0


def test_old_clients_and_too_many_clients_are_forgotten() -> None:
    sessions = Sessions(most=100)
    for number in range(1000):
        sessions.seen("backend_0", [f"client {number}"], float(number) / 1000)
    assert sessions.count("backend_0", 1.0) == 100
    sessions.seen("backend_0", ["new"], 2 * LONGEST_S)
    assert sessions.count("backend_0", 2 * LONGEST_S, 3 * LONGEST_S) == 1
