"""Which alerts are only the shadow of another one, and need not be told beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenfold.monitor.alerts.machine import RANK, Alert
from tenfold.monitor.alerts.rules import (
    BACKEND_DOWN,
    ERROR_RATIO,
    PLATFORM,
    RESPONSE_TIME,
    SHARD_DOWN,
    SLOW_QUERY,
    Key,
)

# What is down is also slow, and fails: (cause, what it explains at the same target).
EXPLAINS = {BACKEND_DOWN: (RESPONSE_TIME, ERROR_RATIO), SHARD_DOWN: (SLOW_QUERY,)}
OF_BACKENDS = (RESPONSE_TIME, ERROR_RATIO)


def inhibited(alerts: Iterable[Alert], backends: int) -> Mapping[Key, Key]:
    """For each alert that another one explains, that other one.

    backends  how many there are. Of the platform and its backends who alerted first speaks for the other; the platform
              also where more than half of them alert.
    """
    firing = {alert.key: alert for alert in alerts if alert.fires}
    found: dict[Key, Key] = {}
    for cause, effects in EXPLAINS.items():
        for rule, target in firing:
            if rule in effects and (cause, target) in firing:
                found.setdefault((rule, target), (cause, target))
    for rule in OF_BACKENDS:
        found |= {key: by for key, by in _one_voice(rule, firing, backends).items() if key not in found}
    # What is itself explained explains nothing more here: else a backend that is down and its errors would each keep
    # the other quiet.
    voices = [alert for alert in firing.values() if alert.key not in found]
    for key, alert in firing.items():
        graver = [
            other.key for other in voices if other.key[1] == key[1] and RANK[other.severity] > RANK[alert.severity]
        ]
        if graver:
            found.setdefault(key, min(graver))
    return found


def _one_voice(rule: str, firing: Mapping[Key, Alert], backends: int) -> dict[Key, Key]:
    """The platform and its backends say the same thing once; a lesser alert never keeps a graver one quiet."""
    whole = firing.get((rule, PLATFORM))
    parts = [alert for key, alert in firing.items() if key[0] == rule and key[1] != PLATFORM]
    if whole is None or not parts:
        return {}
    first = min(parts, key=lambda part: (part.since_s, part.key))
    # Who has begun speaks on: else one trouble would be told twice, by two voices.
    if whole.since_s <= first.since_s or 2 * len(parts) > backends:
        return {part.key: whole.key for part in parts if RANK[part.severity] <= RANK[whole.severity]}
    gravest = max(parts, key=lambda part: RANK[part.severity])
    return {whole.key: gravest.key} if RANK[gravest.severity] >= RANK[whole.severity] else {}
