"""One dict of what is going on, for the page, its JSON twin and `tenfold top`. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tenfold.dashboard.alerts import shown as shown_alerts
from tenfold.dashboard.inputs import (
    Agent,
    Alerts,
    Backend,
    BackendState,
    Collector,
    History,
    Host,
    Inputs,
    ProbeState,
    Route,
    Service,
    Shard,
    Traffic,
    Wanted,
)
from tenfold.dashboard.status import judge, shown

__all__ = [
    "HISTORY_SERIES",
    "Agent",
    "Alerts",
    "Backend",
    "BackendState",
    "Collector",
    "History",
    "Host",
    "Inputs",
    "ProbeState",
    "Route",
    "Service",
    "Shard",
    "Traffic",
    "Wanted",
    "view",
]

HISTORY_SERIES = ("rate", "error_rate", "p50_s", "p95_s", "p99_s", "cpu", "memory_bytes")


def view(inputs: Inputs) -> dict[str, Any]:
    """Everything the page shows, ready for JSON: no NaN, no infinity; a figure that is not known is None, never 0.

    The shape is always the same: a part that could not be gathered has None in every field, or is an empty list, and
    `missing` names it, so that "there are none" and "nobody knows" are told apart. Seconds and bytes throughout.
    Rows with a state also carry `tone` (ok|warn|bad|off), `word` and `note`: what is said of it to a person.
    """
    parts = ("totals", "history", "backends", "routes", "shards", "services", "host", "agent", "alerts")
    return {
        "platform": inputs.platform,
        "environment": inputs.environment,
        "now_s": round(inputs.now_s, 3),
        "status": judge(inputs),
        "totals": _totals(inputs.totals),
        "history": _history(inputs.history or History(t=())),
        "backends": [_backend(backend, inputs.now_s) for backend in inputs.backends or ()],
        "routes": [_route(route) for route in inputs.routes or ()],
        "routes_capped": inputs.routes_capped,
        "shards": [_shard(shard, inputs.now_s) for shard in inputs.shards or ()],
        "services": [_service(service, inputs.now_s) for service in inputs.services or ()],
        "host": _host(inputs.host or Host()),
        "agent": _agent(inputs.agent or Agent()),
        "alerts": _alerts(inputs.alerts or Alerts(), inputs.now_s),
        "missing": [part for part in parts if getattr(inputs, part) is None],
    }


def _figure(value: float | None) -> float | None:
    """A float of six significant digits: more is noise, and bytes on the wire; NaN and infinity are not known."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value)


def _totals(traffic: Traffic | None) -> dict[str, Any]:
    return {
        **{
            name: None if traffic is None else _figure(getattr(traffic, name))
            for name in ("window_s", "rate", "error_rate", "p50_s", "p95_s", "p99_s", "mean_s", "min_s", "max_s")
        },
        "requests": traffic.requests if traffic else None,
        "errors": traffic.errors if traffic else None,
    }


def _quantiles(traffic: Traffic | None) -> dict[str, Any]:
    if traffic is None:
        return {"p50_s": None, "p95_s": None, "p99_s": None}
    return {"p50_s": _figure(traffic.p50_s), "p95_s": _figure(traffic.p95_s), "p99_s": _figure(traffic.p99_s)}


def _history(history: History) -> dict[str, Any]:
    length = len(history.t)

    def series(values: Sequence[float | None], kind: str) -> list[float | int | None]:
        # A series that is shorter is one whose collector began later: its figures are the newest.
        known = list(values)[-length:] if length else []
        clean: Iterable[float | int | None] = map(_whole if kind == "memory_bytes" else _figure, known)
        return [*([None] * (length - len(known))), *clean]

    return {
        "t": [round(float(t), 3) for t in history.t],
        **{name: series(getattr(history, name), name) for name in HISTORY_SERIES},
    }


def _backend(backend: Backend, now_s: float) -> dict[str, Any]:
    traffic = backend.traffic
    return {
        "name": backend.name,
        "address": backend.address,
        "weight": backend.weight,
        "state": backend.state,
        "wanted": backend.wanted,
        "rate": _figure(traffic.rate) if traffic else None,
        "error_rate": _figure(traffic.error_rate) if traffic else None,
        **_quantiles(traffic),
        "sessions": backend.sessions,
        "cpu": _figure(backend.cpu),
        "memory_bytes": _whole(backend.memory_bytes),
        "reason": backend.reason,
        "since_s": _whole(backend.since_s),
        **shown(backend, now_s),
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "method": route.method,
        "route": route.route,
        "rate": _figure(route.traffic.rate),
        "error_rate": _figure(route.traffic.error_rate),
        **_quantiles(route.traffic),
        "count": route.traffic.requests,
        "total_s": _figure(route.traffic.sum_s),
    }


def _shard(shard: Shard, now_s: float) -> dict[str, Any]:
    traffic = shard.traffic
    return {
        "name": shard.name,
        "state": shard.state,
        "latency_s": _figure(shard.latency_s),
        "size_bytes": _whole(shard.size_bytes),
        "statements": traffic.requests if traffic else None,
        "rate": _figure(traffic.rate) if traffic else None,
        "error_rate": _figure(traffic.error_rate) if traffic else None,
        "p95_s": _figure(traffic.p95_s) if traffic else None,
        "reason": shard.reason,
        "since_s": _whole(shard.since_s),
        **shown(shard, now_s),
    }


def _service(service: Service, now_s: float) -> dict[str, Any]:
    return {
        "name": service.name,
        "state": service.state,
        "latency_s": _figure(service.latency_s),
        "reason": service.reason,
        "since_s": _whole(service.since_s),
        **shown(service, now_s),
    }


def _host(host: Host) -> dict[str, Any]:
    return {
        "cpu": _figure(host.cpu),
        "cpu_count": _figure(host.cpu_count),
        "memory_used_bytes": _whole(host.memory_used_bytes),
        "memory_limit_bytes": _whole(host.memory_limit_bytes),
        "disk_used_bytes": _whole(host.disk_used_bytes),
        "disk_total_bytes": _whole(host.disk_total_bytes),
        "load1": _figure(host.load1),
    }


def _agent(agent: Agent) -> dict[str, Any]:
    return {
        "since_s": _whole(agent.since_s),
        "cpu": _figure(agent.cpu),
        "memory_bytes": _whole(agent.memory_bytes),
        "dropped": agent.dropped,
        "broken_lines": agent.broken_lines,
        "store": {"trouble": agent.store_trouble, "bytes": _whole(agent.store_bytes)},
        "collectors": [
            {
                "name": collector.name,
                "ok": collector.ok,
                "age_s": _figure(collector.age_s),
                "cost_ms": _figure(collector.cost_ms),
                "error": collector.error,
            }
            for collector in agent.collectors
        ],
    }


def _alerts(alerts: Alerts, now_s: float) -> dict[str, Any]:
    return {
        "counts": dict(alerts.counts),
        "items": [dict(item) for item in alerts.items],
        "silences": [dict(silence) for silence in alerts.silences],
        "undelivered": [dict(channel) for channel in alerts.undelivered],
        "shown": shown_alerts(alerts, now_s),
    }
