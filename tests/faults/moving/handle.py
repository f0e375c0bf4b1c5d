"""One way to speak to a platform for threads, tasks and PEP 249, so that all of them do the same work. Edge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import tenfold
from tenfold import dbapi

T = TypeVar("T")


class Answer(NamedTuple):
    """Of a statement."""

    rows: list[tuple[Any, ...]]
    rowcount: int


class Speaks(Protocol):
    """A handle, or a transaction on it."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        """One statement."""


class Handle(Protocol):
    """What a writer or reader holds. One for each thread."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        """One statement, committed on return."""

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Answer:
        """One statement for each row."""

    def transaction(self) -> AbstractContextManager[Speaks]:
        """Committed at its end, rolled back by an exception."""


def handles(file: Path, interface: str) -> Callable[[], Handle]:
    """Connects; what is returned gives each thread a handle."""
    if interface == "threads":
        db = tenfold.connect(file)
        return lambda: Threads(db)
    if interface == "dbapi":
        kept = dbapi.connect(file)  # as long as it is open, so are the pools
        return lambda: Dbapi(kept, file)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    opened = _wait(loop, tenfold.connect_async(file))
    return lambda: Tasks(opened, loop)


def _answer(result: Any) -> Answer:
    return Answer([tuple(row) for row in result], result.rowcount)


class Threads:
    """tenfold.connect."""

    def __init__(self, db: tenfold.Database) -> None:
        self._db = db

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        return _answer(self._db.execute(sql, params))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Answer:
        return _answer(self._db.executemany(sql, rows))

    @contextmanager
    def transaction(self) -> Iterator[Speaks]:
        with self._db.transaction() as tx:
            yield _In(tx)


class _In:
    def __init__(self, tx: tenfold.SyncTransaction) -> None:
        self._tx = tx

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        return _answer(self._tx.execute(sql, params))


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


class Tasks:
    """tenfold.connect_async: each statement is a task of one loop."""

    def __init__(self, db: tenfold.AsyncDatabase, loop: asyncio.AbstractEventLoop) -> None:
        self._db, self._loop = db, loop

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        return _answer(_wait(self._loop, self._db.execute(sql, params)))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Answer:
        return _answer(_wait(self._loop, self._db.executemany(sql, rows)))

    @contextmanager
    def transaction(self) -> Iterator[Speaks]:
        manager = self._db.transaction()
        tx = _wait(self._loop, _entered(manager))
        try:
            yield _InTask(tx, self._loop)
        except BaseException as error:
            _wait(self._loop, _left(manager, error))
            raise
        _wait(self._loop, _left(manager, None))


async def _entered(manager: Any) -> tenfold.AsyncTransaction:
    entered: tenfold.AsyncTransaction = await manager.__aenter__()
    return entered


async def _left(manager: Any, error: BaseException | None) -> None:
    try:
        await manager.__aexit__(type(error) if error else None, error, None)
    except BaseException as raised:
        if raised is not error:
            raise


class _InTask:
    def __init__(self, tx: tenfold.AsyncTransaction, loop: asyncio.AbstractEventLoop) -> None:
        self._tx, self._loop = tx, loop

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        return _answer(_wait(self._loop, self._tx.execute(sql, params)))


class Dbapi:
    """tenfold.dbapi.connect: autocommit outside of `transaction`, inside it what PEP 249 begins by itself."""

    def __init__(self, kept: dbapi.Connection, file: Path) -> None:
        self._kept = kept
        self._own = dbapi.connect(file, autocommit=True)

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Answer:
        cursor = self._own.cursor()
        cursor.execute(sql, list(params))
        return Answer(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Answer:
        cursor = self._own.cursor()
        cursor.executemany(sql, [list(row) for row in rows])
        return Answer([], cursor.rowcount)

    @contextmanager
    def transaction(self) -> Iterator[Speaks]:
        self._own.autocommit = False
        try:
            try:
                yield self
            except BaseException:
                self._own.rollback()
                raise
            self._own.commit()
        finally:
            self._own.rollback()
            self._own.autocommit = True
