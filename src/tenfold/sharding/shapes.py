"""What a table looks like in the database, as far as routing must know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from tenfold.sharding.keys import KeyType
from tenfold.sharding.ports import Send, Steps

OWN_PREFIX = "tf_"
"""Tables that start with it are Tenfold's own."""


@dataclass(frozen=True, slots=True)
class Column:
    """name: as declared; declared: its type in the database's words; key_type: how a key in it
    becomes bytes, None where it cannot be a key; collation: upper-case, BINARY unless declared."""

    name: str
    declared: str
    key_type: KeyType | None
    collation: str


@dataclass(frozen=True, slots=True)
class Index:
    """columns in order, lower-case; "" stands for an expression."""

    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class TableShape:
    """columns by lower-case name; primary_key lower-case, in order, may be empty."""

    name: str
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...]
    self_numbering: bool

    @property
    def integer_primary_key(self) -> str | None:
        """The column of a one-column integer primary key, else None."""
        if len(self.primary_key) != 1:
            return None
        column = self.primary_key[0]
        return column if self.columns[column].key_type is KeyType.INTEGER else None


def sqlite_key_type(declared: str) -> KeyType | None:
    """How SQLite stores a key in a column declared so, by its affinity rules.

    NUMERIC and REAL turn text into floats, and an untyped column keeps 1 and '1' apart:
    those cannot be keys, and the answer is None.
    Source: SQLite, "Determination of column affinity".
    """
    upper = declared.upper()
    if upper == "UUID":
        return KeyType.UUID
    if "INT" in upper:
        return KeyType.INTEGER
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return KeyType.TEXT
    return KeyType.BINARY if "BLOB" in upper else None


_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"
_INDEXES = """
SELECT l.name, l."unique", i.name FROM pragma_index_list(?) AS l JOIN pragma_index_xinfo(l.name) AS i
WHERE i.key = 1 ORDER BY l.seq, i.seqno"""
_CREATED = "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"


def read_sqlite_shape(shard: str, table: str) -> Steps[TableShape | None]:
    """Ask a SQLite shard for the shape of `table`; None when it has no such table."""
    columns = yield Send(shard, _COLUMNS, (table,), aside=True)
    if not columns.rows:
        return None
    indexes = yield Send(shard, _INDEXES, (table,), aside=True)
    created = yield Send(shard, _CREATED, (table,), aside=True)
    return sqlite_shape(table, columns.rows, indexes.rows, created.rows[0][0] if created.rows else "")


def sqlite_shape(
    table: str, columns: Sequence[tuple[Any, ...]], indexes: Sequence[tuple[Any, ...]], created: str
) -> TableShape:
    """Put the rows of SQLite's pragmas and the table's CREATE statement together."""
    collations = declared_collations(created)
    shape = {
        name.lower(): Column(name, declared, sqlite_key_type(declared), collations.get(name.lower(), "BINARY"))
        for name, declared, _ in columns
    }
    key = tuple(name.lower() for name, _, _ in sorted((c for c in columns if c[2]), key=lambda c: c[2]))
    found: dict[str, tuple[bool, list[str]]] = {}
    for index, unique, column in indexes:
        found.setdefault(index, (bool(unique), []))[1].append((column or "").lower())
    # "INTEGER PRIMARY KEY", spelt so, is the rowid; every other spelling takes NULL for an omitted key.
    rowid = (
        len(key) == 1
        and shape[key[0]].declared.upper() == "INTEGER"
        and "WITHOUT ROWID" not in " ".join(created.upper().split())
    )
    listed = tuple(Index(name, tuple(of), unique) for name, (unique, of) in found.items())
    if rowid:  # has no index of its own to be listed
        listed += (Index("PRIMARY KEY", key, unique=True),)
    return TableShape(table, shape, key, listed, self_numbering=rowid)


def declared_collations(created: str) -> dict[str, str]:
    """Collation of each column whose CREATE TABLE names one: lower-case name → upper-case collation."""
    if "COLLATE" not in created.upper():
        return {}
    tree = sqlglot.parse_one(created, dialect="sqlite")
    found: dict[str, str] = {}
    for column in tree.find_all(exp.ColumnDef):
        for collate in column.find_all(exp.CollateColumnConstraint):
            found[column.name.lower()] = collate.name.upper()
    return found
