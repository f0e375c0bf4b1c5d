"""The two sides that the oracle asks: one plain database, and three shards through Tenfold. Edge."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql

import tenfold
from tenfold import AsyncDatabase, Database, dbapi
from tenfold.errors import ConstraintError, RoutingError, StatementError, TenfoldError
from tenfold.sharding.engine.initialise import initialise
from tenfold.sharding.engine.router import read_topology
from tenfold.sharding.result import Result
from tests.mariadb import PASSWORD, client
from tests.sharding.oracle import schema
from tests.sharding.oracle.asks import Ask, Value
from tests.sharding.oracle.data import World
from tests.sharding.oracle.judge import Answer, Row, same_rows

# What Tenfold pins on its own connections, too.
MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
PINS = f"SET SESSION sql_mode = '{MODE}', time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = 5"
# Broken by CHECK (4025, 3819): the drivers call some of them an operational error.
CHECKS = {4025, 3819}
# SQLite 3.40 says so of `body NOT IN (' ', '', ' ')` where body ignores spaces at its end, of whatever file.
MALFORMED = "database disk image is malformed"


@dataclass(frozen=True)
class Failed:
    """The database did not want it: a StatementError or a ConstraintError."""

    kind: type[TenfoldError]
    message: str


@dataclass(frozen=True)
class Refused:
    """Tenfold did not want to run it, and said why."""

    error: TenfoldError

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error} (try: {self.error.hint})"


@dataclass(frozen=True)
class Broken:
    """Anything else that came out of Tenfold: never right."""

    error: Exception


Said = Answer | Failed | Refused | Broken


class Plain:
    """One database by its own driver: the plain one, or a shard behind Tenfold's back."""

    def __init__(self, engine: str, connection: Any) -> None:
        self.engine, self._connection = engine, connection
        self._folds: dict[str, Hashable] = {}

    def run(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Any statement; `?` on SQLite, `%s` on MariaDB."""
        cursor = self._connection.cursor()
        cursor.execute(sql, params or (() if self.engine == "sqlite" else None))
        return [tuple(row) for row in cursor.fetchall()]

    def ask(self, ask: Ask, text: str | None = None) -> Answer | Failed:
        """What the database says to a statement (or to the text that belongs to it)."""
        try:
            cursor = self._connection.cursor()
            if ask.rows:
                return self._many(cursor, ask)
            self._send(cursor, ask, text)
            return _answer(cursor)
        except (sqlite3.Error, sqlite3.Warning, pymysql.Error, OverflowError) as error:
            integrity = isinstance(error, sqlite3.IntegrityError | pymysql.IntegrityError)
            if isinstance(error, pymysql.Error) and error.args[0] in CHECKS:
                integrity = True
            return Failed(ConstraintError if integrity else StatementError, str(error))

    def _many(self, cursor: Any, ask: Ask) -> Answer:
        total = 0
        for row in ask.rows:
            one = replace(ask, values=tuple(Value(item, False) for item in row), rows=())
            self._send(cursor, one)
            total += max(cursor.rowcount, 0)
        return Answer((), [], total)

    def _send(self, cursor: Any, ask: Ask, text: str | None = None) -> None:
        if self.engine == "sqlite":
            sql, params = ask.placed("sqlite", ":name" if ask.style == ":name" else "?", text)
            cursor.execute(sql, params)
        else:
            cursor.execute(ask.placed("mysql", "", text, self._connection.escape)[0])

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is written inside is taken back."""
        self._connection.cursor().execute("BEGIN")
        try:
            yield
        finally:
            self._connection.cursor().execute("ROLLBACK")

    def contents(self, table: str) -> list[Row]:
        """All rows."""
        return self.run(f"SELECT * FROM {table}")

    def load(self, table: str, rows: Sequence[Row]) -> None:
        """Put rows in."""
        if rows:
            mark = "?" if self.engine == "sqlite" else "%s"
            marks = ", ".join([mark] * len(schema.COLUMNS[table]))
            columns = ", ".join(schema.COLUMNS[table])
            rows = [row[: len(schema.COLUMNS[table])] for row in rows]
            self._connection.cursor().executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def empty(self, tables: Sequence[str]) -> None:
        """Take all rows out of these."""
        self.run("BEGIN")
        for table in reversed(tables):  # those that refer to others come after them
            self.run(f"DELETE FROM {table}")
        self.run("COMMIT")

    def fold(self, text: str) -> Hashable:
        """What is one for every text that the loosest collation of the tables does not tell from this one."""
        if self.engine == "sqlite":
            # NOCASE folds A to Z alone; RTRIM ignores spaces at the end.
            return "".join(c.lower() if c.isascii() else c for c in text).rstrip(" ")
        if text not in self._folds:
            sql = "SELECT HEX(WEIGHT_STRING(RTRIM(%s) COLLATE utf8mb4_general_ci))"
            self._folds[text] = self.run(sql, (text,))[0][0]
        return self._folds[text]

    def close(self) -> None:
        self._connection.close()


def _answer(cursor: Any) -> Answer:
    if cursor.description is None:
        return Answer((), [], max(cursor.rowcount, 0))
    rows = [tuple(row) for row in cursor.fetchall()]
    return Answer(tuple(column[0] for column in cursor.description), rows, len(rows))


def open_sqlite(path: Path) -> Plain:
    """A database file; nothing of it must survive a power cut."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    return Plain("sqlite", connection)


def open_mysql(url: str) -> Plain:
    """A database on a server, with what Tenfold pins."""
    return Plain("mysql", client(url, init_command=PINS))


@dataclass
class Pair:
    """`one` is a plain database, `many` the shards, `shards` the shards behind Tenfold's back.

    later     the shards for asyncio, whose loop runs while it is asked
    standing  by PEP 249, each statement by itself; pending: in transactions
    """

    engine: str
    one: Plain
    many: Database
    shards: dict[str, Plain]
    later: AsyncDatabase
    loop: asyncio.Runner
    standing: dbapi.Connection
    pending: dbapi.Connection

    def ask_many(self, ask: Ask) -> Said:
        """What Tenfold says."""
        sql, params = ask.placed(self.engine, ask.style)
        try:
            if ask.route == "stream" and ask.reads:
                with self.many.stream(sql, params) as rows:
                    found = [tuple(row) for row in rows]
                    return Answer(tuple(rows.columns), found, len(found))
            if ask.route == "dbapi" and not ask.rows:
                return asked_by(self.standing, sql, params)
            return answered(self.executed(ask))
        except Exception as error:
            return classed(error)

    def executed(self, ask: Ask) -> Result:
        """The result, by either handle."""
        sql, params = ask.placed(self.engine, ask.style)
        if not ask.rows:
            if ask.route == "async":
                return self.loop.run(self.later.execute(sql, params))
            return self.many.execute(sql, params)
        rows = [{f"p{n}": item for n, item in enumerate(row)} if ask.style == ":name" else row for row in ask.rows]
        if ask.route == "async":
            return self.loop.run(self.later.executemany(sql, rows))
        return self.many.executemany(sql, rows)

    def contents(self, table: str) -> list[Row]:
        """All rows of a table as the shards hold them: Tenfold is not asked."""
        if table in schema.REFERENCE:
            copies = [plain.contents(table) for plain in self.shards.values()]
            assert all(sorted(map(repr, copy)) == sorted(map(repr, copies[0])) for copy in copies), f"{table} differs"
            return copies[0]
        homes = [schema.PINNED[table]] if table in schema.PINNED else list(self.shards)
        return [row for home in homes for row in self.shards[home].contents(table)]

    def alike(self, table: str) -> bool:
        """Whether both hold the same rows."""
        return same_rows(self.one.contents(table), self.contents(table))

    def fill(self, world: World) -> None:
        """Replace all rows: through Tenfold, and in the plain database."""
        self.one.empty(schema.TABLES)
        for name, plain in self.shards.items():
            here = [table for table in schema.TABLES if schema.PINNED.get(table, name) == name]
            plain.empty([*here, "tf_reservation", "tf_verdict"])
        for table, rows in world.items():
            if rows:
                columns = schema.COLUMNS[table]
                sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
                self.many.executemany(sql, [row[: len(columns)] for row in rows])
                self.one.load(table, rows)


def answered(result: Result) -> Answer:
    """What Tenfold gave, for the judge."""
    return Answer(tuple(result.columns), [tuple(row) for row in result], result.rowcount)


def asked_by(connection: dbapi.Connection, sql: str, params: Any) -> Answer:
    """One statement by PEP 249."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        if cursor.description is None:
            return Answer((), [], cursor.rowcount)
        rows = [tuple(row) for row in cursor.fetchall()]
        return Answer(tuple(column[0] for column in cursor.description), rows, cursor.rowcount)


def classed(error: Exception) -> Failed | Refused | Broken:
    """What kind of no an error is."""
    if isinstance(error, RoutingError):
        return Refused(error)
    if isinstance(error, StatementError):
        if "does not parse" in str(error):  # not by our parser, that is
            return Refused(error)
        return Failed(ConstraintError if isinstance(error, ConstraintError) else StatementError, str(error))
    if MALFORMED in str(error):
        return Failed(StatementError, str(error))  # right only if the one database says so too
    return Broken(error)


@contextmanager
def pair_on(engine: str, directory: Path, urls: Sequence[str] = ()) -> Iterator[Pair]:
    """A pair without rows. urls: on MariaDB, of three shards and of the plain database."""
    if engine == "sqlite":
        settings = {name: f'url = "sqlite:///{name}.db"' for name in schema.SHARDS}
    else:
        secret = directory / "password"
        secret.touch(0o600)
        secret.write_text(PASSWORD)
        settings = {
            name: f'url = "{url}", password = "file:password"' for name, url in zip(schema.SHARDS, urls, strict=False)
        }
    file = directory / "tenfold.toml"
    file.write_text(schema.toml(engine, settings))
    initialise(read_topology(file, None))
    if engine == "sqlite":
        plains = [open_sqlite(directory / f"{name}.db") for name in (*schema.SHARDS, "one")]
    else:
        plains = [open_mysql(url) for url in urls]
    with ExitStack() as held:
        for plain in plains:
            held.callback(plain.close)
        many = held.enter_context(tenfold.connect(file))
        for table in schema.TABLES:
            plains[3].run(schema.create(table, engine, numbering=True))
            many.execute(schema.create(table, engine))
        for index in schema.indexes(engine):
            plains[3].run(index)
            many.execute(index)
        loop = held.enter_context(asyncio.Runner())
        later = loop.run(tenfold.connect_async(file))
        held.callback(lambda: loop.run(later.close()))
        standing, pending = dbapi.connect(file, autocommit=True), dbapi.connect(file)
        held.callback(standing.close)
        held.callback(pending.close)
        shards = dict(zip(schema.SHARDS, plains, strict=False))
        yield Pair(engine, plains[3], many, shards, later, loop, standing, pending)
