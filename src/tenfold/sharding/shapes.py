"""What a table looks like in the database, as far as routing must know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlglot
from sqlglot.tokenizer_core import TokenType

from tenfold.sharding.keys import KeyType
from tenfold.sharding.ports import Send, Steps

OWN_PREFIX = "tf_"
"""Tables that start with it are Tenfold's own."""
ROWID = {"rowid", "_rowid_", "oid"}
"""Names by which SQLite knows the number of a row, where no column has them."""


@dataclass(frozen=True, slots=True)
class Column:
    """name: as declared; declared: its type in the database's words; key_type: how a key in it
    becomes bytes, None where it cannot be a key; collation: upper-case, BINARY unless declared;
    filled: whether the database has a value for it when an INSERT names none."""

    name: str
    declared: str
    key_type: KeyType | None
    collation: str
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """columns in order, lower-case; "" stands for an expression, and in a unique index for a column that
    it compares by another collation than BINARY."""

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


_COLUMNS = """
SELECT name, type, pk, hidden > 1 OR coalesce(upper(dflt_value), 'NULL') <> 'NULL'
FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"""
_INDEXES = """
SELECT l.name, l."unique", CASE WHEN l."unique" AND i.coll <> 'BINARY' THEN NULL ELSE i.name END
FROM pragma_index_list(?) AS l JOIN pragma_index_xinfo(l.name) AS i
WHERE i.key = 1 ORDER BY l.seq, i.seqno"""
_CREATED = "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"


def read_sqlite_shape(shard: str, table: str) -> Steps[TableShape | None]:
    """Ask a SQLite shard for the shape of `table`; None when it has no such table."""
    columns = yield Send(shard, _COLUMNS, (table,))
    if not columns.rows:
        return None
    indexes = yield Send(shard, _INDEXES, (table,))
    created = yield Send(shard, _CREATED, (table,))
    return sqlite_shape(table, columns.rows, indexes.rows, created.rows[0][0] if created.rows else "")


def sqlite_shape(
    table: str, columns: Sequence[tuple[Any, ...]], indexes: Sequence[tuple[Any, ...]], created: str
) -> TableShape:
    """Put the rows of SQLite's pragmas and the table's CREATE statement together."""
    collations = declared_collations(created)
    shape = {
        name.lower(): Column(
            name, declared, sqlite_key_type(declared), collations.get(name.lower(), "BINARY"), bool(filled)
        )
        for name, declared, _, filled in columns
    }
    key = tuple(column[0].lower() for column in sorted((c for c in columns if c[2]), key=lambda c: c[2]))
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
