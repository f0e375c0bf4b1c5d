"""What was written is read, raw or rolled up, in any range. Edge."""

from __future__ import annotations

import math
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.monitor.rollup import SKETCHES, TICKS, cover, spans
from tenfold.monitor.series import MAX_SERIES
from tenfold.monitor.sketch import Floats, Sketch, merged
from tenfold.monitor.store import Store

START = 1_700_000_000 // 3_600 * 3_600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "var" / "monitor.db", clock=lambda: float(START))
    yield opened
    assert opened.trouble is None
    opened.close()


def ticks(store: Store, seconds: range, figure: Callable[[int], float]) -> None:
    for second in seconds:
        store.append(START + second, {"a": figure(second), "b": -figure(second)})


def sketch_of(values: Floats) -> Sketch:
    sketch = Sketch()
    sketch.add(values)
    return sketch


def test_what_was_written_is_read(store: Store) -> None:
    ticks(store, range(100), float)
    series = store.read(["a", "b"], START + 10, START + 20, points=10)
    assert series.t.tolist() == list(range(START + 10, START + 20))
    assert series.values["a"].tolist() == list(range(10, 20))
    assert series.values["b"].tolist() == [-n for n in range(10, 20)]


def test_a_counter_of_2_to_the_53_less_one_survives(store: Store) -> None:
    largest = 2**53 - 1
    for second in range(3_700):
        store.append(START + second, {"count": largest - 3_700 + second + 1})
    assert store.read(["count"], START + 3_690, START + 3_700, 10).values["count"].tolist() == list(
        range(largest - 9, largest + 1)
    )
    # Rolled up it is whole too: the greatest and the last of an hour.
    for hour in (store.read(["count"], START, START + 3_600, 1, which) for which in ("max", "last")):
        assert hour.values["count"].tolist() == [largest - 100]


def test_what_was_not_written_is_not_there(store: Store) -> None:
    store.append(START, {"a": 1.0, "b": math.nan, "c": math.inf})
    store.append(START + 2, {"a": 3.0, "b": 2.0})
    series = store.read(["a", "b", "c", "never"], START, START + 4, 4)
    told = {name: [None if math.isnan(v) else v for v in values.tolist()] for name, values in series.values.items()}
    assert told == {"a": [1, None, 3, None], "b": [None, None, 2, None], "c": [None] * 4, "never": [None] * 4}


def test_a_second_tick_in_one_second_takes_the_place_of_the_first(store: Store) -> None:
    store.append(START + 0.1, {"a": 1.0})
    store.append(START + 0.9, {"a": 2.0})
    assert store.read(["a"], START, START + 1, 1).values["a"].tolist() == [2.0]


@pytest.fixture(scope="module")
def three_hours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Floats]]:
    """A store of three hours and a bit with gaps, and the same as an array: NaN where nothing was written."""
    chance = np.random.default_rng(7)
    figures = chance.normal(50, 20, 3 * 3_600 + 77)
    figures[chance.random(figures.size) < 0.1] = np.nan
    figures[4_000:4_700] = np.nan
    opened = Store(tmp_path_factory.mktemp("hours") / "monitor.db", clock=lambda: float(START))
    for second, figure in enumerate(figures.tolist()):
        if not 4_000 <= second < 4_700:
            opened.append(START + second, {"a": figure, "always": 1.0})
    yield opened, figures
    assert opened.trouble is None
    opened.close()


@pytest.mark.parametrize("step", [1, 7, 60, 90, 300, 1_000, 3_600])
@pytest.mark.parametrize("stat", ["mean", "min", "max", "sum", "last", "count"])
def test_roll_ups_agree_with_what_they_were_made_of(three_hours: tuple[Store, Floats], step: int, stat: str) -> None:
    store, figures = three_hours
    series = store.read(["a"], START, START + figures.size, points=-(-figures.size // step), stat=stat)  # type: ignore[arg-type]
    step = series.step_s
    offset = int(series.t[0]) - START
    assert -step < offset <= 0
    for t, told in zip(series.t.tolist(), series.values["a"].tolist(), strict=True):
        there = figures[max(t - START, 0) : t - START + step]
        there = there[~np.isnan(there)]
        if stat == "count":
            assert told == there.size
        elif not there.size:
            assert math.isnan(told)
        else:
            expected = {
                "mean": there.mean(), "min": there.min(), "max": there.max(), "sum": there.sum(), "last": there[-1],
            }[stat]  # fmt: skip
            assert told == pytest.approx(expected, rel=1e-12)


def test_a_long_range_is_read_from_few_rows(three_hours: tuple[Store, Floats]) -> None:
    store, figures = three_hours
    assert store.read(["a"], START, START + figures.size, points=20).step_s % 300 == 0
    # Deleting all fine rows changes nothing but the end that is not rolled up yet.
    with closing(sqlite3.connect(store.path)) as file:
        assert file.execute("SELECT COUNT(*) FROM tick_300").fetchone()[0] >= 33


def test_percentiles_of_any_range_are_those_of_the_sum(store: Store) -> None:
    chance = np.random.default_rng(9)
    parts = [sketch_of(chance.lognormal(-3, 1, 40)) for _ in range(500)]
    for number, part in enumerate(parts):
        store.append_sketches(START + 10 * (number + 1) + chance.uniform(-4, 4), {"total": part, "empty": Sketch()})
    for first, last in [(0, 500), (3, 4), (0, 6), (5, 499), (17, 391), (360, 500), (499, 500)]:
        read, made = store.sketch("total", START + 10 * first, START + 10 * last), merged(parts[first:last])
        assert read.buckets[0] == made.buckets[0]
        assert read.buckets[1].tolist() == made.buckets[1].tolist()
        assert (read.count, read.min, read.max) == (made.count, made.min, made.max)
        assert read.sum == pytest.approx(made.sum)
    assert store.sketch("total", START - 10, START).count == 0
    assert store.sketch("total", 0, 2 * START).count == 500 * 40
    assert store.sketch("empty", 0, 2 * START).count == store.sketch("never", 0, 2 * START).count == 0
    assert store.names() == ([], ["total"])


def test_two_sketches_of_one_ten_seconds_are_added(store: Store) -> None:
    store.append_sketches(START + 10, {"a": sketch_of(np.array([0.1]))})
    store.append_sketches(START + 10, {"a": sketch_of(np.array([0.3, 0.2]))})
    assert store.sketch("a", START, START + 10).count == 3


def test_history_survives_a_restart(store: Store) -> None:
    ticks(store, range(200), float)
    store.append_sketches(START + 10, {"s": sketch_of(np.array([0.1]))})
    store.close()
    again = Store(store.path, clock=lambda: float(START))
    ticks(again, range(200, 400), float)
    again.append_sketches(START + 20, {"s": sketch_of(np.array([0.1]))})
    assert again.read(["a"], START, START + 400, 400).values["a"].tolist() == list(range(400))
    assert again.read(["a"], START, START + 360, 6, stat="count").values["a"].tolist() == [60] * 6
    assert again.sketch("s", START, START + 20).count == 2
    assert again.names() == (["a", "b"], ["s"])
    again.close()


def test_names_from_strangers_are_kept_as_they_are(store: Store) -> None:
    names = ["", "'; DROP TABLE tick_1; --", "é☃\U0001f600", "nul\0nul", "half \ud800", "x" * 5_000]
    store.append(START, {name: float(place) for place, name in enumerate(names)})
    store.append_sketches(START + 10, {name: sketch_of(np.array([0.1])) for name in names})
    series = store.read(names, START, START + 1, 1)
    assert [series.values[name].tolist() for name in names] == [[float(place)] for place in range(len(names))]
    assert [store.sketch(name, START, START + 10).count for name in names] == [1] * len(names)


def test_two_names_that_are_written_alike_are_one_series(store: Store) -> None:
    store.append(START, {"half \ud800": 1.0, "half \\ud800": 2.0})
    store.append_sketches(START + 10, dict.fromkeys(("half \ud800", "half \\ud800"), sketch_of(np.array([0.1]))))
    assert store.read(["half \ud800"], START, START + 1, 1).values["half \ud800"].tolist() == [2.0]
    assert store.sketch("half \ud800", START, START + 10).count == 2


def test_more_series_than_a_row_can_hold_are_left_out_and_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "monitor.db", clock=lambda: float(START))
    store.append(START, {f"s{n}": 1.0 for n in range(MAX_SERIES + 3)})
    told = store.trouble
    assert len(store.names()[0]) == MAX_SERIES
    assert store.read(["s0"], START, START + 1, 1).values["s0"].tolist() == [1.0]
    store.append(START + 1, {"s0": 1.0})
    assert (told, store.trouble) == ("3 series are not kept: too many; send fewer, or go to Prometheus", None)
    store.close()


def test_room_that_was_freed_can_be_given_back_without_a_vacuum(store: Store) -> None:
    with closing(sqlite3.connect(store.path)) as file:
        assert file.execute("PRAGMA auto_vacuum").fetchone()[0] == 2


def test_nobody_else_may_read_it(store: Store) -> None:
    store.append(START, {"a": 1.0})
    files = list(store.path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files} == {0}
    assert store.bytes == sum(file.stat().st_size for file in files if not file.name.endswith("-shm"))


@given(
    tiers=st.sampled_from([TICKS, SKETCHES]),
    age=st.integers(0, 40 * 86_400),
    length=st.integers(0, 40 * 86_400),
    lag=st.lists(st.integers(0, 20_000), min_size=3, max_size=3),
    top=st.integers(0, 3),
)
def test_a_range_is_covered_without_gap_or_overlap(
    tiers: tuple[object, ...], age: int, length: int, lag: list[int], top: int
) -> None:
    now, rolled, ladder = START + 12_345, [0], SKETCHES if tiers is SKETCHES else TICKS
    for tier, behind in zip(ladder[1:], lag, strict=True):
        rolled.append((min(now, rolled[-1] or now) - behind) // tier.step_s * tier.step_s)
    known = spans(ladder, now, rolled)
    since, until = now - age, now - age + length
    pieces = cover(since, until, known, top)
    assert all(piece.start < piece.end for piece in pieces)
    for before, after in pairwise(pieces):
        # A gap only where the finer rows are pruned and the coarser are not made yet.
        missing = before.end < after.start and known[before.level].high < after.start
        assert before.end == after.start or missing
    if pieces and min(lag) < 1_800 > max(lag):
        assert pieces[0].start <= since and pieces[-1].end >= until
    for piece in pieces:
        step = ladder[piece.level].step_s
        assert piece.start % step == piece.end % step == 0
        assert piece.end <= known[piece.level].high
        assert piece.level <= top or known[top].low > piece.start
