"""Lines of the balancer's log as figures, fit for numpy. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

# Our own questions to nginx, asked on the machine itself.
OWN_PATHS = "/.tenfold/"
NOWHERE = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests of one look, health probes left out.

    time_s   Unix time at which each was finished
    seconds  how long each took, to the millisecond
    status   HTTP status of each
    backend  for each a position in `backends`: who answered; the name "" is nobody (limited, refused)
    clients  for each backend by name the addresses that it served
    """

    time_s: Floats
    seconds: Floats
    status: Ints
    backend: Ints
    backends: tuple[str, ...]
    clients: Mapping[str, frozenset[str]]
    broken: int = 0

    def __len__(self) -> int:
        return len(self.status)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a line what stands. Raises ValueError (by `index`) when a column is missing."""

    width: int
    time: int
    client: int
    path: int
    status: int
    seconds: int
    backend: int

    @classmethod
    def of(cls, names: Sequence[str]) -> Columns:
        """From the names of the columns, in the log's order."""
        found = [list(names).index(name) for name in ("time", "client", "path", "status", "seconds", "backend")]
        return cls(len(names), *found)


@dataclass(slots=True)
class _Rows:
    time_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    backend: list[int] = field(default_factory=list)


def parse(lines: Sequence[bytes], columns: Columns, backends: Mapping[str, str], health: str) -> Batch:
    """The requests that `lines` tell of; a line that is no request is counted as broken and left out.

    backends  name by address ("127.0.0.1:8101")
    health    path of the app's health page; requests for it are probes, whoever asks
    """
    rows, broken = _Rows(), 0
    health = unquote(health.partition("?")[0])
    names = (*dict.fromkeys(backends.values()), NOWHERE)
    positions = {address: names.index(name) for address, name in backends.items()}
    nowhere = len(names) - 1
    clients: list[set[str]] = [set() for _ in names]
    for raw in lines:
        # Zeros: who writes to an emptied file without O_APPEND leaves a hole in front of its next line.
        cells = raw.lstrip(b"\0").decode("latin-1").split("\t")
        try:
            if len(cells) != columns.width:
                raise ValueError
            seconds, status, time_s = (
                float(cells[columns.seconds]),
                int(cells[columns.status]),
                float(cells[columns.time]),
            )
            # NaN fails each comparison; no request takes eleven days, and none was made before 1970.
            if not (0 <= seconds < 1e6 and 0 <= status < 1000 and 0 <= time_s < 1e11):
                raise ValueError
        except ValueError:
            broken += 1
            continue
        path, client = cells[columns.path], cells[columns.client]
        if path == health or (path.startswith(OWN_PATHS) and _is_loopback(client)):
            continue
        address = cells[columns.backend]
        position = positions.get(address)
        if position is None:  # several were tried: the last one answered
            position = positions.get(address.rpartition(" ")[2], nowhere)
        clients[position].add(client)
        rows.time_s.append(time_s)
        rows.seconds.append(seconds)
        rows.status.append(status)
        rows.backend.append(position)
    return Batch(
        time_s=np.array(rows.time_s, np.float64),
        seconds=np.array(rows.seconds, np.float64),
        status=np.array(rows.status, np.int64),
        backend=np.array(rows.backend, np.int64),
        backends=names,
        clients={name: frozenset(found) for name, found in zip(names, clients, strict=True) if found and name},
        broken=broken,
    )


def _is_loopback(client: str) -> bool:
    return client.startswith("127.") or client == "::1"
