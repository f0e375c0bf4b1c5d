"""The life of one alert: pending, firing, recovering, over. Pure.

Without data, without enough requests, or where judging failed, nothing is known: nothing changes, and the time that
passes counts neither for `for_s` nor for `keep_s`. So silence neither raises an alert nor ends one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tenfold.monitor.alerts.rules import Key, Reading, Rule
from tenfold.topology.operations import Severity

RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Phase(StrEnum):
    """Where an alert is in its life; one that is over, or never began, is None."""

    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule at one target that is, or may soon be, wrong.

    severity    of a pending one: what it would have
    since_s     Unix time at which it began to wait, or to fire
    value       the last that was known, and what was said of it
    warning_s   seconds that it was seen beyond that limit without a break; None: it is not beyond it
    critical_s  likewise
    well_s      seconds that it was seen well; None: it is not well
    lower_s     seconds that a critical one was seen well of the critical limit
    blind       why nothing is known at the moment; "" when it is
    changes     how often it recovered and fell ill again, or changed its severity
    """

    key: Key
    phase: Phase
    severity: Severity
    since_s: float
    value: float | None = None
    count: int | None = None
    about: str = ""
    warning_s: float | None = None
    critical_s: float | None = None
    well_s: float | None = None
    lower_s: float | None = None
    blind: str = ""
    changes: int = 0

    @property
    def fires(self) -> bool:
        """Whether it has begun and is not over."""
        return self.phase is not Phase.PENDING


def after(rule: Rule, key: Key, alert: Alert | None, reading: Reading, dt_s: float, now_s: float) -> Alert | None:
    """The alert after one more reading; None when there is none, or it is over.

    dt_s  seconds since the reading before; 0 where that is not known
    """
    blind = blindness(rule, reading)
    if blind:
        return replace(alert, blind=blind) if alert else None
    value = reading.value
    assert value is not None  # noqa: S101  else it were blind
    passed_s = dt_s if alert and not alert.blind else 0.0
    beyond = {severity: rule.is_beyond(value, limit) for severity, limit in rule.levels}
    seen = Alert(key, Phase.PENDING, Severity.WARNING, now_s) if alert is None else alert
    seen = replace(
        seen,
        value=value,
        count=reading.count,
        about=reading.about,
        blind="",
        warning_s=_clock(seen.warning_s, beyond.get(Severity.WARNING, False), passed_s),
        critical_s=_clock(seen.critical_s, beyond.get(Severity.CRITICAL, False), passed_s),
    )
    return _still_firing(rule, seen, value, passed_s) if seen.fires else _not_yet(rule, seen, now_s)


def blindness(rule: Rule, reading: Reading) -> str:
    """Why nothing follows from the reading; "" when something does. Few requests can show that all is well, no more."""
    if reading.blind:
        return reading.blind
    few = reading.count is not None and reading.count < rule.min_count
    if few and rule.levels and reading.value is not None and not rule.is_well(reading.value, rule.levels[0][1]):
        return f"too few requests, {reading.count} of {rule.min_count}"
    return ""


def _clock(before_s: float | None, running: bool, passed_s: float) -> float | None:
    if not running:
        return None
    return 0.0 if before_s is None else before_s + passed_s


def _reached(rule: Rule, alert: Alert) -> Severity | None:
    """The gravest level that has been exceeded for long enough."""
    for severity, clock_s in ((Severity.CRITICAL, alert.critical_s), (Severity.WARNING, alert.warning_s)):
        if clock_s is not None and clock_s >= rule.for_s:
            return severity
    return None


def _not_yet(rule: Rule, alert: Alert, now_s: float) -> Alert | None:
    reached = _reached(rule, alert)
    if reached is not None:
        return replace(alert, phase=Phase.FIRING, severity=reached, since_s=now_s)
    if alert.critical_s is not None:
        return replace(alert, severity=Severity.CRITICAL)
    return replace(alert, severity=Severity.WARNING) if alert.warning_s is not None else None


def _still_firing(rule: Rule, alert: Alert, value: float, passed_s: float) -> Alert | None:
    well = all(rule.is_well(value, limit) for _, limit in rule.levels[:1])
    well_s = _clock(alert.well_s, well, passed_s)
    if well_s is not None and well_s >= rule.keep_s:
        return None
    phase = Phase.FIRING if well_s is None else Phase.RECOVERING
    severity, lower_s = _severity(rule, alert, value, passed_s)
    changed = severity is not alert.severity or (alert.phase, phase) == (Phase.RECOVERING, Phase.FIRING)
    return replace(
        alert, phase=phase, severity=severity, well_s=well_s, lower_s=lower_s, changes=alert.changes + changed
    )


def _severity(rule: Rule, alert: Alert, value: float, passed_s: float) -> tuple[Severity, float | None]:
    """Up as soon as a graver limit was exceeded for long enough; down once the figure was well of it for keep_s."""
    reached = _reached(rule, alert)
    if reached is not None and RANK[reached] > RANK[alert.severity]:
        return reached, None
    if alert.severity is not Severity.CRITICAL or rule.warning is None:
        return alert.severity, None
    if rule.critical is None:  # the file was changed
        return Severity.WARNING, None
    lower_s = _clock(alert.lower_s, rule.is_well(value, rule.critical), passed_s)
    if lower_s is not None and lower_s >= rule.keep_s and not rule.is_well(value, rule.warning):
        return Severity.WARNING, None
    return Severity.CRITICAL, lower_s
