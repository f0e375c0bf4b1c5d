"""What goes over the agent's socket: frames, and what a recorder writes into them. Pure.

A connection begins with one byte that says whose it is, RECORDER or COMMAND; after it come frames,
each a big-endian 32-bit length and so many bytes. A command and its answer are JSON objects.
A recorder's frame is either

NAMES    one byte and JSON {"pid", "backend", "kind": "http"|"sql", "names": {"<id>": [label, …]}}:
         ids that the following values use, from 0 to MAX_NAMES - 1, each given once in a connection.
         Labels of http: method, route, status; of sql: kind, table, shard, "ok" or "error".
         "dropped" may stand beside them: observations lost since the last frame that said so.
VALUES   one byte and little-endian float64, each `id * SCALE + seconds`. One number for both, so that
         an observation is appended at one stroke and no two threads can mix theirs up.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence

RECORDER, COMMAND = b"R", b"C"
NAMES, VALUES = b"\x01", b"\x02"

MAX_FRAME = 1 << 20
"""Bytes of a recorder's frame, or of a command."""
MAX_ANSWER = 16 << 20
"""Bytes of an answer to a command."""
MAX_NAMES = 4096
"""Names of one connection."""
MAX_LABEL = 200
"""Characters of one label; longer ones are cut."""
MAX_VALUES = (MAX_FRAME - 1) // 8
"""Observations of one frame."""
SCALE = 4096.0
MAX_SECONDS = 4095.0
"""A longer duration is told as this one: it must not reach into the next id, not even by rounding."""

HTTP, SQL = "http", "sql"
LABELS = {HTTP: 3, SQL: 4}
"""How many labels a name has."""

_LENGTH = struct.Struct(">I")
_NATIVE = struct.pack("=d", 1.0) == struct.pack("<d", 1.0)


class WireError(ValueError):
    """The other side does not speak as agreed; the connection is of no more use."""


def frame(payload: bytes, limit: int = MAX_FRAME) -> bytes:
    """The payload behind its length. Raises WireError when it is longer than `limit`."""
    if len(payload) > limit:
        raise WireError(f"a frame of {len(payload)} bytes; at most {limit} are allowed")
    return _LENGTH.pack(len(payload)) + payload


class Unframer:
    """Cuts the bytes of one connection, behind its first byte, into payloads. Holds at most one unfinished frame."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that `data` completes. Raises WireError, after the good ones, at a frame over the limit."""
        rest = self._rest
        rest += data
        start = 0
        try:
            while len(rest) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(rest, start)
                if length > self._limit:
                    raise WireError(f"a frame of {length} bytes; at most {self._limit} are allowed")
                end = start + _LENGTH.size + length
                if len(rest) < end:
                    break
                with memoryview(rest) as view:
                    payload = bytes(view[start + _LENGTH.size : end])
                start = end
                yield payload
        finally:
            del rest[:start]


def encode_names(pid: int, backend: str, kind: str, names: Mapping[int, Sequence[str]], dropped: int = 0) -> bytes:
    """The payload that tells new names of one kind, and how many observations were lost since the last telling."""
    told: dict[str, object] = {"pid": pid, "backend": backend, "kind": kind, "names": names}
    if dropped:
        told["dropped"] = dropped
    return NAMES + json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def encode_values(values: Sequence[float]) -> bytes:
    """The payload of at most MAX_VALUES observations."""
    numbers = array("d", values)
    if not _NATIVE:
        numbers.byteswap()
    return VALUES + numbers.tobytes()
