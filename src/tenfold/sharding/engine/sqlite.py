"""A shard that is a SQLite file. Edge."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote
from uuid import UUID

from tenfold.errors import (
    ConfigError,
    ConstraintError,
    FenceError,
    NodeDown,
    NodeError,
    StatementError,
    TenfoldError,
)
from tenfold.sharding.engine.sqlitefunctions import define_functions
from tenfold.sharding.ports import Params, Reply
from tenfold.topology.addresses import sqlite_file

_NATIVE = {int, str, float, bytes, type(None), bool, bytearray, memoryview}
_ERRORS = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError)
# The triggers of a move call functions that SQLite cannot know to be harmless: trusted_schema lets them. The schema
# is as much ours as the statements.
_SETTINGS = ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = ON")
SCRATCH_KIB = 16_384
# Nobody reads it after a crash, so nothing waits for the disk.
_SCRATCH_SETTINGS = (
    f"cache_size = -{SCRATCH_KIB}", "temp_store = FILE", "journal_mode = MEMORY", "synchronous = OFF",
    "foreign_keys = ON", "trusted_schema = OFF",
)  # fmt: skip
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
# The file or the machine, not the statement: code → what to do.
_BROKEN = {
    sqlite3.SQLITE_CANTOPEN: "see that the file exists and may be opened; of a new platform, `tenfold shard init` "
    "creates it; one that was lost comes back from a backup",
    sqlite3.SQLITE_IOERR: "look at the disk",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable for this user",
    sqlite3.SQLITE_CORRUPT: "ask the file for PRAGMA integrity_check; if it is not ok, restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: correct the url in tenfold.toml",
    sqlite3.SQLITE_PERM: "make the file and its directory accessible for this user",
}


def sqlite_path(url: str, root: PurePath) -> Path:
    """The file that a shard's address names, as `tenfold check` reads it. Raises ConfigError."""
    try:
        return Path(sqlite_file(url, root))
    except ValueError as error:
        raise ConfigError(str(error), hint="write sqlite:///var/shard_0.db") from None


class SqliteDriver:
    """One connection. WAL, synchronous=FULL: what was acknowledged survives a power cut."""

    def __init__(self, shard: str, path: Path | None, lock_wait_s: float, *, mode: str = "rw", mover: int = 0) -> None:
        """Open `path`; mode "rw", "rwc" (creates the file) or "ro"; mover: its token, if one opens it. Raises NodeDown.

        path None: a private, empty database, in memory and beyond SCRATCH_KIB on disk, gone when it is closed.
        """
        self._shard = shard
        self._wait_s = lock_wait_s
        self._begun = self._lost = self._closing = False
        # Whoever runs a statement holds it, so that close() of another thread leaves the closing to him.
        self._turn = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                "" if path is None else f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=path is not None,
                timeout=lock_wait_s,
                isolation_level=None,
                check_same_thread=False,  # a pool hands it from thread to thread, to one at a time
                cached_statements=256,
            )
            if mode == "rwc":
                self._connection.execute("PRAGMA journal_mode = WAL")
            if path is not None:
                define_functions(self._connection, mover)
            for setting in _SETTINGS if path is not None else _SCRATCH_SETTINGS:
                self._connection.execute(f"PRAGMA {setting}")
        except _ERRORS as error:
            raise self._translated(error) from error

    def execute(self, sql: str, params: Params, *, stream: bool = False) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        self._enter()
        try:
            cursor = self._connection.execute(sql, _adapted(params))
            description = cursor.description
            if description is None:
                return Reply(rowcount=max(cursor.rowcount, 0), lastrowid=cursor.lastrowid)
            columns = tuple([column[0] for column in description])
            if stream:
                return Reply(columns, cursor=SqliteCursor(self, cursor, columns))
            rows = cursor.fetchall()
            return Reply(columns, rows, len(rows), cursor.lastrowid)
        except _ERRORS as error:
            raise self._known(error) from error
        finally:
            self._exit()

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none."""
        with self._running():
            inside = self._connection.in_transaction
            self._connection.execute("SAVEPOINT tf_many" if inside else "BEGIN IMMEDIATE")
            try:
                cursor = self._connection.executemany(sql, [_adapted(row) for row in rows])
                self._connection.execute("RELEASE tf_many" if inside else "COMMIT")
            except BaseException:
                if inside and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK TO tf_many")
                    self._connection.execute("RELEASE tf_many")
                elif self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return Reply(rowcount=max(cursor.rowcount, 0), lastrowid=cursor.lastrowid)

    def locked(self, see_lease: Callable[[], None], ask: Callable[[SqliteDriver], Reply]) -> Reply:
        """Run one write in a transaction of its own, begun only where `see_lease` does not raise once the lock is ours:
        whoever moves rows needs the same lock."""
        self.begin()
        try:
            see_lease()
            reply = ask(self)
            self.commit()
        except BaseException:
            with suppress(TenfoldError):
                self.rollback()
            raise
        return reply

    def begin(self, *, reads: bool = False) -> None:
        """Open a transaction that may write: the lock is taken now, not at the first write. One that only `reads`
        takes none, and sees what is committed at its first statement."""
        with self._running():
            self._connection.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
        self._begun = True

    def commit(self) -> None:
        """Commit."""
        with self._running():
            self._connection.execute("COMMIT")
        self._begun = False

    def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
        self._begun = False
        with self._running():
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._lost = False

    def close(self) -> None:
        """Close; an open transaction is rolled back. A statement of another thread is stopped, and that
        thread closes once it is done."""
        self._closing = True
        if self._turn.acquire(blocking=False):
            try:
                self._connection.close()
            finally:
                self._turn.release()
        else:
            with suppress(sqlite3.ProgrammingError):  # it has just been closed
                self._connection.interrupt()

    @contextmanager
    def _running(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        except _ERRORS as error:
            raise self._known(error) from error
        finally:
            self._exit()

    def _enter(self) -> None:
        if self._closing:
            raise self._closed()
        if self._begun:
            self._refuse_lost()
        self._turn.acquire()

    def _exit(self) -> None:
        self._turn.release()
        if self._closing:  # by another thread, while we were at it
            self.close()

    def _known(self, error: Exception) -> Exception:
        known = self._translated(error)
        self._lost = self._lost or isinstance(known, NodeDown)
        return known

    def _closed(self) -> NodeDown:
        return NodeDown(f"the connection to {self._shard} was closed", hint="run the statement again")

    def _refuse_lost(self) -> None:
        """Some errors (a full disk, OR ROLLBACK, a trigger) end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self._lost or not self._connection.in_transaction:
            raise NodeError(
                f"{self._shard} has undone the transaction after an earlier error in it",
                hint="leave the transaction, mend what the earlier error says, and run all of it again",
            )

    def _translated(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, sqlite3.IntegrityError):
            if str(error) == "tf_fence":  # said by a trigger of moves/capture.py
                return FenceError(f"the rows are on their way from {self._shard} to another shard")
            return ConstraintError(str(error), hint="the statement changed nothing")
        if code in _LOCKED:
            return NodeError(
                f"{self._shard} stayed locked for {self._wait_s:g} s",
                hint="a long transaction holds it; try again, or raise database.lock_wait_s",
            )
        if code == sqlite3.SQLITE_INTERRUPT or (self._closing and isinstance(error, sqlite3.ProgrammingError)):
            return self._closed()
        if code in _BROKEN:
            return NodeDown(f"{self._shard}: {error}", hint=_BROKEN[code])
        return StatementError(str(error), hint="mend the statement or its parameters")


class SqliteCursor:
    """Rows of a statement, stepped to as they are wanted; until its end or close the file is read as it was."""

    types: tuple[Any, ...] = ()

    def __init__(self, driver: SqliteDriver, cursor: sqlite3.Cursor, columns: tuple[str, ...]) -> None:
        self._driver, self._cursor, self.columns = driver, cursor, columns

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`."""
        with self._driver._running():
            return self._cursor.fetchmany(count)

    def close(self) -> bool:
        """Read no further."""
        with self._driver._running():
            self._cursor.close()
        return True


def scratch_driver() -> SqliteDriver:
    """A database for what one statement brings together from several files; see `ports.Scratch`."""
    return SqliteDriver("scratch", None, 1.0)


def _adapted(params: Params) -> Params:
    """Values that SQLite has no type for, as the text that sorts and compares like them."""
    if isinstance(params, Mapping):
        return {name: _plain(item) for name, item in params.items()}
    for item in params:
        if type(item) not in _NATIVE:
            return [_plain(each) for each in params]
    return params


def _plain(item: Any) -> Any:
    if isinstance(item, datetime):
        return item.isoformat(" ")
    if isinstance(item, date):
        return item.isoformat()
    return str(item) if isinstance(item, UUID | Decimal) else item
