"""Statements run step by step, in any order, stopped anywhere: a model checker over real databases. Edge.

An `Actor` is one writer: the generator of a statement or of a transaction. The world performs its effects
one at a time, each actor on connections of its own, so that locks are the engine's. Which actor goes next, and
whether one dies or loses its connection first, is asked of a `Schedule`: an exhaustive one goes through
every answer (with at most so many switches between actors that could go on, as in Musuvathi and Qadeer,
"Iterative context bounding"), a random one draws them from a seed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

from tenfold.errors import NodeDown, NodeError, TenfoldError
from tenfold.sharding.buckets import BucketMap, first_fill
from tenfold.sharding.catalog import on_every_shard, on_the_catalog
from tenfold.sharding.claiming import Claiming
from tenfold.sharding.dialects import SQLITE, Dialect
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.sqlite import SqliteDriver
from tenfold.sharding.execute import Executor
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.layout import Grouped, Layout
from tenfold.sharding.ports import Begin, Chance, Commit, Drawn, Driver, Effect, Pause, Rollback, Send, SendMany, Steps
from tenfold.sharding.reserve import KEPT, RESERVE, Reservations, Transaction, claim_of
from tenfold.sharding.transactions import Transactions
from tenfold.sharding.view import Catalog
from tenfold.sharding.writes import Writes
from tenfold.topology.model import Engine
from tests.faults.schedules import Schedule
from tests.mariadb import options_of
from tests.sharding.engine.sites import broken_rules

SHARDS = ("shard_0", "shard_1")
SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"
SIGN_UP_TWO = "INSERT INTO users (id, email) VALUES (?, ?), (?, ?)"
RENAME = "UPDATE users SET email = ? WHERE id = ?"
LEAVE = "DELETE FROM users WHERE id = ?"
LAYOUT = Layout({"users": Grouped("users", "user", "id", ("email",), False)}, SHARDS, "shard_0")
OWNERS = first_fill(dict.fromkeys(SHARDS, 1))
USERS = {
    Engine.SQLITE: "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT)",
    Engine.MYSQL: "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(60)"
    " CHARACTER SET ascii COLLATE ascii_nopad_bin) ENGINE = InnoDB",
}
Program = Callable[[Executor], Steps[Any]]


class Rules(Protocol):
    """The classes that the protocol is made of."""

    @property
    def reservations(self) -> type[Reservations]: ...
    @property
    def claiming(self) -> type[Claiming]: ...
    @property
    def transactions(self) -> type[Transactions]: ...


@dataclass(slots=True)
class Actor:
    """One writer. outcome: "", then "dead", or of each statement "ok" or the name of its error."""

    steps: Steps[Any]
    drivers: dict[str, Driver]
    effect: Effect | None = None
    open: set[str] = field(default_factory=set)
    # Shards on which its transaction went with the connection, and it has not rolled back yet.
    lost: set[str] = field(default_factory=set)
    blocked: bool = False
    outcome: str = ""


class World:
    """Two shards, emptied before each run.

    opened   a new connection to a shard, which waits for no lock
    dialect  of the shards. SQLite locks a whole file, so what a transaction does inside is nobody else's business;
             InnoDB locks rows, so there another writer may come between any two statements.
    """

    def __init__(self, opened: Callable[[str], Driver], dialect: Dialect, actors: int) -> None:
        self._dialect = dialect
        self._look = {shard: opened(shard) for shard in SHARDS}
        for driver in self._look.values():
            for statement in (
                *on_every_shard(dialect).values(),
                *on_the_catalog(dialect).values(),
                USERS[dialect.engine],
            ):
                driver.execute(statement, ())
        self._drivers = [{shard: opened(shard) for shard in SHARDS} for _ in range(actors + 1)]
        self._now_s, self._tokens = 0.0, 0
        self.actors: list[Actor] = []

    def close(self) -> None:
        for driver in [*self._look.values(), *(d for drivers in self._drivers for d in drivers.values())]:
            driver.close()

    def executor(self, rules: Rules, wait_s: float) -> Executor:
        """A router over the two shards, with the rules of these classes."""
        catalog = Catalog("c", BucketMap(1, OWNERS), replace(LAYOUT, dialect=self._dialect), {})
        made = Executor(catalog, threading.Lock(), wait_s)
        made.reservations = rules.reservations(OWNERS.__getitem__, wait_s, self._dialect)
        made.writes = Writes(made.placing, made.ids, made.reservations)
        made.writes.transactions = rules.transactions(made.ids, made.reservations)
        made.writes.claiming = rules.claiming(made.writes.transactions, self._dialect)
        self._now_s = 1000.0
        for steps in (*(made.plan(sql) for sql in (SIGN_UP, SIGN_UP_TWO, RENAME, LEAVE)), made.ids.draw(None, None)):
            self._finish(steps)
        return made

    def run(
        self, executor: Executor, users: dict[int, str], programs: Sequence[Program], schedule: Schedule, faults: int
    ) -> list[str]:
        """Run the programs from `users` on, at most `faults` of them hit; → broken rules, as sentences."""
        self._reset(users)
        self.actors = [Actor(program(executor), self._drivers[number]) for number, program in enumerate(programs)]
        for actor in self.actors:
            self._resume(actor, partial(next, actor.steps))
        last = 0
        while live := [number for number, actor in enumerate(self.actors) if not actor.outcome]:
            ready = [number for number in live if not self.actors[number].blocked]
            if not ready:  # each waits for a lock that another holds: the wait of the first runs out
                self._fail(self.actors[live[0]], NodeError("stayed locked"))
                continue
            options = [("go", number) for number in sorted(ready, key=lambda number: (number != last, number))]
            if faults:
                options += [(what, number) for number in ready for what in ("die", "lost", "cut")]
            what, last = options[schedule.choose(options)]
            faults -= what != "go"
            self._happen(what, self.actors[last])
            if found := list(self._broken_now()):
                for actor in self.actors:
                    self._end(actor, "stopped")
                return [f"{line} (while running)" for line in found]
        self._finish(executor.reservations.sweep(SHARDS, -1.0, 1e9))
        rows = self._all("SELECT email, id FROM users")
        held = self._all("SELECT scope, digest, bucket, owner_bucket, state FROM tf_reservation")
        return list(broken_rules(rows, held))

    def _happen(self, what: str, actor: Actor) -> None:
        if what == "go":
            self._go(actor)
            return
        if what == "die":
            actor.steps.close()
            self._end(actor, "dead")
            return
        if what == "cut":  # it happened, and the answer was lost; else it never reached the shard
            with suppress(TenfoldError):
                self._perform(actor)
        shard = getattr(actor.effect, "shard", "")
        if shard in actor.open:  # the connection is gone, and its transaction with it
            actor.open.discard(shard)
            if not isinstance(actor.effect, Commit | Rollback):
                actor.lost.add(shard)
            actor.drivers[shard].rollback()
            self._wake()
        if isinstance(actor.effect, Rollback):  # never fails
            self._resume(actor, partial(actor.steps.send, None))
        else:
            self._fail(actor, NodeDown("the connection was lost"))

    def _go(self, actor: Actor) -> None:
        """Perform the pending effect, and after it all that nobody else can see."""
        try:
            resume = partial(actor.steps.send, self._perform(actor))
        except TenfoldError as error:
            if "stayed locked" in str(error):
                actor.blocked = True
                return
            resume = partial(actor.steps.throw, error)
        self._resume(actor, resume)

    def _resume(self, actor: Actor, resume: Callable[[], Effect]) -> None:
        try:
            actor.effect = resume()
        except StopIteration as stop:
            self._end(actor, " ".join(stop.value) if isinstance(stop.value, list) else "done")
        else:
            effect = actor.effect
            whole = self._dialect is SQLITE
            inside = whole and isinstance(effect, Send | SendMany) and effect.shard in actor.open and not effect.aside
            if inside or isinstance(effect, Chance):
                self._go(actor)

    def _fail(self, actor: Actor, error: TenfoldError) -> None:
        actor.blocked = False
        self._resume(actor, partial(actor.steps.throw, error))

    def _end(self, actor: Actor, outcome: str) -> None:
        actor.outcome = outcome
        for shard in actor.open:
            actor.drivers[shard].rollback()
        actor.open.clear()
        self._wake()

    def _wake(self) -> None:
        """A lock has come free."""
        for actor in self.actors:
            actor.blocked = False

    def _finish(self, steps: Steps[Any]) -> None:
        """Run steps undisturbed."""
        actor = Actor(steps, self._drivers[-1])
        self._resume(actor, partial(next, steps))
        while not actor.outcome:
            self._go(actor)
        assert actor.outcome == "done", actor.outcome

    def _perform(self, actor: Actor) -> object:
        effect = actor.effect
        if isinstance(effect, Chance):
            self._tokens += 1
            self._now_s += 0.001
            return Drawn(self._now_s, f"{self._tokens:032x}")
        if isinstance(effect, Pause):
            self._now_s += effect.seconds
            return None
        assert isinstance(effect, Send | SendMany | Begin | Commit | Rollback)
        driver = actor.drivers[effect.shard]
        if effect.shard in actor.lost and not getattr(effect, "aside", False):
            if isinstance(effect, Commit | Rollback):
                actor.lost.discard(effect.shard)
            if not isinstance(effect, Rollback):
                raise NodeDown("the transaction went with its connection")
            return None
        if isinstance(effect, Begin):
            driver.begin()
            actor.open.add(effect.shard)
            return None
        if isinstance(effect, Commit | Rollback):
            actor.open.discard(effect.shard)
            self._wake()
            (driver.commit if isinstance(effect, Commit) else driver.rollback)()
            return None
        if isinstance(effect, Send):
            return driver.execute(effect.sql, effect.params)
        return driver.execute_many(effect.sql, effect.rows)

    def _reset(self, users: dict[int, str]) -> None:
        self._now_s, self._tokens = 1000.0, 0
        for driver in self._look.values():
            driver.begin()
            for table in ("users", "tf_reservation", "tf_verdict"):
                driver.execute(f"DELETE FROM {table}", ())
        for user_id, email in users.items():
            bucket = bucket_of(user_id, KeyType.INTEGER)
            claim = claim_of("users", "email", email, KeyType.TEXT, bucket)
            self._look[OWNERS[bucket]].execute(SIGN_UP, (user_id, email))
            row = (claim.scope, claim.digest, claim.bucket, bucket, KEPT, "0" * 32, 0.0)
            self._look[OWNERS[claim.bucket]].execute(RESERVE, row)
        for driver in self._look.values():
            driver.commit()

    def _all(self, sql: str) -> list[tuple[Any, ...]]:
        return [row for driver in self._look.values() for row in driver.execute(sql, ()).rows]

    def _broken_now(self) -> Iterator[str]:
        """What must hold at every moment: one row a value, and a reservation that leads to it."""
        rows = self._all("SELECT email, id FROM users WHERE email IS NOT NULL")
        held = {row[0]: row[1] for row in self._all("SELECT digest, owner_bucket FROM tf_reservation")}
        if len({email for email, _ in rows}) < len(rows):
            yield f"two users have one address: {rows}"
        for email, user_id in rows:
            bucket = bucket_of(user_id, KeyType.INTEGER)
            if held.get(claim_of("users", "email", email, KeyType.TEXT, bucket).digest) != bucket:
                yield f"{email} has a user, and no reservation leads to it"


def on_files(root: Path) -> Callable[[str], Driver]:
    """Opens shards that are SQLite files."""
    return lambda shard: SqliteDriver(shard, root / f"{shard}.db", 0, mode="rwc")


def on_servers(databases: Sequence[str]) -> Callable[[str], Driver]:
    """Opens shards that are MariaDB databases, by their addresses."""
    urls = dict(zip(SHARDS, databases, strict=True))

    def opened(shard: str) -> Driver:
        driver = MysqlDriver(options_of(urls[shard], shard))
        driver.execute("SET innodb_lock_wait_timeout = 0", ())
        return driver

    return opened


def user_on(shard: str, nth: int = 0) -> int:
    """An id whose row lives on a shard."""
    return next(islice((i for i in count(1) if OWNERS[bucket_of(i, KeyType.INTEGER)] == shard), nth, None))


def email_on(shard: str, nth: int = 0) -> str:
    """An address whose reservation is kept on a shard."""
    found = (text for n in count() if OWNERS[bucket_of(text := f"{n}@example.org", KeyType.TEXT)] == shard)
    return next(islice(found, nth, None))


def statements(*each: tuple[str, tuple[object, ...]]) -> Program:
    """A program of statements, each committed by itself, that goes on after one that is refused."""

    def steps(executor: Executor) -> Steps[list[str]]:
        return (yield from _each(executor, each, None))

    return steps


def _each(
    executor: Executor, each: Sequence[tuple[str, tuple[object, ...]]], tx: Transaction | None
) -> Steps[list[str]]:
    outcomes = []
    for sql, params in each:
        try:
            changed = (yield from executor.execute(sql, params, tx)).rowcount
            outcomes.append("ok" if changed else "none")
        except TenfoldError as error:
            outcomes.append(type(error).__name__)
    return outcomes


def transaction(*each: tuple[str, tuple[object, ...]], commits: bool = True) -> Program:
    """A program of one transaction that goes on after refused statements."""

    def steps(executor: Executor) -> Steps[list[str]]:
        tx = Transaction()
        outcomes = yield from _each(executor, each, tx)
        try:
            yield from (executor.writes.commit(tx) if commits else executor.writes.rollback(tx))
        except TenfoldError as error:
            return [*outcomes, f"commit: {type(error).__name__}"]
        return [*outcomes, "commit" if commits else "rollback"]

    return steps
