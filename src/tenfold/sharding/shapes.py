"""What a table looks like in the database, as far as routing must know. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import sqlglot
from sqlglot.tokenizer_core import TokenType

from tenfold.sharding.dialects import SQLITE, Dialect
from tenfold.sharding.keys import KeyType
from tenfold.sharding.ports import Send, Steps

OWN_PREFIX = "tf_"
"""Tables that start with it are Tenfold's own."""
OWN_TRIGGER = re.compile(r"tf_(?P<token>[0-9]+)_(?P<number>[0-9]+)_(?P<event>[ab][iud])", re.ASCII)
"""Names of the triggers that a mover puts on the tables of others."""
ROWID = {"rowid", "_rowid_", "oid"}
"""Names by which SQLite knows the number of a row, where no column has them."""


# Collations under which two values are equal exactly when their bytes are; "" is no text at all.
BYTEWISE = {
    "", "BINARY", "ascii_nopad_bin", "utf8mb3_nopad_bin", "utf8mb4_nopad_bin", "utf8mb4_0900_bin"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """name: as declared; declared: its type in the database's words; key_type: how a key in it
    becomes bytes, None where it cannot be a key.

    collation     SQLite: upper-case, BINARY unless declared; MySQL: the server's name for it, "" for what is no text
    filled        whether the database has a value for it when an INSERT names none
    kind          MySQL: integer, decimal, float, text, binary, date, datetime, time, year, bit, enum, set, json,
                  uuid or other; SQLite, by affinity: integer, real, text, blob, numeric or any
    nullable      whether it may hold NULL
    generated     whether it is computed from other columns
    default       as the database prints it, an expression; None for none
    pad_space     whether its collation compares as if the shorter value ended in spaces
    space_weight  WEIGHT_STRING(' ') under its collation on MySQL; else empty
    """

    name: str
    declared: str
    key_type: KeyType | None
    collation: str
    filled: bool = False
    kind: str = "other"
    nullable: bool = True
    generated: bool = False
    default: str | None = None
    pad_space: bool = False
    space_weight: bytes = b""

    @property
    def by_bytes(self) -> bool:
        """Whether two of its values are equal exactly when their bytes are."""
        return self.collation in BYTEWISE


@dataclass(frozen=True, slots=True)
class Index:
    """columns in order, lower-case; "" stands for an expression, and in a unique index for a column that
    it compares by another collation than BINARY (SQLite) or by its beginning (MySQL)."""

    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """From `columns` to `target_columns` of the table `target`, all lower-case; the actions are upper-case."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass(frozen=True, slots=True)
class TableShape:
    """columns by lower-case name; primary_key lower-case, in order, may be empty.

    storage   InnoDB or another of the server's engines; empty on SQLite
    triggers  their names; read_shape leaves out those of a move
    """

    name: str
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...]
    self_numbering: bool
    dialect: Dialect = SQLITE
    storage: str = ""
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: tuple[str, ...] = ()

    @property
    def integer_primary_key(self) -> str | None:
        """The column of a one-column integer primary key, else None."""
        if len(self.primary_key) != 1:
            return None
        column = self.primary_key[0]
        return column if self.columns[column].key_type in (KeyType.INTEGER, KeyType.UNSIGNED) else None


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


def sqlite_kind(declared: str) -> str:
    """The affinity of a column declared so. Source: SQLite, "Determination of column affinity"."""
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper:
        return "blob"
    if not upper or upper == "ANY":
        return "any"
    return "real" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "numeric"


_COLUMNS = """
SELECT name, type, pk, "notnull", hidden > 1, dflt_value
FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"""
_INDEXES = """
SELECT l.name, l."unique", CASE WHEN l."unique" AND i.coll <> 'BINARY' THEN NULL ELSE i.name END
FROM pragma_index_list(?) AS l JOIN pragma_index_xinfo(l.name) AS i
WHERE i.key = 1 ORDER BY l.seq, i.seqno"""
_FOREIGN = """
SELECT id, "from", "table", "to", on_delete, on_update FROM pragma_foreign_key_list(?) ORDER BY id, seq"""
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY name"
_CREATED = "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"


def read_sqlite_shape(shard: str, table: str) -> Steps[TableShape | None]:
    """Ask a SQLite shard for the shape of `table`; None when it has no such table."""
    columns = yield Send(shard, _COLUMNS, (table,), buckets=())
    if not columns.rows:
        return None
    indexes = yield Send(shard, _INDEXES, (table,), buckets=())
    created = yield Send(shard, _CREATED, (table,), buckets=())
    shape = sqlite_shape(table, columns.rows, indexes.rows, created.rows[0][0] if created.rows else "")
    foreign: dict[int, list[tuple[Any, ...]]] = {}
    for row in (yield Send(shard, _FOREIGN, (table,), buckets=())).rows:
        foreign.setdefault(row[0], []).append(row)
    triggers = yield Send(shard, _TRIGGERS, (table,), buckets=())
    return replace(
        shape,
        foreign_keys=tuple(_foreign_key(parts) for parts in foreign.values()),
        triggers=tuple(row[0] for row in triggers.rows),
    )


def _foreign_key(parts: Sequence[tuple[Any, ...]]) -> ForeignKey:
    _, _, target, _, on_delete, on_update = parts[0]
    # A foreign key that names no columns means the primary key of its target.
    targets = tuple(row[3].lower() for row in parts if row[3] is not None)
    return ForeignKey(tuple(row[1].lower() for row in parts), target.lower(), targets, on_delete, on_update)


def sqlite_shape(
    table: str, columns: Sequence[tuple[Any, ...]], indexes: Sequence[tuple[Any, ...]], created: str
) -> TableShape:
    """Put the rows of SQLite's pragmas and the table's CREATE statement together."""
    collations = declared_collations(created)
    rowless = "WITHOUT ROWID" in " ".join(created.upper().split())
    shape = {
        name.lower(): Column(
            name,
            declared,
            sqlite_key_type(declared),
            collations.get(name.lower(), "BINARY"),
            filled=bool(generated) or (default or "NULL").upper() != "NULL",
            kind=sqlite_kind(declared),
            nullable=not (not_null or (key and rowless)),
            generated=bool(generated),
            default=default,
        )
        for name, declared, key, not_null, generated, default in columns
    }
    key = tuple(column[0].lower() for column in sorted((c for c in columns if c[2]), key=lambda c: c[2]))
    found: dict[str, tuple[bool, list[str]]] = {}
    for index, unique, column in indexes:
        found.setdefault(index, (bool(unique), []))[1].append((column or "").lower())
    # "INTEGER PRIMARY KEY", spelt so, is the rowid; every other spelling takes NULL for an omitted key.
    rowid = len(key) == 1 and shape[key[0]].declared.upper() == "INTEGER" and not rowless
    listed = tuple(Index(name, tuple(of), unique) for name, (unique, of) in found.items())
    if rowid:  # has no index of its own to be listed
        listed += (Index("PRIMARY KEY", key, unique=True),)
    return TableShape(table, shape, key, listed, self_numbering=rowid)


def declared_collations(created: str) -> dict[str, str]:
    """Collation of each column whose CREATE TABLE names one: lower-case name → upper-case collation.

    Read from the tokens: the parser does not know all that SQLite takes (WITHOUT ROWID, ON CONFLICT, "BIG INT").
    """
    found: dict[str, str] = {}
    tokens = sqlglot.tokenize(created, dialect="sqlite")
    depth, column = 0, ""
    for token, following in pairwise(tokens):
        kind = token.token_type
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth == 1 and kind in (TokenType.L_PAREN, TokenType.COMMA):
            column = following.text.lower()
        elif depth == 1 and kind is TokenType.COLLATE:  # deeper, it is of an index or an expression
            found[column] = following.text.upper()
    return found
