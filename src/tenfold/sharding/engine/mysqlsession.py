"""Lines by PyMySQL, which is always there; they pin their session and read small answers at once. Edge."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND, SERVER_STATUS
from pymysql.cursors import SSCursor

from tenfold.sharding.engine.mysqlline import Failure
from tenfold.sharding.engine.mysqloptions import MysqlOptions, session_pins, tls_context, ways_in
from tenfold.sharding.engine.mysqlrows import Shape, descriptions, small_result
from tenfold.sharding.ports import Reply

KEPT_SHAPES = 512
"""Shapes of answers that a connection remembers."""

# Generic in its stubs alone.
if TYPE_CHECKING:
    _Connection = Connection[Any]
else:
    _Connection = Connection


class MysqlSession(_Connection):
    """A connection that pins its session in one statement, where PyMySQL would send one for each setting."""

    server_version: str
    server_status: int
    server_thread_id: tuple[int]
    _sock: socket.socket | None
    _rfile: io.BufferedReader
    _result: Any
    _execute_command: Callable[[int, str | bytes], None]
    _read_query_result: Callable[[], int]
    _shapes: dict[bytes, Shape]

    def __init__(self, options: MysqlOptions, connect_s: float, read_s: float) -> None:
        self._options, self._shapes = options, {}
        context = tls_context(options)
        super().__init__(
            host=options.host,
            port=options.port,
            user=options.user,
            password=options.password,
            database=options.database,
            charset="utf8mb4",
            autocommit=None,  # as pinned
            connect_timeout=connect_s,
            read_timeout=connect_s,
            write_timeout=connect_s,
            ssl=context,
            ssl_disabled=context is None,
            auth_plugin_map=ways_in(options, pymysql.OperationalError),
        )
        self._read_timeout = self._write_timeout = read_s
        self.number = int(self.server_thread_id[0])

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Called once the server has let us in."""
        self.query(session_pins(self.server_version, self._options))

    def ask(self, text: str | bytes) -> Reply:
        """Run one statement."""
        self._execute_command(COMMAND.COM_QUERY, text)
        return self.answer()

    def send(self, text: str | bytes) -> None:
        """Send one statement; its `answer` is to be taken next."""
        self._execute_command(COMMAND.COM_QUERY, text)

    def answer(self) -> Reply:
        """What the server answers to the statement that was sent."""
        data = self._arrived()
        found = small_result(data, self._shapes)
        if found is not None:
            self._rfile.read(len(data))
            shape, rows = found
            return Reply(shape.columns, rows, len(rows), None, shape.types)
        described = descriptions(data)
        self._read_query_result()
        result = self._result
        if not result.has_next:
            self._result = None  # else its rows would be kept until the next statement
        if result.description is None:
            return Reply(rowcount=result.affected_rows, lastrowid=result.insert_id or None)
        columns = tuple([column[0] for column in result.description])
        types = tuple([column[1] for column in result.description])
        if described is not None:
            if len(self._shapes) >= KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[described] = Shape(columns, types, tuple(result.converters))
        return Reply(columns, result.rows, len(result.rows), None, types)

    def _arrived(self) -> bytes:
        """The first bytes of the answer, which stay to be read."""
        try:
            return self._rfile.peek()
        except OSError as error:
            self.cut()
            raise pymysql.OperationalError(2013, "Lost connection to MySQL server during query") from error

    def unread(self, text: str | bytes) -> UnreadRows:
        """Run one statement and leave its rows at the server."""
        cursor = self.cursor(SSCursor)
        cursor.execute(text)  # type: ignore[arg-type]  # bytes are sent as they are
        return UnreadRows(cursor)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait at most so long for each packet."""
        usual, self._read_timeout = self._read_timeout, seconds
        try:
            yield
        finally:
            self._read_timeout = usual

    def hurry(self) -> None:
        """Wait no longer for the answer that is under way."""
        if self._sock is not None:
            self._sock.settimeout(0.001)

    def cut(self) -> None:
        """Have whoever waits for an answer, on whatever thread, wait no longer."""
        line = self._sock
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(pymysql.Error):  # it was closed before
            super().close()

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""
        line = self._sock
        return line.fileno() if line is not None else -1

    @property
    def in_transaction(self) -> bool:
        """As the server said with its last answer that was no rows."""
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


class UnreadRows:
    """Rows that an unbuffered cursor has yet to read."""

    def __init__(self, cursor: SSCursor) -> None:
        self._cursor = cursor
        described: Sequence[Sequence[Any]] = cursor.description or ()
        self.columns: tuple[str, ...] = tuple([column[0] for column in described])
        self.types: tuple[int, ...] = tuple([column[1] for column in described])

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows; fewer than `count` are the last."""
        return self._cursor.fetchmany(count)

    def forget(self) -> None:
        """Leave what was not read unread, which PyMySQL would else do when the cursor is collected."""
        result: Any = vars(self._cursor)["_result"]
        if result is not None:
            result.unbuffered_active = False


class Pymysql:
    """The library."""

    errors: tuple[type[BaseException], ...] = (pymysql.Error, OSError, RuntimeError)

    def open(self, options: MysqlOptions, connect_s: float, read_s: float) -> MysqlSession:
        """Connect and pin the session. Raises ConfigError for a CA file that cannot be read."""
        return MysqlSession(options, connect_s, read_s)

    def failure(self, error: BaseException) -> Failure:
        """What an error means; what PyMySQL raises over an answer that it cannot read counts as lost."""
        cause = getattr(error, "original_exception", None) or error.__context__ or error
        if isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int):
            return Failure(error.args[0], str(error.args[1]) if len(error.args) > 1 else "", cause)
        if isinstance(error, pymysql.Error | RuntimeError) and "auth" in str(error):
            return Failure(2059, "the server wants a way of authentication that is not available", cause)
        return Failure(0, type(error).__name__, cause)
