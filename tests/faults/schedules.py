"""Who goes next, and what befalls them: every order within bounds, or orders drawn from a seed. Edge."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Protocol


class Schedule(Protocol):
    """Answers what happens next."""

    def choose(self, options: Sequence[tuple[str, int]]) -> int:
        """The position of one of `options`: (what, actor). The first is to go on with who went last."""


class Exhaustive:
    """Goes through all schedules with at most `switches` switches away from an actor that could go on."""

    def __init__(self, switches: int) -> None:
        self._switches = switches
        # Of each choice in the run at hand: what was taken, and how many there were to take.
        self._taken: list[tuple[int, int]] = []
        self._at = self._left = 0
        self._last: int | None = None

    def runs(self) -> Iterator[Exhaustive]:
        """One for each schedule."""
        while True:
            self._at, self._left, self._last = 0, self._switches, None
            yield self
            del self._taken[self._at :]
            while self._taken and self._taken[-1][0] + 1 == self._taken[-1][1]:
                self._taken.pop()
            if not self._taken:
                return
            taken, of = self._taken.pop()
            self._taken.append((taken + 1, of))

    def choose(self, options: Sequence[tuple[str, int]]) -> int:
        allowed = [
            position
            for position, (what, actor) in enumerate(options)
            if position == 0 or what != "go" or self._left or options[0][1] != self._last
        ]
        if self._at == len(self._taken):
            self._taken.append((0, len(allowed)))
        position = allowed[self._taken[self._at][0]]
        self._at += 1
        what, actor = options[position]
        if what == "go" and position and options[0][1] == self._last:
            self._left -= 1
        self._last = actor
        return position

    def __repr__(self) -> str:
        return f"schedule {[taken for taken, _ in self._taken]}"


class Random:
    """Draws every answer from a seed. fault: how likely a fault is, at each step."""

    def __init__(self, seed: int, fault: float) -> None:
        self._seed, self._fault, self._random = seed, fault, random.Random(seed)

    def choose(self, options: Sequence[tuple[str, int]]) -> int:
        going = [position for position, (what, _) in enumerate(options) if what == "go"]
        if len(going) < len(options) and self._random.random() < self._fault:
            return self._random.randrange(len(going), len(options))
        return self._random.choice(going)

    def __repr__(self) -> str:
        return f"seed {self._seed}"
