"""What a deploy is to do, as the journal keeps it: enough for another process to take it back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """Which way it goes."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class State(StrEnum):
    """How a deploy stands.

    A release may be returned to once a deploy of it was GOOD; one whose last deploy was anything else is BAD or
    unfinished.
    """

    RUNNING = "running"
    GOOD = "good"
    REFUSED = "refused"  # before anything was changed
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"  # it could not be taken back whole; the next command goes on with that


OPEN = frozenset({State.RUNNING, State.UNDOING, State.STUCK})
"""What a process that was killed, or could not go on, leaves for the next."""


class Mark(StrEnum):
    """How a step stands in the journal."""

    BEGUN = "begun"
    DONE = "done"
    SKIPPED = "skipped"  # it was so already
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    LEFT = "left"  # could not be taken back


INTERRUPTED, KILLED = "interrupted", "was killed in the middle"
"""How what is said of a deploy begins, or goes on behind who did it, where nothing was wrong with its release."""
NOTHING_TO_UNDO = frozenset({Mark.UNDONE})


@dataclass(frozen=True, slots=True)
class Order:
    """One deploy, decided before its first step.

    release     the release that the backends shall run
    commit      what it was made of
    before      backend → the release that it ran before; None: none yet, the app in the platform's own directory
    migrations  files to run before the first backend changes, and `contracts` once all have changed
    shipped     every file of migrations that the release has
    cold        nothing runs on the hosts yet: releases and links only
    """

    kind: Kind
    release: str
    commit: str
    ref: str
    before: Mapping[str, str | None]
    migrations: tuple[str, ...] = ()
    contracts: tuple[str, ...] = ()
    shipped: tuple[str, ...] = ()
    cold: bool = False

    def as_json(self) -> str:
        """As the journal keeps it."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def of(cls, text: str) -> Order:
        """From what the journal holds. Raises ValueError for what is none; keys of later releases are passed over."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("not an order")
        return cls(
            Kind(found["kind"]),
            str(found["release"]),
            str(found["commit"]),
            str(found["ref"]),
            {str(name): None if release is None else str(release) for name, release in found["before"].items()},
            tuple(found.get("migrations", ())),
            tuple(found.get("contracts", ())),
            tuple(found.get("shipped", ())),
            bool(found.get("cold", False)),
        )


@dataclass(frozen=True, slots=True)
class Deployed:
    """A row of the journal. began_s, ended_s: Unix time; ended_s None: not yet."""

    id: int
    state: State
    order: Order
    who: str
    began_s: float
    ended_s: float | None
    said: str = ""

    @property
    def reached(self) -> bool:
        """Whether the fleet ran its release at the end."""
        return self.state is State.GOOD

    @property
    def judges(self) -> bool:
        """Whether it says anything of its release: not where it was refused, nor where a roll-back to one that was
        good was stopped from outside, and taken back."""
        if self.state is State.UNDONE and self.order.kind is Kind.ROLLBACK:
            return not self.said.startswith((INTERRUPTED, f"{self.who} {KILLED}"))
        return self.state is not State.REFUSED


@dataclass(frozen=True, slots=True)
class History:
    """All deploys that the journal has, the oldest first."""

    deploys: tuple[Deployed, ...] = ()
    _last: dict[str, Deployed] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for one in self.deploys:
            if one.judges:
                self._last[one.order.release] = one

    @property
    def unfinished(self) -> Deployed | None:
        """The deploy that a process has left open; there is at most one."""
        return next((one for one in reversed(self.deploys) if one.state in OPEN), None)

    def is_good(self, release: str) -> bool:
        """Whether the last deploy of `release` ended well: only to such a one the fleet may return."""
        last = self._last.get(release)
        return last is not None and last.reached

    def is_bad(self, release: str) -> bool:
        """Whether the last deploy of `release` was taken back, or left open."""
        last = self._last.get(release)
        return last is not None and not last.reached

    def bad_of_commit(self, commit: str) -> str | None:
        """The release of `commit` that was taken back last, unless one of the same commit was good after it."""
        for one in reversed(self.deploys):
            if one.order.commit == commit and one.judges:
                return None if one.reached else one.order.release
        return None

    def good(self) -> list[str]:
        """Releases that the fleet may run, the one that was deployed last first."""
        found = [one.order.release for one in reversed(self.deploys) if one.reached]
        return [release for release in dict.fromkeys(found) if self.is_good(release)]

    def shipped(self, release: str) -> tuple[str, ...]:
        """The files of migrations that a good release has."""
        last = self._last.get(release)
        return last.order.shipped if last is not None else ()

    def before(self, release: str) -> list[str]:
        """Good releases that were first deployed before `release`, the newest first."""
        first: dict[str, int] = {}
        for one in self.deploys:
            if one.order.kind is Kind.DEPLOY and one.state is not State.REFUSED:
                first.setdefault(one.order.release, one.id)
        older = [name for name in self.good() if name in first and first[name] < first.get(release, 1 << 62)]
        return sorted(older, key=lambda name: first[name], reverse=True)
