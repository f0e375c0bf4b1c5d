"""A terminal with the shell in it, typed into as a person would. Edge."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.support import wait_for

WAIT_S = 15.0


class Conversation:
    """`tenfold shard sql` behind a pseudo terminal of 100 columns, which it controls: Ctrl-C reaches it as a signal."""

    def __init__(self, file: Path, state: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x28\x00\x64\x00\x00\x00\x00\x00")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tenfold.cli.main", "shard", "sql", "-f", str(file)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True,
            env=environment | {"TERM": "dumb", "NO_COLOR": "1", "XDG_STATE_HOME": str(state)},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def says(self, until: str, wait_s: float = WAIT_S) -> str:
        """What it prints up to and with `until`, a regular expression; fails when it does not come."""
        seen = b""
        deadline_s = time.monotonic() + wait_s
        while not re.search(until, text := seen.decode(errors="replace").replace("\r", "")):
            if time.monotonic() > deadline_s:
                pytest.fail(f"not said: {until!r} in {text!r}")
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    seen += os.read(self._ours, 65536)
                except OSError:  # it has gone
                    pytest.fail(f"it ended without {until!r}: {text!r}")
        return text

    def type(self, text: str, until: str = r"tiny\*?> $") -> str:
        """Type a line; → what comes then, up to the next prompt."""
        self.press(text + "\n")
        return self.says(until)

    def press(self, keys: str) -> None:
        """Keys as they are: \\x03 is Ctrl-C, \\x04 Ctrl-D."""
        os.write(self._ours, keys.encode())

    def interrupted(self, until: str) -> str:
        """Press Ctrl-C; → what comes then. A signal that comes just before Python waits for a key is noticed with the
        next key: then, as a person would, once more."""
        self.press("\x03")
        try:
            return self.says(until, 3)
        except pytest.fail.Exception:
            self.press("\x03")
            return self.says(until)

    def works(self) -> None:
        """Wait until it is busy with what was typed: it takes a fifth of a second of the processor."""
        watched = psutil.Process(self.process.pid)
        before_s = sum(watched.cpu_times()[:2])
        wait_for(lambda: sum(watched.cpu_times()[:2]) - before_s > 0.2, "it is busy")

    def ends(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
