"""Snapshots of all shards at one moment: writes are held up, snapshots opened, writes let go. Edge.

MySQL and MariaDB: FLUSH TABLES WITH READ LOCK on every server (it takes RELOAD), else LOCK TABLES … READ on every table
of the shard (which the rights on its database include); then START TRANSACTION WITH CONSISTENT SNAPSHOT on the
connection that will read. Its answer is the proof that the snapshot is open: no other program takes part.
SQLite: BEGIN IMMEDIATE on every file, then a first read in the transaction that will read.
"""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tenfold.deploy.backup.dump import SAVEPOINT
from tenfold.errors import BackupError, NodeError, StatementError, TenfoldError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.ports import Driver, Reply

READING, HOLDING = "backup", "barrier"
_READER = (
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION wait_timeout = 86400, net_write_timeout = 3600",
)
# A table without a primary key is one statement, as long as it takes.
_MARIA_READER = (
    "SET SESSION idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, max_statement_time = 0",
)
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name"
)
_SHORTEST_S, _LEAVE_S = 0.05, 1.0


@dataclass(slots=True)
class Snapshot:
    """One shard's; see ShardPart for the words."""

    at_s: float
    barrier: str
    positions: dict[str, str] = field(default_factory=dict)
    prepared: int = 0


@dataclass(slots=True)
class Snapshots:
    """pause_s: from the first lock that was asked for until the last was let go."""

    shards: dict[str, Snapshot] = field(default_factory=dict)
    pause_s: float = 0.0

    @property
    def moments(self) -> list[str]:
        """Shards whose writes could not be held up, so that each is of a moment of its own."""
        return [shard for shard, one in self.shards.items() if not one.barrier]


class Barrier:
    """Holds writes up on all shards. clock: monotonic seconds; now: Unix time.

    limit_s  how long writes may be held up, whatever a server does: then all are let go, and BackupError is raised,
             retryable
    """

    def __init__(
        self, shards: Shards, names: list[str], limit_s: float, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:  # fmt: skip
        self._shards, self._names, self._limit_s, self._clock, self._now = shards, names, limit_s, clock, now
        self._maria: dict[str, bool] = {}
        self._holders: dict[str, Driver] = {}
        self._silent = ""
        self._began_s = 0.0

    def open(self, *, needed: bool) -> Snapshots:
        """Open a snapshot on each shard's connection for READING. needed: raise where a shard denies a barrier."""
        found = Snapshots()
        try:
            for shard in self._names:
                self._ready(shard)
            self._began_s = self._clock()
            try:
                self._open_all(found, needed)
            finally:
                self._let_go()
                found.pause_s = self._clock() - self._began_s
        finally:
            # With the connection goes whatever it may still hold.
            for shard in self._names:
                self._shards.forget(shard, HOLDING)
        for shard in self._names:
            self._position(shard, found.shards[shard])
        return found

    # ---------------------------------------------------------------- before

    def _ready(self, shard: str) -> None:
        """Connect, so that nothing but locks is waited for later."""
        reader, holder = self._shards.at(shard, READING), self._shards.at(shard, HOLDING)
        self._holders[shard] = holder
        if self._shards.dialect is not MYSQL:
            return
        version = str(reader.execute("SELECT VERSION()", ()).rows[0][0])
        self._maria[shard] = "mariadb" in version.lower()
        for statement in _READER + (_MARIA_READER if self._maria[shard] else ()):
            reader.execute(statement, ())
        # Where this machine dies without a word the server lets go all the same.
        holder.execute(f"SET SESSION wait_timeout = {math.ceil(self._limit_s) + 1:d}", ())

    # ---------------------------------------------------------------- held

    def _open_all(self, found: Snapshots, needed: bool) -> None:
        modes = {shard: self._hold(shard) for shard in self._names}
        denied = [shard for shard in self._names if not modes[shard]]
        if denied and needed:
            raise BackupError(
                f"writes cannot be held up on {', '.join(denied)}: the account may neither flush nor lock tables",
                hint="GRANT RELOAD ON *.* TO it, or LOCK TABLES on its database; or leave --consistent out",
            )
        for shard in self._names:
            self._open(shard)
            found.shards[shard] = Snapshot(self._now(), modes[shard])
        for shard in self._names:
            self._see(shard, found.shards[shard])

    def _ask(self, shard: str, driver: Driver, sql: str) -> Reply:
        """Run a statement in what time is left, though its server hang: others' writers wait meanwhile."""
        if not isinstance(driver, MysqlDriver):
            return driver.execute(sql, ())
        driver.start(sql, ())
        if not _answers(driver, self._left_s()):
            self._silent = shard
            raise self._not_held(shard, None)
        return driver.finish()

    def _hold(self, shard: str) -> str:
        """How writes are held up there; "": they cannot be."""
        if self._shards.dialect is not MYSQL:
            self._hold_file(shard)
            return "file"
        # On each shard's own connection, though several may be of one server: names and ports of two can be the same.
        if self._granted(shard, "FLUSH TABLES WITH READ LOCK"):
            return "global"
        return "tables" if self._granted(shard, self._lock_tables(shard)) else ""

    def _lock_tables(self, shard: str) -> str:
        quoted = self._shards.dialect.quoted
        names = [quoted(str(row[0])) for row in self._ask(shard, self._holders[shard], _TABLES).rows]
        return "LOCK TABLES " + ", ".join(f"{name} READ" for name in names) if names else "DO 0"

    def _left_s(self) -> float:
        return max(_SHORTEST_S, self._limit_s - (self._clock() - self._began_s))

    def _granted(self, shard: str, lock: str) -> bool:
        """Whether the account may; waits for what runs. Raises BackupError after the time for it."""
        holder, left_s = self._holders[shard], self._left_s()
        self._ask(shard, holder, f"SET SESSION lock_wait_timeout = {max(1, math.ceil(left_s)):d}")
        if self._maria[shard]:
            self._ask(shard, holder, f"SET SESSION max_statement_time = {left_s:.3f}")
        try:
            self._ask(shard, holder, lock)
        except NodeError as error:
            if not error.retryable and "denies it" in str(error):
                return False
            raise self._not_held(shard, error) from error
        if self._clock() - self._began_s > self._limit_s:
            raise self._not_held(shard, None)
        return True

    def _hold_file(self, shard: str) -> None:
        holder = self._holders[shard]
        holder.execute(f"PRAGMA busy_timeout = {int(self._left_s() * 1000):d}", ())
        try:
            holder.begin()
        except NodeError as error:
            raise self._not_held(shard, error) from error

    def _not_held(self, shard: str, error: TenfoldError | None) -> BackupError:
        why = f" ({error})" if error and "locked" not in str(error) and "longer" not in str(error) else ""
        return BackupError(
            f"writes could not be held up on all shards within {self._limit_s:g} s: {shard} was busy{why}",
            hint="a long statement or transaction runs there; try again, or raise backup.barrier_s",
            retryable=True,
        )

    def _open(self, shard: str) -> None:
        reader = self._shards.at(shard, READING)
        if self._shards.dialect is MYSQL:
            self._ask(shard, reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            self._ask(shard, reader, f"SAVEPOINT {SAVEPOINT}")
        else:
            reader.begin(reads=True)
            reader.execute("SELECT COUNT(*) FROM sqlite_master", ())

    def _see(self, shard: str, found: Snapshot) -> None:
        """What can only be asked while nothing is written; and that nothing was since the snapshots were begun."""
        if self._shards.dialect is not MYSQL:
            return
        holder = self._holders[shard]
        name = "gtid_binlog_pos" if self._maria[shard] else "gtid_executed"
        with suppress(StatementError, NodeError):
            gtid = str(self._ask(shard, holder, f"SELECT @@GLOBAL.{name}").rows[0][0] or "")
            found.positions |= {"gtid": gtid} if gtid else {}
        with suppress(StatementError, NodeError):
            found.prepared = len(self._ask(shard, holder, "XA RECOVER").rows)
        try:
            self._ask(shard, holder, "DO 0")
        except NodeError as error:
            raise BackupError(
                f"the connection that held writes up on {shard} was lost", hint="try again", retryable=True
            ) from error

    # ---------------------------------------------------------------- after

    def _let_go(self) -> None:
        """On all, whether they were asked for it or not; at once, and then see that they have."""
        asked = []
        for shard, holder in self._holders.items():
            with suppress(TenfoldError):
                if not isinstance(holder, MysqlDriver):
                    holder.rollback()
                elif shard != self._silent:
                    holder.start("UNLOCK TABLES", ())
                    asked.append(holder)
        for holder in asked:
            with suppress(TenfoldError):
                if _answers(holder, _LEAVE_S):
                    holder.finish()

    def _position(self, shard: str, found: Snapshot) -> None:
        """Where the binary log stood: MariaDB remembers it with the snapshot."""
        if self._shards.dialect is MYSQL and self._maria[shard]:
            rows = self._shards.at(shard, READING).execute("SHOW STATUS LIKE 'binlog_snapshot_%'", ()).rows
            told = {str(name).lower().removeprefix("binlog_snapshot_"): str(value) for name, value in rows}
            if told.get("file"):
                found.positions |= {"file": told["file"], "position": told.get("position", "")}


def _answers(driver: MysqlDriver, limit_s: float) -> bool:
    """Whether the answer to what was started begins to come in that time."""
    ready = select.poll()
    ready.register(driver.fileno(), select.POLLIN)
    return bool(ready.poll(limit_s * 1000))


@contextmanager
def closing_all(shards: Shards) -> Iterator[Shards]:
    """Close every connection in the end; their snapshots go with them."""
    try:
        yield shards
    finally:
        shards.close()


def reader_of(shards: Shards, shard: str) -> Driver:
    """The connection on which a shard's snapshot is open; never a new one, which would have none."""
    if (shard, READING) not in shards.living(shard):
        raise BackupError(f"the connection to {shard} was lost", hint="try again", retryable=True)
    return shards.at(shard, READING)
