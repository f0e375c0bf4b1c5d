"""SQL with parameters as one text for MySQL: where the markers are, and how each value is written. Pure.

The server is sent no parameters, only text; what is written here is all that stands between a value and the
statement. It holds for sessions as `session_pins` makes them: utf8mb4, and never NO_BACKSLASH_ESCAPES or ANSI_QUOTES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import count
from math import isfinite
from typing import Any
from uuid import UUID

from tenfold.errors import StatementError
from tenfold.sharding.ports import Params

# MySQL's lexical rules: what cannot hold a marker comes first. "--" is a comment only before white space or the end.
_QUOTED = r"""'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'|"[^"\\]*(?:(?:\\.|"")[^"\\]*)*"|`[^`]*`"""
# The server executes /*! … */ or skips it, as its version is: a plain one holds no marker either way.
_COMMENT = r"""#[^\n]*|--(?=[\0-\x20\x7f]|\Z)[^\n]*|/\*M?![^'"`?:#*]*\*/|/\*(?!M?!).*?\*/"""
_LEXEME = re.compile(
    rf"(?P<quoted>{_QUOTED})|(?P<comment>{_COMMENT})|(?P<mark>\?)|:=|:(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"""|(?P<open>['"`]|/\*)""",
    re.DOTALL,
)
# A marker may touch these without growing together with its neighbour once it is a value.
_APART = frozenset(" \t\r\n(),=<>+*;")
LONGEST_KEPT = 16_384
"""Longer texts are taken apart each time: a cache of them could grow large."""


@dataclass(frozen=True, slots=True)
class Segments:
    """A statement around its markers: `first`, then for each marker the text that follows it.

    names  of the markers in their order; None where they are `?`
    """

    first: str
    rest: tuple[str, ...]
    names: tuple[str, ...] | None

    def values(self, params: Params) -> Sequence[Any]:
        """Those of the markers, in their order. Raises StatementError where they do not fit."""
        if isinstance(params, Mapping):
            return named(self.names or (), params)
        if self.names is not None:
            raise _refused("some parameters have names, and some have places", "pass all in one way")
        if len(params) != len(self.rest):
            raise _refused(
                f"the statement has {len(self.rest)} markers, but {len(params)} parameters came", "give one for each ?"
            )
        return params

    def filled(self, values: Sequence[Any]) -> str:
        """The text with the values in place of the markers."""
        pieces = [self.first]
        for value, text in zip(values, self.rest, strict=True):
            pieces.append(literal(value))
            pieces.append(text)
        return "".join(pieces)


def rendered(sql: str, params: Params) -> str:
    """The statement with each marker replaced by its value: `?` from a sequence, `:name` from a mapping.

    Without parameters the text is left as it is.

    Raises  StatementError for too few or too many values, a name without one, a value that cannot be written,
            and a text whose markers cannot be told for certain. Never shows a value.
    """
    if not params:
        return sql
    parts = segments(sql, isinstance(params, Mapping))
    return parts.filled(parts.values(params))


def named(names: Sequence[str], params: Mapping[str, Any]) -> list[Any]:
    """The values of a mapping in the order of the markers. Raises StatementError where one is missing."""
    try:
        return [params[name] for name in names]
    except KeyError as error:
        raise _refused(f"no parameter is named {error.args[0]}", "give a value for each :name") from None


def segments(sql: str, by_name: bool) -> Segments:
    """Take a statement apart at its markers; remembered for texts of usual length.

    by_name  whether `:name` is a marker, else `?`
    Raises   StatementError for a quote or comment that does not end, and for /*! … */ that holds more than words.
    """
    return _remembered(sql, by_name) if len(sql) <= LONGEST_KEPT else _taken_apart(sql, by_name)


def _taken_apart(sql: str, by_name: bool) -> Segments:
    pieces: list[str] = []
    names: list[str] = []
    start = 0
    for found in _LEXEME.finditer(sql):
        if found.lastgroup == "open":
            what = "an executable comment" if sql.startswith(("/*!", "/*M!"), found.start()) else "something unended"
            raise _refused(
                f"the statement has {what} in quotes or comments, so its parameters cannot be filled in safely",
                "end each quote and comment, and write what /*! … */ holds outside of it",
            )
        if found.lastgroup != ("name" if by_name else "mark"):
            continue
        pieces.append(sql[start : found.start()])
        names.append(found["name"])
        start = found.end()
    pieces.append(sql[start:])
    last = len(pieces) - 1
    spaced = [
        (" " if n > 0 and piece[:1] and piece[0] not in _APART else "")
        + piece
        + (" " if n < last and piece[-1:] and piece[-1] not in _APART else "")
        for n, piece in zip(count(), pieces)
    ]
    return Segments(spaced[0], tuple(spaced[1:]), tuple(names) if by_name else None)


_remembered = lru_cache(maxsize=1024)(_taken_apart)

_VALUES = re.compile(r"\s*(?:INSERT|REPLACE)\b.*?\bVALUES?\s*(?=\()", re.IGNORECASE | re.DOTALL)
_AFTER_VALUES = re.compile(r"\s*(?:ON\s+DUPLICATE\s+KEY\s+UPDATE\b[^;]*)?;?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """An INSERT of one row that can take many: `head` VALUES (`row`), (`row`), … `tail`."""

    head: str
    row: Segments
    tail: str

    def written(self, params: Params) -> str:
        """The row of these parameters. Raises StatementError as `rendered`."""
        return self.row.filled(self.row.values(params))


@lru_cache(maxsize=256)
def row_template(sql: str, by_name: bool) -> RowTemplate | None:
    """How an INSERT or REPLACE … VALUES (…) takes many rows; None where it is another statement, or has markers
    elsewhere, several rows already, or gives rows back."""
    bare = _LEXEME.sub(_blank, sql)
    found = _VALUES.match(bare)
    if not found:
        return None
    start = found.end()
    end = _closing(bare, start)
    if end is None or not _AFTER_VALUES.fullmatch(bare, end) or re.search(r"\bRETURNING\b", bare[end:], re.IGNORECASE):
        return None
    parts = segments(sql, by_name)
    if len(segments(sql[start:end], by_name).rest) != len(parts.rest) or not parts.rest:
        return None
    return RowTemplate(sql[:start], segments(sql[start:end], by_name), sql[end:].rstrip().rstrip(";"))


def _blank(found: re.Match[str]) -> str:
    return (" " if found.lastgroup == "comment" else "x") * len(found[0]) if found.lastgroup != "mark" else "?"


def _closing(bare: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`."""
    depth = 0
    for found in re.compile(r"[()]").finditer(bare, start):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.end()
    return None


def literal(value: Any) -> str:
    """A value as MySQL reads it.

    Text is escaped, bytes are hexadecimal, floats keep being floats (1e0), times with a zone become UTC,
    as the session's time zone is.
    Raises  StatementError for what has no such form: nan, inf, lists, and types that are not known.
    """
    write = _WRITE.get(type(value))
    return write(value) if write is not None else _of_subclass(value)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return f"_binary X'{value.hex()}'"


def _int(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:
        raise _refused("a parameter is a number of thousands of digits", "no column holds it") from None


def _float(value: float) -> str:
    if not isfinite(value):
        raise _refused(f"a parameter is {value}, which MySQL has no number for", "store NULL, or a flag beside it")
    text = float.__repr__(value)
    return text if "e" in text else text + "e0"


def _decimal(value: Decimal) -> str:
    exponent = value.as_tuple().exponent  # a letter for what is not finite
    if not isinstance(exponent, int) or value.adjusted() > 100 or exponent < -100:
        raise _refused("a parameter is a Decimal that no column of MySQL holds", "a DECIMAL has at most 65 digits")
    return format(value, "f")


def _datetime(value: datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return f"'{value.isoformat(' ')}'"


def _time(value: time) -> str:
    if value.tzinfo is not None:
        raise _refused("a parameter is a time of day with a zone", "give a datetime, or the time without its zone")
    return f"'{value.isoformat()}'"


def _timedelta(value: timedelta) -> str:
    sign, size = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(size.days * 86_400 + size.seconds, 60)
    fraction = f".{size.microseconds:06d}" if size.microseconds else ""
    return f"'{sign}{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{fraction}'"


_WRITE: dict[type, Callable[[Any], str]] = {
    int: _int,
    str: _text,
    type(None): lambda _: "NULL",
    float: _float,
    bool: lambda value: "1" if value else "0",
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    Decimal: _decimal,
    datetime: _datetime,
    date: lambda value: f"'{value.isoformat()}'",
    time: _time,
    timedelta: _timedelta,
    UUID: lambda value: f"'{value}'",
}


def _of_subclass(value: Any) -> str:
    """A value whose type is not itself in the table: members of an Enum are their values, subclasses their base."""
    if isinstance(value, Enum):
        return literal(value.value)
    if isinstance(value, str):
        return _text(str.__str__(value))  # a subclass may have a replace() of its own
    for kind in (int, float, datetime, date, bytes, bytearray, Decimal, time, timedelta, UUID):
        if isinstance(value, kind):
            return _WRITE[kind](value)
    if isinstance(value, list | tuple | set | frozenset):
        raise _refused("a parameter is a list", "write one ? for each of its items: IN (?, ?, ?)")
    raise _refused(
        f"a parameter is of type {type(value).__name__}, which MySQL has no value for",
        "give a number, text, bytes, date, time, Decimal, UUID or None",
    )


def _refused(message: str, hint: str) -> StatementError:
    return StatementError(message, hint=hint)


def in_bulk(template: RowTemplate, rows: Sequence[Params], longest: int) -> list[bytes]:
    """Statements of at most `longest` bytes, longer ones only for a row that is longer itself."""
    head, tail = encoded(template.head), encoded(template.tail)
    texts: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for row in rows:
        data = encoded(template.written(row))
        if batch and size + len(data) + len(head) + len(tail) > longest:
            texts.append(head + b",".join(batch) + tail)
            batch, size = [], 0
        batch.append(data)
        size += len(data) + 1
    texts.append(head + b",".join(batch) + tail)
    return texts


def encoded(text: str) -> bytes:
    """As the server is sent it. Raises StatementError for what is no Unicode."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise StatementError("a text holds half of a surrogate pair, which is no character", hint="mend it") from None
