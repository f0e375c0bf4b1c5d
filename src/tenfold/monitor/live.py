"""The last minutes, in memory, as the page shows them. Pure.

Two sources are counted apart and never added together: nginx's log, which has seen every request of every backend
(totals, errors, backends, history), and the recorders inside the app, which know the routes and the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tenfold.monitor.sketch import Floats, Ints, Sketch
from tenfold.monitor.windows import ALERT_S, SPANS_S, Counter, Figures, Name, Roster, Windows

HISTORY_S = 900
ROUTES = 500
_BACKENDS = _SHARDS = 256
OTHER = "__other__"
_LABEL = 200  # characters
_NO_BACKEND = {"", "-"}  # nginx answered by itself: a limit, a redirect, nobody was well

# An id of `register` holds the row, whether it is an error, and whose row it is.
_SQL, _ERROR, _ROW = 1, 2, 2


@dataclass(frozen=True, slots=True)
class History:
    """Arrays of one length, a value for each step; NaN where nothing is known.

    t         start of the step, seconds since 1970
    rate      requests a second; error_rate the share of them (0 to 1)
    p50_s …   percentiles of the response time, right to 1.1 %
    """

    t: Ints
    rate: Floats
    error_rate: Floats
    p50_s: Floats
    p95_s: Floats
    p99_s: Floats


class Live:
    """Requests and statements of the last seconds. It takes arrays: 10,000 requests a second are one call or ten.

    An error is a status of 500 or more. Not thread-safe: the agent's loop owns it.
    """

    def __init__(self, now_s: float, routes: int = ROUTES) -> None:
        """`now_s` is when it begins to watch; the first `routes` routes have figures of their own."""
        spans_s = (*SPANS_S, ALERT_S)
        self._total = Windows(now_s, HISTORY_S, spans_s)
        self._by_backend, self._by_shard = Windows(now_s, spans_s=spans_s), Windows(now_s, spans_s=spans_s)
        # Of hundreds of routes the last minute is enough.
        self._by_route = Windows(now_s)
        self._backend_names: Roster[str] = Roster(_BACKENDS, OTHER)
        self._route_names: Roster[tuple[str, str]] = Roster(routes, ("*", OTHER))
        self._shard_names: Roster[str] = Roster(_SHARDS, OTHER)
        self.broken = 0
        """Observations left out because they were no durations, or of an id that nobody has."""

    def request(
        self, now_s: float, backend: str | Sequence[str], status: ArrayLike, seconds: ArrayLike,
        times: ArrayLike | None = None,
    ) -> None:  # fmt: skip
        """Count requests from nginx's log.

        backend  who answered, one for all or one for each; "" or "-" when nginx did so itself
        status   of the answer; seconds: how long it took, finite and not negative, else it counts as broken
        times    when each ended, in seconds since 1970; without it all ended now
        Raises   ValueError when lengths differ
        """
        took = np.atleast_1d(np.asarray(seconds, np.float64))
        failed = np.broadcast_to(np.asarray(status), took.shape) >= 500
        ended = np.broadcast_to(np.asarray(now_s if times is None else times, np.float64), took.shape)
        names = [backend] * took.size if isinstance(backend, str) else backend
        if len(names) != took.size:
            raise ValueError("a backend for each request")
        rows = np.array([-1 if n in _NO_BACKEND else self._backend_names.row(n) for n in names], np.int64)
        good = (took >= 0) & (took < np.inf) & np.isfinite(ended)
        if not good.all():
            self.broken += int(good.size - good.sum())
            took, failed, ended, rows = took[good], failed[good], ended[good], rows[good]
        if took.size:
            self._total.add(now_s, ended, np.zeros(took.size, np.int64), failed, took)
            served = rows >= 0
            self._by_backend.add(now_s, ended[served], rows[served], failed[served], took[served])

    def register(self, kind: str, labels: Sequence[str]) -> int:
        """The number by which `observations` will name what a recorder observed.

        kind    "http" with labels method, route, status; or "sql" with kind, table, shard, "ok" or "error"
        Raises  ValueError for any other kind or number of labels
        """
        clipped = [label if len(label) <= _LABEL else label[: _LABEL - 1] + "…" for label in labels]
        match kind, clipped:
            case "http", [method, route, status]:
                failed = status.isascii() and status.isdigit() and len(status) == 3 and status >= "500"
                return self._route_names.row((method, route)) << _ROW | (_ERROR if failed else 0)
            case "sql", [_, _, shard, outcome]:
                return self._shard_names.row(shard) << _ROW | (_ERROR if outcome != "ok" else 0) | _SQL
        raise ValueError(f"no observation has the kind {kind!r} and {len(labels)} labels")

    def observations(self, now_s: float, ids: ArrayLike, seconds: ArrayLike) -> None:
        """Count what recorders observed until now: the numbers that `register` gave, and durations, of one length."""
        numbers, took = np.asarray(ids, np.int64), np.asarray(seconds, np.float64)
        sql = numbers & _SQL == _SQL
        rows = numbers >> _ROW
        known = (rows >= 0) & (rows < np.where(sql, len(self._shard_names), len(self._route_names)))
        good = known & (took >= 0) & (took < np.inf)
        self.broken += int(good.size - good.sum())
        for windows, mine in ((self._by_route, good & ~sql), (self._by_shard, good & sql)):
            if mine.any():
                ended = np.full(int(mine.sum()), now_s)
                windows.add(now_s, ended, rows[mine], numbers[mine] & _ERROR == _ERROR, took[mine])

    def totals(self, now_s: float, window_s: int = 60) -> Figures:
        """All requests of the last 10, 60 or 300 seconds, from nginx's log."""
        return self._total.figures(now_s, window_s, 1)[0]

    def backends(self, now_s: float, window_s: int = 60) -> dict[str, Figures]:
        """By backend, as nginx's log names it; those that were silent too."""
        return self._named(self._by_backend, self._backend_names, now_s, window_s)

    def routes(self, now_s: float, window_s: int = 60) -> dict[tuple[str, str], Figures]:
        """By (method, route), from the recorders; only those with requests in the window. When `routes_capped`, all
        that came after the first ones are in ("*", "__other__")."""
        every = self._named(self._by_route, self._route_names, now_s, window_s)
        return {name: figures for name, figures in every.items() if figures.requests}

    def shards(self, now_s: float, window_s: int = 60) -> dict[str, Figures]:
        """Statements by shard, from the recorders; those that were silent too."""
        return self._named(self._by_shard, self._shard_names, now_s, window_s)

    @property
    def routes_capped(self) -> bool:
        """Whether some routes share the row "__other__"."""
        return self._route_names.capped

    def history(self, now_s: float, step_s: int = 5) -> History:
        """The last 15 minutes of all requests, from nginx's log, in steps of `step_s` seconds."""
        t, requests, errors, quantiles = self._total.history(now_s, step_s, HISTORY_S)
        rate = np.where(t >= self._total.since_s, requests / step_s, np.nan)
        with np.errstate(invalid="ignore"):
            shares = errors / requests
        # A step that began before us, but for which the log still had lines, is better than nothing.
        return History(t, np.where(requests > 0, requests / step_s, rate), shares, *quantiles)

    def counters(self, now_s: float) -> dict[tuple[str, ...], Counter]:
        """Since the agent began, by ("total",), ("backend", name), ("route", method, route), ("shard", name)."""
        return {
            name: counter
            for names, windows in self._sources()
            for name, counter in zip(names, windows.counters(now_s, len(names)), strict=True)
        }

    def take_sketches(self, now_s: float) -> dict[tuple[str, ...], Sketch]:
        """Durations that were completed since this was last called, by the names of `counters`: for the store."""
        return {
            names[row]: sketch
            for names, windows in self._sources()
            for row, sketch in windows.take_sketches(now_s, len(names)).items()
        }

    def _sources(self) -> Sequence[tuple[Sequence[tuple[str, ...]], Windows]]:
        return (
            ([("total",)], self._total),
            ([("backend", name) for name in self._backend_names], self._by_backend),
            ([("route", *name) for name in self._route_names], self._by_route),
            ([("shard", name) for name in self._shard_names], self._by_shard),
        )

    @staticmethod
    def _named(windows: Windows, names: Roster[Name], now_s: float, window_s: int) -> dict[Name, Figures]:
        return dict(zip(names, windows.figures(now_s, window_s, len(names)), strict=True))
