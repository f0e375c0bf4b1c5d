"""The trail on disk: var/audit.jsonl, one line an act, written through to the disk under a lock. Edge."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.audit.chain import Entry, entry_of, faults, next_entry

NAME = "audit.jsonl"
_TAIL = 1 << 16


class Trail:
    """Any process of the platform's account may write; each act is one line, and lines are never changed."""

    def __init__(self, path: Path, *, who: str | None = None, clock: Callable[[], float] = time.time) -> None:
        """`path`: var/audit.jsonl; `who`: default: this account at this machine; `clock`: seconds since 1970."""
        self.path, self._who, self._clock = path, who, clock

    def write(self, did: str, who: str | None = None, **about: Any) -> Entry:
        """Add an act, and return it once it is on the disk. Raises OSError.

        about  of JSON's types; never a secret
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            size = os.fstat(fd).st_size
            last, whole = _last(fd, size)
            entry = next_entry(last, self._clock(), who or self._who or whoami(), did, about)
            # A machine that lost power in the middle of a line has left a part of one: it stays, and shows.
            text = entry.line() + "\n" if whole else "\n" + entry.line() + "\n"
            try:
                _write_all(fd, text.encode())
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)  # what is not on the disk whole was not written at all
                raise
        finally:
            os.close(fd)
        return entry

    def entries(self) -> list[Entry]:
        """All that can be read, the oldest first; none where there is no file."""
        found = []
        for line in self._lines():
            with suppress(ValueError):
                found.append(entry_of(line))
        return found

    def faults(self) -> list[str]:
        """What is wrong with it, a sentence each."""
        return faults(self._lines())

    def _lines(self) -> list[str]:
        try:
            return [line for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n") if line]
        except FileNotFoundError:
            return []


def whoami() -> str:
    """The account and the machine, as "ann@web-1"."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _write_all(fd: int, data: bytes) -> None:
    # A disk that is nearly full takes a part, and that is no error of its own.
    while data:
        data = data[os.write(fd, data) :]


def _last(fd: int, size: int) -> tuple[Entry | None, bool]:
    """The last entry that can be read, and whether the file ends with a whole line."""
    start, tail = size, b""
    while start and (tail.count(b"\n") < 2 or b"\n" not in tail[:-1]):
        step = min(_TAIL, start)
        start -= step
        tail = os.pread(fd, step, start) + tail
    whole = not tail or tail.endswith(b"\n")
    for line in reversed(tail.decode("utf-8", "replace").split("\n")):
        with suppress(ValueError):
            if line:
                return entry_of(line), whole
    return None, whole
