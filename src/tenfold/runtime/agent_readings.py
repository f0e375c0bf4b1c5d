"""From what the agent knows to what the rules of alerts judge. Pure.

A part that is not known yet, or that cannot be judged, leaves the alerts of its rules as they are: nobody may take
silence for recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tenfold.balancer import states
from tenfold.balancer.states import Wanted
from tenfold.balancer.upstreams import backend_name
from tenfold.dashboard.inputs import Collector
from tenfold.monitor.alerts import rules
from tenfold.monitor.alerts.rules import BAD, HOST, PLATFORM, WELL, WORST, Key, Reading
from tenfold.monitor.alerts.wording import figure
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.machine import Certificate, Disk
from tenfold.monitor.windows import ALERT_S, Figures
from tenfold.runtime.agent_view import NGINX, Facts

LOG, MACHINE, BACKENDS, SHARDS, SERVICES = "nginx's log", "host", "backends", "shards", "services"
DISKS, CERTIFICATES = "disks", "certificates"
DISKS_S, CERTIFICATES_S = 5.0, 60.0
"""How often those two are looked at."""
# A collector that has not answered for so long knows nothing any more.
STALE_S = {DISKS: 3 * DISKS_S}
_STALE_S = 10.0
NAMED = 3

Readings = dict[Key, Reading]


@dataclass(frozen=True, slots=True)
class Beside:
    """What the facts do not hold.

    log_missing  nginx's log is not where nginx is to write it
    troubles     what cannot be kept, by what it is of
    """

    log_missing: bool = False
    troubles: Mapping[str, str | None] = field(default_factory=dict)


def readings(facts: Facts, beside: Beside, known: Iterable[Key], now_s: float) -> Readings:
    """A reading of everything that is watched.

    known  what was watched before: it stays watched while its part knows nothing
    """
    parts: Sequence[tuple[Sequence[str], Callable[[], Readings | None]]] = (
        ((rules.RESPONSE_TIME, rules.ERROR_RATIO), lambda: _traffic(facts, beside, now_s)),
        ((rules.SLOW_QUERY,), lambda: _statements(facts, now_s)),
        ((rules.MEMORY, rules.CPU), lambda: _machine(facts)),
        ((rules.DISK,), lambda: _disks(facts)),
        ((rules.BACKEND_DOWN,), lambda: _backends(facts)),
        ((rules.SHARD_DOWN,), lambda: _shards(facts)),
        ((rules.SERVICE_DOWN,), lambda: _services(facts)),
        ((rules.CERTIFICATE,), lambda: _certificates(facts, now_s)),
        ((rules.SILENT,), lambda: _silent(facts, beside)),
        ((rules.STORE,), lambda: _stores(beside)),
    )
    before, found = list(known), Readings()
    for names, part in parts:
        trouble = ""
        try:
            made = part()
        except Exception as error:  # a rule that cannot be judged must not end the others, nor any alert
            made, trouble = None, f"it cannot be judged: {type(error).__name__}: {error}"[:200]
        if made is None:
            made = {key: Reading(trouble=trouble) for key in before if key[0] in names}
        found |= made
    return found


# --- traffic ---


def _traffic(facts: Facts, beside: Beside, now_s: float) -> Readings | None:
    if not facts.log_read or not _is_fresh(facts, LOG) or _log_is_gone(facts, beside):
        return None
    whole = facts.live.totals(now_s, ALERT_S)
    figures = facts.live.backends(now_s, ALERT_S)
    names = [backend_name(position) for position in range(len(facts.topology.app.backends))]
    # One that was taken out serves nobody: what it did before is over.
    serving = [name for name in names if states.of(facts.wanted, name) is not Wanted.DOWN]
    found = {
        (rules.RESPONSE_TIME, PLATFORM): Reading(whole.p95_s, whole.requests, _slowest(facts, figures, whole, now_s)),
        (rules.ERROR_RATIO, PLATFORM): Reading(whole.error_rate, whole.requests, _failing(facts, figures, whole)),
    }
    for name in serving if len(names) > 1 else ():
        mine = figures.get(name)
        found[rules.RESPONSE_TIME, name] = Reading(mine.p95_s, mine.requests) if mine else Reading()
        found[rules.ERROR_RATIO, name] = Reading(mine.error_rate, mine.requests) if mine else Reading()
    return found


def _slowest(facts: Facts, figures: Mapping[str, Figures], whole: Figures, now_s: float) -> str:
    limit = facts.topology.monitor.response_time_s.warning or facts.topology.monitor.response_time_s.critical
    if limit is None or whole.p95_s is None or whole.p95_s <= limit:
        return ""
    slow = [(f.p95_s, f"{m} {r}") for (m, r), f in facts.live.routes(now_s).items() if (f.p95_s or 0) > limit]
    slow = slow or [(f.p95_s, name) for name, f in figures.items() if (f.p95_s or 0) > limit]
    worst = sorted(slow, key=lambda one: -(one[0] or 0))[:NAMED]
    return ", ".join(f"{name} {figure('seconds', value)}" for value, name in worst)


def _failing(facts: Facts, figures: Mapping[str, Figures], whole: Figures) -> str:
    limit = facts.topology.monitor.error_ratio.warning or facts.topology.monitor.error_ratio.critical
    if limit is None or whole.error_rate is None or whole.error_rate <= limit:
        return ""
    failing = sorted(((f.error_rate or 0.0, name) for name, f in figures.items() if f.errors), reverse=True)
    return ", ".join(f"{name} {figure('ratio', value)}" for value, name in failing[:NAMED])


def _statements(facts: Facts, now_s: float) -> Readings:
    figures = facts.live.shards(now_s, ALERT_S)
    # Whose app sends no timings has statements that nobody counted: there is no data.
    return {
        (rules.SLOW_QUERY, name): Reading(figures[name].p95_s, figures[name].requests) if name in figures else Reading()
        for name in facts.topology.database.shards
    }


# --- the machine ---


def _machine(facts: Facts) -> Readings | None:
    machine = facts.machine
    if machine is None or not _is_fresh(facts, MACHINE):
        return None
    memory = machine.memory_used_bytes / machine.memory_limit_bytes if machine.memory_limit_bytes else None
    groups = machine.groups.items()
    most = max(((usage.memory_bytes or 0, name) for name, usage in groups), default=(0, ""))
    busiest = max(((usage.cpu or 0.0, name) for name, usage in groups), default=(0.0, ""))
    heavy = f"most of ours: {most[1]}, {most[0] / 2**20:.0f} MiB" if most[0] >= 2**20 else ""
    busy = f"most of ours: {busiest[1]}, {busiest[0]:.1f} cores" if busiest[0] >= 0.1 else ""
    return {(rules.MEMORY, HOST): Reading(memory, about=heavy), (rules.CPU, HOST): Reading(machine.cpu, about=busy)}


def _disks(facts: Facts) -> Readings | None:
    if facts.disks is None or not _is_fresh(facts, DISKS):
        return None
    return {(rules.DISK, disk.directory): _disk(disk) for disk in facts.disks}


def _disk(disk: Disk) -> Reading:
    if disk.inodes is not None and disk.inodes > disk.used:
        return Reading(disk.inodes, about="of the number of files it can hold")
    return Reading(disk.used, about=f"{disk.free_bytes / 2**30:.1f} GiB free")


# --- what answers ---


def _backends(facts: Facts) -> Readings | None:
    if not _is_fresh(facts, BACKENDS):
        return None
    names = [backend_name(position) for position in range(len(facts.topology.app.backends))]
    health = {name: facts.backends.get(name, Health()) for name in names}
    wanted = {name for name in names if states.of(facts.wanted, name) is not Wanted.DOWN}
    nobody = not any(health[name].state == "up" for name in wanted)
    return {
        (rules.BACKEND_DOWN, name): _state(health[name], WORST if nobody else BAD) if name in wanted else Reading(WELL)
        for name in names
    }


def _shards(facts: Facts) -> Readings | None:
    if not _is_fresh(facts, SHARDS):
        return None
    return {
        (rules.SHARD_DOWN, name): _state(facts.shards.get(name, Health()), WORST)
        for name in facts.topology.database.shards
    }


def _services(facts: Facts) -> Readings | None:
    if not facts.services or not _is_fresh(facts, SERVICES):
        return None
    return {
        # Without Redis the platform is slower, without nginx it is not there.
        (rules.SERVICE_DOWN, name): _state(health, WORST if name.startswith(NGINX) else BAD)
        for name, health in facts.services.items()
    }


def _state(health: Health, bad: float) -> Reading:
    if health.state == "unknown":
        return Reading()
    return Reading(bad, about=health.reason or "") if health.state == "down" else Reading(WELL)


def _certificates(facts: Facts, now_s: float) -> Readings:
    return {
        (rules.CERTIFICATE, name): _ending(facts.certificates.get(name), now_s)
        for name in facts.topology.monitor.certificates
    }


def _ending(certificate: Certificate | None, now_s: float) -> Reading:
    if certificate is None or certificate.ends_s is None:
        return Reading(trouble=certificate.error if certificate else "")
    day = datetime.fromtimestamp(certificate.ends_s, UTC)
    return Reading((certificate.ends_s - now_s) / 86_400, about=f"on {day:%Y-%m-%d at %H:%M} UTC")


# --- what is silent ---


def _silent(facts: Facts, beside: Beside) -> Readings:
    found = {}
    for collector in facts.agent.collectors:
        about = collector.error or ""
        if collector.name == LOG and not about and _log_is_gone(facts, beside):
            about = "nginx's log is not where nginx is to write it; tenfold down, tenfold up makes it anew"
        # One that has just begun has said nothing yet; one that hangs has an error soon enough.
        known = bool(about) or collector.ok
        found[rules.SILENT, target_of(collector.name)] = (
            Reading(BAD if about else WELL, about=about) if known else Reading()
        )
    for name in facts.topology.monitor.certificates:
        seen = facts.certificates.get(name)
        unread = seen is not None and seen.ends_s is None
        found[rules.SILENT, name] = Reading(BAD if unread else WELL, about=seen.error) if seen else Reading()
    return found


def _log_is_gone(facts: Facts, beside: Beside) -> bool:
    nginx = facts.services.get(NGINX)
    return beside.log_missing and nginx is not None and nginx.state == "up"


def _stores(beside: Beside) -> Readings:
    return {
        (rules.STORE, name): Reading(BAD if said else WELL, about=said or "") for name, said in beside.troubles.items()
    }


def target_of(collector: str) -> str:
    """A collector's name as a target, which people type: "nginx_log"."""
    return collector.replace("'s ", "_").replace(" ", "_")


def _is_fresh(facts: Facts, name: str) -> bool:
    """Whether a collector has answered lately."""
    collector: Collector | None = next((one for one in facts.agent.collectors if one.name == name), None)
    return collector is not None and collector.age_s is not None and collector.age_s <= STALE_S.get(name, _STALE_S)
