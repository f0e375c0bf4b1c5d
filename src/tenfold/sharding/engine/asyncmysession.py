"""A connection of asyncmy that reads small answers at once. Edge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncmy.connection import Connection
from asyncmy.constants.CLIENT import DEPRECATE_EOF, MULTI_STATEMENTS
from asyncmy.constants.COMMAND import COM_QUERY
from asyncmy.protocol import parse_rows_from_buffer

from tenfold.sharding.engine.mysqlrows import EOF, EOF_SIZE, HEADER, MORE_RESULTS, descriptions
from tenfold.sharding.ports import Reply

KEPT_SHAPES, LONGEST_KEPT = 1024, 4096
"""Statements whose answers' beginnings are kept, and how long they may be."""
SMALL = 16_384
"""An answer of at most so many bytes is looked at as a whole."""


class _Shape(NamedTuple):
    """What an answer to a statement began with: the descriptions of its columns, as bytes and taken apart.

    after  the sequence number of the first row
    """

    described: bytes
    columns: tuple[str, ...]
    types: tuple[int, ...]
    converters: tuple[Any, ...]
    after: int


if TYPE_CHECKING:

    class _Connection:
        """What is used of asyncmy's, whose stubs say nothing of it."""

        server_capabilities: int
        server_status: int
        server_thread_id: tuple[int]
        server_version: str
        _client_flag: int
        _proto: Any
        _result: Any
        _transport: Any

        def __init__(self, **options: Any) -> None: ...
        async def connect(self) -> None: ...
        async def query(self, sql: str | bytes) -> int: ...
        async def ping(self, reconnect: bool) -> None: ...
        def close(self) -> None: ...
        async def _execute_command(self, command: int, sql: bytes) -> None: ...
        async def _fill_buffer(self, need: int) -> None: ...
        async def _get_server_information(self) -> None: ...
        async def _read_query_result(self) -> None: ...

else:
    _Connection = Connection


class AsyncSession(_Connection):
    """A connection that knows the answers' beginnings by the statement.

    asyncmy takes the descriptions of the columns apart every time, which for one row by its key is most of the
    work. Whatever is not a small, whole answer of a known shape is left to it, and nothing of that is taken.
    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shapes: dict[str, _Shape] = {}
        # asyncmy asks for it always; a second statement in one text is never ours.
        self._client_flag &= ~MULTI_STATEMENTS

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        self.server_capabilities &= ~DEPRECATE_EOF  # so that an answer ends in one way only

    async def send(self, data: bytes) -> None:
        """Send one statement; its `answer` is to be taken next."""
        await self._execute_command(COM_QUERY, data)

    def has_news(self) -> bool:
        """Whether the answer begins to come, or the connection was lost."""
        proto = self._proto
        return bool(proto.length - proto.pos >= HEADER or proto.eof or proto.exc is not None)

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Have `waiter` done once there is news."""
        self._proto._read_waiter = waiter

    async def answer(self, sql: str) -> Reply:
        """What the server answers to the statement that was sent, which is `sql` with its values."""
        proto = self._proto
        if proto.length - proto.pos < HEADER:
            await self._fill_buffer(HEADER)
        shape = self._shapes.get(sql)
        if shape is not None and proto.length - proto.pos <= SMALL:
            rows = self._whole(shape)
            if rows is not None:
                return Reply(shape.columns, rows, len(rows), None, shape.types)
        begun = bytes(memoryview(proto.buffer)[proto.pos : min(proto.length, proto.pos + SMALL)])
        await self._read_query_result()
        result = self._result
        described = result.description
        if described is None:
            return Reply((), (), result.affected_rows, result.insert_id or None)
        self._result = None  # else its rows are kept until the next statement
        columns = tuple([column[0] for column in described])
        types = tuple([column[1] for column in described])
        start = descriptions(begun)
        if start is not None and len(sql) <= LONGEST_KEPT:
            if len(self._shapes) >= KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[sql] = _Shape(
                begun[: HEADER + len(start)], columns, types, tuple(result.converters), (len(columns) + 3) & 0xFF
            )
        return Reply(columns, result.rows, len(result.rows), None, types)

    def _whole(self, shape: _Shape) -> list[tuple[Any, ...]] | None:
        """The rows that have arrived, taken; None where they are of another shape, or more is to come."""
        proto = self._proto
        buffer, start, length = proto.buffer, proto.pos, proto.length
        if not buffer.startswith(shape.described, start):
            return None
        rows: list[tuple[Any, ...]] = []
        place = start + len(shape.described) + EOF_SIZE
        end, _ = parse_rows_from_buffer(buffer, place, length, shape.converters, shape.after, rows, False)
        if length - end != EOF_SIZE or buffer[end + 4] != EOF or buffer[end + 7] & MORE_RESULTS:
            return None
        proto.pos = length
        self._result = None
        return rows
