"""To which shard key each table of a statement is bound: by constants, by joins, by the outer query. Pure.

A statement may go whole to one shard exactly if every use of a group's table can only see rows of one
key. A use is bound when its key column equals a constant in the WHERE of its own SELECT, or equals the
key of a use that is bound: in WHERE or in the ON of an inner join both ways, in the ON of a LEFT JOIN
from left to right only, from an outer query to the sub-query that names it, and by `key IN (SELECT key …)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from tenfold.errors import CrossShardError, RoutingError
from tenfold.sharding.layout import Grouped, GroupTable, Layout, Placed
from tenfold.sharding.shapes import OWN_PREFIX, ROWID, Column, TableShape
from tenfold.sharding.statement import Source, Statement, source, target_of

# Functions that stand in FROM and read nothing but their arguments.
TABLE_FUNCTIONS = {"json_each", "json_tree", "generate_series"}
_Owner = exp.Select | exp.Update | exp.Delete | exp.Insert
_CTES = "tf_ctes"
_OWNERS = (exp.Select, exp.Update, exp.Delete, exp.Insert)


@dataclass(eq=False, slots=True)
class Use:
    """One mention of a table in a statement, and what its own SELECT says of its columns.

    shape  None where it is not known
    equal  column → sources it must equal; member  column → lists of sources it must be among
    """

    placed: Placed
    alias: str
    table: GroupTable | None
    shape: TableShape | None = None
    equal: dict[str, list[Source]] = field(default_factory=dict)
    member: dict[str, list[list[Source]]] = field(default_factory=dict)
    lists: dict[str, list[exp.In]] = field(default_factory=dict)
    # Constants of the shard key, own or handed on by a bound use.
    bound: list[Source] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Scope:
    """A SELECT, UPDATE, DELETE or INSERT with the tables it names itself."""

    node: exp.Expr
    parent: Scope | None
    uses: list[Use] = field(default_factory=list)
    # Whether something stands in FROM whose columns are not known here, and the names it goes by.
    opaque: bool = False
    strangers: set[str] = field(default_factory=set)
    # Names that the SELECT gives to its columns: SQLite takes them for columns where no table has one.
    outputs: set[str] = field(default_factory=set)


def table_names(statement: Statement) -> list[str]:
    """Every table that the statement names, CTEs left out, in the order of the tree."""
    names = []
    for table in _tables(statement):
        if table.name not in names:
            names.append(table.name)
    return names


@dataclass(frozen=True, slots=True)
class Analysis:
    """scopes: of the statement, by id of their node, the outermost first; uses: of all scopes
    edges: (one, other): of `other` only rows matter that have the key of the row of `one`
    """

    scopes: dict[int, Scope]
    uses: list[Use]
    edges: list[tuple[Use, Use]]


def analysed(
    statement: Statement, layout: Layout, known: dict[str, GroupTable], shapes: Mapping[str, TableShape]
) -> Analysis:
    """Every use of a table in the statement, with what binds it. By lower-case name: `known`, tables of groups;
    `shapes`, others."""
    for cte in statement.found(exp.CTE):
        name = cte.alias_or_name.lower()
        if name in layout.tables or name.startswith((OWN_PREFIX, "sqlite_")):
            raise RoutingError(f"WITH {cte.alias_or_name} hides the table of that name", hint="name it otherwise")
    for listed in statement.found(exp.In):
        if listed.args.get("field") is not None:  # `x IN table`: the parser takes the table for a column
            raise RoutingError(
                f"IN {listed.args['field'].sql()} is not supported",
                hint="write IN (SELECT column FROM table), or a list in parentheses",
            )
    scopes: dict[int, Scope] = {}
    for table in _tables(statement):
        scope = _scope_of(table, scopes)
        placed = layout.placed(table.name)
        group = known.get(table.name.lower()) if isinstance(placed, Grouped) else None
        if table.alias_or_name.lower() in {use.alias for use in scope.uses} and not isinstance(scope.node, exp.Insert):
            raise RoutingError(f"{table.alias_or_name} is named twice in one FROM", hint="give each an alias")
        shape = group.shape if group else shapes.get(table.name.lower())
        scope.uses.append(Use(placed, table.alias_or_name.lower(), group, shape))
    for select in statement.found(exp.Select):
        _scope_of(select, scopes)
    edges = [edge for scope in list(scopes.values()) for edge in _conditions(scope, scopes)]
    uses = [use for scope in scopes.values() for use in scope.uses]
    _spread(uses, edges)
    return Analysis(scopes, uses, edges)


def _tables(statement: Statement) -> Iterator[exp.Table]:
    ctes = {cte.alias_or_name.lower() for cte in statement.found(exp.CTE)}
    target = target_of(statement.tree)  # is a table even where a CTE has its name
    for table in statement.found(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            function = table.this.name.lower() if table.this else ""
            if function not in TABLE_FUNCTIONS:
                raise RoutingError(f"the table function {function}() is not routed", hint="leave it out")
        elif table.args.get("db"):
            raise RoutingError(f"{table.sql()} names a database", hint=f"write {table.name} alone")
        elif table.arg_key != "indexed" and (table is target or table.name.lower() not in ctes):
            yield table


def _scope_of(node: exp.Expr, scopes: dict[int, Scope]) -> Scope:
    """The scope that `node` stands in (or is), made with its parents when it is new."""
    owner: exp.Expr = node
    if not isinstance(node, _Owner):
        owner = node.find_ancestor(*_OWNERS) or node.root()
    if id(owner) not in scopes:
        scope = Scope(owner, _outer(owner, scopes))
        for item in from_items(owner):
            if not is_plain_table(item):
                scope.opaque = True
                scope.strangers |= {inner.alias_or_name.lower() for inner in item.find_all(exp.Table, exp.Subquery)}
        if isinstance(owner, exp.Select):
            scope.outputs = {item.alias.lower() for item in owner.expressions if item.alias}
        scopes[id(owner)] = scope
    return scopes[id(owner)]


def _outer(owner: exp.Expr, scopes: dict[int, Scope]) -> Scope | None:
    """The scope whose columns `owner` may name: not that of the SELECT in whose FROM or WITH it stands."""
    above = owner.find_ancestor(*_OWNERS)
    if above is None:
        return None
    scope = _scope_of(above, scopes)
    node = owner
    while node is not above and node.parent is not None:
        if isinstance(node.parent, exp.CTE):
            return None
        if isinstance(node.parent, exp.From | exp.Join) and node.arg_key == "this":
            return scope.parent
        node = node.parent
    return scope


def from_items(owner: exp.Expr) -> Iterator[exp.Expr]:
    start = owner.args.get("from_")
    if start is not None:
        yield start.this
    for join in owner.args.get("joins") or ():
        yield join.this


def _ctes(root: exp.Expr) -> set[str]:
    """Names that WITH gives, lower-case; kept at the tree, as every table of it is held against them."""
    found: set[str] | None = root.meta.get(_CTES)
    if found is None:
        found = root.meta[_CTES] = {cte.alias_or_name.lower() for cte in root.find_all(exp.CTE)}
    return found


def is_plain_table(item: exp.Expr) -> bool:
    ctes = _ctes(item.root())
    return (
        isinstance(item, exp.Table)
        and isinstance(item.this, exp.Identifier)
        and not item.args.get("joins")
        and item.name.lower() not in ctes
    )


def resolve(column: exp.Expr, scope: Scope) -> tuple[Use, str, Scope] | None:
    """The use, lower-case column name and scope that a column expression means; None where that is not certain."""
    if not isinstance(column, exp.Column):
        return None
    name, qualifier = column.name.lower(), column.table.lower()
    at: Scope | None = scope
    while at is not None:
        for use in at.uses:
            has_it = use.shape is not None and name in use.shape.columns
            if (qualifier and use.alias == qualifier) or (not qualifier and has_it):
                return (use, name, at) if has_it else None
        # Something of unknown columns may hold the name: then the outer query is not meant.
        if qualifier and qualifier in at.strangers:
            return None
        unknown = at.opaque or any(use.shape is None for use in at.uses) or name in at.outputs
        if not qualifier and (unknown or (at.uses and name in ROWID)):
            return None
        at = at.parent
    return None


def column_of(node: exp.Expr, scope: Scope) -> Column | None:
    """The column that an expression is, where it is just that and known."""
    found = resolve(node, scope)
    shape = found[0].shape if found else None
    return shape.columns[found[1]] if found and shape else None


def conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """The conditions that must all be true."""
    waiting = [node]  # no recursion: a chain of AND may be longer than the stack is deep
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.And):
            waiting += [node.right, node.left]
        elif isinstance(node, exp.Paren):
            waiting.append(node.this)
        elif node is not None:
            yield node


def _conditions(scope: Scope, scopes: dict[int, Scope]) -> list[tuple[Use, Use]]:
    """Note what each conjunct of the scope says; return the edges (bound use → use bound by it)."""
    where = scope.node.args.get("where")
    edges: list[tuple[Use, Use]] = []
    for part in conjuncts(where.this if where else None):
        edges += _note(part, scope, None) + _semi_join(part, scope, scopes)
    joins = scope.node.args.get("joins") or []
    # Under RIGHT and FULL joins an ON holds no longer for every row that comes out.
    if any((join.side or "").upper() in ("RIGHT", "FULL") for join in joins):
        return edges
    for join in joins:
        joined = join.this.alias_or_name.lower()
        only = joined if (join.side or "").upper() == "LEFT" else None
        for part in conjuncts(join.args.get("on")):
            edges += _note(part, scope, only) + _semi_join(part, scope, scopes)
        edges += _using(join, scope, joined, only)
    return edges


def _using(join: exp.Join, scope: Scope, joined: str, only: str | None) -> list[tuple[Use, Use]]:
    """USING compares with the first table to the left that has the column, and with no other."""
    by_alias = {use.alias: use for use in scope.uses}
    right = by_alias.get(joined)
    key = right.table.key if right and right.table else None
    if right is None or key not in {column.name.lower() for column in join.args.get("using") or ()}:
        return []
    for item in from_items(scope.node):
        left = by_alias.get(item.alias_or_name.lower()) if is_plain_table(item) else None
        if item is join.this or left is None or left.table is None:
            return []
        if key in left.table.shape.columns:
            if left.table.key != key:
                return []
            return [(left, right)] if only else [(left, right), (right, left)]
    return []


def _note(part: exp.Expr, scope: Scope, only: str | None) -> list[tuple[Use, Use]]:
    """Note one conjunct; `only`: it binds nothing but the use of that alias (the right side of a LEFT JOIN)."""

    def binds(found: tuple[Use, str, Scope]) -> bool:
        return found[2] is scope and (only is None or found[0].alias == only)

    if isinstance(part, exp.EQ):
        left, right = resolve(part.left, scope), resolve(part.right, scope)
        for found, other in ((left, source(part.right)), (right, source(part.left))):
            if found and other is not None and binds(found):
                found[0].equal.setdefault(found[1], []).append(other)
        if left and right and _is_key(left) and _is_key(right):
            return [(a[0], b[0]) for a, b in ((left, right), (right, left)) if binds(b)]
    elif isinstance(part, exp.In) and not part.args.get("query") and part.expressions:
        for column, listed in _lists(part):
            found = resolve(column, scope)
            if found and binds(found):
                found[0].member.setdefault(found[1], []).append(listed)
                found[0].lists.setdefault(found[1], []).append(part)
                if len(listed) == 1:
                    found[0].equal.setdefault(found[1], []).append(listed[0])
    return []


def _lists(part: exp.In) -> Iterator[tuple[exp.Expr, list[Source]]]:
    """(column, values it must be among) of `a IN (…)` and of each column of `(a, b) IN ((…), …)`."""
    row = part.this.unnest()
    columns = row.expressions if isinstance(row, exp.Tuple) else [row]
    for position, column in enumerate(columns):
        listed: list[Source] = []
        for item in part.expressions:
            parts = item.expressions if isinstance(item, exp.Tuple) else [item]
            found = source(parts[position]) if len(parts) == len(columns) else None
            if found is None:
                break
            listed.append(found)
        else:
            yield column, listed


def _semi_join(part: exp.Expr, scope: Scope, scopes: dict[int, Scope]) -> list[tuple[Use, Use]]:
    """`key IN (SELECT key …)`: of the sub-query only rows with the outer row's key matter."""
    query = part.args.get("query") if isinstance(part, exp.In) else None
    select = query.unnest() if query is not None else None
    if not isinstance(select, exp.Select) or id(select) not in scopes or len(select.expressions) != 1:
        return []
    inner = scopes[id(select)]
    outer, found = resolve(part.this, scope), resolve(select.expressions[0].unalias(), inner)
    if not outer or not found or found[2] is not inner or not (_is_key(outer) and _is_key(found)):
        return []
    if any(select.args.get(clause) for clause in ("limit", "offset", "windows", "qualify")):
        return []
    group = select.args.get("group")
    if group is None and (select.args.get("having") or has_aggregate(select)):
        return []
    if group is not None and not any(_same_key(item, inner, found) for item in group.expressions):
        return []
    return [(outer[0], found[0])]


def _same_key(item: exp.Expr, scope: Scope, found: tuple[Use, str, Scope]) -> bool:
    grouped = resolve(item, scope)
    return grouped is not None and grouped[0] is found[0] and grouped[1] == found[1]


def has_aggregate(select: exp.Select) -> bool:
    """Whether the SELECT itself computes an aggregate, sub-queries and windows left out."""
    parts = [*select.expressions, select.args.get("having"), select.args.get("order")]
    return any(next(aggregates_in(part), None) for part in parts if part is not None)


def aggregates_in(part: exp.Expr) -> Iterator[exp.Expr]:
    """The aggregates of an expression that belong to its own SELECT, windows left out."""
    for node in part.walk(prune=lambda node: isinstance(node, exp.Query | exp.Window)):
        if isinstance(node, exp.AggFunc):
            yield node


def _is_key(found: tuple[Use, str, Scope]) -> bool:
    table = found[0].table
    return table is not None and table.key == found[1]


def _spread(uses: list[Use], edges: list[tuple[Use, Use]]) -> None:
    for use in uses:
        if use.table:
            use.bound = list(use.equal.get(use.table.key, []))
    changed = True
    while changed:
        changed = False
        for start, end in edges:
            same_group = start.table and end.table and start.table.group == end.table.group
            if same_group and start.bound and not end.bound:
                end.bound, changed = list(start.bound), True


def one_group(uses: list[Use]) -> GroupTable | None:
    """The first group table among the uses; None when there is none. Raises CrossShardError for two groups,
    RoutingError for two types of key."""
    tables = [use.table for use in uses if use.table]
    groups = sorted({table.group for table in tables})
    if len(groups) > 1:
        raise CrossShardError(
            f"the statement joins the groups {' and '.join(groups)}, whose rows live on different shards",
            hint="read them one by one",
        )
    odd = next((table for table in tables if table.key_type is not tables[0].key_type), None)
    if odd:
        raise RoutingError(
            f"{tables[0].name}.{tables[0].key} and {odd.name}.{odd.key} are of different types",
            hint="give the shard key one type in all tables of its group",
        )
    return tables[0] if tables else None
