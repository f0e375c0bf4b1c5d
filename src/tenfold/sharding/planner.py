"""From a parsed statement to a plan, or to a refusal that names the rewrite which works. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from tenfold.errors import CrossShardError, RoutingError
from tenfold.sharding.changes import plan_changing, route_of_change
from tenfold.sharding.constraints import Analysis, Use, analysed, one_group
from tenfold.sharding.functions import CONNECTION_STATE, function_name, is_scalar
from tenfold.sharding.inserts import plan_insert
from tenfold.sharding.layout import Grouped, GroupTable, Layout, Pinned, Placed, Referenced, same_shard
from tenfold.sharding.plan import Everywhere, OnShard, Plan
from tenfold.sharding.selects import plan_select
from tenfold.sharding.shapes import ROWID, TableShape
from tenfold.sharding.statement import Kind, Statement, target_of
from tenfold.topology.model import Engine


def plan(
    statement: Statement, layout: Layout, known: dict[str, GroupTable], shapes: Mapping[str, TableShape] | None = None
) -> Plan:
    """The plan of a statement. By lower-case name: `known`, the group tables it names; `shapes`, the others.

    Raises RoutingError (ShardKeyError, CrossShardError) with the rewrite as hint.
    """
    _refuse_connection_state(statement)
    if statement.kind is Kind.DDL:
        return _plan_ddl(statement, layout)
    analysis = analysed(statement, layout, known, shapes or {})
    uses = analysis.uses
    if statement.dialect.engine is Engine.SQLITE:
        _refuse_row_numbers(statement, uses)
    if statement.kind is Kind.SELECT:
        return plan_select(statement, layout, analysis)
    return _plan_write(statement, layout, analysis)


def _plan_write(statement: Statement, layout: Layout, analysis: Analysis) -> Plan:
    tree, uses = statement.tree, analysis.uses
    tables = tuple(dict.fromkeys(use.placed.table for use in uses))
    rows = tree.args.get("returning") is not None
    shard = same_shard([use.placed for use in uses])
    group = one_group(uses)
    if shard and group:
        pinned = next(use.placed.table for use in uses if isinstance(use.placed, Pinned))
        raise CrossShardError(
            f"{group.name} is spread by {group.key}, {pinned} lives on {shard}: "
            "one statement cannot read the one and write the other",
            hint="read the rows first, then write them by their key",
        )
    if shard:
        _refuse_mixed_target(tree, uses)
        return Plan(statement.kind, statement.sql, OnShard(shard), rows, tables)
    if group is None:
        return Plan(statement.kind, statement.sql, _on_every_copy(statement, uses, layout), rows, tables)
    if statement.kind is Kind.INSERT:
        return plan_insert(statement, analysis, tables, rows)
    changing = plan_changing(statement, uses)
    return Plan(statement.kind, statement.sql, route_of_change(statement, analysis), rows, tables, changing=changing)


def _refuse_connection_state(statement: Statement) -> None:
    for function in statement.found(exp.Func):
        name = function_name(function)
        if name in CONNECTION_STATE:
            lock = "lock" in name
            raise RoutingError(
                f"{name}() belongs to one connection, and connections are pooled",
                hint="lock a row instead, inside a transaction" if lock else "read result.lastrowid or result.rowcount",
            )


def _as_written(function: exp.Expr, sql: str) -> str:
    """The name by which the caller knows a function, for messages: the parser has names of its own."""
    names = [function.sql(dialect="sqlite").partition("(")[0].lower()]
    if isinstance(function, exp.Func) and not isinstance(function, exp.Anonymous):
        names += [name.lower() for name in function.sql_names()]
    return next((name for name in names if name in sql.lower()), names[0])


def _refuse_row_numbers(statement: Statement, uses: list[Use]) -> None:
    """A row has another rowid on its shard than it would have in one database, and after a move."""
    if not any(use.table for use in uses):
        return
    for column in statement.found(exp.Column):
        name, qualifier = column.name.lower(), column.table.lower()
        meant = [use.table for use in uses if use.table and qualifier in ("", use.alias)]
        if name in ROWID and not any(name in table.shape.columns for table in meant):
            raise RoutingError(
                f"{column.name} is numbered anew on each shard", hint="name the primary key by its column"
            )


def _refuse_mixed_target(tree: exp.Expr, uses: list[Use]) -> None:
    """A write on a pinned shard must not change one copy of a reference table."""
    if uses and isinstance(uses[0].placed, Referenced):
        target = target_of(tree)
        if target is not None and target.name.lower() == uses[0].placed.table.lower():
            raise RoutingError(
                f"{uses[0].placed.table} has a copy on every shard and is written on all of them",
                hint="read the other table first, and pass its values as parameters",
            )


def _on_every_copy(statement: Statement, uses: list[Use], layout: Layout) -> Everywhere:
    for function in statement.tree.find_all(exp.Func):
        if not is_scalar(function):
            raise RoutingError(
                f"{_as_written(function, statement.sql)}() may give each copy of {uses[0].placed.table} another value",
                hint="compute it in the application and pass it as a parameter",
            )
    return Everywhere(layout.shards, ddl=False)


def _plan_ddl(statement: Statement, layout: Layout) -> Plan:
    tree = statement.tree
    kind = str(tree.args.get("kind") or "").upper()
    if isinstance(tree, exp.TruncateTable):
        kind = "TABLE"
    if kind not in ("TABLE", "INDEX") or isinstance(tree.args.get("expression"), exp.Query):
        what = "CREATE TABLE … AS SELECT" if kind == "TABLE" else f"{type(tree).__name__.upper()} {kind}".strip()
        raise RoutingError(f"{what} is not routed", hint="run it on each shard by the database's own client")
    if any(isinstance(action, exp.AlterRename) for action in tree.args.get("actions") or ()):
        raise RoutingError("a declared table is not renamed", hint="create a new one and copy the rows")
    if next(tree.find_all(exp.TemporaryProperty), None) or tree.args.get("temporary"):
        raise RoutingError("temporary tables live on one connection", hint="use an ordinary table")
    tables = [table for table in tree.find_all(exp.Table) if not table.find_ancestor(exp.Reference)]
    if isinstance(tree, exp.Drop) and kind == "INDEX":  # its name looks like a table's
        tables = [table for table in tables if table.arg_key != "tables"]
    if isinstance(tree, exp.Drop) and kind == "INDEX" and not tables:
        raise RoutingError("DROP INDEX does not say which table it means", hint="drop the index on each shard")
    if len(tables) != 1:
        raise RoutingError("one table at a time", hint="write one statement for each table")
    name = tables[0].name
    if tables[0].args.get("db"):  # temp.users would hide users on one pooled connection
        raise RoutingError(f"{tables[0].sql()} names a database", hint=f"write {name} alone")
    shards = layout.shards_of(name)
    _refuse_unique_index(tree, layout.placed(name))
    placed = layout.placed(name)
    if isinstance(tree, exp.TruncateTable) and isinstance(placed, Grouped) and placed.unique:
        raise RoutingError(
            f"TRUNCATE of {name} would leave its reserved values ({', '.join(placed.unique)}) behind",
            hint=f"DELETE its rows, each by {placed.key}",
        )
    drops = isinstance(tree, exp.Drop) and kind == "TABLE"
    return Plan(Kind.DDL, statement.sql, Everywhere(shards, True, drops), gives_rows=False, tables=(name,))


def _refuse_unique_index(tree: exp.Expr, placed: Placed) -> None:
    index = tree.this
    if not (isinstance(placed, Grouped) and isinstance(index, exp.Index) and tree.args.get("unique")):
        return
    params = index.args.get("params")
    columns = [item.name.lower() for item in (params.args.get("columns") if params else None) or ()]
    if placed.key not in columns and not (len(columns) == 1 and columns[0] in placed.unique):
        raise CrossShardError(
            f"UNIQUE ({', '.join(columns)}) on {placed.table} lacks the shard key, so no shard alone can keep it",
            hint=f"add {placed.key} to the index, or declare the column under unique in tenfold.toml",
        )
