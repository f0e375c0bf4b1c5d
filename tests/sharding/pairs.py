"""One plain database and three shards that hold the same rows, asked side by side. Edge."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.errors import ConstraintError, RoutingError, StatementError
from tenfold.sharding.engine.database import Database
from tenfold.sharding.engine.initialise import initialise
from tenfold.sharding.ports import Params
from tenfold.topology.model import Topology

SHARDS = ("shard_0", "shard_1", "shard_2")
# A group by number, a group by text, pinned tables and a reference table. `members.oid` is a shard key with
# the name of SQLite's row number; `notes` has no column `id`, so that one in it can only mean something else.
TABLES = {
    "users": "id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT, city TEXT, score INTEGER",
    "user_meta": "user_id INTEGER NOT NULL, name TEXT NOT NULL, value, PRIMARY KEY (user_id, name)",
    "deposits": "id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER, currency TEXT, note TEXT",
    "notes": "user_id INTEGER NOT NULL, body TEXT",
    "banned": "user_id INTEGER NOT NULL PRIMARY KEY",
    "people": "handle TEXT PRIMARY KEY, bio TEXT",
    "follows": "handle TEXT NOT NULL, other TEXT",
    "fans": "who TEXT NOT NULL, note TEXT",
    "clubs": "oid INTEGER PRIMARY KEY, title TEXT",
    "members": "club INTEGER NOT NULL, who TEXT",
    "posts": "id INTEGER PRIMARY KEY, author INTEGER, title TEXT",
    "currencies": "code TEXT PRIMARY KEY, name TEXT, user_id INTEGER",
}
GROUPS = {
    "user": {
        "key": "user_id",
        "tables": {
            "users": "id",
            "user_meta": "user_id",
            "deposits": "user_id",
            "notes": "user_id",
            "banned": "user_id",
        },
        "unique": {"users": ["email"]},
    },
    "person": {"key": "handle", "tables": {"people": "handle", "follows": "handle", "fans": "who"}},
    "club": {"key": "club", "tables": {"clubs": "oid", "members": "club"}},
}


def topology_in(directory: Path, **database: Any) -> Topology:
    """A platform with three SQLite shards in `directory`; `database` replaces keys of its [database]."""
    settings = {
        "shards": {name: {"url": f"sqlite:///{name}.db"} for name in SHARDS},
        "groups": GROUPS,
        "pinned": {"shard_2": ["posts"]},
        "reference": {"tables": ["currencies"]},
    }
    return Topology.model_validate(
        {
            "platform": {"name": "oracle"},
            "app": {"command": "true"},
            "database": settings | database,
            "file": directory / "tenfold.toml",
        }
    )


@dataclass(frozen=True)
class Answer:
    """columns; rows as a multiset, since there is no ORDER BY to go by; rowcount."""

    columns: tuple[str, ...]
    rows: Counter[tuple[Any, ...]]
    rowcount: int


@dataclass
class Pair:
    """`one` is a plain database, `many` the shards, `files` the shards' files behind Tenfold's back."""

    one: sqlite3.Connection
    many: Database
    files: list[sqlite3.Connection]

    def contents(self, table: str) -> Counter[tuple[Any, ...]]:
        """All rows of a table as the files of the shards hold them: Tenfold is not asked."""
        if table == "currencies":
            copies = [Counter(file.execute("SELECT * FROM currencies").fetchall()) for file in self.files]
            assert all(copy == copies[0] for copy in copies), "the copies of a reference table differ"
            return copies[0]
        files = self.files[2:] if table == "posts" else self.files
        return Counter(row for file in files for row in file.execute(f"SELECT * FROM {table}"))

    def copy_to_one(self, table: str) -> None:
        """Make the plain database's table what the shards hold."""
        self.one.execute(f"DELETE FROM {table}")
        for row in self.contents(table).elements():
            self.one.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def alike(self, table: str) -> bool:
        """Whether both hold the same rows."""
        return Counter(self.one.execute(f"SELECT * FROM {table}").fetchall()) == self.contents(table)

    def ask_one(self, sql: str, params: Params = ()) -> Answer | type[Exception]:
        """What the plain database answers, or the kind of its error."""
        try:
            cursor = self.one.execute(sql, params)
            rows = cursor.fetchall()
        except sqlite3.IntegrityError:
            return ConstraintError
        except (sqlite3.Error, sqlite3.Warning):
            return StatementError
        if cursor.description is None:
            return Answer((), Counter(), max(cursor.rowcount, 0))
        return Answer(tuple(column[0] for column in cursor.description), Counter(rows), len(rows))

    def ask_many(self, sql: str, params: Params = ()) -> Answer | type[Exception]:
        """What Tenfold answers, or the kind of its error."""
        try:
            result = self.many.execute(sql, params)
        except (RoutingError, StatementError) as error:
            return type(error)
        return Answer(tuple(result.columns), Counter(tuple(row) for row in result), result.rowcount)

    def compare(self, sql: str, params: Params = ()) -> bool:
        """Ask both; True: answered alike, False: refused, or both failed. Fails where they differ."""
        said = self.ask_many(sql, params)
        if isinstance(said, Answer):
            expected = self.ask_one(sql, params)
            assert said == expected, f"silently wrong: {sql} {params}\n  one database: {expected}\n  Tenfold: {said}"
            return True
        if issubclass(said, RoutingError):
            return False
        # Failed on the way: then it must fail on one database, too, or be what our parser does not know.
        self.one.execute("SAVEPOINT asked")
        expected = self.ask_one(sql, params)
        self.one.execute("ROLLBACK TO asked")
        self.one.execute("RELEASE asked")
        if said is StatementError and isinstance(expected, Answer):
            return False
        assert said is expected, f"{sql} {params}: {said.__name__}, and one database says {expected}"
        return False


@contextmanager
def pair_in(directory: Path) -> Iterator[Pair]:
    """A pair without rows."""
    topology = topology_in(directory)
    initialise(topology)
    one = sqlite3.connect(directory / "one.db", isolation_level=None)
    one.execute("PRAGMA synchronous = OFF")
    many = Database(topology)
    files = [sqlite3.connect(directory / f"{shard}.db", isolation_level=None) for shard in SHARDS]
    try:
        for table, columns in TABLES.items():
            one.execute(f"CREATE TABLE {table} ({columns})")
            many.execute(f"CREATE TABLE {table} ({columns})")
        for file in files:
            file.execute("PRAGMA synchronous = OFF")
        yield Pair(one, many, files)
    finally:
        many.close()
        for connection in (one, *files):
            connection.close()


def seed(pair: Pair) -> None:
    """A dozen users with rows in every table, through Tenfold; then the plain database holds the same."""
    many = pair.many
    for user in range(1, 13):
        many.execute(
            "INSERT INTO users (id, email, name, city, score) VALUES (?, ?, ?, ?, ?)",
            (user, f"u{user}@x", f"n{user % 4}", ("Bern", "Rome", None)[user % 3], user * 10),
        )
        many.execute("INSERT INTO user_meta VALUES (?, 'lang', ?)", (user, user % 3))
        many.execute("INSERT INTO notes VALUES (?, ?)", (user, f"about {user}"))
        for amount in range(user % 3 + 1):
            many.execute(
                "INSERT INTO deposits (user_id, amount, currency, note) VALUES (?, ?, ?, ?)",
                (user, amount * 100 + user, ("CHF", "EUR")[amount % 2], None),
            )
        many.execute("INSERT INTO clubs (oid, title) VALUES (?, ?)", (user, f"club {user}"))
        many.execute("INSERT INTO members VALUES (?, ?)", (user, f"u{user}@x"))
        many.execute("INSERT INTO posts (id, author, title) VALUES (?, ?, ?)", (user, user, f"post {user}"))
    many.executemany("INSERT INTO banned VALUES (?)", [(3,), (4,), (5,)])
    for handle in ("ann", "bob", "handle", "42", "Ann", "ann ", "it's", "Zoë"):
        many.execute("INSERT INTO people VALUES (?, ?)", (handle, f"I am {handle}"))
        many.execute("INSERT INTO follows VALUES (?, ?)", (handle, "ann"))
        many.execute("INSERT INTO fans VALUES (?, ?)", (handle, f"fan {handle}"))
    for position, code in enumerate(("CHF", "EUR", "USD")):
        many.execute("INSERT INTO currencies VALUES (?, ?, ?)", (code, code.lower(), position + 1))
    for table in TABLES:
        pair.copy_to_one(table)
