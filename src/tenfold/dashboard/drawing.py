"""Lines as SVG paths, for sparklines and for charts where there is no JavaScript. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: `key` of the history, label, kind of its figures; `right`: it has the right-hand scale."""

    key: str
    label: str
    kind: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page; `least` is the smallest top of its scale, so that noise does not look like a mountain."""

    name: str
    title: str
    lines: tuple[Line, ...]
    least: float


CHARTS = (
    Chart("rate", "Requests a second", (Line("rate", "Requests/s", "rate"),), 5.0),
    Chart(
        "latency",
        "Response time",
        (Line("p50_s", "P50", "seconds"), Line("p95_s", "P95", "seconds"), Line("p99_s", "P99", "seconds")),
        0.01,
    ),
    Chart("errors", "Errors", (Line("error_rate", "Requests that fail", "ratio"),), 0.02),
    Chart(
        "resources",
        "CPU and memory",
        (Line("cpu", "CPU", "ratio"), Line("memory_bytes", "Memory", "bytes", right=True)),
        1.0,
    ),
)
POINTS = 120


def thinned(values: Sequence[float | None], points: int = POINTS) -> list[float | None]:
    """At most `points` values: of each stretch the largest, because a peak is what one looks for."""
    if len(values) <= points:
        return list(values)
    edges = [len(values) * n // points for n in range(points + 1)]
    stretches = [[v for v in values[start:stop] if v is not None] for start, stop in pairwise(edges)]
    return [max(stretch) if stretch else None for stretch in stretches]


def path(values: Sequence[float | None], width: float, height: float, top: float) -> str:
    """An SVG path through the values, nought at the bottom, `top` at the upper edge; a gap where nothing is known."""
    drawn = []
    pen_down = False
    for number, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        x = number / max(1, len(values) - 1) * width
        y = height - min(value, top) / top * height if top > 0 else height
        # A lone point between gaps is drawn too: round line ends make a dot of a line without length.
        drawn.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}" + ("" if pen_down else "h0"))
        pen_down = True
    return "".join(drawn)


def top_of(series: Sequence[Sequence[float | None]], least: float) -> float:
    """The top of a scale that holds all the series, with a little air."""
    largest = max((value for values in series for value in values if value is not None), default=0.0)
    return max(largest * 1.1, least)


def scale_top(chart: Chart, line: Line, history: Mapping[str, Sequence[float | None]]) -> float:
    """The top of the scale that `line` is drawn on: all lines of one side share theirs."""
    side = [history[other.key] for other in chart.lines if other.right == line.right]
    return top_of(side, 2.0**20 if line.right else chart.least)


def spark(values: Sequence[float | None], width: float = 120, height: float = 28) -> str:
    """A sparkline: the thinned values, the highest just below the upper edge."""
    few = thinned(values, 60)
    return path(few, width, height - 2, top_of([few], 1e-9))


def minutes(history: Mapping[str, Sequence[float | None]], keys: Sequence[str]) -> list[tuple[int, list[float | None]]]:
    """The chart in words: for each whole minute, newest first, its start (Unix seconds) and each line's largest."""
    found: dict[int, list[float | None]] = {}
    for position, t in enumerate(history["t"]):
        row = found.setdefault(int((t or 0) // 60) * 60, [None] * len(keys))
        for column, key in enumerate(keys):
            value, before = history[key][position], row[column]
            row[column] = value if before is None or (value is not None and value > before) else before
    return sorted(found.items(), reverse=True)


def latest(values: Sequence[float | None]) -> float | None:
    """The newest figure that is known."""
    return next((value for value in reversed(values) if value is not None), None)
