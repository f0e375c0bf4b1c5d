"""How fine ticks become coarse ones, and which of them answer a question. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tenfold.monitor.sketch import Floats, Ints

Stat = Literal["mean", "min", "max", "sum", "last", "count"]

HOUR_S, DAY_S = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Tier:
    """Rows that are `step_s` seconds apart and are kept for `keep_s`; each step divides that of the next tier."""

    step_s: int
    keep_s: int


# 200 series: 138 MB of ticks, 81 MB of minutes, 69 MB of five minutes, 6 MB of hours.
TICKS = (Tier(1, DAY_S), Tier(60, 7 * DAY_S), Tier(300, 30 * DAY_S), Tier(HOUR_S, 30 * DAY_S))
SKETCHES = (Tier(10, 2 * HOUR_S), Tier(60, DAY_S), Tier(300, 7 * DAY_S), Tier(HOUR_S, 30 * DAY_S))


class Span(NamedTuple):
    """What a tier can answer: from `low` (a multiple of the next tier's step) until before `high` (of its own)."""

    step_s: int
    low: int
    high: int


class Piece(NamedTuple):
    """Rows of tier number `level` from `start` until before `end`."""

    level: int
    start: int
    end: int


def spans(tiers: Sequence[Tier], now_s: int, rolled: Sequence[int]) -> list[Span]:
    """What each tier can answer at `now_s`; `rolled[level]` is the time until which it has been filled."""
    result = []
    for level, tier in enumerate(tiers):
        coarser = tiers[min(level + 1, len(tiers) - 1)].step_s
        high = rolled[level] if level else 1 << 60
        result.append(Span(tier.step_s, _up(now_s - tier.keep_s, coarser), high))
    return result


def cover(since_s: float, until_s: float, tiers: Sequence[Span], top: int) -> list[Piece]:
    """Pieces, in order of time, without gap or overlap, that together hold what happened from since_s until
    before until_s.

    top      the coarsest tier wanted. A coarser one is taken only where the finer ones have been pruned
    Returns  as few rows as can be: coarse ones in the middle, finer ones at the edges and for what is not rolled up
             yet. The two ends are rounded outwards to the step of the finest tier that still knows them
    """
    if since_s >= until_s:
        return []
    oldest = next((level for level, tier in enumerate(tiers) if tier.low <= since_s), len(tiers) - 1)
    for level in range(min(top, len(tiers) - 1), oldest, -1):
        step = tiers[level].step_s
        start, end = _up(since_s, step), min(_down(until_s, step), tiers[level].high)
        if start < end:
            left, right = cover(since_s, start, tiers, level - 1), cover(end, until_s, tiers, level - 1)
            return [*left, Piece(level, start, end), *right]
    step = tiers[oldest].step_s
    start, end = _down(since_s, step), _up(until_s, step)
    if not oldest:
        return [Piece(0, start, end)]
    # The finer tiers take over where they begin, and wherever this one has not been filled yet.
    finer = tiers[oldest - 1].low
    end = min(end, tiers[oldest].high, finer)
    if end <= start:
        return cover(finer, until_s, tiers, top)
    return [Piece(oldest, start, end), *cover(end, until_s, tiers, top)]


class Grid:
    """Ticks gathered into steps: how many, their sum, least, greatest and last, by name.

    Arrays have the shape (steps, names). NaN among what comes in is "not written".
    """

    FIELDS = 5

    def __init__(self, start_s: int, step_s: int, steps: int, names: int, stat: Stat | None = None) -> None:
        """With a `stat`, only what that needs is gathered; without one all of it, as `rows` needs."""
        self._extremes = stat in (None, "min", "max")
        self._newest = stat in (None, "last")
        self.t: Ints = start_s + step_s * np.arange(steps)
        self._start, self._step = start_s, step_s
        shape = (steps, names)
        self.count, self.sum = np.zeros(shape), np.zeros(shape)
        self.low, self.high, self.last = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)

    def add_ticks(self, t: Ints, values: Floats) -> None:
        """Gather ticks of shape (rows, names) at the times `t`, ascending, none older than those added before."""
        there = ~np.isnan(values)
        filled = values if there.all() else np.where(there, values, 0.0)
        self._fold(t, there.astype(np.float64), filled, values, values, values)

    def add_rolled(self, t: Ints, rows: Floats) -> None:
        """Gather rows of shape (rows, FIELDS, names) that `rows` of a finer grid once gave."""
        count, total = np.nan_to_num(rows[:, 0]), np.nan_to_num(rows[:, 1])
        self._fold(t, count, total, rows[:, 2], rows[:, 3], rows[:, 4])

    def rows(self) -> Floats:
        """All that was gathered, as (steps, FIELDS, names); NaN in the column of a name that was not written."""
        there = np.where(self.count > 0, 1.0, np.nan)
        return np.stack((self.count * there, self.sum * there, self.low, self.high, self.last), axis=1)

    def stat(self, stat: Stat) -> Floats:
        """One figure a step and name, (steps, names); NaN where nothing was written (a count is 0 there)."""
        there = self.count > 0
        match stat:
            case "mean":
                mean: Floats = self.sum / np.where(there, self.count, np.nan)
                return mean
            case "sum":
                return np.where(there, self.sum, np.nan)
            case "min":
                return self.low
            case "max":
                return self.high
            case "last":
                return self.last
            case "count":
                return self.count

    def _fold(self, t: Ints, count: Floats, total: Floats, low: Floats, high: Floats, last: Floats) -> None:
        steps = (t - self._start) // self._step
        # Rows before the first or after the last step come from a coarse tier that was rounded outwards.
        inside = (steps >= 0) & (steps < len(self.t))
        if not inside.all():
            steps, count, total = steps[inside], count[inside], total[inside]
            low, high, last = low[inside], high[inside], last[inside]
        if not steps.size:
            return
        begins = np.flatnonzero(np.diff(steps, prepend=-1))
        at = steps[begins]
        self.count[at] += np.add.reduceat(count, begins, axis=0)
        self.sum[at] += np.add.reduceat(total, begins, axis=0)
        if self._extremes:
            self.low[at] = np.fmin(self.low[at], np.fmin.reduceat(low, begins, axis=0))
            self.high[at] = np.fmax(self.high[at], np.fmax.reduceat(high, begins, axis=0))
        if self._newest:
            written = np.where(np.isnan(last), -1, np.arange(len(last))[:, None])
            newest = np.maximum.reduceat(written, begins, axis=0)
            values = np.take_along_axis(last, np.maximum(newest, 0), axis=0)
            self.last[at] = np.where(newest >= 0, values, self.last[at])


def _down(time_s: float, step_s: int) -> int:
    return int(time_s // step_s) * step_s


def _up(time_s: float, step_s: int) -> int:
    return -int(-time_s // step_s) * step_s
