"""How full the disks are that the platform writes to. Edge."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenfold.monitor.collect.machine import Disk


class Disks:
    """Looks at the file systems of `directories`, by the names that people know them by; each is told once."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = dict(directories)

    async def collect(self, now_s: float) -> Sequence[Disk]:
        """How they are now. Raises OSError when one cannot be looked at: its name is in the message."""
        found: dict[int, Disk] = {}
        for name, directory in self._directories.items():
            there = _nearest(directory)
            device = there.stat().st_dev
            if device not in found:
                found[device] = _look(name, there)
        return list(found.values())


def _nearest(directory: Path) -> Path:
    """The directory, or where it would be made."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def _look(name: str, directory: Path) -> Disk:
    stat = os.statvfs(directory)
    used = stat.f_blocks - stat.f_bfree
    of = used + stat.f_bavail
    inodes = 1 - stat.f_favail / stat.f_files if stat.f_files else None
    return Disk(name, used / of if of else 0.0, inodes, stat.f_bavail * stat.f_frsize)
