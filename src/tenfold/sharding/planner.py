"""From a parsed statement to a plan, or to a refusal that names the rewrite which works. Pure."""

from __future__ import annotations

from sqlglot import exp

from tenfold.errors import CrossShardError, RoutingError, ShardKeyError
from tenfold.sharding.changes import plan_changing
from tenfold.sharding.constraints import Use, one_group, uses_of
from tenfold.sharding.inserts import plan_insert
from tenfold.sharding.layout import Grouped, GroupTable, Layout, Pinned, Placed, Referenced, same_shard
from tenfold.sharding.plan import (
    AnyShard,
    ById,
    ByKey,
    ByKeys,
    ByUnique,
    Everywhere,
    OnShard,
    Plan,
    Route,
    Scatter,
)
from tenfold.sharding.shapes import ROWID
from tenfold.sharding.statement import Const, Kind, Source, Statement, target_of

# Functions of one row that may stand in the columns of a scatter; what is not here may be an aggregate.
SCALAR = {
    "abs", "cast", "ceil", "coalesce", "concat", "concat_ws", "floor", "format", "hex", "if", "ifnull", "iif", "instr",
    "length", "lower", "ltrim", "mod", "nullif", "printf", "quote", "replace", "round", "rtrim", "sign", "substr",
    "substring", "trim", "typeof", "unicode", "upper", "case", "strposition", "and", "or",
    "json_extract", "json_array_length", "json_type", "json_valid",
}  # fmt: skip
# What a connection remembers; connections are pooled, so the answer would be somebody else's.
CONNECTION_STATE = {"last_insert_rowid", "changes", "total_changes", "last_insert_id", "row_count", "found_rows"}


def plan(statement: Statement, layout: Layout, known: dict[str, GroupTable]) -> Plan:
    """The plan of a statement. `known`: the group tables it names, by lower-case name.

    Raises RoutingError (ShardKeyError, CrossShardError) with the rewrite as hint.
    """
    tree = statement.tree
    _refuse_connection_state(tree)
    if statement.kind is Kind.DDL:
        return _plan_ddl(statement, layout)
    uses = uses_of(tree, layout, known)
    tables = tuple(dict.fromkeys(use.placed.table for use in uses))
    rows = statement.kind is Kind.SELECT or tree.args.get("returning") is not None
    shard = same_shard([use.placed for use in uses])
    group = one_group(uses)
    if shard and group:
        pinned = next(use.placed.table for use in uses if isinstance(use.placed, Pinned))
        raise CrossShardError(
            f"{group.name} is spread by {group.key}, {pinned} lives on {shard}: they cannot be joined in one statement",
            hint="read them one by one",
        )
    if shard:
        _refuse_mixed_target(tree, uses)
        return Plan(statement.kind, statement.sql, OnShard(shard), rows, tables)
    if group is None:
        return Plan(statement.kind, statement.sql, _reference_route(statement, uses, layout), rows, tables)
    _refuse_row_numbers(tree, uses)
    if statement.kind is Kind.INSERT:
        return plan_insert(statement, uses, tables, rows)
    changing = plan_changing(statement, uses)
    return Plan(statement.kind, statement.sql, _group_route(statement, uses), rows, tables, changing=changing)


def _refuse_connection_state(tree: exp.Expr) -> None:
    for function in tree.find_all(exp.Func):
        name = _function_name(function)
        if name in CONNECTION_STATE:
            raise RoutingError(
                f"{name}() belongs to one connection, and connections are pooled",
                hint="read result.lastrowid or result.rowcount",
            )


def _function_name(function: exp.Func) -> str:
    """Lower-case: the parser's name for it, or the caller's for one that the parser does not know."""
    return (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()


def _is_scalar(function: exp.Expr) -> bool:
    return isinstance(function, exp.Binary) or (isinstance(function, exp.Func) and _function_name(function) in SCALAR)


def _as_written(function: exp.Expr, sql: str) -> str:
    """The name by which the caller knows a function, for messages: the parser has names of its own."""
    names = [function.sql(dialect="sqlite").partition("(")[0].lower()]
    if isinstance(function, exp.Func) and not isinstance(function, exp.Anonymous):
        names += [name.lower() for name in function.sql_names()]
    return next((name for name in names if name in sql.lower()), names[0])


def _refuse_row_numbers(tree: exp.Expr, uses: list[Use]) -> None:
    """A row has another rowid on its shard than it would have in one database, and after a move."""
    for column in tree.find_all(exp.Column):
        name, qualifier = column.name.lower(), column.table.lower()
        meant = [use.table for use in uses if use.table and qualifier in ("", use.alias)]
        if name in ROWID and not any(name in table.shape.columns for table in meant):
            raise RoutingError(
                f"{column.name} is numbered anew on each shard", hint="name the primary key by its column"
            )


def _refuse_mixed_target(tree: exp.Expr, uses: list[Use]) -> None:
    """A write on a pinned shard must not change one copy of a reference table."""
    if not isinstance(tree, exp.Select) and uses and isinstance(uses[0].placed, Referenced):
        target = target_of(tree)
        if target is not None and target.name.lower() == uses[0].placed.table.lower():
            raise RoutingError(
                f"{uses[0].placed.table} has a copy on every shard and is written on all of them",
                hint="read the other table first, and pass its values as parameters",
            )


def _reference_route(statement: Statement, uses: list[Use], layout: Layout) -> Route:
    if statement.kind is Kind.SELECT:
        return AnyShard()
    for function in statement.tree.find_all(exp.Func):
        if not _is_scalar(function):
            raise RoutingError(
                f"{_as_written(function, statement.sql)}() may give each copy of {uses[0].placed.table} another value",
                hint="compute it in the application and pass it as a parameter",
            )
    return Everywhere(layout.shards, ddl=False)


def _plan_ddl(statement: Statement, layout: Layout) -> Plan:
    tree = statement.tree
    kind = str(tree.args.get("kind") or "").upper()
    if kind not in ("TABLE", "INDEX") or isinstance(tree.args.get("expression"), exp.Query):
        what = "CREATE TABLE … AS SELECT" if kind == "TABLE" else f"{type(tree).__name__.upper()} {kind}".strip()
        raise RoutingError(f"{what} is not routed", hint="run it on each shard by the database's own client")
    if any(isinstance(action, exp.AlterRename) for action in tree.args.get("actions") or ()):
        raise RoutingError("a declared table is not renamed", hint="create a new one and copy the rows")
    if next(tree.find_all(exp.TemporaryProperty), None) or tree.args.get("temporary"):
        raise RoutingError("temporary tables live on one connection", hint="use an ordinary table")
    tables = [table for table in tree.find_all(exp.Table) if not table.find_ancestor(exp.Reference)]
    if isinstance(tree, exp.Drop) and kind == "INDEX":
        raise RoutingError("DROP INDEX does not say which table it means", hint="drop the index on each shard")
    if len(tables) != 1:
        raise RoutingError("one table at a time", hint="write one statement for each table")
    name = tables[0].name
    if tables[0].args.get("db"):  # temp.users would hide users on one pooled connection
        raise RoutingError(f"{tables[0].sql()} names a database", hint=f"write {name} alone")
    shards = layout.shards_of(name)
    _refuse_unique_index(tree, layout.placed(name))
    return Plan(
        Kind.DDL, statement.sql, Everywhere(shards, True, isinstance(tree, exp.Drop)), gives_rows=False, tables=(name,)
    )


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


def _group_route(statement: Statement, uses: list[Use]) -> Route:
    grouped = [use for use in uses if use.table]
    first = grouped[0].table
    assert first is not None  # noqa: S101
    if all(use.bound for use in grouped):
        sources = tuple(dict.fromkeys(item for use in grouped for item in use.bound))
        for item in sources:
            if item == Const(None):
                raise ShardKeyError("the shard key is NULL", hint="no row has it: NULL belongs to no shard")
        return ByKey(sources, first.key_type)
    alone = len(grouped) == 1 and not [use for use in uses if not use.table and not isinstance(use.placed, Referenced)]
    # Why this must be one table: another table's rows might lie with another key.
    if alone:
        direct = _route_by_column(grouped[0], statement)
        if direct:
            return direct
    reason = scatter_refusal(statement, uses)
    if reason is None:
        use = grouped[0]
        lists = use.member.get(first.key)
        return ByKeys(tuple(lists[0]), first.key_type) if lists else Scatter()
    unbound = next(use for use in grouped if not use.bound)
    if statement.kind is not Kind.SELECT and uses[0].bound:
        reason = f"the sub-query on {unbound.alias} may need other shards"
    raise CrossShardError(reason, hint=_rewrite(unbound, len(uses) > 1))


def _rewrite(use: Use, among_others: bool) -> str:
    table = use.table
    assert table is not None  # noqa: S101
    name = f"{use.alias}.{table.key}" if among_others or use.alias != table.name.lower() else table.key
    return f"add `{name} = ?` to its WHERE, so that it goes to one shard"


def _route_by_column(use: Use, statement: Statement) -> Route | None:
    """One shard by an id of Tenfold's or by a reserved value."""
    table = use.table
    assert table is not None  # noqa: S101
    for column, sources in use.equal.items():
        if column in table.reserved:
            return ByUnique(_not_null(sources[0], column), table, column)
    if table.id_column and not table.id_is_key and table.id_column in use.equal:
        scatters = statement.kind is Kind.SELECT and scatter_refusal(statement, [use]) is None
        return ById(_not_null(use.equal[table.id_column][0], table.id_column), table, scatters)
    return None


def _not_null(item: Source, column: str) -> Source:
    if item == Const(None):
        raise RoutingError(f"{column} = NULL is true for no row", hint=f"write {column} IS NULL")
    return item


def scatter_refusal(statement: Statement, uses: list[Use]) -> str | None:
    """Why a statement cannot run on every shard with the answers put one after the other; None if it can."""
    tree = statement.tree
    if statement.kind is not Kind.SELECT:
        return f"{statement.kind.upper()} without the shard key would have to change several shards at once"
    if not isinstance(tree, exp.Select):
        return "UNION, INTERSECT and EXCEPT over all shards are not supported yet"
    if len(uses) != 1 or len(list(tree.find_all(exp.Select))) != 1 or tree.args.get("joins"):
        return "joins and sub-queries over all shards are not supported yet"
    for part, said in _ONLY_WHERE.items():
        if tree.args.get(part):
            return f"{said} over all shards is not supported yet"
    for item in tree.expressions:
        for node in item.find_all(exp.Func, exp.Window):
            if isinstance(node, exp.Window | exp.AggFunc) or not _is_scalar(node):
                return f"{_as_written(node, statement.sql)}() over all shards is not supported yet"
    return None


_ONLY_WHERE = {
    "with_": "WITH", "group": "GROUP BY", "having": "HAVING", "order": "ORDER BY", "limit": "LIMIT",
    "offset": "OFFSET", "distinct": "DISTINCT", "windows": "WINDOW", "laterals": "LATERAL",
}  # fmt: skip
