"""The journal of deploys and its lock, in the catalog's database: what was begun, by whom, and how it ended. Edge.

No clock is compared with another's. Whoever holds the lock raises its `beat` again and again; who finds the same token
and beat for `lock_s` on his own clock takes it over by compare-and-set, with a larger `fence`. Every write of the
journal is one transaction with a look at the token, so that a deployer who was replaced writes nothing more.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tenfold.audit.trail import whoami
from tenfold.deploy.order import OPEN, Deployed, History, Mark, Order, State
from tenfold.errors import DeployError, StatementError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.ports import Driver
from tenfold.topology.model import Topology

LOCK = "deploy"
LONGEST_SAID = 4_000
"""Characters of an ending or a measurement that the journal keeps."""
KEPT_STEPS = 50
"""Deploys whose steps are kept; of older ones only how they ended."""
_TABLES = {
    "tf_deploy": "id BIGINT PRIMARY KEY, state VARCHAR(10) NOT NULL, release_id VARCHAR(130) NOT NULL,"
    " orders TEXT NOT NULL, who VARCHAR(200) NOT NULL, began_s DOUBLE PRECISION NOT NULL, ended_s DOUBLE PRECISION,"
    " said TEXT NOT NULL",
    "tf_deploy_step": "deploy BIGINT NOT NULL, position INTEGER NOT NULL, name VARCHAR(200) NOT NULL,"
    " mark VARCHAR(10) NOT NULL, began_s DOUBLE PRECISION NOT NULL, ended_s DOUBLE PRECISION, told TEXT NOT NULL,"
    " PRIMARY KEY (deploy, name)",
    "tf_deploy_lock": "name VARCHAR(20) PRIMARY KEY, token VARCHAR(32) NOT NULL, fence BIGINT NOT NULL,"
    " beat BIGINT NOT NULL, who VARCHAR(200) NOT NULL, process VARCHAR(200) NOT NULL,"
    " since_s DOUBLE PRECISION NOT NULL, lock_s DOUBLE PRECISION NOT NULL",
}
_HOLDER = "SELECT token, fence, beat, who, process, since_s, lock_s FROM tf_deploy_lock WHERE name = 'deploy'"
_TAKE = (
    "UPDATE tf_deploy_lock SET token = ?, fence = fence + 1, beat = 0, who = ?, process = ?, since_s = ?, lock_s = ?"
    " WHERE name = 'deploy' AND token = ? AND fence = ? AND beat = ?"
)
_BEAT = "UPDATE tf_deploy_lock SET beat = beat + 1 WHERE name = 'deploy' AND token = ?"
_FREE = "UPDATE tf_deploy_lock SET token = '', beat = beat + 1 WHERE name = 'deploy' AND token = ?"
_ROW = "SELECT id, state, orders, who, began_s, ended_s, said FROM tf_deploy ORDER BY id"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock; token "": nobody."""

    token: str
    fence: int
    beat: int
    who: str
    process: str
    since_s: float
    lock_s: float

    @property
    def known_dead(self) -> bool:
        """Whether it was a process of this machine, and has ended; False where that cannot be known."""
        try:
            machine, boot, pid, started = json.loads(self.process)
        except ValueError:
            return False
        if [machine, boot] != _machine():
            return False
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            return abs(process.create_time() - float(started)) > 1.0 or process.status() == psutil.STATUS_ZOMBIE
        return True


@dataclass(frozen=True, slots=True)
class Held:
    """The lock, as this process has it. fence: larger than that of everybody before."""

    token: str
    fence: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A step as the journal has it."""

    position: int
    name: str
    mark: Mark
    told: str
    began_s: float
    ended_s: float | None


class Replaced(DeployError):
    """Another process has taken the lock over: this one must not do anything more."""


def replaced() -> Replaced:
    """What a deployer is told who finds another's token."""
    return Replaced(
        "another process has taken this deploy over: this one was silent for too long, and has stopped",
        hint="`tenfold deploy --list` says how it stands",
    )


class Journal:
    """The tables, over a connection of its own; may be used by several threads, one at a time."""

    def __init__(self, topology: Topology, clock: Callable[[], float] = time.time) -> None:
        """Connects when it is first used. clock: Unix time, for people to read; nothing is decided by it."""
        self.topology, self._clock = topology, clock
        self._shards = Shards(topology)
        self._catalog = topology.catalog_shard
        self._turn = threading.RLock()

    def open(self) -> Journal:
        """Make the tables where they are not there yet. Raises DeployError where there is no platform, NodeError."""
        with self._turn:
            if self._has_tables():
                return self
            end = ") ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin"
            try:
                for name, columns in _TABLES.items():
                    self._note(name)
                    mysql = self._shards.dialect is MYSQL
                    sql = f"CREATE TABLE IF NOT EXISTS {name} ({columns}" + (end if mysql else ")")
                    self._shards.execute(self._catalog, sql)
            except StatementError as error:
                raise DeployError(
                    f"{self._catalog} holds no catalog: {error}", hint="start the platform first: `tenfold up`"
                ) from None
            never = "IGNORE" if self._shards.dialect is MYSQL else "OR IGNORE"
            self._shards.execute(
                self._catalog,
                f"INSERT {never} INTO tf_deploy_lock (name, token, fence, beat, who, process, since_s, lock_s)"  # noqa: S608
                " VALUES ('deploy', '', 0, 0, '', '', 0, 0)",
            )
        return self

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._shards.close()

    # --- the lock ---

    def holder(self) -> Holder:
        """Who has the lock now."""
        with self._turn:
            row = self._shards.rows(self._catalog, _HOLDER)[0]
        return Holder(str(row[0]), int(row[1]), int(row[2]), str(row[3]), str(row[4]), float(row[5]), float(row[6]))

    def take(self, seen: Holder, who: str, lock_s: float) -> Held | None:
        """Take the lock from `seen`, or where it is free; None where somebody was quicker, or `seen` lives on."""
        token = secrets.token_hex(16)
        me = psutil.Process()
        process = json.dumps([*_machine(), me.pid, me.create_time()])
        values = (token, who, process, self._clock(), lock_s, seen.token, seen.fence, seen.beat)
        with self._turn:
            taken = self._shards.execute(self._catalog, _TAKE, values).rowcount == 1
        return Held(token, seen.fence + 1) if taken else None

    def beat(self, held: Held) -> bool:
        """Say that we live; False where the lock is another's by now."""
        with self._turn:
            return self._shards.execute(self._catalog, _BEAT, (held.token,)).rowcount == 1

    def release(self, held: Held) -> None:
        """Give the lock back; nothing where it is another's."""
        with self._turn:
            self._shards.execute(self._catalog, _FREE, (held.token,))

    # --- deploys ---

    def history(self) -> History:
        """All deploys."""
        with self._turn:
            rows = self._shards.rows(self._catalog, _ROW) if self._has_tables() else []
        return History(
            tuple(
                Deployed(
                    int(row[0]), State(row[1]), Order.of(row[2]), json.loads(row[3]), float(row[4]),
                    None if row[5] is None else float(row[5]), json.loads(row[6]),
                )
                for row in rows
            )
        )  # fmt: skip

    def begin(self, held: Held, order: Order) -> int:
        """Record a deploy that begins, → its number. Raises Replaced, and DeployError while another is open."""
        with self._ours(held) as driver:
            rows = driver.execute("SELECT id, state FROM tf_deploy ORDER BY id DESC LIMIT 1", ()).rows
            if rows and State(rows[0][1]) in OPEN:
                raise DeployError(f"deploy {rows[0][0]} is {rows[0][1]}", hint="tenfold rollback")
            number = int(rows[0][0]) + 1 if rows else 1
            driver.execute(
                "INSERT INTO tf_deploy (id, state, release_id, orders, who, began_s, ended_s, said)"
                " VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                (
                    number,
                    State.RUNNING.value,
                    order.release,
                    order.as_json(),
                    _text(whoami()),
                    self._clock(),
                    _text(""),
                ),
            )
            driver.execute("DELETE FROM tf_deploy_step WHERE deploy <= ?", (number - KEPT_STEPS,))
        return number

    def turn(self, held: Held, number: int, state: State, said: str = "") -> None:
        """Record how a deploy stands now. Raises Replaced."""
        ended_s = None if state in OPEN and state is not State.STUCK else self._clock()
        with self._ours(held) as driver:
            driver.execute(
                "UPDATE tf_deploy SET state = ?, said = ?, ended_s = ? WHERE id = ?",
                (state.value, _text(said), ended_s, number),
            )

    # --- steps ---

    def steps(self, number: int) -> dict[str, Entry]:
        """The steps of a deploy that were begun, by name, in the order of their beginning."""
        with self._turn:
            rows = self._shards.rows(
                self._catalog,
                "SELECT position, name, mark, told, began_s, ended_s FROM tf_deploy_step WHERE deploy = ?"
                " ORDER BY began_s, position",
                (number,),
            )
        return {
            str(row[1]): Entry(
                int(row[0]), str(row[1]), Mark(row[2]), json.loads(row[3]), float(row[4]),
                None if row[5] is None else float(row[5]),
            )
            for row in rows
        }  # fmt: skip

    def step(self, held: Held, number: int, position: int, name: str, mark: Mark, told: str = "") -> None:
        """Record a step: before it begins, and after it has ended. Raises Replaced: then it must not begin."""
        now_s = self._clock()
        with self._ours(held) as driver:
            if mark is Mark.BEGUN:
                driver.execute("DELETE FROM tf_deploy_step WHERE deploy = ? AND name = ?", (number, name))
                driver.execute(
                    "INSERT INTO tf_deploy_step (deploy, position, name, mark, began_s, ended_s, told)"
                    " VALUES (?, ?, ?, ?, ?, NULL, ?)",
                    (number, position, name, mark.value, now_s, _text(told)),
                )
                return
            # What was measured stays when the step is taken back.
            sql = "UPDATE tf_deploy_step SET mark = ?, ended_s = ?, told = CASE WHEN ? THEN ? ELSE told END"
            values = (mark.value, now_s, 1 if told else 0, _text(told), number, name)
            driver.execute(sql + " WHERE deploy = ? AND name = ?", values)

    @contextmanager
    def _ours(self, held: Held) -> Iterator[Driver]:
        """A transaction that begins with proof that the lock is ours, and keeps it so until it ends."""
        with self._turn, self._shards.transaction(self._catalog, token=False) as driver:
            if driver.execute(_BEAT, (held.token,)).rowcount != 1:
                raise replaced()
            yield driver

    def _has_tables(self) -> bool:
        try:
            return bool(self._shards.rows(self._catalog, _HOLDER))
        except StatementError:
            return False

    def _note(self, name: str) -> None:
        sql = "SELECT 1 FROM tf_object WHERE shard = ? AND object = ?"
        if not self._shards.rows(self._catalog, sql, (self._catalog, name)):
            self._shards.execute(
                self._catalog,
                "INSERT INTO tf_object (shard, object, created_s) VALUES (?, ?, ?)",
                (self._catalog, name, self._clock()),
            )


def _text(said: str) -> str:
    """As the ASCII columns of both engines take any text, within their bounds."""
    return json.dumps(said[:LONGEST_SAID])


def _machine() -> list[str]:
    with suppress(OSError):
        return [socket.gethostname(), Path("/proc/sys/kernel/random/boot_id").read_text().strip()]
    return [socket.gethostname(), f"{psutil.boot_time():.0f}"]
