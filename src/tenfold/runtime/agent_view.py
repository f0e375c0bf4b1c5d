"""What the agent knows, turned into the page's inputs and into the figures that are kept. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tenfold.balancer import states
from tenfold.balancer.states import States, Wanted
from tenfold.balancer.upstreams import backend_address, backend_name
from tenfold.dashboard import inputs as page
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.machine import Certificate, Disk, Machine, Usage
from tenfold.monitor.live import Live
from tenfold.monitor.windows import Figures
from tenfold.runtime.agent_history import History
from tenfold.runtime.agent_tally import Count, Tally, counted, series
from tenfold.topology.model import Topology

NGINX = "nginx"
QUANTILES = (("0.5", "p50_s"), ("0.95", "p95_s"), ("0.99", "p99_s"))
TICK_WINDOW_S = 10


@dataclass(slots=True)
class Facts:
    """The latest of everything; None and missing names are what is not known yet.

    log_read   whether nginx's log was read: before, that there were no requests is not known
    sessions   clients by backend that were served in the last minute
    alerts     as they were judged last
    """

    topology: Topology
    live: Live
    history: History
    tally: Tally = field(default_factory=Tally)
    wanted: States = field(default_factory=dict)
    log_read: bool = False
    machine: Machine | None = None
    backends: Mapping[str, Health] = field(default_factory=dict)
    shards: Mapping[str, Health] = field(default_factory=dict)
    services: Mapping[str, Health] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    agent: page.Agent = field(default_factory=page.Agent)
    disks: Sequence[Disk] | None = None
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    alerts: page.Alerts | None = None


def inputs(facts: Facts, now_s: float) -> page.Inputs:
    """Everything for the view, in the order of the file."""
    topology, live = facts.topology, facts.live
    totals = live.totals(now_s) if facts.log_read else None
    return page.Inputs(
        platform=topology.platform.name,
        environment=topology.environment,
        now_s=now_s,
        totals=None if totals is None else _traffic(totals),
        history=facts.history.of(live, now_s),
        backends=_backends(facts, now_s),
        routes=_routes(live, now_s),
        routes_capped=live.routes_capped,
        shards=_shards(facts, now_s),
        services=[_service(name, health) for name, health in facts.services.items()],
        host=None if facts.machine is None else _host(facts.machine),
        agent=facts.agent,
        alerts=facts.alerts,
        monitor=topology.monitor,
    )


def _traffic(figures: Figures) -> page.Traffic:
    return page.Traffic(
        window_s=figures.window_s,
        requests=figures.requests,
        errors=figures.errors,
        p50_s=figures.p50_s,
        p95_s=figures.p95_s,
        p99_s=figures.p99_s,
        min_s=figures.min_s,
        max_s=figures.max_s,
        sum_s=figures.total_s,
    )


def _backends(facts: Facts, now_s: float) -> list[page.Backend]:
    figures = facts.live.backends(now_s)
    window_s = facts.live.totals(now_s).window_s
    found = []
    for position, backend in enumerate(facts.topology.app.backends):
        name = backend_name(position)
        health, wanted = facts.backends.get(name, Health()), states.of(facts.wanted, name)
        usage = facts.machine.groups.get(name) if facts.machine else None
        mine = figures.get(name)
        # Silent is not unknown: once the log is read, a backend that it does not name has served nobody.
        traffic = _traffic(mine) if mine else page.Traffic(window_s, 0, 0)
        state, reason = _state(health, wanted)
        found.append(
            page.Backend(
                name=name,
                address=backend_address(facts.topology, position),
                weight=backend.weight,
                state=state,
                wanted=wanted.value,
                traffic=traffic if facts.log_read else None,
                sessions=facts.sessions.get(name, 0) if facts.log_read else None,
                cpu=usage.cpu if usage else None,
                memory_bytes=usage.memory_bytes if usage else None,
                reason=reason,
                since_s=health.since_s,
            )
        )
    return found


def _state(health: Health, wanted: Wanted) -> tuple[page.BackendState, str | None]:
    if health.state == "down":
        return "down", health.reason
    if wanted is Wanted.DOWN:
        return "down", "taken out by `tenfold balancer down`"
    if health.state == "unknown":
        return "starting", health.reason
    return ("drain" if wanted is Wanted.DRAIN else "up"), health.reason


def _routes(live: Live, now_s: float) -> list[page.Route]:
    return [page.Route(method, route, _traffic(f)) for (method, route), f in live.routes(now_s).items()]


def _shards(facts: Facts, now_s: float) -> list[page.Shard]:
    figures = facts.live.shards(now_s)
    found = []
    for name in facts.topology.database.shards:
        health, mine = facts.shards.get(name, Health()), figures.get(name)
        found.append(
            page.Shard(
                name=name,
                state=health.state,
                latency_s=health.latency_s,
                size_bytes=health.size_bytes,
                # Whose app sends no timings has statements that nobody counted.
                traffic=_traffic(mine) if mine else None,
                reason=health.reason,
                since_s=health.since_s,
            )
        )
    return found


def _service(name: str, health: Health) -> page.Service:
    return page.Service(
        name, health.state, health.latency_s, health.reason, health.since_s, essential=name.startswith(NGINX)
    )


def _host(machine: Machine) -> page.Host:
    return page.Host(
        cpu=machine.cpu,
        cpu_count=machine.cpu_count,
        memory_used_bytes=machine.memory_used_bytes,
        memory_limit_bytes=machine.memory_limit_bytes,
        disk_used_bytes=machine.disk_used_bytes,
        disk_total_bytes=machine.disk_total_bytes,
        load1=machine.load1,
    )


# --- what is kept ---


def tick(facts: Facts, now_s: float) -> dict[str, float]:
    """One second's figures by Prometheus' names; what is not known is left out."""
    values: dict[str, float] = {}
    if facts.log_read:
        counted(values, facts.tally.total, {})
        for name, count in facts.tally.backends.items():
            counted(values, count, {"backend": name})
        recent = facts.live.totals(now_s, TICK_WINDOW_S)
        _put(values, "tenfold_request_rate", recent.rate)
        _put(values, "tenfold_error_ratio", recent.error_rate)
        for quantile, attribute in QUANTILES:
            _put(values, "tenfold_request_seconds", getattr(recent, attribute), quantile=quantile)
    for (kind, *labels), counter in facts.live.counters(now_s).items():
        count = Count(counter.requests, counter.errors, counter.seconds)
        if kind == "route":
            counted(values, count, {"method": labels[0], "route": labels[1]}, "tenfold_route")
        elif kind == "shard":
            counted(values, count, {"shard": labels[0]}, "tenfold_shard")
    _put_health(values, facts)
    if facts.machine is not None:
        _put_machine(values, facts.machine)
    _put_alerts(values, facts)
    for disk in facts.disks or ():
        _put(values, "tenfold_disk_ratio", disk.used, directory=disk.directory)
    for name, certificate in facts.certificates.items():
        _put(values, "tenfold_certificate_ends_seconds", certificate.ends_s, certificate=name)
    _put(values, "tenfold_agent_cpu_cores", facts.agent.cpu)
    _put(values, "tenfold_agent_memory_bytes", facts.agent.memory_bytes)
    return values


def _put(values: dict[str, float], name: str, value: float | None, **labels: str) -> None:
    if value is not None and math.isfinite(value):
        values[series(name, **labels)] = float(value)


def _put_health(values: dict[str, float], facts: Facts) -> None:
    kinds: Sequence[tuple[Literal["backend", "shard", "service"], Mapping[str, Health]]] = (
        ("backend", facts.backends),
        ("shard", facts.shards),
        ("service", facts.services),
    )
    for kind, things in kinds:
        for name, health in things.items():
            labels = {kind: name}
            if health.state != "unknown":
                _put(values, "tenfold_up", float(health.state == "up"), **labels)
            _put(values, "tenfold_probe_seconds", health.latency_s, **labels)
            _put(values, "tenfold_size_bytes", health.size_bytes, **labels)


def _put_machine(values: dict[str, float], machine: Machine) -> None:
    _put(values, "tenfold_cpu_ratio", machine.cpu)
    _put(values, "tenfold_memory_used_bytes", machine.memory_used_bytes)
    _put(values, "tenfold_memory_limit_bytes", machine.memory_limit_bytes)
    _put(values, "tenfold_disk_used_bytes", machine.disk_used_bytes)
    _put(values, "tenfold_disk_total_bytes", machine.disk_total_bytes)
    _put(values, "tenfold_load1", machine.load1)
    usage: Usage
    for name, usage in machine.groups.items():
        _put(values, "tenfold_process_cpu_cores", usage.cpu, process=name)
        _put(values, "tenfold_process_memory_bytes", usage.memory_bytes, process=name)


def _put_alerts(values: dict[str, float], facts: Facts) -> None:
    """As Prometheus does: a series of ones for each alert that waits or fires. One that recovers still fires."""
    for item in facts.alerts.items if facts.alerts else ():
        state = "pending" if item["state"] == "pending" else "firing"
        labels = {"alertname": item["rule"], "alertstate": state, "severity": item["severity"]}
        _put(values, "ALERTS", 1.0, **labels, target=item["target"])


def sketch_name(name: Sequence[str]) -> str:
    """Under which name the store keeps a sketch that Live calls `name`."""
    match list(name):
        case ["backend", backend]:
            return series("tenfold_request_seconds", backend=backend)
        case ["route", method, route]:
            return series("tenfold_route_seconds", method=method, route=route)
        case ["shard", shard]:
            return series("tenfold_shard_seconds", shard=shard)
    return series("tenfold_request_seconds")
