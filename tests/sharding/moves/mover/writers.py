"""Threads that write while buckets move, and remember what they were told was done. Edge."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tenfold.errors import ConstraintError, FenceError, NodeError, TenfoldError
from tenfold.sharding.engine.router import opener
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.ports import Driver
from tests.sharding.moves.mover.places import Place

Row = tuple[Any, ...]
LEASE_S = 0.1
"""As `places` has it in the file."""


class Away(Exception):
    """The bucket is not where it was; nothing was done."""


class Writer(threading.Thread):
    """Writes to users of its own, on the shard that it believes owns them, as a router would.

    deposits, notes  what there must be: id → row, (user, name) → row. A failed COMMIT would make it unknown: none is.
    """

    def __init__(self, place: Place, users: Sequence[int], seed: int) -> None:
        super().__init__(daemon=True)
        self.place, self.users, self.chance = place, list(users), random.Random(seed)
        self.deposits: dict[int, Row] = {}
        self.notes: dict[tuple[int, str], Row] = {}
        self.done, self.refused, self.failed = 0, 0, list[BaseException]()
        self.stopping = threading.Event()
        self._open: dict[str, Driver] = {}
        self._topology = place.site.topology()
        self._owners: dict[int, tuple[str, int]] = {}
        self._learned_s, self._cleaning = float("-inf"), False
        self._next = 1_000_000 * (seed + 1)

    def run(self) -> None:
        self._learn()
        acts = [self.insert, self.insert, self.update, self.update, self.delete, self.replace, self.upsert,
                self.several, self.hand_over, self.ignore]  # fmt: skip
        try:
            while not self.stopping.is_set():
                self._until_done(self.chance.choice(acts))
                self.done += 1
                self.stopping.wait(0.002)  # the mover shares this process
        except BaseException as error:
            self.failed.append(error)
        finally:
            for driver in self._open.values():
                driver.close()

    def _until_done(self, act: Callable[[], None]) -> None:
        state = self.chance.getstate()
        for _ in range(4000):
            self.chance.setstate(state)  # the same once more
            try:
                act()
                return
            except (FenceError, Away):
                self.refused += 1
                self._learn()
            except NodeError:
                pass
            self.stopping.wait(0.001)
        raise AssertionError("a write was refused for ever")

    def _at(self, shard: str) -> Driver:
        if shard not in self._open:
            self._open[shard] = opener(self._topology, shard)()
        return self._open[shard]

    def _learn(self) -> None:
        """Renew the lease. Connections from before a clean-up are given up: the mover ends them."""
        self._learned_s = time.monotonic()
        catalog = self._at("shard_0")
        cleaning = bool(catalog.execute("SELECT 1 FROM tf_move WHERE phase = 'cleaning'", ()).rows)
        rows = catalog.execute("SELECT bucket, shard, epoch FROM tf_bucket", ()).rows
        self._owners = {bucket: (shard, epoch) for bucket, shard, epoch in rows}
        if cleaning and not self._cleaning:
            while self._open:
                self._open.popitem()[1].close()
        self._cleaning = cleaning

    def _check_lease(self) -> None:
        if time.monotonic() - self._learned_s > LEASE_S:
            raise Away

    def _write(self, users: Sequence[int], *statements: tuple[str, Row]) -> list[int]:
        """Statements in one transaction on the shard of these users → rows that each changed."""
        buckets = [bucket_of(user, KeyType.INTEGER) for user in users]
        places = {self._owners[bucket] for bucket in buckets}
        if len({shard for shard, _ in places}) > 1:
            raise Away
        shard = self._owners[buckets[0]][0]
        driver = self._at(shard)
        try:
            driver.begin()
            self._check_lease()
            counts = [driver.execute(sql, values).rowcount for sql, values in statements]
            if 0 in counts or len(users) > 1:
                self._look(driver, buckets)
            driver.commit()
        except BaseException:
            try:
                driver.rollback()
            except TenfoldError:
                self._open.pop(shard).close()
            raise
        return counts

    def _look(self, driver: Driver, buckets: Sequence[int]) -> None:
        lock = " LOCK IN SHARE MODE" if self.place.site.engine == "mysql" else ""
        for bucket in buckets:
            sql = f"SELECT state, epoch FROM tf_fence WHERE bucket = ?{lock}"
            state, epoch = driver.execute(sql, (bucket,)).rows[0]
            if state != "open" or epoch != self._owners[bucket][1]:
                raise Away

    def _mine(self) -> Row | None:
        return self.chance.choice(list(self.deposits.values())) if self.deposits else None

    def _fresh(self, user: int) -> Row:
        number = self._next + self.chance.randrange(10**6)
        while number in self.deposits:
            number += 1
        return (number, user, f"r{self.chance.randrange(8)}", self.chance.randrange(1000))

    def _taken(self, row: Row, but: int | None = None) -> bool:
        return any(other[1:3] == row[1:3] for number, other in self.deposits.items() if number != but)

    def insert(self) -> None:
        row = self._fresh(self.chance.choice(self.users))
        try:
            self._write(row[1:2], ("INSERT INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)", row))
        except ConstraintError:
            assert self._taken(row), f"{row} was refused and nothing is in its way"
            return
        assert not self._taken(row), f"{row} was taken, beside one like it"
        self.deposits[row[0]] = row

    def ignore(self) -> None:
        row = self._fresh(self.chance.choice(self.users))
        verb = "INSERT IGNORE" if self.place.site.engine == "mysql" else "INSERT OR IGNORE"
        (count,) = self._write(row[1:2], (f"{verb} INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)", row))
        assert count == (not self._taken(row)), f"{row}: {count} rows"
        if count:
            self.deposits[row[0]] = row

    def update(self) -> None:
        row = self._mine()
        if row is not None:
            amount = self.chance.randrange(1000) + 1000 * (row[3] // 1000 + 1)  # always another
            sql = "UPDATE deposits SET amount = ? WHERE id = ? AND user_id = ?"
            assert self._write(row[1:2], (sql, (amount, *row[:2]))) == [1], f"{row} is not there"
            self.deposits[row[0]] = (*row[:3], amount)

    def delete(self) -> None:
        row = self._mine()
        if row is not None:
            assert self._write(row[1:2], ("DELETE FROM deposits WHERE id = ? AND user_id = ?", row[:2])) == [1], row
            del self.deposits[row[0]]

    def replace(self) -> None:
        row = self._fresh(self.chance.choice(self.users))
        self._write(row[1:2], ("REPLACE INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)", row))
        for number in [number for number, other in self.deposits.items() if other[1:3] == row[1:3]]:
            del self.deposits[number]
        self.deposits[row[0]] = row

    def upsert(self) -> None:
        user, name = self.chance.choice(self.users), self.chance.choice("abc")
        value = b"%d" % self.chance.randrange(10**9)
        again = "ON DUPLICATE KEY UPDATE value = VALUES(value)"
        if self.place.site.engine == "sqlite":
            again = "ON CONFLICT DO UPDATE SET value = excluded.value"
        sql = f"INSERT INTO notes (user_id, name, value) VALUES (?, ?, ?) {again}"
        self._write((user,), (sql, (user, name, value)))
        self.notes[user, name] = (user, name, value)

    def several(self) -> None:
        """All or none: the last statement may find its place taken."""
        user = self.chance.choice(self.users)
        first, second = self._fresh(user), self._fresh(user)
        if first[0] == second[0]:
            return
        sql = "INSERT INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)"
        with suppress(ConstraintError):
            self._write((user,), (sql, first), (sql, second))
            self.deposits |= {first[0]: first, second[0]: second}

    def hand_over(self) -> None:
        """A row changes its shard key, where both are on one shard."""
        row, user = self._mine(), self.chance.choice(self.users)
        if row is None:
            return
        shards = {self._owners[bucket_of(each, KeyType.INTEGER)][0] for each in (row[1], user)}
        changed = (row[0], user, *row[2:])
        if len(shards) == 1 and user != row[1] and not self._taken(changed, row[0]):
            sql = "UPDATE deposits SET user_id = ? WHERE id = ? AND user_id = ?"
            assert self._write((row[1], user), (sql, (user, *row[:2]))) == [1], row
            self.deposits[row[0]] = changed
