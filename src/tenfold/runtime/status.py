"""How a platform that is up is doing, asked of its processes themselves. Edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tenfold.errors import PlatformError, TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tenfold.runtime import record
from tenfold.runtime.life import State
from tenfold.runtime.place import Lock, Place
from tenfold.runtime.probe import agent_answers, status_of
from tenfold.runtime.processes import Identity, members
from tenfold.runtime.programs import Address

# CPU use is the work between two looks; over less than this it is noise.
CPU_WINDOW_S = 0.25
LINK_S = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One process, its group included.

    state          as the supervisor has it; "gone" when the process is not there
    healthy        whether it answers well now; None where nothing is asked
    up_s           since it came into its state
    memory_bytes   resident, summed over the group
    cpu_percent    of one processor, over the last quarter of a second
    """

    name: str
    state: str
    healthy: bool | None
    pid: int | None
    port: int | None
    up_s: float | None
    restarts: int
    memory_bytes: int | None
    cpu_percent: float | None

    @property
    def is_well(self) -> bool:
        # The platform does not wait for its agent, and `up` says that all is up before that has loaded.
        loading = self.name == "agent" and self.state == State.STARTING and not self.restarts
        return loading or (self.state == State.UP and self.healthy is not False)

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Status:
    """The whole platform, or this host's part of it.

    expected  names that must be among the rows
    """

    platform: str
    url: str
    rows: list[Row]
    host: str | None = None
    expected: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Tell whether every process is up and answers, and none is missing."""
        names = {row.name for row in self.rows}
        # A record of before has not named them: then the balancer and a backend are the least.
        complete = names.issuperset(self.expected) if self.expected else len(names - {"agent"}) > 2
        return complete and all(row.is_well for row in self.rows)


def look(place: Place, clock: Callable[[], float] = time.time) -> Status | None:
    """The state of the platform; None when it is not up. Raises PlatformError when its files cannot be read."""
    try:
        if not Lock(place.lock).is_held():
            return None
        about = record.read(place.state)
    except OSError as error:
        raise PlatformError(
            f"{place.run}: {error.strerror}", hint="run it as the user who started the platform"
        ) from None
    if about is None:
        return Status(platform="", url="", rows=[])
    return asyncio.run(_look(about, clock))


def page_link(place: Place) -> str | None:
    """A fresh link to the agent's page, good for opening it once; None while no agent answers."""
    with suppress(TenfoldError, KeyError):
        return str(AgentLink(place.agent_socket, LINK_S).ask({"do": "link"})["link"])
    return None


async def _look(about: record.Record, clock: Callable[[], float]) -> Status:
    groups = {entry.name: _processes(entry) for entry in about.processes}
    groups["up"] = _alive([about.pid])
    before = {name: _cpu_s(group) for name, group in groups.items()}
    begun_s = time.monotonic()
    health, _ = await asyncio.gather(_ask(about), asyncio.sleep(CPU_WINDOW_S))
    window_s = time.monotonic() - begun_s
    used = {name: (_cpu_s(group) - before[name]) / window_s * 100 for name, group in groups.items()}
    memory = {name: _memory(group) for name, group in groups.items()}
    mine = Row("up", State.UP, None, about.pid, None, clock() - about.started, 0, memory["up"], round(used["up"], 1))
    rows = [mine]
    for entry in about.processes:
        alive = bool(groups[entry.name])
        expected = entry.state in (State.STARTING, State.UP, State.STOPPING)
        rows.append(
            Row(
                name=entry.name,
                state="gone" if expected and not alive else entry.state,
                healthy=health[entry.name],
                pid=entry.pid if alive else None,
                port=entry.port or None,
                up_s=clock() - entry.since if alive else None,
                restarts=entry.restarts,
                memory_bytes=memory[entry.name] if alive else None,
                cpu_percent=round(used[entry.name], 1) if alive else None,
            )
        )
    return Status(about.platform, about.url, rows, about.host, about.expected)


async def _ask(about: record.Record) -> dict[str, bool]:
    async def well(entry: record.Entry) -> bool:
        if entry.socket:
            return await agent_answers(Path(entry.socket))
        return await status_of(Address(entry.host, entry.port), entry.health, entry.host_header) in entry.well

    answers = await asyncio.gather(*(well(entry) for entry in about.processes))
    return {entry.name: answer for entry, answer in zip(about.processes, answers, strict=True)}


def _processes(entry: record.Entry) -> list[psutil.Process]:
    who = entry.identity
    return _alive(members(who.pid)) if who and who.is_alive() else []


def _alive(pids: list[int]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pids if Identity.of(pid)]


def _cpu_s(group: list[psutil.Process]) -> float:
    total = 0.0
    for process in group:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _memory(group: list[psutil.Process]) -> int:
    total = 0
    for process in group:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total
