"""What people say of alerts: "I am on it" (an acknowledgement) and "not now" (a silence). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from tenfold.errors import NotifyError
from tenfold.monitor.alerts.machine import Alert
from tenfold.monitor.alerts.rules import NAMES, key_of
from tenfold.topology.operations import Severity

LONGEST_S = 30 * 86_400.0
MOST = 200
LONGEST_TEXT, LONGEST_PATTERN = 500, 200
FIELDS = ("rule", "target", "severity")


@dataclass(frozen=True, slots=True)
class Ack:
    """Somebody has taken the alert on; it holds, whatever the alert does, until the alert is over. severity: then."""

    who: str
    note: str
    at_s: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that match are not told until `until_s`. matches: patterns with * by rule, target and severity."""

    id: str
    matches: Mapping[str, str]
    until_s: float
    who: str
    comment: str

    def holds(self, now_s: float) -> bool:
        """Tell whether its time is not up. Further ahead than LONGEST_S it was made by a clock that was wrong."""
        return 0 < self.until_s - now_s <= LONGEST_S + 1

    def covers(self, alert: Alert) -> bool:
        """Tell whether every matcher fits."""
        of = {"rule": alert.key[0], "target": alert.key[1], "severity": alert.severity.value}
        return all(_fits(of[name], pattern) for name, pattern in self.matches.items())

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Silence:
        """The other way. Raises ValueError, TypeError, KeyError for what is none."""
        matches = {str(name): str(pattern) for name, pattern in data["matches"].items()}
        if not matches or set(matches) - set(FIELDS):
            raise ValueError("no matchers")
        silence = cls(str(data["id"]), matches, float(data["until_s"]), str(data["who"]), str(data["comment"]))
        if not isfinite(silence.until_s):
            raise ValueError("no end")
        return silence


def matchers(words: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """What a silence is to match.

    words   "rule=response_time", "target=backend_*", "severity=warning", an alert's id, or a rule; or a table of them
    Raises  NotifyError for what is none of these
    """
    found: dict[str, str] = {}
    pairs = words.items() if isinstance(words, Mapping) else [pair for word in words for pair in _pairs(str(word))]
    for name, pattern in pairs:
        if name not in FIELDS:
            raise NotifyError(f"alerts are not told apart by {_short(str(name))}", hint="by " + ", ".join(FIELDS))
        if not isinstance(pattern, str) or not pattern or len(pattern) > LONGEST_PATTERN or not pattern.isprintable():
            raise NotifyError(f"{name} is to be matched with nothing that can be matched", hint=f"write {name}=NAME")
        if found.get(name, pattern) != pattern:
            raise NotifyError(f"two patterns for {name}", hint="make two silences")
        found[name] = pattern
    if not found:
        raise NotifyError("a silence of what?", hint='an alert\'s id, a rule, or "target=backend_*"')
    _must_match("rule", found, NAMES)
    _must_match("severity", found, tuple(severity.value for severity in Severity))
    return found


def _fits(name: str, pattern: str) -> bool:
    # Brackets are brackets: an alert's id is a pattern too, and may be "certificate:[::1]:443".
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _pairs(word: str) -> list[tuple[str, str]]:
    name, equals, pattern = word.partition("=")
    if equals and name.isidentifier():
        return [(name, pattern)]
    rule, target = key_of(word)
    return [("rule", rule), ("target", target)] if target else [("rule", rule)]


def _must_match(name: str, found: Mapping[str, str], known: Sequence[str]) -> None:
    """A misspelt silence would be found out at the worst moment."""
    pattern = found.get(name)
    if pattern is not None and not any(_fits(one, pattern) for one in known):
        near = get_close_matches(pattern, known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "one of: " + " ".join(known)
        raise NotifyError(f"no {name} is called {_short(pattern)}", hint=hint)


def length(for_s: object) -> float:
    """How long a silence is to last. Raises NotifyError for what is no time, or longer than LONGEST_S."""
    if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 < for_s <= LONGEST_S:
        raise NotifyError(
            f"a silence lasts up to {LONGEST_S / 86_400:g} days", hint="for example --for 2h; it can be made again"
        )
    return float(for_s)


def text(given: object, what: str) -> str:
    """A note or comment, on one line. Raises NotifyError for what is none."""
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > LONGEST_TEXT:
        raise NotifyError(f"the {what} is longer than {LONGEST_TEXT} characters", hint="shorten it")
    return " ".join("".join(c if c.isprintable() else " " for c in given).split())


def covering(silences: Iterable[Silence], alert: Alert, now_s: float) -> Silence | None:
    """The silence of an alert that lasts longest."""
    those = [silence for silence in silences if silence.holds(now_s) and silence.covers(alert)]
    return max(those, key=lambda silence: silence.until_s, default=None)


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:59] + "…")
