"""Aggregates, GROUP BY and DISTINCT over several shards: each gives partial results, the engine adds them up. Pure.

Each shard groups its own rows; its results go into a scratch table, and the statement is run again over
that table with SUM in place of COUNT, and so on. So the engine itself compares groups (collations, NULL),
divides, and applies HAVING, ORDER BY and LIMIT. Where a piece is not understood the answer is None, and the
rows themselves are brought together instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from tenfold.sharding.clauses import Clauses, Item, Piece, closing, parts_of, span_of
from tenfold.sharding.constraints import Scope, aggregates_in, column_of
from tenfold.sharding.dialects import Dialect
from tenfold.sharding.plan import Part, Route, Staged
from tenfold.sharding.statement import Statement, text_of
from tenfold.topology.model import Engine

TABLE = "tf_part"
_ADDED = {"sum": "SUM", "min": "MIN", "max": "MAX", "bit_and": "BIT_AND", "bit_or": "BIT_OR", "bit_xor": "BIT_XOR"}
_KNOWN = {*_ADDED, "count", "avg"}


class _Unknown(Exception):
    """Something that is not added up from parts."""


@dataclass(slots=True)
class _Building:
    """The columns of the scratch table as they are found.

    aliases   names that the SELECT gives to its items, lower-case
    columns   expression in the part → (name, declaration for SQLite)
    groups    what the caller groups by; distinct: what must be told apart besides
    bare      whether a column is taken from any row of its group
    """

    statement: Statement
    scope: Scope
    aliases: dict[str, Item]
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)
    groups: list[Piece] = field(default_factory=list)
    distinct: list[str] = field(default_factory=list)
    bare: bool = False

    @property
    def dialect(self) -> Dialect:
        return self.statement.dialect

    def column(self, kind: str, sql: str, declared: str) -> str:
        if sql not in self.columns:
            self.columns[sql] = (f"tf_{kind}{len(self.columns)}", declared)
        return self.columns[sql][0]


def partials(statement: Statement, clauses: Clauses, scope: Scope, where: Route) -> Staged | None:
    """How a SELECT with aggregates, GROUP BY or DISTINCT is put together from its parts; None where it cannot be."""
    tree = statement.tree
    aliases = {item.alias.lower(): cut for item, cut in zip(tree.expressions, clauses.items, strict=True) if item.alias}
    building = _Building(statement, scope, aliases)
    try:
        return _staged(building, clauses, where)
    except _Unknown:
        return None


def _staged(building: _Building, clauses: Clauses, where: Route) -> Staged:
    statement, tree = building.statement, building.statement.tree
    _refuse_odd(building, tree)
    group = tree.args.get("group")
    aggregates = any(next(aggregates_in(item), None) is not None for item in tree.expressions) or tree.args.get(
        "having"
    )
    if group is not None:
        for item, node in zip(clauses.group, group.expressions, strict=True):
            _add_group(building, *_meant(building, clauses, item.bare, node))
    elif not aggregates:  # DISTINCT is GROUP BY all that is selected
        for item, node in zip(clauses.items, tree.expressions, strict=True):
            _add_group(building, item.bare, node.unalias())
    grouped = list(building.columns)
    items = []
    for cut, node in zip(clauses.items, tree.expressions, strict=True):
        name = building.dialect.quoted(header(statement, cut, node, building.scope))
        items.append(f"{_rewritten(building, cut.bare, node.unalias())} AS {name}")
    tail = []
    having = tree.args.get("having")
    if having is not None:
        tail.append(_rewritten(building, clauses.having, having.this))
    order = tree.args.get("order")
    if order is not None:
        nodes = order.expressions
        tail.append(
            "ORDER BY " + ", ".join(_ordered(building, c, n) for c, n in zip(clauses.order, nodes, strict=True))
        )
    if building.bare and not group:
        raise _Unknown  # a shard without rows has no row to take it from
    names = building.columns
    part = "SELECT " + ", ".join(f"{sql} AS {name}" for sql, (name, _) in names.items()) + f" {clauses.source}"
    together = grouped + [sql for sql in building.distinct if sql not in grouped]
    if together:
        part += " GROUP BY " + ", ".join(together)
    final = f"{clauses.select} {', '.join(items)} FROM {TABLE}"
    if group is not None:
        final += " GROUP BY " + ", ".join(names[sql][0] for sql in grouped)
    final = " ".join([final, *tail, str(clauses.limit)]).rstrip()
    columns = tuple(names.values())
    return Staged(
        (Part(TABLE, where, text_of(part, statement.positional), columns),), text_of(final, statement.positional)
    )


def _refuse_odd(building: _Building, tree: exp.Expr) -> None:
    group = tree.args.get("group")
    if group is None and tree.args.get("having") and not any(aggregates_in(item) for item in tree.expressions):
        raise _Unknown
    parts = [*tree.expressions, *(tree.args.get(name) for name in ("having", "order", "group"))]
    for part in parts:
        if part is not None and part.find(exp.Star) and not _only_counted(part):
            raise _Unknown
        if part is not None and part.find(exp.Query, exp.Window, exp.Filter, exp.Collate, exp.Subquery):
            raise _Unknown
    columns = {name for use in building.scope.uses for name in (use.shape.columns if use.shape else ())}
    for item in tree.expressions:
        plain = isinstance(item.unalias(), exp.Column) and item.unalias().name.lower() == item.alias.lower()
        if item.alias and item.alias.lower() in columns and not plain:
            raise _Unknown  # which of the two a name means depends on where it stands


def _only_counted(part: exp.Expr) -> bool:
    return all(isinstance(star.parent, exp.Count) for star in part.find_all(exp.Star))


def _meant(building: _Building, clauses: Clauses, piece: Piece, node: exp.Expr) -> tuple[Piece, exp.Expr]:
    """What a GROUP BY names: an item by its position or alias, or an expression."""
    items = building.statement.tree.expressions
    if isinstance(node, exp.Literal):
        at = int(node.this) - 1 if not node.is_string and node.this.isdigit() else -1
        if not 0 <= at < len(items):
            raise _Unknown
        return clauses.items[at].bare, items[at].unalias()
    if isinstance(node, exp.Column) and not node.table and node.name.lower() in building.aliases:
        at = next(at for at, item in enumerate(items) if item.alias.lower() == node.name.lower())
        return clauses.items[at].bare, items[at].unalias()
    return piece, node


def _add_group(building: _Building, piece: Piece, node: exp.Expr) -> None:
    if isinstance(node, exp.Literal | exp.Placeholder | exp.Null) or next(aggregates_in(node), None) is not None:
        raise _Unknown
    if any(column_of(column, building.scope) is None for column in node.find_all(exp.Column)):
        raise _Unknown  # an alias within an expression
    building.column("key_", str(piece), _declared(building, node))
    building.groups.append(piece)


def _declared(building: _Building, node: exp.Expr, within: Piece | None = None) -> str:
    """Type and collation of SQLite's scratch column, so that it compares as the expression does.

    within  the piece of `node` that is meant; None: all of it
    """
    if building.dialect.engine is not Engine.SQLITE:
        return ""
    columns = [column for column in node.find_all(exp.Column) if within is None or _inside(column, within)]
    found = [column_of(column, building.scope) for column in columns]
    whole = within is None or (within.tokens[0].start, within.tokens[-1].end) == (
        span_of(columns[0]) if columns else None
    )
    if found and found[0] is not None and whole and (within is not None or isinstance(node, exp.Column)):
        return f"{found[0].declared} COLLATE {found[0].collation}"
    if any(column is None or column.collation != "BINARY" for column in found):
        raise _Unknown
    return ""


def _inside(column: exp.Column, piece: Piece) -> bool:
    start, end = span_of(column)
    return piece.tokens[0].start <= start and end <= piece.tokens[-1].end


def _ordered(building: _Building, item: Item, node: exp.Expr) -> str:
    inner = node.this if isinstance(node, exp.Ordered) else node
    if isinstance(inner, exp.Literal):
        return str(item.whole)
    return _rewritten(building, item.bare, inner) + str(item.whole)[len(str(item.bare)) :]


def _rewritten(building: _Building, piece: Piece, node: exp.Expr) -> str:
    """A piece of the statement in terms of the scratch table."""
    calls = list(_calls(piece))
    if len(calls) != len(list(aggregates_in(node))):
        raise _Unknown
    spans = [(call.start, call.end, _combined(building, call, node)) for call in calls]
    for group in building.groups:
        name = building.columns[str(group)][0]
        spans += [(start, end, name) for start, end in piece.find(group) if not _within(start, end, spans)]
    for column in node.find_all(exp.Column):
        start, end = span_of(column)
        if not _within(start, end, spans):
            spans.append((start, end, _single(building, column)))
    return piece.replaced(spans)


def _within(start: int, end: int, spans: Sequence[tuple[int, int, str]]) -> bool:
    return any(first <= start and end <= last for first, last, _ in spans)


def _single(building: _Building, column: exp.Column) -> str:
    """A column that is neither grouped nor aggregated: an alias of the SELECT, or that of any row of the group."""
    if not column.table and column.name.lower() in building.aliases and column_of(column, building.scope) is None:
        return building.dialect.quoted(column.name)
    if column_of(column, building.scope) is None:
        raise _Unknown
    start, end = span_of(column)
    written = building.statement.numbered[start : end + 1]
    if written not in {str(group) for group in building.groups}:
        building.bare = True
    return building.column("any_", written, _declared(building, column))


@dataclass(frozen=True, slots=True)
class _Call:
    """An aggregate in the text: start and end in the whole text, name in lower case, its arguments."""

    start: int
    end: int
    name: str
    distinct: bool
    arguments: tuple[Piece, ...]


def _calls(piece: Piece) -> Iterator[_Call]:
    tokens = piece.tokens
    for at, token in enumerate(tokens[:-1]):
        name = token.text.lower()
        if name in _KNOWN and tokens[at + 1].token_type is TokenType.L_PAREN:
            end = closing(tokens, at + 1)
            inner = tokens[at + 2 : end]
            distinct = bool(inner) and inner[0].token_type is TokenType.DISTINCT
            arguments = tuple(Piece(piece.text, part) for part in parts_of(inner[1:] if distinct else inner))
            if len(arguments) == 1 or distinct:  # SQLite's MIN and MAX of several values are of one row
                yield _Call(token.start, tokens[end].end, name, distinct, arguments)


def _combined(building: _Building, call: _Call, node: exp.Expr) -> str:
    """An aggregate over the results of the shards."""
    if call.distinct and call.name not in ("min", "max"):
        names = []
        for piece in call.arguments:
            names.append(building.column("one_", str(piece), _declared(building, node, piece)))
            building.distinct.append(str(piece))
        return f"{call.name.upper()}(DISTINCT {', '.join(names)})"
    argument = str(call.arguments[0])
    sqlite = building.dialect.engine is Engine.SQLITE
    if call.name == "count":
        count = f"COALESCE(SUM({building.column('sum_', f'COUNT({argument})', '')}), 0)"
        return count if sqlite else f"CAST({count} AS SIGNED)"
    if call.name == "avg":
        # SQLite sums what it averages in floating point, as TOTAL does.
        total, added = ("TOTAL", "TOTAL") if sqlite else ("SUM", "SUM")
        whole = building.column("sum_", f"{total}({argument})", "")
        return f"({added}({whole}) / SUM({building.column('sum_', f'COUNT({argument})', '')}))"
    declared = _declared(building, node, call.arguments[0]) if call.name in ("min", "max") else ""
    function = _ADDED[call.name]
    return f"{function}({building.column('sum_', f'{function}({argument})', declared)})"


def header(statement: Statement, item: Item, node: exp.Expr, scope: Scope) -> str:
    """The name that the engine gives to an item of a SELECT."""
    if node.alias:
        return node.alias
    if isinstance(node, exp.Column):
        column = column_of(node, scope)
        return column.name if column and statement.dialect.engine is Engine.SQLITE else node.name
    return text_of(str(item.whole), statement.positional).sql
