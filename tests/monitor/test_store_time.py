"""Thirty days and no more, names that come and go, and clocks that leap. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tenfold.monitor import ladder, sketches, ticks
from tenfold.monitor.rollup import DAY_S, SKETCHES, TICKS
from tenfold.monitor.sketch import Sketch
from tenfold.monitor.sketches import SketchLadder
from tenfold.monitor.store import Store
from tenfold.monitor.ticks import TickLadder

START = 1_700_000_000 // 3_600 * 3_600
YEAR_S = 365 * DAY_S
Live = Callable[[int, dict[str, float], dict[str, Sketch]], tuple[TickLadder, SketchLadder]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "monitor.db", clock=lambda: float(START))
    yield opened
    assert opened.trouble is None
    opened.close()


def one() -> dict[str, Sketch]:
    sketch = Sketch()
    sketch.add([0.1])
    return {"s": sketch}


def rows(store: Store, table: str) -> int:
    with closing(sqlite3.connect(store.path)) as file:
        return int(file.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def live_through(store: Store, start: int, end: int, step: int = 1) -> None:
    for second in range(start, end, step):
        store.append(second, {"a": float(second)})


def test_nothing_is_kept_longer_than_thirty_days() -> None:
    assert max(tier.keep_s for tier in (*TICKS, *SKETCHES)) == 30 * DAY_S


@pytest.fixture
def ladders() -> Iterator[Live]:
    """What the store does each second, on a database in memory: a month of it in a second."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        memory.executescript(ladder.SCHEMA + ticks.SCHEMA + sketches.SCHEMA)
        both = TickLadder(memory), SketchLadder(memory)

        def live(second: int, values: dict[str, float], parts: dict[str, Sketch]) -> tuple[TickLadder, SketchLadder]:
            both[0].append(second, values)
            both[1].append(second, parts)
            for each in both:
                each.roll(second)
                each.prune()
            return both

        yield live


def test_a_month_later_only_what_its_tier_keeps_is_left(ladders: Live) -> None:
    # One tick and one sketch stand for those of half an hour: what is kept depends on time alone.
    end = START + 33 * DAY_S
    for second in range(START, end + 1, 1_800):
        both = ladders(second, {"a": float(second)}, one())
    for each, tiers in zip(both, (TICKS, SKETCHES), strict=True):
        for table, tier in zip(each.tables, tiers, strict=True):
            (oldest,) = each._db.execute(f"SELECT MIN(key) FROM {table}").fetchone()
            assert 0 <= (oldest >> each.SHIFT) - (end - tier.keep_s) <= 3_600, table
    kept, percentiles = both
    week_ago = kept.read(["a"], end - 8 * DAY_S, end - 8 * DAY_S + 3_600, 1_000, "mean")
    assert week_ago.step_s == 300  # minutes are kept for a week only
    assert np.isfinite(week_ago.values["a"]).sum() == 2
    assert np.isnan(kept.read(["a"], START, START + 3_600, 10, "mean").values["a"]).all()
    assert percentiles.read("s", end - 20 * DAY_S, end - 19 * DAY_S).count == 48


def test_old_rows_go_in_slices_and_the_file_is_never_rewritten(store: Store) -> None:
    live_through(store, START, START + 3_000)
    later = START + 3 * DAY_S
    live_through(store, later, later + 590, 59)
    assert rows(store, "tick_1") == 3_010  # the clock has just leapt: nothing is deleted yet
    left = []
    for second in range(later + 590, later + 1_200, 61):
        store.append(second, {"a": 1.0})
        left.append(rows(store, "tick_1"))
    lost = [before - after for before, after in pairwise(left)]
    assert 0 < max(lost) <= 600
    assert left[-1] < 50


def test_room_that_was_freed_is_given_back_to_the_disk(store: Store) -> None:
    with closing(sqlite3.connect(store.path)) as file, file:
        for number in range(24):
            row = (START - 2 * DAY_S + number, 1 << 20)
            file.execute("INSERT INTO tick_1 VALUES (?, 1, ZEROBLOB(?))", row)
    sizes = []
    for second in range(START, START + 1_800, 60):
        store.append(second, {"a": 1.0})
        sizes.append(store.path.stat().st_size >> 20)
    assert sizes[5] >= 24
    assert sizes[-1] <= 18  # 16 MiB stay for what comes next


def test_what_is_a_minute_old_is_in_the_file_itself(store: Store, tmp_path: Path) -> None:
    # A power cut may take the log away that is beside it.
    live_through(store, START, START + 62)
    copy = tmp_path / "after" / "monitor.db"
    copy.parent.mkdir()
    copy.write_bytes(store.path.read_bytes())
    left = Store(copy, clock=lambda: float(START))
    assert left.read(["a"], START, START + 60, 60).values["a"].tolist() == list(range(START, START + 60))
    left.close()


def test_a_clock_that_leaps_a_year_ahead_and_comes_back_deletes_nothing(store: Store) -> None:
    live_through(store, START, START + 700)
    live_through(store, START + YEAR_S, START + YEAR_S + 300)
    live_through(store, START + 1_000, START + 1_700)
    assert store.read(["a"], START, START + 700, 700).values["a"].tolist() == list(range(START, START + 700))
    # Roll-ups go on where the clock has come back to.
    counts = store.read(["a"], START + 1_020, START + 1_680, 11, stat="count")
    assert counts.values["a"].tolist() == [60.0] * 11
    assert counts.step_s == 60
    assert rows(store, "tick_60") >= 11 + 11 + 5


def test_a_leap_is_remembered_by_an_agent_that_is_restarted_meanwhile(store: Store) -> None:
    live_through(store, START, START + 700)
    ahead = START + YEAR_S
    live_through(store, ahead, ahead + 5)
    store.close()
    again = Store(store.path, clock=lambda: float(START))
    live_through(again, ahead + 5, ahead + 125)
    again.close()
    assert rows(store, "tick_1") == 700 + 125


def test_a_clock_that_goes_back_writes_its_hour_anew(store: Store) -> None:
    live_through(store, START, START + 600)
    for second in range(START + 120, START + 300):
        store.append(second, {"a": 5.0})
    read = store.read(["a"], START, START + 600, 10)
    assert read.values["a"].tolist() == pytest.approx(
        [START + 29.5, START + 89.5, 5, 5, 5, *(START + 29.5 + 60 * n for n in range(5, 10))]
    )
    with closing(sqlite3.connect(store.path)) as file:
        data = file.execute("SELECT data FROM tick_60 WHERE key = ?", (START + 180,)).fetchone()[0]
    assert np.frombuffer(data).tolist() == [60, 300, 5, 5, 5]


def test_sketches_of_an_hour_that_comes_twice_are_added(store: Store) -> None:
    for ten in range(1, 13):
        store.append_sketches(START + 10 * ten, one())
    for ten in range(1, 7):
        store.append_sketches(START + 10 * ten, one())
    assert store.sketch("s", START, START + 60).count == 12
    assert store.sketch("s", START, START + 120).count == 18


def test_an_agent_that_slept_rolls_up_what_it_left(store: Store) -> None:
    live_through(store, START, START + 3_590)
    store.close()
    again = Store(store.path, clock=lambda: float(START))
    live_through(again, START + 90_000, START + 90_003)
    hour = again.read(["a"], START, START + 3_600, 1, stat="count")
    assert (hour.step_s, hour.values["a"].tolist()) == (3_600, [3_590.0])
    again.close()


def test_five_hundred_new_names_cost_a_column_each(store: Store) -> None:
    steady = {f"steady {n}": float(n) for n in range(50)}
    for second in range(500):
        store.append(START + second, {**steady, f"new {second}": float(second)})
    wide = [f"new {n}" for n in range(500)]
    read = store.read([*wide, "steady 7"], START, START + 500, 500)
    for place, name in enumerate(wide):
        values = read.values[name]
        assert values[place] == place and np.isnan(values).sum() == 499
    assert read.values["steady 7"].tolist() == [7.0] * 500
    minute = store.read(wide, START, START + 480, 8)
    assert all(minute.values[f"new {n}"][n // 60] == n for n in range(480))
    assert rows(store, "epoch") < 20
    assert rows(store, "epoch_name") < 3_500
    with closing(sqlite3.connect(store.path)) as file:
        assert file.execute("SELECT MAX(LENGTH(data)) FROM tick_1").fetchone()[0] <= 8 * (2 * 51 + 64)


def test_a_row_grows_narrow_again_when_most_names_have_gone(store: Store) -> None:
    store.append(START, {f"s{n}": 1.0 for n in range(1_000)})
    for second in range(1, 310):
        store.append(START + second, {"s0": float(second)})
    with closing(sqlite3.connect(store.path)) as file:
        assert file.execute("SELECT LENGTH(data) FROM tick_1 ORDER BY key DESC LIMIT 1").fetchone()[0] == 8
    assert store.read(["s0"], START, START + 310, 310).values["s0"][1:].tolist() == list(range(1, 310))


def test_names_of_which_nothing_is_left_are_forgotten(ladders: Live) -> None:
    both = ladders(START, {f"gone {n}": 1.0 for n in range(300)}, {"gone": one()["s"]})
    before = [each.names() for each in both]
    for second in range(START + 3_000, START + 36 * DAY_S, 3_000):
        ladders(second, {"b": 1.0}, one())
    assert [len(names) for names in before] == [300, 1]
    assert [each.names() for each in both] == [["b"], ["s"]]
