"""An agent that is absent, killed, slow or replaced costs the application nothing but counted observations. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.monitor.recorder import LIMIT, Recorder
from tests.monitor.listener import Listener, listening
from tests.support import wait_for

READ = ("GET", "/users/{id}", 200)


@pytest.fixture
def quick(socket_path: Path) -> Iterator[Recorder]:
    """Ships every 20 ms and keeps what it cannot deliver for 0.3 s."""
    recorder = Recorder(socket_path, "backend_0", interval_s=0.02, keep_s=0.3)
    yield recorder
    recorder.close()


def record(recorder: Recorder, count: int) -> None:
    for _ in range(count):
        recorder.http(*READ, 0.001)


def test_what_an_absent_agent_misses_is_dropped_counted_and_told_when_it_comes(
    quick: Recorder, socket_path: Path
) -> None:
    record(quick, 500)
    wait_for(lambda: quick.dropped == 500, "what nobody took is dropped")
    with listening(socket_path) as agent:
        record(quick, 10)
        agent.wait_for(10)
        wait_for(lambda: agent.dropped == 500, "the agent is told")


def test_an_agent_that_is_back_within_moments_misses_nothing(quick: Recorder, socket_path: Path) -> None:
    with listening(socket_path) as first:
        record(quick, 100)
        first.wait_for(100)
    record(quick, 50)
    with listening(socket_path) as second:
        record(quick, 25)
        second.wait_for(75)
        assert second.dropped == 0


def test_an_agent_killed_again_and_again_loses_at_most_one_flush_each_time(socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.01, keep_s=30)
    ended = threading.Event()
    recorded = 0

    def write() -> None:
        nonlocal recorded
        while not ended.wait(0.005):
            record(recorder, 100)
            recorded += 100

    writer = threading.Thread(target=write)
    writer.start()
    kills, heard, largest = 8, 0, 0
    try:
        for _ in range(kills):
            with listening(socket_path) as agent:
                time.sleep(0.1)
            heard, largest = heard + agent.heard, max(largest, agent.largest)
    finally:
        ended.set()
        writer.join()
    with listening(socket_path) as last:
        recorder.close()
        time.sleep(0.1)
    heard += last.heard
    assert recorder.dropped == 0
    assert heard <= recorded, "none may be counted twice"
    assert recorded - heard <= kills * 2 * largest


def test_a_socket_that_another_agent_has_taken_is_followed(quick: Recorder, socket_path: Path) -> None:
    with listening(socket_path) as old:
        record(quick, 10)
        old.wait_for(10)
        socket_path.unlink()
        with listening(socket_path) as new:
            record(quick, 20)
            new.wait_for(20)
            assert old.heard == 10


def test_a_file_that_is_no_socket_is_as_good_as_no_agent(quick: Recorder, socket_path: Path) -> None:
    socket_path.write_text("not a socket")
    record(quick, 10)
    wait_for(lambda: quick.dropped == 10, "what nobody took is dropped")


def test_an_agent_that_does_not_read_holds_nobody_up_and_every_loss_is_counted(
    agent: Listener, socket_path: Path
) -> None:
    recorder = Recorder(socket_path, interval_s=0.05, keep_s=60)
    agent.reading.clear()
    total = 3 * LIMIT
    record(recorder, total)
    assert len(recorder._buffer) <= LIMIT + 1
    assert recorder.dropped > 0
    agent.reading.set()
    wait_for(lambda: recorder.flush() and agent.heard + recorder.dropped >= total, "the rest arrives")
    assert agent.heard + recorder.dropped == total
    wait_for(lambda: recorder.flush() and agent.dropped == recorder.dropped, "the agent is told")
    assert not agent.broken
    assert agent.connections == 1, "a frame that was taken in part is finished, not begun anew"
    recorder.close()


def test_an_absent_agent_is_not_sought_anew_for_every_observation(socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=60, keep_s=600)
    record(recorder, 1)
    wait_for(lambda: recorder._away, "it has found nobody")
    record(recorder, LIMIT)
    assert recorder.dropped == 1
    assert not recorder._wake.is_set(), "its thread waits for the next turn"
    recorder.close(0.1)


def test_what_was_under_way_to_an_agent_that_died_grows_old_too(quick: Recorder, socket_path: Path) -> None:
    with listening(socket_path) as agent:
        record(quick, 10)
        agent.wait_for(10)
    record(quick, 50)
    wait_for(lambda: quick.dropped == 50, "what nobody took is dropped")
    with listening(socket_path) as late:
        record(quick, 5)
        late.wait_for(5)


def test_closing_with_an_agent_that_does_not_read_takes_no_longer_than_allowed(
    agent: Listener, socket_path: Path
) -> None:
    recorder = Recorder(socket_path, interval_s=60)
    agent.reading.clear()
    record(recorder, LIMIT)
    started_s = time.monotonic()
    recorder.close(0.2)
    assert time.monotonic() - started_s < 3
