"""Whether what a migration defines or changes can be kept over shards, told before any shard has it. Pure.

Once a shard has it, MariaDB and MySQL do not take it back, and `tenfold up` refuses the platform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from tenfold.sharding.layout import Grouped, Placed

WHOLE = frozenset(
    {"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "UTINYINT", "USMALLINT", "UMEDIUMINT", "UINT", "UBIGINT"}
)
_WIDE = frozenset({"BIGINT", "UBIGINT"})


def trouble(tree: exp.Expr, placed: Placed | None, *, mysql: bool) -> str | None:
    """Why a statement about a table may not run, with the remedy; None: it may."""
    engine = tree.find(exp.EngineProperty)
    if engine is not None and engine.name.lower() != "innodb":
        return f"the storage engine {engine.name} has no transactions; write ENGINE = InnoDB, or leave it out"
    if not isinstance(placed, Grouped):
        return None
    if isinstance(tree, exp.Update | exp.Delete):
        return _reserved(tree, placed)
    for columns in _uniques(tree):
        if placed.key not in columns and not (len(columns) == 1 and columns[0] in placed.unique):
            return _unkept(placed, columns)
    if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema):
        return _defined(tree.this, placed, mysql=mysql)
    return None


def _unkept(placed: Grouped, columns: Sequence[str]) -> str:
    alone = columns[0] if len(columns) == 1 else None
    remedy = (
        f'first write unique = {{ {placed.table} = ["{alone}"] }} into tenfold.toml'
        if alone
        else f"write it as ({placed.key}, {', '.join(columns)})"
    )
    return f"UNIQUE ({', '.join(columns)}) lacks the shard key {placed.key}, so no shard alone can keep it; {remedy}"


def _reserved(tree: exp.Update | exp.Delete, placed: Grouped) -> str | None:
    """Values that are unique over all shards are reserved beside their rows, by tenfold.connect() alone."""
    written = placed.unique
    if isinstance(tree, exp.Update):
        named = {one.this.name.lower() for one in tree.expressions if isinstance(one, exp.EQ)}
        written = tuple(column for column in placed.unique if column in named)
    if not written:
        return None
    return (
        f"{', '.join(written)} of {placed.table} is unique over all shards by its reservations, which would stay as"
        " they are; do it through tenfold.connect()"
    )


def _uniques(tree: exp.Expr) -> Iterator[tuple[str, ...]]:
    """The columns of everything that a statement makes unique, but for a primary key of one whole number: an id."""
    if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Index) and tree.args.get("unique"):
        params = tree.this.args.get("params")
        yield _names((params.args.get("columns") if params else None) or ())
    for one in tree.find_all(exp.UniqueColumnConstraint):
        listed = one.this.expressions if isinstance(one.this, exp.Schema) else ()
        column = one.find_ancestor(exp.ColumnDef)
        if listed or column:
            yield _names(listed or [column])
    for key in tree.find_all(exp.PrimaryKey):
        names = _names(key.expressions)
        if len(names) > 1 or not _is_whole(tree, names[0]):
            yield names
    for kind in tree.find_all(exp.PrimaryKeyColumnConstraint):
        column = kind.find_ancestor(exp.ColumnDef)
        if column is not None and not _is_whole(tree, column.name.lower()):
            yield _names([column])


def _names(nodes: Sequence[exp.Expr | None]) -> tuple[str, ...]:
    # Of an expression, or the beginning of a column, not the column alone is unique.
    return tuple(
        node.this.name.lower() if isinstance(node, exp.Ordered) and isinstance(node.this, exp.Column)
        else node.name.lower() if isinstance(node, exp.Column | exp.ColumnDef | exp.Identifier)
        else node.sql() if node is not None
        else ""
        for node in nodes
    )  # fmt: skip


def _is_whole(tree: exp.Expr, name: str) -> bool:
    """Whether a column is a whole number; one that the statement does not define is taken for it."""
    column = next((one for one in tree.find_all(exp.ColumnDef) if one.name.lower() == name), None)
    kind = column.args.get("kind") if column is not None else None
    return not isinstance(kind, exp.DataType) or kind.this.name in WHOLE


def _defined(schema: exp.Schema, placed: Grouped, *, mysql: bool) -> str | None:
    columns = [one for one in schema.expressions if isinstance(one, exp.ColumnDef)]
    names = [column.name.lower() for column in columns]
    if placed.key not in names:
        return f"{placed.table} has no column {placed.key}, which tenfold.toml names as its shard key; add it"
    for column in columns:
        kind = column.args.get("kind")
        numbers = column.find(exp.AutoIncrementColumnConstraint) is not None
        if mysql and numbers and isinstance(kind, exp.DataType) and kind.this.name not in _WIDE:
            return f"{column.name} is too small for ids that are unique over all shards; write it as BIGINT"
    return None
