"""While a deploy's migrations run no move begins, and the other way round: a setting of the catalog says so. Edge.

Whoever begins either holds the row of the catalog's version while he looks for the other and says that he begins: so
one of two that begin at once sees the other. The setting is there from before the first file until after the last;
of a deployer that was killed, whoever takes the deploy back ends what still runs on the shards, and then removes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tenfold.deploy.journal import replaced
from tenfold.errors import MoveError, NodeError, StatementError
from tenfold.sharding.catalog import MEMBERS, MIGRATES, MIGRATING, VERSION
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import ACTIVE
from tenfold.sharding.ports import Driver

_FENCE = "SELECT fence FROM tf_deploy_lock WHERE name = 'deploy'"
_BEAT = "UPDATE tf_deploy_lock SET beat = beat + 1 WHERE name = 'deploy' AND fence = ?"
_REMOVE = f"DELETE FROM tf_catalog WHERE name = '{MIGRATING}'"  # noqa: S608  a constant
TRIES = 200


@dataclass(frozen=True, slots=True)
class By:
    """Who runs migrations. fence: of the deploy's lock; 0: somebody who holds none."""

    release: str = ""
    fence: int = 0

    @property
    def text(self) -> str:
        """As the setting has it."""
        return f"{self.fence} {self.release}"


class Claim:
    """The setting, as one deployer writes it."""

    def __init__(self, shards: Shards, catalog: str, by: By) -> None:
        self._shards, self._catalog, self._by = shards, catalog, by

    def take(self) -> None:
        """Keep moves from beginning; again and again is once. Raises MoveError while one is active, Replaced where
        another deployer has taken the lock over."""
        with self._alone() as driver:
            refuse_active(driver.execute(ACTIVE, ()).rows)
            self._write(driver)

    def check(self) -> None:
        """Raises Replaced where the setting is another's, or gone: whoever removed it waits for nobody any more."""
        if _said(self._shards.rows(self._catalog, MIGRATES)) != self._by.text:
            raise replaced()

    def beat(self, driver: Driver) -> None:
        """Show, in a transaction that has kept all others from writing to the catalog, that its deployer lives: who
        waits to take the lock over finds another beat than he has seen. Raises Replaced."""
        if self._by.fence and driver.execute(_BEAT, (self._by.fence,)).rowcount != 1:
            raise replaced()

    def give_back(self) -> None:
        """Let moves begin again. What a deployer before us still runs on the shards is ended first. Raises Replaced,
        NodeError where a shard will not let go: then the setting stays."""
        with self._alone() as driver:
            found = _said(driver.execute(MIGRATES, ()).rows)
            if not found:
                return
            self._write(driver)  # from now on the one before begins nothing more
        if found != self._by.text:
            for row in self._shards.rows(self._catalog, MEMBERS):
                self._end(str(row[0]))
        with self._alone() as driver:
            driver.execute(_REMOVE, ())

    @contextmanager
    def _alone(self) -> Iterator[Driver]:
        """A transaction beside which no move is announced, and no other deployer takes or gives back."""
        with self._shards.transaction(self._catalog, token=False) as driver:
            driver.execute(VERSION + self._shards.dialect.current_read, ())
            if self._by.fence and int(driver.execute(_FENCE, ()).rows[0][0]) != self._by.fence:
                raise replaced()
            yield driver

    def _write(self, driver: Driver) -> None:
        driver.execute(_REMOVE, ())
        driver.execute("INSERT INTO tf_catalog (name, value) VALUES (?, ?)", (MIGRATING, self._by.text))

    def _end(self, shard: str) -> None:
        """End the connection that runs a migration on a shard; on SQLite wait for its transaction."""
        if self._shards.dialect is not MYSQL:
            with self._shards.transaction(shard, token=False):
                return
        name = lock_name(self._shards.topology.database.shards[shard].url)
        for _ in range(TRIES):
            ((holder,),) = self._shards.rows(shard, f"SELECT IS_USED_LOCK('{name}')")
            if holder is None:
                return
            with suppress(StatementError):  # it has just gone
                self._shards.execute(shard, f"KILL {int(holder)}")
            self._shards.execute(shard, "DO SLEEP(0.05)")
        raise NodeError(f"the deployer before will not end its migration on {shard}", hint="see its process list")


def _said(rows: Sequence[Sequence[Any]]) -> str:
    return str(rows[0][0]) if rows else ""


def refuse_active(rows: Sequence[Sequence[Any]]) -> None:
    """Raises MoveError where ACTIVE has found a move: its copies would lack what a migration changes."""
    if rows:
        raise MoveError(
            f"move {rows[0][0]} is {rows[0][1]}: migrations wait until it has ended",
            hint="end it first: `tenfold shard status` says how",
        )


def lock_name(url: str) -> str:
    """The lock on a shard's server under which a migration runs; locks have the whole server for a name space."""
    return "tf_migrate_" + hashlib.sha256(url.encode()).hexdigest()[:24]
