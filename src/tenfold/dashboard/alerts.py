"""Alerts in the operator's words and units, for the page with and without its script. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenfold.dashboard.inputs import Alerts
from tenfold.dashboard.wording import NBSP, duration, fixed, ratio, seconds

SEVERITIES = ("critical", "warning", "info")
TONES = {"critical": "bad", "warning": "warn", "info": "info"}
# What a silence may last, as a form says it; "tomorrow" ends on the next day, at MORNING by the machine's clock.
LASTS = (("3600", "1 h"), ("14400", "4 h"), ("tomorrow", "until tomorrow, 8:00"))
MORNING = 8  # o'clock
LONGEST_NOTE = 500


def shown(alerts: Alerts, now_s: float) -> dict[str, Any]:
    """{"sentence", "counts": [{"level", "count", "text"}], "items", "silences", "untold"}: texts ready to be written.

    items     {"id", "level": critical|warning|info, "tone", "quiet": whether nobody need act, "title", "sub", "note",
              "can_ack", "can_silence", "runbook"}
    silences  {"id", "title", "sub"}
    untold    which notices have not arrived, and why; None where all have
    """
    counts = [(level, int(alerts.counts.get(level, 0))) for level in SEVERITIES]
    said = [f"{count} {level}" for level, count in counts if count]
    return {
        "sentence": f"Alerts: {_and(said)}." if said else "No alert.",
        "counts": [{"level": level, "count": count, "text": f"{count} {level}"} for level, count in counts],
        "items": [_item(item, now_s) for item in alerts.items],
        "silences": [_silence(silence, now_s) for silence in alerts.silences],
        "untold": untold(alerts, now_s),
    }


def untold(alerts: Alerts, now_s: float) -> str | None:
    """Which notices have not arrived, why, and where to look; None where all have."""
    if not alerts.undelivered:
        return None
    said = "; ".join(_undelivered(channel, now_s) for channel in alerts.undelivered)
    return f"Notices have not arrived: {said}. Try: tenfold notify list"


def _undelivered(channel: Mapping[str, Any], now_s: float) -> str:
    waiting, dead = channel["waiting"], channel["dead"]
    given_up = f", {dead} of them given up" if dead and waiting else ", given up" if dead else ""
    lasted = duration(now_s - channel["since_s"])
    return f"{channel['channel']}, {waiting + dead} for {lasted}{given_up} ({channel['reason']})"


def _item(item: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    fires = item["state"] in ("firing", "recovering")
    quiet = not fires or any(item[name] is not None for name in ("acked_by", "silenced_until_s", "inhibited_by"))
    lasted = f"for {duration(now_s - item['since_s'])}"
    parts = [str(item["rule"]), str(item["target"]), lasted, _figures(item)]
    level = str(item["severity"])
    return {
        "id": item["id"],
        "level": level,
        "tone": TONES.get(level, "info") if fires else "off",
        "quiet": quiet,
        "title": item["summary"],
        "sub": " · ".join(part for part in parts if part),
        "note": _note(item, now_s),
        "can_ack": fires and item["acked_by"] is None,
        "can_silence": item["silenced_until_s"] is None,
        "runbook": f"tenfold alerts runbook {item['rule']}" if item["runbook"] else "",
    }


def _figures(item: Mapping[str, Any]) -> str:
    value, limit, unit = item["value"], item["limit"], str(item["unit"])
    if value is None:
        return ""
    return _figure(unit, value) + (f" (limit {_figure(unit, limit)})" if limit is not None else "")


def _figure(unit: str, value: float) -> str:
    match unit:
        case "seconds":
            return seconds(value)
        case "ratio":
            return ratio(value)
        case "days":
            return f"{fixed(value, 1)}{NBSP}days"
    return fixed(value, 2)


def _note(item: Mapping[str, Any], now_s: float) -> str:
    said = {"pending": "Waits: not long enough beyond its limit to alert.", "recovering": "Well again for now."}
    parts = [said.get(str(item["state"]), "")]
    if item["acked_by"] is not None:
        parts.append(f"Acknowledged by {item['acked_by']}{': ' + item['ack_note'] if item['ack_note'] else ''}.")
    if item["silenced_until_s"] is not None:
        parts.append(f"Silenced for another {duration(item['silenced_until_s'] - now_s)}.")
    if item["inhibited_by"] is not None:
        parts.append(f"Explained by {item['inhibited_by']}.")
    return " ".join(part for part in parts if part)


def _silence(silence: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    matches = ", ".join(f"{name} {pattern}" for name, pattern in silence["matches"].items())
    until = f"for another {duration(silence['until_s'] - now_s)}, by {silence['who']}"
    return {
        "id": silence["id"],
        "title": matches,
        "sub": until + (f": {silence['comment']}" if silence["comment"] else ""),
    }


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
