"""From a SELECT to a plan: one shard, several merged, or rows brought together. Pure."""

from __future__ import annotations

from sqlglot import exp

from tenfold.errors import CrossShardError
from tenfold.sharding.clauses import Clauses, cut, list_of
from tenfold.sharding.constraints import Analysis, Use, aggregates_in
from tenfold.sharding.functions import unknown_functions
from tenfold.sharding.layout import Layout, Pinned
from tenfold.sharding.locality import Local, local
from tenfold.sharding.ordering import kind_of, sort_keys
from tenfold.sharding.partials import partials
from tenfold.sharding.plan import (
    AnyShard,
    ByKeys,
    ByUnique,
    Listed,
    Merged,
    OnShard,
    Plan,
    Route,
    Scatter,
    Staged,
)
from tenfold.sharding.pulls import pull
from tenfold.sharding.routes import bound_route, column_route, listed_route
from tenfold.sharding.statement import Kind, Source, Statement, source, text_of
from tenfold.topology.model import Engine

# Kinds of columns of MySQL whose least and most Python finds as the server does.
_COMPARED = {"integer", "decimal", "float", "date", "datetime", "year"}


def plan_select(statement: Statement, layout: Layout, analysis: Analysis) -> Plan:
    """The plan of a SELECT. Raises RoutingError with the rewrite as hint."""
    uses = analysis.uses
    tables = tuple(dict.fromkeys(use.placed.table for use in uses))

    def planned(route: Route, merged: Merged | None = None, staged: Staged | None = None) -> Plan:
        locks = any(select.args.get("locks") for select in statement.found(exp.Select))
        number = None if statement.named else statement.positional
        return Plan(Kind.SELECT, statement.sql, route, True, tables, None, None, merged, staged, locks, number)

    grouped = [use for use in uses if use.table]
    pinned = {use.placed.shard for use in uses if isinstance(use.placed, Pinned)}
    if not grouped and len(pinned) <= 1:
        return planned(OnShard(pinned.pop()) if pinned else AnyShard())
    first = grouped[0].table if grouped else None
    if first is None or pinned or not _one_kind(grouped):
        return planned(Scatter(), staged=_together(statement, layout, analysis))
    bound = bound_route(grouped)
    if bound is not None:
        # Several keys may be of one shard, or not: the values decide.
        several = len(bound.sources) > 1
        return planned(bound, staged=_together(statement, layout, analysis) if several else None)
    direct = column_route(grouped[0], scatters=True) if len(grouped) == 1 else None
    if isinstance(direct, ByUnique):
        return planned(direct)
    found = local(statement.tree, analysis)
    where: Route = listed_route(found.anchor) if found else Scatter()
    merged, staged = _on_several(statement, found, where) if found else (None, None)
    if merged is None and staged is None:
        where, staged = Scatter(), _together(statement, layout, analysis)
    return planned(direct or where, merged, staged)


def _one_kind(grouped: list[Use]) -> bool:
    """Whether all tables are of one group, with keys of one type."""
    return len({(use.table.group, use.table.key_type) for use in grouped if use.table}) == 1


def _on_several(statement: Statement, found: Local, where: Route) -> tuple[Merged | None, Staged | None]:
    """How a SELECT that each shard answers in part is put together; (None, None) where it is not understood."""
    tree = statement.tree
    clauses = cut(statement)
    shown = [*tree.expressions, *(tree.args.get(name) for name in ("having", "order"))]
    if clauses is None or tree.args.get("locks") or any(next(unknown_functions(p), None) for p in shown if p):
        return None, None
    windows = [window for part in shown if part for window in part.find_all(exp.Window)]
    if not all(_by_the_key(window, found) for window in windows):
        return None, None
    group = tree.args.get("group")
    if group is not None and any(value for name, value in group.args.items() if name != "expressions"):
        return None, None  # ROLLUP and the like add rows of their own
    by_key = group is not None and any(found.is_key(_grouped_by(item, tree)) for item in group.expressions)
    rows = by_key or (group is None and not tree.args.get("having") and not any(_aggregates(part) for part in shown))
    if rows and tree.args.get("distinct"):
        rows = group is None and any(found.is_key(item.unalias()) for item in tree.expressions)
    if rows:
        return _merged(statement, clauses, found, where), None
    folds = _folds(statement, found)
    if folds:
        return Merged(text_of(statement.numbered, statement.positional), folds=folds), None
    return None, None if windows else partials(statement, clauses, found.scope, where)


def _aggregates(part: exp.Expr | None) -> bool:
    return part is not None and next(aggregates_in(part), None) is not None


def _by_the_key(window: exp.Window, found: Local) -> bool:
    """Whether all rows of a window's partition lie on one shard."""
    return any(found.is_key(item) for item in window.args.get("partition_by") or ())


def _grouped_by(item: exp.Expr, tree: exp.Expr) -> exp.Expr:
    """What a GROUP BY names: an item of the SELECT by its position, or the expression itself."""
    if isinstance(item, exp.Literal) and not item.is_string and item.this.isdigit():
        at = int(item.this) - 1
        plain = not any(entry.find(exp.Star) for entry in tree.expressions[: at + 1])
        return tree.expressions[at].unalias() if plain and 0 <= at < len(tree.expressions) else item
    return item


def _merged(statement: Statement, clauses: Clauses, found: Local, where: Route) -> Merged | None:
    tree = statement.tree
    ordered = sort_keys(statement, clauses, found.scope)
    if ordered is None:
        return None
    keys, added = ordered
    if added and tree.args.get("distinct") and not set(added) <= {str(item.bare) for item in clauses.items}:
        return None
    limits: list[Source | None] = []
    for name in ("limit", "offset"):
        clause = tree.args.get(name)
        limits.append(source(clause.expression) if clause is not None else None)
        if clause is not None and limits[-1] is None:
            return None
    head = ", ".join([str(clauses.head), *(f"{sql} AS tf_sort_{at}" for at, sql in enumerate(added))])
    text = text_of(f"{head} {clauses.body}", statement.positional)
    listed = _listed(statement, clauses, found, head) if isinstance(where, ByKeys) else None
    return Merged(text, tuple(keys), len(added), limits[0], limits[1], listed)


def _listed(statement: Statement, clauses: Clauses, found: Local, head: str) -> Listed | None:
    """The text cut around the list of keys; None where that is not possible."""
    key = found.anchor.table.key if found.anchor.table else ""
    listing = found.anchor.lists[key][0]
    row = listing.this.unnest()
    columns = row.expressions if isinstance(row, exp.Tuple) else [row]
    column = next((column for column in columns if found.is_key(column)), None)
    spans = list_of(statement.numbered, listing, column, clauses.body.tokens) if column is not None else None
    if not spans:
        return None
    numbered, body = statement.numbered, clauses.body.tokens
    items = tuple(numbered[start : end + 1] for start, end in spans)
    before, after = numbered[body[0].start : spans[0][0]], numbered[spans[-1][1] + 1 : body[-1].end + 1]
    positional = statement.positional
    texts = tuple(text_of(item, positional) for item in items)
    return Listed(text_of(f"{head} {before}", positional), texts, text_of(after, positional))


def _folds(statement: Statement, found: Local) -> tuple[str, ...]:
    """How the one row of each shard is added up without the engine, where that is plain; empty where it is not.

    On MySQL a scratch table costs more than the statement. Text is compared by the engine only, and SQLite's sums
    may overflow.
    """
    tree = statement.tree
    if any(tree.args.get(name) for name in ("group", "having", "order", "limit", "offset", "distinct")):
        return ()
    mysql = statement.dialect.engine is Engine.MYSQL
    folds = []
    for item in tree.expressions:
        node = item.unalias()
        inner = node.this if isinstance(node, exp.Count | exp.Sum | exp.Min | exp.Max) else None
        if inner is None or isinstance(inner, exp.Distinct):
            return ()
        if isinstance(node, exp.Count) or (mysql and isinstance(node, exp.Sum)):
            folds.append("sum")
        elif mysql and isinstance(node, exp.Min | exp.Max) and kind_of(inner, found.scope) in _COMPARED:
            folds.append("min" if isinstance(node, exp.Min) else "max")
        else:
            return ()
    return tuple(folds)


def _together(statement: Statement, layout: Layout, analysis: Analysis) -> Staged:
    """Bring the rows of the tables together, and run the statement there as it is."""
    if statement.tree.args.get("locks") or any(select.args.get("locks") for select in statement.found(exp.Select)):
        raise CrossShardError(
            "FOR UPDATE locks rows of one shard, and the statement needs several",
            hint="lock the rows by their shard key, inside a transaction",
        )
    return pull(statement, layout, analysis)
