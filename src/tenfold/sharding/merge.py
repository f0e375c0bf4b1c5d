"""Merging the rows of several shards in the order of the engine, while they arrive. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Context, Decimal
from functools import reduce
from typing import Any

from tenfold.sharding.plan import SortKey

Values = tuple[Any, ...]
_FOLDED = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class _Backwards:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Backwards) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


class _Padded:
    """Bytes of WEIGHT_STRING that compare as if the shorter value ended in spaces."""

    __slots__ = ("pad", "weight")

    def __init__(self, weight: bytes, pad: bytes) -> None:
        self.weight, self.pad = weight, pad

    def __lt__(self, other: _Padded) -> bool:
        mine, theirs = self._even(other)
        return mine < theirs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Padded):
            return False
        mine, theirs = self._even(other)
        return mine == theirs

    def __hash__(self) -> int:
        return 0  # equal ones may be of different lengths; nobody hashes them in numbers

    def _even(self, other: _Padded) -> tuple[bytes, bytes]:
        mine, theirs = self.weight, other.weight
        missing = len(theirs) - len(mine)
        if missing > 0:
            mine += self.pad * (missing // len(self.pad) + 1)
            mine = mine[: len(theirs)]
        elif missing < 0:
            theirs += self.pad * (-missing // len(self.pad) + 1)
            theirs = theirs[: len(mine)]
        return mine, theirs


def _rank(value: Any) -> tuple[int, Any]:
    """NULL, numbers, text, bytes: the order of SQLite's storage classes. MySQL's columns hold one of them and NULL."""
    if value is None:
        return 0, 0
    if isinstance(value, str):
        return 2, value
    return (3, bytes(value)) if isinstance(value, bytes | bytearray | memoryview) else (1, value)


def _nocase(value: Any) -> tuple[int, Any]:
    return (2, value.translate(_FOLDED)) if isinstance(value, str) else _rank(value)


def _rtrim(value: Any) -> tuple[int, Any]:
    return (2, value.rstrip(" ")) if isinstance(value, str) else _rank(value)


def _comparable(key: SortKey) -> Callable[[Any], Any]:
    found: Callable[[Any], Any]
    if key.order == "weight" and key.pad:
        pad = key.pad

        def found(value: Any) -> Any:
            return (0, 0) if value is None else (1, _Padded(value, pad))
    else:
        found = {"plain": _rank, "nocase": _nocase, "rtrim": _rtrim, "weight": _rank}[key.order]
    return (lambda value: _Backwards(found(value))) if key.descending else found


def sort_value(keys: Sequence[SortKey]) -> Callable[[Values], Any]:
    """What a row is compared by."""
    makers = [(key.position, _comparable(key)) for key in keys]
    if len(makers) == 1:
        position, make = makers[0]
        return lambda row: make(row[position])
    return lambda row: tuple([make(row[position]) for position, make in makers])


class _Source:
    """Rows of one shard that wait, in order, with what they are compared by."""

    __slots__ = ("ended", "rows", "start", "values")

    def __init__(self) -> None:
        self.rows: list[Values] = []
        self.values: list[Any] = []
        self.start = 0
        self.ended = False

    @property
    def dry(self) -> bool:
        return self.start == len(self.rows)

    def taken(self, end: int) -> tuple[list[Values], list[Any]]:
        """The rows up to `end`, which leave."""
        rows, values = self.rows[self.start : end], self.values[self.start : end]
        self.start = end
        if self.dry:
            self.rows, self.values, self.start = [], [], 0
        return rows, values


class Merge:
    """A k-way merge of `count` sources that are each in order; rows that compare equal come in the sources' order.

    skip, limit  of all rows together; limit None: no end
    hidden       columns at the end of a row that are cut off

    Rows are certain up to the least of the last values that the sources have shown. These are sorted as one list:
    Python's sort takes the sources for the runs that they are, and merges them in C.
    """

    def __init__(
        self, count: int, keys: Sequence[SortKey], hidden: int = 0, skip: int = 0, limit: int | None = None
    ) -> None:
        # What is descending throughout is ascending, backwards.
        self._reverse = bool(keys) and all(key.descending for key in keys)
        ways = [replace(key, descending=False) for key in keys] if self._reverse else keys
        self._value = sort_value(ways) if keys else None
        self._sources = [_Source() for _ in range(count)]
        self._hidden, self._skip, self._left = hidden, skip, limit

    @property
    def done(self) -> bool:
        """Whether no row will come any more."""
        return self._left == 0 or all(source.ended and source.dry for source in self._sources)

    def wants(self) -> list[int]:
        """The sources without which it cannot go on."""
        dry = [at for at, source in enumerate(self._sources) if source.dry and not source.ended]
        return dry if self._value else dry[:1]

    def feed(self, source: int, rows: Sequence[Values]) -> None:
        """Rows of a source; none: it has ended."""
        at = self._sources[source]
        if not rows:
            at.ended = True
            return
        at.rows.extend(rows)
        if self._value is not None:
            at.values.extend(map(self._value, rows))

    def take(self) -> list[Values]:
        """The rows that are certain by now."""
        found = self._in_order() if self._value else self._one_after_the_other()
        if self._skip:
            skipped = min(self._skip, len(found))
            self._skip -= skipped
            del found[:skipped]
        if self._left is not None:
            del found[self._left :]
            self._left -= len(found)
        hidden = self._hidden
        return [row[:-hidden] for row in found] if hidden else found

    def _one_after_the_other(self) -> list[Values]:
        found: list[Values] = []
        for source in self._sources:
            found += source.taken(len(source.rows))[0]
            if not source.ended:
                break
        return found

    def _in_order(self) -> list[Values]:
        if self.wants():
            return []
        lasts = [source.values[-1] for source in self._sources if not source.ended]
        rows: list[Values] = []
        values: list[Any] = []
        for source in self._sources:
            end = len(source.rows) if not lasts else self._certain(source, lasts)
            some_rows, some_values = source.taken(end)
            rows += some_rows
            values += some_values
        order = sorted(range(len(rows)), key=values.__getitem__, reverse=self._reverse)
        return [rows[at] for at in order]

    def _certain(self, source: _Source, lasts: Sequence[Any]) -> int:
        """Up to where the rows of a source come before whatever is still to come."""
        if not self._reverse:
            return bisect_right(source.values, min(lasts), source.start)
        bound = max(lasts)
        low, high = source.start, len(source.values)
        while low < high:
            middle = (low + high) // 2
            if source.values[middle] < bound:
                high = middle
            else:
                low = middle + 1
        return low


def folded(rows: Sequence[Values], folds: Sequence[str]) -> Values:
    """One row of aggregates from those of the shards; NULL adds nothing. folds: "sum", "min" or "max", by column."""
    found: list[Any] = []
    for at, fold in enumerate(folds):
        values = [row[at] for row in rows if row[at] is not None]
        if not values:
            found.append(None)
        elif fold == "sum":
            # The server's sums have up to 65 digits.
            found.append(reduce(_DIGITS.add, values) if isinstance(values[0], Decimal) else sum(values))
        else:
            found.append(min(values) if fold == "min" else max(values))
    return tuple(found)


_DIGITS = Context(prec=100)
