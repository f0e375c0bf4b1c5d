"""What goes wrong with shards: files that are locked or away, servers that hang or crash, lines that are cut. Edge."""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

from tests.faults.moving.clean import FROM_CLEAN

SERVER = ("--innodb-doublewrite=1", "--idle-transaction-timeout=5")
"""Options of servers that may be killed: a page that was being written then must not be torn. And as the guide has it,
who vanishes in the middle of a transaction does not keep it open."""


def lock_file(path: Path, for_s: float) -> Process:
    """A process that holds the write lock of a SQLite file for a while."""
    process = FROM_CLEAN.Process(target=_hold, args=(path, for_s), daemon=True)
    process.start()
    return process


def _hold(path: Path, for_s: float) -> None:
    with suppress(sqlite3.Error):
        # Without "rw" it would make another file where this one is away.
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=1.0, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(for_s)
    os._exit(0)


def hide_file(path: Path) -> Callable[[], None]:
    """Take a SQLite file away → what brings it back. Connections that are open go on."""
    away = path.with_suffix(".away")
    path.rename(away)

    def bring_back() -> None:
        if away.exists():
            away.rename(path)

    return bring_back


class Wire:
    """A line to a server that can be cut: a process that passes bytes on; killed, its connections are gone, and
    stopped, they hang."""

    def __init__(self, port: int, to: int) -> None:
        self.port, self._to = port, to
        self._process: Process | None = None
        self.join()

    def join(self) -> None:
        """Pass on again, on the same port."""
        if self._process is None:
            ready, said = FROM_CLEAN.Pipe(duplex=False)
            self._process = FROM_CLEAN.Process(target=_pass_on, args=(self.port, self._to, said), daemon=True)
            self._process.start()
            ready.poll(5)
            ready.close()
            said.close()
        else:
            os.kill(self._process.pid or 0, signal.SIGCONT)

    def hang(self) -> None:
        """Take bytes, and pass none on."""
        if self._process is not None:
            os.kill(self._process.pid or 0, signal.SIGSTOP)

    def cut(self) -> None:
        """End all connections, and take none."""
        if self._process is not None:
            self._process.kill()
            self._process.join(5)
            self._process = None


def _pass_on(port: int, to: int, said: Connection) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=64) as server:
        said.send(True)
        while True:
            near, _ = server.accept()
            with suppress(OSError):
                far = socket.create_connection(("127.0.0.1", to))
                for line in (near, far):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pump, args=(near, far), daemon=True).start()
                continue
            near.close()


def _pump(near: socket.socket, far: socket.socket) -> None:
    other = {near: far, far: near}
    with near, far, suppress(OSError):
        while True:
            for ready in select.select([near, far], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)
