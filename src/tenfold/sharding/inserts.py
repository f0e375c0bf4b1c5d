"""How an INSERT into a group's table is planned: its keys, its ids, its reserved values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tenfold.errors import CrossShardError, RoutingError, ShardKeyError
from tenfold.sharding.constraints import Use
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.plan import ByKey, Inserting, InsertRow, Plan
from tenfold.sharding.shapes import ROWID
from tenfold.sharding.statement import Const, Kind, Source, Statement, source

ID_PARAMETER = "tf_id_"


def plan_insert(statement: Statement, uses: list[Use], tables: tuple[str, ...], gives_rows: bool) -> Plan:
    """The plan of an INSERT whose target is a table of a group."""
    tree = statement.tree
    table = uses[0].table
    if table is None or not isinstance(tree, exp.Insert):
        raise CrossShardError(
            f"rows of {next(use.table.name for use in uses if use.table)} cannot be copied into {uses[0].placed.table}",
            hint="read them first, then insert them with executemany",
        )
    if tree.args.get("default"):
        raise ShardKeyError(f"DEFAULT VALUES gives {table.name} no shard key", hint=f"name {table.key} and its value")
    values = tree.expression
    if not isinstance(values, exp.Values):
        raise CrossShardError(
            f"INSERT … SELECT into {table.name} is not supported yet",
            hint="read the rows first, then insert them with executemany",
        )
    if tree.args.get("with_"):
        raise RoutingError("WITH before INSERT is not supported yet", hint="read the rows first, then insert them")
    columns = _columns(tree, table)
    _refuse_upsert(tree, table)
    rows = tuple(_row(item, columns, table) for item in values.expressions)
    for use in uses[1:]:
        if use.table and not use.bound:
            raise CrossShardError(
                f"the sub-query on {use.table.name} may need other shards", hint=f"add `{use.table.key} = ?` to it"
            )
    others = tuple(dict.fromkeys(item for use in uses[1:] if use.table for item in use.bound))
    keys = dict.fromkeys([*(row.key for row in rows if row.key is not None), *others])
    sql, slots = statement.sql, tuple[int, ...]()
    if table.id_column and table.id_column not in columns:
        sql, slots = _with_id(statement, table.shape.columns[table.id_column].name)
    route = ByKey(tuple(keys), table.key_type)
    return Plan(Kind.INSERT, sql, route, gives_rows, tables, Inserting(table, rows, slots, others))


def _columns(tree: exp.Insert, table: GroupTable) -> list[str]:
    """Lower-case columns that VALUES fills, in order."""
    if isinstance(tree.this, exp.Schema):
        columns = [column.name.lower() for column in tree.this.expressions]
    else:
        columns = list(table.shape.columns)
    for position, column in enumerate(columns):
        if column in columns[:position]:
            raise RoutingError(f"the column {column} is named twice", hint="name it once")
        if column in ROWID and column not in table.shape.columns:
            raise RoutingError(f"{column} is numbered on each shard", hint="name the primary key by its column")
    if table.key not in columns and not table.id_is_key:
        raise ShardKeyError(
            f"the INSERT into {table.name} lacks the shard key {table.key}", hint=f"add {table.key} to its columns"
        )
    return columns


def _row(item: exp.Expr, columns: list[str], table: GroupTable) -> InsertRow:
    parts = item.expressions if isinstance(item, exp.Tuple) else [item]
    if len(parts) != len(columns):
        raise RoutingError(
            f"{len(parts)} values for {len(columns)} columns of {table.name}", hint="give each column one value"
        )
    named = dict(zip(columns, parts, strict=True))

    def plain(column: str) -> Source | None:
        if column not in named:
            return None
        found = source(named[column])
        if found is None:
            raise RoutingError(
                f"the value of {table.name}.{column} is computed in the statement",
                hint="compute it in the application and pass it as a parameter",
            )
        return found

    key = plain(table.key)
    if key == Const(None):
        raise ShardKeyError(
            f"the shard key {table.name}.{table.key} is NULL",
            hint="leave the column out, and Tenfold gives the id"
            if table.id_is_key
            else "give every row its shard key",
        )
    row_id = plain(table.id_column) if table.id_column else None
    if row_id == Const(None):
        raise RoutingError(
            f"{table.name}.{table.id_column} is NULL", hint="leave the column out, and Tenfold gives the id"
        )
    claims = {column: found for column in table.reserved if (found := plain(column)) not in (None, Const(None))}
    return InsertRow(key, row_id, {column: found for column, found in claims.items() if found is not None})


def settings_of(settings: Iterable[exp.Expr], table: GroupTable) -> dict[str, exp.Expr]:
    """Lower-case column → new value, of the SET of an UPDATE or an upsert; refuses what moves the row."""
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
                hint="insert the row under the new key and delete the old one, each by its own key",
            )
        found[column] = setting.expression
    return found


def _refuse_upsert(tree: exp.Insert, table: GroupTable) -> None:
    conflict = tree.args.get("conflict")
    alternative = str(tree.args.get("alternative") or "").upper()
    if table.reserved and (conflict or alternative in ("IGNORE", "REPLACE")):
        raise RoutingError(
            f"{table.name} has values reserved over all shards ({', '.join(table.reserved)}); "
            "INSERT that ignores or replaces cannot be told from one that fails",
            hint="write a plain INSERT and catch ConstraintError, or UPDATE the row by its key",
        )
    if conflict:
        settings_of(conflict.expressions or (), table)


def _with_id(statement: Statement, column: str) -> tuple[str, tuple[int, ...]]:
    """The text with the id column and a parameter for it added to each row, and where these parameters stand.

    Done in the text, not by printing the tree: what the caller wrote reaches the database as it is.
    """
    tokens = statement.tokens
    named = any(token.token_type is TokenType.COLON for token in tokens)
    quoted = '"' + column.replace('"', '""') + '"'
    insertions: list[tuple[int, str]] = []
    slots: list[int] = []
    for row, (position, seen) in enumerate(_closing_parentheses(tokens)):
        if row == 0:  # the list of columns
            insertions.append((position, f", {quoted}"))
            continue
        insertions.append((position, f", :{ID_PARAMETER}{row - 1}" if named else ", ?"))
        slots.append(seen + len(slots))
    pieces, done = [], 0
    for position, text in insertions:
        pieces += [statement.sql[done:position], text]
        done = position
    return "".join([*pieces, statement.sql[done:]]), tuple(slots)


def _closing_parentheses(tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """(offset, parameters before it) of the `)` of the column list, then of each row of VALUES."""
    depth = seen = 0
    in_values = columns_done = False
    for position, token in enumerate(tokens):
        kind = token.token_type
        if kind is TokenType.PLACEHOLDER:
            seen += 1
        elif kind is TokenType.L_PAREN:
            depth += 1
        elif kind is TokenType.VALUES and depth == 0:
            in_values = True
        elif kind is TokenType.R_PAREN:
            depth -= 1
            if depth == 0 and (in_values or not columns_done):
                columns_done = True
                yield token.start, seen
                following = tokens[position + 1] if position + 1 < len(tokens) else None
                if in_values and (following is None or following.token_type is not TokenType.COMMA):
                    return
