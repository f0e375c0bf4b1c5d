"""The last minutes for the page's charts: what this agent saw, and before it what an earlier one had kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tenfold.dashboard import inputs as page
from tenfold.monitor.collect.machine import Machine
from tenfold.monitor.live import HISTORY_S, Live
from tenfold.monitor.series import Series
from tenfold.monitor.sketch import Floats

STEP_S = 5
# What the store is asked for at the start, by the name of the page's series.
KEPT: Mapping[str, str] = {
    "rate": "tenfold_request_rate",
    "error_rate": "tenfold_error_ratio",
    "p50_s": 'tenfold_request_seconds{quantile="0.5"}',
    "p95_s": 'tenfold_request_seconds{quantile="0.95"}',
    "p99_s": 'tenfold_request_seconds{quantile="0.99"}',
    "cpu": "tenfold_cpu_ratio",
    "memory_bytes": "tenfold_memory_used_bytes",
}


class History:
    """Charts in steps of STEP_S.

    past  what the store has of the last 15 minutes, by KEPT's names
    """

    def __init__(self, past: Series | None = None) -> None:
        self._past = past
        self._places = {int(t): place for place, t in enumerate(past.t)} if past is not None else {}
        self._machine: dict[int, tuple[float | None, float]] = {}
        self._made: tuple[int, page.History] | None = None

    def saw(self, machine: Machine, now_s: float) -> None:
        """Note how the machine is; the last word in a step counts."""
        step = int(now_s // STEP_S * STEP_S)
        self._machine[step] = (machine.cpu, machine.memory_used_bytes)
        for old in [t for t in self._machine if not step - HISTORY_S <= t <= step]:
            del self._machine[old]

    def of(self, live: Live, now_s: float) -> page.History:
        """The last 15 minutes. It changes once a step, and is made once a step."""
        step = int(now_s // STEP_S)
        if self._made is None or self._made[0] != step:
            self._made = (step, self._history(live, now_s))
        return self._made[1]

    def _history(self, live: Live, now_s: float) -> page.History:
        seen = live.history(now_s, STEP_S)
        steps = [int(t) for t in seen.t]
        own: dict[str, Floats] = {
            "rate": seen.rate,
            "error_rate": seen.error_rate,
            "p50_s": seen.p50_s,
            "p95_s": seen.p95_s,
            "p99_s": seen.p99_s,
            "cpu": np.array([self._of_machine(t, 0) for t in steps], np.float64),
            "memory_bytes": np.array([self._of_machine(t, 1) for t in steps], np.float64),
        }
        filled = {name: self._filled(name, steps, values).tolist() for name, values in own.items()}
        return page.History(t=[float(t) for t in steps], **filled)

    def _of_machine(self, step: int, number: int) -> float:
        value = self._machine.get(step, (None, float("nan")))[number]
        return float("nan") if value is None else value

    def _filled(self, name: str, steps: list[int], values: Floats) -> Floats:
        """Gaps filled from what was kept."""
        if self._past is None or KEPT[name] not in self._past.values:
            return values
        kept, values = self._past.values[KEPT[name]], values.copy()
        for place, step in enumerate(steps):
            if np.isnan(values[place]) and step in self._places:
                values[place] = kept[self._places[step]]
        return values
