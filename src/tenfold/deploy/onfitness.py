"""What is measured on a host before a deploy: sent there as text, run by its Python, standard library only. Edge.

It must run on every Python from 3.8 on, and imports nothing of Tenfold.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, Optional

VERSION = "from importlib.metadata import version; print(version('tenfold'))"


def memory() -> Optional[int]:
    """Bytes that new processes may have without swapping; None where the kernel does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def files(pid: Optional[int]) -> int:
    """The hard limit of open files: of the supervisor where it runs, else of this session; -1: none."""
    if pid:
        try:
            with open("/proc/%d/limits" % pid, encoding="ascii") as file:
                for line in file:
                    if line.startswith("Max open files"):
                        hard = line.split()[4]
                        return -1 if hard == "unlimited" else int(hard)
        except (OSError, ValueError, IndexError):
            pass
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return -1 if hard_limit == resource.RLIM_INFINITY else hard_limit


def writable(path: str) -> str:
    """Why the directory may not be written; "": it may."""
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
        probe = os.path.join(path, ".tenfold-probe-%d" % os.getpid())
        with open(probe, "wb") as file:
            file.write(b"x" * 4096)
        os.unlink(probe)
    except OSError as error:
        return "%s: %s" % (error.filename or path, error.strerror)
    return ""


def version(pid: Optional[int], python: Optional[str]) -> Optional[str]:
    """Tenfold's version: of the Python that is named, else of the one that runs, else of the one on PATH."""
    if pid and not python:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                python = os.fsdecode(file.read().split(b"\0")[0])
        except OSError:
            pass
    found = shutil.which("tenfold")
    if python is None and found:
        with open(found, "rb") as script:
            first = script.readline(300)
        if first.startswith(b"#!"):
            python = os.fsdecode(first[2:].strip())
    if not python or not os.path.isfile(python):
        return None
    try:
        done = subprocess.run(
            [python, "-I", "-c", VERSION], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode().strip() or None


def main() -> None:
    """Print what was found as JSON."""
    order: Dict[str, Any] = json.loads(sys.argv[-1])
    why = writable(order["path"])
    place = order["path"]
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    room = os.statvfs(place)
    print(
        json.dumps(
            {
                "free_bytes": room.f_bavail * room.f_frsize,
                "free_inodes": room.f_favail if room.f_files else None,
                "memory_bytes": memory(),
                "files": files(order["pid"]),
                "writable": why,
                "missing": [name for name in order["programs"] if not shutil.which(name)],
                "version": version(order["pid"], order.get("python")),
                "time_s": time.time(),
            }
        )
    )


if __name__ == "__main__":
    main()
