"""One recorder's connection to the agent, and what is under way on it. Edge.

What the kernel has taken in full counts as delivered. A frame of which it took only a part before the
agent vanished can be read by nobody, so its observations go again on the next connection: none twice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from tenfold.hosts.agent_link import dial
from tenfold.monitor.wire import HTTP, RECORDER, SQL, encode_names, encode_values, frame

Name = tuple[str, tuple[str, ...]]
"""Kind and labels, as in wire."""

_NAMES_A_FRAME = 128
"""Four labels of 200 characters, each six bytes long in JSON, 128 times: still below MAX_FRAME."""


class Shipment:
    """At most one batch of observations, with the names they need. Used by one thread at a time.

    progress_s  when (monotonic) the agent last took something, or there was nothing to take
    """

    def __init__(self, path: str, backend: str, pid: int) -> None:
        self._path, self._backend, self._pid = path, backend, pid
        self._line: socket.socket | None = None
        self._identity: tuple[int, int, int] | None = None
        self._values: Sequence[float] = ()
        self._names: Sequence[Name] = ()
        self._dropped = 0
        self._dropped_told = 0
        self._names_told = 0
        self._telling = self._dropped_telling = 0
        self._bytes: memoryview | None = None
        self.progress_s = time.monotonic()

    def __del__(self) -> None:
        self.hang_up()  # a recorder may be forgotten without being closed

    @property
    def laden(self) -> bool:
        """Whether there is something that the agent has not been given."""
        return bool(self._values) or self._names_told < len(self._names) or self._dropped_told < self._dropped

    def load(self, values: Sequence[float], names: Sequence[Name], dropped: int) -> None:
        """Take a batch along. `names`: all so far, in the order of their ids; `dropped`: all so far. Only while
        not laden."""
        self._values, self._names, self._dropped = values, names, dropped
        if self._line is not None and self._identity_now() not in (None, self._identity):
            self.hang_up()  # another agent has taken the place of the one that we talk to
        if not self.laden:
            self.progress_s = time.monotonic()

    def deliver(self, until_s: float) -> bool:
        """Give the kernel all of it by then (monotonic); → whether it took all. What is left goes on next time."""
        try:
            if self._line is None:
                self._identity = self._identity_now()  # before, so that one who takes its place now is noticed
                self._line = dial(self._path, max(0.01, until_s - time.monotonic()))
                self._bytes = memoryview(RECORDER + self._encoded())
            elif self._bytes is None:
                self._bytes = memoryview(self._encoded())
            while self._bytes:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return False
                self._line.settimeout(left_s)
                self._bytes = self._bytes[self._line.send(self._bytes) :]
                self.progress_s = time.monotonic()
        except TimeoutError:
            return False  # it is slow; the frame is finished another time
        except OSError:
            self.hang_up()
            return False
        self._bytes, self._values = None, ()
        self._names_told, self._dropped_told = self._telling, self._dropped_telling
        return True

    def abandon(self) -> int:
        """Give the batch up, unless an agent may have a part of it; → how many observations that were."""
        if self._line is not None:
            return 0
        lost, self._values = len(self._values), ()
        return lost

    def hang_up(self) -> None:
        """Close the connection. What was not delivered in full goes on the next one, and all names with it."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._bytes, self._names_told = None, 0

    def _encoded(self) -> bytes:
        names, told = self._names, self._names_told
        self._telling, self._dropped_telling = len(names), self._dropped
        dropped = self._dropped - self._dropped_told
        frames = []
        for kind in (HTTP, SQL):
            ids = [number for number in range(told, self._telling) if names[number][0] == kind]
            for first in range(0, len(ids), _NAMES_A_FRAME):
                some = {number: names[number][1] for number in ids[first : first + _NAMES_A_FRAME]}
                frames.append(frame(encode_names(self._pid, self._backend, kind, some, dropped)))
                dropped = 0
        if dropped:
            frames.append(frame(encode_names(self._pid, self._backend, HTTP, {}, dropped)))
        if self._values:
            frames.append(frame(encode_values(self._values)))
        return b"".join(frames)

    def _identity_now(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns
