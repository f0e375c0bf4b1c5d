"""What a read of the store gives, and in which column of a tick each name is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tenfold.monitor.sketch import Floats, Ints

MAX_SERIES = 5_000
"""Names of one tick; a row of the store is dense, and beyond this Prometheus is the better place."""
_SPARE = 64
_SPARSE_ROWS = 300


@dataclass(frozen=True, slots=True)
class Series:
    """Several series over one axis of time.

    t       starts of the steps, seconds since 1970, evenly `step_s` apart
    values  by name an array as long as `t`; NaN where nothing was written
    """

    t: Ints
    values: dict[str, Floats]
    step_s: int


@dataclass(slots=True)
class Epoch:
    """A list of names that only grows: the columns of all rows written while it lasts. An older row is shorter."""

    number: int
    places: dict[str, int] = field(default_factory=dict)
    _sparse: int = 0

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have no column yet."""
        return [name for name in names if name not in self.places]

    def outgrown(self, names: Sequence[str]) -> bool:
        """Whether it is time for a new epoch, because most of a row would be empty: asked when a name is new, so that
        a service that names something new every second costs a column for each name, not a list of all names; and
        when it has been so for many rows in a row."""
        width = len(self.places) + len(self.missing(names))
        wide = width > 2 * len(names) + _SPARE
        self._sparse = self._sparse + 1 if wide else 0
        return wide and (width > len(self.places) or self._sparse > _SPARSE_ROWS)

    def row(self, names: Sequence[str], values: Floats) -> Floats:
        """A row with the value of each name in its column. `values` has the names in its last axis; so has the row."""
        row = np.full((*values.shape[:-1], len(self.places)), np.nan)
        row[..., [self.places[name] for name in names]] = values
        return row

    def pick(self, names: Sequence[str], rows: Floats) -> Floats:
        """The columns of `names` out of `rows`, which have their columns in the last axis; NaN for what they lack."""
        width = rows.shape[-1]
        places = [self.places.get(name, width) for name in names]
        if places == list(range(width)):
            return rows
        picked = np.full((*rows.shape[:-1], len(names)), np.nan)
        wanted = np.array(places)
        there = np.flatnonzero(wanted < width)
        picked[..., there] = rows[..., wanted[there]]
        return picked


def storable(name: str) -> str:
    """`name` as text that any file can hold: half a character (a lone surrogate) is written as its escape."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
