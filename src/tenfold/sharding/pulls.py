"""Bringing the rows of several shards together, where nothing less gives the exact answer. Pure.

Each table that the statement names is filled into a scratch table of the same name, as far as the
statement's own conditions say which of its rows and columns can matter; then the statement runs there
unchanged. What it may bring together is bounded (`database.pull_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.errors import CrossShardError, RoutingError
from tenfold.sharding.constraints import Analysis, Scope, Use, conjuncts, resolve
from tenfold.sharding.functions import is_scalar
from tenfold.sharding.layout import Layout, Pinned, Referenced
from tenfold.sharding.plan import Among, AnyShard, ByKey, OnShard, Part, Route, Scatter, Staged
from tenfold.sharding.routes import listed_route
from tenfold.sharding.shapes import ROWID, TableShape
from tenfold.sharding.statement import Statement, text_of, tokens_of
from tenfold.topology.model import Engine

_COMPARED_ALIKE = {"integer", "uuid"}


@dataclass(frozen=True, slots=True)
class _Table:
    """A table to be brought, with all its uses and what of it is needed.

    whole  whether that is all columns; rank: how few rows it may be
    """

    name: str
    uses: Sequence[Use]
    shape: TableShape
    columns: Sequence[str]
    whole: bool
    conditions: Sequence[str]
    rank: int


def pull(statement: Statement, layout: Layout, analysis: Analysis) -> Staged:
    """The plan. Raises RoutingError for what would not mean the same there."""
    by_name: dict[str, list[Use]] = {}
    for use in analysis.uses:
        by_name.setdefault(use.placed.table.lower(), []).append(use)
    tables = [_table(statement, analysis, uses) for uses in by_name.values()]
    _refuse_row_numbers(statement, tables)
    home = _home(tables) if layout.dialect.engine is Engine.MYSQL else None
    brought = [table for table in tables if not _at_home(table, home, layout)]
    brought.sort(key=lambda table: table.rank)
    parts: list[Part] = []
    filled: list[_Table] = [table for table in tables if table not in brought]
    for table in brought:
        parts.append(_part(statement, layout, analysis, table, filled))
        filled.append(table)
    return Staged(tuple(parts), text_of(statement.numbered, statement.positional), home)


def _table(statement: Statement, analysis: Analysis, uses: list[Use]) -> _Table:
    use = uses[0]
    if use.shape is None:
        raise CrossShardError(f"the columns of {use.placed.table} are not known", hint="create the table first")
    alone = use if len(uses) == 1 else None
    conditions = _conditions(statement, analysis, alone) if alone else []
    key = alone.table.key if alone and alone.table else ""
    rank = 0 if alone and (alone.bound or alone.member.get(key)) else 1 if conditions else 2
    if isinstance(use.placed, Referenced):
        rank = 1
    named = _needed(statement.tree, use.shape)
    columns = named or [column.name for column in use.shape.columns.values()]
    return _Table(use.placed.table, uses, use.shape, columns, not named, conditions, rank)


def _needed(tree: exp.Expr, shape: TableShape) -> list[str]:
    """The columns that the statement may mean, as declared, at least one; empty: whatever the table has."""
    stars = any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star))
    natural = any(join.args.get("method") for join in tree.find_all(exp.Join))
    if stars or natural:
        return []
    named = {identifier.name.lower() for identifier in tree.find_all(exp.Identifier)}
    found = [column.name for name, column in shape.columns.items() if name in named]
    return found or [next(iter(shape.columns.values())).name]


def _refuse_row_numbers(statement: Statement, tables: Sequence[_Table]) -> None:
    known = {name for table in tables for name in table.shape.columns}
    for column in statement.tree.find_all(exp.Column):
        if column.name.lower() in ROWID and column.name.lower() not in known and tables[0].shape.storage == "":
            raise RoutingError(
                f"{column.name} is numbered anew on each shard", hint="name the primary key by its column"
            )


def _home(tables: Sequence[_Table]) -> str | None:
    """The shard whose own tables need not be brought: that of the pinned table with the most rows to come."""
    pinned = [(table.rank, table.uses[0].placed.shard) for table in tables if isinstance(table.uses[0].placed, Pinned)]
    return max(pinned, default=(0, None), key=lambda found: found[0])[1]


def _at_home(table: _Table, home: str | None, layout: Layout) -> bool:
    placed = table.uses[0].placed
    if layout.dialect.engine is Engine.SQLITE:
        return False
    return isinstance(placed, Referenced) or (isinstance(placed, Pinned) and placed.shard == home)


def _part(statement: Statement, layout: Layout, analysis: Analysis, table: _Table, filled: Sequence[_Table]) -> Part:
    dialect = layout.dialect
    use = table.uses[0]
    among = _among(statement, layout, analysis, table, filled) if table.rank == 2 else None
    # The table may have a column by now that it had not when its shape was read.
    columns = "*" if table.whole else ", ".join(dialect.quoted(name) for name in table.columns)
    text = f"SELECT {columns} FROM {dialect.quoted(table.name)}"  # noqa: S608  # quoted names of the schema
    if len(table.uses) == 1:
        text += f" AS {dialect.quoted(use.alias)}"
    conditions = [*table.conditions, *(["1 = 1"] if among and not table.conditions else [])]
    if conditions:
        text += " WHERE " + " AND ".join(f"({condition})" for condition in conditions)
    declared = []
    for name in table.columns:
        column = table.shape.columns[name.lower()]
        declared.append(
            (name, f"{column.declared} COLLATE {column.collation}" if column.collation else column.declared)
        )
    return Part(table.name, _where(table), text_of(text, statement.positional), tuple(declared), among)


def _where(table: _Table) -> Route:
    use = table.uses[0]
    if isinstance(use.placed, Pinned):
        return OnShard(use.placed.shard)
    if use.table is None:
        return AnyShard()
    if len(table.uses) == 1 and use.bound:
        return ByKey((use.bound[0],), use.table.key_type)
    return listed_route(use) if len(table.uses) == 1 else Scatter()


def _conditions(statement: Statement, analysis: Analysis, use: Use) -> list[str]:
    """Conditions of the statement that every row of the table must meet to matter at all."""
    scope = next(scope for scope in analysis.scopes.values() if use in scope.uses)
    if not _inner(scope, use):
        return []
    where = scope.node.args.get("where")
    words = _words(statement.numbered_tokens)
    found = []
    for part in conjuncts(where.this if where is not None else None):
        written = part.sql(dialect=statement.dialect.engine.value)
        if _of_one_row(part, scope, use) and _stands_in(_words(tokens_of(written, statement.dialect)), words):
            found.append(written)
    return found


def _inner(scope: Scope, use: Use) -> bool:
    """Whether a row of the table that fails the WHERE is missed by nobody: no outer join could tell."""
    joins = scope.node.args.get("joins") or []
    sides = {(join.side or "").upper(): join.this.alias_or_name.lower() for join in joins}
    left = {join.this.alias_or_name.lower() for join in joins if (join.side or "").upper() == "LEFT"}
    return isinstance(scope.node, exp.Select) and not {"RIGHT", "FULL"} & set(sides) and use.alias not in left


def _of_one_row(part: exp.Expr, scope: Scope, use: Use) -> bool:
    if part.find(exp.Query, exp.Subquery, exp.Window, exp.AggFunc):
        return False
    if any(not is_scalar(function) for function in part.find_all(exp.Func)):
        return False
    columns = list(part.find_all(exp.Column))
    found = [resolve(column, scope) for column in columns]
    return bool(columns) and all(entry is not None and entry[0] is use and entry[2] is scope for entry in found)


def _words(tokens: Sequence[Token]) -> list[tuple[object, str]]:
    """What the tokens of a text say, operators by their meaning: `!=` and `<>` are one."""
    exact = {TokenType.STRING, TokenType.IDENTIFIER, TokenType.NUMBER}
    found: list[tuple[object, str]] = []
    for token in tokens:
        named = token.text[:1].isalnum() or token.text[:1] == "_"
        word = token.text if token.token_type in exact else token.text.lower() if named else ""
        found.append((token.token_type, word))
    return found


def _stands_in(words: list[tuple[object, str]], text: list[tuple[object, str]]) -> bool:
    """Whether a condition that was printed from the tree stands in the text just so: a printer may change things."""
    return any(text[at : at + len(words)] == words for at in range(len(text) - len(words) + 1))


def _among(
    statement: Statement, layout: Layout, analysis: Analysis, table: _Table, filled: Sequence[_Table]
) -> Among | None:
    """A table that is there already and says by an equality which rows of this one can matter."""
    use = table.uses[0]
    scope = next(scope for scope in analysis.scopes.values() if use in scope.uses)
    if len(table.uses) > 1 or not isinstance(scope.node, exp.Select):
        return None
    joins = scope.node.args.get("joins") or []
    if any((join.side or "").upper() in ("RIGHT", "FULL") for join in joins):
        return None
    own = [join.args.get("on") for join in joins if join.this.alias_or_name.lower() == use.alias]
    where = scope.node.args.get("where")
    # A condition on the right side of a LEFT JOIN says in its ON which rows can be met; in WHERE it comes too late.
    inner = _inner(scope, use)
    parts = [part for condition in own for part in conjuncts(condition)]
    parts += list(conjuncts(where.this if where is not None else None)) if inner else []
    for join in joins if inner else ():
        parts += list(conjuncts(join.args.get("on"))) if (join.side or "") == "" else []
    for part in parts:
        if isinstance(part, exp.EQ):
            for mine, other in ((part.left, part.right), (part.right, part.left)):
                found = _match(statement, layout, scope, use, mine, other, filled)
                if found:
                    return found
    return None


def _match(
    statement: Statement, layout: Layout, scope: Scope, use: Use, mine: exp.Expr, other: exp.Expr,
    filled: Sequence[_Table],
) -> Among | None:  # fmt: skip
    here, there = resolve(mine, scope), resolve(other, scope)
    if not here or not there or here[0] is not use or there[2] is not scope or here[2] is not scope:
        return None
    assert here[0].shape is not None  # noqa: S101  # what it was resolved by
    source = next((table for table in filled if there[0] in table.uses and len(table.uses) == 1), None)
    if source is None or not _smaller(source):
        return None
    column, given = here[0].shape.columns[here[1]], source.shape.columns[there[1]]
    text_alike = column.kind == given.kind == "text" and column.by_bytes and given.by_bytes
    if not text_alike and not (column.kind == given.kind and column.kind in _COMPARED_ALIKE):
        return None
    quoted = layout.dialect.quoted
    text = f"SELECT DISTINCT {quoted(given.name)} FROM {quoted(source.name)} AS {quoted(there[0].alias)}"  # noqa: S608
    conditions = " AND ".join(f"({condition})" for condition in source.conditions)
    text += f" WHERE {conditions}" if conditions else ""
    key_type = use.table.key_type if use.table and use.table.key == here[1] else None
    return Among(column.name, text_of(text, statement.positional), key_type)


def _smaller(source: _Table) -> bool:
    return source.rank < 2 or isinstance(source.uses[0].placed, Pinned)
