"""The collector's end of the agent's socket, for tests of those who speak to it. Edge."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.monitor.receive import Name, Stream
from tenfold.monitor.wire import RECORDER, WireError
from tests.support import wait_for


class Listener:
    """Listens at `path`, one thread for each connection, and keeps all that it hears. `stop` is as abrupt as a kill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[Name] = []
        self.seconds: dict[Name, list[float]] = {}
        self.pids: Counter[int] = Counter()
        self.backends: set[str] = set()
        self.broken: list[str] = []
        self.connections = 0
        self.largest = 0
        """Observations of the largest batch."""
        self.reading = threading.Event()
        self.reading.set()
        self._dropped: dict[int, int] = {}
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def heard(self) -> int:
        """Observations so far."""
        with self._lock:
            return sum(len(values) for values in self.seconds.values())

    @property
    def dropped(self) -> int:
        """Observations that the recorders say they lost."""
        with self._lock:
            return sum(self._dropped.values())

    @property
    def counts(self) -> dict[tuple[str, ...], int]:
        """Observations by labels."""
        with self._lock:
            return {name.labels: len(values) for name, values in self.seconds.items() if values}

    def wait_for(self, count: int) -> None:
        """Until so many observations have been heard; fails if there are more."""
        wait_for(lambda: self.heard >= count or self.broken, f"{count} observations, {self.heard} are here")
        assert not self.broken
        assert self.heard == count

    def stop(self, *, unlink: bool = True) -> None:
        """Hang up on everyone and listen no more."""
        if unlink:
            self.path.unlink(missing_ok=True)
        self.reading.set()
        for line in [self._socket, *self._lines]:
            with contextlib.suppress(OSError):  # it has ended already
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for line in [self._socket, *self._lines]:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            self._lines.append(line)
            reader = threading.Thread(target=self._read, args=(line, self.connections))
            self.connections += 1
            self._threads.append(reader)
            reader.start()

    def _register(self, name: Name) -> int:
        with self._lock:
            self.names.append(name)
            self.seconds.setdefault(name, [])
            return len(self.names) - 1

    def _read(self, line: socket.socket, number: int) -> None:
        stream = Stream(self._register)
        try:
            self.reading.wait()
            assert line.recv(1) == RECORDER
            while True:
                self.reading.wait()
                data = line.recv(1 << 16)
                if not data:
                    return
                for batch in stream.feed(data):
                    with self._lock:
                        self.pids[stream.pid] += len(batch.ids)
                        self.largest = max(self.largest, len(batch.ids))
                        for number_, seconds in zip(batch.ids.tolist(), batch.seconds.tolist(), strict=True):
                            self.seconds[self.names[number_]].append(seconds)
                with self._lock:
                    self.backends.add(stream.backend)
                    self._dropped[number] = stream.dropped
        except WireError as error:
            self.broken.append(str(error))
        except OSError:
            return


@contextmanager
def listening(path: Path) -> Iterator[Listener]:
    """A listener for the length of a block."""
    listener = Listener(path)
    try:
        yield listener
    finally:
        listener.stop()
