"""Alerts in words: figures with their units, one sentence for each alert, and why it fires or not. Pure."""

from __future__ import annotations

from tenfold.monitor.alerts import rules
from tenfold.monitor.alerts.machine import Alert, Phase
from tenfold.monitor.alerts.rules import Rule, Unit


def figure(unit: Unit, value: float | None) -> str:
    """A value with its unit, or a dash."""
    if value is None:
        return "–"
    match unit:
        case "seconds":
            return (
                f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
            )
        case "ratio":
            return f"{value * 100:.1f} %"
        case "days":
            return f"{value:.1f} days" if abs(value) < 9.95 else f"{value:.0f} days"
        case "state":
            return {rules.WELL: "well", rules.BAD: "not well", rules.WORST: "down"}.get(value, f"{value:g}")


def span(seconds: float) -> str:
    """A time that somebody set or waits for: "2 min", "90 s", "4 h"."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


_SUBJECTS = {
    rules.RESPONSE_TIME: "one request in twenty{of} takes longer than {value}",
    rules.ERROR_RATIO: "{value} of the requests{of} fail",
    rules.SLOW_QUERY: "one statement in twenty on {target} takes longer than {value}",
    rules.MEMORY: "{value} of the memory is in use",
    rules.CPU: "{value} of the CPU is in use",
    rules.DISK: "the disk of {target} is {value} full",
    rules.BACKEND_DOWN: "{target} is down",
    rules.SHARD_DOWN: "{target} is down",
    rules.SERVICE_DOWN: "{target} is down",
    rules.SILENT: "no word from {target}",
    rules.STORE: "{target} is not kept",
}


def summary(rule: Rule, alert: Alert) -> str:
    """One sentence for an alert, without a full stop."""
    name, target = alert.key
    if name == rules.CERTIFICATE and alert.value is not None:
        ends = "has ended" if alert.value < 0 else f"ends in {figure(rule.unit, alert.value)}"
        said = f"the certificate {target} {ends}"
    else:
        of = "" if target == rules.PLATFORM else f" to {target}"
        said = _SUBJECTS.get(name, name).format(target=target, of=of, value=figure(rule.unit, alert.value))
    return f"{said} ({alert.about})" if alert.about else said


def text(rule: Rule, alert: Alert) -> str:
    """What a notice says below the summary."""
    lines = []
    if rule.unit != "state":
        lines.append(f"Limit: {limits(rule)}.")
    if alert.count is not None:
        lines.append(f"Seen in {alert.count} requests of the last 5 minutes.")
    if alert.blind:
        lines.append(f"At the moment nothing is known: {alert.blind}.")
    if alert.changes:
        lines.append(f"It has gone back and forth {alert.changes} times.")
    lines.append(f"What it means and what to do: tenfold alerts runbook {rule.name} ({rules.runbook(rule.name)})")
    return "\n".join(lines)


def limits(rule: Rule) -> str:
    """Both levels: "warning above 2.00 s, critical above 5.00 s"."""
    side = "below" if rule.falls else "above"
    return ", ".join(f"{level.value} {side} {figure(rule.unit, limit)}" for level, limit in rule.levels) or "none"


def condition(rule: Rule) -> str:
    """The whole rule in words."""
    if rule.unit == "state":
        said = f"alerts when it is not well for {span(rule.for_s)}"
    else:
        said = f"{limits(rule)}, for {span(rule.for_s)}" if rule.for_s else limits(rule)
    if rule.clear_ratio != 1 and rule.levels:
        said += f"; well again below {figure(rule.unit, rule.levels[0][1] * rule.clear_ratio)}"
    if rule.keep_s:
        said += f"; over once it was well for {span(rule.keep_s)}"
    return said + (f"; needs {rule.min_count} requests" if rule.min_count else "")


def why(rule: Rule, alert: Alert | None, value: float | None, blind: str) -> str:
    """Why it fires, or does not."""
    if alert is None:
        if blind:
            return f"does not fire: {blind}"
        lowest = rule.levels[:1]
        if not lowest:
            return "does not fire: it has no limit"
        if rule.unit == "state":
            return "does not fire: all is well"
        side = "below" if rule.falls else "above"
        return f"does not fire: {figure(rule.unit, value)} is not {side} {figure(rule.unit, lowest[0][1])}"
    held = f"; nothing is known now ({alert.blind}), so it stays as it is" if alert.blind else ""
    if alert.phase is Phase.PENDING:
        clock_s = max(alert.warning_s or 0.0, alert.critical_s or 0.0)
        return f"waits: beyond its limit for {span(clock_s)} of {span(rule.for_s)}{held}"
    if alert.phase is Phase.RECOVERING:
        return f"still fires: well for {span(alert.well_s or 0.0)} of {span(rule.keep_s)}{held}"
    if blind and not alert.blind:
        held = f"; nothing is known now ({blind})"
    limit = rule.limit(alert.severity)
    if rule.unit == "state" or limit is None or alert.value is None:
        return f"fires{held}"
    if rule.is_beyond(alert.value, limit):
        side = "below" if rule.falls else "above"
        return f"fires: {figure(rule.unit, alert.value)} is {side} {figure(rule.unit, limit)}{held}"
    return (
        f"fires: it was beyond {figure(rule.unit, limit)}, and {figure(rule.unit, alert.value)} is not well yet{held}"
    )
