"""A platform for tests: a directory with a file and real shards of either engine, looked at from both sides. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import pymysql

import tenfold
from tenfold.sharding.catalog import load
from tenfold.sharding.engine.initialise import Initialised, initialise
from tenfold.sharding.engine.router import one_off_runner, read_topology
from tenfold.sharding.engine.sweeper import sweep
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.topology.model import Topology
from tests.mariadb import PASSWORD, Server, client, fresh_databases

SCHEMA = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
    "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER NOT NULL"
    " CHECK (amount > 0))",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT UNIQUE)",
    "CREATE TABLE currencies (code TEXT PRIMARY KEY, digits INTEGER)",
)
# The same on MariaDB: what is compared by bytes says so.
MARIADB_SCHEMA = (
    "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(100) CHARACTER SET ascii COLLATE ascii_nopad_bin,"
    " name VARCHAR(100))",
    "CREATE TABLE deposits (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, amount BIGINT NOT NULL,"
    " CHECK (amount > 0), KEY deposits_user (user_id))",
    "CREATE TABLE posts (id BIGINT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(100) UNIQUE)",
    "CREATE TABLE currencies (code CHAR(3) CHARACTER SET ascii COLLATE ascii_nopad_bin PRIMARY KEY, digits INTEGER)",
)
GROUP = """
[database.groups.user]
key = "user_id"
tables = { users = "id", deposits = "user_id" }
unique = { users = ["email"] }
[database.pinned]
shard_2 = ["posts"]
[database.reference]
tables = ["currencies"]
"""


class Site:
    """A tenfold.toml and its shards; waits are short, so that what must fail fails soon.

    databases  addresses of empty MariaDB databases, one a shard (see `mariadb_site`); none: SQLite files
    """

    def __init__(self, root: Path, shards: int = 3, databases: Sequence[str] = ()) -> None:
        self.root, self.file = root, root / "tenfold.toml"
        self.engine = "mysql" if databases else "sqlite"
        self.shards = tuple(f"shard_{number}" for number in range(len(databases) or shards))
        self.urls = dict(
            zip(self.shards, databases or [f"sqlite:///var/{name}.db" for name in self.shards], strict=True)
        )
        root.mkdir(exist_ok=True)
        (root / "var").mkdir(exist_ok=True)
        if databases:
            (root / "password").write_text(PASSWORD)
            (root / "password").chmod(0o600)
        self.write()

    def shard_line(self, shard: str) -> str:
        """What stands in the file's inline table of a shard."""
        return f'url = "{self.urls[shard]}"' + (', password = "file:password"' if self.engine == "mysql" else "")

    def write(self, tables: str = GROUP, shards: dict[str, str] | None = None, settings: str = "") -> Topology:
        """Write the file; → what it says. shards: name → the rest of its inline table."""
        listed = shards or {name: self.shard_line(name) for name in self.shards}
        # A lock of InnoDB is waited for in whole seconds.
        waits = "" if "lock_wait_s" in settings else f"lock_wait_s = {0.2 if self.engine == 'sqlite' else 1}\n"
        lines = "\n".join(f"{name} = {{ {rest} }}" for name, rest in listed.items())
        self.file.write_text(
            f'[platform]\nname = "tiny"\n[app]\ncommand = "app --port {{port}}"\n'
            f'[database]\nengine = "{self.engine}"\n{waits}{settings}\n[database.shards]\n{lines}\n{tables}'
        )
        return self.topology()

    def topology(self) -> Topology:
        return read_topology(self.file, None)

    def initialise(self) -> Initialised:
        return initialise(self.topology())

    def connect(self) -> tenfold.Database:
        return tenfold.connect(self.file)

    def set_up(self, schema: Sequence[str] | None = None) -> Site:
        """Initialise and create the tables, by default those of SCHEMA or MARIADB_SCHEMA."""
        self.initialise()
        with self.connect() as db:
            for statement in schema or (SCHEMA if self.engine == "sqlite" else MARIADB_SCHEMA):
                db.execute(statement)
        return self

    def path(self, shard: str) -> Path:
        """The file of a shard that is one."""
        assert self.engine == "sqlite"
        return self.root / "var" / f"{shard}.db"

    def look(self, shard: str, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        """Run SQL with `?` on one shard by a client of its own, past Tenfold; committed."""
        if self.engine == "mysql":
            with self.client(shard) as line, line.cursor() as cursor:
                cursor.execute(sql.replace("%", "%%").replace("?", "%s") if params else sql, list(params) or None)
                return list(cursor.fetchall())
        with closing(sqlite3.connect(self.path(shard), timeout=5, isolation_level=None)) as connection:
            return connection.execute(sql, params).fetchall()

    def client(self, shard: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """A bare connection to a MariaDB shard, as the application's account; autocommit."""
        return client(self.urls[shard])

    def look_everywhere(self, sql: str, params: Sequence[Any] = ()) -> dict[str, list[Any]]:
        return {shard: self.look(shard, sql, params) for shard in self.shards}

    def owner(self, user_id: object) -> str:
        """The shard that the bucket map names for a user."""
        ((shard,),) = self.look(
            "shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", (bucket_of(user_id, KeyType.INTEGER),)
        )
        return str(shard)

    def keys(self, shard: str) -> Iterator[int]:
        """User ids that belong on a shard, from 1 on."""
        owned = {row[0] for row in self.look("shard_0", "SELECT bucket FROM tf_bucket WHERE shard = ?", (shard,))}
        return (key for key in count(1) if bucket_of(key, KeyType.INTEGER) in owned)

    def key(self, shard: str, nth: int = 0) -> int:
        return next(islice(self.keys(shard), nth, None))

    def address(self, shard: str, nth: int = 0) -> str:
        """An e-mail address whose reservation is kept on a shard."""
        owned = {row[0] for row in self.look("shard_0", "SELECT bucket FROM tf_bucket WHERE shard = ?", (shard,))}
        texts = (f"a{number}@example.org" for number in count())
        return next(islice((t for t in texts if bucket_of(t, KeyType.TEXT) in owned), nth, None))

    def sweep(self, older_than_s: float = -1.0) -> int:
        """Settle everything unfinished, however young unless said otherwise."""
        topology = self.topology()
        with one_off_runner(topology) as runner:
            catalog = runner.run(load(topology))
        return sweep(topology, catalog, older_than_s=older_than_s)

    def violations(self) -> list[str]:
        """How rows and reservations of users.email break the invariant of `reserve`; empty when they do not."""
        rows = [row for found in self.look_everywhere("SELECT email, id FROM users").values() for row in found]
        held = self.look_everywhere("SELECT scope, digest, bucket, owner_bucket, state FROM tf_reservation")
        return list(broken_rules(rows, [row for found in held.values() for row in found]))


@contextmanager
def mariadb_site(root: Path, servers: Sequence[Server], shards: int = 3) -> Iterator[Site]:
    """A site whose shards are new, empty databases on `servers` (the fixture `three_servers`), dropped at the end."""
    with fresh_databases(servers, shards) as databases:
        yield Site(root, databases=databases)


def broken_rules(rows: Sequence[tuple[Any, ...]], reservations: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    """Sentences about (email, id) rows and (scope, digest, bucket, owner_bucket, state) reservations at rest."""
    from tenfold.sharding.reserve import claim_of

    holders: dict[str, list[int]] = {}
    for email, user_id in rows:
        if email is not None:
            holders.setdefault(email, []).append(user_id)
    wanted = {}
    for email, ids in holders.items():
        if len(ids) > 1:
            yield f"{email} belongs to {len(ids)} users: {ids}"
        claim = claim_of("users", "email", email, KeyType.TEXT, bucket_of(ids[0], KeyType.INTEGER))
        wanted[claim.digest] = (email, claim)
    found = {digest: (owner_bucket, state) for _, digest, _, owner_bucket, state in reservations}
    if len(found) != len(reservations):
        yield "one value has reservations on two shards"
    for digest, (email, claim) in wanted.items():
        if found.get(digest) is None:
            yield f"{email} has a user and no reservation"
        elif found[digest] != (claim.owner_bucket, "kept"):
            yield f"{email} is reserved as {found[digest]}, its user is in bucket {claim.owner_bucket}"
    for digest, (_, state) in found.items():
        if digest not in wanted:
            yield f"a reservation ({state}) has no user: its value can never be taken again"
