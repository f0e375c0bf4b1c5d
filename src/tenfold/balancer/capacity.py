"""How many workers and connections the machine's file descriptors allow. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# A client being served holds two connections (its own and the backend's), so this is 8,192 clients a worker.
WANTED_CONNECTIONS = 16_384
# Logs, listening sockets, and a temporary file for each large body on its way.
SPARE_FILES = 512
# Below this, about 1,000 clients a worker, a small burst already waits in the kernel's queue.
SENSIBLE_CONNECTIONS = 2_048
MOST_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Capacity:
    """What nginx is given: workers, and for each of them connections and open files."""

    workers: int
    connections: int
    files: int
    warning: str | None


def capacity(cpus: int, fd_limit: int) -> Capacity:
    """Work out nginx's share of the machine.

    cpus      processors that this process may use (at least 1)
    fd_limit  open files that a process may have at most: the hard limit, up to which nginx raises its own.
              A number above it would be refused by the kernel with no more than a line in the error log.
    """
    workers = max(1, min(cpus, MOST_WORKERS))
    files = min(fd_limit, WANTED_CONNECTIONS + SPARE_FILES)
    connections = max(16, files - min(SPARE_FILES, files // 8))
    warning = None
    if connections < SENSIBLE_CONNECTIONS:
        warning = (
            f"a process may open only {fd_limit} files here, so nginx serves about {workers * connections // 2} "
            f"clients at once; raise the hard limit to {WANTED_CONNECTIONS + SPARE_FILES} "
            "(ulimit -Hn, or LimitNOFILE= in systemd)"
        )
    return Capacity(workers, connections, files, warning)
