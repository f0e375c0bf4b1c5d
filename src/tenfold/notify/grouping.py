"""Which alerts are told, when, and together with which: no alert unheard, none told twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.notify.notice import RANK, Notice
from tenfold.topology.operations import Severity

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert that fires now.

    id       the same for as long as it is the same alert
    group    alerts of one group are told together: all of one target, or of one rule
    since_s  seconds since 1970 since which it fires
    quiet    somebody has acknowledged it, or it is silenced
    known    of one that an acknowledgement alone keeps quiet, as how grave somebody took it on
    """

    id: str
    group: str
    severity: Severity
    title: str
    text: str
    since_s: float
    quiet: bool = False
    known: Severity | None = None


@dataclass(slots=True)
class _Told:
    """An alert that somebody knows of; `rank` is the gravest it was told as."""

    title: str
    rank: int
    since_s: float


@dataclass(slots=True)
class _Group:
    """What is known of one group, from its first alert to the end of its last.

    began_s  when it was first seen; with `number`, of its notices so far, it makes their keys
    waiting  when each alert that has not been told was first seen firing and not quiet
    """

    began_s: float
    number: int = 0
    last_s: float = 0.0
    waiting: dict[str, float] = field(default_factory=dict)
    told: dict[str, _Told] = field(default_factory=dict)


class Grouping:
    """Turns what fires into notices.

    group_wait_s  how long a new alert waits for others of its group
    repeat_s      after which what still fires, and is not quiet, is told again
    state         of `as_json`, so that a restart tells nothing twice; anything else counts as none
    """

    def __init__(self, group_wait_s: float, repeat_s: float, state: object = None) -> None:
        self.group_wait_s, self.repeat_s = group_wait_s, repeat_s
        self._groups = _groups_of(state)

    def as_json(self) -> dict[str, Any]:
        """All that a later process needs."""
        return {name: asdict(group) for name, group in self._groups.items()}

    @classmethod
    def of(cls, state: object, *, group_wait_s: float = 30.0, repeat_s: float = 14_400.0) -> Grouping:
        """The grouping that went on as far as `state`."""
        return cls(group_wait_s, repeat_s, state)

    def step(self, now_s: float, firing: Sequence[Firing]) -> list[Notice]:
        """What is to be told now that these fire, and all others do not.

        Of a group, in this order: what has ended (once, and only what was told), then what is new or has become
        graver, then what is told again. An alert that ends while it waits is not told; one that is quiet is told when
        it no longer is. What was told and is quiet by now is still told to have ended. One that is graver than somebody
        took it on is told once.
        """
        by_group: dict[str, dict[str, Firing]] = {}
        for alert in firing:
            by_group.setdefault(alert.group, {})[alert.id] = alert
        notices = []
        for name in [*self._groups, *(name for name in by_group if name not in self._groups)]:
            alerts = by_group.get(name, {})
            group = self._groups.setdefault(name, _Group(now_s))
            notices += self._ended(name, group, alerts, now_s)
            notices += self._begun(name, group, alerts, now_s)
            if not group.told and not group.waiting:
                del self._groups[name]
        return notices

    def _ended(self, name: str, group: _Group, alerts: dict[str, Firing], now_s: float) -> list[Notice]:
        gone = {key: group.told.pop(key) for key in list(group.told) if key not in alerts}
        if not gone:
            return []
        left = [alerts[key] for key in group.told]
        rank = max(told.rank for told in gone.values())
        titles = [f"{told.title} (after {_lasted(now_s - told.since_s)})" for told in gone.values()]
        text = "\n".join([*_shown(titles), *(["Still:", *_shown(alert.title for alert in left)] if left else [])])
        title = _together([told.title for told in gone.values()])
        return [self._notice(name, group, "resolved", rank, title, text, now_s)]

    def _begun(self, name: str, group: _Group, alerts: dict[str, Firing], now_s: float) -> list[Notice]:
        loud = {key: alert for key, alert in alerts.items() if not alert.quiet}
        group.waiting = {key: group.waiting.get(key, now_s) for key in loud if key not in group.told}
        worse = [key for key, alert in alerts.items() if _is_worse(alert, group.told.get(key))]
        # A clock that was set back must not make anybody wait for it to catch up.
        waited = [abs(now_s - at_s) for at_s in group.waiting.values()]
        known = [key for key in group.told if key in loud]
        again = bool(known) and abs(now_s - group.last_s) >= self.repeat_s
        if not worse and not again and not (waited and max(waited) >= self.group_wait_s):
            return []
        new = list(group.waiting)
        lead = [*worse, *new] or known
        every = {key: alerts[key] for key in [*lead, *loud]}
        for key, alert in every.items():
            rank = max(RANK[alert.severity], group.told[key].rank if key in group.told else 0)
            group.told[key] = _Told(alert.title, rank, alert.since_s)
        group.waiting, group.last_s = {}, now_s
        lines = [_told_line(alert, now_s) for alert in every.values()]
        rank = max(RANK[alert.severity] for alert in every.values())
        kind = "firing" if worse or new else "repeat"
        return [self._notice(name, group, kind, rank, _together([alerts[k].title for k in lead]), _text(lines), now_s)]

    def _notice(self, name: str, group: _Group, kind: str, rank: int, title: str, text: str, now_s: float) -> Notice:
        group.number += 1
        severity = next(severity for severity, known in RANK.items() if known == rank)
        return Notice(
            # The beginning is part of it: where the state was lost, what comes is not taken for what was.
            key=f"alerts/{name}/{round(group.began_s * 1000)}/{group.number}/{kind}",
            severity=severity,
            title=title,
            text=text,
            at_s=now_s,
            source="alerts",
            facts={"group": name},
            resolved=kind == "resolved",
        )


def _is_worse(alert: Firing, told: _Told | None) -> bool:
    """Whether it is graver than somebody knows it to be. One that nobody knows of waits for others first."""
    if (alert.quiet and alert.known is None) or (told is None and alert.known is None):
        return False
    known = [told.rank] if told else []
    return RANK[alert.severity] > max([*known, *([RANK[alert.known]] if alert.known else [])])


def _together(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{titles[0]}, and {len(titles) - 1} more"


def _told_line(alert: Firing, now_s: float) -> str:
    lasted = f" (for {_lasted(now_s - alert.since_s)})" if now_s - alert.since_s >= 60 else ""
    return f"{alert.severity.value}: {alert.title}{lasted}" + (f"\n{alert.text}" if alert.text else "")


def _text(lines: Sequence[str]) -> str:
    return "\n".join(_shown(lines))


def _shown(lines: Iterable[str]) -> list[str]:
    every = list(lines)
    return every if len(every) <= SHOWN else [*every[:SHOWN], f"… and {len(every) - SHOWN} more"]


def _lasted(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _groups_of(state: object) -> dict[str, _Group]:
    """What `as_json` wrote; nothing where it is anything else: then what fires is told anew, better than not at all."""
    if not isinstance(state, dict):
        return {}
    try:
        return {
            str(name): _Group(
                float(given["began_s"]),
                int(given["number"]),
                float(given["last_s"]),
                {str(key): float(at_s) for key, at_s in given["waiting"].items()},
                {
                    str(key): _Told(str(told["title"]), int(told["rank"]), float(told["since_s"]))
                    for key, told in given["told"].items()
                },
            )
            for name, given in state.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
