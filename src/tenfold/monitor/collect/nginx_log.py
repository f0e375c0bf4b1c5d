"""The balancer's access log as it grows: every request once, over rotations and restarts. Edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.monitor.collect.access import Batch, Columns, parse
from tenfold.monitor.collect.tail import Cursor, Tail


@dataclass(frozen=True, slots=True)
class Read:
    """Requests, the place after them, and whether more is waiting.

    gaps  how often since the start lines were lost for good (an emptied log without a copy)
    """

    batch: Batch
    cursor: Cursor
    behind: bool
    gaps: int


class NginxLog:
    """Reads requests out of the log at `path`.

    columns   the log's columns, in order; "time", "client", "path", "status", "seconds" and "backend" among them
    backends  name by address
    health    path of the app's health page, whose requests are left out
    cursor    where the agent before ended; None: begin with what is written from now on
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        backends: Mapping[str, str],
        health: str,
        cursor: Cursor | None = None,
    ) -> None:
        self._columns, self._backends, self._health = Columns.of(columns), dict(backends), health
        self._tail = Tail(path, cursor)

    async def collect(self, now_s: float) -> Read:
        """What was written since the last call. `now_s`: a monotonic clock. Raises OSError."""
        look = self._tail.look(now_s)
        batch = parse(look.lines, self._columns, self._backends, self._health)
        if look.broken:
            batch = replace(batch, broken=batch.broken + look.broken)
        return Read(batch, look.cursor, look.behind, self._tail.gaps)

    def close(self) -> None:
        """Let go of the log."""
        self._tail.close()
