"""How an INSERT into a group's table is planned: its keys, its ids, its reserved values. Pure."""

from __future__ import annotations

from sqlglot import exp

from tenfold.errors import CrossShardError, RoutingError, ShardKeyError
from tenfold.sharding.constraints import Analysis, Use
from tenfold.sharding.copies import plan_copy
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.plan import ByKey, ByKeys, Inserting, InsertRow, Plan
from tenfold.sharding.rowcuts import cut
from tenfold.sharding.shapes import ROWID
from tenfold.sharding.statement import Const, Kind, Source, Statement, source
from tenfold.sharding.upserts import check_upsert, verb_of


def plan_insert(statement: Statement, analysis: Analysis, tables: tuple[str, ...], gives_rows: bool) -> Plan:
    """The plan of an INSERT whose target is a table of a group."""
    tree, uses = statement.tree, analysis.uses
    table = uses[0].table
    if table is None or not isinstance(tree, exp.Insert):
        raise CrossShardError(
            f"rows of {next(use.table.name for use in uses if use.table)} cannot be copied into {uses[0].placed.table}",
            hint="read them first, then insert them with executemany",
        )
    if tree.args.get("default"):
        raise ShardKeyError(f"DEFAULT VALUES gives {table.name} no shard key", hint=f"name {table.key} and its value")
    if tree.args.get("with_"):
        raise RoutingError(
            "WITH before INSERT is not supported", hint="write it behind the columns: INSERT INTO t (…) WITH … SELECT …"
        )
    if next(tree.this.find_all(exp.Partition), None):
        raise RoutingError("INSERT into a named partition is not routed", hint="leave PARTITION out")
    if isinstance(tree.expression, exp.Values):
        return _plan_rows(statement, tree, uses, table, tables, gives_rows)
    columns = _columns(tree, table)
    check_upsert(tree, table, columns)
    if table.key not in columns:
        raise _lacks_key(table)
    route, copying, others = plan_copy(statement, analysis, table, columns)
    inserting = Inserting(table, (), (), others, None, verb_of(tree), copying)
    return Plan(Kind.INSERT, statement.sql, route, gives_rows, tables, inserting)


def _plan_rows(
    statement: Statement,
    tree: exp.Insert,
    uses: list[Use],
    table: GroupTable,
    tables: tuple[str, ...],
    gives_rows: bool,
) -> Plan:
    listed = tree.expression.expressions
    columns = [] if _is_empty(listed[0]) else _columns(tree, table)
    check_upsert(tree, table, columns)
    rows = tuple(_row(item, columns, table) for item in listed)
    for use in uses[1:]:
        if use.table and not use.bound:
            raise CrossShardError(
                f"the sub-query on {use.table.name} may need other shards", hint=f"add `{use.table.key} = ?` to it"
            )
    others = tuple(dict.fromkeys(item for use in uses[1:] if use.table for item in use.bound))
    keys = tuple(dict.fromkeys([*(row.key for row in rows if row.key is not None), *others]))
    added = None
    if table.id_column and table.id_column not in columns:
        added = statement.dialect.quoted(table.shape.columns[table.id_column].name)
    sql, slots, cuts = cut(statement, len(rows), added)
    if added and sql == statement.sql:
        raise RoutingError(
            f"the rows of {table.name} have no list of columns to which {added} could be added",
            hint="name the columns before VALUES",
        )
    inserting = Inserting(table, rows, slots, others, cuts, verb_of(tree))
    route = ByKey(keys, table.key_type) if len(rows) == 1 or others else ByKeys(keys, table.key_type)
    return Plan(Kind.INSERT, sql, route, gives_rows, tables, inserting)


def _is_empty(row: exp.Expr) -> bool:
    """INSERT INTO t () VALUES () of MySQL."""
    return isinstance(row, exp.Tuple) and not row.expressions


def _columns(tree: exp.Insert, table: GroupTable) -> list[str]:
    """Lower-case columns that the INSERT fills, in order."""
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
        raise _lacks_key(table)
    return columns


def _lacks_key(table: GroupTable) -> ShardKeyError:
    return ShardKeyError(
        f"the INSERT into {table.name} lacks the shard key {table.key}", hint=f"add {table.key} to its columns"
    )


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
    if key is None and not table.id_is_key:
        raise _lacks_key(table)
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
