"""The machine, or the container's share of it, and what each group of processes takes. Edge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tenfold.monitor.collect import cgroup
from tenfold.monitor.collect.machine import Machine, Usage

# To find a group's members all processes are gone through; workers come and go seldom.
MEMBERS_S = 5.0


class HostFigures:
    """Looks at the machine.

    disk      a directory on the disk that is told of
    leaders   tells the pid of each program's group leader by name, as they are now
    """

    def __init__(self, disk: Path, leaders: Callable[[], Mapping[str, int]]) -> None:
        self._disk, self._leaders = disk, leaders
        self._limits = cgroup.limits()
        self._cpu_s: dict[psutil.Process, float] = {}
        self._members: dict[int, list[psutil.Process]] = {}
        self._members_s = float("-inf")
        self._looked_s = time.monotonic()
        self._container_cpu_s: float | None = None
        psutil.cpu_percent(None)  # the first call has nothing to compare with

    async def collect(self, now_s: float) -> Machine:
        """How it is now; CPU since the call before. Raises OSError, psutil.Error."""
        clock_s = time.monotonic()
        passed_s = max(1e-3, clock_s - self._looked_s)
        self._looked_s = clock_s
        memory = psutil.virtual_memory()
        used, limit = memory.total - memory.available, memory.total
        contained = self._limits.memory_bytes()
        if contained is not None and contained < limit:
            limit, used = contained, self._limits.memory_used_bytes() or used
        disk_used = disk_total = None
        with suppress(OSError):
            disk = psutil.disk_usage(str(self._disk))
            disk_used, disk_total = disk.used, disk.total
        return Machine(
            cpu=self._cpu(passed_s),
            cpu_count=self._cpu_count(),
            memory_used_bytes=used,
            memory_limit_bytes=limit,
            disk_used_bytes=disk_used,
            disk_total_bytes=disk_total,
            load1=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            groups=self._groups(passed_s, clock_s),
        )

    def _cpu_count(self) -> float:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        quota = self._limits.cpus()
        return float(allowed) if quota is None else min(float(allowed), quota)

    def _cpu(self, passed_s: float) -> float | None:
        if self._limits.cpus() is None:
            return psutil.cpu_percent(None) / 100
        # Within a quota the host's figure says nothing: another's load is not ours, and ours may be all we may have.
        before, self._container_cpu_s = self._container_cpu_s, self._limits.cpu_used_s()
        if before is None or self._container_cpu_s is None:
            return None
        return min(1.0, max(0.0, self._container_cpu_s - before) / passed_s / self._cpu_count())

    def _groups(self, passed_s: float, clock_s: float) -> dict[str, Usage]:
        leaders = self._leaders()
        if set(leaders.values()) != set(self._members) or clock_s - self._members_s >= MEMBERS_S:
            self._members, self._members_s = _members(set(leaders.values())), clock_s
        spent: dict[psutil.Process, float] = {}
        usages = {
            name: usage
            for name, pid in leaders.items()
            if (usage := self._usage(self._members.get(pid, []), spent, passed_s)) is not None
        }
        self._cpu_s = spent
        return usages

    def _usage(self, group: list[psutil.Process], spent: dict[psutil.Process, float], passed_s: float) -> Usage | None:
        cpu_s, memory, known, found = 0.0, 0, False, False
        for process in group:
            with suppress(psutil.Error):
                times, resident = process.cpu_times(), process.memory_info().rss
                if not resident:  # it has ended, and somebody has yet to collect it
                    continue
                memory += resident
                spent[process] = times.user + times.system
                found = True
                if process in self._cpu_s:
                    known = True
                    cpu_s += max(0.0, spent[process] - self._cpu_s[process])
        return Usage(cpu_s / passed_s if known else None, memory) if found else None


def _members(groups: set[int]) -> dict[int, list[psutil.Process]]:
    """The processes of each process group."""
    found: dict[int, list[psutil.Process]] = {group: [] for group in groups}
    for pid in psutil.pids() if groups else ():
        with suppress(OSError, psutil.Error):
            group = os.getpgid(pid)
            if group in found:
                found[group].append(psutil.Process(pid))
    return found
