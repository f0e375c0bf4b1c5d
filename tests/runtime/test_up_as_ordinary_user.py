"""`tenfold up` by a user who is not root: as in production and in containers. Edge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.runtime.platforms import Platform, as_nobody, stop

NOBODY = 65534
# The app needs no packages; the system's Python can be read by all, ours perhaps not.
COMMAND = f"{shutil.which('python3', path='/usr/bin:/usr/local/bin') or '{python}'} app.py"


def wrapper() -> list[str]:
    """The words before a command that run it as nobody, with a Python that this user can read."""
    if os.geteuid() != 0:
        return []  # we are an ordinary user as it is
    plain = [*as_nobody()]
    # A Python below root's closed home: the right to read, and nothing else, for that user.
    reading = [*plain, "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    # Twice, because a Python that was started is not yet one that can start another.
    again = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import tenfold.cli.main'])"
    for words in (plain, reading):
        if subprocess.run([*words, sys.executable, "-c", again], capture_output=True).returncode == 0:
            return words
    why = f"an ordinary user cannot read {sys.executable} or the package"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def ordinary() -> Iterator[Platform]:
    """A platform in a directory of an ordinary user, run by that user."""
    words = wrapper()
    with tempfile.TemporaryDirectory(prefix="tenfold-") as directory:  # pytest's own are closed to others
        Path(directory).chmod(0o755)
        platform = Platform(Path(directory) / "site")
        platform.wrapper = words
        platform.write(command=COMMAND)
        if words:
            for path in (platform.root, *platform.root.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        yield platform
        platform.close()


def test_an_ordinary_user_runs_the_whole_platform(ordinary: Platform) -> None:
    run = ordinary.up()
    assert ordinary.get("/") == "backend_0"
    uid = NOBODY if ordinary.wrapper else os.geteuid()
    assert {process.uids().real for process in ordinary.running()} == {uid}
    assert len(ordinary.running()) >= 4
    assert ordinary.tenfold("status").returncode == 0
    backend = psutil.Process(ordinary.pid("backend_0"))
    backend.kill()
    backend.wait(5)
    assert ordinary.tenfold("down").returncode == 0
    assert run.wait(1) == 0
    assert ordinary.remains() == []


def test_a_var_that_belongs_to_somebody_else_is_named_with_both_remedies(ordinary: Platform) -> None:
    if not ordinary.wrapper:
        pytest.skip("only root can make a directory of another user")
    var = ordinary.root / "var"
    var.mkdir(mode=0o755)
    done = ordinary.tenfold("up")
    assert done.returncode == 1
    assert f"{var} cannot be written: Permission denied (running as user {NOBODY})" in done.stderr or (
        f"{var}/log cannot be written" in done.stderr
    )
    assert f"Try: chown -R {NOBODY} {var}, or run it as user 0" in done.stderr


def test_a_directory_that_cannot_be_written_is_named(ordinary: Platform) -> None:
    if ordinary.wrapper:
        os.chown(ordinary.root, 0, 0)
    ordinary.root.chmod(0o555)
    done = ordinary.tenfold("up")
    ordinary.root.chmod(0o755)
    assert done.returncode == 1
    assert f"{ordinary.root / 'var'} cannot be written: Permission denied" in done.stderr


def test_down_by_another_user_says_whom_to_be(ordinary: Platform) -> None:
    if not ordinary.wrapper:
        pytest.skip("only root can be two users")
    words, ordinary.wrapper = ordinary.wrapper, []
    run = ordinary.up()
    ordinary.wrapper = words
    done = ordinary.tenfold("down")
    assert done.returncode == 1 and "Try: run it as the user who started the platform" in done.stderr
    assert stop(run) == 0


def test_a_port_of_root_is_refused_by_name(ordinary: Platform) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 81:
        pytest.skip("every port is open to ordinary users here")
    ordinary.port = 81
    ordinary.write(command=COMMAND)
    done = ordinary.tenfold("up")
    assert "balancer: port 81 is for root only" in done.stderr
