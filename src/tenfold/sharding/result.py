"""What a statement gives to the application: rows with column names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tenfold.sharding.ports import Reply


class Row(Sequence[Any]):
    """One row: by position, by column name, as a tuple, or through `dict(row)`.

    Where two columns have one name, the name means the first.
    """

    __slots__ = ("_positions", "_values")

    def __init__(self, values: tuple[Any, ...], positions: dict[str, int]) -> None:
        self._values = values
        self._positions = positions

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, str):
            try:
                return self._values[self._positions[at]]
            except KeyError:
                raise KeyError(f"no column {at!r} (has: {', '.join(self._positions)})") from None
        return self._values[at]

    def keys(self) -> list[str]:
        """Names of the columns."""
        return list(self._positions)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values == other._values
        return self._values == other

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={self[name]!r}' for name in self._positions)})"


def positions_of(columns: Sequence[str]) -> dict[str, int]:
    """Where each column is, by its name; the first of several that share one."""
    positions: dict[str, int] = {}
    for position, name in enumerate(columns):
        positions.setdefault(name, position)
    return positions


class Result(Sequence[Row]):
    """The answer to a statement: a sequence of its rows.

    columns    names in order; empty for a statement that gives no rows
    rows       list of Row
    rowcount   rows changed; of a SELECT the number of rows
    lastrowid  id of the last row inserted, else None
    types      the driver's type code of each column, as PEP 249 has it; empty where it says nothing
    """

    __slots__ = ("columns", "lastrowid", "rowcount", "rows", "types")

    def __init__(self, reply: Reply) -> None:
        self.columns = reply.columns
        self.types = reply.types
        self.rowcount = reply.rowcount
        self.lastrowid = reply.lastrowid
        positions = positions_of(reply.columns) if reply.rows else {}
        self.rows = [Row(values, positions) for values in reply.rows]

    def first(self) -> Row | None:
        """The first row, or None."""
        return self.rows[0] if self.rows else None

    def scalar(self) -> Any:
        """The first column of the first row, or None."""
        return self.rows[0][0] if self.rows else None

    def __getitem__(self, at: Any) -> Any:
        return self.rows[at]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Result({len(self.rows)} rows, rowcount={self.rowcount}, lastrowid={self.lastrowid})"
