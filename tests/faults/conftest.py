"""How long the fault tests run, and where: in memory, since they sync to disk at every step. Edge."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LONG = int(os.environ.get("TENFOLD_FAULT_ROUNDS", "0"))
"""0: a short sample, for every run of the tests; else how many times longer (`make faults`)."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="tenfold-test-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)
