"""A shard that is a MySQL or MariaDB server, for the tasks of an event loop. Edge."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from asyncmy.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS
from asyncmy.cursors import SSCursor
from asyncmy.errors import MySQLError, OperationalError

from tenfold.errors import NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.engine.asyncmysession import AsyncSession
from tenfold.sharding.engine.mysql import DRAIN_ROWS, DRAIN_S, LONGEST_UNASKED
from tenfold.sharding.engine.mysqlerrors import LOST, translated
from tenfold.sharding.engine.mysqloptions import (
    KILL_WAIT_S,
    MysqlOptions,
    session_pins,
    tls_context,
    unanswered,
    untrusted,
)
from tenfold.sharding.engine.mysqltext import encoded, in_bulk, rendered, row_template
from tenfold.sharding.ports import Params, Reply

_QUIT = b"\x01\x00\x00\x00\x01"
_kills: set[asyncio.Task[None]] = set()
"""An event loop keeps only weak references to its tasks."""


class _NotInTheClear:
    """Answers a server that asks for the password itself on a line that is not encrypted."""

    def __init__(self, connection: object) -> None:
        pass

    def authenticate(self, packet: object) -> None:
        raise OperationalError(2059, "the server asks for the password in the clear")


async def _session(options: MysqlOptions, wait_s: float) -> AsyncSession:
    """A connection that is let in, its session pinned, within `wait_s`. Raises NodeError, ConfigError."""
    context = tls_context(options)
    connection = AsyncSession(
        host=options.host,
        port=options.port,
        user=options.user,
        password=options.password,
        database=options.database,
        charset="utf8mb4",
        autocommit=None,  # as pinned
        connect_timeout=wait_s,
        ssl=context,
        auth_plugin_map={} if context else dict.fromkeys(("mysql_clear_password", "dialog"), _NotInTheClear),
    )
    try:
        async with asyncio.timeout(wait_s):
            await connection.connect()
            await connection.query(session_pins(connection.server_version, options))
    except BaseException as error:
        connection.close()
        raise _not_let_in(options, error) from None
    return connection


def _not_let_in(options: MysqlOptions, error: BaseException) -> BaseException:
    if not isinstance(error, Exception):
        return error
    cause = error.__cause__ if isinstance(error, MySQLError) and error.__cause__ is not None else error
    if isinstance(cause, ssl.SSLError):
        return untrusted(options.shard, cause)
    code, words = _code(error)
    if isinstance(cause, OSError) or code in LOST:
        return unanswered(options, cause)
    return translated(options.shard, code, words, _limits(options))


def _limits(options: MysqlOptions) -> dict[str, float]:
    return {"statement": options.statement_s, "lock": options.lock_wait_s, "connect": options.connect_s}


def _code(error: BaseException) -> tuple[int, str]:
    """(code, words) of whatever asyncmy raises; an answer that it cannot read counts as lost."""
    if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
    return 0, type(error).__name__


class AsyncMysqlDriver:
    """One connection. A statement outside a transaction is one of its own. Use `connect`."""

    def __init__(self, options: MysqlOptions, connection: AsyncSession) -> None:
        """Take over a connection whose session is pinned."""
        self._options, self._shard, self._connection = options, options.shard, connection
        self._number: int = connection.server_thread_id[0]
        self._begun = self._lost = self._busy = self._closed = self._overdue = False
        self._reading: AsyncMysqlCursor | None = None
        self._until_s = inf
        self._packet_limit = 0
        self.spoiled = False
        self.ending: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, options: MysqlOptions) -> AsyncMysqlDriver:
        """Open a connection. Raises NodeDown, NodeError (denied, no such database, TLS), ConfigError (the CA file)."""
        return cls(options, await _session(options, options.connect_s))

    async def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        data = encoded(rendered(sql, params))
        if len(data) > LONGEST_UNASKED:
            await self._measure(data)
        return await self._answer(data, sql)

    async def _answer(self, data: bytes, sql: str = "") -> Reply:
        if self._begun or self._reading is not None or self._closed:
            self._refuse_lost()
        self._busy = True
        self._until_s = time.monotonic() + self._options.read_s
        try:
            reply = await self._connection.ask(sql, data)
        except BaseException as error:
            raise await self._known(error) from None
        self._busy = False
        return reply

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
        if len(texts) == 1:
            return Reply(rowcount=(await self._answer(texts[0])).rowcount)
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

    async def begin(self) -> None:
        """Open a transaction. Rows are locked as they are read for update or written."""
        await self._answer(b"START TRANSACTION")
        self._begun = True

    async def commit(self) -> None:
        """Commit; after an error the connection is closed and the outcome unknown."""
        try:
            await self._answer(b"COMMIT")
        except NodeError:
            self.spoiled = True
            raise
        self._begun = False

    async def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
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
            transport.write(_QUIT)
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
        self.ending = asyncio.get_running_loop().create_task(_stop(self._options, self._number))
        _kills.add(self.ending)
        self.ending.add_done_callback(_kills.discard)

    async def _measure(self, data: bytes) -> None:
        """Raises StatementError where the server would hang up because of a long statement."""
        if not self._packet_limit:
            self._packet_limit = int((await self._answer(b"SELECT @@max_allowed_packet")).rows[0][0])
        if len(data) >= self._packet_limit:
            raise StatementError(
                f"the statement has {len(data):,} bytes, {self._shard} takes {self._packet_limit:,}",
                hint="send less at once, or raise the server's max_allowed_packet",
            )

    def _refuse_lost(self) -> None:
        """Some errors (a deadlock, a killed statement) and DDL end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self._closed:
            raise self._cut()
        if self._reading is not None:
            raise StatementError(
                f"the connection to {self._shard} is still reading rows", hint="read them all, or close the cursor"
            )
        if self._begun and (self._lost or not self._connection.server_status & SERVER_STATUS_IN_TRANS):
            raise NodeError(
                f"{self._shard} has ended the transaction before: an error undid it, or DDL committed it",
                hint="leave the transaction, mend what the earlier error says, and run all of it again",
            )

    def _cut(self) -> NodeDown:
        if self._overdue:
            return NodeDown(
                f"{self._shard} did not answer within {self._options.read_s:g} s",
                hint="see what the server is doing; a long statement needs a larger database.statement_s",
            )
        return NodeDown(f"the connection to {self._shard} was closed while a statement ran", hint="try again")

    async def _known(self, error: BaseException) -> BaseException:
        """What to raise for an error of a statement; brings what is known of the connection up to date."""
        if not isinstance(error, Exception):
            self.spoiled = True  # cancelled: still busy, so that close() stops the statement
            return error
        if self._closed:
            return self._cut()
        code, words = _code(error)
        if code in LOST:
            self._lost = self.spoiled = True
        else:
            self._busy = False
            if self._begun:
                await self._look_at_transaction()
        return translated(self._shard, code, words, _limits(self._options))

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


async def _stop(options: MysqlOptions, number: int) -> None:
    """Stop what the server still does for a connection, by another one."""
    with contextlib.suppress(TenfoldError, MySQLError, OSError, TimeoutError):
        side = await _session(options, KILL_WAIT_S)
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await side.query(f"KILL {number:d}")
        finally:
            side._transport.write(_QUIT)
            side.close()
