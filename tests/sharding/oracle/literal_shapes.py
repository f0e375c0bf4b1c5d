"""Shapes about values written into the text, from which a cache of plans takes them out again. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


@SHAPES("casts in conditions")
def _(d: Draw) -> Ask:
    number = d.v(d.pick([1, 2, 100]), literal=True)
    cast = d.pick(
        ["CAST(amount AS DECIMAL(10,2))", "CAST(amount AS CHAR(5))"]
        + (["CAST(amount AS VARCHAR(3))", "CAST(price AS REAL)"] if d.sqlite else ["CONVERT(amount, CHAR(3))"])
    )
    return d.select("id, amount", f"FROM deposits WHERE {cast} {d.pick(['=', '>', '<>'])} {number}")


@SHAPES("numbers written oddly")
def _(d: Draw) -> Ask:
    number = d.pick(
        ["1e0", ".5", "5.", "0.10", "1.10", "007", "-1", "- 1", "+2", "--1\n+2" if d.sqlite else "2",
         "0x2", "1e400" if d.sqlite else "1e300", "-9223372036854775808", "9223372036854775807", "18446744073709551615",
         "99999999999999999999", "2.5e-1", "TRUE", "(2)", "1+1", "10/4"]
    )  # fmt: skip
    column, table = d.pick(
        [("score", "users"), ("rate", "users"), ("price", "deposits"), ("big", "kinds"), ("id", "users")]
    )
    return d.select("*", f"FROM {table} WHERE {column} {d.pick(['=', '<', '>=', '<>'])} {number}")


@SHAPES("texts written oddly")
def _(d: Draw) -> Ask:
    texts = [
        "'it''s'",
        "''",
        "'?'",
        "'%s'",
        "'a%'",
        "'--'",
        "'/*'",
        "':p0'",
        "'a' /* 'b' */",
        "X'616e6e'",
        "x''",
        "'ann ' -- '",
    ]
    texts += (
        ["'\\'", "'ann' || ''"]
        if d.sqlite
        else ["'it\\'s'", '"ann"', "'an' 'n'", "'back\\\\slash'", "_utf8mb4'ann'", "N'ann'"]
    )
    more = d.pick(["", f" AND id <> {d.v(3)}", f" AND score IN (1, {d.v(2)}, '2')"])
    return d.select("id, name", f"FROM users WHERE name {d.pick(['=', '<>', '>', 'LIKE'])} {d.pick(texts)}\n{more}")


@SHAPES("texts as keys, against numbers")
def _(d: Draw) -> Ask:
    key = d.pick(["42", "'42'", "42.0", "'42.0'", "042", "0", "'ann'", "'Ann'", d.v(42), d.v("42"), d.v(42.0)])
    condition = d.pick([f"handle = {key}", f"handle IN ({key}, 'ann')", f"handle <> {key}", f"handle >= {key}"])
    return d.select("handle, bio", f"FROM people WHERE {condition}")


@SHAPES("numbers as keys, against texts")
def _(d: Draw) -> Ask:
    number = d.number()
    key = d.pick(
        [f"'{number}'", f"'{number}.0'", f"'0{number}'", f"'{number}x'", f"'{number}e0'", f"{number}.0", f"{number}.5",
         f"'+{number}'", f"' {number}'", f"{number}e0", "''", "'x'", f"'{number} '", f"'\t{number}'"]
    )  # fmt: skip
    condition = d.pick([f"user_id = {key}", f"user_id IN ({key}, 3)", f"user_id = {key} AND amount > 0"])
    return d.select("user_id, amount", f"FROM deposits WHERE {condition}")


@SHAPES("values in every clause")
def _(d: Draw) -> Ask:
    amount, share = d.v(d.pick([1, 2]), literal=True), d.v(d.pick([3, 5]), literal=True)
    kind = d.random.randint(0, 4)
    if kind == 0:
        rest = f"FROM users u JOIN deposits d ON d.user_id = u.id AND d.amount > {amount} WHERE u.score < {share}"
        return d.select(f"u.id, d.amount + {amount} AS more", rest)
    if kind == 1:
        rest = f"FROM deposits WHERE amount > {amount} GROUP BY currency HAVING COUNT(*) > {d.v(1, literal=True)}"
        return d.select(f"currency, SUM(amount + {share}), {share}", rest)
    if kind == 2:
        case = f"CASE WHEN amount > {amount} THEN 'more' ELSE '{share}' END"
        return d.select(
            "id, amount", f"FROM deposits WHERE amount <> {share}", [By(case, d.chance(0.5)), By("id")], d.cut()
        )
    if kind == 3:
        frame = f"ROWS BETWEEN {amount} PRECEDING AND {share} FOLLOWING"
        return d.select(f"id, SUM(amount) OVER (PARTITION BY user_id ORDER BY id {frame}) AS w", "FROM deposits")
    window = f"WINDOW w AS (PARTITION BY user_id ORDER BY id ROWS {amount} PRECEDING)"
    return d.select("id, SUM(amount) OVER w AS w", f"FROM deposits WHERE amount <> {share} {window}")


@SHAPES("written values, written to")
def _(d: Draw) -> Ask:
    number = d.number()
    kind = d.random.randint(0, 4)
    text = d.pick(["'it''s'", "'?'", "'%s'", "''", "NULL", "'a' || 'b'" if d.sqlite else "CONCAT('a', 'b')", "X'41'"])
    if kind == 0:
        return d.say(f"UPDATE deposits SET note = {text}, amount = -1 WHERE user_id = {number} AND amount > -5")
    if kind == 1:
        return d.say(f"INSERT INTO notes (user_id, body, stars) VALUES ({number}, {text}, 1), ({d.number()}, 'x', 2)")
    if kind == 2:
        return d.say(f"DELETE FROM notes WHERE user_id IN ({number}, {d.number()}) AND (body = {text} OR stars = 2)")
    if kind == 3:
        return d.say(f"UPDATE users SET city = {text}, rate = 1.5e0 WHERE score BETWEEN 0 AND 10 AND id <> {number}")
    return d.say(f"INSERT INTO user_meta VALUES ({number}, 'k{d.random.randint(1, 99)}', {text})")


@SHAPES("JSON in conditions")
def _(d: Draw) -> Ask:
    own = ["doc ->> '$.a' = 1", "doc -> '$.b' = '[]'"] if d.sqlite else ["JSON_CONTAINS(doc, '1', '$.a')"]
    condition = d.pick(["JSON_EXTRACT(doc, '$.a') = 1", "JSON_EXTRACT(doc, '$.a') < 0", "JSON_VALID(doc)", *own])
    return d.select("user_id, n, doc", f"FROM kinds WHERE doc <> '' AND {condition}")


@SHAPES("dates in conditions")
def _(d: Draw) -> Ask:
    if d.sqlite:
        condition = d.pick(
            ["date(made, '-1 day') < '2024-02-29'", "made >= '2024-02-29'", "strftime('%Y', made) = '2024'"]
        )
    else:
        condition = d.pick(
            ["made < DATE '2024-03-01'", "made + INTERVAL 1 DAY > '2024-03-01'", "YEAR(made) = 2024",
             "made >= 20240229",
             "DATE(made) = '2024-02-29'", "made = '2024-02-29 12:00:00.000001'",
             "made BETWEEN '2000-01-01' AND '2024-12-31'", "DATE_ADD(made, INTERVAL -1 MONTH) < '2024-02-01'",
             "DATE_FORMAT(made, '%Y') = '2024'"]
        )  # fmt: skip
    return d.select("id, made", f"FROM deposits WHERE {condition}", d.by(["made", "id"], none=0.5))
