"""A shard that is a MySQL or MariaDB server, for threads. Edge."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND, SERVER_STATUS
from pymysql.cursors import SSCursor

from tenfold.errors import NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.engine.mysqlerrors import LOST, translated
from tenfold.sharding.engine.mysqloptions import (
    KILL_WAIT_S,
    MysqlOptions,
    session_pins,
    tls_context,
    unanswered,
    untrusted,
)
from tenfold.sharding.engine.mysqlrows import Shape, descriptions, small_result
from tenfold.sharding.engine.mysqltext import encoded, in_bulk, rendered, row_template
from tenfold.sharding.ports import Params, Reply

LONGEST_UNASKED = 1_000_000
"""A statement of more bytes is sent only once the server has said that it takes so many; also how long an INSERT
of many rows becomes."""
KEPT_SHAPES = 512
DRAIN_ROWS, DRAIN_S = 1_000, 0.05
"""How much of a result that nobody wants any more is read to keep its connection."""


# Generic in its stubs alone.
if TYPE_CHECKING:
    _Connection = Connection[Any]
else:
    _Connection = Connection


class _Session(_Connection):
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

    def __init__(self, options: MysqlOptions, wait_s: float) -> None:
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
            connect_timeout=wait_s,
            read_timeout=wait_s,
            write_timeout=wait_s,
            ssl=context,
            ssl_disabled=context is None,
            auth_plugin_map={} if context else dict.fromkeys(("mysql_clear_password", "dialog"), _NotInTheClear),
        )

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Called once the server has let us in."""
        self.query(session_pins(self.server_version, self._options))

    def ask(self, text: str | bytes) -> Reply:
        """Run one statement."""
        self._execute_command(COMMAND.COM_QUERY, text)
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

    def patient(self, read_s: float) -> None:
        """From now on wait so long for each answer."""
        self._read_timeout = self._write_timeout = read_s

    def cut(self) -> None:
        """Have whoever waits for an answer, on whatever thread, wait no longer."""
        line = self._sock
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    @property
    def number(self) -> int:
        """Of this connection on its server."""
        return int(self.server_thread_id[0])

    @property
    def in_transaction(self) -> bool:
        """As the server said with its last answer that was no rows."""
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


class _NotInTheClear:
    """Answers a server that asks for the password itself on a line that is not encrypted."""

    def __init__(self, connection: object) -> None:
        pass

    def authenticate(self, packet: object) -> None:
        raise pymysql.OperationalError(2059, "the server asks for the password in the clear")


class MysqlDriver:
    """One connection. A statement outside a transaction is one of its own."""

    def __init__(self, options: MysqlOptions) -> None:
        """Connect. Raises NodeDown, NodeError (denied, no such database, TLS) and ConfigError (the CA file)."""
        self._shard, self._options = options.shard, options
        self._wait_s = {"statement": options.statement_s, "lock": options.lock_wait_s, "connect": options.connect_s}
        self._begun = self._lost = self._busy = self._closed = False
        self._reading: MysqlCursor | None = None
        self._packet_limit = 0
        with self._connecting():
            self._session = _Session(options, options.connect_s)
        self._session.patient(options.read_s)

    def execute(self, sql: str, params: Params, *, stream: bool = False) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        text: str | bytes = rendered(sql, params)
        if len(text) > LONGEST_UNASKED // 4:
            text = self._measured(text)
        return self._opened(text) if stream else self._answer(text)

    def _answer(self, text: str | bytes) -> Reply:
        if self._begun or self._reading is not None:
            self._refuse_lost()
        self._busy = True
        try:
            return self._session.ask(text)
        except BaseException as error:
            raise self._known(error) from None
        finally:
            self._busy = False

    def _opened(self, text: str | bytes) -> Reply:
        self._refuse_lost()
        self._busy = True
        cursor = self._session.cursor(SSCursor)
        try:
            cursor.execute(text)  # type: ignore[arg-type]  # bytes are sent as they are
        except BaseException as error:
            self._busy = False
            raise self._known(error) from None
        described = cursor.description or ()
        self._reading = MysqlCursor(self, cursor, described)
        return Reply(self._reading.columns, (), 0, None, self._reading.types, self._reading)

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none.

        An INSERT or REPLACE … VALUES (…) goes out as few statements of many rows. The reply has no lastrowid.
        """
        template = row_template(sql, isinstance(rows[0], Mapping)) if rows else None
        texts = in_bulk(template, rows, LONGEST_UNASKED) if template else [rendered(sql, row) for row in rows]
        if len(texts) == 1:
            return Reply(rowcount=self._answer(self._measured(texts[0])).rowcount)
        inside = self._begun
        self._answer("SAVEPOINT tf_many" if inside else "START TRANSACTION")
        try:
            total = sum(self._answer(self._measured(text)).rowcount for text in texts)
            self._answer("RELEASE SAVEPOINT tf_many" if inside else "COMMIT")
        except BaseException:
            with contextlib.suppress(TenfoldError):
                self._answer("ROLLBACK TO SAVEPOINT tf_many" if inside else "ROLLBACK")
            raise
        return Reply(rowcount=total)

    def begin(self) -> None:
        """Open a transaction. Rows are locked as they are read for update or written."""
        self._answer("START TRANSACTION")
        self._begun = True

    def commit(self) -> None:
        """Commit; after an error the connection is closed and the outcome unknown."""
        self._refuse_lost()
        try:
            self._answer("COMMIT")
        except NodeError:
            self._lost = True
            self._session.cut()
            raise
        self._begun = False

    def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
        begun, self._begun = self._begun, False
        if begun or self._session.in_transaction:
            self._answer("ROLLBACK")
        self._lost = False

    def close(self) -> None:
        """Close; an open transaction is rolled back. A statement that runs is stopped on the server too, which is
        given a second for it."""
        if self._closed:
            return
        self._closed = True
        if self._busy:
            # The connection is still another thread's, which closes it when it wakes.
            self._session.cut()
            self._kill()
            if self._reading is None:
                return
        self._shut()

    def fileno(self) -> int:
        """Of its socket; -1 once it is closed."""
        line = self._session._sock
        return line.fileno() if line is not None else -1

    def _shut(self) -> None:
        if self._reading is not None:
            self._reading.forget()
        with contextlib.suppress(pymysql.Error):
            self._session.close()

    def _kill(self) -> None:
        """Stop what the server still does for this connection, by another one."""
        with contextlib.suppress(pymysql.Error, OSError, TenfoldError):
            side = _Session(self._options, KILL_WAIT_S)
            try:
                side.query(f"KILL {self._session.number:d}")
            finally:
                side.close()

    def _measured(self, text: str | bytes) -> bytes:
        """The bytes of a long statement. Raises StatementError where the server would hang up because of them."""
        data = text if isinstance(text, bytes) else encoded(text)
        if len(data) > LONGEST_UNASKED:
            if not self._packet_limit:
                self._packet_limit = int(self._answer("SELECT @@max_allowed_packet").rows[0][0])
            if len(data) >= self._packet_limit:
                raise StatementError(
                    f"the statement has {len(data):,} bytes, {self._shard} takes {self._packet_limit:,}",
                    hint="send less at once, or raise the server's max_allowed_packet",
                )
        return data

    def _refuse_lost(self) -> None:
        """Some errors (a deadlock, a killed statement) and DDL end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self._reading is not None:
            raise StatementError(
                f"the connection to {self._shard} is still reading rows", hint="read them all, or close the cursor"
            )
        if self._begun and (self._lost or not self._session.in_transaction):
            raise NodeError(
                f"{self._shard} has ended the transaction before: an error undid it, or DDL committed it",
                hint="leave the transaction, mend what the earlier error says, and run all of it again",
            )

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            yield
        except (pymysql.Error, OSError, RuntimeError) as error:
            cause = getattr(error, "original_exception", None) or error.__context__ or error
            if isinstance(cause, ssl.SSLError):
                raise untrusted(self._shard, cause) from None
            code, words = _code(error)
            if code in LOST:
                raise unanswered(self._options, cause) from None
            raise translated(self._shard, code, words, self._wait_s) from None

    def _known(self, error: BaseException) -> BaseException:
        """What to raise for an error of a statement; brings what is known of the transaction up to date."""
        if isinstance(error, UnicodeEncodeError):
            return StatementError("a text holds half of a surrogate pair, which is no character", hint="mend the text")
        if not isinstance(error, Exception):
            return error  # KeyboardInterrupt: PyMySQL has hung up
        if self._closed:
            self._shut()
            return NodeDown(f"the connection to {self._shard} was closed while a statement ran", hint="try again")
        code, words = _code(error)
        if code in LOST:
            self._lost = True
            if isinstance(error.__context__, TimeoutError):
                self._kill()  # the server may still be at it
                return NodeDown(
                    f"{self._shard} did not answer within {self._options.read_s:g} s",
                    hint="see what the server is doing; a long statement needs a larger database.statement_s",
                )
        elif self._begun:
            # The packet of an error does not say whether the transaction is still there; the one of a ping does.
            try:
                self._session.ping()
            except pymysql.Error:
                self._lost = True
        return translated(self._shard, code, words, self._wait_s)


class MysqlCursor:
    """Rows of one statement, read from the server as they are wanted."""

    def __init__(self, driver: MysqlDriver, cursor: SSCursor, described: Sequence[Sequence[Any]]) -> None:
        self._driver, self._cursor = driver, cursor
        self.columns = tuple([column[0] for column in described])
        self.types = tuple([column[1] for column in described])

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`; none left: an empty sequence."""
        driver = self._driver
        if driver._reading is not self:
            return ()
        try:
            rows = self._cursor.fetchmany(count)
        except BaseException as error:
            self.forget()
            raise driver._known(error) from None
        if len(rows) < count:
            self._end()
        return rows

    def close(self) -> bool:
        """Read no further; → whether the connection can go on. What little is left is read to that end; of more,
        the connection must be closed, which stops the statement on the server."""
        driver = self._driver
        if driver._reading is not self:
            return not driver._lost and not driver._closed
        until_s, left = time.monotonic() + DRAIN_S, DRAIN_ROWS
        driver._session.patient(DRAIN_S)
        try:
            while left > 0 and time.monotonic() < until_s:
                if len(self._cursor.fetchmany(100)) < 100:
                    self._end()
                    return True
                left -= 100
        except Exception:
            driver._lost = True
        finally:
            driver._session.patient(driver._options.read_s)
        return False

    def _end(self) -> None:
        self._driver._reading, self._driver._busy = None, False

    def forget(self) -> None:
        """Leave what was not read unread, which PyMySQL would else do when the cursor is collected."""
        result: Any = vars(self._cursor)["_result"]
        if result is not None:
            result.unbuffered_active = False
        self._end()


def _code(error: BaseException) -> tuple[int, str]:
    """(code, words) of whatever PyMySQL raises; what it raises over an answer that it cannot read counts as lost."""
    if isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1]) if len(error.args) > 1 else ""
    if isinstance(error, pymysql.Error | RuntimeError) and "auth" in str(error):
        return 2059, "the server wants a way of authentication that is not available"
    return 0, type(error).__name__
