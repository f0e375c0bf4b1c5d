"""The record of what runs, var/run/state.json: written by `up`, read by status, down and the next `up`. Edge."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from tenfold.runtime.processes import Identity, end_now, members

VERSION = 1
# They were asked to end when `up` was killed; this is the second time.
LEFT_GRACE_S = 1.5


@dataclass(frozen=True, slots=True)
class Entry:
    """One supervised process.

    pid, started  who it is, as Identity; None while it does not run
    since         when it came into its state, in seconds since 1970
    socket        where it answers instead of at host and port
    release       id of the release that it runs, or is to run; None: it has none
    """

    name: str
    kind: str
    state: str
    since: float
    restarts: int
    host: str
    port: int
    health: str
    host_header: str
    well: list[int]
    pid: int | None = None
    started: float | None = None
    socket: str | None = None
    release: str | None = None

    @property
    def identity(self) -> Identity | None:
        return Identity(self.pid, self.started) if self.pid and self.started else None


@dataclass(frozen=True, slots=True)
class Record:
    """What `up` says of itself: who it is, where the platform answers, and its processes. No secrets.

    url       empty on a host without the balancer
    host      name of this machine in the environment, where that has hosts
    expected  names of the programs that are to be there once all is up, the agent left out
    """

    platform: str
    file: str
    pid: int
    started: float
    url: str
    processes: tuple[Entry, ...] = ()
    host: str | None = None
    expected: tuple[str, ...] = ()

    @property
    def supervisor(self) -> Identity:
        return Identity(self.pid, self.started)


def write(record: Record, path: Path) -> None:
    """Replace the record as one step, readable by this user alone. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps({"version": VERSION} | asdict(record), indent=1)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as out:
        out.write(text)
    beside.replace(path)


def read(path: Path) -> Record | None:
    """The record; None when there is none, or none that this version can read. Raises OSError but for a missing one."""
    try:
        data = json.loads(path.read_text())
        if data.pop("version") != VERSION:
            return None
        entries = tuple(Entry(**_known(Entry, entry)) for entry in data.pop("processes"))
        expected = tuple(str(name) for name in data.pop("expected", ()))
        return Record(**_known(Record, data), processes=entries, expected=expected)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _known(kind: type[Entry | Record], data: dict[str, Any]) -> dict[str, Any]:
    # A later version may say more; what runs must still be seen, and ended.
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def end_left_over(record: Record) -> list[str]:
    """End what a killed `up` left: the recorded processes with their groups. Returns their names.

    Nothing is signalled on a number alone: the leader must have the recorded start time. Where the leader is
    gone, a member of its session counts that is no older than it and was started for this platform.
    """
    names: list[str] = []
    targets: list[Identity] = []
    for entry in record.processes:
        found = list(_left_of(entry, record)) if entry.identity else []
        if found:
            names.append(entry.name)
            targets += [who for pid in found if (who := Identity.of(pid))]
    end_now(targets, LEFT_GRACE_S)
    return names


def _left_of(entry: Entry, record: Record) -> Iterator[int]:
    leader = entry.identity
    if leader is None:
        return
    if leader.is_alive():
        yield from members(leader.pid)
        return
    if Identity.of(leader.pid):  # the number belongs to somebody else by now
        return
    for pid in members(leader.pid):
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if os.getsid(pid) != leader.pid or process.create_time() < leader.started - 1:
                continue
            here = Path(process.cwd()) == Path(record.file).parent.resolve()
            if here or process.environ().get("TENFOLD_FILE") == record.file:
                yield pid
