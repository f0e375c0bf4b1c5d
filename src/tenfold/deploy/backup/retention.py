"""Which backups stay: the last of so many days, weeks and months. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A backup as retention sees it. made_s: seconds since 1970; verified: whether a restore of it was compared."""

    id: str
    made_s: float
    verified: bool = False


def _day(made: datetime) -> Hashable:
    return made.date()


def _week(made: datetime) -> Hashable:
    return tuple(made.isocalendar())[:2]


def _month(made: datetime) -> Hashable:
    return made.year, made.month


def kept(backups: Iterable[Held], days: int, weeks: int, months: int) -> dict[str, list[str]]:
    """Backups that stay, with the reasons: id → ["day", "week", "month", "newest", "last verified"].

    Of each of the last `days` days on which there is a backup the last one stays; weeks (ISO 8601) and months
    likewise, all in UTC. The newest and the last verified stay whatever the numbers are.
    """
    newest_first = sorted(backups, key=lambda one: (one.made_s, one.id), reverse=True)
    found: dict[str, list[str]] = {}
    periods: tuple[tuple[str, Callable[[datetime], Hashable], int], ...] = (
        ("day", _day, days), ("week", _week, weeks), ("month", _month, months),
    )  # fmt: skip
    for name, period_of, count in periods:
        seen: set[Hashable] = set()
        for one in newest_first:
            period = period_of(datetime.fromtimestamp(one.made_s, UTC))
            if period not in seen and len(seen) < count:
                seen.add(period)
                found.setdefault(one.id, []).append(name)
    for one in newest_first[:1]:
        found.setdefault(one.id, []).append("newest")
    for one in [one for one in newest_first if one.verified][:1]:
        found.setdefault(one.id, []).append("last verified")
    return found
