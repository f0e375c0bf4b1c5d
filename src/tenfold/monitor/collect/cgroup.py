"""What the kernel allows this container or service (cgroup v2): memory and CPU. Edge."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


class Limits:
    """The limits that hold for a group: the narrowest of its own and of all groups above it.

    own  the group's directory; None where there is no cgroup v2: then nothing is limited
    top  the root of the hierarchy, which has no limits
    """

    def __init__(self, own: Path | None, top: Path) -> None:
        self._line = [] if own is None else [path for path in (own, *own.parents) if path.is_relative_to(top)]

    def memory_bytes(self) -> int | None:
        """Bytes that may be used; None without a limit."""
        return min((int(v) for p in self._line if (v := _text(p / "memory.max")).isdigit()), default=None)

    def memory_used_bytes(self) -> int | None:
        """Bytes in use in the group that has the narrowest limit, without file pages that can be dropped at once."""
        limited = [(int(v), p) for p in self._line if (v := _text(p / "memory.max")).isdigit()]
        if not limited:
            return None
        _, narrowest = min(limited, key=lambda found: found[0])
        current = _text(narrowest / "memory.current")
        if not current.isdigit():
            return None
        return max(0, int(current) - _figure(narrowest / "memory.stat", "inactive_file"))

    def cpus(self) -> float | None:
        """CPUs' worth of time that may be used; None without a limit."""
        found = []
        for path in self._line:
            quota, _, period = _text(path / "cpu.max").partition(" ")
            if quota.isdigit() and period.isdigit() and int(period):
                found.append(int(quota) / int(period))
        return min(found, default=None)

    def cpu_used_s(self) -> float | None:
        """CPU seconds that the group has used since it was made."""
        if not self._line or not (self._line[0] / "cpu.stat").exists():
            return None
        return _figure(self._line[0] / "cpu.stat", "usage_usec") / 1e6


def limits(own: Path = OWN, mount: Path = MOUNT) -> Limits:
    """The limits of this process's group."""
    if not (mount / "cgroup.controllers").exists():
        return Limits(None, mount)
    for line in _text(own).splitlines():
        number, _, path = line.partition("::")
        # Inside a container the path may be one that the container cannot see: then its root is all there is.
        if number == "0" and (mount / path.lstrip("/")).is_dir():
            return Limits(mount / path.lstrip("/"), mount)
    return Limits(mount, mount)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""


def _figure(path: Path, name: str) -> int:
    """The figure after `name` in a file of "name figure" lines; 0 when it is not there."""
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0
