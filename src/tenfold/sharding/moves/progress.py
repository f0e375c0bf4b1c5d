"""What a mover tells of its work, to a bar, a page or a test. Pure."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Is told where a mover is. May raise: the mover then stops there, and can be resumed."""

    def step(self, name: str) -> None:
        """Called before each step whose effect lasts: "copy.rows", "cutover.bump"."""

    def rows(self, done: int, total: int) -> None:
        """So many rows were copied of about so many; both grow."""

    def say(self, event: dict[str, Any]) -> None:
        """One thing that happened; `event["event"]` names it, the rest are numbers and names, never values of rows."""


class Silence:
    """Tells nobody."""

    def step(self, name: str) -> None:
        """Nothing."""

    def rows(self, done: int, total: int) -> None:
        """Nothing."""

    def say(self, event: dict[str, Any]) -> None:
        """Nothing."""
