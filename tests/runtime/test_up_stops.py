"""Whatever ends `tenfold up`, nothing of the platform is left; a killed one is cleared up by the next command. Edge."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import psutil
import pytest

from tests.runtime.platforms import ENVIRONMENT, TENFOLD, Platform, runs, stop
from tests.support import wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_sigterm_and_a_closed_terminal_stop_everything(platform: Platform, number: int) -> None:
    run = platform.up()
    platform.get("/family", platform.ports[0])  # grandchildren, one of which has left the group
    assert len(platform.running()) >= 6
    assert stop(run, number) == 0
    assert platform.remains() == []
    assert "stopped in" in platform.said()


def test_an_open_request_is_answered_before_the_balancer_stops(platform: Platform) -> None:
    run = platform.up()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(platform.get("/slow?0.6")))
    asking.start()
    wait_for(lambda: psutil.Process(platform.pid("backend_0")).num_threads() > 1, "the request has arrived")
    assert stop(run) == 0
    asking.join()
    assert answers == ["backend_0"]


def test_a_backend_that_ignores_sigterm_is_killed_within_ten_seconds(platform: Platform) -> None:
    (platform.root / "stubborn").touch()
    run = platform.up()
    begun_s = time.monotonic()
    assert stop(run) == 0
    assert 3 < time.monotonic() - begun_s < 10
    assert platform.remains() == []


def test_a_second_ctrl_c_kills_at_once(platform: Platform) -> None:
    (platform.root / "stubborn").touch()
    run = platform.up()
    begun_s = time.monotonic()
    run.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping" in platform.said(), "the stop")
    assert stop(run, signal.SIGINT) == 0
    assert time.monotonic() - begun_s < 3
    assert platform.remains() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_backends_start_stops_them(platform: Platform, number: int) -> None:
    (platform.root / "mute").touch()
    run = platform.start()
    wait_for(lambda: platform.root.joinpath("var/run/state.json").exists() and platform.entry("backend_0"), "a start")
    assert stop(run, number) == 128 + number
    assert platform.remains() == []
    assert "Traceback" not in platform.complained() and "error" not in platform.complained()


def test_a_signal_while_the_set_up_runs_stops_it(platform: Platform) -> None:
    platform.write(app='setup = "{python} -c \\"import time; print(1, flush=True); time.sleep(60)\\""')
    run = platform.start()
    wait_for(lambda: "  1\n" in platform.said(), "the set-up runs")
    assert stop(run) == 128 + signal.SIGTERM
    assert platform.remains() == []


def test_after_kill_9_of_up_its_children_end(platform: Platform) -> None:
    run = platform.up()
    stop(run, signal.SIGKILL)
    wait_for(lambda: not platform.running(), "the children have ended with their parent")
    platform.up()  # and their record does not stand in the way
    assert platform.get("/") == "backend_0"


def test_what_survives_kill_9_is_ended_by_the_next_up(platform: Platform) -> None:
    (platform.root / "stubborn").touch()
    run = platform.up()
    child, _ = platform.get("/family", platform.ports[0])
    stop(run, signal.SIGKILL)
    backend = platform.pid("backend_0")
    assert runs(backend)
    (platform.root / "stubborn").unlink()
    platform.up()
    assert "had left: backend_0" in platform.said()
    assert not runs(backend) and not runs(child)
    assert platform.get("/") == "backend_0"


def test_a_group_whose_leader_is_gone_is_ended_by_down(platform: Platform) -> None:
    run = platform.up()
    child, _ = platform.get("/family", platform.ports[0])
    leader = platform.pid("backend_0")
    stop(run, signal.SIGKILL)
    wait_for(lambda: not runs(leader), "the leader is gone")
    assert runs(child)
    done = platform.tenfold("down")
    assert done.returncode == 0 and "had left: backend_0" in done.stdout
    assert not runs(child)


def test_a_process_that_took_over_a_recorded_number_is_not_touched(platform: Platform) -> None:
    run = platform.up()
    stop(run, signal.SIGKILL)
    wait_for(lambda: not platform.running(), "the children have ended")
    # The record now names a process of ours with another start time, as after the numbers have come around.
    state = platform.root / "var/run/state.json"
    text = state.read_text().replace(f'"pid": {platform.pid("backend_0")}', f'"pid": {os.getpid()}')
    state.write_text(text)
    done = platform.tenfold("down")
    assert done.returncode == 0 and "nothing is running" in done.stdout


def test_down_stops_the_platform_and_says_what_ended(platform: Platform) -> None:
    run = platform.up()
    done = platform.tenfold("down")
    assert done.returncode == 0
    assert f"stopped tiny (pid {run.pid}): backend_0, balancer" in done.stdout
    assert run.wait(1) == 0
    assert platform.remains() == []


def test_with_nothing_running_down_is_content_and_status_is_not(platform: Platform) -> None:
    done = platform.tenfold("down")
    assert (done.returncode, done.stdout) == (0, "nothing is running\n")
    done = platform.tenfold("status")
    assert done.returncode == 1 and "not running" in done.stdout
    assert platform.tenfold("logs").returncode == 1
    assert not (platform.root / "var").exists()


def test_logs_follow_until_they_are_told_to_stop(platform: Platform) -> None:
    log = platform.root / "var/log/backend_0.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n")
    command = [*TENFOLD, "logs", "-f", "-n", "1"]
    with subprocess.Popen(
        command, cwd=platform.root, env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE
    ) as follow:
        assert follow.stdout is not None
        assert follow.stdout.readline() == b"backend_0 | old\n"
        log.rename(log.with_name("backend_0.log.1"))  # as a rotation of another kind would
        log.write_text("new\x1b[2J\n")
        assert follow.stdout.readline() == b"backend_0 | new\\x1b[2J\n"
        follow.send_signal(signal.SIGINT)
        assert follow.wait(5) == 130
