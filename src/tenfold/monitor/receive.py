"""What came over a recorder's connection, as arrays. Trusts nothing of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.monitor.wire import (
    HTTP,
    LABELS,
    MAX_FRAME,
    MAX_LABEL,
    MAX_NAMES,
    NAMES,
    SCALE,
    SQL,
    VALUES,
    Unframer,
    WireError,
)

MAX_BACKEND = 100
MAX_PID = 1 << 32
_KINDS = (HTTP, SQL)
_UNKNOWN = -1


class Name(NamedTuple):
    """What was observed.

    kind    "http" or "sql"
    labels  http: method, route, status; sql: kind, table, shard, "ok" or "error". Printable text of at
            most MAX_LABEL characters: what a terminal or a page would obey is replaced
    """

    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Observations of one kind: ids (int64, as `register` gave them) and seconds (float64), of equal length."""

    kind: str
    ids: NDArray[np.int64]
    seconds: NDArray[np.float64]


class Stream:
    """One connection of a recorder, behind its first byte.

    pid, backend  who speaks, once it has said so (0 and "" before)
    dropped       observations that it says it lost, all told
    """

    def __init__(self, register: Callable[[Name], int]) -> None:
        """`register` is asked once for the number of each name, not negative, that the collector knows it by."""
        self.pid, self.backend, self.dropped = 0, "", 0
        self._register = register
        self._frames = Unframer(MAX_FRAME)
        self._numbers = np.full(MAX_NAMES, _UNKNOWN, np.int64)
        self._kinds = np.zeros(MAX_NAMES, np.int8)

    def feed(self, data: bytes) -> Iterator[Batch]:
        """The observations that `data` completes, one batch a frame and kind.

        Raises WireError, after the good batches, for anything not as agreed: close the connection then;
        what it gave before stands.
        """
        for payload in self._frames.feed(data):
            kind, body = payload[:1], payload[1:]
            if kind == VALUES:
                yield from self._values(body)
            elif kind == NAMES:
                self._names(body)
            else:
                raise WireError("a frame of no known kind")

    def _values(self, body: bytes) -> Iterator[Batch]:
        if len(body) % 8:
            raise WireError("a torn observation")
        values = np.frombuffer(body, "<f8").astype(np.float64, copy=False)
        # Written so that NaN fails it too.
        if not bool(np.all((values >= 0.0) & (values < MAX_NAMES * SCALE))):
            raise WireError("an observation that is none")
        local = (values / SCALE).astype(np.int64)  # exact, SCALE being a power of two; `//` takes ten times as long
        seconds = values - local * SCALE
        ids = self._numbers[local]
        if bool(np.any(ids == _UNKNOWN)):
            raise WireError("an observation of something without a name")
        kinds = self._kinds[local]
        for position, kind in enumerate(_KINDS):
            mine = kinds == position
            if bool(mine.any()):
                yield Batch(kind, ids[mine], seconds[mine])

    def _names(self, body: bytes) -> None:
        told = _object(body)
        kind, names, dropped = told.get("kind"), told.get("names"), told.get("dropped", 0)
        if not isinstance(kind, str) or kind not in LABELS or not isinstance(names, dict):
            raise WireError("names of no known kind")
        self.pid = _whole(told.get("pid"), MAX_PID, "pid")
        self.backend = _text(told.get("backend"), MAX_BACKEND)
        self.dropped += _whole(dropped, 1 << 62, "dropped")
        for key, labels in names.items():
            if not (key.isascii() and key.isdigit() and len(key) <= 4 and int(key) < MAX_NAMES):
                raise WireError(f"the id of a name is none of 0 to {MAX_NAMES - 1}")
            if not isinstance(labels, list) or len(labels) != LABELS[kind]:
                raise WireError(f"a name of {kind} has {LABELS[kind]} labels")
            local = int(key)
            if self._numbers[local] != _UNKNOWN:
                raise WireError(f"the id {local} has a name already")
            name = Name(kind, tuple(_text(label, MAX_LABEL) for label in labels))
            self._numbers[local] = self._register(name)
            self._kinds[local] = _KINDS.index(kind)


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError("names that are no JSON") from None
    if not isinstance(told, dict):
        raise WireError("names that are no object")
    return told


def _whole(value: object, limit: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
        raise WireError(f"{what} is no whole number in its bounds")
    return value


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise WireError("a label that is no text")
    value = value[:limit]
    # A lone surrogate cannot be written to any file, a control character would be obeyed by a terminal.
    return (
        value if value.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    )
