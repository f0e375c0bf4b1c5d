"""The rows of a run: which keys there are, who writes them, and the schema they live in. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.faults.moving.plan import Plan, users_in

SLOTS = 3
USERS, POSTS, PILLARS = 18, 4, 12
"""Of each writer. Half of the users are in buckets that move."""
ACCOUNTS = 8
LASTING_POSTS = 10
PER_WRITER = USERS * (1 + SLOTS) + POSTS + PILLARS

GROUP = """
[database.groups.user]
key = "user_id"
tables = { users = "id", items = "user_id", pillars = "user_id", accounts = "user_id", transfers = "user_id" }
unique = { users = ["email"] }
[database.pinned]
shard_2 = ["posts"]
[database.reference]
tables = ["currencies"]
"""
_BIG, _TEXT = "BIGINT", "VARCHAR(100) CHARACTER SET ascii COLLATE ascii_nopad_bin"


def schema(engine: str) -> list[str]:
    """CREATE TABLE of all tables. What is compared by bytes says so."""
    big, text = ("INTEGER", "TEXT") if engine == "sqlite" else (_BIG, _TEXT)
    return [
        f"CREATE TABLE users (id {big} PRIMARY KEY, email {text}, v {big} NOT NULL)",
        f"CREATE TABLE items (id {big} NOT NULL, user_id {big} NOT NULL, slot {big} NOT NULL, v {big} NOT NULL,"
        " PRIMARY KEY (user_id, id), UNIQUE (user_id, slot))",
        f"CREATE TABLE pillars (user_id {big} PRIMARY KEY, weight {big} NOT NULL, v {big} NOT NULL)",
        f"CREATE TABLE accounts (user_id {big} PRIMARY KEY, balance {big} NOT NULL)",
        f"CREATE TABLE transfers (id {big} NOT NULL, user_id {big} NOT NULL, amount {big} NOT NULL,"
        " PRIMARY KEY (user_id, id))",
        f"CREATE TABLE posts (id {big} PRIMARY KEY, slot {big} NOT NULL UNIQUE, v {big} NOT NULL)",
        f"CREATE TABLE currencies (code {text} PRIMARY KEY, digits {big})",
    ]


@dataclass(frozen=True, slots=True)
class Key:
    """A row as its writer knows it; posts have no user, and a slot from LASTING_POSTS on."""

    table: str
    user: int
    slot: int = 0


@dataclass(frozen=True)
class Own:
    """What one writer writes alone: number → key, where a number is a place on the board."""

    first: int
    users: tuple[int, ...]
    pillars: tuple[int, ...]
    posts: tuple[int, ...]

    def keys(self) -> dict[int, Key]:
        """All of its keys."""
        found = [Key("users", user) for user in self.users]
        found += [Key("items", user, slot) for user in self.users for slot in range(SLOTS)]
        found += [Key("pillars", user) for user in self.pillars]
        found += [Key("posts", 0, slot) for slot in self.posts]
        return {self.first + position: key for position, key in enumerate(found)}


@dataclass(frozen=True)
class World:
    """All rows of a run. accounts: users between whom all writers transfer."""

    own: tuple[Own, ...]
    accounts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Places on the board."""
        return len(self.own) * PER_WRITER

    @property
    def pillars(self) -> dict[int, int]:
        """User → weight of the rows that are there all the time."""
        users = [user for own in self.own for user in own.pillars]
        return {user: position % 7 + 1 for position, user in enumerate(users)}


def world(plan: Plan) -> World:
    """The rows of a run."""
    drawn = random.Random(f"world {plan.seed} {plan.engine}")
    writers = sum(count for _, count in plan.writers)
    busy = plan.busy or tuple(range(0, 4096, 64))
    wanted = writers * (USERS + PILLARS) + ACCOUNTS
    moving = users_in(busy, max(1, wanted // 2), drawn)
    others = users_in(tuple(drawn.sample([b for b in range(4096) if b not in busy], 200)), wanted, drawn)
    users = moving + others[: wanted - len(moving)]
    drawn.shuffle(users)
    accounts, users = users[:ACCOUNTS], users[ACCOUNTS:]
    own = []
    for number in range(writers):
        mine, users = users[: USERS + PILLARS], users[USERS + PILLARS :]
        posts = tuple(LASTING_POSTS + number * POSTS + slot for slot in range(POSTS))
        own.append(Own(number * PER_WRITER, tuple(mine[:USERS]), tuple(mine[USERS:]), posts))
    return World(tuple(own), tuple(accounts))


def email(user: int, *, home: bool = True) -> str:
    """The address of a user, or the other one that it has at times."""
    return f"u{user}@example.org" if home else f"away{user}@example.org"
