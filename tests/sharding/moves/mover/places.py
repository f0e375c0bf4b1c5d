"""A platform of three shards to move buckets about on, and a look at whether all is where it belongs. Edge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

from tenfold.sharding.catalog import on_every_shard, on_the_catalog
from tenfold.sharding.dialects import dialect_of
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.mover import Limits, Mover
from tenfold.sharding.moves.progress import Progress, Silence
from tenfold.sharding.moves.record import Leg, Move
from tests.sharding.engine.sites import Site

TABLES = """
[database.groups.user]
key = "user_id"
tables = { users = "id", deposits = "user_id", notes = "user_id" }
unique = { users = ["email"] }
[database.pinned]
shard_0 = ["posts"]
"""
LITE = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
    "CREATE UNIQUE INDEX users_email ON users (email)",
    "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, ref TEXT, amount INTEGER NOT NULL,"
    " UNIQUE (user_id, ref))",
    "CREATE TABLE notes (user_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE NOCASE, value BLOB,"
    " PRIMARY KEY (user_id, name))",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT)",
)
MARIA = (
    "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(100) CHARACTER SET ascii COLLATE ascii_nopad_bin UNIQUE,"
    " name VARCHAR(100))",
    "CREATE TABLE deposits (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, ref VARCHAR(20), amount BIGINT NOT NULL,"
    " UNIQUE (user_id, ref))",
    "CREATE TABLE notes (user_id BIGINT NOT NULL, name VARCHAR(40) COLLATE utf8mb4_general_ci NOT NULL, value BLOB,"
    " PRIMARY KEY (user_id, name))",
    "CREATE TABLE posts (id BIGINT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(100))",
)
KEYS = {"users": "id", "deposits": "user_id", "notes": "user_id"}
POSTS = 4097


class Place:
    """A site with group tables on all shards; what was moved stays moved from one test of a file to the next."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.write(TABLES, settings="lease_s = 0.1")
        site.initialise()
        for shard in site.shards:
            for statement in LITE if site.engine == "sqlite" else MARIA:
                site.look(shard, statement)

    def empty(self) -> None:
        """No rows anywhere."""
        for shard in self.site.shards:
            for table in (*KEYS, "posts", "tf_reservation", "tf_verdict"):
                self.site.look(shard, f"DELETE FROM {table}")

    def mover(self, progress: Progress | None = None, **more: Any) -> Mover:
        """One that never waits for long, and compares ahead however few the buckets are."""
        settings: dict[str, Any] = {"limits": Limits(grace_s=0.0, ahead=0.0), "sleep": _briefly} | more
        return Mover(self.site.topology(), progress or Silence(), **settings)

    def owned(self, shard: str) -> list[int]:
        """The buckets of a shard."""
        sql = "SELECT bucket FROM tf_bucket WHERE shard = ? AND bucket < 4096 ORDER BY bucket"
        return [row[0] for row in self.site.look("shard_0", sql, (shard,))]

    def leg(self, source: str = "shard_0", target: str = "shard_1", count: int = 6) -> Leg:
        """A leg of some buckets; `fill` puts rows into them first."""
        return Leg(source, target, tuple(self.owned(source)[:count]))

    def users(self, buckets: Sequence[int], count: int) -> list[int]:
        """Ids of users of some buckets."""
        wanted, found, number = set(buckets), list[int](), 0
        while len(found) < count:
            number += 1
            if bucket_of(number, KeyType.INTEGER) in wanted:
                found.append(number)
        return found

    def fill(self, shard: str, buckets: Sequence[int], count: int = 10) -> list[int]:
        """Users of these buckets, with two deposits and a note each → their ids."""
        users = self.users(buckets, count)
        self._insert(shard, "users", [(user, f"u{user}@example.org", f"O'Brien \\ {user} ☃") for user in users])
        deposits = [(2 * user + nth, user, f"r{nth}", nth + 1) for user in users for nth in range(2)]
        self._insert(shard, "deposits", deposits)
        self._insert(shard, "notes", [(user, "Bob", b"\0\xff'") for user in users])
        return users

    def _insert(self, shard: str, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        one = f"({', '.join('?' * len(rows[0]))})"
        self.site.look(shard, f"INSERT INTO {table} VALUES {', '.join([one] * len(rows))}", list(chain(*rows)))

    def rows(self) -> dict[str, list[Any]]:
        """All rows of group tables that lie where their bucket is, sorted: what the application sees."""
        found: dict[str, list[Any]] = {}
        owner = dict(self.site.look("shard_0", "SELECT bucket, shard FROM tf_bucket"))
        for table, key in KEYS.items():
            place = 0 if key == "id" or table == "notes" else 1
            for shard, rows in self.site.look_everywhere(f"SELECT * FROM {table}").items():
                found.setdefault(table, []).extend(
                    row for row in rows if owner[bucket_of(row[place], KeyType.INTEGER)] == shard
                )
        return {table: sorted(rows, key=repr) for table, rows in found.items()}

    def left_behind(self) -> list[str]:
        """Sentences about what a move that is done has left."""
        found = []
        dialect = dialect_of(self.site.engine)
        usual = {"shard_0": {*on_every_shard(dialect), *on_the_catalog(dialect)}}
        for shard in self.site.shards:
            lite = self.site.engine == "sqlite"
            things = (
                "SELECT name FROM sqlite_master WHERE name LIKE 'tf!_%' ESCAPE '!'"
                if lite
                else "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
                " AND table_name LIKE 'tf!_%' ESCAPE '!' UNION"
                " SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
            )
            known = usual.get(shard, {*on_every_shard(dialect)})
            found += [f"{shard} has {name}" for (name,) in self.site.look(shard, things) if name not in known]
            ledger = self.site.look("shard_0", "SELECT object FROM tf_object WHERE shard = ?", (shard,))
            found += [f"the ledger has {name} on {shard}" for (name,) in ledger if name not in known]
            found += self._fences(shard)
            for table, key in KEYS.items():
                keys = {row[0] for row in self.site.look(shard, f"SELECT {key} FROM {table}")}
                owned = set(self.owned(shard))
                lost = [key for key in keys if bucket_of(key, KeyType.INTEGER) not in owned]
                found += [f"{shard} still holds {len(lost)} keys of {table} that are not its own"] if lost else []
        return found

    def _fences(self, shard: str) -> list[str]:
        owners = {row[0]: row[1:] for row in self.site.look("shard_0", "SELECT bucket, shard, epoch FROM tf_bucket")}
        copy = {row[0]: row[1:] for row in self.site.look(shard, "SELECT bucket, shard, epoch FROM tf_bucket")}
        found = [] if copy == owners else [f"the map on {shard} is not the catalog's"]
        for bucket, *fence in self.site.look(shard, "SELECT bucket, state, epoch, to_shard, captured FROM tf_fence"):
            if bucket not in owners:
                continue
            owner, epoch = owners[bucket]
            wanted = ["open", epoch, "", 0] if owner == shard else ["moved", epoch, owner, 0]
            if list(fence) != wanted:
                found.append(f"the fence of {bucket} on {shard} is {fence}, not {wanted}")
        return found[:5]

    def active(self) -> Move | None:
        """The move that is not done."""
        from tenfold.sharding.moves.mover import latest

        move = latest(self.site.topology())
        return move if move and move.phase != "done" else None


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.005))


class Killed(BaseException):
    """The process of the mover ends here."""


class Kill(Silence):
    """Ends the mover before the nth time it comes to a step; steps: how often it came to each."""

    def __init__(self, name: str = "", nth: int = 1) -> None:
        self.name, self.nth, self.steps = name, nth, dict[str, int]()

    def step(self, name: str) -> None:
        self.steps[name] = self.steps.get(name, 0) + 1
        if name == self.name and self.steps[name] == self.nth:
            raise Killed(name)
