"""Shapes that try to lead the planner astray: odd conditions on the key, names that hide each other. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()
_SIDES = ["user_id", "user_id", "amount", "note", "currency", "id", "+user_id", "deposits.user_id"]
_VALUES = ["1", "2", "'02'", "3.0", "NULL", "'ann'", "-1", "user_id", "user_id + 1", "0", "''"]


def odd(d: Draw, depth: int = 2) -> str:
    """A condition that mostly looks as if it named the shard key."""
    kind = d.random.randint(0, 9 if depth else 5)
    left = d.pick(_SIDES)
    if kind <= 2:
        same = ["IS", "IS NOT", "=="] if d.sqlite else ["<=>"]
        return f"{left} {d.pick(['=', '=', '<>', '<', '>=', *same])} {d.pick([*_VALUES, *map(str, d.numbers(1, 3))])}"
    if kind == 3:
        return f"{left} {d.pick(['IN', 'NOT IN'])} ({', '.join(d.pick(_VALUES) for _ in range(d.pick([1, 2, 3])))})"
    if kind == 4:
        return d.pick([f"{left} BETWEEN 1 AND 3", f"{left} IS NULL", f"{left} LIKE 'a%'", f"{left} LIKE '2%'"])
    if kind == 5:
        return f"CASE WHEN {left} = 1 THEN user_id = 2 ELSE user_id END"
    if kind == 6:
        return f"NOT ({odd(d, depth - 1)})"
    return f"({odd(d, depth - 1)}{d.pick([' AND ', ' OR ', ' = ', ' AND NOT '])}{odd(d, depth - 1)})"


@SHAPES("odd conditions on the key")
def _(d: Draw) -> Ask:
    bound = d.pick(["", f"user_id = {d.key()} AND "])
    return d.select("user_id, note, amount + 1", f"FROM deposits WHERE {bound}{odd(d)}")


@SHAPES("odd conditions on the key, written to")
def _(d: Draw) -> Ask:
    bound = d.pick([f"user_id = {d.key()} AND ", "", f"user_id IN ({d.keys()}) AND "])
    if d.chance(0.5):
        return d.say(f"UPDATE deposits SET note = '?' WHERE {bound}{odd(d)}")
    return d.say(f"DELETE FROM deposits WHERE {bound}{odd(d)}")


@SHAPES("writes that give rows")
def _(d: Draw) -> Ask:
    if d.sqlite and d.chance(0.5):
        return d.say(
            f"UPDATE deposits SET note = {d.value('deposits', 'note')} WHERE user_id = {d.key()} RETURNING id, note"
        )
    if d.chance(0.5):
        return d.say(f"INSERT INTO notes (user_id, body) VALUES ({d.key()}, {d.value('notes', 'body')}) RETURNING body")
    where = d.pick([f"user_id = {d.key()}", f"user_id IN ({d.keys()})", d.tests("deposits", DEPOSIT_COLUMNS)])
    return d.say(f"DELETE FROM deposits WHERE {where} RETURNING id, amount")


_PARENTS = [("tokens", "token_uses", "token"), ("raws", "raw_uses", "k"), ("wides", "wide_uses", "wide")]


@SHAPES("keys of other types")
def _(d: Draw) -> Ask:
    parent, uses, key = d.pick(_PARENTS)
    own = "id" if parent == "wides" else key
    one, other = d.value(uses, key), d.value(uses, key)
    kind = d.random.randint(0, 6)
    if kind == 0:
        return d.select("*", f"FROM {parent} WHERE {own} = {one}")
    if kind == 1:
        return d.select(f"{own}, n", f"FROM {parent} WHERE {own} IN ({one}, {other})", d.by([own], none=0.5))
    if kind == 2:
        rest = f"FROM {parent} p {d.pick(['JOIN', 'LEFT JOIN'])} {uses} u ON u.{key} = p.{own}"
        return d.select(f"p.{own}, u.m", rest, d.by([f"p.{own}", "u.m"], none=0.5))
    if kind == 3:
        by = [By(key, d.chance(0.5))] if d.chance(0.6) else []
        return d.select(f"{key}, COUNT(*), SUM(m)", f"FROM {uses} GROUP BY {key}", by, d.cut() if by else None)
    if kind == 4:
        return d.select(key, f"FROM {uses}", d.by([key], none=0.5), head="SELECT DISTINCT")
    if kind == 5:
        return d.select(f"COUNT(DISTINCT {key}), COUNT(*), MIN(m)", f"FROM {uses} WHERE {key} <> {one}")
    inner = f"SELECT {key} FROM {uses} WHERE m > {d.v(0)}"
    return d.select("*", f"FROM {parent} WHERE {own} {d.pick(['IN', 'NOT IN'])} ({inner})")


@SHAPES("keys of other types, written to")
def _(d: Draw) -> Ask:
    parent, uses, key = d.pick(_PARENTS)
    own = "id" if parent == "wides" else key
    one, other = d.value(uses, key), d.value(uses, key)
    n = d.value(uses, "m")
    return d.say(
        d.pick(
            [f"INSERT INTO {parent} ({own}, n) VALUES ({one}, 1)",
             f"INSERT INTO {uses} ({key}, m) VALUES ({one}, {n})",
             f"INSERT INTO {uses} ({key}, m) VALUES ({one}, 1), ({other}, {n})",
             f"DELETE FROM {parent} WHERE {own} = {one}",
             f"UPDATE {parent} SET n = 3 WHERE {own} IN ({one}, {other})",
             f"UPDATE {uses} SET m = {n} WHERE {key} = {one}",
             f"DELETE FROM {uses} WHERE {key} IN ({one}, {other}) AND m < 3", f"DELETE FROM {parent} WHERE n = {n}"]
        )
    )  # fmt: skip


@SHAPES("computed and default columns")
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 3)
    if kind == 0:
        return d.select("twice, COUNT(*), MAX(flag)", "FROM wides GROUP BY twice", d.by(["twice"], none=0.5))
    if kind == 1:
        return d.select("w.*, u.m", "FROM wides w JOIN wide_uses u ON u.m = w.twice", d.by(["w.twice", "w.id"]))
    if kind == 2:
        return d.select("*", f"FROM wides WHERE twice > {d.v(1)}", d.by(["twice", "id"]), d.cut())
    return d.say(f"UPDATE wides SET n = {d.v(d.pick([1, 5]))}, flag = 8 WHERE twice >= {d.v(2)}")


# --- made up at random ---

_COLUMNS = {
    "users": ["id", "name", "score", "email"],
    "deposits": ["user_id", "amount", "currency", "id"],
    "notes": ["user_id", "body"],
    "user_meta": ["user_id", "name", "value"],
    "clubs": ["oid", "title"],
    "members": ["club", "who"],
    "currencies": ["code", "name", "user_id"],
    "posts": ["author", "title"],
}
_KEYS = {table: columns[0] for table, columns in _COLUMNS.items() if table not in ("currencies", "posts")}
_TABLES = [*_COLUMNS, *["users", "deposits", "notes"] * 4]
# In double quotes: a column to SQLite, where there is one of the name, and a text to MariaDB.
_CONSTANTS = ["1", "2", "'02'", "3", "NULL", "'ann'", "10", '"id"', '"nowhere"']
Scope = list[tuple[str, str]]
"""(alias, table), of the innermost FROM first."""


def column(d: Draw, scope: Scope) -> str:
    """A column of something in scope, or of nothing; with its alias, without, in quotes."""
    alias, table = d.pick(scope)
    odd = ["rowid"] if d.sqlite else []
    name = d.pick([*_COLUMNS[table] * 20, *[_KEYS.get(table, _COLUMNS[table][0])] * 20, *odd])
    own = [f'"{name}"', f"{alias.upper()}.{name}"] if d.sqlite else [f"`{name}`", f"{alias}.{name.upper()}"]
    return d.pick([f"{alias}.{name}", f"{alias}.{name}", name, *own])


def condition(d: Draw, scope: Scope, depth: int) -> str:
    """A condition; most often one that a planner may take for a binding of the shard key."""
    kind = d.random.randint(0, 9 if depth else 6)
    left = column(d, scope)
    if kind <= 2:
        alias, table = d.pick(scope)
        return f"{alias}.{_KEYS.get(table, _COLUMNS[table][0])} = {d.pick(_CONSTANTS)}"
    if kind == 3:
        return f"{left} = {column(d, scope)}"
    if kind == 4:
        same = "IS" if d.sqlite else "<=>"
        return f"{left} {d.pick(['=', '<>', '<', same])} {d.pick([d.pick(_CONSTANTS), column(d, scope)])}"
    if kind == 5:
        return f"{left} {d.pick(['IN', 'NOT IN'])} ({d.pick(_CONSTANTS)}, {d.pick(_CONSTANTS)})"
    if kind == 6:
        return f"({condition(d, scope, 0)}{d.pick([' OR ', ' AND ', ' = ', ' AND NOT '])}{condition(d, scope, 0)})"
    inner = made_up(d, scope, depth - 1, 1)
    return d.pick([f"EXISTS ({inner})", f"{left} IN ({inner})", f"NOT EXISTS ({inner})", f"{left} NOT IN ({inner})"])


def item(d: Draw, scope: Scope, depth: int) -> str:
    """One column of a SELECT without aggregates."""
    kind = d.random.randint(0, 8)
    of = column(d, scope)
    if kind <= 4:
        return of
    if kind == 5:
        return f"{of} AS {d.pick(['id', 'user_id', 'oid', 'x'])}"
    if kind == 6:
        own = [f"{of} || ''", f"typeof({of})", f"max({of}, 1)"] if d.sqlite else [f"HEX({of})", f"IF({of} > 2, 1, 0)"]
        return d.pick([f"upper({of})", f"coalesce({of}, 0)", *own])
    if kind == 7:
        return f"count(*) OVER (PARTITION BY {of})"
    return f"({made_up(d, scope, depth - 1, 1, whole=True)})" if depth else of


def source(d: Draw, alias: str, depth: int) -> tuple[str, str]:
    """(text, table whose columns it has): a table, or a sub-query in FROM."""
    table = d.pick(_TABLES)
    if depth and d.chance(0.17):
        where = f" WHERE {condition(d, [('n', table)], 0)}" if d.chance(0.5) else ""
        return f"(SELECT * FROM {table} n{where}) {alias}", table
    return d.pick([f"{table} {alias}", f"{table} AS {alias}"]), table


def made_up(d: Draw, outer: Scope, depth: int, columns: int = 2, *, whole: bool = False) -> str:
    """A SELECT that may name what stands around it; every alias is one of a few, so that they hide each other.

    whole  gives one row whatever there is, and the same one: an aggregate
    """
    names = d.some(["a", "b", "c", "users"], 4)
    text, table = source(d, names[0], depth)
    own: Scope = [(names[0], table)]
    joins = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN", ",", "NATURAL JOIN", "NATURAL LEFT JOIN"]
    joins += ["FULL JOIN"] if d.sqlite else []
    for alias in names[1 : d.pick([1, 1, 2, 2, 3])]:
        join = d.pick(joins)
        joined, table = source(d, alias, depth)
        own.append((alias, table))
        text += f" {join} {joined}"
        if "NATURAL" not in join and join not in (",", "CROSS JOIN"):
            left = d.pick(own[:-1])
            keys = f"{left[0]}.{_KEYS.get(left[1], 'user_id')} = {alias}.{_KEYS.get(table, 'user_id')}"
            on = d.pick([keys, keys, "", "USING"]) or condition(d, own, 0)
            text += f" USING ({_KEYS.get(table, 'user_id')})" if on == "USING" else f" ON {on}"
    scope = own + outer
    parts = [condition(d, scope, depth) for _ in range(d.random.randint(0, 2))]
    if d.chance(0.7):  # most bind every table, to a constant or to the query outside
        around = [f"{alias}.{_KEYS[table]}" for alias, table in outer if table in _KEYS]
        parts += [f"{alias}.{_KEYS[table]} = {d.pick(['2', *around])}" for alias, table in own if table in _KEYS]
    where = f" WHERE {d.pick([' AND ', ' AND ', ' AND ', ' OR ']).join(parts)}" if parts else ""
    of = column(d, own)  # of an outer table, the aggregate would be the outer SELECT's
    totals = [f"count({of})", f"max({of})", "count(*)", f"{'total' if d.sqlite else 'SUM'}(abs({of}))", f"min({of})"]
    if whole or d.chance(0.2):
        return f"SELECT {', '.join(d.some(totals, columns, columns))} FROM {text}{where}"
    if d.chance(0.1):
        items = [of, *d.some(totals, columns - 1, columns - 1)] if columns > 1 else [d.pick(totals)]
        return f"SELECT {', '.join(items)} FROM {text}{where} GROUP BY {of}"
    distinct = "DISTINCT " if d.chance(0.1) else ""
    return f"SELECT {distinct}{', '.join(item(d, scope, depth) for _ in range(columns))} FROM {text}{where}"


@SHAPES("made up: one SELECT")
def _(d: Draw) -> Ask:
    return _any_text(d, made_up(d, [], 0))


@SHAPES("made up: SELECTs in SELECTs")
def _(d: Draw) -> Ask:
    return _any_text(d, made_up(d, [], 2))


@SHAPES("made up: sets and WITH")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        joined = d.pick(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        return _any_text(d, f"{made_up(d, [], 1)} {joined} {made_up(d, [], 1)}")
    table = d.pick(_TABLES)
    cte = f"WITH w AS (SELECT * FROM {table} q WHERE {condition(d, [('q', table)], 0)})"
    join = d.pick(["JOIN", "LEFT JOIN", ",", "NATURAL JOIN"])
    return _any_text(d, f"{cte} SELECT * FROM w {join} {d.pick(_TABLES)} a")


def _any_text(d: Draw, sql: str) -> Ask:
    """Made of any columns: of texts that a collation holds for one, and of 1 and 1.0, any may be given."""
    return d.say(sql, loose={place: "fold" for place in range(16)})


@SHAPES("names that hide each other")
def _(d: Draw) -> Ask:
    rest = (
        "FROM users id JOIN deposits users ON users.user_id = id.id"
        f" WHERE users.amount >= {d.v(0)} AND EXISTS (SELECT 1 FROM notes id WHERE id.user_id = users.user_id)"
    )
    return d.select("id.id, users.amount", rest, [By("users.amount"), By("id.id")])


@SHAPES("columns of one name")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits a JOIN deposits b ON a.user_id = b.user_id WHERE a.user_id IN ({d.keys()})"
    return d.select("a.id, b.id, a.note, b.note", rest, d.by(["a.id", "b.id"], none=0.5))
