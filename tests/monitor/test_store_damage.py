"""A killed process, a damaged file and a full disk cost history, never more. Edge."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tenfold.monitor.sketch import Sketch
from tenfold.monitor.store import Store

START = 1_700_000_000 // 3_600 * 3_600
WHEN = 1_763_880_440.0  # 2025-11-23 06:47:20 UTC


def make(path: Path, seconds: int = 900) -> None:
    store, sketch = Store(path, clock=lambda: WHEN), Sketch()
    sketch.add([0.1, 0.2])
    for second in range(seconds):
        store.append(START + second, {f"s{n}": second + n / 100 for n in range(100)})
        if second % 10 == 9:
            store.append_sketches(START + second + 1, {"s": sketch})
    assert store.trouble is None
    store.close()


WRITER = """
import sys
from tenfold.monitor.sketch import Sketch
from tenfold.monitor.store import Store
store, sketch = Store(sys.argv[1], clock=lambda: 0.0), Sketch()
sketch.add([0.5])
for second in range(int(sys.argv[2]), 10**10):
    store.append(second, {"a": float(second), "b": float(-second)})
    if second % 10 == 0:
        store.append_sketches(second, {"s": sketch})
    print(second, flush=True)
"""


def test_a_killed_agent_loses_at_most_the_tick_it_was_writing(tmp_path: Path) -> None:
    path, second = tmp_path / "monitor.db", START
    for kills, ticks_until_killed in enumerate((1, 61, 200, 333), 1):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(second)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout
        for _ in range(ticks_until_killed):
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        # It may have told of more before the signal came.
        told = max([told, *(int(line) for line in writer.stdout.read().splitlines())])
        writer.stdout.close()
        assert writer.wait(10) == -signal.SIGKILL
        store = Store(path, clock=lambda: WHEN)
        assert store.trouble is None
        written = store.read(["a", "b"], START, told + 3, told + 3 - START)
        there = written.t[np.isfinite(written.values["a"])]
        assert there.tolist() in (list(range(START, told + 1)), list(range(START, told + 2)))
        assert np.array_equal(written.values["a"][: there.size], there)
        assert np.array_equal(written.values["b"], -written.values["a"], equal_nan=True)
        # A sketch that was written but not told of is written again by the next one: once for each kill at most.
        tens = told // 10 - (START - 1) // 10
        assert 0 <= store.sketch("s", START - 10, told + 60).count - tens <= kills
        minutes = (told - START) // 60
        counts = store.read(["a"], START, START + 60 * minutes, max(minutes, 1), stat="count").values["a"]
        assert counts.tolist() == [60.0] * minutes
        store.close()
        second = told + 1


def overwrite(at: float, data: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * at) // 4_096 * 4_096)
            file.write(data)

    return damage


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE tick_60")


def with_a_torn_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE tick_60 SET data = X'00010203040506'")


def with_a_torn_sketch(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE sketch_10 SET data = X'01'")


def no_database(path: Path) -> None:
    path.write_text("hello, this is not SQLite\n" * 400)


def noise_behind_the_header(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:100] + np.random.default_rng(1).bytes(3_996) + data[4_096:])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no database": no_database,
    "a header of zeros": overwrite(0, bytes(100)),
    "a first page of noise behind its header": noise_behind_the_header,
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut to its first page": lambda path: os.truncate(path, 4_096),
    "noise in the middle": overwrite(0.3, np.random.default_rng(2).bytes(262_144)),
    "zeros in the middle": overwrite(0.3, bytes(262_144)),
    "a table is gone": without_a_table,
    "a torn row": with_a_torn_row,
    "a torn sketch": with_a_torn_sketch,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_set_aside_a_new_one_begun_and_it_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "monitor.db"
    make(path)
    DAMAGE[kind](path)
    damaged = path.read_bytes()
    store = Store(path, clock=lambda: WHEN)
    names = [f"s{n}" for n in range(100)]
    store.read(names, START, START + 900, 900)
    store.read(names, START, START + 900, 15)
    store.sketch("s", START, START + 890)
    store.append(START + 900, {"a": 1.0})
    store.append(START + 901, {"a": 2.0})
    assert store.read(["a"], START + 901, START + 902, 1).values["a"].tolist() == [2.0]
    aside = tmp_path / "monitor.db.corrupt-20251123T064720Z"
    assert len(aside.read_bytes()) == len(damaged)
    assert store.trouble and aside.name in store.trouble and "a new one was begun" in store.trouble
    # So it is told after a restart too, until the file has been taken away.
    store.close()
    again = Store(path, clock=lambda: WHEN)
    told = again.trouble
    for file in tmp_path.glob("*.corrupt-*"):
        file.unlink()
    again.append(START + 1_000, {"a": 1.0})
    assert told and aside.name in told
    assert again.trouble is None
    again.close()


def test_the_log_of_a_damaged_file_leaves_with_it(tmp_path: Path) -> None:
    make(tmp_path / "monitor.db", 20)
    writing = Store(tmp_path / "monitor.db", clock=lambda: WHEN)
    writing.append(START + 20, {"a": 1.0})
    (tmp_path / "copy").mkdir()
    for name in ("monitor.db", "monitor.db-wal"):  # as a kill leaves them
        (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
    writing.close()
    no_database(tmp_path / "copy" / "monitor.db")
    store = Store(tmp_path / "copy" / "monitor.db", clock=lambda: WHEN)
    store.append(START, {"a": 1.0})
    store.close()
    assert sorted(file.name for file in (tmp_path / "copy").iterdir()) == [
        "monitor.db",
        "monitor.db.corrupt-20251123T064720Z",
        "monitor.db.corrupt-20251123T064720Z-wal",
    ]


def test_an_empty_file_is_simply_begun(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    path.touch()
    store = Store(path, clock=lambda: WHEN)
    store.append(START, {"a": 1.0})
    assert store.trouble is None
    assert store.read(["a"], START, START + 1, 1).values["a"].tolist() == [1.0]
    store.close()


def test_a_bad_disk_is_not_filled_with_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    for number in range(6):
        path.write_text(f"damaged {number}, and not for the first time")
        store = Store(path, clock=lambda: WHEN)
        store.append(START, {"a": 1.0})
        store.close()
    kept = sorted(p.name for p in tmp_path.glob("*.corrupt-*"))
    assert kept == [f"monitor.db.corrupt-20251123T064720Z-{n}" for n in (4, 5, 6)]


def test_the_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "shard_0.db"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    store = Store(path, clock=lambda: WHEN)
    store.append(START, {"a": 1.0})
    store.append_sketches(START, {})
    assert store.trouble and "the database of something else" in store.trouble and "move it away" in store.trouble
    assert (path.read_bytes(), store.lost, list(tmp_path.iterdir())) == (before, 2, [path])
    assert store.read(["a"], START, START + 1, 1).values["a"].size == 0
    assert store.sketch("s", START, START + 1).count == 0
    assert store.names() == ([], [])
    store.close()


def test_a_file_of_another_release_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    make(path, 2)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")
    store = Store(path, clock=lambda: WHEN)
    store.append(START + 3, {"a": 1.0})
    assert store.trouble and "another release" in store.trouble
    assert not list(tmp_path.glob("*.corrupt-*"))
    store.close()


def test_a_place_that_cannot_be_written_is_told_and_used_once_it_can(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the directory should be")
    store = Store(tmp_path / "var" / "monitor.db", clock=lambda: WHEN)
    store.append(START, {"a": 1.0})
    told, lost = store.trouble, store.lost
    (tmp_path / "var").unlink()
    store.append(START + 1, {"a": 2.0})
    assert told and "history is not kept" in told
    assert (lost, store.lost, store.trouble) == (1, 1, None)
    store.close()


FULL = """
import resource, sys
from tenfold.monitor.sketch import Sketch
from tenfold.monitor.store import Store
start, path = int(sys.argv[1]), sys.argv[2]
store, sketch = Store(path, clock=lambda: 0.0), Sketch()
sketch.add([0.5])
names = [f"s{n}" for n in range(200)]
def live(since, until):
    for second in range(since, until):
        store.append(second, dict.fromkeys(names, float(second)))
        if second % 10 == 0:
            store.append_sketches(second, {"s": sketch})
live(start, start + 100)
assert store.trouble is None, store.trouble
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
names.append("born on a full disk")
live(start + 100, start + 400)
print(store.trouble)
lost = store.lost
read = store.read(["s7"], start, start + 100, 100).values["s7"].tolist()
print(read == [float(start + n) for n in range(100)] or read[:5])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
live(start + 400, start + 600)
assert store.lost == lost, "lost ticks after there was room again"
print(store.trouble, lost > 100)
read = store.read(["s7"], start + 400, start + 600, 200).values["s7"].tolist()
print(read == [float(start + n) for n in range(400, 600)])
print(store.read(["s7"], start + 420, start + 600, 3, stat="count").values["s7"].tolist())
store.close()
born = Store(path, clock=lambda: 0.0).read(names[-1:], start + 400, start + 600, 200).values[names[-1]]
print(born.tolist() == read)
"""


def test_a_full_disk_costs_history_only_and_heals(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, str(START), str(tmp_path / "monitor.db")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    trouble, old, healed, new, counts, born = done.stdout.splitlines()
    assert trouble.startswith("history is not kept: monitor.db: ") and "make room on the disk" in trouble
    assert (old, healed, new, born) == ("True", "None True", "True", "True")
    assert counts == "[60.0, 60.0, 60.0]"
    assert not list(tmp_path.glob("*.corrupt-*"))
