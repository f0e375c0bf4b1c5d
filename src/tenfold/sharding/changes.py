"""What an UPDATE or DELETE on a group's table may change, where it goes, and which reserved values it touches. Pure."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from tenfold.errors import CrossShardError, RoutingError
from tenfold.sharding.colocated import follow
from tenfold.sharding.constraints import Analysis, Use
from tenfold.sharding.layout import GroupTable, Referenced
from tenfold.sharding.plan import Changing, Route
from tenfold.sharding.routes import bound_route, column_route, listed_route
from tenfold.sharding.statement import Kind, Source, Statement, Text, source
from tenfold.sharding.upserts import settings_of


def route_of_change(statement: Statement, analysis: Analysis) -> Route:
    """Where an UPDATE or DELETE goes whose target is a table of a group.

    Several shards change together (ByKeys, Scatter) where each can do so for its own rows. Raises CrossShardError
    with the rewrite where it cannot.
    """
    uses = analysis.uses
    target = uses[0]
    table = target.table
    assert table is not None  # noqa: S101  # plan_changing refuses it
    grouped = [use for use in uses if use.table]
    bound = bound_route(grouped)
    if bound is not None:
        return bound
    refusal = _not_on_several(statement, table)
    if len(grouped) == 1 and all(use.table or isinstance(use.placed, Referenced) for use in uses):
        direct = column_route(target, scatters=refusal is None)
        if direct:
            return direct
    if not follow(analysis, target):
        raise _of_other_rows(statement, target, grouped)
    if refusal:
        raise refusal
    return listed_route(target)


def _not_on_several(statement: Statement, table: GroupTable) -> CrossShardError | None:
    """Why the statement cannot change rows of several shards, whatever its condition."""
    tree, verb = statement.tree, statement.kind.upper()
    if tree.args.get("limit") or tree.args.get("order"):
        return CrossShardError(
            f"{verb} with ORDER BY or LIMIT over several shards would have to choose among the rows of all",
            hint=f"read the rows first, with their {table.key}, then change each by `{table.key} = ?` with executemany",
        )
    touched = _touched(statement, table)
    if touched:
        return CrossShardError(
            f"{verb} of {', '.join(touched)} of {table.name}, reserved over all shards, is done for one key at a time",
            hint=f"read the keys first, then change each by `{table.key} = ?` with executemany",
        )
    return None


def _of_other_rows(statement: Statement, target: Use, grouped: list[Use]) -> CrossShardError:
    table = target.table
    assert table is not None  # noqa: S101
    other = next((use for use in grouped if use is not target and not (use.bound and not target.bound)), None)
    if other is None or other.table is None:  # the sub-queries have a key, the target has none
        return CrossShardError(
            f"the sub-query reads one shard, {statement.kind.upper()} of {table.name} needs all",
            hint="read the values of the sub-query first, then write them as a list: IN (?, …)",
        )
    if target.bound:
        return CrossShardError(
            f"the sub-query on {other.alias} may need other shards",
            hint=f"add `{other.alias}.{other.table.key} = ?` to its WHERE, so that it goes to one shard",
        )
    return CrossShardError(
        f"the sub-query on {other.alias} may need the rows of other shards",
        hint=f"add `{other.alias}.{other.table.key} = {target.alias}.{table.key}` to its WHERE; or read its values "
        "first, then write them as a list: IN (?, …)",
    )


def plan_changing(statement: Statement, uses: list[Use]) -> Changing | None:
    """Refuse what must not change; for reserved values, how to see what will. None: nothing reserved changes."""
    if statement.kind not in (Kind.UPDATE, Kind.DELETE):
        return None
    table = uses[0].table
    tree = statement.tree
    joined = [tree.args.get(part) for part in ("from_", "using", "joins", "tables")]
    if any(joined) or (isinstance(tree.this, exp.Expr) and tree.this.args.get("joins")) or table is None:
        raise RoutingError(
            f"{statement.kind.upper()} with a join is not supported yet",
            hint="write the condition as a sub-query with the shard key",
        )
    columns = _touched(statement, table)
    if not columns:
        return None
    claims: dict[str, Source] = {}
    settings = settings_of(tree.expressions, table) if statement.kind is Kind.UPDATE else {}
    for column in columns if settings else ():
        new = source(settings[column])
        if new is None:
            raise RoutingError(
                f"the new value of {table.name}.{column} is computed in the statement",
                hint="compute it in the application and pass it as a parameter: it is reserved over all shards",
            )
        claims[column] = new
    return _changing(statement, uses[0], table, columns, claims)


def _touched(statement: Statement, table: GroupTable) -> tuple[str, ...]:
    """The reserved columns that the statement changes; refuses what moves a row."""
    if statement.kind is Kind.DELETE:
        return tuple(table.reserved)
    settings = settings_of(statement.tree.expressions, table)
    return tuple(column for column in table.reserved if column in settings)


def _changing(
    statement: Statement, use: Use, table: GroupTable, columns: tuple[str, ...], claims: dict[str, Source]
) -> Changing:
    """Cut the WHERE out of the text, so that the probe sees just the rows that the statement will change."""
    if statement.tree.args.get("with_"):
        raise RoutingError(
            f"WITH before {statement.kind.upper()} of the reserved {', '.join(columns)} is not supported yet",
            hint="write the condition as a sub-query",
        )
    one_row = table.id_is_key and table.key in use.equal
    if statement.tree.args.get("limit") and not one_row:  # the probe might see other rows than it then takes
        raise RoutingError(
            f"{statement.kind.upper()} with LIMIT of the reserved {', '.join(columns)} is not supported",
            hint=f"read the keys first, then change each by `{table.key} = ?` with executemany",
        )
    start = None
    before = inside = depth = 0
    end = 0  # of the last token: what follows may be a comment, which would swallow what the probe is given there
    for token in statement.tokens:
        kind = token.token_type
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth == 0 and kind in (TokenType.RETURNING, TokenType.ORDER_BY, TokenType.LIMIT):
            break
        end = token.end + 1
        if depth == 0 and kind is TokenType.WHERE:
            start = token.start
        if kind is TokenType.PLACEHOLDER:
            before, inside = (before + 1, inside) if start is None else (before, inside + 1)
    where = statement.sql[start:end] if start is not None else ""
    quoted = statement.dialect.quoted
    wanted = ", ".join(quoted(table.shape.columns[column].name) for column in columns)
    alias = statement.tree.this.args.get("alias")
    target = quoted(table.name) + (f" AS {quoted(alias.name)}" if alias else "")
    slots = tuple(range(before, before + inside)) if statement.positional else None
    probe = f"SELECT {wanted} FROM {target} {where}".rstrip()  # noqa: S608  # quoted names, the caller's own WHERE
    return Changing(table, columns, Text(probe, slots), claims)
