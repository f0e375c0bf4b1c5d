"""Runs files of migrations on the shards, resumable statement by statement, with a ledger on each. Edge.

MariaDB and MySQL commit each DDL by itself: the ledger says before a statement which one begins, and after it that it
is done; one in between is in doubt, and is run again, where "it is there already" means that it was done. Statements
that change rows are one transaction with their line in the ledger. On SQLite a file is one transaction.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tenfold.deploy.claim import By, Claim, lock_name, refuse_active
from tenfold.deploy.migrations import File, Ground, Present, Statement, statements
from tenfold.errors import DeployError, NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.initialise import initialise
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import mysql_options
from tenfold.sharding.engine.sqlite import SqliteDriver, sqlite_path
from tenfold.sharding.layout import layout_of
from tenfold.sharding.moves.connections import STATEMENT_S, Shards
from tenfold.sharding.moves.record import ACTIVE
from tenfold.sharding.mysqlshapes import read_mysql_shape
from tenfold.sharding.ports import Driver
from tenfold.topology.model import Engine, Topology

LOCK_S = 10
METADATA_S, TRIES = 3, 20
"""DDL waits so long for open transactions, then lets those that queue behind it by, and tries again."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS tf_migration (name VARCHAR(130) PRIMARY KEY, number BIGINT NOT NULL,"
    " sha256 CHAR(64) NOT NULL, prefix VARCHAR(64) NOT NULL, state VARCHAR(10) NOT NULL,"
    " position INTEGER NOT NULL, doing INTEGER NOT NULL, at_s DOUBLE PRECISION NOT NULL)"
)
_MYSQL_END = " ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin"
_ROWS = "SELECT name, number, sha256, state, position, doing, at_s FROM tf_migration ORDER BY number"
_INSERT = (
    "INSERT INTO tf_migration (name, number, sha256, prefix, state, position, doing, at_s)"
    " VALUES (?, ?, ?, '', ?, ?, ?, ?)"
)
_NOTE = "UPDATE tf_migration SET state = ?, position = ?, doing = ?, prefix = ?, at_s = ? WHERE name = ?"
_THERE = ("already exists", "Duplicate column name", "Duplicate key name", "check that it exists", "Unknown table")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a shard's ledger. position: statements that are done; doing: the one that has begun since, or 0."""

    name: str
    number: int
    sha256: str
    state: str
    position: int
    doing: int
    at_s: float


Ledger = Mapping[str, Line]


class Migrating:
    """The files of one release on the shards of one platform. by: who runs them; now: Unix time, for the ledgers."""

    def __init__(self, topology: Topology, by: By | None = None, now: Callable[[], float] = time.time) -> None:
        self.topology, self._now = topology, now
        self._shards = Shards(topology)
        self._catalog = topology.catalog_shard
        self._claim = Claim(self._shards, self._catalog, by or By())

    def close(self) -> None:
        """Close what was opened."""
        self._shards.close()

    # --- what is there ---

    def ground(self) -> Ground:
        """Where tables are now, and what they look like. Raises NodeError, DeployError where there is no platform."""
        rows = self._shards.rows
        try:
            members = tuple(str(row[0]) for row in rows(self._catalog, "SELECT shard FROM tf_member ORDER BY position"))
            pinned = rows(self._catalog, "SELECT table_name, detail FROM tf_table WHERE kind = 'pinned'")
        except StatementError:
            raise DeployError(
                f"{self._catalog} holds no catalog", hint="start the platform first: `tenfold up`"
            ) from None
        layout = layout_of(self.topology.database, self._catalog, members)
        ground = Ground(layout, {str(name).lower(): str(shard) for name, shard in pinned}, {})
        return replace(ground, present=self._present(ground))

    def _present(self, ground: Ground) -> Present:
        if self.topology.database.engine is not Engine.MYSQL:
            return {}  # SQLite changes no column's type
        found: dict[str, Any] = {}
        for name, placed in ground.layout.tables.items():
            shards = ground.shards_of(name)
            shape = self._shards.ask(read_mysql_shape(shards[0], placed.table)) if shards else None
            if shape is not None:
                found[name] = shape.columns
        return found

    def ledgers(self, ground: Ground) -> dict[str, dict[str, Line]]:
        """Shard → its ledger; empty where none was kept yet."""
        found: dict[str, dict[str, Line]] = {}
        for shard in ground.layout.shards:
            try:
                rows = self._shards.rows(shard, _ROWS)
            except StatementError:
                rows = []
            found[shard] = {
                str(r[0]): Line(str(r[0]), int(r[1]), str(r[2]), str(r[3]), int(r[4]), int(r[5]), float(r[6]))
                for r in rows
            }
        return found

    def pending(self, files: Sequence[File], ground: Ground) -> list[File]:
        """The files that some shard has not done yet. Raises DeployError for one that was changed after it ran."""
        ledgers = adopted(self.ledgers(ground))
        wrong = [
            f"{file.name} has been changed after it ran on {shard}"
            for file in files
            for shard, ledger in ledgers.items()
            if file.name in ledger and ledger[file.name].state == "done" and ledger[file.name].sha256 != file.digest
        ]
        if wrong:
            raise DeployError("; ".join(wrong), hint="put the file back as it was, and write the change as a new file")
        return [
            file
            for file in files
            if any(file.name not in ledger or ledger[file.name].state != "done" for ledger in ledgers.values())
        ]

    def done(self, ground: Ground) -> set[str]:
        """Names of the files that all shards have done."""
        ledgers = adopted(self.ledgers(ground)).values()
        sets = [{name for name, line in ledger.items() if line.state == "done"} for ledger in ledgers]
        return set.intersection(*sets) if sets else set()

    def no_move(self) -> None:
        """Raises MoveError while rows move: their copies would lack what the migration changes."""
        refuse_active(self._shards.rows(self._catalog, ACTIVE))

    # --- what is done ---

    def run(self, file: File, said: Callable[[str], None] = lambda _: None) -> str:
        """Run what is left to do of one file on every shard, → what was done.

        Raises DeployError for what a shard refuses, NodeError, MoveError; whatever is done stays done, and the next
        call goes on behind it. No move begins from now on until `end`.
        """
        self._claim.take()
        ground = self.ground()
        steps = statements(file, ground)
        self._prepare(file, ground)
        told = []
        for shard in ground.layout.shards:
            count = self._on(shard, file, steps)
            if count:
                told.append(f"{shard}: {count}")
                said(f"{file.name} on {shard}: {count} statements")
        return "statements run: " + ", ".join(told) if told else "nothing was left to do"

    def enter_tables(self) -> str:
        """Enter new tables into the catalog, as `tenfold up` does."""
        self._claim.take()
        initialise(self.topology)
        return "the catalog knows every table of the file"

    def end(self) -> None:
        """Let moves begin again, once what a deployer before still ran was ended. Raises Replaced, NodeError."""
        self._claim.give_back()

    def _prepare(self, file: File, ground: Ground) -> None:
        """Every shard has a line of the file before any shard runs it: so one without lines is one that joined later,
        with tables made like those of the others."""
        mysql = self._shards.dialect is MYSQL
        before = self.ledgers(ground)
        for shard in ground.layout.shards:
            if not before[shard]:
                self._note(shard)
                self._shards.execute(shard, _TABLE + (_MYSQL_END if mysql else ""))
        known = adopted(before)
        for shard, ledger in known.items():
            lines = [line for name, line in ledger.items() if name not in before[shard]]
            if file.name not in ledger:
                lines.append(Line(file.name, file.number, file.digest, "waiting", 0, 0, self._now()))
            for line in lines:
                values = (line.name, line.number, line.sha256, line.state, line.position, line.doing, line.at_s)
                self._shards.execute(shard, _INSERT, values)

    def _note(self, shard: str) -> None:
        rows = self._shards.rows(
            self._catalog, "SELECT 1 FROM tf_object WHERE shard = ? AND object = 'tf_migration'", (shard,)
        )
        if not rows:
            self._shards.execute(
                self._catalog, "INSERT INTO tf_object (shard, object, created_s) VALUES (?, 'tf_migration', ?)",
                (shard, self._now()),
            )  # fmt: skip

    def _on(self, shard: str, file: File, steps: Sequence[Statement]) -> int | None:
        """Run what is left to do on one shard → how many statements; None: it was done already."""
        with self._opened(shard) as driver:
            whole = self._shards.dialect is not MYSQL
            if whole:
                driver.begin()
            self._claim.check()
            sql = "SELECT sha256, prefix, state, position, doing FROM tf_migration WHERE name = ?"
            digest, prefix, state, position, doing = driver.execute(sql, (file.name,)).rows[0]
            if state == "done":
                return None
            if digest != file.digest:
                # A file that failed is mended by a commit; what has run of it must be as it was.
                if int(position) + int(doing) and prefix != _prefix(steps, max(int(position), int(doing))):
                    raise DeployError(
                        f"{file.name} was changed in what has run on {shard} already",
                        hint=f"put its first {max(int(position), int(doing))} statements back as they were",
                    )
                driver.execute("UPDATE tf_migration SET sha256 = ? WHERE name = ?", (file.digest, file.name))
            left = [nth for nth, one in enumerate(steps, 1) if nth > int(position) and shard in one.shards]
            for nth in left:
                try:
                    self._one(driver, file, nth, steps, doubtful=int(doing) == nth)
                except TenfoldError as error:
                    raise _stopped(file, nth, shard, error, whole=whole) from None
            self._line(driver, file, steps, "done", len(steps))
            if whole:
                if shard == self._catalog:
                    self._claim.beat(driver)
                driver.commit()
            return len(left)

    def _line(
        self, driver: Driver, file: File, steps: Sequence[Statement], state: str, position: int, doing: int = 0
    ) -> None:
        prefix = _prefix(steps, max(position, doing))
        driver.execute(_NOTE, (state, position, doing, prefix, self._now(), file.name))

    def _one(self, driver: Driver, file: File, nth: int, steps: Sequence[Statement], *, doubtful: bool) -> None:
        one = steps[nth - 1]
        if self._shards.dialect is not MYSQL:
            driver.execute(one.sql, ())
            return
        if not one.ddl:
            driver.begin()
            try:
                driver.execute(one.sql, ())
                self._line(driver, file, steps, "running", nth)
                driver.commit()
            except BaseException:
                driver.rollback()
                raise
            return
        self._line(driver, file, steps, "running", nth - 1, nth)
        try:
            _patiently(driver, one.sql)
        except StatementError as error:
            if not (doubtful and any(words in str(error) for words in _THERE)):
                self._line(driver, file, steps, "running", nth - 1)
                raise
        self._line(driver, file, steps, "running", nth)

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Driver]:
        """A connection as an application has it, under a lock that ends with it."""
        database = self.topology.database
        driver: Driver
        if self._shards.dialect is not MYSQL:
            path = sqlite_path(database.shards[shard].url, self.topology.root)
            driver = SqliteDriver(shard, path, max(database.lock_wait_s, 10.0))
        else:
            options = mysql_options(self.topology, shard)
            driver = MysqlDriver(replace(options, statement_s=max(options.statement_s, STATEMENT_S)))
        try:
            if self._shards.dialect is MYSQL:
                name = lock_name(database.shards[shard].url)
                if driver.execute(f"SELECT GET_LOCK('{name}', {LOCK_S})", ()).rows[0][0] != 1:
                    raise NodeError(
                        f"another process runs a migration on {shard}, or its last statement has not ended there yet",
                        hint="try again in a moment",
                    )
                driver.execute(f"SET SESSION lock_wait_timeout = {METADATA_S}", ())
            yield driver
        finally:
            driver.close()


def _patiently(driver: Driver, sql: str) -> None:
    """Run DDL that may have to wait for open transactions, without holding those up who come behind it for long."""
    for nth in range(TRIES):
        try:
            driver.execute(sql, ())
            return
        except NodeDown:
            raise
        except NodeError:
            if nth + 1 == TRIES:
                raise
        time.sleep(0.2)


def _prefix(steps: Sequence[Statement], count: int) -> str:
    """Digest of the first statements of a file, for its line in a ledger."""
    return hashlib.sha256("\0".join(one.sql for one in steps[:count]).encode()).hexdigest()


def adopted(ledgers: Mapping[str, Mapping[str, Line]]) -> dict[str, dict[str, Line]]:
    """The ledgers, where a shard without any line has those that are done on the others: it joined later."""
    found = {shard: dict(ledger) for shard, ledger in ledgers.items()}
    complete = {name: line for ledger in ledgers.values() for name, line in ledger.items() if line.state == "done"}
    for shard, ledger in found.items():
        if not ledger:
            found[shard] = dict(complete)
    return found


def _stopped(file: File, nth: int, shard: str, error: TenfoldError, *, whole: bool) -> DeployError:
    done = "nothing of the file was done there" if whole else f"the {nth - 1} before it stay done there"
    return DeployError(
        f"{file.name}: statement {nth} failed on {shard}: {error}; {done}",
        hint=error.hint + "; the next deploy goes on behind what is done" if error.hint else "mend it in a new commit",
        retryable=error.retryable,
    )
