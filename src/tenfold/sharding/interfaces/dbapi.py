"""PEP 249 over all shards: `tenfold.dbapi`. Edge."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from weakref import WeakSet

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.database import Database
from tenfold.sharding.engine.router import named_environment, named_file, read_topology
from tenfold.sharding.interfaces import errors
from tenfold.sharding.interfaces.errors import InterfaceError, NotSupportedError, ProgrammingError, of_both
from tenfold.sharding.interfaces.implicit import Implicit
from tenfold.sharding.interfaces.shared import shared_router
from tenfold.sharding.interfaces.stream import Stream
from tenfold.sharding.ports import Observer, Params, Reply

apilevel = "2.0"
threadsafety = 1
"""Threads may share the module, not a connection."""
paramstyle = "format"
"""`%s`; `?`, `:name` and `%(name)s` are taken as well, one style in a statement."""

Description = tuple[str, Any, None, None, None, None, None]


class Connection:
    """One caller's statements on all shards. For one thread at a time; usable in the child of a fork.

    As a context manager it commits at the end of the block, or rolls back after an exception, and is then closed.
    """

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        environment: str | None,
        autocommit: bool,
        observer: Observer | None,
    ) -> None:
        """Use `tenfold.dbapi.connect`. observer: is told of each statement; that of the connection which opened the
        pools counts."""
        self._work: Implicit | None = None
        self._cursors: WeakSet[Cursor] = WeakSet()
        file, wanted = named_file(path), named_environment(environment)
        self._shared = shared_router(file, wanted)
        try:
            self._shared.hold(lambda: Database(read_topology(file, wanted), observer))
        except TenfoldError as error:
            raise of_both(error) from error
        self._work = Implicit(self._shared, autocommit=autocommit)

    def cursor(self, *, stream: bool = False) -> Cursor:
        """A cursor. stream: it reads the rows of a SELECT from the shards as they are fetched, not all at once;
        `rowcount` is then -1, and a connection of each shard is taken until they are read or the cursor is closed."""
        self._open()
        made = Cursor(self, self._open, stream=stream)
        self._cursors.add(made)
        return made

    def commit(self) -> None:
        """Make the pending transaction durable. Where none is pending, nothing is done.

        Raises OperationalError when the outcome is in doubt, and when the transaction was undone before.
        """
        work = self._open()
        try:
            work.commit()
        except TenfoldError as error:
            raise of_both(error) from error

    def rollback(self) -> None:
        """Undo the pending transaction; never fails."""
        work = self._open()
        try:
            work.rollback()
        except TenfoldError as error:
            raise of_both(error) from error

    def close(self) -> None:
        """Roll back what is pending and let go of the pools; the connection and its cursors are of no use after it."""
        work, self._work = self._work, None
        if work is None:
            return
        try:
            work.rollback()
            for cursor in list(self._cursors):
                cursor.close()
        except TenfoldError as error:
            raise of_both(error) from error
        finally:
            self._shared.let_go()

    @property
    def autocommit(self) -> bool:
        """Whether each statement is committed by itself. Setting it while a transaction is pending is refused."""
        return self._open().autocommit

    @autocommit.setter
    def autocommit(self, wanted: bool) -> None:
        work = self._open()
        if work.pending and wanted != work.autocommit:
            raise ProgrammingError("a transaction is pending", hint="commit or roll back first")
        work.autocommit = wanted

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is pending."""
        return self._open().pending

    def _open(self) -> Implicit:
        if self._work is None:
            raise InterfaceError("the connection is closed", hint="open another with tenfold.dbapi.connect()")
        return self._work

    def __enter__(self) -> Connection:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._work is not None:
                self.commit()
        finally:
            self.close()

    def __del__(self) -> None:
        work = getattr(self, "_work", None)
        if work is not None and not sys.is_finalizing():
            self._shared.lose(work.abandoned())
            warnings.warn("a connection of tenfold.dbapi was not closed", ResourceWarning, stacklevel=2, source=self)


class Cursor:
    """Runs statements of a connection and holds the rows of the last one. For one thread at a time.

    description  of the rows' columns: (name, type code, five times None); None where the statement gives no rows.
                 SQLite has no type codes: None
    rowcount     rows changed, or the number of rows of a SELECT; -1 where it is not known
    lastrowid    id of the last row inserted, else None
    arraysize    how many rows `fetchmany` fetches
    """

    def __init__(self, connection: Connection, opened: Callable[[], Implicit], *, stream: bool) -> None:
        self.connection = connection
        self.arraysize = 1
        self._opened, self._streams = opened, stream
        self._closed = False
        self._stream: Stream | None = None
        self._rows: Sequence[tuple[Any, ...]] = ()
        self._at = self._before = 0
        self._take(Reply(rowcount=-1))

    def execute(self, sql: str, params: Params | None = None) -> Cursor:
        """Run one statement; → this cursor. `%s` and `?` take a sequence, `:name` and `%(name)s` a mapping.

        Raises NotSupportedError (rewrite as its hint says), ProgrammingError, IntegrityError, OperationalError.
        """
        work = self._begin()
        given = _checked(params)
        try:
            answer = work.stream(sql, given) if self._streams else work.execute(sql, given)
        except TenfoldError as error:
            raise of_both(error) from error
        if isinstance(answer, Stream):
            self._take(Reply(answer.columns, (), -1, None, answer.types))
            self._stream = answer
        else:
            self._take(answer)
        return self

    def executemany(self, sql: str, rows: Iterable[Params]) -> Cursor:
        """Run one INSERT, UPDATE or DELETE for each row of parameters; → this cursor. In a transaction all of them
        must be on its shard; with `autocommit` each shard takes all of its rows or none."""
        work = self._begin()
        listed = [_checked(row) for row in rows]
        try:
            self._take(work.execute_many(sql, listed) if listed else Reply())
        except TenfoldError as error:
            raise of_both(error) from error
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        self._with_rows()
        if self._at >= len(self._rows) and not self._read_on():
            return None
        self._at += 1
        return self._rows[self._at - 1]

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next `size` rows (default: `arraysize`), or as many as there are."""
        self._with_rows()
        wanted = self.arraysize if size is None else size
        found: list[tuple[Any, ...]] = []
        while len(found) < wanted and (self._at < len(self._rows) or self._read_on()):
            taken = self._rows[self._at : self._at + wanted - len(found)]
            self._at += len(taken)
            found += taken
        return found

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        self._with_rows()
        found = list(self._rows[self._at :])
        self._at = len(self._rows)
        while self._read_on():
            found += self._rows
            self._at = len(self._rows)
        return found

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    @property
    def rownumber(self) -> int | None:
        """Position from 0 of the row that is fetched next; None without rows."""
        return None if self.description is None else self._before + self._at

    def close(self) -> None:
        """Read no further; the cursor is of no use after it."""
        self._closed = True
        self._stop_reading()
        self._rows = ()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Nothing: values say their size themselves."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing: rows come as large as they are."""

    def nextset(self) -> bool | None:
        """Refused: a statement has one set of rows."""
        raise NotSupportedError("a statement has one set of rows", hint="run one statement after the other")

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> Implicit:
        """Before a statement: the rows of the last one are gone, whether this one succeeds or not."""
        work = self._usable()
        self._stop_reading()
        self._take(Reply(rowcount=-1))
        return work

    def _take(self, reply: Reply) -> None:
        types = reply.types or (None,) * len(reply.columns)
        columns = [(name, code, None, None, None, None, None) for name, code in zip(reply.columns, types, strict=True)]
        self.description: tuple[Description, ...] | None = tuple(columns) or None
        self.rowcount, self.lastrowid, self._rows = reply.rowcount, reply.lastrowid, reply.rows
        self._at = self._before = 0

    def _usable(self) -> Implicit:
        work = self._opened()
        if self._closed:
            raise InterfaceError("the cursor is closed", hint="open another with connection.cursor()")
        return work

    def _with_rows(self) -> None:
        self._usable()
        if self.description is None:
            raise ProgrammingError("there are no rows to fetch", hint="execute a statement that gives rows first")

    def _read_on(self) -> bool:
        """Have the next rows of a stream in `_rows`; → whether there are any."""
        if self._stream is None:
            return False
        try:
            rows = self._stream.fetch()
        except TenfoldError as error:
            raise of_both(error) from error
        self._before += len(self._rows)
        self._rows, self._at = rows, 0
        return bool(rows)

    def _stop_reading(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _checked(params: Params | None) -> Params:
    if params is None:
        return ()
    if isinstance(params, Sequence | Mapping) and not isinstance(params, str | bytes | bytearray | memoryview):
        return params
    raise ProgrammingError(
        f"parameters are a sequence or a mapping, not {type(params).__name__}", hint="write (value,) for one parameter"
    )
