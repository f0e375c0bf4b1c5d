"""Three shards of either engine with tables to write to, made once and emptied between tests. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import tenfold
from tests.sharding.engine.sites import Site, mariadb_site

TABLES = """
[database.groups.user]
key = "user_id"
tables = { users = "id", deposits = "user_id", archive = "user_id", notes = "user_id", logins = "user_id" }
unique = { users = ["email"] }
[database.pinned]
shard_2 = ["posts", "drafts"]
[database.reference]
tables = ["currencies"]
"""
SCHEMAS = {
    "sqlite": (
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
        "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, ref TEXT, amount INTEGER NOT NULL"
        " CHECK (amount > 0), UNIQUE (user_id, ref))",
        "CREATE TABLE archive (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, ref TEXT, amount INTEGER)",
        "CREATE TABLE notes (user_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT, PRIMARY KEY (user_id, name))",
        "CREATE TABLE logins (user_id INTEGER NOT NULL PRIMARY KEY, count INTEGER NOT NULL)",
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT)",
        "CREATE TABLE drafts (id INTEGER PRIMARY KEY, title TEXT)",
        "CREATE TABLE currencies (code TEXT PRIMARY KEY, digits INTEGER)",
    ),
    "mysql": (
        "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(100) CHARACTER SET ascii COLLATE ascii_nopad_bin,"
        " name VARCHAR(100))",
        "CREATE TABLE deposits (id BIGINT PRIMARY KEY AUTO_INCREMENT, user_id BIGINT NOT NULL, ref VARCHAR(20),"
        " amount BIGINT NOT NULL CHECK (amount > 0), UNIQUE (user_id, ref))",
        "CREATE TABLE archive (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, ref VARCHAR(20), amount BIGINT,"
        " KEY archive_user (user_id))",
        "CREATE TABLE notes (user_id BIGINT NOT NULL, name VARCHAR(40) NOT NULL, value VARCHAR(100),"
        " PRIMARY KEY (user_id, name))",
        "CREATE TABLE logins (user_id SMALLINT NOT NULL PRIMARY KEY, count INTEGER NOT NULL)",
        "CREATE TABLE posts (id BIGINT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(100))",
        "CREATE TABLE drafts (id BIGINT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(100))",
        "CREATE TABLE currencies (code CHAR(3) CHARACTER SET ascii COLLATE ascii_nopad_bin PRIMARY KEY,"
        " digits INTEGER)",
    ),
}
DEPOSIT = "INSERT INTO deposits (user_id, ref, amount) VALUES (?, ?, ?)"
NOTE = "INSERT INTO notes (user_id, name, value) VALUES (?, ?, ?)"
NOTES = "SELECT user_id, name, value FROM notes"
EMPTIED = ("users", "deposits", "archive", "notes", "logins", "currencies", "tf_reservation", "tf_verdict")


class World:
    """A site with the tables of SCHEMAS, and a handle on it. users: three keys a shard, in turn."""

    def __init__(self, site: Site, db: tenfold.Database) -> None:
        self.site, self.db, self.engine = site, db, site.engine
        listed = [[site.key(shard, nth) for shard in site.shards] for nth in range(3)]
        self.keys = list(chain(*listed))

    def empty(self) -> None:
        """Delete all rows, past Tenfold."""
        for shard in self.site.shards:
            for table in EMPTIED:
                self.site.look(shard, f"DELETE FROM {table}")

    def all(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of all shards, past Tenfold, sorted."""
        found = self.site.look_everywhere(sql, params)
        return sorted(tuple(row) for rows in found.values() for row in rows)

    def at_home(self, table: str, key: str = "user_id") -> bool:
        """Whether every row of a table lies on the shard that its key names."""
        found = self.site.look_everywhere(f"SELECT {key} FROM {table}")
        return all(self.site.owner(row[0]) == shard for shard, rows in found.items() for row in rows)


@contextmanager
def world_in(root: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Three shards with empty tables, of the engine that `request.param` names."""
    engine = request.param
    with ExitStack() as stack:
        site = Site(root)
        if engine == "mysql":
            site = stack.enter_context(mariadb_site(root, request.getfixturevalue("three_servers")))
        site.write(TABLES)
        site.set_up(SCHEMAS[engine])
        yield World(site, stack.enter_context(site.connect()))
