"""The journal of deploys and its lock, on both engines, between real processes. Edge."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tenfold.deploy.journal import Held, Journal, Replaced
from tenfold.deploy.lock import Heartbeat, take
from tenfold.deploy.order import Kind, Mark, Order, State
from tenfold.errors import DeployError
from tenfold.topology.model import Topology
from tests.deploy.places import place
from tests.support import wait_for

ORDER = Order(Kind.DEPLOY, "20261123T170000-abc", "abc", "main", {"backend_0": None, "backend_1": "r0"})

# Holds the lock and beats until it is told to end; says so on its standard output. Then it tries to write a step.
HOLDER = """
import sys, time
from tenfold.topology.load import load
from tenfold.deploy.journal import Journal, Replaced
from tenfold.deploy.lock import Heartbeat, take
from tenfold.deploy.order import Kind, Mark, Order
topology = load(sys.argv[1])
journal = Journal(topology).open()
held = take(journal, "ann@laptop", 2.0)
order = Order(Kind.DEPLOY, "r1", "c1", "main", {"backend_0": None})
number = journal.begin(held, order)
with Heartbeat(Journal(topology), held, 2.0, lambda: None) as beat:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        beat.check()
        print("not noticed by the clock", flush=True)
    except Replaced:
        print("replaced", flush=True)
    try:
        journal.step(held, number, 0, "late", Mark.BEGUN)
        print("written", flush=True)
    except Replaced:
        print("refused", flush=True)
"""


@contextmanager
def holder(topology: Topology) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, and has begun a deploy."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(topology.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def journal(shop: Topology) -> Iterator[Journal]:
    opened = Journal(shop).open()
    yield opened
    opened.close()


def test_a_second_deployer_is_told_who_deploys_since_when_and_what_to_do(shop: Topology, journal: Journal) -> None:
    with holder(shop), pytest.raises(DeployError, match=r"ann@laptop deploys.* since 20..-..-.. .* UTC") as refused:
        take(journal, "bob@desk", 2.0)
    assert refused.value.retryable
    assert "end that process" in refused.value.hint


def test_of_many_who_want_the_lock_at_once_one_has_it(shop: Topology, journal: Journal) -> None:
    won: list[Held] = []
    barrier = threading.Barrier(6)

    def want() -> None:
        mine = Journal(shop)
        seen = mine.holder()
        barrier.wait()
        held = mine.take(seen, "somebody", 2.0)
        if held is not None:
            won.append(held)
        mine.close()

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert journal.holder().token == won[0].token


def test_the_lock_of_a_process_of_this_machine_that_was_killed_is_taken_at_once(
    shop: Topology, journal: Journal
) -> None:
    with holder(shop) as other:
        other.kill()
        other.wait()
        said: list[str] = []
        # lock_s: so long that whoever waits for it does not come through in time
        held = take(journal, "bob@desk", 900.0, said=said.append)
        assert held.fence == 2
        assert "ann@laptop has ended without giving the lock back" in said[0]
        left = journal.history().unfinished
        assert left is not None
        assert (left.order.release, left.state) == ("r1", State.RUNNING)


def test_a_deployer_that_was_stopped_for_too_long_writes_nothing_when_it_wakes_up(
    shop: Topology, journal: Journal
) -> None:
    with holder(shop) as other:
        other.send_signal(signal.SIGSTOP)
        held = take(journal, "bob@desk", 1.0)  # waits for the two seconds that the other one asked for
        other.send_signal(signal.SIGCONT)
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "replaced\n"
        assert other.stdout.readline() == "refused\n"
        assert journal.holder().token == held.token
        assert "late" not in journal.steps(1)


def test_who_beats_is_not_taken_over_however_slow_his_steps_are(shop: Topology, journal: Journal) -> None:
    held = take(journal, "ann", 1.0)
    other = Journal(shop)
    with Heartbeat(Journal(shop), held, 1.0, lambda: None) as beat:
        until_s = time.monotonic() + 2.5  # longer than the lock lives without a beat
        while time.monotonic() < until_s:
            with pytest.raises(DeployError):
                take(other, "bob", 1.0)
        beat.check()
    other.close()


def test_a_holder_that_could_not_beat_for_long_goes_on_only_where_nobody_took_the_lock(
    shop: Topology, journal: Journal
) -> None:
    # A migration on SQLite kept everybody from writing to the catalog for so long.
    held, now_s = take(journal, "ann", 30.0), 0.0
    own = Journal(shop)
    beat = Heartbeat(own, held, 30.0, lambda: None, clock=lambda: now_s)
    now_s = 31.0
    beat.check()
    assert journal.take(journal.holder(), "bob", 30.0)
    beat.check()  # that beat was a moment ago
    now_s = 62.0
    with pytest.raises(Replaced, match="another process has taken this deploy over: this one was silent"):
        beat.check()
    own.close()


def test_a_holder_whose_catalog_is_away_says_that_and_who_goes_on(tmp_path: Path) -> None:
    shop = place(tmp_path)
    journal, now_s = Journal(shop).open(), 0.0
    beat = Heartbeat(journal, take(journal, "ann", 30.0), 30.0, lambda: None, clock=lambda: now_s)
    journal.close()
    (tmp_path / "var").rename(tmp_path / "away")
    now_s = 31.0
    with pytest.raises(Replaced, match="the catalog has not answered for 31 s") as stopped:
        beat.check()
    assert "`tenfold rollback --unfinished`" in stopped.value.hint
    journal.close()


def test_a_holder_learns_from_its_heartbeat_that_it_was_replaced(shop: Topology, journal: Journal) -> None:
    held, lost = take(journal, "ann", 900.0), threading.Event()
    with Heartbeat(Journal(shop), held, 900.0, lost.set) as beat:
        seen = wait_for(lambda: journal.take(journal.holder(), "bob", 900.0), "the lock is taken between two beats")
        assert seen.fence == held.fence + 1
        assert lost.wait(20)
        with pytest.raises(Replaced):
            beat.check()


def test_what_was_begun_is_in_the_journal_with_how_it_ended(journal: Journal) -> None:
    held = take(journal, "ann", 30.0)
    number = journal.begin(held, ORDER)
    journal.step(held, number, 0, "backend_0.down", Mark.BEGUN)
    journal.step(held, number, 0, "backend_0.down", Mark.DONE, "nobody left after 1.2 s: „ja“")
    journal.step(held, number, 1, "backend_0.switch", Mark.BEGUN)
    steps = journal.steps(number)
    assert [(e.name, e.mark) for e in steps.values()] == [
        ("backend_0.down", Mark.DONE),
        ("backend_0.switch", Mark.BEGUN),
    ]
    assert steps["backend_0.down"].told == "nobody left after 1.2 s: „ja“"
    journal.step(held, number, 0, "backend_0.down", Mark.UNDONE)
    assert journal.steps(number)["backend_0.down"].told == "nobody left after 1.2 s: „ja“"
    journal.turn(held, number, State.UNDONE, "a gate")
    one = journal.history().deploys[-1]
    assert (one.order, one.state, one.said) == (ORDER, State.UNDONE, "a gate")


def test_a_deploy_cannot_begin_while_another_is_open(journal: Journal) -> None:
    held = take(journal, "ann", 30.0)
    journal.begin(held, ORDER)
    with pytest.raises(DeployError, match="deploy 1 is running"):
        journal.begin(held, ORDER)


def test_without_a_platform_there_is_no_journal(tmp_path: Path) -> None:
    from tenfold.topology.load import load
    from tests.deploy.places import FILE

    (tmp_path / "var").mkdir()
    (tmp_path / "tenfold.toml").write_text(FILE)
    (tmp_path / "var/shard_0.db").touch()
    with pytest.raises(DeployError, match="shard_0 holds no catalog") as refused:
        Journal(load(tmp_path / "tenfold.toml")).open()
    assert "tenfold up" in refused.value.hint
