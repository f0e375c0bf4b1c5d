"""Sketches on disk: one row for each name and ten seconds, added up to coarser ones. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from tenfold.monitor.ladder import Ladder
from tenfold.monitor.rollup import HOUR_S, SKETCHES, Tier
from tenfold.monitor.series import MAX_SERIES, storable
from tenfold.monitor.sketch import Sketch, merged
from tenfold.monitor.storefile import BrokenStore

_TABLES = "".join(
    f"CREATE TABLE sketch_{tier.step_s} (key INTEGER PRIMARY KEY, data BLOB NOT NULL);" for tier in SKETCHES
)
SCHEMA = f"""
{_TABLES}
CREATE TABLE sketched (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL);
"""


class SketchLadder(Ladder):
    """A key is time << 24 | id of the name: what comes later is written at the end, one name's rows are found by
    their keys, and old rows are one range."""

    KIND, SHIFT = "sketch", 24

    def __init__(self, connection: sqlite3.Connection, tiers: Sequence[Tier] = SKETCHES) -> None:
        super().__init__(connection, tiers)
        self._ids: dict[str, int] = dict(connection.execute("SELECT name, id FROM sketched"))
        self._ids_given = max(self._ids.values(), default=-1) + 1

    def append(self, second: int, sketches: Mapping[str, Sketch]) -> int:
        """Add sketches to those of the step that `second` is in; empty ones are not written.

        Returns  how many were left out, because there are more than MAX_SERIES
        """
        step = self._tiers[0].step_s
        start = second // step * step
        full = [(storable(name), sketch) for name, sketch in sketches.items() if sketch.count]
        for name, sketch in full[:MAX_SERIES]:
            self._add(0, start, self._id(name, start), sketch)
        self.arrived(start)
        return max(len(full) - MAX_SERIES, 0)

    def read(self, name: str, since_s: float, until_s: float) -> Sketch:
        """As Store.sketch."""
        number = self._ids.get(storable(name))
        total = Sketch()
        if number is None:
            return total
        # Rows are looked up one by one: none is sought where there can be none.
        for level, start, end in self.pieces(max(since_s, self._oldest()), min(until_s, (self.newest_s or 0) + HOUR_S)):
            statement = f"SELECT data FROM {self.tables[level]} WHERE key = ?"  # noqa: S608
            for second in range(start, end, self._tiers[level].step_s):
                row = self._db.execute(statement, (self._key(second, number),)).fetchone()
                if row:
                    total.merge(_decoded(row[0]))
        return total

    def names(self) -> list[str]:
        """All names of which sketches may be kept, sorted."""
        return sorted(self._ids)

    def _roll_one(self, level: int, start: int, end: int) -> None:
        rows = self._db.execute(
            f"SELECT key, data FROM {self.tables[level - 1]} WHERE key >= ? AND key < ?",  # noqa: S608
            (self._key(start, 0), self._key(end, 0)),
        )
        parts: dict[int, list[Sketch]] = {}
        for key, data in rows:
            parts.setdefault(key & ((1 << self.SHIFT) - 1), []).append(_decoded(data))
        for number, sketches in parts.items():
            self._put(level, start, number, merged(sketches))
        if level == len(self._tiers) - 1:
            seen = [(start, number) for number in parts]
            self._db.executemany("UPDATE sketched SET seen = MAX(seen, ?) WHERE id = ?", seen)

    def _forget(self, now: int, oldest: int) -> None:
        for (name,) in self._db.execute("DELETE FROM sketched WHERE seen < ? RETURNING name", (oldest,)).fetchall():
            del self._ids[name]

    def _add(self, level: int, second: int, number: int, sketch: Sketch) -> None:
        row = self._db.execute(
            f"SELECT data FROM {self.tables[level]} WHERE key = ?",  # noqa: S608
            (self._key(second, number),),
        ).fetchone()
        self._put(level, second, number, merged((_decoded(row[0]), sketch)) if row else sketch)

    def _put(self, level: int, second: int, number: int, sketch: Sketch) -> None:
        statement = f"INSERT OR REPLACE INTO {self.tables[level]} VALUES (?, ?)"  # noqa: S608
        self._db.execute(statement, (self._key(second, number), sketch.encode()))

    def _oldest(self) -> int:
        oldest = (self._db.execute(f"SELECT MIN(key) FROM {table}").fetchone()[0] for table in self.tables)  # noqa: S608
        return min((key >> self.SHIFT for key in oldest if key is not None), default=0)

    def _id(self, name: str, second: int) -> int:
        if name not in self._ids:
            self._db.execute("INSERT INTO sketched VALUES (?, ?, ?)", (self._ids_given, name, second))
            self._ids[name] = self._ids_given
            self._ids_given += 1
        return self._ids[name]

    def _key(self, second: int, number: int) -> int:
        return second << self.SHIFT | number


def _decoded(data: bytes) -> Sketch:
    try:
        return Sketch.decode(data)
    except ValueError as error:
        raise BrokenStore(str(error)) from error
