"""What an UPDATE or DELETE on a group's table may change, and which reserved values it frees or claims. Pure."""

from __future__ import annotations

from sqlglot.tokenizer_core import TokenType

from tenfold.errors import RoutingError
from tenfold.sharding.constraints import Use
from tenfold.sharding.inserts import settings_of
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.plan import Changing
from tenfold.sharding.statement import Kind, Source, Statement, source


def plan_changing(statement: Statement, uses: list[Use]) -> Changing | None:
    """Refuse what must not change; for reserved values, how to see what will. None: nothing reserved changes."""
    if statement.kind not in (Kind.UPDATE, Kind.DELETE):
        return None
    table = uses[0].table
    tree = statement.tree
    if tree.args.get("from_") or tree.args.get("using") or tree.args.get("joins") or table is None:
        raise RoutingError(
            f"{statement.kind.upper()} with a join is not supported yet",
            hint="write the condition as a sub-query with the shard key",
        )
    if statement.kind is Kind.DELETE:
        return _changing(statement, table, tuple(table.reserved), {}) if table.reserved else None
    settings = settings_of(tree.expressions, table)
    columns = tuple(column for column in table.reserved if column in settings)
    claims: dict[str, Source] = {}
    for column in columns:
        new = source(settings[column])
        if new is None:
            raise RoutingError(
                f"the new value of {table.name}.{column} is computed in the statement",
                hint="compute it in the application and pass it as a parameter: it is reserved over all shards",
            )
        claims[column] = new
    return _changing(statement, table, columns, claims) if columns else None


def _changing(statement: Statement, table: GroupTable, columns: tuple[str, ...], claims: dict[str, Source]) -> Changing:
    """Cut the WHERE out of the text, so that the probe sees just the rows that the statement will change."""
    if statement.tree.args.get("with_"):
        raise RoutingError(
            f"WITH before {statement.kind.upper()} of the reserved {', '.join(columns)} is not supported yet",
            hint="write the condition as a sub-query",
        )
    start = end = None
    before = inside = depth = 0
    for token in statement.tokens:
        kind = token.token_type
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if depth == 0 and kind is TokenType.WHERE:
            start = token.start
        elif depth == 0 and kind in (TokenType.RETURNING, TokenType.ORDER_BY, TokenType.LIMIT):
            end = token.start
            break
        elif kind is TokenType.PLACEHOLDER:
            before, inside = (before + 1, inside) if start is None else (before, inside + 1)
    where = statement.sql[start:end].rstrip().rstrip(";") if start is not None else ""
    wanted = ", ".join(_quoted(table.shape.columns[column].name) for column in columns)
    alias = statement.tree.this.args.get("alias")
    target = _quoted(table.name) + (f" AS {_quoted(alias.name)}" if alias else "")
    slots = tuple(range(before, before + inside)) if statement.positional else None
    probe = f"SELECT {wanted} FROM {target} {where}"  # noqa: S608  # quoted names and the caller's own WHERE
    return Changing(table, columns, probe, slots, claims)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
