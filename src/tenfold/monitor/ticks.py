"""Ticks on disk: one row of float64 a second, its names in an epoch beside it. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from tenfold.monitor.ladder import Ladder
from tenfold.monitor.rollup import TICKS, Grid, Stat, Tier
from tenfold.monitor.series import MAX_SERIES, Epoch, Series, storable
from tenfold.monitor.sketch import Floats, Ints
from tenfold.monitor.storefile import BrokenStore

_TABLES = "".join(
    f"CREATE TABLE tick_{tier.step_s} (key INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, data BLOB NOT NULL);"
    for tier in TICKS
)
SCHEMA = f"""
{_TABLES}
CREATE TABLE epoch (number INTEGER PRIMARY KEY, used INTEGER NOT NULL);
CREATE TABLE epoch_name (epoch INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
                         PRIMARY KEY (epoch, place)) WITHOUT ROWID;
"""
_ROWS_AT_ONCE = 1_024  # of 200 series: 1.6 MB
_EPOCHS_AT_ONCE = 64


class TickLadder(Ladder):
    """Ticks of one second, rolled up to count, sum, least, greatest and last of a minute, five minutes, an hour."""

    KIND, SHIFT = "tick", 0

    def __init__(self, connection: sqlite3.Connection, tiers: Sequence[Tier] = TICKS) -> None:
        super().__init__(connection, tiers)
        self._epochs: dict[int, Epoch] = {}
        # Rolled-up rows have the names of their whole time, ticks only those of their second: an epoch for each.
        self._current: list[Epoch | None] = []
        self._current = [self._newest(table) for table in self.tables[:2]]

    def append(self, second: int, values: Mapping[str, float]) -> int:
        """Write one tick; a second tick in the same second takes the place of the first.

        Returns  how many of `values` were left out, because there are more than MAX_SERIES
        """
        # A dict, for two names may be one once they are storable.
        by_name = {storable(name): value for name, value in values.items()}
        names, figures = list(by_name), np.fromiter(by_name.values(), np.float64, len(by_name))
        figures[~np.isfinite(figures)] = np.nan
        self._write(0, second, names[:MAX_SERIES], figures[:MAX_SERIES])
        self.arrived(second)
        return max(len(names) - MAX_SERIES, 0)

    def read(self, names: Sequence[str], since_s: float, until_s: float, points: int, stat: Stat) -> Series:
        """As Store.read."""
        wanted = max(-int(-(until_s - since_s) // max(points, 1)), 1)
        top = max(level for level, tier in enumerate(self._tiers) if tier.step_s <= wanted)
        pieces = self.pieces(since_s, until_s, top)
        # Coarser than wanted only where nothing finer is kept; a whole number of rows to each step either way.
        row = max([self._tiers[piece.level].step_s for piece in pieces], default=1)
        step = -(-wanted // row) * row
        start = int(since_s // step) * step
        steps = max(-int(-(until_s - start) // step), 0)
        grid = Grid(start, step, steps, len(names), stat)
        for piece in pieces:
            self._gather(grid, [storable(name) for name in names], *piece)
        by_name = np.ascontiguousarray(grid.stat(stat).T)
        return Series(grid.t, dict(zip(names, by_name, strict=True)), step)

    def names(self) -> list[str]:
        """All names of which rows may be kept, sorted."""
        return [name for (name,) in self._db.execute("SELECT DISTINCT name FROM epoch_name ORDER BY name")]

    def _roll_one(self, level: int, start: int, end: int) -> None:
        numbers = self._db.execute(
            f"SELECT DISTINCT epoch FROM {self.tables[level - 1]} WHERE key >= ? AND key < ?",  # noqa: S608
            (start, end),
        ).fetchall()
        names = list(dict.fromkeys(name for (number,) in numbers for name in self._known(number).places))
        grid = Grid(start, end - start, 1, len(names))
        self._gather(grid, names, level - 1, start, end)
        written = np.flatnonzero(grid.count[0])
        self._write(level, start, [names[place] for place in written], grid.rows()[0][:, written])

    def _forget(self, now: int, oldest: int) -> None:
        numbers = [(now, epoch.number) for epoch in self._current if epoch]
        self._db.executemany("UPDATE epoch SET used = ? WHERE number = ?", numbers)
        self._db.execute("DELETE FROM epoch WHERE used < ?", (oldest,))
        self._db.execute("DELETE FROM epoch_name WHERE epoch NOT IN (SELECT number FROM epoch)")
        self._epochs.clear()

    def _write(self, level: int, second: int, names: Sequence[str], values: Floats) -> None:
        """`values` have the names in their last axis."""
        kind = min(level, 1)
        epoch = self._current[kind]
        if epoch is None or epoch.outgrown(names):
            epoch = self._current[kind] = self._begin(second)
        for name in epoch.missing(names):
            place = epoch.places.setdefault(name, len(epoch.places))
            self._db.execute("INSERT INTO epoch_name VALUES (?, ?, ?)", (epoch.number, place, name))
        data = epoch.row(names, values).astype("<f8", copy=False).tobytes()
        statement = f"INSERT OR REPLACE INTO {self.tables[level]} VALUES (?, ?, ?)"  # noqa: S608
        self._db.execute(statement, (second, epoch.number, data))

    def _gather(self, grid: Grid, names: Sequence[str], level: int, start: int, end: int) -> None:
        for t, epoch, rows in self._rows(level, start, end):
            if level:
                grid.add_rolled(t, epoch.pick(names, rows))
            else:
                grid.add_ticks(t, epoch.pick(names, rows[:, 0]))

    def _rows(self, level: int, start: int, end: int) -> Iterator[tuple[Ints, Epoch, Floats]]:
        """(times, epoch, rows of the shape (rows, fields, columns)), rows of one shape at a time."""
        fields = Grid.FIELDS if level else 1
        cursor = self._db.execute(
            f"SELECT key, epoch, data FROM {self.tables[level]} WHERE key >= ? AND key < ? ORDER BY key",  # noqa: S608
            (start, end),
        )
        while some := cursor.fetchmany(_ROWS_AT_ONCE):
            for (number, size), group in groupby(some, lambda row: (row[1], len(row[2]))):
                epoch, rows = self._known(number), list(group)
                if size % (8 * fields):
                    raise BrokenStore("a row is torn")
                data = np.frombuffer(b"".join([row[2] for row in rows]), "<f8")
                t = np.fromiter((row[0] for row in rows), np.int64, len(rows))
                yield t, epoch, data.reshape(len(rows), fields, -1)

    def _known(self, number: int) -> Epoch:
        for current in self._current:
            if current and current.number == number:
                return current  # it grows: a copy would soon lack names
        epoch = self._epochs.get(number)
        if epoch is None:
            while len(self._epochs) >= _EPOCHS_AT_ONCE:
                del self._epochs[next(iter(self._epochs))]
            epoch = self._epochs[number] = Epoch(number)
            sql = "SELECT place, name FROM epoch_name WHERE epoch = ? ORDER BY place"
            for place, name in self._db.execute(sql, (number,)):
                if place != len(epoch.places) or name in epoch.places:
                    raise BrokenStore("a list of names has a gap")
                epoch.places[name] = place
        return epoch

    def _newest(self, table: str) -> Epoch | None:
        row = self._db.execute(f"SELECT epoch FROM {table} ORDER BY key DESC LIMIT 1").fetchone()  # noqa: S608
        return self._known(row[0]) if row else None

    def _begin(self, second: int) -> Epoch:
        (number,) = self._db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM epoch").fetchone()
        self._db.execute("INSERT INTO epoch VALUES (?, ?)", (number, second))
        return Epoch(number)
