"""A shard that is a SQLite file. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote
from uuid import UUID

from tenfold.errors import ConfigError, ConstraintError, NodeDown, NodeError, StatementError
from tenfold.sharding.ports import Params, Reply
from tenfold.topology.addresses import sqlite_file

_NATIVE = {int, str, float, bytes, type(None), bool, bytearray, memoryview}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
# The file or the machine, not the statement: code → what to do.
_BROKEN = {
    sqlite3.SQLITE_CANTOPEN: "see that the file exists and may be opened; of a new platform, `tenfold shard init` "
    "creates it; one that was lost comes back from a backup",
    sqlite3.SQLITE_IOERR: "look at the disk",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable for this user",
    sqlite3.SQLITE_CORRUPT: "restore the file from a backup",
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

    def __init__(self, shard: str, path: Path, lock_wait_s: float, *, mode: str = "rw") -> None:
        """Open `path`; mode "rw", "rwc" (creates the file) or "ro". Raises NodeDown."""
        self._shard = shard
        self._wait_s = lock_wait_s
        self._begun = self._lost = False
        with self._errors():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=True,
                timeout=lock_wait_s,
                isolation_level=None,
                check_same_thread=False,  # a pool hands it from thread to thread, to one at a time
                cached_statements=256,
            )
            if mode == "rwc":
                self._connection.execute("PRAGMA journal_mode = WAL")
            for setting in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
                self._connection.execute(f"PRAGMA {setting}")

    def execute(self, sql: str, params: Params) -> Reply:
        """Run one statement: in the open transaction, else in one of its own."""
        self._refuse_lost()
        with self._errors():
            cursor = self._connection.execute(sql, _adapted(params))
            if cursor.description is None:
                return Reply(rowcount=max(cursor.rowcount, 0), lastrowid=cursor.lastrowid)
            rows = cursor.fetchall()
            columns = tuple([column[0] for column in cursor.description])
            return Reply(columns, rows, len(rows), cursor.lastrowid)

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none."""
        self._refuse_lost()
        inside = self._connection.in_transaction
        with self._errors():
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

    def begin(self) -> None:
        """Open a transaction that may write: the lock is taken now, not at the first write."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
        self._begun = True

    def commit(self) -> None:
        """Commit."""
        self._refuse_lost()
        with self._errors():
            self._connection.execute("COMMIT")
        self._begun = False

    def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""
        with self._errors():
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._begun = self._lost = False

    def close(self) -> None:
        """Close; an open transaction is rolled back."""
        self._connection.close()

    def _refuse_lost(self) -> None:
        """Some errors (a full disk, OR ROLLBACK, a trigger) end the transaction. What follows in it would be
        committed statement by statement, and the caller told that all of it was one."""
        if self._begun and (self._lost or not self._connection.in_transaction):
            raise NodeError(
                f"{self._shard} has undone the transaction after an earlier error in it",
                hint="leave the transaction, mend what the earlier error says, and run all of it again",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError) as error:
            known = self._translated(error)
            self._lost = self._lost or isinstance(known, NodeDown)
            raise known from error

    def _translated(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, sqlite3.IntegrityError):
            return ConstraintError(str(error), hint="the statement changed nothing")
        if code in _LOCKED:
            return NodeError(
                f"{self._shard} stayed locked for {self._wait_s:g} s",
                hint="a long transaction holds it; try again, or raise database.lock_wait_s",
            )
        if code in _BROKEN:
            return NodeDown(f"{self._shard}: {error}", hint=_BROKEN[code])
        return StatementError(str(error), hint="mend the statement or its parameters")


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
