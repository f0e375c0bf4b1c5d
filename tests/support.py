"""What tests of all packages share: free ports, servers that must be there, waiting for a fact. Edge."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


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
