"""Processes by group and start time: none is missed, no stranger is hit. Edge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tenfold.errors import PlatformError
from tenfold.runtime import record
from tenfold.runtime.place import Lock, Place
from tenfold.runtime.preflight import describe
from tenfold.runtime.processes import Identity, die_with, ended_with, spawn
from tests.support import wait_for


def me() -> Identity:
    found = Identity.of(os.getpid())
    assert found
    return found


def test_a_process_is_known_by_its_start_time_not_its_number_alone() -> None:
    assert me().is_alive()
    assert not replace(me(), started=me().started - 60).is_alive()


def _ended(process: subprocess.Popen[bytes]) -> tuple[int] | None:
    code = ended_with(process)
    return None if code is None else (code,)


def test_how_a_process_ended_is_known_while_its_number_is_still_its_own(tmp_path: Path) -> None:
    for code, expected in (("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)):
        process = spawn(
            [sys.executable, "-c", code], os.environ, tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert wait_for(partial(_ended, process), "it has ended") == (expected,)
        assert os.getpgid(process.pid) == process.pid  # a zombie: not collected
        assert process.wait() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_child_dies_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from tenfold.runtime.processes import spawn\n"
        "child = spawn(['sleep', '60'], os.environ, Path('.'), stdout=1, stderr=2)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = Identity.of(int(parent.stdout.readline()))
        assert child and child.is_alive()
        parent.send_signal(signal.SIGKILL)
        wait_for(lambda: not child.is_alive(), "the child has died")


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_child_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    with subprocess.Popen(["sleep", "60"], preexec_fn=die_with(parent=1)) as child:
        assert child.wait(5) == 1


def test_the_lock_admits_one_and_is_free_again_afterwards(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.take()
    assert not second.take()
    assert second.is_held()
    first.release()
    assert not second.is_held() and not (tmp_path / "lock").exists()
    assert second.take()
    second.release()


def test_a_record_survives_the_disk_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    entry = record.Entry("a", "backend", "up", 1.5, 2, "127.0.0.1", 80, "/", "h", [200], os.getpid(), 3.5)
    about = record.Record("tiny", "/x/tenfold.toml", 1, 2.0, "http://x", (entry,))
    record.write(about, path)
    assert record.read(path) == about
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["state.json"]
    for damaged in ("", "{", "[]", '{"version": 99}', path.read_text().replace('"kind"', '"sort"')):
        path.write_text(damaged)
        assert record.read(path) is None


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    assert record.read(tmp_path / "state.json") is None


def test_every_directory_of_var_is_made_and_closed(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "tenfold.toml")
    place.make()
    place.make()
    assert {path.name for path in place.var.iterdir()} == {"agent", "log", "run", "nginx"}
    assert all(not path.stat().st_mode & 0o006 for path in (place.var, *place.var.iterdir()))


def test_a_var_that_cannot_be_made_names_what_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(PlatformError) as refused:
        Place.of(tmp_path / "tenfold.toml").make()
    assert f"move {tmp_path / 'var'} out of the way" in refused.value.hint


def test_a_process_that_is_gone_can_still_be_described() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert str(gone.pid) in describe(gone.pid)
