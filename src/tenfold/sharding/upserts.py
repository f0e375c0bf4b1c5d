"""What an INSERT does with a row that is in the way, and what an UPDATE may set. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlglot import exp

from tenfold.errors import RoutingError
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.keys import KeyType, canonical
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.shapes import ROWID, Column

_MOVED = "insert the row under the new key and delete the old one, each by its own key"


def settings_of(settings: Iterable[exp.Expr], table: GroupTable) -> dict[str, exp.Expr]:
    """Lower-case column → new value, of the SET of an UPDATE; refuses what moves the row."""
    found: dict[str, exp.Expr] = {}
    for setting in settings:
        if not isinstance(setting, exp.EQ) or not isinstance(setting.this, exp.Column):
            raise RoutingError(
                "SET of several columns at once is not supported yet", hint="write column = value for each"
            )
        column = setting.this.name.lower()
        hidden = column in ROWID and column not in table.shape.columns
        if hidden or column in (table.key, table.id_column):
            raise RoutingError(
                f"{table.name}.{column} decides where the row lives and is not updated",
                hint=_MOVED,
            )
        found[column] = setting.expression
    return found


def verb_of(tree: exp.Insert) -> str:
    """insert, ignore, update, replace or fail: see `plan.Inserting`."""
    conflict = tree.args.get("conflict")
    if conflict:
        return "update" if conflict.expressions else "ignore"
    alternative = str(tree.args.get("alternative") or "").lower()
    if tree.args.get("ignore"):
        return "ignore"
    return alternative if alternative in ("ignore", "replace", "fail") else "insert"


def check_upsert(tree: exp.Insert, table: GroupTable, columns: Iterable[str]) -> None:
    """Refuse an upsert that would move a row, or whose reserved values nobody could keep. columns: that it fills."""
    verb = verb_of(tree)
    conflict = tree.args.get("conflict")
    settings = settings_of(_moving(conflict.expressions, table), table) if conflict else {}
    if verb in ("insert", "fail") or not table.reserved:
        return
    named = [column for column in table.reserved if column in settings or column in columns]
    # REPLACE deletes the row in its way, with reserved values that it does not name.
    if named or verb == "replace":
        raise RoutingError(
            f"{table.name} has values reserved over all shards ({', '.join(table.reserved)}); "
            "INSERT that ignores or replaces cannot be told from one that fails",
            hint="write a plain INSERT and catch ConstraintError, or UPDATE the row by its key",
        )


def _moving(settings: Iterable[exp.Expr], table: GroupTable) -> list[exp.Expr]:
    """The assignments without `key = excluded.key` (VALUES(key)), where whatever is in the way has the same key."""
    kept = all(table.key in index.columns for index in table.shape.indexes if index.unique)
    return [item for item in settings if not (kept and _keeps_key(item, table))]


def _keeps_key(item: exp.Expr, table: GroupTable) -> bool:
    if not isinstance(item, exp.EQ) or not isinstance(item.this, exp.Column) or item.this.name.lower() != table.key:
        return False
    new = item.expression
    if isinstance(new, exp.Anonymous) and new.name.upper() in ("VALUES", "VALUE") and len(new.expressions) == 1:
        return str(new.expressions[0].name).lower() == table.key
    return isinstance(new, exp.Column) and new.name.lower() == table.key and new.table.lower() == "excluded"


# Bytes of MySQL's integers.
_INTEGERS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "integer": 4, "bigint": 8}
_LENGTH = re.compile(r"\w+\((\d+)\)")


def check_fits(verb: str, dialect: Dialect, column: Column, value: object) -> None:
    """INSERT IGNORE on MySQL cuts a value that is too large to what fits, and the row would then have another
    key than the one it was routed by. Raises RoutingError for such a key."""
    if verb != "ignore" or dialect != MYSQL or column.key_type is None:
        return
    key = canonical(value, column.key_type)
    declared = column.declared.lower()
    if isinstance(key, int):
        bits = 8 * _INTEGERS.get(declared.partition("(")[0].split()[0], 8)
        low, high = (0, 1 << bits) if "unsigned" in declared else (-(1 << bits - 1), 1 << bits - 1)
        fits = low <= key < high
    elif column.key_type is KeyType.UUID:
        fits = True
    else:
        length = _LENGTH.match(declared)
        fits = length is None or len(key) <= int(length[1])
    if not fits:
        raise _would_change(column)


def check_same_width(verb: str, dialect: Dialect, column: Column, origin: Column) -> None:
    """As `check_fits`, for keys that are copied from another column."""
    if verb == "ignore" and dialect == MYSQL and column.declared.lower() != origin.declared.lower():
        raise _would_change(column)


def _would_change(column: Column) -> RoutingError:
    return RoutingError(
        f"a shard key may not fit into {column.name} {column.declared}, and INSERT IGNORE would change it",
        hint="leave IGNORE out, and the database refuses such a row",
    )
