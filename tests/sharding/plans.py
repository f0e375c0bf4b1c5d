"""What the planner decides for a statement, told in lines that a reader can check by eye. Edge."""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

from tenfold.sharding import planner
from tenfold.sharding.layout import Grouped, Layout, group_table, layout_of
from tenfold.sharding.plan import AnyShard, ById, ByKey, ByKeys, ByUnique, Everywhere, OnShard, Plan, Scatter
from tenfold.sharding.ports import Reply, Send, Steps
from tenfold.sharding.shapes import TableShape, read_sqlite_shape
from tenfold.sharding.statement import Const, Source, parse
from tenfold.topology.model import Database

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


def run_on(connection: sqlite3.Connection, steps: Steps[TableShape | None]) -> TableShape | None:
    """Drive steps that only send, over one connection."""
    try:
        effect = next(steps)
        while True:
            assert isinstance(effect, Send)
            effect = steps.send(Reply(rows=connection.execute(effect.sql, effect.params).fetchall()))
    except StopIteration as stop:
        found: TableShape | None = stop.value
        return found


def shape_of(created: str, table: str = "t", *more: str) -> TableShape:
    """The shape that SQLite reports for a table created so."""
    connection = sqlite3.connect(":memory:")
    for statement in (created, *more):
        connection.execute(statement)
    found = run_on(connection, read_sqlite_shape("shard", table))
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
    return planner.plan(parse(sql, "sqlite"), layout, known)


def told(plan: Plan) -> str:
    """The plan in a few lines: where it goes, then what is done on the way."""
    lines = [_route(plan)]
    if plan.inserting:
        for row in plan.inserting.rows:
            parts = [f"key {_source(row.key)}"] if row.key else ["key: the id drawn"]
            if plan.inserting.table.id_column and not (row.key and plan.inserting.table.id_is_key):
                parts.append(f"id {_source(row.id)}" if row.id else "id drawn")
            parts += [f"reserve {column} = {_source(value)}" for column, value in row.claims.items()]
            lines.append("  Row " + ", ".join(dict.fromkeys(parts)))
        lines += [f"  SubQuery key {_source(item)}" for item in plan.inserting.others]
    if plan.changing:
        lines.append(f"  Probe {plan.changing.probe}".rstrip())
        lines += [f"  Reserve {column} = {_source(value)}" for column, value in plan.changing.claims.items()]
        lines += [f"  Free {column} of the rows before" for column in plan.changing.columns]
    return "\n".join([*lines, f"  Send {plan.sql}"])


def _route(plan: Plan) -> str:
    route = plan.route
    if isinstance(route, AnyShard):
        return "AnyShard"
    if isinstance(route, OnShard):
        return f"OnShard {route.shard}"
    if isinstance(route, ByKey):
        return " ".join(["ByKey", *(["of the rows"] if plan.inserting else [_sources(route.sources)])])
    if isinstance(route, ByKeys):
        return f"ByKeys {_sources(route.sources)}"
    if isinstance(route, ById):
        otherwise = "all shards" if route.scatters else "refused"
        return f"ById {_source(route.source)} (not one of Tenfold's: {otherwise})"
    if isinstance(route, ByUnique):
        return f"ByUnique {route.table.name}.{route.column} = {_source(route.source)}"
    if isinstance(route, Everywhere):
        return f"Everywhere {' '.join(route.shards)}"
    assert isinstance(route, Scatter)
    return "Scatter"


def _sources(sources: tuple[Source, ...]) -> str:
    return " = ".join(_source(source) for source in sources)


def _source(source: Source | None) -> str:
    assert source is not None
    if isinstance(source, Const):
        return repr(source.value)
    return f":{source.slot}" if isinstance(source.slot, str) else f"?{source.slot + 1}"
