"""What the planner decides for a statement on the ledger's tables. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from tenfold.sharding import planner
from tenfold.sharding.layout import Grouped, Layout, group_table, layout_of
from tenfold.sharding.plan import Plan
from tenfold.sharding.ports import Reply, Send, Steps
from tenfold.sharding.shapes import TableShape, read_sqlite_shape
from tenfold.sharding.statement import parse
from tenfold.topology.model import Database

T = TypeVar("T")
LEDGER = {
    "users": "id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT",
    "user_meta": "user_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT, PRIMARY KEY (user_id, name)",
    "sessions": "token TEXT NOT NULL, user_id INTEGER NOT NULL, PRIMARY KEY (user_id, token)",
    "deposits": "id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER, created_at TEXT",
    "withdrawals": "id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER",
    "transactions": "id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER",
    "posts": "id INTEGER PRIMARY KEY, author INTEGER, title TEXT",
    "pages": "id INTEGER PRIMARY KEY, title TEXT",
    "comments": "id INTEGER PRIMARY KEY, post_id INTEGER, body TEXT",
    "options": "name TEXT PRIMARY KEY, value TEXT",
    "currencies": "code TEXT PRIMARY KEY, name TEXT",
    "people": "handle TEXT PRIMARY KEY, bio TEXT",
}
SHARDS = {name: {"url": f"sqlite:///var/{name}.db"} for name in ("shard_0", "shard_1", "shard_2")}
CONTENT = ["posts", "pages", "comments", "options"]
LAYOUTS: dict[str, dict[str, Any]] = {
    "by user": {
        "groups": {
            "user": {
                "key": "user_id",
                "tables": {
                    "users": "id",
                    "user_meta": "user_id",
                    "sessions": "user_id",
                    "deposits": "user_id",
                    "withdrawals": "user_id",
                    "transactions": "user_id",
                },
                "unique": {"users": ["email"]},
            },
            "person": {"key": "handle", "tables": {"people": "handle"}},
        },
        "pinned": {"shard_1": ["options"], "shard_2": ["posts", "pages", "comments"]},
        "reference": {"tables": ["currencies"]},
    },
    # DB8 of the requirements: one shard for accounts, one for money, one for content.
    "literal": {
        "pinned": {
            "shard_0": ["users", "user_meta", "sessions"],
            "shard_1": ["deposits", "withdrawals", "transactions"],
            "shard_2": CONTENT,
        }
    },
}


def driven(steps: Steps[T], ask: Callable[[Send], Sequence[tuple[Any, ...]]]) -> T:
    """Drive steps that only send; `ask` gives the rows of each statement."""
    try:
        effect = next(steps)
        while True:
            assert isinstance(effect, Send)
            effect = steps.send(Reply(rows=ask(effect)))
    except StopIteration as stop:
        found: T = stop.value
        return found


def shape_of(created: str, table: str = "t", *more: str) -> TableShape:
    """The shape that SQLite reports for a table created so."""
    connection = sqlite3.connect(":memory:")
    for statement in (created, *more):
        connection.execute(statement)
    found = driven(read_sqlite_shape("shard", table), lambda sent: connection.execute(sent.sql, sent.params).fetchall())
    connection.close()
    assert found is not None
    return found


@cache
def ledger_shape(table: str) -> TableShape:
    """Shape of a table of LEDGER."""
    return shape_of(f"CREATE TABLE {table} ({LEDGER[table]})", table)


def layout_named(name: str) -> Layout:
    """A layout of LAYOUTS."""
    return layout_of(Database.model_validate({"shards": SHARDS} | LAYOUTS[name]), "shard_0")


def plan_of(sql: str, name: str = "by user") -> Plan:
    """The plan for a statement on the ledger's tables. Raises what the planner raises."""
    layout = layout_named(name)
    known = {
        table: group_table(placed, ledger_shape(table))
        for table, placed in layout.tables.items()
        if isinstance(placed, Grouped)
    }
    others = {table: ledger_shape(table) for table in layout.tables if table not in known}
    return planner.plan(parse(sql, layout.dialect), layout, known, others)
