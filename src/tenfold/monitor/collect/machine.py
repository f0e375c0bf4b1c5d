"""What the machine, its disks and the groups of processes on it take, as figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What one group of processes takes. cpu: cores in use since the last look; None at the first."""

    cpu: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Machine:
    """The whole, or the container's share of it. cpu: 0..1 of `cpu_count`; groups: by name, those that run."""

    cpu: float | None
    cpu_count: float
    memory_used_bytes: int
    memory_limit_bytes: int
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    load1: float | None
    groups: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system, named by the first directory of the platform that is on it.

    used        share in use of what an ordinary account may use, as df tells it
    inodes      share of the files it can hold; None where it does not count them
    free_bytes  what an ordinary account may still write
    """

    directory: str
    used: float
    inodes: float | None
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """ends_s: Unix time at which it ends; None where it could not be read, and `error` says why."""

    ends_s: float | None
    error: str = ""
