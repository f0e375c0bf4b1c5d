"""Getting in at a MySQL or MariaDB server, and having it stop, for the tasks of an event loop. Edge."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from asyncmy.errors import MySQLError, OperationalError

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.asyncmysession import AsyncSession
from tenfold.sharding.engine.mysqlerrors import LOST, translated
from tenfold.sharding.engine.mysqloptions import (
    KILL_WAIT_S,
    MysqlOptions,
    session_pins,
    tls_context,
    unanswered,
    untrusted,
    ways_in,
)

QUIT = b"\x01\x00\x00\x00\x01"


async def open_session(options: MysqlOptions, wait_s: float) -> AsyncSession:
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
        auth_plugin_map=ways_in(options, OperationalError),
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
    code, words = code_of(error)
    if isinstance(cause, OSError) or code in LOST:
        return unanswered(options, cause)
    return translated(options.shard, code, words, options.limits)


def code_of(error: BaseException) -> tuple[int, str]:
    """(code, words) of whatever asyncmy raises; an answer that it cannot read counts as lost."""
    if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
    return 0, type(error).__name__


async def stop(options: MysqlOptions, number: int) -> None:
    """Stop what the server still does for a connection, by another one."""
    with contextlib.suppress(TenfoldError, MySQLError, OSError, TimeoutError):
        side = await open_session(options, KILL_WAIT_S)
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await side.query(f"KILL {number:d}")
        finally:
            side._transport.write(QUIT)
            side.close()
