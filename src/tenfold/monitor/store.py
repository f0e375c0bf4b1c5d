"""The monitor's history: one SQLite file, which may be lost without the platform being the worse for it. Edge."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np

from tenfold.monitor import ladder, sketches, ticks
from tenfold.monitor.rollup import Stat
from tenfold.monitor.series import Series
from tenfold.monitor.sketch import Sketch
from tenfold.monitor.sketches import SketchLadder
from tenfold.monitor.storefile import BrokenStore, ForeignStore, aside, is_broken, open_store, set_aside
from tenfold.monitor.ticks import TickLadder

T = TypeVar("T")

_SCHEMA = ladder.SCHEMA + ticks.SCHEMA + sketches.SCHEMA
_MINUTE_S = 60
_FREE_PAGES = 4_096  # 16 MB: so much room is kept inside the file before some is given back to the disk
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "make room on the disk, or look whether it is sound",
    sqlite3.SQLITE_CANTOPEN: "see that its directory is there and may be written",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable for this user",
    sqlite3.SQLITE_BUSY: "another process holds it: see that only one agent runs",
    sqlite3.SQLITE_LOCKED: "another process holds it: see that only one agent runs",
}


@dataclass(frozen=True, slots=True)
class _Open:
    connection: sqlite3.Connection
    ticks: TickLadder
    sketches: SketchLadder


class Store:
    """Ticks of one second and sketches of ten, kept for up to 30 days, ever coarser (`rollup.TICKS`, `SKETCHES`).

    No method raises for what is wrong with the disk or the file: history is lost then, `trouble` says so, and each
    further append tries again. A damaged file is set aside under a name that says when, and a new one begun.
    Thread-safe; calls block for milliseconds and do not belong on an event loop. One process at a time.
    """

    def __init__(self, path: str | PathLike[str], clock: Callable[[], float]) -> None:
        """`clock` tells seconds since 1970; it dates files that are set aside, nothing else."""
        self.path = Path(path)
        self.lost = 0
        """Appends that were not written, since this store was made."""
        self._clock = clock
        self._lock = threading.RLock()
        self._open: _Open | None = None
        self._trouble: str | None = None
        self._left_out = 0
        self._housekeeping_s: int | None = None
        self._aside = aside(self.path)
        self._do(lambda parts: None, None)

    def append(self, now_s: float, values: Mapping[str, float]) -> None:
        """Write the tick of the second `now_s`, as float64; a name without a finite value is not written.

        A counter is exact up to 2^53. A second append within one second takes the place of the first. More names
        than MAX_SERIES are left out, and told.
        """
        second = math.floor(now_s)

        def write(parts: _Open) -> bool:
            with _transaction(parts.connection):
                self._left_out = parts.ticks.append(second, values)
            if parts.ticks.due(second):
                with _transaction(parts.connection):
                    parts.ticks.roll(second)
            return True

        if not self._do(write, False):
            self.lost += 1
        elif self._housekeeping_s is None or abs(second - self._housekeeping_s) >= _MINUTE_S:
            self._housekeeping_s = second
            self._do(self._keep_house, None)

    def append_sketches(self, now_s: float, sketches: Mapping[str, Sketch]) -> None:
        """Add the sketches of the ten seconds that end at `now_s`, give or take five."""
        # now_s - 5 is well inside the ten seconds that are meant, however late the caller woke up.
        middle = math.floor(now_s) - 5

        def write(parts: _Open) -> bool:
            with _transaction(parts.connection):
                parts.sketches.append(middle, sketches)
            with _transaction(parts.connection):
                parts.sketches.roll(middle // 10 * 10 + 10)
            return True

        if not self._do(write, False):
            self.lost += 1

    def read(self, names: Sequence[str], since_s: float, until_s: float, points: int, stat: Stat = "mean") -> Series:
        """`stat` of each step of about (until_s - since_s) / points seconds, for each of `names`.

        Returns  steps that begin at multiples of their length, at most points + 1 of them, fewer where only coarser
                 rows are left; NaN where nothing was written, and everywhere when the file cannot be read
        """
        nothing = Series(np.zeros(0, np.int64), {name: np.zeros(0) for name in names}, 1)
        return self._do(lambda parts: parts.ticks.read(names, since_s, until_s, points, stat), nothing)

    def sketch(self, name: str, since_s: float, until_s: float) -> Sketch:
        """All that was added under `name` from since_s until before until_s, in one sketch.

        Both ends are rounded outwards: to 10 s, or to what is left of that time (a minute after two hours, five
        minutes after a day, an hour after a week).
        """
        return self._do(lambda parts: parts.sketches.read(name, since_s, until_s), Sketch())

    def names(self) -> tuple[list[str], list[str]]:
        """(names of ticks, names of sketches) of which something may be kept, sorted."""
        nothing: tuple[list[str], list[str]] = ([], [])
        return self._do(lambda parts: (parts.ticks.names(), parts.sketches.names()), nothing)

    @property
    def trouble(self) -> str | None:
        """What is wrong and what to do, in one line; None when all is well.

        Of a file that was set aside it speaks until that file is removed.
        """
        if self._trouble:
            return self._trouble
        if self._left_out:
            return f"{self._left_out} series are not kept: too many; send fewer, or go to Prometheus"
        if self._aside:
            return (
                f"{self.path.name} was damaged: history until then is in {self._aside[-1].name}, a new one was begun; "
                f"remove that file when you have seen this"
            )
        return None

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        total = 0
        for name in (self.path.name, f"{self.path.name}-wal"):
            with suppress(OSError):
                total += self.path.with_name(name).stat().st_size
        return total

    def close(self) -> None:
        """Write all into the one file and let go of it. A later call opens it again."""
        with self._lock:
            self._let_go()

    def _do(self, work: Callable[[_Open], T], otherwise: T) -> T:
        """What `work` returns; `otherwise`, with the trouble noted, when the file does not allow it."""
        with self._lock:
            try:
                if self._open is None:
                    self._open = self._opened()
                result = work(self._open)
            except (sqlite3.Error, OSError, BrokenStore, ForeignStore) as error:
                self._fail(error)
                return otherwise
            self._trouble = None
            return result

    def _opened(self) -> _Open:
        connection = open_store(self.path, _SCHEMA)
        try:
            return _Open(connection, TickLadder(connection), SketchLadder(connection))
        except BaseException:
            connection.close()
            raise

    def _keep_house(self, parts: _Open) -> None:
        with _transaction(parts.connection):
            parts.ticks.prune()
            parts.sketches.prune()
        (free,) = parts.connection.execute("PRAGMA freelist_count").fetchone()
        if free > _FREE_PAGES:
            # executescript, for execute would stop after the first page that it has freed.
            parts.connection.executescript("PRAGMA incremental_vacuum(512);")
        # A power cut costs what is in the log only: at most a minute, then.
        parts.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._aside = aside(self.path)

    def _fail(self, error: Exception) -> None:
        # Names and watermarks in memory may be ahead of the file now: the next call reads them again.
        self._let_go()
        self._trouble = f"history is not kept: {self.path.name}: {error}{_hint(error)}"
        if is_broken(error):
            try:
                set_aside(self.path, self._clock())
                self._aside = aside(self.path)
                self._open = self._opened()
                self._trouble = None
            except (sqlite3.Error, OSError, BrokenStore, ForeignStore) as again:
                self._trouble = (
                    f"history is not kept: {self.path.name} is damaged, and no new one can be begun: {again}"
                )

    def _let_go(self) -> None:
        if self._open:
            with suppress(sqlite3.Error):
                self._open.connection.close()
            self._open = None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; what cannot be undone goes with the connection."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _hint(error: Exception) -> str:
    if isinstance(error, ForeignStore):
        return "; move it away if the monitor may have its place"
    hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "")
    return f"; {hint}" if hint else ""
