"""Shapes about values and their order: collations, NULLs, decimals, dates, expressions, functions. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


@SHAPES("CASE")
def _(d: Draw) -> Ask:
    case = f"CASE WHEN score > {d.v(2)} THEN 'high' WHEN score IS NULL THEN {d.v(None)} ELSE 'low' END"
    by = [By(case, d.chance(0.5), d.pick(["", "level"]))] if d.chance(0.6) else []
    return d.select(f"id, {case} AS level", f"FROM users{d.where('users', USER_COLUMNS)}", by)


@SHAPES("LIKE")
def _(d: Draw) -> Ask:
    pattern = d.v(d.pick(["a%", "%b", "%n%", "_ob%", "a\\_b", "Z%", "%'%", "%", "😀%"]))
    return d.select("id, name", f"FROM users WHERE name {d.pick(['', 'NOT '])}LIKE {pattern}")


@SHAPES("BETWEEN")
def _(d: Draw) -> Ask:
    low, high = d.value("deposits", "amount"), d.value("deposits", "amount")
    return d.select("id, amount", f"FROM deposits WHERE amount {d.pick(['', 'NOT '])}BETWEEN {low} AND {high}")


@SHAPES("NULL tests")
def _(d: Draw) -> Ask:
    column = d.pick(["name", "city", "score", "rate"])
    default = d.value("users", column)
    return d.select(
        f"id, COALESCE({column}, {default}) AS c", f"FROM users WHERE {column} IS {d.pick(['', 'NOT '])}NULL"
    )


@SHAPES("distinct counts beside other aggregates")
def _(d: Draw) -> Ask:
    items = "currency, COUNT(DISTINCT user_id), COUNT(*), SUM(amount), AVG(price), MAX(made)"
    return d.select(items, "FROM deposits GROUP BY currency", [By("currency")] if d.chance(0.5) else [])


@SHAPES("sum of distinct")
def _(d: Draw) -> Ask:
    items = d.pick(["SUM(DISTINCT amount)", "AVG(DISTINCT amount), COUNT(*)", "SUM(DISTINCT amount), SUM(amount)"])
    return d.select(items, f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("texts put together in an order")
def _(d: Draw) -> Ask:
    group = d.pick(["currency", "user_id"])
    if d.sqlite:  # this version takes no ORDER BY inside
        return d.select(f"{group}, GROUP_CONCAT(id, ';')", f"FROM deposits GROUP BY {group}", loose={1: "bag"})
    inner = d.pick(["id ORDER BY id", "id ORDER BY id DESC", "DISTINCT currency ORDER BY currency"])
    return d.select(f"{group}, GROUP_CONCAT({inner} SEPARATOR ';')", f"FROM deposits GROUP BY {group}")


@SHAPES("ordered by an expression")
def _(d: Draw) -> Ask:
    expression = d.pick(["score * -1", "ABS(score)", "LENGTH(name)", "score % 3", "COALESCE(score, 50)", "id + 1 - id"])
    return d.select("id, score", "FROM users", [By(expression, d.chance(0.5)), *d.by(["id", "city"], 1, 1)], d.cut())


@SHAPES("ordered by a position or an alias")
def _(d: Draw) -> Ask:
    by = [By("score", d.chance(0.5), d.pick(["2", "points"])), By("id", d.chance(0.5), d.pick(["1", "id"]))]
    return d.select("id, score AS points", "FROM users", by, d.cut() if d.chance(0.5) else None)


@SHAPES("alias that hides a column")
def _(d: Draw) -> Ask:
    by = [By("score * -1", d.chance(0.5), "name"), By("id")]
    return d.select("id, score * -1 AS name", "FROM users", by)


@SHAPES("grouped by text that ignores case")
def _(d: Draw) -> Ask:
    items = "name, COUNT(*) AS n, MIN(score)"
    by = [By("name", d.chance(0.5))] if d.chance(0.5) else []
    return d.select(items, f"FROM users{d.where('users', USER_COLUMNS)} GROUP BY name", by, loose={0: "fold"})


@SHAPES("ordered by text that ignores case")
def _(d: Draw) -> Ask:
    rest = f"FROM users{d.where('users', USER_COLUMNS)}"
    return d.select("id, name", rest, [By("name", d.chance(0.5)), *d.by(["id", "score"], 0, 1)], d.cut())


@SHAPES("distinct text that ignores case")
def _(d: Draw) -> Ask:
    column, table = d.pick([("name", "users"), ("note", "deposits"), ("body", "notes"), ("city", "users")])
    by = [By(column, d.chance(0.5))] if d.chance(0.5) else []
    rest = f"FROM {table}"
    return d.select(
        column, rest, by, d.cut() if by and d.chance(0.5) else None, head="SELECT DISTINCT", loose={0: "fold"}
    )


@SHAPES("least and most text that ignores case")
def _(d: Draw) -> Ask:
    return d.select("MIN(name), MAX(name), COUNT(DISTINCT name)", "FROM users", loose={0: "fold", 1: "fold"})


@SHAPES("compared text that ignores case")
def _(d: Draw) -> Ask:
    rest = f"FROM notes WHERE body {d.pick(['=', '<', '>=', '<>'])} {d.value('notes', 'body')}"
    return d.select("user_id, body, stars", rest, d.by(["body", "stars"], none=0.5))


@SHAPES("order of NULLs")
def _(d: Draw) -> Ask:
    nulls = d.pick(["", "FIRST", "LAST"]) if d.sqlite else ""
    by = [By(d.pick(["score", "rate", "city"]), d.chance(0.5), nulls=nulls), By("id", d.chance(0.5))]
    return d.select("id, score, rate, city", "FROM users", by, d.cut())


@SHAPES("order of NULLs by a test")
def _(d: Draw) -> Ask:
    return d.select("id, score", "FROM users", [By("score IS NULL", d.chance(0.5)), By("score"), By("id")], d.cut())


@SHAPES("decimals")
def _(d: Draw) -> Ask:
    items = d.some(["SUM(exact)", "AVG(exact)", "MIN(exact)", "MAX(exact)", "SUM(exact * 2)", "COUNT(exact)"], 1, 3)
    group = d.pick(["", " GROUP BY n", " GROUP BY size"])
    return d.select(", ".join(items), f"FROM kinds{group}")


@SHAPES("decimals grouped and ordered")
def _(d: Draw) -> Ask:
    return d.select("exact, COUNT(*)", "FROM kinds GROUP BY exact", [By("exact", d.chance(0.5))], d.cut())


@SHAPES("floats")
def _(d: Draw) -> Ask:
    table, column = d.pick([("users", "rate"), ("kinds", "rough")])
    items = d.some([f"SUM({column})", f"AVG({column})", f"MIN({column})", f"MAX({column})"], 1, 3)
    return d.select(", ".join(items), f"FROM {table}")


@SHAPES("huge integers")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        items = d.pick(["MIN(big), MAX(big)", "COUNT(DISTINCT big)"] + ([] if d.sqlite else ["SUM(big)", "AVG(big)"]))
        return d.select(items, f"FROM kinds{d.where('kinds', ['big', 'day'])}")
    return d.select("big, n", f"FROM kinds{d.where('kinds', ['big'])}", [By("big", d.chance(0.5)), By("n")], d.cut())


@SHAPES("dates")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        return d.select(
            "day, COUNT(*), MAX(clock)", f"FROM kinds{d.where('kinds', ['day'])} GROUP BY day", d.by(["day"])
        )
    return d.select("user_id, day", f"FROM kinds{d.where('kinds', ['day'])}", d.by(["day", "n", "user_id"]), d.cut())


@SHAPES("dates and times in functions")
def _(d: Draw) -> Ask:
    year = "strftime('%Y', made)" if d.sqlite else "YEAR(made)"
    return d.select(f"{year} AS y, COUNT(*)", f"FROM deposits GROUP BY {year}", [By(year, d.chance(0.5), "y")])


@SHAPES("times")
def _(d: Draw) -> Ask:
    return d.select("user_id, n, clock", f"FROM kinds{d.where('kinds', ['clock'])}", d.by(["clock", "n"]), d.cut())


@SHAPES("enums and sets")
def _(d: Draw) -> Ask:
    column = d.pick(["size", "tags"])
    if d.chance(0.5):
        return d.select(f"{column}, COUNT(*)", f"FROM kinds GROUP BY {column}", d.by([column], none=0.4))
    return d.select(f"n, {column}", f"FROM kinds{d.where('kinds', [column])}", d.by([column, "n"]), d.cut())


@SHAPES("distinct enums, least and most")
def _(d: Draw) -> Ask:
    items = d.pick(["MIN(size), MAX(size)", "COUNT(DISTINCT size), COUNT(DISTINCT tags)", "MAX(tags)"])
    return d.select(items, "FROM kinds")


@SHAPES("bytes")
def _(d: Draw) -> Ask:
    if d.chance(0.3):
        return d.select("MIN(data), MAX(data), COUNT(DISTINCT data)", "FROM kinds")
    head = d.pick(["SELECT", "SELECT DISTINCT"])
    return d.select("data", f"FROM kinds{d.where('kinds', ['data'])}", [By("data", d.chance(0.5))], d.cut(), head=head)


@SHAPES("expressions as columns")
def _(d: Draw) -> Ask:
    parts = [
        "score + 1", "score * score", "-score AS minus", d.concat("email", "'/'", "id"), "UPPER(name)", "rate / 3",
        "score / 2 AS half", "score = 2 AS two", "LENGTH(city)", d.v("it's") + " AS t", "NULL AS void", "1.5",
        f"score + {d.v(3)} AS more", "score IS NULL AS bare", "SUBSTR(name, 1, 2) AS beginning",
    ]  # fmt: skip
    return d.select(", ".join(d.some(parts, 1, 4)), f"FROM users{d.where('users', USER_COLUMNS)}")


@SHAPES("aggregates in expressions")
def _(d: Draw) -> Ask:
    items = d.some(["SUM(amount) + COUNT(*)", "MAX(amount) - MIN(amount) AS spread", "COUNT(*) * 2",
                    "COALESCE(SUM(price), 0) AS total", "SUM(amount) / COUNT(*)", "SUM(amount * 2)"], 1, 3)  # fmt: skip
    group = d.pick(["", " GROUP BY currency"])
    return d.select(", ".join(items), f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}{group}")


@SHAPES("aggregates of a condition")
def _(d: Draw) -> Ask:
    items = d.pick(["SUM(CASE WHEN amount > 1 THEN 1 ELSE 0 END)", "COUNT(CASE WHEN amount > 1 THEN 1 END)",
                    "SUM(amount > 1)", "MAX(COALESCE(amount, 7))"])  # fmt: skip
    return d.select(f"currency, {items} AS n", "FROM deposits GROUP BY currency")


@SHAPES("grouped by an expression")
def _(d: Draw) -> Ask:
    expression = d.pick(["amount % 3", "LENGTH(currency)", "amount > 1", "COALESCE(currency, 'none')"])
    group = d.pick([expression, "g", "1"])
    return d.select(f"{expression} AS g, COUNT(*), SUM(amount)", f"FROM deposits GROUP BY {group}")


@SHAPES("grouped by an expression of an alias")
def _(d: Draw) -> Ask:
    group, by = d.pick(["l + 0", "l * 2", "-l"]), []
    having = d.pick(["", " HAVING l > 1", " HAVING COUNT(*) > 1"])
    if d.chance(0.5):
        by = [By("LENGTH(city) + 1", d.chance(0.5), "l + 1")]
    return d.select("LENGTH(city) AS l, COUNT(*) AS n", f"FROM users GROUP BY {group}{having}", by)


@SHAPES("HAVING without groups")
def _(d: Draw) -> Ask:
    return d.select("COUNT(*), MAX(amount)", f"FROM deposits HAVING COUNT(*) > {d.v(d.pick([0, 3, 20]))}")


@SHAPES("HAVING by an alias")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits GROUP BY user_id HAVING n > {d.v(1)}"
    return d.select("user_id, COUNT(*) AS n", rest, [By("user_id")] if d.chance(0.5) else [])


@SHAPES("columns that hang on the key")
def _(d: Draw) -> Ask:
    rest = "FROM users u LEFT JOIN deposits d ON d.user_id = u.id GROUP BY u.id"
    return d.select("u.id, u.name, u.score, COUNT(d.id) AS n", rest, [By("u.score"), By("u.id")], d.cut())


@SHAPES("empty and far windows of rows")
def _(d: Draw) -> Ask:
    limit = d.pick([(0, 0), (0, 3), (5, 1000), (1000, 0), (1, 999999)])
    return d.select("id, score", "FROM users", [By("score"), By("id")], limit)


@SHAPES("keys in odd spellings")
def _(d: Draw) -> Ask:
    listed = ", ".join(d.key() for _ in range(d.pick([1, 2, 4])))
    return d.select("user_id, amount", f"FROM deposits WHERE user_id IN ({listed})")


@SHAPES("keys by OR")
def _(d: Draw) -> Ask:
    return d.select("id, name", f"FROM users WHERE id = {d.key()} OR {d.pick(['id', 'score'])} = {d.key()}")


@SHAPES("keys in a range")
def _(d: Draw) -> Ask:
    rest = f"FROM users WHERE id >= {d.v(d.number())} AND id < {d.v(d.number())}"
    return d.select("id, score", rest, d.by(["id", "score"]), d.cut())


@SHAPES("read by a drawn id")
def _(d: Draw) -> Ask:
    rows = d.world["deposits"]
    number = d.pick(rows)[0] if rows and d.chance(0.8) else 5
    more = d.pick(["", f" AND amount >= {d.v(0)}"])
    return d.select("id, user_id, note", f"FROM deposits WHERE id = {d.v(number)}{more}")


@SHAPES("no table")
def _(d: Draw) -> Ask:
    return d.select(f"1 + {d.v(1)} AS n, {d.v('x')} AS t, NULL AS void")
