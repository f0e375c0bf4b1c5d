"""SELECTs beyond what is supported, made up at random: all joins, aggregates, sub-queries, unions. Pure."""

from __future__ import annotations

from hypothesis import strategies as st

COLUMNS = {
    "users": ["id", "name", "score", "email"],
    "deposits": ["user_id", "amount", "currency", "id"],
    "notes": ["user_id", "body"],
    "user_meta": ["user_id", "name", "value"],
    "clubs": ["oid", "title"],
    "members": ["club", "who"],
    "currencies": ["code", "name", "user_id"],
}
KEY = {table: columns[0] for table, columns in COLUMNS.items() if table != "currencies"}
# Mostly of one group: a statement on two is refused before anything else is looked at.
TABLE = st.sampled_from([*COLUMNS, *["users", "deposits", "notes"] * 5])
CONSTANT = st.sampled_from(["1", "2", "'02'", "3", "NULL", "'n1'", "10", '"id"', '"nowhere"'])
JOIN = st.sampled_from(
    ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ",", "NATURAL JOIN", "NATURAL LEFT JOIN"]
)
Scope = list[tuple[str, str]]
"""(alias, table), of the innermost FROM first."""


@st.composite
def column(draw: st.DrawFn, scope: Scope) -> str:
    """A column of something in scope, or of nothing; with its alias, without, in quotes."""
    alias, table = draw(st.sampled_from(scope))
    name = draw(st.sampled_from([*COLUMNS[table] * 20, *[KEY.get(table, "code")] * 20, "rowid"]))
    return draw(st.sampled_from([f"{alias}.{name}", f"{alias}.{name}", name, f'"{name}"', f"{alias.upper()}.{name}"]))


@st.composite
def condition(draw: st.DrawFn, scope: Scope, depth: int) -> str:
    """A condition; most often one that a planner may take for a binding of the shard key."""
    kind = draw(st.integers(0, 9 if depth else 6))
    left = draw(column(scope))
    if kind <= 2:
        alias, table = draw(st.sampled_from(scope))
        return f"{alias}.{KEY.get(table, 'user_id')} = {draw(CONSTANT)}"
    if kind == 3:
        return f"{left} = {draw(column(scope))}"
    if kind == 4:
        return f"{left} {draw(st.sampled_from(['=', '<>', '<', 'IS']))} {draw(st.one_of(CONSTANT, column(scope)))}"
    if kind == 5:
        return f"{left} {draw(st.sampled_from(['IN', 'NOT IN']))} ({draw(CONSTANT)}, {draw(CONSTANT)})"
    if kind == 6:
        joined = draw(st.sampled_from([" OR ", " AND ", " = ", " AND NOT "]))
        return f"({draw(condition(scope, 0))}{joined}{draw(condition(scope, 0))})"
    inner = draw(select(scope, depth - 1, columns=1))
    return draw(
        st.sampled_from([f"EXISTS ({inner})", f"{left} IN ({inner})", f"{left} = ({inner})", f"NOT EXISTS ({inner})"])
    )


@st.composite
def item(draw: st.DrawFn, scope: Scope, depth: int) -> str:
    """One column of a SELECT."""
    kind = draw(st.integers(0, 9))
    of = draw(column(scope))
    if kind <= 4:
        return of
    if kind == 5:
        return f"{of} AS {draw(st.sampled_from(['id', 'user_id', 'oid', 'x']))}"
    if kind == 6:
        return draw(st.sampled_from([f"count({of})", f"max({of})", "count(*)", f"total({of})", f"max({of}, 1)"]))
    if kind == 7:
        return draw(st.sampled_from([f"upper({of})", f"coalesce({of}, 0)", f"{of} || ''", f"typeof({of})"]))
    if kind == 8:
        return f"count(*) OVER (PARTITION BY {of})"
    return f"({draw(select(scope, depth - 1, columns=1))})" if depth else of


@st.composite
def source(draw: st.DrawFn, outer: Scope, alias: str, depth: int) -> tuple[str, str]:
    """(text, table whose columns it has): a table, or a sub-query in FROM."""
    table = draw(TABLE)
    if depth and draw(st.integers(0, 5)) == 0:
        where = f" WHERE {draw(condition([*outer, ('n', table)], 0))}" if draw(st.booleans()) else ""
        return f"(SELECT * FROM {table} n{where}) {alias}", table
    return draw(st.sampled_from([f"{table} {alias}", f"{table} AS {alias}"])), table


@st.composite
def select(draw: st.DrawFn, outer: Scope, depth: int, columns: int = 2) -> str:
    """A SELECT that may name what stands around it; every alias is one of a few, so that they hide each other."""
    names = draw(st.permutations(["a", "b", "c", "users"]))
    text, table = draw(source(outer, names[0], depth))
    own: Scope = [(names[0], table)]
    for alias in names[1 : draw(st.sampled_from([1, 1, 2, 2, 3]))]:
        join = draw(JOIN)
        joined, table = draw(source(outer, alias, depth))
        own.append((alias, table))
        text += f" {join} {joined}"
        if "NATURAL" not in join and join not in (",", "CROSS JOIN"):
            left = draw(st.sampled_from(own[:-1]))
            keys = f"{left[0]}.{KEY.get(left[1], 'user_id')} = {alias}.{KEY.get(table, 'user_id')}"
            on = draw(st.sampled_from([keys, keys, "", "USING"])) or draw(condition(own, 0))
            text += f" USING ({KEY.get(table, 'user_id')})" if on == "USING" else f" ON {on}"
    scope = own + outer
    items = ", ".join(draw(item(scope, depth)) for _ in range(columns))
    distinct = "DISTINCT " if draw(st.integers(0, 9)) == 0 else ""
    found = f"SELECT {distinct}{items} FROM {text}"
    parts = [draw(condition(scope, depth)) for _ in range(draw(st.integers(0, 2)))]
    # Most bind every table, to a constant or to the query outside, so that the answers are many.
    if draw(st.integers(0, 4)):
        around = [f"{alias}.{KEY[table]}" for alias, table in outer if table in KEY]
        parts += [
            f"{alias}.{KEY[table]} = {draw(st.sampled_from(['2', *around]))}" for alias, table in own if table in KEY
        ]
    if parts:
        found += f" WHERE {draw(st.sampled_from([' AND ', ' AND ', ' AND ', ' OR '])).join(parts)}"
    if draw(st.integers(0, 9)) == 0:
        found += f" GROUP BY {draw(column(scope))}"
    if draw(st.integers(0, 9)) == 0 and not outer:
        found += f" ORDER BY {', '.join(str(n + 1) for n in range(columns))} LIMIT 3"
    return found


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A SELECT, or two put together, or one over a CTE."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        joined = draw(st.sampled_from(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]))
        return f"{draw(select([], 1))} {joined} {draw(select([], 1))}"
    if kind == 1:
        table = draw(TABLE)
        where = draw(condition([("q", table)], 0))
        return f"WITH w AS (SELECT * FROM {table} q WHERE {where}) SELECT * FROM w {draw(JOIN)} {draw(TABLE)} a"
    return draw(select([], 2))
