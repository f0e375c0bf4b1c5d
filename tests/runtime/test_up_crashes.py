"""What ends by itself: it comes back, later each time, and what it left behind is ended. Edge."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil

from tests.runtime.platforms import Platform, runs, stop
from tests.support import wait_for


def is_back(platform: Platform, name: str, old: int) -> bool:
    entry = platform.entry(name)
    return bool(entry["state"] == "up" and entry["pid"] != old)


def test_a_backend_that_crashes_comes_back_later_each_time(platform: Platform) -> None:
    platform.up()
    for restarts, announced in ((1, "back in 0.5 s"), (2, "back in 1 s")):
        pid = platform.pid("backend_0")
        platform.get("/end?3", platform.ports[0])
        wait_for(partial(is_back, platform, "backend_0", pid), "the backend is back")
        assert platform.entry("backend_0")["restarts"] == restarts
        assert "backend_0 exited with code 3 after" in platform.said() and announced in platform.said()
    assert platform.get("/") == "backend_0"
    assert "backend_0 is back (pid" in platform.said()


def test_a_balancer_killed_outright_comes_back_although_its_workers_held_the_port(platform: Platform) -> None:
    platform.up()
    pid = platform.pid("balancer")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_back(platform, "balancer", pid), "the balancer is back")
    assert "balancer was killed by SIGKILL" in platform.said()
    assert platform.get("/") == "backend_0"


def test_what_a_crashed_backend_left_in_its_group_is_ended_before_it_comes_back(platform: Platform) -> None:
    platform.up()
    pid = platform.pid("backend_0")
    child, _ = platform.get("/family", platform.ports[0])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_back(platform, "backend_0", pid), "the backend is back")
    assert not runs(child)
    assert (platform.root / "asked_to_end").exists()  # before it was killed


def test_a_backend_that_does_not_get_well_again_is_started_once_more(platform: Platform) -> None:
    platform.write(app="start_timeout_s = 0.7")
    platform.up()
    (platform.root / "mute").touch()
    os.kill(platform.pid("backend_0"), signal.SIGKILL)
    wait_for(lambda: "was not well at /healthz within 0.7 s (no answer)" in platform.said(), "it is given up on")
    (platform.root / "mute").unlink()
    wait_for(lambda: platform.entry("backend_0")["state"] == "up", "the backend is back")
    assert platform.entry("backend_0")["restarts"] == 2


def test_orphans_of_the_app_are_collected_and_exit_codes_are_not_lost_by_that(platform: Platform) -> None:
    # As pid 1 of a container does; here Tenfold asks the kernel for the same duty.
    run = platform.up()
    platform.get("/orphan", platform.ports[0])

    def zombies() -> list[psutil.Process]:
        return [p for p in psutil.Process(run.pid).children() if p.status() == psutil.STATUS_ZOMBIE]

    wait_for(zombies, "the orphan has come to the supervisor and ended")
    wait_for(lambda: not zombies(), "the orphan is collected")
    platform.get("/end?9", platform.ports[0])
    wait_for(lambda: "exited with code 9" in platform.said(), "the exit code of our own child")


def test_a_log_that_grows_too_long_is_cut_and_logs_go_on_following_it(platform: Platform) -> None:
    platform.up()
    log = platform.root / "var/log/backend_0.log"
    theirs = log.with_name("theirs.log")
    for path in (theirs, log):
        with path.open("a") as file:
            file.write("x" * (10 * 2**20 + 1) + "\n")
    wait_for(lambda: log.with_name("backend_0.log.1").exists() and log.stat().st_size < 100, "the log is cut")
    platform.get("/write?afterwards", platform.ports[0])
    assert log.read_text() == "afterwards\n"  # and not behind ten megabytes of zeros
    assert theirs.stat().st_size > 10 * 2**20  # who wrote it may not write at its end


def test_log_to_stdout_shows_each_line_after_its_name_and_writes_no_files(platform: Platform) -> None:
    run = platform.up("--log-to", "stdout")
    platform.get("/write?hello", platform.ports[0])
    wait_for(lambda: "backend_0 | hello" in platform.said(), "the line of the app")
    platform.get("/write?through")
    wait_for(lambda: "nginx-access | " in platform.said(), "the line of nginx")
    assert not Path(platform.root / "var/log/backend_0.log").exists()
    platform.get("/end?4", platform.ports[0])
    wait_for(lambda: "is back" in platform.said(), "the backend is back")
    assert stop(run) == 0
    assert platform.said().count("backend_0 | listening") == 2


def test_quiet_says_nothing_but_what_goes_wrong(platform: Platform) -> None:
    run = platform.start("--quiet")
    wait_for(lambda: platform.root.joinpath("var/run/state.json").exists(), "a state")
    wait_for(lambda: platform.entry("balancer").get("state") == "up", "the platform is up")
    time.sleep(0.1)
    assert platform.said() == ""
    platform.get("/end?5", platform.ports[0])
    wait_for(lambda: "backend_0 exited with code 5" in platform.complained(), "the crash on stderr")
    assert stop(run) == 0
    assert platform.said() == ""
