"""One kind of rows in tiers: rolled up from fine to coarse, pruned in slices. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tenfold.monitor.rollup import Piece, Span, Tier, cover, spans

STEADY_S = 600
"""So long a clock must run without a leap before anything is deleted because of what it says."""
LEAP_S = 3_600
_SLICE_S = 600  # of each tier, each minute: ten times what comes in, and still milliseconds
_ROLL_AT_ONCE = 30

SCHEMA = "CREATE TABLE noted (key TEXT PRIMARY KEY, second INTEGER NOT NULL) WITHOUT ROWID;"


class Ladder:
    """Tables `<kind>_<step>`, one a tier. A row's key is its time in seconds, shifted by `SHIFT` bits.

    A tier is rolled up once the time of its step has passed. Rows written later than that (the clock went back)
    have it rolled up again. All methods need an open transaction or make none; sqlite3.Error passes through.
    """

    KIND: str
    SHIFT: int

    def __init__(self, connection: sqlite3.Connection, tiers: Sequence[Tier]) -> None:
        self._db = connection
        self._tiers = tiers
        self.tables = [f"{self.KIND}_{tier.step_s}" for tier in tiers]
        self._rolled = [0, *(self._noted(table) for table in self.tables[1:])]
        newest = connection.execute(f"SELECT MAX(key) FROM {self.tables[0]}").fetchone()[0]  # noqa: S608
        self.newest_s = newest >> self.SHIFT if newest is not None else None
        self._steady_since = self._noted(self._steady)

    def arrived(self, second: int) -> None:
        """Take note that rows of `second` have been written to the finest tier."""
        if self.newest_s is None or abs(second - self.newest_s) > LEAP_S:
            self._steady_since = second
            self._note(self._steady, second)
        self.newest_s = second
        for level in range(1, len(self._tiers)):
            if second < self._rolled[level]:
                self._roll_from(level, second)

    def due(self, until_s: int) -> bool:
        """Whether `roll` has something to do."""
        ends = (until_s, *self._rolled[1:-1])
        steps = (tier.step_s for tier in self._tiers[1:])
        return any(end // step * step > done for end, step, done in zip(ends, steps, self._rolled[1:], strict=True))

    def roll(self, until_s: int) -> None:
        """Roll up what is complete before `until_s`, a bounded number of rows at once; the rest when next called."""
        for level in range(1, len(self._tiers)):
            step, source = self._tiers[level].step_s, self.tables[level - 1]
            end = until_s // step * step
            if level > 1:
                end = min(end, self._rolled[level - 1] // step * step)
            if end <= self._rolled[level]:
                continue
            for _ in range(_ROLL_AT_ONCE):
                first = self._db.execute(
                    f"SELECT MIN(key) FROM {source} WHERE key >= ? AND key < ?",  # noqa: S608
                    (self._rolled[level] << self.SHIFT, end << self.SHIFT),
                ).fetchone()[0]
                if first is None:
                    break
                start = (first >> self.SHIFT) // step * step
                self._roll_one(level, start, start + step)
                self._roll_from(level, start + step)
            else:
                return  # the coarser tiers have to wait for this one
            self._roll_from(level, max(end, self._rolled[level]))

    def prune(self) -> None:
        """Delete a slice of what is older than its tier keeps. Not soon after the clock leapt: it may leap back, and
        what it made look old would be gone."""
        now = self.newest_s
        if now is None or now - self._steady_since < STEADY_S:
            return
        for table, tier in zip(self.tables, self._tiers, strict=True):
            (oldest,) = self._db.execute(f"SELECT MIN(key) FROM {table}").fetchone()  # noqa: S608
            if oldest is not None:
                until = min(now - tier.keep_s, (oldest >> self.SHIFT) + max(_SLICE_S, 2 * tier.step_s))
                self._db.execute(f"DELETE FROM {table} WHERE key < ?", (until << self.SHIFT,))  # noqa: S608
        self._forget(now, now - max(tier.keep_s for tier in self._tiers))

    def pieces(self, since_s: float, until_s: float, top: int | None = None) -> list[Piece]:
        """Which rows to read, as `rollup.cover`."""
        return cover(since_s, until_s, self._spans(), len(self._tiers) - 1 if top is None else top)

    def _spans(self) -> list[Span]:
        return spans(self._tiers, self.newest_s or 0, self._rolled)

    def _roll_one(self, level: int, start: int, end: int) -> None:
        """Write the one row (or the rows) of tier `level` for `start` to `end` from those of the tier below."""
        raise NotImplementedError

    def _forget(self, now: int, oldest: int) -> None:
        """Delete names of which no row is kept: those not in use since `oldest`."""
        raise NotImplementedError

    def _roll_from(self, level: int, second: int) -> None:
        step = self._tiers[level].step_s
        self._rolled[level] = second // step * step
        self._note(self.tables[level], self._rolled[level])

    @property
    def _steady(self) -> str:
        return f"{self.KIND} steady since"

    def _note(self, key: str, second: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO noted VALUES (?, ?)", (key, second))

    def _noted(self, key: str) -> int:
        row = self._db.execute("SELECT second FROM noted WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0
