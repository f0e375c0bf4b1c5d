"""All alerts of a platform, with what people said of them: one step each second, and a state that survives. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from tenfold.errors import NotifyError
from tenfold.monitor.alerts import wording
from tenfold.monitor.alerts.inhibition import inhibited
from tenfold.monitor.alerts.machine import RANK, Alert, Phase, after, blindness
from tenfold.monitor.alerts.rules import (
    ERROR_RATIO,
    RESPONSE_TIME,
    SLOW_QUERY,
    Key,
    Reading,
    Rule,
    id_of,
    key_of,
    runbook,
)
from tenfold.monitor.alerts.silences import MOST, Ack, Silence, covering
from tenfold.topology.operations import Severity

GAP_S = 30.0
"""A step that is longer was a stop, a sleep or a jump of the clock: that time counts for nothing."""
SAMPLES = 120
LINGER_S = 300.0
"""Figures of five minutes remember what was: so long after its cause is over a shadow is not told as news."""
REMEMBER = (RESPONSE_TIME, ERROR_RATIO, SLOW_QUERY)
_CLOCKS = ("warning_s", "critical_s", "well_s", "lower_s")

What = Literal["fires", "graver", "lesser", "over"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened in a step."""

    what: What
    alert: Alert


@dataclass(frozen=True, slots=True)
class Shadow:
    """An alert that another one explains, or did until lately; `severity` is the one it had then."""

    by: Key
    severity: Severity
    until_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment."""

    at_s: float
    value: float | None
    count: int | None
    blind: str
    phase: Phase | None


class Book:
    """Alerts by (rule, target). Times are seconds since 1970. Not thread-safe."""

    def __init__(self, rules: Mapping[str, Rule], backends: int) -> None:
        """`backends`: how many there are."""
        self._rules, self._backends = rules, backends
        self._alerts: dict[Key, Alert] = {}
        self._acks: dict[Key, Ack] = {}
        self._silences: dict[str, Silence] = {}
        self._shadows: dict[Key, Shadow] = {}
        self._number = 0
        self._at_s: float | None = None
        self._now_s = 0.0
        self._samples: dict[Key, deque[Sample]] = {}

    # --- what happens by itself ---

    def step(self, now_s: float, readings: Mapping[Key, Reading]) -> list[Change]:
        """Judge everything once. Targets without a reading are watched no more: their alerts are over."""
        dt_s = 0.0 if self._at_s is None else now_s - self._at_s
        dt_s = dt_s if 0 <= dt_s <= GAP_S else 0.0
        self._at_s = self._now_s = now_s
        changes: list[Change] = []
        before, self._alerts = self._alerts, {}
        for key, reading in readings.items():
            rule = self._rules.get(key[0])
            if rule is None:
                continue
            alert = before.pop(key, None)
            then = after(rule, key, alert, reading, dt_s, now_s)
            if then is not None:
                self._alerts[key] = then
            changes += _changes(alert, then)
            samples = self._samples.setdefault(key, deque(maxlen=SAMPLES))
            phase = then.phase if then else None
            samples.append(Sample(now_s, reading.value, reading.count, blindness(rule, reading), phase))
        for alert in before.values():
            changes += _changes(alert, None)
        self._samples = {key: samples for key, samples in self._samples.items() if key in readings}
        self._acks = {key: ack for key, ack in self._acks.items() if key in self._alerts and self._alerts[key].fires}
        self._silences = {name: s for name, s in self._silences.items() if s.holds(now_s)}
        self._cast_shadows(now_s)
        return changes

    def _cast_shadows(self, now_s: float) -> None:
        causes = inhibited(self._alerts.values(), self._backends)
        now = {key: Shadow(by, self._alerts[key].severity, now_s + LINGER_S) for key, by in causes.items()}
        for key, shadow in self._shadows.items():
            alert, by = self._alerts.get(key), self._alerts.get(shadow.by)
            if (
                alert is not None
                and alert.fires
                and RANK[alert.severity] <= RANK[shadow.severity]
                and key[0] in REMEMBER
                and (by is None or not by.fires)
                and 0 < shadow.until_s - now_s <= LINGER_S
            ):
                now.setdefault(key, shadow)
        self._shadows = now

    # --- what people do ---

    def to_ack(self, alert_id: str) -> Alert:
        """The alert that somebody takes on. Raises NotifyError when it does not fire."""
        alert = self._alerts.get(key_of(alert_id))
        if alert is None or not alert.fires:
            state = "does not fire yet" if alert else "does not fire"
            raise NotifyError(f"{alert_id} {state}", hint="tenfold alerts lists what does; silence what is to come")
        return alert

    def ack(self, alert_id: str, who: str, note: str, now_s: float) -> dict[str, Any]:
        """Somebody takes it on; the item as it is then. Raises as `to_ack`."""
        alert = self.to_ack(alert_id)
        self._acks[alert.key] = Ack(who, note, now_s, alert.severity)
        return self._item(alert, self._cause(alert.key))

    def has_room(self) -> None:
        """Raises NotifyError when there are MOST silences."""
        if len(self._silences) >= MOST:
            raise NotifyError(f"there are {MOST} silences already", hint="end some with tenfold alerts unsilence ID")

    def silence(self, matches: Mapping[str, str], until_s: float, who: str, comment: str) -> Silence:
        """Keep alerts that match from being told. Raises as `has_room`."""
        self.has_room()
        self._number += 1
        made = Silence(f"s{self._number}", dict(matches), until_s, who, comment)
        self._silences[made.id] = made
        return made

    def named(self, silence_id: str) -> Silence:
        """Raises NotifyError when there is no silence of that name."""
        silence = self._silences.get(silence_id)
        if silence is None:
            raise NotifyError(f"there is no silence {silence_id!r}", hint="tenfold alerts lists those that hold")
        return silence

    def unsilence(self, silence_id: str) -> Silence:
        """End a silence. Raises as `named`."""
        self.named(silence_id)
        return self._silences.pop(silence_id)

    def covered(self, silence: Silence) -> int:
        """How many alerts of now it keeps quiet."""
        return sum(silence.covers(alert) for alert in self._alerts.values())

    # --- what can be asked ---

    def firing(self) -> list[Alert]:
        """All that have begun and are not over."""
        return [alert for alert in self._alerts.values() if alert.fires]

    def alert(self, key: Key) -> Alert | None:
        """The alert of a rule at a target, where there is one."""
        return self._alerts.get(key)

    def is_quiet(self, alert: Alert) -> bool:
        """Whether somebody knows already: acknowledged, silenced, or explained by another alert."""
        return alert.key in self._acks or self._is_hushed(alert)

    def known_as(self, alert: Alert) -> Severity | None:
        """As how grave somebody took it on, where nothing else keeps it quiet."""
        ack = self._acks.get(alert.key)
        return None if ack is None or self._is_hushed(alert) else ack.severity

    def _is_hushed(self, alert: Alert) -> bool:
        return alert.key in self._shadows or covering(self._silences.values(), alert, self._now_s) is not None

    def view(self) -> dict[str, Any]:
        """For the page and the command: the gravest first, what another alert explains last."""
        causes = {key: shadow.by for key, shadow in self._shadows.items()}
        rank = {Phase.FIRING: 0, Phase.RECOVERING: 1, Phase.PENDING: 2}
        order = sorted(
            self._alerts.values(),
            key=lambda a: (a.key in causes, not a.fires, -RANK[a.severity], rank[a.phase], a.since_s, a.key),
        )
        told = [alert for alert in order if alert.fires and alert.key not in causes]
        return {
            "counts": {
                severity.value: sum(alert.severity is severity for alert in told)
                for severity in (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
            },
            "items": [self._item(alert, causes.get(alert.key)) for alert in order],
            "silences": [silence.as_json() for silence in self._silences.values()],
        }

    def explain(self, key: Key) -> dict[str, Any]:
        """Why it fires, or does not, with what was seen."""
        rule, alert = self._rules[key[0]], self._alerts.get(key)
        samples = self._samples.get(key, ())
        last = samples[-1] if samples else None
        said = wording.why(rule, alert, last.value if last else None, last.blind if last else "it was not judged yet")
        return {
            "id": id_of(key),
            "rule": key[0],
            "target": key[1],
            "condition": wording.condition(rule),
            "unit": rule.unit,
            "why": said,
            "item": self._item(alert, self._cause(key)) if alert else None,
            "runbook": runbook(key[0]),
            "samples": [
                {**asdict(sample), "value": _known(sample.value), "phase": sample.phase.value if sample.phase else None}
                for sample in samples
            ],
        }

    def watched(self) -> list[Key]:
        """All that is watched, and all that was when the state was kept."""
        return list({**self._samples, **self._alerts})

    def _cause(self, key: Key) -> Key | None:
        shadow = self._shadows.get(key)
        return shadow.by if shadow else None

    def _item(self, alert: Alert, cause: Key | None) -> dict[str, Any]:
        rule = self._rules[alert.key[0]]
        ack, is_state = self._acks.get(alert.key), rule.unit == "state"
        silence = covering(self._silences.values(), alert, self._now_s)
        return {
            "id": id_of(alert.key),
            "rule": alert.key[0],
            "severity": alert.severity.value,
            "state": alert.phase.value,
            "target": alert.key[1],
            "summary": wording.summary(rule, alert),
            "value": None if is_state else _known(alert.value),
            "limit": None if is_state else rule.limit(alert.severity),
            "unit": rule.unit,
            "since_s": round(alert.since_s, 3),
            "acked_by": ack.who if ack else None,
            "ack_note": ack.note if ack else None,
            "silenced_until_s": silence.until_s if silence else None,
            "inhibited_by": id_of(cause) if cause else None,
            "runbook": runbook(alert.key[0]),
        }

    # --- what survives ---

    def as_json(self) -> dict[str, Any]:
        return {
            "at_s": self._at_s,
            "number": self._number,
            "alerts": [{**asdict(alert), "key": list(alert.key)} for alert in self._alerts.values()],
            "acks": [{"id": id_of(key), **asdict(ack)} for key, ack in self._acks.items()],
            "silences": [silence.as_json() for silence in self._silences.values()],
            "shadows": [
                {"id": id_of(key), "by": id_of(one.by), "severity": one.severity.value, "until_s": one.until_s}
                for key, one in self._shadows.items()
            ],
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `as_json` gave. Raises ValueError, TypeError, KeyError for what is none of it."""
        alerts = [_alert_of(one) for one in data["alerts"]]
        acks = {key_of(one["id"]): _ack_of(one) for one in data["acks"]}
        silences = [Silence.of(one) for one in data["silences"]]
        shadows = {
            key_of(one["id"]): Shadow(key_of(one["by"]), Severity(one["severity"]), _finite(one["until_s"]))
            for one in data["shadows"]
        }
        number, at_s = int(data["number"]), _finite(data["at_s"] or 0.0)
        # The time in between was seen by nobody.
        self._at_s, self._now_s = None, at_s
        self._alerts = {alert.key: alert for alert in alerts if alert.key[0] in self._rules}
        self._acks, self._silences = acks, {silence.id: silence for silence in silences}
        self._number, self._shadows = number, {key: s for key, s in shadows.items() if key in self._alerts}


def _changes(before: Alert | None, then: Alert | None) -> Sequence[Change]:
    fired = before is not None and before.fires
    if then is None or not then.fires:
        return [Change("over", before)] if before is not None and fired else []
    if before is None or not fired:
        return [Change("fires", then)]
    if before.severity is then.severity:
        return []
    return [Change("graver" if RANK[then.severity] > RANK[before.severity] else "lesser", then)]


def _alert_of(data: Mapping[str, Any]) -> Alert:
    rule, target = data["key"]
    clocks = {name: None if data[name] is None else _finite(data[name]) for name in _CLOCKS}
    return Alert(
        key=(str(rule), str(target)),
        phase=Phase(data["phase"]),
        severity=Severity(data["severity"]),
        since_s=_finite(data["since_s"]),
        value=None if data["value"] is None else _finite(data["value"]),
        count=None if data["count"] is None else int(data["count"]),
        about=str(data["about"]),
        # What was known then is not known now.
        blind="the agent was started anew",
        changes=int(data["changes"]),
        **clocks,
    )


def _ack_of(data: Mapping[str, Any]) -> Ack:
    # An older release did not keep the severity; what was taken on then is not told.
    severity = Severity(data.get("severity", Severity.CRITICAL))
    return Ack(str(data["who"]), str(data["note"]), _finite(data["at_s"]), severity)


def _finite(value: Any) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError("no number")
    return number


def _known(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None and isfinite(value) else None
