"""The rules that [monitor] asks for: which figure, which limits, for how long. Pure.

Exactly at a limit is not beyond it, and exactly at the line of recovery is not below it: a figure that sits on either
changes nothing. A time is reached when it is exactly reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tenfold.topology.operations import Monitor, Severity, Threshold

Unit = Literal["seconds", "ratio", "days", "state"]

PLATFORM, HOST = "platform", "host"
RESPONSE_TIME, ERROR_RATIO, SLOW_QUERY = "response_time", "error_ratio", "slow_query"
MEMORY, CPU, DISK = "memory", "cpu", "disk"
BACKEND_DOWN, SHARD_DOWN, SERVICE_DOWN = "backend_down", "shard_down", "service_down"
CERTIFICATE, SILENT, STORE = "certificate", "silent", "store"
NAMES = (
    RESPONSE_TIME, ERROR_RATIO, SLOW_QUERY, MEMORY, CPU, DISK, BACKEND_DOWN, SHARD_DOWN, SERVICE_DOWN, CERTIFICATE,
    SILENT, STORE,
)  # fmt: skip

# What a reading of a state says: nothing is wrong, something is, or the worst is.
WELL, BAD, WORST = 0.0, 1.0, 2.0

Key = tuple[str, str]
"""(rule, target)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When one figure of any target alerts.

    warning, critical  the limits; None: there is no such level
    for_s              seconds that the figure must stay beyond a limit first
    keep_s             seconds that it must stay well before the alert is over, or less severe
    clear_ratio        part of the limit that it must fall below to be well again
    falls              whether it is bad when it is small
    min_count          requests below which the figure proves nothing bad
    """

    name: str
    unit: Unit
    warning: float | None
    critical: float | None
    for_s: float
    keep_s: float
    clear_ratio: float = 1.0
    falls: bool = False
    min_count: int = 0

    def limit(self, severity: Severity) -> float | None:
        """The limit of a level."""
        return {Severity.WARNING: self.warning, Severity.CRITICAL: self.critical}.get(severity)

    @property
    def levels(self) -> tuple[tuple[Severity, float], ...]:
        """The levels there are, the lesser first."""
        both = ((Severity.WARNING, self.warning), (Severity.CRITICAL, self.critical))
        return tuple((severity, limit) for severity, limit in both if limit is not None)

    def is_beyond(self, value: float, limit: float) -> bool:
        """Tell whether `value` is on the bad side of `limit`; exactly at it is not."""
        return value < limit if self.falls else value > limit

    def is_well(self, value: float, limit: float) -> bool:
        """Tell whether an alert of `limit` may end at `value`: clearly on the good side, exactly at the line is not."""
        line = limit / self.clear_ratio if self.falls else limit * self.clear_ratio
        # 0.05 * 0.9 is a little more than 0.045: nobody who writes limits should have to know that.
        line = float(f"{line:.12g}")
        return value > line if self.falls else value < line


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a target at one moment.

    value    in the rule's unit; None: there is no data
    count    requests behind it; None where requests do not matter
    about    what a person wants to know beside the value: why it is down, which backends
    trouble  why it could not be judged, where that failed
    """

    value: float | None = None
    count: int | None = None
    about: str = ""
    trouble: str = ""

    @property
    def blind(self) -> str:
        """Why nothing follows from it; "" when something does."""
        if self.trouble:
            return self.trouble
        if self.value is None:
            return "there is no data"
        return "" if math.isfinite(self.value) else "it is no number"


def rules_of(monitor: Monitor) -> Mapping[str, Rule]:
    """By name, in the order in which people look."""
    keep_s, clear, few = monitor.keep_firing_s, monitor.clear_ratio, monitor.min_requests

    def limits(name: str, unit: Unit, threshold: Threshold, count: int = 0) -> Rule:
        warning, critical = threshold.warning, threshold.critical
        return Rule(name, unit, warning, critical, threshold.for_s, keep_s, clear, min_count=count)

    def state(name: str) -> Rule:
        return Rule(name, "state", (WELL + BAD) / 2, (BAD + WORST) / 2, monitor.down_for_s, keep_s)

    warn_days, critical_days = monitor.certificate_days
    every = [
        limits(RESPONSE_TIME, "seconds", monitor.response_time_s, few),
        limits(ERROR_RATIO, "ratio", monitor.error_ratio, few),
        limits(SLOW_QUERY, "seconds", monitor.slow_query_s, few),
        limits(MEMORY, "ratio", monitor.memory_ratio),
        limits(CPU, "ratio", monitor.cpu_ratio),
        limits(DISK, "ratio", monitor.disk_ratio),
        state(BACKEND_DOWN),
        state(SHARD_DOWN),
        state(SERVICE_DOWN),
        # A certificate has no moods: it alerts at once, and is well as soon as a longer one is there.
        Rule(CERTIFICATE, "days", float(warn_days), float(critical_days), 0.0, 0.0, falls=True),
        *([state(SILENT)] if monitor.no_data else []),
        state(STORE),
    ]
    return {rule.name: rule for rule in every}


def runbook(rule: str) -> str:
    """The file that says what an alert of this rule means and what to do."""
    return f"docs/runbooks/{rule}.md"


def id_of(key: Key) -> str:
    """How people and programs name an alert: "response_time:backend_1"."""
    return ":".join(key)


def key_of(alert_id: str) -> Key:
    """The other way; the target is empty where none is named."""
    rule, _, target = alert_id.partition(":")
    return rule, target
