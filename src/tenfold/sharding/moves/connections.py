"""The connections of a mover: sessions in which literals mean one thing, and which its own triggers let by. Edge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from tenfold.errors import MoveError, NodeDown, TenfoldError
from tenfold.sharding.catalog import IDENTITY, MOVER, check_identity
from tenfold.sharding.dialects import MYSQL, Dialect, dialect_of
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import mysql_options
from tenfold.sharding.engine.sqlite import SqliteDriver, sqlite_path
from tenfold.sharding.ports import Driver, Params, Reply, Send, Steps, T
from tenfold.topology.model import Engine, Topology

STATEMENT_S = 900.0
"""A chunk takes milliseconds; a table that nobody has read for a year, or a metadata lock, may take longer."""
# No strict mode: it would refuse the zero dates and ENUM errors that a table may hold. Without checks of constraints,
# as the rows are there already, and a child may come before its parent.
_MODE = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
_SESSION = (
    f"SET SESSION sql_mode = '{_MODE}', foreign_key_checks = 0, group_concat_max_len = 1073741824",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
_MARIADB = ("SET SESSION check_constraint_checks = 0",)
_SERVER = "SELECT @@hostname, @@port, @@server_id, @@datadir, DATABASE()"
TOKEN = f"SELECT value FROM tf_shard WHERE name = '{MOVER}'"


class Shards:
    """Connections to the shards of the file, opened when they are first needed, and anew once they were lost.

    token    of the mover; 0: of somebody who only reads
    cluster  what each shard must say that it belongs to; "": it is not asked
    servers  shard → the identity that its server must have; those that are missing are not looked at
    """

    def __init__(self, topology: Topology, token: int = 0, cluster: str = "") -> None:
        self.topology, self.token, self.cluster = topology, token, cluster
        self.dialect: Dialect = dialect_of(topology.database.engine)
        self.servers: dict[str, str] = {}
        self._open: dict[tuple[str, str], Driver] = {}

    def at(self, shard: str, purpose: str = "") -> Driver:
        """The connection to a shard for one purpose, as long as it lives. Raises MoveError for another server."""
        driver = self._open.get((shard, purpose))
        if driver is None:
            driver = self._opened(shard)
            self._open[shard, purpose] = driver
        return driver

    def execute(self, shard: str, sql: str, params: Params = ()) -> Reply:
        """Run one statement in a transaction of its own, which needs no token; a lost connection is opened anew,
        once, for the next."""
        try:
            return self.at(shard).execute(sql, params)
        except BaseException:
            self._after(shard, "")
            raise

    def rows(self, shard: str, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""
        return list(self.execute(shard, sql, params).rows)

    @contextmanager
    def transaction(self, shard: str, purpose: str = "", *, token: bool = True) -> Iterator[Driver]:
        """A transaction that no other mover can take over meanwhile. Raises MoveError where one has before."""
        driver = self.at(shard, purpose)
        try:
            driver.begin()
            if token:
                self.check_token(driver, shard, self.dialect.shared_read)
            yield driver
            driver.commit()
        except BaseException:
            self._after(shard, purpose)
            raise

    def check_token(self, driver: Driver, shard: str, lock: str = "") -> None:
        """Raises MoveError unless the token on a shard is this mover's; `lock` keeps it so."""
        rows = driver.execute(TOKEN + lock, ()).rows
        if not rows or int(rows[0][0]) != self.token:
            raise taken_over(shard)

    def ask(self, steps: Steps[T]) -> T:
        """Run logic that only sends statements, outside of transactions."""
        try:
            effect = next(steps)
            while True:
                if not isinstance(effect, Send):
                    raise AssertionError(f"a mover does not run {type(effect).__name__}")
                try:
                    answer = self.execute(effect.shard, effect.sql, effect.params)
                except TenfoldError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def identity(self, shard: str) -> str:
        """Which server, or file, a shard's address leads to."""
        return self._identity(shard, self.at(shard))

    def _identity(self, shard: str, driver: Driver) -> str:
        if self.dialect is MYSQL:
            told = driver.execute(_SERVER, ()).rows[0]
            return hashlib.sha256(repr(tuple(told)).encode()).hexdigest()[:32]
        path = sqlite_path(self.topology.database.shards[shard].url, self.topology.root)
        try:
            file = path.stat()
        except OSError as error:  # it was opened a moment ago
            raise NodeDown(f"{shard}: {path} has gone ({error.strerror})", hint=f"put {path} back") from None
        return f"{file.st_dev}.{file.st_ino}"

    def living(self, shard: str) -> list[tuple[str, str]]:
        """(shard, purpose) of the connections to a shard that are open."""
        return [place for place in self._open if place[0] == shard]

    def forget(self, shard: str, purpose: str = "") -> None:
        """Close one connection."""
        driver = self._open.pop((shard, purpose), None)
        if driver is not None:
            with suppress(TenfoldError):
                driver.close()

    def close(self) -> None:
        """Close all."""
        for shard, purpose in list(self._open):
            self.forget(shard, purpose)

    def _after(self, shard: str, purpose: str) -> None:
        """After an error: end the transaction, or the connection with it."""
        driver = self._open.get((shard, purpose))
        if driver is not None:
            try:
                driver.rollback()
            except TenfoldError:
                self.forget(shard, purpose)

    def _opened(self, shard: str) -> Driver:
        driver = self._mysql(shard) if self.topology.database.engine is Engine.MYSQL else self._sqlite(shard)
        try:
            if self.cluster:
                check_identity(shard, dict(driver.execute(IDENTITY, ()).rows), self.cluster)
            wanted = self.servers.get(shard)
            if wanted is not None and self._identity(shard, driver) != wanted:
                raise MoveError(
                    f"{shard} is another server than the one that the move began with",
                    hint="after a failover run `tenfold shard verify`, then `tenfold shard resume --accept`",
                )
        except BaseException:
            driver.close()
            raise
        return driver

    def _mysql(self, shard: str) -> Driver:
        options = mysql_options(self.topology, shard)
        driver = MysqlDriver(replace(options, statement_s=max(options.statement_s, STATEMENT_S)))
        try:
            maria = "mariadb" in str(driver.execute("SELECT VERSION()", ()).rows[0][0]).lower()
            for statement in _SESSION + (_MARIADB if maria else ()):
                driver.execute(statement, ())
            if self.token:
                driver.execute(f"SET @tf_mover = {self.token:d}", ())
        except BaseException:
            driver.close()
            raise
        return driver

    def _sqlite(self, shard: str) -> Driver:
        database = self.topology.database
        path = sqlite_path(database.shards[shard].url, self.topology.root)
        driver = SqliteDriver(shard, path, max(database.lock_wait_s, 5.0), mover=self.token)
        driver.execute("PRAGMA foreign_keys = OFF", ())
        return driver


def taken_over(shard: str) -> MoveError:
    """The error of a mover whose token on `shard` is no longer the last."""
    return MoveError(
        f"another mover has taken over: its token is on {shard}", hint="let it go on; this one has stopped"
    )
