"""What a deploy consists of: steps that can be looked at, done and taken back. Pure."""

from __future__ import annotations

from typing import Protocol


class Step(Protocol):
    """One step of a deploy.

    name  stable within one deploy, and the journal's key: "web_1.release.unpack", "backend_0.drain"
    host  name of the host it works on; None: none, or the whole fleet
    said  one line for the plan, in the operator's words

    A process that was killed may have left any of them half done, and another process takes it back: so steps can be
    made anew from what the journal holds (release, host, backend, the file), and all three may be repeated.
    """

    name: str
    host: str | None
    said: str

    async def check(self) -> bool:
        """Tell whether it is so already; then apply is skipped."""

    async def apply(self) -> None:
        """Do it. Raises DeployError, GateError, HostError."""

    async def undo(self) -> None:
        """Take back what apply did, also after half of it; nothing where there is nothing to be taken back."""


class Tells(Protocol):
    """A step that has measured something, or has something to say of what it did."""

    @property
    def told(self) -> str:
        """One line for the person who deploys and for the report: "p95 12 ms, 11 ms before; at most 250 ms"."""
