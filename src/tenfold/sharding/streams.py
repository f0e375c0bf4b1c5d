"""Rows that are read from the shards as they are wanted. Pure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any

from tenfold.sharding.ports import Cursor, Reply
from tenfold.sharding.result import Row, positions_of


class Gathered:
    """A cursor over rows that are already here."""

    def __init__(self, reply: Reply) -> None:
        self.columns, self.types = reply.columns, reply.types
        self._rows, self._next = reply.rows, 0

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows."""
        rows = self._rows[self._next : self._next + count]
        self._next += len(rows)
        return rows

    def close(self) -> bool:
        """Nothing is left open."""
        self._rows = ()
        return True


def cursor_of(reply: Reply) -> Cursor:
    """The cursor of a reply; over its rows where the driver gave those."""
    return reply.cursor if reply.cursor is not None else Gathered(reply)


class ReadyCursor:
    """A cursor over rows that are already here."""

    def __init__(self, reply: Reply) -> None:
        self._cursor = cursor_of(reply)
        self.columns, self.types = self._cursor.columns, self._cursor.types

    async def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows."""
        return self._cursor.fetch(count)

    async def close(self) -> bool:
        """Nothing is left open."""
        return self._cursor.close()


class Rows:
    """The answer to a statement, row by row; for one thread.

    columns  names in order
    types    the drivers' type codes, as PEP 249 has them; empty where they say nothing

    Holds a connection to each shard that it reads from until it is exhausted or closed. Each shard is seen at
    the moment at which its part began. Rows that were not read are not fetched.
    """

    def __init__(self, replies: Generator[Reply, None, None]) -> None:
        self._replies = replies
        first = next(replies, Reply())
        self.columns, self.types = first.columns, first.types
        # Nothing in it refers to this object, so that one that is forgotten is closed at once.
        self._rows: Iterator[Row] = _each(first.rows, replies, positions_of(first.columns))

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def __next__(self) -> Row:
        return next(self._rows)

    def close(self) -> None:
        """Read no further; the connections are given back, or closed where rows are still under way."""
        self._replies.close()
        self._rows = iter(())

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _each(rows: Sequence[tuple[Any, ...]], replies: Iterator[Reply], positions: dict[str, int]) -> Iterator[Row]:
    for values in rows:
        yield Row(values, positions)
    rows = ()  # else they stay as long as the stream
    for reply in replies:
        for values in reply.rows:
            yield Row(values, positions)


class AsyncRows:
    """As `Rows`, for one task: `async for`, or `async with` to have the columns first and to close it surely."""

    def __init__(self, replies: AsyncGenerator[Reply, None]) -> None:
        self._replies = replies
        self.columns: tuple[str, ...] = ()
        self.types: tuple[Any, ...] = ()
        self._positions: dict[str, int] = {}
        self._batch: Iterator[tuple[Any, ...]] | None = None

    async def _begin(self) -> Iterator[tuple[Any, ...]]:
        first = await anext(self._replies, Reply())
        self.columns, self.types = first.columns, first.types
        self._positions = positions_of(first.columns)
        self._batch = iter(first.rows)
        return self._batch

    def __aiter__(self) -> AsyncRows:
        return self

    async def __anext__(self) -> Row:
        batch = self._batch if self._batch is not None else await self._begin()
        while True:
            for values in batch:
                return Row(values, self._positions)
            reply = await anext(self._replies, None)
            if reply is None:
                raise StopAsyncIteration
            batch = self._batch = iter(reply.rows)

    async def close(self) -> None:
        """Read no further; the connections are given back, or closed where rows are still under way."""
        self._batch = iter(())
        await self._replies.aclose()

    async def __aenter__(self) -> AsyncRows:
        if self._batch is None:
            await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
