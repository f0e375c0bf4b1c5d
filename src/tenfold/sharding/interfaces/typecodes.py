"""The type objects and constructors of PEP 249. Pure."""

from __future__ import annotations

from datetime import date, datetime, time

Date = date
Time = time
Timestamp = datetime


def Binary(data: bytes | bytearray | memoryview) -> bytes:  # PEP 249 names it
    """Bytes, as a parameter. Raises TypeError for text: its encoding would be a guess."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"Binary takes bytes, not {type(data).__name__}")
    return bytes(data)


def DateFromTicks(ticks: float) -> date:
    """The local date at `ticks` seconds of Unix time."""
    return date.fromtimestamp(ticks)  # noqa: DTZ012  # PEP 249 means the local one


def TimeFromTicks(ticks: float) -> time:
    """The local time of day at `ticks` seconds of Unix time."""
    return TimestampFromTicks(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime:
    """The local date and time at `ticks` seconds of Unix time, to the second."""
    return datetime.fromtimestamp(int(ticks))  # noqa: DTZ006  # PEP 249 means the local one


class TypeObject:
    """Equal to each type code of its kind in `cursor.description`."""

    def __init__(self, name: str, *codes: int) -> None:
        self._name, self._codes = name, frozenset(codes)

    def __eq__(self, other: object) -> bool:
        return other is self or (isinstance(other, int) and other in self._codes)

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


# Codes of MySQL's protocol. It has one code for TEXT and BLOB of each size (249 to 252), so both names answer to it.
STRING = TypeObject("STRING", 15, 245, 247, 248, 249, 250, 251, 252, 253, 254)
BINARY = TypeObject("BINARY", 249, 250, 251, 252, 255)
NUMBER = TypeObject("NUMBER", 0, 1, 2, 3, 4, 5, 8, 9, 13, 16, 246)
DATETIME = TypeObject("DATETIME", 7, 10, 11, 12, 14)
ROWID = TypeObject("ROWID")
