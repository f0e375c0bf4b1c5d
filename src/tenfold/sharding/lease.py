"""How long a router may go by what it last read of the catalog. Pure.

A lease is counted from the *start* of the reading that confirmed it, on the router's own clock, which goes on while
the machine sleeps. Whoever changes what the catalog says waits until every lease that was granted before has run
out (docs/design/007-moves.md).
"""

from __future__ import annotations

from collections.abc import Callable


class Lease:
    """The version of the catalog that a router goes by, and until when. Read and renewed by several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: seconds, never going back."""
        self.clock = clock
        # One object, so that whoever reads it sees a version with its own end.
        self._grant: tuple[int, float] = (-1, 0.0)

    def holds(self, version: int) -> bool:
        """Whether `version` may be trusted now."""
        granted, until_s = self._grant
        return granted == version and self.clock() < until_s

    def renew(self, version: int, started_s: float, lease_s: float) -> None:
        """The catalog said `version` in a reading that began at `started_s`; of two readings the later one counts."""
        granted, until_s = self._grant
        if version > granted or (version == granted and started_s + lease_s > until_s):
            self._grant = (version, started_s + lease_s)

    def lose(self) -> None:
        """Trust nothing until the next reading."""
        self._grant = (-1, 0.0)
