"""How the shell prints rows: as a table, as JSON, or with tabs. Edge."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from rich.cells import cell_len

from tenfold.runtime.wording import visible

NULL = "NULL"
LARGEST_NUMBER = 2**53
"""Beyond it a JSON reader that holds numbers as floats gives another one."""
Write = Callable[[str], None]


class Printer(Protocol):
    """Takes the answer of one statement: its columns, then its rows, some at a time."""

    def head(self, columns: Sequence[str]) -> None:
        """The names of the columns; called once, before any row."""

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """The next rows."""

    def done(self, changed: int, last_id: int | None) -> None:
        """The end of a statement without rows."""


def plain(value: Any) -> str:
    """A value as a person reads it; bytes as x'6162', control characters spelt out."""
    if value is None:
        return NULL
    if isinstance(value, bytes | bytearray | memoryview):
        return f"x'{bytes(value).hex()}'"
    return visible(str(value)).replace("\n", "\\n").replace("\t", "\\t")


class Table:
    """Cells below each other; a row that is wider than `width` columns is shown as a list of its columns instead.

    wide  True: always such a list; None: where it does not fit; False: never
    """

    def __init__(self, write: Write, width: int, wide: bool | None, dim: Callable[[str], str]) -> None:
        self._write, self._width, self._wide, self._dim = write, width, wide, dim
        self._columns: list[str] = []
        self._widths: list[int] = []
        self._right: list[bool] = []
        self._shown = 0

    def head(self, columns: Sequence[str]) -> None:
        """Nothing yet: the widths come with the rows."""
        self._columns = [plain(name) for name in columns]
        self._widths, self._shown = [cell_len(name) for name in self._columns], 0
        self._as_list = self._wide

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """The next rows. A later batch may widen the columns; what is printed already stays as it is."""
        cells = [[plain(value) for value in row] for row in rows]
        for row in cells:
            self._widths = [max(width, cell_len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        first = not self._shown
        if first:
            self._right = [all(_is_number(row[n]) for row in rows) for n in range(len(self._columns))]
        if first and self._as_list is None:
            self._as_list = sum(self._widths) + 3 * len(self._widths) - 1 > self._width and bool(rows)
        if self._as_list:
            for row in cells:
                self._list(row)
            return
        if first:
            self._write("|".join(f" {self._filled(name, n)} " for n, name in enumerate(self._columns)).rstrip())
            self._write("+".join("-" * (width + 2) for width in self._widths))
        for row, values in zip(cells, rows, strict=True):
            self._write("|".join(self._cell(n, row[n], value) for n, value in enumerate(values)).rstrip())
        self._shown += len(cells) or 1

    def done(self, changed: int, last_id: int | None) -> None:
        """The shell's own last line says it."""

    def _filled(self, text: str, column: int) -> str:
        space = " " * (self._widths[column] - cell_len(text))
        return space + text if self._right[column] else text + space

    def _cell(self, column: int, text: str, value: Any) -> str:
        filled = self._filled(text, column)
        return f" {self._dim(filled) if value is None else filled} "

    def _list(self, row: Sequence[str]) -> None:
        self._shown += 1
        widest = max(map(cell_len, self._columns))
        self._write(f"-[ row {self._shown} ]".ljust(widest + 12, "-"))
        for name, text in zip(self._columns, row, strict=True):
            self._write(f"{name}{' ' * (widest - cell_len(name))} | {text}")


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | Decimal)


class JsonLines:
    """One object a row. Integers beyond 2^53 and decimals are texts, bytes are "0x6162", dates as ISO 8601 has them."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._names: list[str] = []

    def head(self, columns: Sequence[str]) -> None:
        """Two columns of one name: the second is name_2."""
        self._names = []
        for name in columns:
            numbered, count = name, 1
            while numbered in self._names:
                count += 1
                numbered = f"{name}_{count}"
            self._names.append(numbered)

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """A line each."""
        for row in rows:
            told = {name: as_json(value) for name, value in zip(self._names, row, strict=True)}
            self._write(json.dumps(told, ensure_ascii=False))

    def done(self, changed: int, last_id: int | None) -> None:
        """Of a statement without rows."""
        self._write(json.dumps({"rowcount": changed, "lastrowid": as_json(last_id)}))


def as_json(value: Any) -> Any:
    """A value that every reader of JSON takes for the same."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_NUMBER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"0x{bytes(value).hex()}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


class Tabs:
    """Names of the columns, then a row a line, with tabs between; NULL is \\N, and tab, newline, backslash in a text
    are \\t, \\n, \\\\, as MySQL's and PostgreSQL's own loaders take them."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def head(self, columns: Sequence[str]) -> None:
        """The first line."""
        self._write("\t".join(name.translate(_ESCAPES) for name in columns))

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """A line each."""
        for row in rows:
            self._write("\t".join(_tabbed(value) for value in row))

    def done(self, changed: int, last_id: int | None) -> None:
        """Nothing: there are no rows."""


def _tabbed(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"0x{bytes(value).hex()}"
    return str(value).translate(_ESCAPES)
