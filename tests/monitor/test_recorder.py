"""Every observation of a process reaches the agent once, under its name. Edge."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tenfold.monitor.recorder import OTHER, Recorder
from tenfold.monitor.wire import MAX_LABEL, MAX_NAMES, MAX_SECONDS
from tests.monitor.listener import Listener, listening
from tests.support import wait_for

READ = ("GET", "/users/{id}", 200)


def test_requests_and_statements_arrive_with_their_labels(agent: Listener, recorder: Recorder) -> None:
    recorder.http("GET", "/users/{id}", 200, 0.25)
    recorder.http("POST", "/login", 429, 0.5)
    recorder.sql("SELECT", "users", "shard_1", True, 0.001)
    recorder.sql("INSERT", "users", "shard_0", False, 0.002)
    assert recorder.flush()
    agent.wait_for(4)
    told = {(name.kind, *name.labels): values for name, values in agent.seconds.items()}
    assert told == {
        ("http", "GET", "/users/{id}", "200"): [0.25],
        ("http", "POST", "/login", "429"): [0.5],
        ("sql", "SELECT", "users", "shard_1", "ok"): [pytest.approx(0.001)],
        ("sql", "INSERT", "users", "shard_0", "error"): [pytest.approx(0.002)],
    }
    assert agent.pids == {os.getpid(): 4} and agent.backends == {"backend_0"}


def test_what_was_recorded_is_there_a_moment_later_without_being_asked_for(agent: Listener, socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.05)
    recorder.http(*READ, 0.1)
    agent.wait_for(1)
    recorder.http(*READ, 0.1)
    agent.wait_for(2)
    recorder.close()
    assert agent.connections == 1


def test_no_observation_is_lost_or_mixed_up_between_threads(agent: Listener, socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.0005)
    each, writers = 25_000, 4

    def write(number: int) -> None:
        for turn in range(each):
            recorder.http("GET", f"/{number}", 200 + turn % 7, float(number))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    recorder.close()
    agent.wait_for(each * writers)
    assert recorder.dropped == 0
    for name, seconds in agent.seconds.items():
        assert set(seconds) == {float(name.labels[1][1:])}


def test_no_observation_is_lost_between_tasks(agent: Listener, recorder: Recorder) -> None:
    async def write(number: int) -> None:
        for _ in range(50):
            recorder.http("GET", f"/{number}", 200, 0.001)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(write(number) for number in range(40)))

    asyncio.run(main())
    recorder.flush()
    agent.wait_for(2000)
    assert set(agent.counts.values()) == {50}


def test_the_child_of_a_fork_ships_its_own_and_nothing_of_its_parents(agent: Listener, recorder: Recorder) -> None:
    recorder.http("GET", "/parent", 200, 0.1)
    recorder.flush()
    recorder.http("GET", "/parent", 200, 0.1)  # in the buffer while it forks
    pid = os.fork()
    if pid == 0:
        try:
            recorder.http("GET", "/child", 200, 0.1)
            os._exit(0 if recorder.flush(5) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    recorder.http("GET", "/parent", 200, 0.1)
    recorder.flush()
    agent.wait_for(4)
    assert agent.counts == {("GET", "/parent", "200"): 3, ("GET", "/child", "200"): 1}
    assert agent.pids == {os.getpid(): 3, pid: 1}


def test_a_thread_of_its_own_ships_in_the_child_of_a_fork(agent: Listener, socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.02)
    recorder.http("GET", "/parent", 200, 0.1)
    agent.wait_for(1)
    pid = os.fork()
    if pid == 0:
        try:
            recorder.http("GET", "/parent", 200, 0.1)  # known to the parent's thread, which is not here
            threading.Event().wait(30)
        finally:
            os._exit(2)
    try:
        agent.wait_for(2)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        recorder.close()


def test_a_process_that_ends_ships_what_it_has(agent: Listener, socket_path: Path) -> None:
    code = (
        "from tenfold.monitor.recorder import current\n"
        "for n in range(1000): current().http('GET', '/', 200, 0.001)\n"
        "current().sql('SELECT', 'users', 'shard_0', True, 0.001)\n"
    )
    named = {**os.environ, "TENFOLD_AGENT_SOCKET": str(socket_path), "TENFOLD_BACKEND": "backend_2"}
    subprocess.run([sys.executable, "-c", code], env=named, check=True, timeout=20)
    agent.wait_for(1001)
    assert agent.backends == {"backend_2"}


def test_without_a_named_agent_there_is_no_recorder() -> None:
    code = "from tenfold.monitor.recorder import current\nassert current() is None"
    bare = {name: value for name, value in os.environ.items() if name != "TENFOLD_AGENT_SOCKET"}
    subprocess.run([sys.executable, "-c", code], env=bare, check=True, timeout=20)


def test_a_platform_may_lie_deeper_than_a_sockets_address_is_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (tmp_path / "short").symlink_to(deep)
    with listening(tmp_path / "short" / "agent.sock") as agent:
        recorder = Recorder(deep / "agent.sock", interval_s=60)
        recorder.http(*READ, 0.1)
        assert recorder.flush()
        agent.wait_for(1)
        recorder.close()


def test_names_are_bounded_and_what_is_beyond_keeps_its_class(agent: Listener, recorder: Recorder) -> None:
    routes = 10_000
    for number in range(routes):
        recorder.http("GET", f"/{number}", 200 if number % 2 else 503, 0.001)
    for number in range(routes):
        recorder.sql("SELECT", f"t{number}", "shard_0", False, 0.001)
    recorder.http("GET", "/9999", 200, 0.001)
    assert recorder.flush()
    agent.wait_for(2 * routes + 1)
    assert len(agent.names) <= MAX_NAMES
    counts = agent.counts
    ordinary = sum(1 for labels in counts if labels[0] == "GET")
    assert counts["*", OTHER, "200"] + counts["*", OTHER, "500"] == routes - ordinary + 1
    assert counts["*", OTHER, "500"] == pytest.approx((routes - ordinary) / 2, abs=1)
    assert counts[OTHER, OTHER, OTHER, "error"] == routes
    recorder.http("GET", "/0", 503, 0.001)  # one of the first is known as ever
    recorder.flush()
    agent.wait_for(2 * routes + 2)
    assert agent.counts["GET", "/0", "503"] == 2


def test_whoever_invents_methods_fills_no_memory(agent: Listener, recorder: Recorder) -> None:
    for number in range(10_000):
        recorder.http(f"METHOD{number}", "/", 200, 0.001)
    recorder.flush()
    agent.wait_for(10_000)
    assert agent.counts == {("OTHER", "/", "200"): 10_000}
    assert len(recorder._bases) == 0


@pytest.mark.parametrize(
    "route", ["/<script>", "/\x1b[2J", "/\ud800", '/"\\', "/\x00", "/" + "x" * 100_000, "/😀" * 5000]
)
def test_a_hostile_route_name_breaks_no_connection(agent: Listener, recorder: Recorder, route: str) -> None:
    recorder.http("GET", route, 200, 0.5)
    recorder.http("GET", "/next", 200, 0.25)
    assert recorder.flush()
    agent.wait_for(2)
    assert all(label.isprintable() and len(label) <= MAX_LABEL for name in agent.names for label in name.labels)


def test_the_longest_names_of_all_fit_their_frames(agent: Listener, recorder: Recorder) -> None:
    for number in range(MAX_NAMES):
        long = f"{number:04}" + "\x01" * MAX_LABEL
        recorder.sql(long, long, long, True, 0.5)
    assert recorder.flush(10)
    agent.wait_for(MAX_NAMES)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1.0, 0.0),
        (float("nan"), 0.0),
        (float("inf"), MAX_SECONDS),
        (90_000.0, MAX_SECONDS),
        (4095.9999999999, MAX_SECONDS),
    ],
)
def test_an_impossible_duration_is_told_as_the_nearest_possible(
    agent: Listener, recorder: Recorder, seconds: float, told: float
) -> None:
    recorder.http(*READ, 0.5)
    recorder.http(*READ, seconds)
    recorder.flush()
    agent.wait_for(2)
    assert [values for values in agent.seconds.values() if values] == [[0.5, told]]


@pytest.mark.parametrize(("status", "told"), [(0, "500"), (99, "500"), (600, "500"), (10**9, "500"), (599, "599")])
def test_a_status_that_is_none_counts_as_an_error(agent: Listener, recorder: Recorder, status: int, told: str) -> None:
    recorder.http("GET", "/", status, 0.5)
    recorder.flush()
    agent.wait_for(1)
    assert agent.counts == {("GET", "/", told): 1}


def test_a_forgotten_recorder_ends_its_thread(agent: Listener, socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.02)
    recorder.http(*READ, 0.1)
    agent.wait_for(1)
    del recorder
    gc.collect()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "tenfold-recorder"], "no thread is left")


def test_a_closed_recorder_begins_anew_with_the_next_observation(agent: Listener, socket_path: Path) -> None:
    recorder = Recorder(socket_path, interval_s=0.02)
    recorder.http(*READ, 0.1)
    recorder.close()
    agent.wait_for(1)
    recorder.http(*READ, 0.2)
    agent.wait_for(2)
    recorder.close()


def test_an_application_that_is_measured_loads_no_numpy() -> None:
    code = "import sys, tenfold.middleware\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
