"""What tests of all packages share: free ports, servers that must be there, waiting for a fact. Edge."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
ROOM_BYTES = 4 << 30
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"


# Below the ports that the kernel gives to outgoing connections: a port from there may be taken the next moment.
# Each worker of a parallel run has a range of its own, and goes through it in turn.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_PORTS = itertools.cycle(range(20_000 + 3_000 * _WORKER, 23_000 + 3_000 * _WORKER))
for _ in range(os.getpid() % 2_000):
    next(_PORTS)


def memory() -> Path | None:
    """A directory in memory, where there is one with room for all that tests write and programs may be run from it."""
    found = Path("/dev/shm")
    with suppress(OSError):
        if shutil.disk_usage(found).free > ROOM_BYTES and not os.statvfs(found).f_flag & os.ST_NOEXEC:
            return found
    return None


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that nobody is given by chance."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0" if address == "127.0.0.1" else address, port))
            return port
    raise AssertionError("the range does not end")


def program(name: str) -> str:
    """Path of a server that a test starts. Missing: a failure where CI=true, else a skip that is counted."""
    found = shutil.which(name, path=SEARCH)
    if found:
        return found
    why = f"{name} is not installed (make test installs it where apt may)"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def wait_for(fact: Callable[[], T | None], what: str, timeout_s: float = 15.0) -> T:
    """Return the first truthy answer of `fact`, asked every 20 ms; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


async def wait_in_task(fact: Callable[[], T | None], what: str, timeout_s: float = 15.0) -> T:
    """`wait_for`, while other tasks go on."""
    deadline = time.monotonic() + timeout_s
    while not (answer := fact()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(0.02)
    return answer
