"""`tenfold up` in a terminal, and as the first process of a container. Edge."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tests.runtime.platforms import ENVIRONMENT, TENFOLD, Platform, runs
from tests.support import wait_for


class Terminal:
    """A terminal window in which `tenfold up` was typed."""

    def __init__(self, platform: Platform, **environment: str) -> None:
        self.seen = ""
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.chdir(platform.root)
            os.execvpe(TENFOLD[0], [*TENFOLD, "up"], ENVIRONMENT | {"TERM": "xterm"} | environment)  # noqa: S606
        os.set_blocking(self._screen, False)

    def shows(self, text: str) -> bool:
        with suppress(OSError):  # nothing yet, or nobody writes any more
            self.seen += os.read(self._screen, 65536).decode()
        return text in self.seen

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def close(self) -> None:
        os.close(self._screen)

    def exit_code(self) -> int:
        code: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        wait_for(ended, "up has ended")
        return code[0]


def test_ctrl_c_in_a_terminal_stops_the_platform_once(platform: Platform) -> None:
    terminal = Terminal(platform)
    wait_for(lambda: terminal.shows("Ctrl-C, or "), "the block")
    assert "\x1b[32m✓" in terminal.seen  # a terminal: colour
    terminal.type(b"\x03")
    wait_for(lambda: terminal.shows("stopped in"), "the stop")
    assert terminal.exit_code() == 0
    assert platform.remains() == []
    terminal.close()


def test_no_color_is_respected_in_a_terminal(platform: Platform) -> None:
    terminal = Terminal(platform, NO_COLOR="1")
    wait_for(lambda: terminal.shows("Ctrl-C, or "), "the block")
    terminal.type(b"\x03")
    assert terminal.exit_code() == 0
    assert "\x1b" not in terminal.seen
    terminal.close()


def test_a_terminal_window_that_is_closed_leaves_nothing(platform: Platform) -> None:
    terminal = Terminal(platform)
    wait_for(lambda: terminal.shows("Ctrl-C, or "), "the block")
    terminal.close()
    terminal.exit_code()
    assert platform.remains() == []


def test_under_nohup_the_platform_outlives_the_terminal(platform: Platform) -> None:
    platform.wrapper = ["nohup"]
    run = platform.up()
    run.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert run.poll() is None and platform.get("/") == "backend_0"


def test_what_the_shell_before_us_had_started_is_left_alone(platform: Platform) -> None:
    platform.wrapper = ["sh", "-c", 'sleep 60 & exec "$@"', "sh"]
    run = platform.up()
    (sleep,) = [process for process in psutil.Process(run.pid).children() if process.name() == "sleep"]
    run.terminate()
    assert run.wait(10) == 0
    assert runs(sleep.pid)


def test_it_is_a_good_first_process_of_a_container(platform: Platform) -> None:
    contain = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*contain, "true"], capture_output=True).returncode != 0:
        pytest.skip("only root may make a process namespace here")
    platform.wrapper = contain
    run = platform.up()
    first = psutil.Process(run.pid).children()[0]
    assert platform.get("/environment", platform.ports[0])
    assert platform.tenfold("status", wrapped=False).returncode == 1  # its numbers mean nothing outside
    assert "cannot see it" in platform.tenfold("down", wrapped=False).stderr
    platform.get("/orphan", platform.ports[0])
    wait_for(lambda: all(p.status() != psutil.STATUS_ZOMBIE for p in first.children()), "orphans are collected")
    platform.get("/end?6", platform.ports[0])
    wait_for(lambda: "backend_0 exited with code 6" in platform.said(), "the exit code")
    wait_for(lambda: "backend_0 is back" in platform.said(), "the backend is back")
    first.terminate()
    assert run.wait(10) == 0
    assert not runs(first.pid)
    assert platform.remains() == []
