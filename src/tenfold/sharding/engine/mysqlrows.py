"""A small result of MySQL's protocol, read at once from the bytes that have arrived. Pure.

PyMySQL reads each packet with calls of its own and takes the descriptions of the columns apart every time, which
for one row by its key is more work than all the rest. Here the descriptions are known by their bytes, and whatever is
not a small, whole, plain result is left to PyMySQL, of which nothing has been taken.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HEADER = 4  # three bytes of length, one of sequence
EOF_SIZE = HEADER + 5
MORE_RESULTS = 8
NULL, TWO_BYTES, EOF, ERROR = 0xFB, 0xFC, 0xFE, 0xFF
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a result.

    converters  for each column the encoding of its bytes, None for bytes, and what makes its value of that
    """

    columns: tuple[str, ...]
    types: tuple[int, ...]
    converters: tuple[tuple[str | None, Callable[[Any], Any] | None], ...]


def descriptions(data: bytes) -> bytes | None:
    """The bytes that describe the columns of a result; None where it is no result, or they have not all arrived."""
    if len(data) < HEADER + 1 or data[:3] != b"\1\0\0" or not 0 < data[HEADER] < NULL:
        return None
    place = HEADER + 1
    for _ in range(data[HEADER]):
        if place + HEADER > len(data):
            return None
        place += HEADER + int.from_bytes(data[place : place + 3], "little")
    if data[place : place + 3] != b"\5\0\0" or data[place + HEADER : place + HEADER + 1] != b"\xfe":
        return None
    return data[HEADER:place]


def small_result(data: bytes, known: Mapping[bytes, Shape]) -> tuple[Shape, Rows] | None:
    """The result that is all of `data`; None where it is another answer, or not whole, or of a shape not known."""
    if data[-EOF_SIZE : -EOF_SIZE + 3] != b"\5\0\0" or data[-5] != EOF or data[-2] & MORE_RESULTS:
        return None
    described = descriptions(data)
    shape = known.get(described) if described is not None else None
    if described is None or shape is None:
        return None
    rows: Rows = []
    place, end = HEADER + len(described) + EOF_SIZE, len(data) - EOF_SIZE
    while place < end:
        size = int.from_bytes(data[place : place + 3], "little")
        place += HEADER
        stop = place + size
        if stop > end or size == 0 or data[place] in (EOF, ERROR):
            return None
        row: list[Any] = []
        for encoding, convert in shape.converters:
            long = data[place]
            place += 1
            if long == NULL:
                row.append(None)
                continue
            if long >= TWO_BYTES:
                if long > TWO_BYTES:
                    return None
                long = int.from_bytes(data[place : place + 2], "little")
                place += 2
            value: Any = data[place : place + long]
            place += long
            if encoding is not None:
                value = value.decode(encoding)
            row.append(value if convert is None else convert(value))
        if place != stop:
            return None
        rows.append(tuple(row))
    return (shape, rows) if place == end else None
