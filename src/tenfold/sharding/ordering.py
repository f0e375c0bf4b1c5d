"""By what the shards' rows are merged, so that the order is that of the engine. Pure."""

from __future__ import annotations

from sqlglot import exp

from tenfold.sharding.clauses import Clauses, Item, Piece
from tenfold.sharding.constraints import Scope, column_of
from tenfold.sharding.plan import SortKey
from tenfold.sharding.shapes import Column
from tenfold.sharding.statement import Statement
from tenfold.topology.model import Engine

# Kinds of MySQL's columns whose values Python compares as the server does.
_PLAIN = {"integer", "decimal", "float", "binary", "date", "datetime", "time", "year", "bit"}
# What gives a number (or NULL) whatever it is given, so that Python compares it as MySQL does.
_NUMBERS = (
    exp.Count, exp.Sum, exp.Avg, exp.Length, exp.Abs, exp.Floor, exp.Ceil, exp.Round, exp.Mul, exp.Div, exp.IntDiv,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.Not, exp.In, exp.Between, exp.Like, exp.Year,
    exp.Month, exp.Day, exp.StrPosition,
)  # fmt: skip
# What gives a text under the collation of the texts that it is given.
_TEXTS = (exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.Left, exp.Right, exp.Concat)
_SQLITE_ORDERS = {"BINARY": "plain", "NOCASE": "nocase", "RTRIM": "rtrim"}


def sort_keys(statement: Statement, clauses: Clauses, scope: Scope) -> tuple[list[SortKey], list[str]] | None:
    """(keys, expressions to add to the SELECT for them); None where the order is not one that we can compare.

    Positions of the added columns count from -len(expressions), as a row may begin with `*`.
    """
    order = statement.tree.args.get("order")
    if order is None:
        return [], []
    added: list[str] = []
    found: list[tuple[int, bool, str, bytes]] = []
    for item, node in zip(clauses.order, order.expressions, strict=True):
        if not isinstance(node, exp.Ordered) or "NULLS" in str(item.whole).upper().split():
            return None
        meant = _meant(statement, clauses, item, node.this)
        key = _key(statement, scope, *meant) if meant else None
        if key is None:
            return None
        sql, kind, pad = key
        if sql not in added:
            added.append(sql)
        found.append((added.index(sql), bool(node.args.get("desc")), kind, pad))
    keys = [SortKey(at - len(added), descending, kind, pad) for at, descending, kind, pad in found]
    return keys, added


def _meant(statement: Statement, clauses: Clauses, item: Item, node: exp.Expr) -> tuple[Piece, exp.Expr] | None:
    """The expression behind a position or an alias. None where a name may mean two things."""
    items = statement.tree.expressions
    at = None
    if isinstance(node, exp.Literal):
        # A position counts the columns that `*` stands for, too.
        if node.is_string or not node.this.isdigit() or any(entry.find(exp.Star) for entry in items):
            return None
        at = int(node.this) - 1
    elif isinstance(node, exp.Column) and not node.table:
        at = next((at for at, entry in enumerate(items) if entry.alias.lower() == node.name.lower()), None)
    if at is None:
        aliases = {entry.alias.lower() for entry in items if entry.alias}
        inside = {column.name.lower() for column in node.find_all(exp.Column) if not column.table}
        return None if aliases & inside else (item.bare, node)
    return (clauses.items[at].bare, items[at].unalias()) if 0 <= at < len(items) else None


def _key(statement: Statement, scope: Scope, piece: Piece, node: exp.Expr) -> tuple[str, str, bytes] | None:
    """(expression to compare by, SortKey.order, SortKey.pad)."""
    if node.find(exp.Query, exp.Window, exp.Rand, exp.Uuid):
        return None
    column = column_of(node, scope)
    if statement.dialect.engine is Engine.SQLITE:
        order = _sqlite_order(node, column, scope)
        return (str(piece), order, b"") if order else None
    node = node.unnest()
    if isinstance(node, exp.Min | exp.Max):
        column, inner = column_of(node.this, scope), True
    else:
        inner = False
    if column is None and isinstance(node, _TEXTS):
        column = _text_within(node, scope)
    if column is None:
        return (str(piece), "plain", b"") if isinstance(node, _NUMBERS) else None
    if column.kind in _PLAIN:
        return str(piece), "plain", b""
    if column.kind in ("enum", "set") and not inner:
        return f"{piece} + 0", "plain", b""
    if column.kind == "text" and column.collation:
        pad = column.space_weight if column.pad_space else b""
        return (f"WEIGHT_STRING({piece})", "weight", pad) if pad or not column.pad_space else None
    return None


def _text_within(node: exp.Expr, scope: Scope) -> Column | None:
    """A column whose collation a computed text has: all columns in it are texts under that one."""
    known = (*_TEXTS, exp.Column, exp.Identifier, exp.Literal, exp.Paren)
    found = [column_of(inner, scope) for inner in node.find_all(exp.Column)]
    if not all(isinstance(inner, known) for inner in node.walk()) or not found:
        return None
    first = found[0]
    alike = all(column and column.kind == "text" and first and column.collation == first.collation for column in found)
    return first if alike else None


def kind_of(node: exp.Expr, scope: Scope) -> str:
    """`Column.kind` of a plain column, else empty."""
    column = column_of(node, scope)
    return column.kind if column else ""


def _sqlite_order(node: exp.Expr, column: Column | None, scope: Scope) -> str | None:
    if isinstance(node, exp.Collate):
        return _SQLITE_ORDERS.get(node.expression.name.upper())
    if column is not None:
        return _SQLITE_ORDERS.get(column.collation)
    inner = [column_of(found, scope) for found in node.find_all(exp.Column)]
    plain = all(found is not None and found.collation == "BINARY" for found in inner)
    return "plain" if plain and not node.find(exp.Collate) else None
