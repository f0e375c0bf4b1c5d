"""What a database holds besides rows: the statements that make its tables, triggers, views and routines anew. Edge."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tenfold.deploy.backup.frames import Frame
from tenfold.errors import BackupError, StatementError, TenfoldError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.codec import unwritable
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import ROWID

_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+\b")
# Whoever restores becomes the definer: to name another takes rights that the application's account has not got.
_DEFINER = re.compile(r" DEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*`")
_CODE = {"TRIGGER": ("SQL Original Statement",), "EVENT": ("Create Event",), "PROCEDURE": ("Create Procedure",),
         "FUNCTION": ("Create Function",)}  # fmt: skip
_LISTS = {
    "TRIGGER": "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    " ORDER BY event_object_table, action_timing, event_manipulation, action_order",
    "EVENT": "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY 1",
    "PROCEDURE": "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
    " AND routine_type = 'PROCEDURE' ORDER BY 1",
    "FUNCTION": "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
    " AND routine_type = 'FUNCTION' ORDER BY 1",
}
_PRAGMAS = ("encoding", "page_size", "auto_vacuum")
_AFTER_PRAGMAS = ("user_version", "application_id")


@dataclass(frozen=True, slots=True)
class Rows:
    """A table whose rows are read. order: SQL after ORDER BY on SQLite."""

    table: Moved
    order: str = ""

    @property
    def name(self) -> str:
        """As it was declared."""
        return self.table.shape.name


@dataclass(slots=True)
class Objects:
    """before: frames ahead of all rows; after: behind them; notes: what will not be in the backup, in sentences."""

    before: list[Frame] = field(default_factory=list)
    tables: list[Rows] = field(default_factory=list)
    after: list[Frame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """The same as long as the schema is the same; numbers that count up are no part of it."""
        texts = [_COUNTER.sub("", frame.sql.decode()) for frame in (*self.before, *self.after) if frame.kind != "count"]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def read_objects(shards: Shards, shard: str, *, rows: bool = True) -> Objects:
    """All that a shard's database holds. rows: how to read its tables' rows, too, which takes longest."""
    found = Objects()
    (_mysql if shards.dialect is MYSQL else _sqlite)(shards, shard, found, rows)
    return found


def _rows(shards: Shards, shard: str, name: str) -> Moved:
    shape = shards.ask(read_shape(shard, name, shards.dialect))
    if shape is None:
        raise BackupError(f"{name} has gone from {shard} meanwhile", hint="try again", retryable=True)
    # As if pinned: so every row counts as one of its bucket.
    table = Moved(0, shape, "", pinned=REFERENCE)
    lost = unwritable(table)
    if lost:
        column = shape.columns[lost[0].lower()]
        raise BackupError(
            f"{shard}: {name}.{column.name} is {column.declared}, which cannot be read as text and back",
            hint="change the column's type",
        )
    return table


# ---------------------------------------------------------------- MySQL and MariaDB


def _mysql(shards: Shards, shard: str, found: Objects, rows: bool) -> None:
    listed = shards.rows(
        shard,
        "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = DATABASE()"
        " ORDER BY table_name",
    )
    views: dict[str, Frame] = {}
    for name, kind, engine in listed:
        quoted = shards.dialect.quoted(name)
        if kind == "VIEW":
            text = _DEFINER.sub("", str(shards.rows(shard, f"SHOW CREATE VIEW {quoted}")[0][1]), count=1)
            views[name] = Frame("view", name, text.encode())
        elif kind == "SEQUENCE":
            text = str(shards.rows(shard, f"SHOW CREATE SEQUENCE {quoted}")[0][1])
            found.before.append(Frame("table", name, text.encode()))
            following = int(shards.rows(shard, f"SELECT next_not_cached_value FROM {quoted}")[0][0])
            found.after.append(Frame("count", name, f"DO SETVAL({quoted}, {following:d}, 0)".encode()))
        elif "TABLE" in kind or kind == "SYSTEM VERSIONED":
            if kind == "SYSTEM VERSIONED":
                found.notes.append(f"{shard}: of {name} only the present rows, not their history")
            if engine != "InnoDB":
                found.notes.append(
                    f"{shard}: {name} is {engine}, which has no snapshots: its rows are of a later moment"
                )
            text = str(shards.rows(shard, f"SHOW CREATE TABLE {quoted}")[0][1])
            found.before.append(Frame("table", name, text.encode()))
            if rows:
                found.tables.append(Rows(_rows(shards, shard, name)))
        else:
            found.notes.append(f"{shard}: {name} is a {kind.lower()}, which is not part of a backup")
    for kind in ("FUNCTION", "PROCEDURE"):  # views may call them
        found.after.extend(_code(shards, shard, kind, found.notes))
    found.after.extend(_in_order(views))
    for kind in ("TRIGGER", "EVENT"):
        found.after.extend(_code(shards, shard, kind, found.notes))


def _in_order(views: dict[str, Frame]) -> list[Frame]:
    """Each behind those that it reads, which its text names in backticks."""
    found: dict[str, Frame] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in found or name in above:
            return
        quoted = {other: MYSQL.quoted(other).encode() for other in views}
        for other in views:
            if other != name and quoted[other] in views[name].sql:
                add(other, (*above, name))
        found[name] = views[name]

    for name in views:
        add(name, ())
    return list(found.values())


def _code(shards: Shards, shard: str, kind: str, notes: list[str]) -> Iterator[Frame]:
    for (name,) in shards.rows(shard, _LISTS[kind]):
        try:
            reply = shards.execute(shard, f"SHOW CREATE {kind} {shards.dialect.quoted(name)}")
        except TenfoldError:
            reply = None
        row = dict(zip(reply.columns, reply.rows[0], strict=True)) if reply and reply.rows else {}
        text = next((row[column] for column in _CODE[kind] if row.get(column)), None)
        if text is None:
            notes.append(f"{shard}: this account may not read the {kind.lower()} {name}")
            continue
        mode = str(row["sql_mode"]).replace("'", "''")
        yield Frame("mode", name, f"SET SESSION sql_mode = '{mode}'".encode())
        yield Frame("code", name, _DEFINER.sub("", str(text), count=1).encode())


# ---------------------------------------------------------------- SQLite


def _sqlite(shards: Shards, shard: str, found: Objects, rows: bool) -> None:
    for pragma in _PRAGMAS:
        value = shards.rows(shard, f"PRAGMA {pragma}")[0][0]
        text = f"'{value}'" if isinstance(value, str) else f"{value:d}"
        found.before.append(Frame("pragma", pragma, f"PRAGMA {pragma} = {text}".encode()))
    listed = shards.rows(shard, "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid")
    virtual: list[Frame] = []
    for kind, name, of, root, sql in listed:
        if kind == "table" and sql and not root:
            virtual.append(Frame("after", name, _into_schema(kind, name, of, sql).encode()))
        elif kind == "table" and not name.startswith("sqlite_"):
            found.before.append(Frame("table", name, str(sql).encode()))
            if rows:
                table = _rows(shards, shard, name)
                found.tables.append(Rows(table, _order(shards, shard, table)))
    if any(name == "sqlite_sequence" for _, name, _, _, _ in listed):
        for name, number in shards.rows(shard, "SELECT name, seq FROM sqlite_sequence"):
            quoted = str(name).replace("'", "''")
            for text in (
                f"DELETE FROM sqlite_sequence WHERE name = '{quoted}'",
                f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{quoted}', {int(number):d})",
            ):
                found.after.append(Frame("count", str(name), text.encode()))
    found.after += [
        Frame("after", name, str(sql).encode())
        for wanted in ("index", "view", "trigger")
        for kind, name, _, _, sql in listed
        if kind == wanted and sql
    ]
    if virtual:
        # As sqlite3's own .dump does: their rows lie in tables that are there already.
        found.after.append(Frame("after", "", b"PRAGMA writable_schema = ON"))
        found.after += virtual
        found.after.append(Frame("after", "", b"PRAGMA writable_schema = OFF"))
    for pragma in _AFTER_PRAGMAS:
        value = int(shards.rows(shard, f"PRAGMA {pragma}")[0][0])
        found.after.append(Frame("pragma", pragma, f"PRAGMA {pragma} = {value:d}".encode()))


def _into_schema(kind: str, name: str, of: str, sql: str) -> str:
    values = ", ".join("'" + text.replace("'", "''") + "'" for text in (kind, name, of))
    text = sql.replace("'", "''")
    return f"INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES ({values}, 0, '{text}')"


def _order(shards: Shards, shard: str, table: Moved) -> str:
    """The order in which a table lies in the file: none needs sorting, and it is the same in a copy."""
    for name in ("rowid", "_rowid_", "oid"):
        if name in ROWID and name not in table.shape.columns:
            try:
                shards.rows(shard, f"SELECT {name} FROM {table.name} LIMIT 0")
            except StatementError:
                break  # WITHOUT ROWID
            return name
    return ", ".join(table.primary_key)
