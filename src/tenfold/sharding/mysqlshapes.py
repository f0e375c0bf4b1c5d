"""What MariaDB and MySQL say of a table in information_schema, put into a shape. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.keys import KeyType
from tenfold.sharding.ports import Send, Steps
from tenfold.sharding.shapes import Column, ForeignKey, Index, TableShape

_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "integer", "bigint"}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BINARIES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_KINDS = (
    dict.fromkeys(_INTEGERS, "integer")
    | dict.fromkeys(_TEXTS, "text")
    | dict.fromkeys(_BINARIES, "binary")
    | dict.fromkeys(("float", "double", "real"), "float")
    | {"numeric": "decimal", "timestamp": "datetime"}
    | {name: name for name in ("decimal", "date", "datetime", "time", "year", "bit", "enum", "set", "json", "uuid")}
)
_COLLATION = re.compile(r"[a-z0-9_]+", re.ASCII)

_COLUMNS = """
SELECT column_name, column_type, character_set_name, collation_name, is_nullable = 'YES', column_default, extra,
       coalesce(generation_expression, '')
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position"""
# One round trip for all the rest. Rows: what, name, position, then up to four words.
_ABOUT = """
SELECT 'index', index_name, seq_in_index, column_name, non_unique, sub_part, NULL
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ?
UNION ALL
SELECT 'foreign', k.constraint_name, k.ordinal_position, k.column_name,
       CONCAT(k.referenced_table_name, '.', k.referenced_column_name), r.delete_rule, r.update_rule
FROM information_schema.key_column_usage AS k
JOIN information_schema.referential_constraints AS r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
 AND r.table_name = k.table_name
WHERE k.table_schema = DATABASE() AND k.table_name = ?
UNION ALL
SELECT 'trigger', trigger_name, 0, NULL, NULL, NULL, NULL
FROM information_schema.triggers WHERE event_object_schema = DATABASE() AND event_object_table = ?
UNION ALL
SELECT 'storage', engine, 0, NULL, NULL, NULL, NULL
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?
ORDER BY 1, 2, 3"""


def mysql_kind(declared: str) -> str:
    """The kind of a column by its type as the server prints it: see `Column.kind`."""
    return _KINDS.get(_word(declared), "other")


def mysql_key_type(declared: str) -> KeyType | None:
    """How a key in a column declared so becomes the bytes that MD5(column) sees; None: it cannot be a key.

    Not BINARY(n), which pads with zero bytes what is shorter, nor an integer with ZEROFILL, which MD5 sees
    with its zeros (both measured on MariaDB 10.11), nor BLOB and TEXT, which no whole index can hold.
    Whether a text's collation lets it be a key is `Column.by_bytes`.
    """
    word, lower = _word(declared), declared.lower()
    if word in _INTEGERS:
        if "zerofill" in lower:
            return None
        return KeyType.UNSIGNED if word == "bigint" and "unsigned" in lower else KeyType.INTEGER
    return {
        "varchar": KeyType.VARCHAR, "char": KeyType.CHAR, "varbinary": KeyType.BINARY, "uuid": KeyType.UUID
    }.get(word)  # fmt: skip


def read_mysql_shape(shard: str, table: str) -> Steps[TableShape | None]:
    """Ask a MariaDB or MySQL shard for the shape of `table`; None when it has no such table."""
    columns = yield Send(shard, _COLUMNS, (table,), buckets=())
    if not columns.rows:
        return None
    about = yield Send(shard, _ABOUT, (table,) * 4, buckets=())
    shape = mysql_shape(table, columns.rows, about.rows)
    charsets = {row[3]: row[2] for row in columns.rows if row[3]}
    if not charsets:
        return shape
    weights = yield Send(shard, weights_query(charsets), buckets=())
    return weighed(shape, list(charsets), weights.rows[0])


def mysql_shape(table: str, columns: Sequence[tuple[Any, ...]], about: Sequence[tuple[Any, ...]]) -> TableShape:
    """Put the rows of information_schema together."""
    shape = {row[0].lower(): _column(*row) for row in columns}
    indexes = tuple(_indexes(row for row in about if row[0] == "index"))
    primary = next((index.columns for index in indexes if index.name == "PRIMARY"), ())
    return TableShape(
        table,
        shape,
        primary,
        indexes,
        self_numbering=any("auto_increment" in row[6].lower() for row in columns),
        dialect=MYSQL,
        storage=next((row[1] or "" for row in about if row[0] == "storage"), ""),
        foreign_keys=tuple(_foreign_keys(row for row in about if row[0] == "foreign")),
        triggers=tuple(row[1] for row in about if row[0] == "trigger"),
    )


def weights_query(charsets: dict[str, str]) -> str:
    """Of each collation: the weight of a space, and whether spaces at the end do not count. charsets: by collation."""
    items = []
    for collation, charset in charsets.items():
        if not (_COLLATION.fullmatch(collation) and _COLLATION.fullmatch(charset)):
            raise AssertionError("a collation's name is one word")  # it comes from the server, and goes into SQL
        space, ending = (f"CONVERT('{text}' USING {charset}) COLLATE {collation}" for text in (" ", "a "))
        items.append(f"HEX(WEIGHT_STRING({space})), CONVERT('a' USING {charset}) COLLATE {collation} = {ending}")
    return "SELECT " + ", ".join(items)


def weighed(shape: TableShape, collations: Sequence[str], weights: Sequence[Any]) -> TableShape:
    """The shape with what `weights_query` answered for its columns."""
    known = {
        name: (bytes.fromhex(weights[2 * place] or ""), bool(weights[2 * place + 1]))
        for place, name in enumerate(collations)
    }
    columns = {
        name: replace(column, space_weight=known[column.collation][0], pad_space=known[column.collation][1])
        if column.collation in known
        else column
        for name, column in shape.columns.items()
    }
    return replace(shape, columns=columns)


def _word(declared: str) -> str:
    return re.split(r"[^a-z0-9_]", declared.lower(), maxsplit=1)[0]


def _column(
    name: str,
    declared: str,
    _charset: str | None,
    collation: str | None,
    nullable: int,
    default: str | None,
    extra: str,
    expression: str,
) -> Column:
    # MariaDB prints the default as an expression, and NULL for one that is not there.
    found = None if default is None or default.upper() == "NULL" else default
    return Column(
        name,
        declared,
        mysql_key_type(declared),
        collation or "",
        filled=found is not None or bool(expression) or "auto_increment" in extra.lower(),
        kind=mysql_kind(declared),
        nullable=bool(nullable),
        generated=bool(expression),
        default=f"AS ({expression})" if expression else found,
    )


def _indexes(rows: Iterable[tuple[Any, ...]]) -> Iterable[Index]:
    found: dict[str, tuple[bool, list[str]]] = {}
    for _, name, _, column, non_unique, prefix, _ in rows:
        unique = not int(non_unique)
        whole = column is not None and not (unique and prefix is not None)
        found.setdefault(name, (unique, []))[1].append(column.lower() if whole else "")
    return (Index(name, tuple(columns), unique) for name, (unique, columns) in found.items())


def _foreign_keys(rows: Iterable[tuple[Any, ...]]) -> Iterable[ForeignKey]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(row)
    for parts in found.values():
        targets = [str(row[4]).lower().partition(".") for row in parts]
        columns = tuple(row[3].lower() for row in parts)
        yield ForeignKey(columns, targets[0][0], tuple(target[2] for target in targets), parts[0][5], parts[0][6])
