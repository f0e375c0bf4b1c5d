"""The triggers of a move on SQLite. Pure.

Three things differ from MySQL. REPLACE deletes the rows in its way without firing their triggers, so what is about to
be written marks the rows that it would displace. A conflict clause of the outer statement overrides those inside a
trigger, so marks are made without any. And there is one writer at a time, so a plain read of the fence is a lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenfold.errors import MoveError
from tenfold.sharding.moves.tables import Moved, dirty_table, keys_table

_LITERAL = re.compile(r"'(?:[^']|'')*'|[-+]?[0-9]+(?:\.[0-9]*)?", re.ASCII)
"""Defaults that mean the same in a trigger."""
_WRITES = {"i": "INSERT", "u": "UPDATE", "d": "DELETE"}


def sqlite_trigger(move: int, table: Moved, name: str, event: str) -> str:
    """CREATE TRIGGER for one of the six events. Raises MoveError for a unique index that cannot be watched."""
    body = "\n".join(_body(move, table, event))
    moment = "BEFORE" if event[0] == "b" else "AFTER"
    return (
        f"CREATE TRIGGER {name} {moment} {_WRITES[event[1]]} ON {table.name} FOR EACH ROW WHEN tf_mover() = 0\n"
        f"BEGIN\n{body}\nEND"
    )


def _body(move: int, table: Moved, event: str) -> Iterator[str]:
    if event[0] == "b":
        if event[1] != "i":
            yield _refusal(f"SELECT {table.bucket('OLD.')} AS tf_b")
        if event[1] == "u":
            # Of an insert it is looked at afterwards: before, a number that SQLite gives is not there yet.
            yield _refusal(f"SELECT {table.bucket('NEW.')} AS tf_b")
        if event[1] != "d":
            for rows in _displaced(table, event):
                yield _refusal(f"SELECT tf_b FROM ({rows})", "state = 'fenced'")
                yield from _marks(move, table, rows)
        yield "SELECT 1;"
        return
    if event[1] == "i":
        yield _refusal(f"SELECT {table.bucket('NEW.')} AS tf_b")
    for row in {"i": ("NEW.",), "u": ("OLD.", "NEW."), "d": ("OLD.",)}[event[1]]:
        values = ", ".join(f"{row}{column} AS {column}" for column in table.primary_key)
        yield from _marks(move, table, f"SELECT {values}, {table.bucket(row)} AS tf_b")
    if event[1] != "d" and table.key:
        yield _key(move, table)


def _refusal(buckets: str, state: str = "state <> 'open'") -> str:
    return f"SELECT RAISE(ABORT, 'tf_fence') FROM tf_fence WHERE bucket IN ({buckets}) AND {state};"


def _displaced(table: Moved, event: str) -> Iterator[str]:
    """Of each unique index, a SELECT of the rows that a REPLACE of NEW would delete: primary key and tf_b."""
    columns = ", ".join(f"t.{column} AS {column}" for column in table.primary_key)
    seen = []
    for unique in [table.shape.primary_key, *(index.columns for index in table.shape.indexes if index.unique)]:
        # An expression or another collation is left out: more rows are marked then, which does no harm.
        watched = tuple(name for name in unique if name)
        if not watched:
            raise MoveError(
                f"{table.shape.name} has a UNIQUE over an expression or with a collation, and what a REPLACE deletes "
                "because of it would be lost",
                hint="drop that index, or write the column's collation as BINARY",
            )
        if watched in seen:
            continue
        seen.append(watched)
        same = " AND ".join(f"t.{table.quoted(name)} = {_written(table, name)}" for name in watched)
        other = ""
        if event == "bu":
            other = f" AND NOT ({' AND '.join(f't.{column} = OLD.{column}' for column in table.primary_key)})"
        yield f"SELECT {columns}, {table.bucket('t.')} AS tf_b FROM {table.name} AS t WHERE {same}{other}"


def _written(table: Moved, name: str) -> str:
    """What NEW will hold: for a NULL that may not be, REPLACE puts the default."""
    column = table.shape.columns[name]
    if column.nullable or not _LITERAL.fullmatch(column.default or ""):
        return f"NEW.{table.quoted(name)}"
    return f"coalesce(NEW.{table.quoted(name)}, {column.default})"


def _marks(move: int, table: Moved, rows: str) -> Iterator[str]:
    """Mark what `rows` selects: primary key and tf_b."""
    dirty, columns = dirty_table(move, table), ", ".join(table.primary_key)
    same = " AND ".join(f"d.{column} = r.{column}" for column in table.primary_key)
    yield f"UPDATE {dirty} SET tf_version = tf_version + 1 WHERE ({columns}, tf_bucket) IN ({rows});"
    yield (
        f"INSERT INTO {dirty} ({columns}, tf_bucket, tf_version)\n"
        f"  SELECT DISTINCT {', '.join(f'r.{column}' for column in table.primary_key)}, r.tf_b, 1 FROM ({rows}) AS r\n"
        f"  JOIN tf_fence AS f ON f.bucket = r.tf_b AND f.captured > 0\n"
        f"  WHERE NOT EXISTS (SELECT 1 FROM {dirty} AS d WHERE {same} AND d.tf_bucket = r.tf_b);"
    )


def _key(move: int, table: Moved) -> str:
    keys, bucket, held = keys_table(move, table), table.bucket("NEW."), f"NEW.{table.quoted(table.key)}"
    return (
        f"INSERT INTO {keys} (tf_bucket, tf_key) SELECT f.bucket, {held} FROM tf_fence AS f\n"
        f"  WHERE f.bucket = {bucket} AND f.captured > 0\n"
        f"  AND NOT EXISTS (SELECT 1 FROM {keys} WHERE tf_bucket = f.bucket AND tf_key = {held});"
    )
