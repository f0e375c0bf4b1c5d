"""What the machine and its processes take, in a container and outside. Edge."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenfold.monitor.collect import cgroup
from tenfold.monitor.collect.cgroup import Limits
from tenfold.monitor.collect.host import HostFigures
from tests.support import wait_for

BUSY = "import time\nuntil = time.monotonic() + 30\nwhile time.monotonic() < until: pass"


def test_a_group_is_told_with_its_children_and_what_ended_is_not(tmp_path: Path) -> None:
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {BUSY!r}]); time.sleep(30)"
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    leaders = {"backend_0": process.pid, "backend_1": 2**22 + 1}
    try:
        figures = HostFigures(tmp_path, lambda: leaders)
        deadline = time.monotonic() + 10
        cpu = None
        while (cpu or 0) < 0.05 and time.monotonic() < deadline:
            time.sleep(0.15)
            # Another leader, so that children born since are looked for.
            leaders["again"] = leaders.get("again", 2**22) + 1
            found = asyncio.run(figures.collect(time.time()))
            cpu = found.groups["backend_0"].cpu
        memory = found.groups["backend_0"].memory_bytes
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert cpu is not None and 0.05 <= cpu < 3  # the child's work, not the sleeping leader's
    assert memory is not None and memory > 5e6
    assert "backend_1" not in found.groups
    # The killed child is gone once init has collected it.
    wait_for(lambda: "backend_0" not in asyncio.run(figures.collect(time.time())).groups, "what ended is not told")


def test_the_machine_is_told_in_its_units(tmp_path: Path) -> None:
    figures = HostFigures(tmp_path, dict)
    time.sleep(0.05)
    found = asyncio.run(figures.collect(time.time()))
    assert found.cpu is None or 0 <= found.cpu <= 1
    assert 0 < found.cpu_count <= (os.cpu_count() or 1)
    assert 1e6 < found.memory_used_bytes < found.memory_limit_bytes
    assert found.disk_used_bytes is not None and found.disk_total_bytes is not None
    assert 0 < found.disk_used_bytes < found.disk_total_bytes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A cgroup v2 hierarchy: /pod (limited) / container (limited further in memory) / service."""
    service = tmp_path / "pod/container/service"
    service.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "pod/memory.max").write_text("4000000\n")
    (tmp_path / "pod/cpu.max").write_text("50000 100000\n")
    (tmp_path / "pod/container/memory.max").write_text("1000000\n")
    (tmp_path / "pod/container/memory.current").write_text("700000\n")
    (tmp_path / "pod/container/memory.stat").write_text("anon 1\ninactive_file 200000\n")
    (tmp_path / "pod/container/cpu.max").write_text("max 100000\n")
    (service / "memory.max").write_text("max\n")
    (service / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    return tmp_path


def test_the_narrowest_limit_above_us_holds(tree: Path) -> None:
    own = tree / "own"
    own.write_text("0::/pod/container/service\n")
    limits = cgroup.limits(own, tree)
    assert limits.memory_bytes() == 1_000_000
    assert limits.memory_used_bytes() == 500_000  # what can be dropped at once is not in use
    assert limits.cpus() == 0.5
    assert limits.cpu_used_s() == 2.5


def test_a_group_that_the_container_cannot_see_is_its_root(tree: Path) -> None:
    own = tree / "own"
    own.write_text("0::/../../elsewhere\n1:name=systemd:/x\n")
    assert cgroup.limits(own, tree / "pod").memory_bytes() is None  # no cgroup.controllers: not v2
    (tree / "pod/cgroup.controllers").write_text("")
    assert cgroup.limits(own, tree / "pod").memory_bytes() == 4_000_000


def test_without_cgroups_nothing_is_limited(tmp_path: Path) -> None:
    limits = Limits(None, tmp_path)
    assert (limits.memory_bytes(), limits.memory_used_bytes(), limits.cpus(), limits.cpu_used_s()) == (None,) * 4
