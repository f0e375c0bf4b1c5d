"""The rows of a streaming cursor. Pure."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from tenfold.sharding.ports import Reply


class Stream:
    """Rows that are read from the shards as they are wanted; columns, types: as in Reply."""

    def __init__(self, replies: Generator[Reply, None, None]) -> None:
        self._replies = replies
        first = next(replies, Reply())
        self.columns, self.types, self._first = first.columns, first.types, first.rows

    def fetch(self) -> Sequence[tuple[Any, ...]]:
        """The next rows; none left: an empty sequence."""
        rows, self._first = self._first, ()
        while not rows:
            reply = next(self._replies, None)
            if reply is None:
                return ()
            rows = reply.rows
        return rows

    def close(self) -> None:
        """Read no further."""
        self._first = ()
        self._replies.close()
