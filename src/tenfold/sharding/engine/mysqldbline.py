"""Lines by mysqlclient (MySQLdb), where it is installed: in C, and quick at many rows. Edge.

Its own layer in Python is left out: it sends statements that we have no use for, and never says whether a
transaction is open. libmariadb knows and is asked directly, which takes a microsecond and no round trip.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import re
import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from MySQLdb import _mysql
from pymysql.connections import TEXT_TYPES
from pymysql.constants import FIELD_TYPE, FLAG, SERVER_STATUS
from pymysql.converters import decoders, through

from tenfold.sharding.engine.mysqlline import Failure
from tenfold.sharding.engine.mysqloptions import MysqlOptions, session_pins, tls_context
from tenfold.sharding.ports import Reply

SETTINGS = Path(__file__).with_name("mysqlclient.cnf")
OLDEST, EXAMINED = (3, 3), (3, 3)
"""Of libmariadb: the first that can be told which ways of authentication to take (older ones give the password away
to a server that asks), and the last whose verification of certificates has been examined. Later ones have grown
exceptions: for self-signed certificates, and by a variable of the environment."""
LOST, TLS_FAILED = 2013, 2026

_MULTI_RESULTS = 1 << 17  # a flag of the protocol

# enum mariadb_value in libmariadb's mysql.h
_SERVER_STATUS = 30
_native_name = b"_mysql.connection.native_connection"
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _reader(field_type: int) -> Any:
    """What makes a value of a column's bytes, so that it is the one that PyMySQL would make."""
    if field_type in TEXT_TYPES:
        return ((FLAG.BINARY, bytes), (None, str))  # which is set for the character set "binary" alone
    convert = decoders.get(field_type, through)
    return str if convert is through or field_type == FIELD_TYPE.JSON else convert


READERS = {field_type: _reader(field_type) for field_type in range(256)}


def unusable() -> str | None:
    """Why this mysqlclient cannot be used; None: it can."""
    if _version() < OLDEST or not hasattr(_libmariadb(), "mariadb_get_info"):
        return f"it was built with {_mysql.get_client_info()} of another client library than libmariadb 3.3"
    if not hasattr(_mysql.connection, "_get_native_connection") or not hasattr(_mysql.connection, "send_query"):
        return "it is older than 2.2"
    return None if SETTINGS.is_file() else f"{SETTINGS} is missing"


def fits(options: MysqlOptions) -> bool:
    """Tell whether a line can be as `options` want it. An encrypted one: by a CA of one's own, since that of the
    system is read anew for each connection, which takes 50 ms; and verified as examined."""
    if b"\0" in options.password:
        return False  # here texts end there
    return not options.tls or (options.ca is not None and _version() <= EXAMINED)


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", _mysql.get_client_info())[:2])


@lru_cache(maxsize=1)
def _libmariadb() -> ctypes.PyDLL:
    return ctypes.PyDLL(_mysql.__file__)  # names are looked for in what it is linked with, too


def _server_status(native: int) -> int:
    """The flags of a connection, as of the server's last answer that had any."""
    status = ctypes.c_uint()
    ask = _libmariadb().mariadb_get_info
    ask.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    ask(native, _SERVER_STATUS, ctypes.byref(status))
    return status.value


_copies: weakref.WeakSet[MysqldbLine] = weakref.WeakSet()


class MysqldbLine:
    """A connection. Waiting for an answer is done here and not in C, where Ctrl-C would not be heard, and where
    time is counted in whole seconds."""

    def __init__(self, options: MysqlOptions, connect_s: float, read_s: float) -> None:
        self._is_cut = False
        tls_context(options)  # raises ConfigError for a CA file that cannot be read
        until_s = time.monotonic() + connect_s
        whole_s = math.ceil(read_s)
        self._connection = _mysql.connection(
            # "localhost" would be a socket in the file system, whatever the port says.
            host="Localhost" if options.host == "localhost" else options.host,
            port=options.port,
            user=options.user,
            password=options.password.decode(),
            database=options.database,
            charset="utf8mb4",
            conv=READERS,
            client_flag=_MULTI_RESULTS,  # and not MULTI_STATEMENTS: one text is one statement
            connect_timeout=math.ceil(connect_s),
            read_timeout=whole_s,
            write_timeout=whole_s,
            local_infile=0,
            read_default_file=str(SETTINGS),
            read_default_group="tenfold-tls" if options.tls else "tenfold-plain",
            ssl_mode="VERIFY_IDENTITY" if options.tls else "DISABLED",
            **({"ssl": {"ca": options.ca}} if options.tls else {}),
        )
        self._number = self._connection.fileno()
        os.set_inheritable(self._number, False)
        self._file = os.fstat(self._number).st_ino
        # To be cut from other threads: the library may have closed its own, and another file have the number.
        self._copy = socket.socket(fileno=os.dup(self._number))
        _copies.add(self)
        self._whole_s = whole_s
        self._ready = select.poll()
        self._ready.register(self._number, select.POLLIN)
        self._native = _pointer(self._connection._get_native_connection(), _native_name)
        self.number = int(self._connection.thread_id())
        self._patience_s = self._read_s = max(until_s - time.monotonic(), 0.001)
        try:
            self.ask(session_pins(self._connection.get_server_info(), options))
            self._read_s = read_s
            if not _server_status(self._native) & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT:
                raise RuntimeError("libmariadb does not tell the status of its server")
        except BaseException:
            self.close()
            raise

    def ask(self, text: str | bytes) -> Reply:
        """Run one statement."""
        self.send(text)
        return self.answer()

    def send(self, text: str | bytes) -> None:
        """Send one statement; its `answer` is to be taken next."""
        data = text if isinstance(text, bytes) else text.encode()
        self._patience_s, self.asked_s = self._read_s, time.monotonic()
        try:
            self._connection.send_query(data)
        except _mysql.MySQLError as error:
            self.explain(error)
            raise

    def answer(self) -> Reply:
        """What the server answers to the statement that was sent."""
        connection = self._connection
        try:
            self._await()
            result = connection.store_result()
            if result is None:
                reply = Reply(rowcount=connection.affected_rows(), lastrowid=connection.insert_id() or None)
            else:
                described = result.describe()
                rows = result.fetch_row(0)
                columns = tuple([column[0] for column in described])
                reply = Reply(columns, rows, len(rows), None, tuple([column[1] for column in described]))
            self.pass_over()
        except _mysql.MySQLError as error:
            self.explain(error)
            raise
        return reply

    def _await(self) -> None:
        if not self._ready.poll(self._patience_s * 1000):
            raise _mysql.OperationalError(LOST, "no answer in time") from TimeoutError()
        self._connection.read_query_result()

    def hurry(self) -> None:
        """Wait no longer for the answer that is under way."""
        self._patience_s = 0.001

    def pass_over(self) -> None:
        """Read what a procedure gives after its first result."""
        while self._connection.next_result() != -1:
            self._connection.store_result()

    def unread(self, text: str | bytes) -> MysqldbUnread:
        """Run one statement and leave its rows at the server."""
        self.send(text)
        try:
            self._await()
            return MysqldbUnread(self, self._connection.use_result())
        except _mysql.MySQLError as error:
            self.explain(error)
            raise

    def explain(self, error: BaseException) -> None:
        """Say what libmariadb leaves open. Raises another error where it says something else than happened."""
        code = error.args[0] if error.args else 0
        if code == TLS_FAILED:  # after the handshake it is no more than a line that was cut
            raise _mysql.OperationalError(LOST, "cut") from error
        if code == LOST and time.monotonic() - self.asked_s >= self._whole_s:
            error.__cause__ = TimeoutError()  # amid an answer, where the library is the one who waits

    def ping(self) -> None:
        """Have the server say how it stands; of the answer to a ping libmariadb keeps nothing."""
        self.ask("DO 0")

    @property
    def in_transaction(self) -> bool:
        """As the server said with its last answer that was no rows."""
        return bool(_server_status(self._native) & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut the line after so long."""
        watch = threading.Timer(seconds, self.cut)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()
            watch.join()
            if self._is_cut:
                raise _mysql.OperationalError(LOST, "cut")

    def cut(self) -> None:
        """Have whoever waits for an answer, on whatever thread, wait no longer."""
        self._is_cut = True
        with contextlib.suppress(OSError):
            self._copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(_mysql.MySQLError):  # it was closed before
            self._connection.close()
        self._copy.close()

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed, also where the library did so because of an error."""
        try:
            return self._number if os.fstat(self._number).st_ino == self._file else -1
        except OSError:
            return -1

    def let_go(self) -> None:
        """In the child of a fork: keep no second hold on what is the parent's."""
        self._copy.close()

    def __del__(self) -> None:
        copy = getattr(self, "_copy", None)
        if copy is not None:
            copy.close()


class MysqldbUnread:
    """Rows that the library has yet to read."""

    def __init__(self, line: MysqldbLine, result: Any) -> None:
        self._line, self._result = line, result
        described = result.describe() if result is not None else ()
        self.columns = tuple([column[0] for column in described])
        self.types = tuple([column[1] for column in described])

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows; fewer than `count` are the last."""
        if self._result is None:
            return ()
        self._line.asked_s = time.monotonic()
        try:
            rows: Sequence[tuple[Any, ...]] = self._result.fetch_row(count)
            if len(rows) < count:
                self._result = None
                self._line.pass_over()
        except _mysql.MySQLError as error:
            self._result = None  # the error was the end of it
            self._line.explain(error)
            raise
        return rows

    def forget(self) -> None:
        """Leave the rest unread; freed on a line that stands, it would be read to its end."""
        if self._result is not None:
            self._line.cut()
            self._result = None


@dataclass(frozen=True, slots=True)
class Mysqldb:
    """The library, as it speaks to `host`."""

    host: str
    errors: ClassVar[tuple[type[BaseException], ...]] = (_mysql.MySQLError, OSError, RuntimeError)

    def open(self, options: MysqlOptions, connect_s: float, read_s: float) -> MysqldbLine:
        """Connect and pin the session. Raises ConfigError for a CA file that cannot be read."""
        return MysqldbLine(options, connect_s, read_s)

    def failure(self, error: BaseException) -> Failure:
        """What mysqlclient raises over an answer that it cannot read counts as lost."""
        if not isinstance(error, _mysql.MySQLError) or len(error.args) < 2 or not isinstance(error.args[0], int):
            return Failure(0, type(error).__name__, error.__cause__ or error)
        code, words = error.args[0], str(error.args[1])
        if code == TLS_FAILED:
            return Failure(code, words, _of_tls(self.host, words, error))
        if code == 1156 or "restricted_auth" in words:
            return Failure(2059, "the server wants a way of authentication that is not available", error)
        return Failure(code, words, error.__cause__ or _of_system(code, words) or error)


def _of_tls(host: str, words: str, error: BaseException) -> BaseException:
    """A failed handshake as Python's own library has it; `error` where the server offers none."""
    _, found, why = words.partition("TLS/SSL error: ")
    if not found or "required" in why:
        return error
    if "certificate" not in why.lower():
        failed = ssl.SSLError()
        failed.reason = why
        return failed
    refused = ssl.SSLCertVerificationError()
    # libmariadb says no more where the chain is good and the name is not.
    name = why.startswith("Validation of SSL server certificate failed")
    refused.verify_message = f"the certificate is not made out to {host}" if name else why
    return refused


def _of_system(code: int, words: str) -> OSError | None:
    """The error of the system that libmariadb names by its number at the end; a TimeoutError is one of them."""
    found = re.search(r"(?:system error: |\()(\d+)\)?$", words)
    number = int(found[1]) if found else 0
    if number in (errno.EINPROGRESS, errno.EAGAIN):  # how it stood before it went wrong
        return ConnectionError(number, "the connection was cut" if code == LOST else "refused or unreachable")
    return OSError(number, os.strerror(number)) if number else None


def _in_child() -> None:
    for line in list(_copies):
        line.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
