"""What a database holds besides rows: the statements that make its tables, triggers, views and routines anew. Edge."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tenfold.deploy.backup.frames import Frame
from tenfold.errors import BackupError, StatementError, TenfoldError
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.moves.codec import row_text, unwritable
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.moves.rows import insert_rows
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.ports import Driver
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import ROWID

_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+\b")
_NAME = r"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[^\s@]+)"
# Whoever restores becomes the definer: to name another takes rights that the application's account has not got.
_DEFINER = re.compile(rf"\A(CREATE(?: OR REPLACE)?(?: ALGORITHM=\w+)?) DEFINER={_NAME}(?:@{_NAME})?")
# Nothing is done at its time before all of a restore is there, and by what was restored to be looked at never.
_ENABLED = re.compile(r"( ON COMPLETION (?:NOT )?PRESERVE) ENABLE\b")
_CODE = {"TRIGGER": "SQL Original Statement", "EVENT": "Create Event", "PROCEDURE": "Create Procedure",
         "FUNCTION": "Create Function", "PACKAGE": "Create Package", "PACKAGE BODY": "Create Package Body"}  # fmt: skip
_ROUTINES = "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = "
_LISTS = {
    "TRIGGER": "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    " ORDER BY event_object_table, action_timing, event_manipulation, action_order",
    "EVENT": "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY 1",
} | {kind: f"{_ROUTINES}'{kind}' ORDER BY 1" for kind in ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE")}
_PLAIN = (
    "SET NAMES utf8mb4, sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION',"
    " time_zone = '+00:00'"
)
_ELSEWHERE = ("mrg_myisam", "federated", "spider", "connect", "sequence", "blackhole")
"""Engines whose tables hold no rows of their own: to insert them would do so where they are."""
_PRAGMAS = ("encoding", "page_size", "auto_vacuum")
_AFTER_PRAGMAS = ("user_version", "application_id")


@dataclass(frozen=True, slots=True)
class Rows:
    """A table whose rows are read. order: SQL after ORDER BY on SQLite; rowid: what the number of a row is called
    where no column holds it."""

    table: Moved
    order: str = ""
    rowid: str = ""

    @property
    def name(self) -> str:
        """As it was declared."""
        return self.table.shape.name

    @property
    def text(self) -> str:
        """SQL for a row as "(1,'a',NULL)"."""
        text = row_text(self.table)
        return f"'('||{self.rowid}||','||substr({text}, 2)" if self.rowid else text

    @property
    def insert(self) -> str:
        """The statement up to the rows."""
        text = insert_rows(self.table, "")
        start = len(f"INSERT INTO {self.table.name} (")
        return f"{text[:start]}{self.rowid}, {text[start:]}" if self.rowid else text


@dataclass(slots=True)
class Objects:
    """What is to be written of a shard.

    before  frames ahead of all rows; after: behind them
    counts  frames that set counters, which only go up: read once the snapshot is open
    schema  what it is and its name → its text; "" where the server may print another for the same
    torn    tables that have no snapshot
    notes   what will not be in the backup, in sentences
    """

    before: list[Frame] = field(default_factory=list)
    tables: list[Rows] = field(default_factory=list)
    after: list[Frame] = field(default_factory=list)
    counts: list[Frame] = field(default_factory=list)
    schema: dict[str, str] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """The same as long as the schema is the same; numbers that count up are no part of it."""
        texts = [_COUNTER.sub("", frame.sql.decode()) for frame in (*self.before, *self.after)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def signed(self, key: bytes) -> dict[str, str]:
        """The schema as a manifest holds it, which tells nothing of it but names."""
        return {
            name: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32] for name, text in self.schema.items()
        }  # fmt: skip


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
    within = shards.dialect.quoted(str(shards.rows(shard, "SELECT DATABASE()")[0][0]))
    views: dict[str, Frame] = {}
    sequences: list[Frame] = []
    for name, kind, engine in listed:
        quoted = shards.dialect.quoted(name)
        if kind == "VIEW":
            _view(shards, shard, name, found, views)
        elif kind == "SEQUENCE":
            text = str(shards.rows(shard, f"SHOW CREATE SEQUENCE {quoted}")[0][1])
            sequences.append(Frame("table", name, text.encode()))
            found.schema[f"sequence {name}"] = text
        elif "TABLE" in kind or kind == "SYSTEM VERSIONED":
            text = str(shards.rows(shard, f"SHOW CREATE TABLE {quoted}")[0][1])
            text = re.sub(rf"\b((?:next|last|set)val\(){re.escape(within)}\.", r"\1", text)
            found.before.append(Frame("table", name, text.encode()))
            found.schema[f"table {name}"] = _COUNTER.sub("", text)
            if _held_here(shard, name, kind, str(engine), found) and rows:
                found.tables.append(Rows(_rows(shards, shard, name)))
        else:
            found.notes.append(f"{shard}: {name} is a {kind.lower()}, which is not part of a backup")
    found.before[:0] = sequences  # defaults of tables take numbers from them
    for kind in ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE"):  # views may call them
        found.after.extend(_code(shards, shard, kind, found))
    found.after.append(Frame("mode", "", _PLAIN.encode()))
    found.after.extend(in_order(views))
    enabled: list[Frame] = []
    for kind in ("TRIGGER", "EVENT"):
        found.after.extend(_code(shards, shard, kind, found, enabled))
    found.after += [Frame("mode", "", _PLAIN.encode()), *enabled]


def _held_here(shard: str, name: str, kind: str, engine: str, found: Objects) -> bool:
    """Whether a table's rows are its own; notes what a backup of them is not."""
    if engine.lower() in _ELSEWHERE:
        found.notes.append(f"{shard}: {name} is {engine}, whose rows lie elsewhere: they are not in it")
        return False
    if kind == "SYSTEM VERSIONED":
        found.notes.append(f"{shard}: of {name} only the present rows, not their history")
    if engine != "InnoDB":
        found.torn.append(name)
        found.notes.append(f"{shard}: {name} is {engine}, which has no snapshots: its rows are of a later moment")
    return True


def without_definer(made: str) -> str:
    """What made a view, trigger or routine, naming nobody: whoever runs it is its definer."""
    return _DEFINER.sub(r"\1", made)


def _view(shards: Shards, shard: str, name: str, found: Objects, views: dict[str, Frame]) -> None:
    quoted = shards.dialect.quoted(name)
    try:
        shards.rows(shard, f"SHOW COLUMNS FROM {quoted}")
    except StatementError:
        found.notes.append(f"{shard}: the view {name} cannot be read (what it names is not there): it is not in it")
        return
    text = without_definer(str(shards.rows(shard, f"SHOW CREATE VIEW {quoted}")[0][1]))
    views[name] = Frame("view", name, text.encode())
    found.schema[f"view {name}"] = ""


def in_order(views: dict[str, Frame]) -> list[Frame]:
    """Each behind those that it reads: which stand in backticks behind "from", "join" or a bracket, with no dot."""
    found: dict[str, Frame] = {}
    named = {
        name: re.compile(rb"(?:\bfrom|\bjoin|\() *\(*" + re.escape(MYSQL.quoted(name).encode()) + rb"(?![.`(])")
        for name in views
    }

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in found or name in above:
            return
        for other in views:
            if other != name and named[other].search(views[name].sql):
                add(other, (*above, name))
        found[name] = views[name]

    for name in views:
        add(name, ())
    return list(found.values())


def _code(
    shards: Shards, shard: str, kind: str, found: Objects, enabled: list[Frame] | None = None
) -> Iterator[Frame]:  # fmt: skip
    for (name,) in shards.rows(shard, _LISTS[kind]):
        quoted = shards.dialect.quoted(name)
        try:
            reply = shards.execute(shard, f"SHOW CREATE {kind} {quoted}")
        except TenfoldError:
            reply = None
        row = dict(zip(reply.columns, reply.rows[0], strict=True)) if reply and reply.rows else {}
        if not row.get(_CODE[kind]):
            found.notes.append(f"{shard}: this account may not read the {kind.lower()} {name}")
            continue
        text = without_definer(str(row[_CODE[kind]]))
        if enabled is not None and kind == "EVENT":
            text, count = _ENABLED.subn(r"\1 DISABLE", text, count=1)
            enabled += [Frame("enable", name, f"ALTER EVENT {quoted} ENABLE".encode())] * count
            yield Frame("zone", name, f"SET SESSION time_zone = '{row['time_zone']}'".encode())
            # One that was for once is gone when its time has come.
            found.schema |= {} if " ON SCHEDULE AT " in text else {f"event {name}": ""}
        else:
            found.schema[f"{kind.lower()} {name}"] = text
        mode, collation = str(row["sql_mode"]).replace("'", "''"), row["collation_connection"]
        yield Frame("mode", name, f"SET SESSION sql_mode = '{mode}', collation_connection = '{collation}'".encode())
        yield Frame("code", name, text.encode())


def _mysql_counts(driver: Driver) -> Iterator[Frame]:
    for sequence in (True, False):
        kind = "= 'SEQUENCE'" if sequence else "<> 'SEQUENCE' AND auto_increment > 1"
        for name, number in driver.execute(
            "SELECT table_name, auto_increment FROM information_schema.tables"
            f" WHERE table_schema = DATABASE() AND table_type {kind} ORDER BY 1", ()
        ).rows:  # fmt: skip
            quoted = MYSQL.quoted(str(name))
            if sequence:
                ((following,),) = driver.execute(f"SELECT next_not_cached_value FROM {quoted}", ()).rows
                yield Frame("count", name, f"DO SETVAL({quoted}, {int(following):d}, 0)".encode())
            else:
                yield Frame("count", name, f"ALTER TABLE {quoted} AUTO_INCREMENT = {int(number):d}".encode())


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
                found.tables.append(_ordered(shards, shard, _rows(shards, shard, name)))
    found.schema = {
        f"{kind} {name}": str(sql) for kind, name, _, _, sql in listed if sql and not name.startswith("sqlite_")
    }
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


def _ordered(shards: Shards, shard: str, table: Moved) -> Rows:
    """The order in which a table lies in the file: none needs sorting, and it is the same in a copy."""
    for name in ("rowid", "_rowid_", "oid"):
        if name in ROWID and name not in table.shape.columns:
            try:
                shards.rows(shard, f"SELECT {name} FROM {table.name} LIMIT 0")
            except StatementError:
                break  # WITHOUT ROWID
            return Rows(table, name, "" if table.shape.self_numbering else name)
    return Rows(table, ", ".join(table.primary_key) or row_text(table))


def _sqlite_counts(driver: Driver) -> Iterator[Frame]:
    if not driver.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'", ()).rows:
        return
    for name, number in driver.execute("SELECT name, seq FROM sqlite_sequence ORDER BY name", ()).rows:
        quoted = str(name).replace("'", "''")
        for text in (
            f"DELETE FROM sqlite_sequence WHERE name = '{quoted}'",
            f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{quoted}', {int(number):d})",
        ):
            yield Frame("count", str(name), text.encode())


def read_counts(driver: Driver, dialect: Dialect) -> list[Frame]:
    """What sets the counters of a shard as they are now, on the connection of its snapshot or later."""
    return list(_mysql_counts(driver) if dialect is MYSQL else _sqlite_counts(driver))
