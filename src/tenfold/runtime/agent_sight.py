"""What the supervisor's record says, read when it has changed; and who holds connections to the backends. Edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tenfold.runtime import record
from tenfold.runtime.record import Entry


class RecordSight:
    """The entries of var/run/state.json by name. May be used by several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], dict[str, Entry]] | None = None

    def entries(self) -> Mapping[str, Entry]:
        """As they are now; none when nothing can be read."""
        try:
            stat = self._path.stat()
        except OSError:
            return {}
        version = (stat.st_ino, stat.st_mtime_ns)
        if self._read is None or self._read[0] != version:
            about = None
            with suppress(OSError):
                about = record.read(self._path)
            self._read = (version, {entry.name: entry for entry in about.processes} if about else {})
        return self._read[1]

    def entry(self, name: str) -> Entry | None:
        """One of them."""
        return self.entries().get(name)

    def leaders(self) -> dict[str, int]:
        """Pids of the processes that run, by name: each leads its group."""
        return {name: entry.pid for name, entry in self.entries().items() if entry.pid}


def connections(master: int | None, addresses: Mapping[str, tuple[str, int]]) -> dict[str, int] | None:
    """How many connections nginx holds to each backend, idle ones that it keeps for 1.5 s among them.

    master     nginx's process id
    addresses  host and port of the backends by name
    Returns    None when that cannot be seen: nginx is away, or belongs to another account
    """
    if master is None:
        return None
    count: Counter[tuple[str, int]] = Counter()
    try:
        for worker in psutil.Process(master).children():
            with suppress(psutil.NoSuchProcess):
                for connection in worker.net_connections("tcp"):
                    if connection.status == psutil.CONN_ESTABLISHED and connection.raddr:
                        count[connection.raddr.ip, connection.raddr.port] += 1
    except (psutil.Error, OSError):
        return None
    return {name: count[address] for name, address in addresses.items()}
