"""A shard that is a MySQL or MariaDB server, for the tasks of an event loop. Edge."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from asyncmy.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS
from asyncmy.cursors import SSCursor
from asyncmy.errors import MySQLError

from tenfold.errors import NodeDown, NodeError, TenfoldError
from tenfold.sharding.engine.asyncmyconnect import QUIT, code_of, open_session, stop
from tenfold.sharding.engine.asyncmysession import AsyncSession
from tenfold.sharding.engine.mysql import DRAIN_ROWS, DRAIN_S, LONGEST_UNASKED, REPEATS, repeat_pause_s
from tenfold.sharding.engine.mysqlerrors import (
    DEADLOCK,
    LOST,
    closed_amid,
    ended_before,
    silent,
    still_reading,
    too_large,
    translated,
)
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.sharding.engine.mysqltext import encoded, in_bulk, rendered, row_template
from tenfold.sharding.ports import Params, Reply

_kills: set[asyncio.Task[None]] = set()
"""An event loop keeps only weak references to its tasks."""


class AsyncMysqlDriver:
    """One connection. A statement outside a transaction is one of its own. Use `connect`."""

    def __init__(self, options: MysqlOptions, connection: AsyncSession) -> None:
        """Take over a connection whose session is pinned."""
        self._options, self._shard, self._connection = options, options.shard, connection
        self._number: int = connection.server_thread_id[0]
        self._begun = self._lost = self._busy = self._closed = self._overdue = self._deadlocked = False
        self._reading: AsyncMysqlCursor | None = None
        self._until_s = inf
        self._packet_limit = 0
        self._asked = ("", b"")
        self.spoiled = False
        self.ending: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, options: MysqlOptions) -> AsyncMysqlDriver:
        """Open a connection. Raises NodeDown, NodeError (denied, no such database, TLS), ConfigError (the CA file)."""
        return cls(options, await open_session(options, options.connect_s))

    async def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        data = encoded(rendered(sql, params))
        if len(data) > LONGEST_UNASKED:
            await self._measure(data)
        try:
            return await self._answer(data, sql)
        except NodeError:
            if self._begun or not self._deadlocked:
                raise
        return await self._repeated(partial(self._answer, data, sql))

    async def _repeated(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """Once more after a deadlock, which has undone all of it."""
        for nth in range(1, REPEATS):
            await asyncio.sleep(repeat_pause_s(nth))
            try:
                return await ask()
            except NodeError:
                if not self._deadlocked:
                    raise
        await asyncio.sleep(repeat_pause_s(REPEATS))
        return await ask()

    async def _answer(self, data: bytes, sql: str = "") -> Reply:
        if self._begun or self._reading is not None or self.spoiled:
            self._refuse_lost()
        self._busy = True
        self._until_s = time.monotonic() + self._options.read_s
        try:
            await self._connection.send(data)
            reply = await self._connection.answer(sql)
        except BaseException as error:
            raise await self._known(error) from None
        self._busy = False
        return reply

    async def start(self, sql: str, params: Params) -> None:
        """Send one statement, whose answer `finish` takes; nothing else may be asked in between."""
        data = encoded(rendered(sql, params))
        if len(data) > LONGEST_UNASKED:
            await self._measure(data)
        self._refuse_lost()
        self._busy, self._asked = True, (sql, data)
        self._until_s = time.monotonic() + self._options.read_s
        try:
            await self._connection.send(data)
        except BaseException as error:
            raise await self._known(error) from None

    async def finish(self) -> Reply:
        """The answer to the statement that was started."""
        try:
            reply = await self._connection.answer(self._asked[0])
        except BaseException as error:
            known = await self._known(error)
            if not self._deadlocked:
                raise known from None
        else:
            self._busy = False
            return reply
        return await self._repeated(partial(self._answer, self._asked[1], self._asked[0]))

    def has_news(self) -> bool:
        """Whether the answer begins to come, or the connection was lost."""
        return self._closed or self._connection.has_news()

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Have `waiter` done once there is news."""
        self._connection.wake(waiter)

    async def open(self, sql: str, params: Params) -> AsyncMysqlCursor:
        """Begin to read the rows of one statement."""
        data = encoded(rendered(sql, params))
        if len(data) > LONGEST_UNASKED:
            await self._measure(data)
        self._refuse_lost()
        cursor = SSCursor(self._connection)  # type: ignore[arg-type]  # asyncmy's own, to which mypy is blind
        self._busy = True
        self._until_s = time.monotonic() + self._options.read_s
        try:
            await cursor.execute(data)
        except BaseException as error:
            raise await self._known(error) from None
        self._reading = AsyncMysqlCursor(self, cursor)
        return self._reading

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none.

        An INSERT or REPLACE … VALUES (…) goes out as few statements of many rows. The reply has no lastrowid.
        """
        template = row_template(sql, isinstance(rows[0], Mapping)) if rows else None
        texts = in_bulk(template, rows, LONGEST_UNASKED) if template else [encoded(rendered(sql, row)) for row in rows]
        for data in texts:
            if len(data) > LONGEST_UNASKED:
                await self._measure(data)
        ask = partial(self._one if len(texts) == 1 else self._all, texts)
        try:
            return await ask()
        except NodeError:
            if self._begun or not self._deadlocked:
                raise
        return await self._repeated(ask)

    async def _one(self, texts: Sequence[bytes]) -> Reply:
        return Reply(rowcount=(await self._answer(texts[0])).rowcount)

    async def _all(self, texts: Sequence[bytes]) -> Reply:
        inside = self._begun
        await self._answer(b"SAVEPOINT tf_many" if inside else b"START TRANSACTION")
        try:
            total = 0
            for data in texts:
                total += (await self._answer(data)).rowcount
            await self._answer(b"RELEASE SAVEPOINT tf_many" if inside else b"COMMIT")
        except TenfoldError:
            with contextlib.suppress(TenfoldError):
                await self._answer(b"ROLLBACK TO SAVEPOINT tf_many" if inside else b"ROLLBACK")
            raise
        return Reply(rowcount=total)

    async def begin(self, *, reads: bool = False) -> None:
        """Open a transaction. Rows are locked as they are read for update or written."""
        await self._answer(b"START TRANSACTION")
        self._begun = True

    async def commit(self) -> None:
        """Commit; after an error the connection is closed and the outcome unknown."""
        self._refuse_lost()
        try:
            await self._answer(b"COMMIT")
        except NodeError:
            self.spoiled = True
            raise
        self._begun = False

    async def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
        if self.spoiled:
            raise self._cut()
        begun, self._begun = self._begun, False
        if begun or self._connection.server_status & SERVER_STATUS_IN_TRANS:
            await self._answer(b"ROLLBACK")
        self._lost = False

    def close(self) -> None:
        """Close at once; an open transaction is rolled back. A statement that runs is stopped on the server too,
        in the background, which is given a second for it."""
        if self._closed:
            return
        self._closed = self.spoiled = True
        transport = self._connection._transport
        if transport is None:
            pass
        elif self._busy:
            transport.abort()
        elif not transport.is_closing():
            transport.write(QUIT)
        self._connection.close()
        if self._busy:
            self._kill()

    def tick(self, now_s: float) -> None:
        """Close it if its answer is overdue, whoever waits for that."""
        if self._busy and now_s > self._until_s and not self._closed:
            self._overdue = True
            self.close()

    def fileno(self) -> int:
        """Of its socket; -1 once it is closed."""
        transport = self._connection._transport
        line = transport.get_extra_info("socket") if transport is not None else None
        return line.fileno() if line is not None else -1

    def _kill(self) -> None:
        self.ending = asyncio.get_running_loop().create_task(stop(self._options, self._number))
        _kills.add(self.ending)
        self.ending.add_done_callback(_kills.discard)

    async def _measure(self, data: bytes) -> None:
        """Raises StatementError where the server would hang up because of a long statement."""
        if not self._packet_limit:
            self._packet_limit = int((await self._answer(b"SELECT @@max_allowed_packet")).rows[0][0])
        if len(data) >= self._packet_limit:
            raise too_large(self._shard, len(data), self._packet_limit)

    def _refuse_lost(self) -> None:
        """Some errors (a deadlock, a killed statement) and DDL end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self.spoiled:
            raise self._cut()
        if self._reading is not None:
            raise still_reading(self._shard)
        if self._begun and (self._lost or not self._connection.server_status & SERVER_STATUS_IN_TRANS):
            raise ended_before(self._shard)

    def _cut(self) -> NodeDown:
        if self._overdue:
            return silent(self._shard, self._options.read_s)
        return closed_amid(self._shard)

    async def _known(self, error: BaseException) -> BaseException:
        """What to raise for an error of a statement; brings what is known of the connection up to date."""
        self._deadlocked = False
        if not isinstance(error, Exception):
            self.spoiled = True  # cancelled: still busy, so that close() stops the statement
            return error
        if self._closed:
            return self._cut()
        code, words = code_of(error)
        self._deadlocked = code == DEADLOCK
        if code in LOST:
            self._lost = self.spoiled = True
        else:
            self._busy = False
            if self._begun:
                await self._look_at_transaction()
        return translated(self._shard, code, words, self._options.limits)

    async def _look_at_transaction(self) -> None:
        """The packet of an error does not say whether the transaction is still there; that of a ping does."""
        self._busy = True
        try:
            await self._connection.ping(reconnect=False)
        except Exception:
            self._lost = self.spoiled = True
        except BaseException:
            self.spoiled = True
            raise
        self._busy = False


class AsyncMysqlCursor:
    """Rows of one statement, read from the server as they are wanted."""

    def __init__(self, driver: AsyncMysqlDriver, cursor: SSCursor) -> None:
        self._driver, self._cursor = driver, cursor
        self.columns = tuple([column[0] for column in cursor.description or ()])
        self.types = tuple([column[1] for column in cursor.description or ()])

    async def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`; none left: an empty sequence."""
        driver = self._driver
        if driver._reading is not self:
            return ()
        driver._until_s = time.monotonic() + driver._options.read_s
        try:
            rows: list[tuple[Any, ...]] = await self._read(count)
        except BaseException as error:
            driver._reading = None
            raise await driver._known(error) from None
        if len(rows) < count:
            self._end()
        else:
            driver._until_s = inf  # nobody waits for the server now
        return rows

    async def close(self) -> bool:
        """Read no further; → whether the connection can go on. What little is left is read to that end; of more,
        the connection must be closed, which stops the statement on the server."""
        driver = self._driver
        if driver._reading is not self:
            return not driver.spoiled
        left = DRAIN_ROWS
        with contextlib.suppress(MySQLError, OSError):
            async with asyncio.timeout(DRAIN_S):
                while left > 0:
                    if len(await self._read(100)) < 100:
                        self._end()
                        return True
                    left -= 100
        return False

    async def _read(self, count: int) -> list[tuple[Any, ...]]:
        """The next rows. While nobody reads, the server is held up: asyncmy would buffer whatever comes."""
        transport = self._driver._connection._transport
        if transport is not None:
            transport.resume_reading()
        try:
            rows: list[tuple[Any, ...]] = await self._cursor.fetchmany(count)
        except BaseException:
            self._cursor.connection = None
            raise
        if transport is not None and len(rows) == count:
            transport.pause_reading()
        return rows

    def _end(self) -> None:
        driver = self._driver
        driver._reading, driver._busy = None, False
