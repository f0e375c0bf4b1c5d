"""Requests counted since the platform's first agent, and the names under which figures are kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from tenfold.monitor.collect.access import Batch

ERROR_STATUS = 500


@dataclass(slots=True)
class Count:
    """Requests, those of them that failed, and the seconds of all."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, data: Any) -> Count:
        """From JSON. Raises ValueError for what is no count."""
        if not isinstance(data, dict):
            raise ValueError("not a count")
        requests, errors, seconds = (data.get(name) for name in ("requests", "errors", "seconds"))
        if not (isinstance(requests, int) and isinstance(errors, int) and isinstance(seconds, int | float)):
            raise ValueError("not a count")
        return cls(requests, errors, float(seconds))


@dataclass(slots=True)
class Tally:
    """What nginx's log has told so far, counted as it is read, so that it can be kept with the place in the log.

    broken  lines that were no requests
    """

    total: Count = field(default_factory=Count)
    backends: dict[str, Count] = field(default_factory=dict)
    broken: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the disk: counts must go on where they were, for one that begins anew may hide what came between."""
        return asdict(self)

    @classmethod
    def of(cls, data: Any) -> Tally:
        """From JSON. Raises ValueError for what is no tally."""
        if not isinstance(data, dict) or not isinstance(data.get("backends"), dict):
            raise ValueError("not a tally")
        backends = {str(name): Count.of(count) for name, count in data["backends"].items()}
        broken = data.get("broken")
        return cls(Count.of(data.get("total")), backends, broken if isinstance(broken, int) else 0)

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.broken += batch.broken
        if not len(batch):
            return
        size = len(batch.backends)
        failed = (batch.status >= ERROR_STATUS).astype(np.float64)
        requests = np.bincount(batch.backend, minlength=size)
        errors = np.bincount(batch.backend, failed, minlength=size)
        seconds = np.bincount(batch.backend, batch.seconds, minlength=size)
        for name, *counted in zip(batch.backends, requests, errors, seconds, strict=True):
            counts = [self.total, self.backends.setdefault(name, Count())] if name else [self.total]
            for count in counts:
                count.requests += int(counted[0])
                count.errors += int(counted[1])
                count.seconds += float(counted[2])


def series(name: str, **labels: str) -> str:
    """A name as Prometheus writes it: `tenfold_requests_total{backend="backend_0"}`."""
    return _series(name, tuple(labels.items()))


@lru_cache(maxsize=8192)
def _series(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    return f"{name}{{{pairs}}}" if pairs else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def counted(values: dict[str, float], count: Count, labels: Mapping[str, str], of: str = "tenfold") -> None:
    """Put the three counters of `count` into `values`."""
    values[series(f"{of}_requests_total", **labels)] = count.requests
    values[series(f"{of}_errors_total", **labels)] = count.errors
    values[series(f"{of}_request_seconds_total", **labels)] = count.seconds
