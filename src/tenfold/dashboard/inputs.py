"""What the agent knows, as plain facts handed to the view; None is "not known", never nought. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.topology.operations import Monitor

BackendState = Literal["up", "down", "drain", "starting"]
Wanted = Literal["ready", "drain", "down"]
# A probe that has not answered yet knows neither.
ProbeState = Literal["up", "down", "unknown"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one thing (all, a backend, a route, a shard) did in the last `window_s` seconds.

    requests   finished requests (statements for a shard); errors: those of them that failed
    p50_s …    seconds; None when nothing was measured in the window
    sum_s      seconds of all of them added up
    """

    window_s: float
    requests: int
    errors: int
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    sum_s: float | None = None

    @property
    def rate(self) -> float | None:
        """Requests a second."""
        return self.requests / self.window_s if self.window_s > 0 else None

    @property
    def error_rate(self) -> float | None:
        """Share of the requests that failed, 0..1; None without requests."""
        return self.errors / self.requests if self.requests > 0 else None

    @property
    def mean_s(self) -> float | None:
        """Mean seconds a request."""
        return self.sum_s / self.requests if self.sum_s is not None and self.requests > 0 else None


@dataclass(frozen=True, slots=True)
class History:
    """The last minutes, one figure a tick; all sequences as long as `t`, or empty; NaN and None are gaps.

    t            Unix seconds, ascending
    cpu          share of the host's (or the container's) CPUs in use, 0..1
    error_rate   0..1
    """

    t: Sequence[float]
    rate: Sequence[float | None] = ()
    error_rate: Sequence[float | None] = ()
    p50_s: Sequence[float | None] = ()
    p95_s: Sequence[float | None] = ()
    p99_s: Sequence[float | None] = ()
    cpu: Sequence[float | None] = ()
    memory_bytes: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """One running instance of the app.

    wanted     what the operator asked for; `state` is what is
    cpu        CPUs in use by its processes: 1.0 is one whole core
    sessions   clients that would lose their place if it stopped now
    since_s    Unix seconds since which it is in this state
    """

    name: str
    address: str
    weight: int
    state: BackendState
    wanted: Wanted = "ready"
    traffic: Traffic | None = None
    sessions: int | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    reason: str | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One method and route template of the app, never a raw path."""

    method: str
    route: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Shard:
    """One database server or SQLite file; `traffic` counts its statements."""

    name: str
    state: ProbeState
    latency_s: float | None = None
    size_bytes: int | None = None
    traffic: Traffic | None = None
    reason: str | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """nginx, Redis and the like. `essential`: without it nobody is served (nginx), else it is only slower (Redis)."""

    name: str
    state: ProbeState
    latency_s: float | None = None
    reason: str | None = None
    since_s: float | None = None
    essential: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, or the container's share of it; `cpu` is 0..1 of `cpu_count` CPUs."""

    cpu: float | None = None
    cpu_count: float | None = None
    memory_used_bytes: int | None = None
    memory_limit_bytes: int | None = None
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    load1: float | None = None


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector of the agent: seconds since its last answer, milliseconds that one cost."""

    name: str
    ok: bool
    age_s: float | None = None
    cost_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent's own cost. since_s: Unix seconds of its start; cpu: 1.0 is one whole core."""

    since_s: float | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    dropped: int | None = None
    broken_lines: int | None = None
    store_trouble: str | None = None
    store_bytes: int | None = None
    collectors: Sequence[Collector] = field(default=())


@dataclass(frozen=True, slots=True)
class Alerts:
    """What alerts, ready for JSON, as monitor.alerts.book says it.

    counts     of what fires and is not explained by another alert, by severity: critical, warning, info
    items      {"id", "rule", "severity", "state": pending|firing|recovering, "target", "summary", "value", "limit",
               "unit": seconds|ratio|days|state, "since_s", "acked_by", "ack_note", "silenced_until_s", "inhibited_by":
               id of the alert that explains it, "runbook"}; the gravest first, what is explained or waits last
    silences   {"id", "matches": {rule|target|severity: pattern}, "until_s", "who", "comment"}
    undelivered  {"channel", "waiting", "dead", "since_s", "reason"} of each channel that does not take its notices
    """

    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(("critical", "warning", "info"), 0))
    items: Sequence[Mapping[str, Any]] = ()
    silences: Sequence[Mapping[str, Any]] = ()
    undelivered: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a view is made of. A part that is None could not be gathered: its panel says so, the others stand.

    totals   the last minute of everything the balancer answered, health probes excluded
    monitor  the limits of the file
    """

    platform: str
    environment: str | None
    now_s: float
    totals: Traffic | None = None
    history: History | None = None
    backends: Sequence[Backend] | None = None
    routes: Sequence[Route] | None = None
    routes_capped: bool = False
    shards: Sequence[Shard] | None = None
    services: Sequence[Service] | None = None
    host: Host | None = None
    agent: Agent | None = None
    alerts: Alerts | None = None
    monitor: Monitor = field(default_factory=Monitor)
