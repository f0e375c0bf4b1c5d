"""Counts, errors and percentiles of the last seconds, for many names at once. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tenfold.monitor.sketch import SCALE, Floats, Ints, Sketch, bucket_of, middle_of

LAG_S = 2
"""nginx writes its log once a second and a recorder sends once a second: so much later a second is complete."""
SPANS_S = (10, 60)
ALERT_S = 300
"""The window of the alerts; what has one is told so (`spans_s`)."""
LONGEST_S = 8192.0

# Columns of the tables: 0 holds what is shorter than a microsecond (nginx counts in milliseconds and says 0.000),
# the others are the buckets of a sketch up to LONGEST_S.
_BELOW = -20 * SCALE
COLUMNS = 1 + 13 * SCALE - _BELOW
_SHORTEST_S = 2.0**-20
_MIDDLES: Floats = np.concatenate(([0.0], middle_of(np.arange(_BELOW + 1, _BELOW + COLUMNS))))
_UNSAVED = 60
_BACK_S = 5  # a clock that goes back by less only wavers

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened in the `window_s` whole seconds that ended LAG_S ago; shorter while the agent is younger than that.

    rate is requests a second, error_rate the share (0 to 1) of errors; None where nothing was to be measured.
    Percentiles are right to 1.1 %, or to a microsecond; all else is exact.
    """

    window_s: int
    requests: int
    errors: int
    rate: float
    error_rate: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    mean_s: float | None
    min_s: float | None
    max_s: float | None
    total_s: float


@dataclass(frozen=True, slots=True)
class Counter:
    """What has been counted since the agent began; it only grows."""

    requests: int
    errors: int
    seconds: float


class Cells(NamedTuple):
    """One second, or a late part of it. `codes` are row * COLUMNS + column, each once, `counts` how often; the other
    arrays have one entry for each of `rows`."""

    codes: Ints
    counts: Ints
    rows: Ints
    requests: Ints
    errors: Ints
    sums: Floats
    lows: Floats
    highs: Floats


class Roster(Generic[Name]):
    """Numbers for names, the first `limit` of them; all others share one row, named `other`."""

    def __init__(self, limit: int, other: Name) -> None:
        self._limit, self._other = limit, other
        self._rows: dict[Name, int] = {}
        self.capped = False

    def row(self, name: Name) -> int:
        """The row of `name`: its own, or that of all who came after the limit was reached."""
        row = self._rows.get(name)
        if row is None:
            if len(self._rows) >= self._limit:
                self.capped, name = True, self._other
            row = self._rows.setdefault(name, len(self._rows))
        return row

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Name]:
        """The names in the order of their rows."""
        return iter(self._rows)


class _Running:
    """The sum of all cells in one span, kept by adding what enters and taking off what leaves."""

    def __init__(self, span_s: int) -> None:
        self.span_s = span_s
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def shift(self, cells: Cells, sign: int, rows: int) -> None:
        if self.counts.size < rows * COLUMNS:
            self.counts = _grown(self.counts, rows)
        self.counts[cells.codes] += sign * cells.counts


class Windows:
    """Requests of one or many rows over time. Rows are small integers that a Roster gives.

    Memory: 8 KB a row and span, and what was seen in the last `keep_s` seconds. Not thread-safe.
    """

    def __init__(self, now_s: float, keep_s: int = SPANS_S[-1], spans_s: Sequence[int] = SPANS_S) -> None:
        """`spans_s`: the windows that `figures` can be asked for."""
        self._spans_s = tuple(spans_s)
        self._keep_s = max(keep_s, *self._spans_s)
        self._now = math.floor(now_s)
        self._since = self._now
        self._open: dict[int, list[tuple[Ints, NDArray[np.bool_], Floats]]] = {}
        self._closed: dict[int, list[Cells]] = {}
        self._running = {span: _Running(span) for span in self._spans_s}
        self._unsaved: list[Cells] = []
        self._counters = np.zeros((0, 3))

    def add(self, now_s: float, times: Floats, rows: Ints, errors: NDArray[np.bool_], seconds: Floats) -> None:
        """Count requests that ended at `times`; all arrays of one length. What claims to be later than now is now."""
        self.advance(now_s)
        # What is older than all that is kept needs no second of its own: a broken log may hold any time.
        whole = np.clip(np.floor(times), self._end - self._keep_s, self._now).astype(np.int64)
        for second in np.unique(whole).tolist():
            mine = whole == second
            part = (rows, errors, seconds) if mine.all() else (rows[mine], errors[mine], seconds[mine])
            self._open.setdefault(second, []).append(part)
        self._close()

    def advance(self, now_s: float) -> None:
        """Let time pass: what is complete enters the windows, what is too old leaves them."""
        now = math.floor(now_s)
        if now < self._now - _BACK_S:
            self._begin_anew(now)
        if now > self._now:
            before, self._now = self._end, now
            for running in self._running.values():
                left = [s for s in self._closed if before - running.span_s < s <= self._end - running.span_s]
                for cells in (cells for second in left for cells in self._closed[second]):
                    running.shift(cells, -1, 0)
            for second in [s for s in self._closed if s <= self._end - self._keep_s]:
                del self._closed[second]
        self._close()

    def figures(self, now_s: float, window_s: int, rows: int) -> list[Figures]:
        """Figures of the rows 0 to `rows` - 1. Raises ValueError when window_s is none of the spans."""
        if window_s not in self._spans_s:
            raise ValueError(f"a window is one of {self._spans_s} seconds")
        self.advance(now_s)
        seen_s = max(min(window_s, self._end - self._since + 1), 1)
        counts = _grown(self._running[window_s].counts, rows)[: rows * COLUMNS].reshape(rows, COLUMNS)
        recent = [c for s, parts in self._closed.items() if s > self._end - window_s for c in parts]
        requests, errors, sums, lows, highs = _row_totals(recent, rows)
        quantiles = [_quantiles(counts, requests, q, lows, highs).tolist() for q in (0.50, 0.95, 0.99)]
        columns = [a.tolist() for a in (requests, errors, sums, lows, highs)]
        return [_figures(seen_s, *row) for row in zip(*columns, *quantiles, strict=True)]

    def history(self, now_s: float, step_s: int, span_s: int) -> tuple[Ints, Ints, Ints, Floats]:
        """All rows together in steps of `step_s`, the oldest first.

        Returns  starts of the steps (seconds since 1970), requests, errors, and the 50th, 95th and 99th percentile
                 as an array of three rows, NaN where there was no request
        """
        self.advance(now_s)
        end = (self._end + 1) // step_s * step_s
        starts = np.arange(end - span_s // step_s * step_s, end, step_s)
        table = np.zeros((starts.size, COLUMNS), np.int64)
        errors = np.zeros(starts.size, np.int64)
        for second, parts in self._closed.items():
            place = (second - int(starts[0])) // step_s
            if 0 <= place < starts.size:
                for cells in parts:
                    np.add.at(table[place], cells.codes % COLUMNS, cells.counts)
                    errors[place] += int(cells.errors.sum())
        requests = table.sum(axis=1)
        wide = np.full(starts.size, np.inf)
        quantiles = np.array([_quantiles(table, requests, q, -wide, wide) for q in (0.50, 0.95, 0.99)])
        return starts, requests, errors, np.where(requests > 0, quantiles, np.nan)

    def counters(self, now_s: float, rows: int) -> list[Counter]:
        """Counters of the rows 0 to `rows` - 1, of complete seconds only."""
        self.advance(now_s)
        missing = np.zeros((max(rows - len(self._counters), 0), 3))
        table = np.concatenate((self._counters, missing))[:rows].tolist()
        return [Counter(int(requests), int(errors), seconds) for requests, errors, seconds in table]

    def take_sketches(self, now_s: float, rows: int) -> dict[int, Sketch]:
        """By row, the durations of all that was completed since this was last called; rows without any are left out."""
        self.advance(now_s)
        cells, self._unsaved = self._unsaved, []
        if not cells:
            return {}
        counts = np.zeros(rows * COLUMNS, np.int64)
        for part in cells:
            counts[part.codes] += part.counts
        requests, _, sums, lows, highs = _row_totals(cells, rows)
        table = counts.reshape(rows, COLUMNS)
        return {
            row: Sketch.of_counts(
                _BELOW + 1, table[row, 1:], int(table[row, 0]), float(sums[row]), float(lows[row]), float(highs[row])
            )
            for row in np.flatnonzero(requests).tolist()
        }

    @property
    def since_s(self) -> int:
        """From when on it has been watching."""
        return self._since

    @property
    def _end(self) -> int:
        """The last second that is complete: it ended LAG_S ago."""
        return self._now - LAG_S - 1

    def _close(self) -> None:
        for second in [s for s in self._open if s <= self._end]:
            parts = self._open.pop(second)
            cells = _cells(*(np.concatenate(column) for column in zip(*parts, strict=True)))
            rows = int(cells.rows[-1]) + 1
            self._count(cells, rows)
            self._unsaved.append(cells)
            if len(self._unsaved) > _UNSAVED:  # nobody comes for them, or a long log was read at once
                self._unsaved = [_merged(self._unsaved)]
            if second > self._end - self._keep_s:
                self._closed.setdefault(second, []).append(cells)
            for running in self._running.values():
                if second > self._end - running.span_s:
                    running.shift(cells, +1, rows)

    def _count(self, cells: Cells, rows: int) -> None:
        if len(self._counters) < rows:
            self._counters = np.concatenate((self._counters, np.zeros((2 * rows - len(self._counters), 3))))
        self._counters[cells.rows] += np.column_stack((cells.requests, cells.errors, cells.sums))

    def _begin_anew(self, now: int) -> None:
        """The clock went back: what was seen belongs to no second any more. Counters and sketches keep it."""
        self._now = max(self._open, default=self._now) + LAG_S + 1
        self._close()
        self._closed.clear()
        self._running = {span: _Running(span) for span in self._spans_s}
        self._now = self._since = now


def _cells(rows: Ints, errors: NDArray[np.bool_], seconds: Floats) -> Cells:
    columns = bucket_of(np.clip(seconds, _SHORTEST_S, LONGEST_S)) - _BELOW
    codes, counts = np.unique(rows * COLUMNS + columns, return_counts=True)
    there, place, requests = np.unique(rows, return_inverse=True, return_counts=True)
    lows, highs = np.full(there.size, np.inf), np.full(there.size, -np.inf)
    np.minimum.at(lows, place, seconds)
    np.maximum.at(highs, place, seconds)
    failed = _summed(place, errors, there.size).astype(np.int64)
    return Cells(codes, counts, there, requests, failed, _summed(place, seconds, there.size), lows, highs)


def _summed(rows: Ints, values: NDArray[Any], size: int) -> Floats:
    return np.bincount(rows, weights=values, minlength=size).astype(np.float64, copy=False)


def _merged(cells: Sequence[Cells]) -> Cells:
    """All of `cells` as one, which needs less room."""
    codes, place = np.unique(np.concatenate([part.codes for part in cells]), return_inverse=True)
    counts = _summed(place, np.concatenate([part.counts for part in cells]), codes.size).astype(np.int64)
    totals = _row_totals(cells, int(max(part.rows[-1] for part in cells)) + 1)
    there = np.flatnonzero(totals[0])
    requests, errors, sums, lows, highs = totals
    return Cells(codes, counts, there, requests[there], errors[there], sums[there], lows[there], highs[there])


def _row_totals(cells: Sequence[Cells], rows: int) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """(requests, errors, sum, smallest, largest) of each row over all `cells`."""
    lows, highs = np.full(rows, np.inf), np.full(rows, -np.inf)
    if not cells:
        return np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows), lows, highs
    _, _, there, requests, errors, sums, low, high = (np.concatenate(c) for c in zip(*cells, strict=True))
    np.minimum.at(lows, there, low)
    np.maximum.at(highs, there, high)
    counted = [_summed(there, weights, rows) for weights in (requests, errors, sums)]
    return counted[0].astype(np.int64), counted[1].astype(np.int64), counted[2], lows, highs


def _quantiles(counts: Ints, requests: Ints, q: float, lows: Floats, highs: Floats) -> Floats:
    """The quantile `q` of each row of `counts`; without meaning where `requests` is 0. Ranks as sketch.rank_of."""
    ranks = np.maximum(np.ceil(np.round(q * requests, 9)), 1)
    columns = np.argmax(np.cumsum(counts, axis=1) >= ranks[:, None], axis=1)
    values: Floats = np.clip(_MIDDLES[columns], lows, np.maximum(lows, highs))
    return values


def _figures(
    window_s: int, requests: int, errors: int, total_s: float, low: float, high: float, *quantiles: float
) -> Figures:
    rate = requests / window_s
    if not requests:
        return Figures(window_s, 0, 0, rate, None, None, None, None, None, None, None, 0.0)
    p50, p95, p99 = quantiles
    share, mean = errors / requests, total_s / requests
    return Figures(window_s, requests, errors, rate, share, p50, p95, p99, mean, low, high, total_s)


def _grown(counts: Ints, rows: int) -> Ints:
    """`counts` with room for `rows` rows at least; twice as many when it must grow, so that it seldom must."""
    if counts.size >= rows * COLUMNS:
        return counts
    room = np.zeros(max(rows * COLUMNS, 2 * counts.size), np.int64)
    room[: counts.size] = counts
    return room
