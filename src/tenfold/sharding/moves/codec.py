"""Rows as literals that the server itself writes: one form for copying, following and comparing. Pure.

A literal read on one shard and inserted on another gives the same value, byte for byte, in sessions as the mover
pins them (see connections.py). All of it is text: of a batch of rows the server makes one string, which is sent on
as it is, and which is hashed to compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.errors import MoveError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.shapes import Column

DIGEST = "tf_digest"
"""Of our own SQLite connections: the aggregate that MySQL computes of MD5."""
_GEOMETRY = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
}  # fmt: skip


def row_text(table: Moved, row: str = "") -> str:
    """SQL for all that is stored in a row, as "(1,'a',NULL)". row: an alias with its dot.

    NULL where MySQL cannot make it: it makes no text that is longer than max_allowed_packet.
    """
    return _tuple(table, [_literal(table, column, row) for column in table.stored])


def key_text(table: Moved, columns: Sequence[str], row: str = "") -> str:
    """SQL for some columns, likewise, as literals to compare these columns with."""
    return _tuple(table, key_literals(table, columns, row))


def key_literals(table: Moved, columns: Sequence[str], row: str = "") -> list[str]:
    """SQL for each of some columns, as a literal to compare it with; never NULL, but "NULL"."""
    if table.dialect is MYSQL:
        return [_literal(table, column, row) for column in columns]
    return [_sqlite_key(row + table.quoted(column)) for column in columns]


def _tuple(table: Moved, literals: Sequence[str]) -> str:
    if table.dialect is MYSQL:
        # Not CONCAT_WS, which leaves out what is NULL: a value that is too long would be as if it were not there.
        return "CONCAT('('," + ",',',".join(literals) + ",')')"
    return f"'('||{_in_line(literals)}||')'"


def _in_line(literals: Sequence[str]) -> str:
    """The texts with commas between, by halves: SQLite takes no expression that is a thousand deep."""
    middle = len(literals) // 2
    return f"({_in_line(literals[:middle])}||','||{_in_line(literals[middle:])})" if middle else literals[0]


def joined(expression: str, table: Moved) -> str:
    """SQL that puts the texts of many rows together, with commas between."""
    return f"GROUP_CONCAT({expression} SEPARATOR ',')" if table.dialect is MYSQL else f"group_concat({expression},',')"


def digest(expression: str, table: Moved) -> str:
    """SQL for one number from the texts of many rows, whatever their order: 64 bits of each row's MD5, by XOR."""
    if table.dialect is MYSQL:
        return f"BIT_XOR(CAST(CONV(LEFT(MD5({expression}),16),16,10) AS UNSIGNED))"
    return f"{DIGEST}({expression})"


def unwritable(table: Moved) -> list[str]:
    """Columns of types that cannot be written as a literal."""
    if table.dialect is not MYSQL:
        return []
    columns = (table.shape.columns[name] for name in table.stored)
    return [
        column.name
        for column in columns
        if column.kind == "other" and _word(column) not in {*_GEOMETRY, "inet4", "inet6"}
    ]


def _word(column: Column) -> str:
    return column.declared.lower().partition("(")[0].partition(" ")[0]


def _literal(table: Moved, column: str, row: str) -> str:
    held = table.shape.columns[column]
    name = row + table.quoted(column)
    return _mysql(held, name) if table.dialect is MYSQL else _sqlite(name)


def _mysql(column: Column, name: str) -> str:
    """QUOTE writes NULL as the word; all else that is NULL has to be made to. What is too long stays NULL."""
    kind = column.kind
    if kind in ("integer", "decimal"):
        return f"IFNULL({name},'NULL')"
    if kind == "float":
        # As the shortest text that reads back the same double; every FLOAT is a double.
        return f"QUOTE({name}*1e0)"
    if kind in ("bit", "enum", "set", "year"):
        # By number: the name of an ENUM's error value is that of an empty member, and BIT is bytes.
        return f"IFNULL({name}+0,'NULL')"
    if kind == "text" and column.collation.startswith("utf8mb4_"):
        return f"QUOTE({name})"
    if kind == "text":
        # The bytes themselves: a way through utf8mb4 and back does not end where it began in every character set.
        return _hex(f"_{column.collation.partition('_')[0]} x", name)
    if kind == "binary" or _word(column) in _GEOMETRY:
        return _hex("x", name)
    if kind in ("date", "datetime", "time", "uuid"):
        return f"QUOTE({name})"
    if kind == "json" or _word(column) in ("inet4", "inet6"):
        return f"QUOTE(CAST({name} AS CHAR CHARACTER SET utf8mb4))"
    raise MoveError(f"{column.name} is {column.declared}, which Tenfold cannot move", hint="change the column's type")


def _hex(introducer: str, name: str) -> str:
    return f"IF({name} IS NULL,'NULL',CONCAT('{introducer}''',HEX({name}),''''))"


def _sqlite(name: str) -> str:
    # As bytes: a text may hold zero bytes, where quote() would end it, and what is no UTF-8.
    return f"CASE typeof({name}) WHEN 'text' THEN {_cast(name)} ELSE {_quoted(name)} END"


def _sqlite_key(name: str) -> str:
    # A cast has an affinity, by which a number would be compared as text; with the sign before it, it has none.
    # Zero bytes end what quote() writes; what is not ASCII may be no UTF-8 either, and no answer could be read.
    odd = f"typeof({name}) = 'text' AND (instr(CAST({name} AS BLOB), x'00') > 0 OR {name} GLOB '*[^ -~]*')"
    return f"CASE WHEN {odd} THEN '+'||{_cast(name)} ELSE {_quoted(name)} END"


def _quoted(name: str) -> str:
    # Infinity, which quote() gives a name, has no literal but one that is too large.
    return f"CASE {name} WHEN 9e999 THEN '9e999' WHEN -9e999 THEN '-9e999' ELSE quote({name}) END"


def _cast(name: str) -> str:
    return f"'CAST(x'''||hex({name})||''' AS TEXT)'"


def after(table: Moved, position: Sequence[str]) -> str:
    """A condition: the row comes after the one with these literals in its primary key; of none, every row does."""
    return _beyond(table.primary_key, position, ">", "") if position else "1 = 1"


def until(table: Moved, position: Sequence[str]) -> str:
    """A condition: the row is that one, or comes before it."""
    return _beyond(table.primary_key, position, "<", "=")


def _beyond(columns: Sequence[str], literals: Sequence[str], sign: str, end: str) -> str:
    first, literal = columns[0], literals[0]
    if len(columns) == 1:
        return f"{first} {sign}{end} {literal}"
    rest = _beyond(columns[1:], literals[1:], sign, end)
    # The first part alone is what an index is read by.
    return f"{first} {sign}= {literal} AND ({first} {sign} {literal} OR {rest})"


def among(table: Moved, columns: Sequence[str], literals: Sequence[str]) -> str:
    """A condition: the columns, quoted, are one of these tuples, each as `key_text` gives it."""
    if not literals:
        return "1 = 0"
    if len(columns) == 1:
        return f"{columns[0]} IN ({','.join(text[1:-1] for text in literals)})"
    values = ",".join(literals)
    return f"({','.join(columns)}) IN ({'VALUES ' if table.dialect is not MYSQL else ''}{values})"
