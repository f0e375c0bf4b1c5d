"""A platform for tests: a directory with a file and real SQLite shards, looked at from both sides. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import Any

import tenfold
from tenfold.sharding.engine.initialise import Initialised, initialise
from tenfold.sharding.engine.router import read_topology
from tenfold.sharding.engine.sweeper import sweep
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.topology.model import Topology

SCHEMA = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
    "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER NOT NULL"
    " CHECK (amount > 0))",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT UNIQUE)",
    "CREATE TABLE currencies (code TEXT PRIMARY KEY, digits INTEGER)",
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
    """A tenfold.toml and its shards; waits are short, so that what must fail fails soon."""

    def __init__(self, root: Path, shards: int = 3) -> None:
        self.root, self.file = root, root / "tenfold.toml"
        self.shards = tuple(f"shard_{number}" for number in range(shards))
        root.mkdir(exist_ok=True)
        (root / "var").mkdir(exist_ok=True)
        self.write()

    def write(self, tables: str = GROUP, shards: dict[str, str] | None = None, settings: str = "") -> Topology:
        """Write the file; → what it says. shards: name → the rest of its inline table."""
        listed = shards or {name: f'url = "sqlite:///var/{name}.db"' for name in self.shards}
        waits = "" if "lock_wait_s" in settings else "lock_wait_s = 0.2\n"
        lines = "\n".join(f"{name} = {{ {rest} }}" for name, rest in listed.items())
        self.file.write_text(
            f'[platform]\nname = "tiny"\n[app]\ncommand = "app --port {{port}}"\n'
            f"[database]\n{waits}{settings}\n[database.shards]\n{lines}\n{tables}"
        )
        return self.topology()

    def topology(self) -> Topology:
        return read_topology(self.file, None)

    def initialise(self) -> Initialised:
        return initialise(self.topology())

    def connect(self) -> tenfold.Database:
        return tenfold.connect(self.file)

    def set_up(self, schema: Sequence[str] = SCHEMA) -> Site:
        """Initialise and create the tables."""
        self.initialise()
        with self.connect() as db:
            for statement in schema:
                db.execute(statement)
        return self

    def path(self, shard: str) -> Path:
        """The file of a shard."""
        return self.root / "var" / f"{shard}.db"

    def look(self, shard: str, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        """Run SQL on one shard by SQLite's own client, past Tenfold; committed."""
        with closing(sqlite3.connect(self.path(shard), timeout=5, isolation_level=None)) as connection:
            return connection.execute(sql, params).fetchall()

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

    def sweep(self) -> int:
        """Settle everything unfinished, however young."""
        with self.connect() as db:
            return sweep(self.topology(), db._catalog, older_than_s=-1.0)  # type: ignore[arg-type]

    def violations(self) -> list[str]:
        """How rows and reservations of users.email break the invariant of `reserve`; empty when they do not."""
        rows = [row for found in self.look_everywhere("SELECT email, id FROM users").values() for row in found]
        held = self.look_everywhere("SELECT scope, digest, bucket, owner_bucket, state FROM tf_reservation")
        return list(broken_rules(rows, [row for found in held.values() for row in found]))


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
