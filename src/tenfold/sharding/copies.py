"""INSERT … SELECT into a group's table: rows that stay on the shard where they were read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.errors import CrossShardError, RoutingError, ShardKeyError
from tenfold.sharding.colocated import follow
from tenfold.sharding.constraints import Analysis, Scope, Use, from_items, has_aggregate, is_plain_table, resolve
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.plan import ByKey, Copying, Route
from tenfold.sharding.routes import listed_route
from tenfold.sharding.statement import Const, Source, Statement, Text, source
from tenfold.sharding.upserts import check_same_width, verb_of

_BY_HAND = "read the rows first, then insert them with executemany"


def plan_copy(
    statement: Statement, analysis: Analysis, table: GroupTable, columns: Sequence[str]
) -> tuple[Route, Copying, tuple[Source, ...]]:
    """Where an INSERT … SELECT goes, what must be checked of its ids, and the keys of its sub-queries.

    Raises CrossShardError where a row might have to leave its shard.
    """
    tree = statement.tree
    assert isinstance(tree, exp.Insert)  # noqa: S101
    select = tree.expression
    reserved = [column for column in table.reserved if column in columns]
    if reserved:
        raise RoutingError(
            f"{table.name}.{reserved[0]} is reserved over all shards, value by value, before a row is written",
            hint=_BY_HAND,
        )
    if table.id_column and table.id_column not in columns:
        raise RoutingError(
            f"INSERT … SELECT into {table.name} would need an id for each row, before anyone knows how many there are",
            hint=_BY_HAND,
        )
    if not isinstance(select, exp.Select):
        raise CrossShardError(f"INSERT of a UNION into {table.name} is not supported", hint=_BY_HAND)
    found = list(_projections(select, analysis))
    if len(found) != len(columns):
        raise RoutingError(
            f"the SELECT gives {len(found)} columns for {len(columns)} of {table.name}, as far as can be seen",
            hint="name the columns of both, none by *",
        )
    given = dict(zip(columns, found, strict=True))
    key = given[table.key]
    constant = source(key.unalias())
    if constant is not None:
        route, others = _by_constant(analysis, constant, table)
        copying = _checked(statement, analysis, select, given, table, constant)
        return route, copying, others
    anchor = _anchor(analysis, select, key, table)
    origin = table_of(anchor)
    check_same_width(verb_of(tree), statement.dialect, table.shape.columns[table.key], origin.shape.columns[origin.key])
    copying = _checked(statement, analysis, select, given, table, None)
    if anchor.bound:
        return ByKey(tuple(dict.fromkeys(anchor.bound)), table.key_type), copying, ()
    return listed_route(anchor), copying, ()


def table_of(use: Use) -> GroupTable:
    """The group's table of a use that has one."""
    assert use.table is not None  # noqa: S101
    return use.table


def _by_constant(analysis: Analysis, key: Source, table: GroupTable) -> tuple[ByKey, tuple[Source, ...]]:
    if key == Const(None):
        raise ShardKeyError(f"the shard key {table.name}.{table.key} is NULL", hint="give every row its shard key")
    for use in analysis.uses[1:]:
        if use.table and not use.bound:
            raise CrossShardError(
                f"the rows of {use.table.name} may lie on other shards than those that are inserted",
                hint=f"add `{use.alias}.{use.table.key} = ?` to the SELECT, with the same key",
            )
    others = tuple(dict.fromkeys(item for use in analysis.uses[1:] if use.table for item in use.bound))
    return ByKey(tuple(dict.fromkeys([key, *others])), table.key_type), others


def _anchor(analysis: Analysis, select: exp.Select, key: exp.Expr, table: GroupTable) -> Use:
    """The table whose key becomes that of the new rows. Raises CrossShardError unless each shard can copy its own."""
    scope = analysis.scopes[id(select)]
    meant = resolve(key.unalias(), scope)
    if meant is None or meant[2] is not scope or meant[1] != table_of(meant[0]).key:
        raise CrossShardError(
            f"the SELECT must give {table.name}.{table.key} the shard key of a table that it reads, or a parameter",
            hint=f"select the column itself, or {_BY_HAND}",
        )
    anchor = meant[0]
    if _may_be_null(scope, anchor):
        raise CrossShardError(
            f"{anchor.alias} stands in an outer join, so its shard key may be NULL", hint="write an inner join"
        )
    if not follow(analysis, anchor, besides=analysis.uses[0]):
        raise CrossShardError(
            f"the SELECT may bring rows of several keys together, which live on different shards, for {table.name}",
            hint=f"join every table on {table_of(anchor).key}, or {_BY_HAND}",
        )
    _refuse_whole_answer(select, scope, anchor, table)
    return anchor


def _may_be_null(scope: Scope, anchor: Use) -> bool:
    sides = {join.this.alias_or_name.lower(): (join.side or "").upper() for join in scope.node.args.get("joins") or ()}
    return any(side in ("RIGHT", "FULL") for side in sides.values()) or sides.get(anchor.alias, "") == "LEFT"


def _refuse_whole_answer(select: exp.Select, scope: Scope, anchor: Use, table: GroupTable) -> None:
    """What depends on the rows of all shards together."""
    if anchor.bound:
        return
    said = next((clause.upper() for clause in ("limit", "offset", "fetch") if select.args.get(clause)), None)
    group = select.args.get("group")
    by_key = group is not None and any(_is_key(item, scope, anchor) for item in group.expressions)
    if said is None and group is not None and not by_key:
        said = "GROUP BY without the shard key"
    if said is None and not by_key and (select.args.get("having") or has_aggregate(select)):
        said = "an aggregate"
    if said is None and next(select.find_all(exp.Window), None):
        said = "a window"
    # A function that the parser does not know may be an aggregate.
    strange = next((node for item in select.expressions for node in item.find_all(exp.Anonymous)), None)
    if said is None and strange is not None and not by_key:
        said = f"{strange.name}()"
    if said:
        raise CrossShardError(
            f"{said} in the SELECT needs the rows of all shards together, for {table.name}",
            hint=f"add `{anchor.alias}.{table_of(anchor).key} = ?`, or {_BY_HAND}",
        )


def _is_key(item: exp.Expr, scope: Scope, anchor: Use) -> bool:
    meant = resolve(item, scope)
    return meant is not None and meant[0] is anchor and meant[1] == table_of(anchor).key


def _projections(select: exp.Select, analysis: Analysis) -> Iterator[exp.Expr]:
    """The columns of the SELECT, `*` of one plain table written out."""
    items = list(from_items(select))
    for item in select.expressions:
        if not item.is_star:
            yield item
            continue
        shape = next((use.shape for use in analysis.scopes[id(select)].uses), None)
        if len(items) != 1 or not is_plain_table(items[0]) or shape is None:
            raise RoutingError("* does not say which columns are copied", hint="name the columns")
        for column in shape.columns.values():
            yield exp.column(column.name, table=items[0].alias_or_name)


def _checked(
    statement: Statement,
    analysis: Analysis,
    select: exp.Select,
    given: dict[str, exp.Expr],
    table: GroupTable,
    key: Source | None,
) -> Copying:
    """An id must be one that Tenfold drew for the same key: then it carries the bucket where the row goes."""
    if table.id_column is None or table.id_is_key:
        return Copying(key)
    scope = analysis.scopes[id(select)]
    meant = resolve(given[table.id_column].unalias(), scope)
    owner = meant[0] if meant else None
    origin = owner.table if owner else None
    from_key = resolve(given[table.key].unalias(), scope)
    one_owner = key is not None or (from_key is not None and from_key[0] is owner)
    if meant is None or origin is None or meant[1] != origin.id_column or origin.id_is_key or not one_owner:
        raise CrossShardError(
            f"the ids of {table.name} must be those that Tenfold drew for rows of the same shard key",
            hint=f"select the id of the table whose {table.key} is selected, or {_BY_HAND}",
        )
    start, end = _select_span(statement.tokens)
    slots = _slots(statement, start, end)
    number = list(given).index(table.id_column)
    names = ", ".join(f"tf_{position}" for position in range(len(given)))
    text = statement.sql[start:end]
    check = (
        f"WITH tf_copied({names}) AS ({text}) SELECT COUNT(*) FROM tf_copied"  # noqa: S608  # the caller's own SELECT
        f" WHERE tf_{number} IS NULL OR tf_{number} <= "
    )
    return Copying(key, Text(check, slots), origin.name.lower())


def _select_span(tokens: Sequence[Token]) -> tuple[int, int]:
    """Where the SELECT begins and ends in the text: before ON CONFLICT, ON DUPLICATE KEY and RETURNING."""
    depth, start = 0, None
    for position, token in enumerate(tokens):
        kind = token.token_type
        if depth == 0 and start is None and kind in (TokenType.SELECT, TokenType.WITH):
            start = token.start
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        following = tokens[position + 1].text.upper() if position + 1 < len(tokens) else ""
        conflict = kind is TokenType.ON and following in ("CONFLICT", "DUPLICATE")
        if depth == 0 and start is not None and (conflict or kind is TokenType.RETURNING):
            return start, tokens[position - 1].end + 1
    if start is None:
        raise RoutingError("the SELECT stands in parentheses", hint="write INSERT INTO … SELECT … without them")
    return start, tokens[-1].end + 1


def _slots(statement: Statement, start: int, end: int) -> tuple[int, ...] | None:
    if not statement.positional:
        return None
    marks = [token.start for token in statement.tokens if token.token_type is TokenType.PLACEHOLDER]
    return tuple(slot for slot, mark in enumerate(marks) if start <= mark < end)
