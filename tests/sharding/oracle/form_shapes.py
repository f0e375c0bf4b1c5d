"""Shapes in the forms that applications and their libraries write, each the same to a database. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


@SHAPES("one value of several sub-queries")
def _(d: Draw) -> Ask:
    parts = ["(SELECT COUNT(*) FROM users)", "(SELECT COUNT(*) FROM posts)", "(SELECT MAX(amount) FROM deposits)",
    f"(SELECT COUNT(*) FROM notes WHERE user_id = {d.key()})"]  # fmt: skip
    chosen = d.some(parts, 2, 3)
    return d.say(
        d.pick([f"SELECT {' + '.join(chosen)} AS n", f"SELECT {', '.join(chosen)}", f"SELECT {chosen[0]} AS n"])
    )


@SHAPES("does any exist")
def _(d: Draw) -> Ask:
    inner = f"SELECT 1 FROM deposits WHERE {d.tests('deposits', DEPOSIT_COLUMNS)}"
    if d.chance(0.5):
        return d.say(f"SELECT EXISTS ({inner}) AS found")
    return d.select("1 AS one", f"FROM deposits WHERE {d.tests('deposits', DEPOSIT_COLUMNS)}", limit=(1, 0))


@SHAPES("parts of a UNION, each cut", engines=("mysql",))
def _(d: Draw) -> Ask:
    one = f"(SELECT id AS k FROM users WHERE score IS NOT NULL ORDER BY score, id LIMIT {d.v(2)})"
    other = f"(SELECT user_id AS k FROM deposits ORDER BY amount DESC, id LIMIT {d.v(d.pick([1, 3]))})"
    return d.compound(f"{one} {d.pick(['UNION', 'UNION ALL'])} {other}", d.by(["k"], none=0.5))


@SHAPES("outer joins in a chain")
def _(d: Draw) -> Ask:
    first, second = d.pick(["LEFT JOIN", "JOIN"]), d.pick(["LEFT JOIN", "JOIN"])
    key = d.pick(["d.user_id", "u.id"])
    rest = f"FROM users u {first} deposits d ON d.user_id = u.id AND d.amount > {d.v(0)}"
    rest += f" {second} notes n ON n.user_id = {key}{d.where('users', USER_COLUMNS, 'u')}"
    return d.select("u.id, d.amount, n.stars", rest)


@SHAPES("what has no partner")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        rest = f"FROM deposits d LEFT JOIN users u ON u.id = d.user_id AND u.score > {d.v(1)} WHERE u.id IS NULL"
        return d.select("d.id, d.user_id", rest)
    rest = "FROM users u LEFT JOIN deposits d ON d.user_id = u.id WHERE d.id IS NULL"
    return d.select("u.id", rest, d.by(["u.id"], none=0.5))


@SHAPES("join conditions in odd places")
def _(d: Draw) -> Ask:
    rest = d.pick(
        ["users u CROSS JOIN deposits d WHERE u.id = d.user_id", "users u JOIN deposits d WHERE u.id = d.user_id",
         f"users u JOIN deposits d ON u.id = d.user_id OR u.id = {d.key()}",
         "users u JOIN deposits d ON u.id = d.user_id + 0",
         "users u INNER JOIN deposits d ON (d.user_id = u.id AND (d.amount > 1 OR u.score > 1))",
         f"users u JOIN deposits d ON u.id = {d.key()} AND d.user_id = u.id", "deposits d NATURAL JOIN notes u",
         f"users u LEFT JOIN deposits d ON u.id = {d.key()} AND d.user_id = u.id",
         f"users u JOIN deposits d ON d.user_id {'IS' if d.sqlite else '<=>'} u.id",
         "deposits d JOIN (users u JOIN notes n ON n.user_id = u.id) ON u.id = d.user_id"]
    )  # fmt: skip
    name = "u.body" if "NATURAL" in rest else "u.name"
    return d.select(f"d.id, d.user_id, {name}", f"FROM {rest}")


@SHAPES("keys named in odd ways")
def _(d: Draw) -> Ask:
    one, other = d.key(), d.key()
    where = d.pick(
        [f"NOT id <> {one}", f"id = {one} OR id = {other}", f"id IN ({one}) AND id IN ({one}, {other})", f"{one} = id",
         f"id = {one} AND id = {other}", f"(id, score) = ({one}, 2)", f"id BETWEEN {d.v(3)} AND {d.v(9)}",
         f"+id = {one}",
         f"id + 0 = {one}", f"id = {one} + 0", f"(id = {one})", f"id = ({one})", f"id = (SELECT {one})", f"id <= {one}",
         f"id IN (SELECT {one} UNION SELECT {other})", f"COALESCE(id, 0) = {one}", f"id = {one} IS TRUE",
         f"CASE WHEN id = {one} THEN 1 ELSE 0 END = 1", f"id = {one} AND 1 = 1 AND score IS NOT NULL"]
    )  # fmt: skip
    return d.select("id, name, score", f"FROM users WHERE {where}")


@SHAPES("aggregates over sub-queries")
def _(d: Draw) -> Ask:
    items, inner = d.pick(
        [("COUNT(*)", "SELECT DISTINCT city FROM users"), ("MAX(q.n), SUM(q.n)",
         "SELECT COUNT(*) AS n FROM deposits GROUP BY currency"),
         ("COUNT(*), SUM(q.k)", "SELECT id AS k FROM users UNION SELECT user_id AS k FROM deposits"),
         ("q.n, COUNT(*)", "SELECT user_id, COUNT(*) AS n FROM deposits GROUP BY user_id"),
         ("AVG(q.amount)", "SELECT user_id, MAX(amount) AS amount FROM deposits GROUP BY user_id HAVING COUNT(*) > 1")]
    )  # fmt: skip
    return d.select(items, f"FROM ({inner}) q" + (" GROUP BY q.n" if items.startswith("q.n") else ""))


@SHAPES("CTEs in other forms")
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 3)
    if kind == 0:
        head = "WITH w(k, n) AS (SELECT user_id, COUNT(*) FROM deposits GROUP BY user_id) SELECT"
        return d.select("w.k, w.n", "FROM w", d.by(["w.n", "w.k"]), d.cut(), head=head)
    if kind == 1:
        head = "WITH a AS (SELECT id, score FROM users), b AS (SELECT id FROM a WHERE score > 1) SELECT"
        return d.select("COUNT(*)", "FROM b", head=head)
    if kind == 2:
        inner = "WITH w AS (SELECT user_id FROM notes WHERE stars > 0) SELECT user_id FROM w"
        return d.select("id", f"FROM users WHERE id IN ({inner})")
    head = "WITH best AS (SELECT user_id, MAX(amount) AS most FROM deposits GROUP BY user_id) SELECT"
    rest = "FROM deposits d JOIN best ON best.user_id = d.user_id AND best.most = d.amount"
    return d.select("d.id, d.amount", rest, head=head)


@SHAPES("windows in other forms")
def _(d: Draw) -> Ask:
    what, order = d.pick(
        [("NTILE(3)", "amount, id"), ("PERCENT_RANK()", "amount"), ("CUME_DIST()", "amount"), ("LEAD(amount, 2)", "id"),
         ("NTH_VALUE(amount, 2)", "id"), ("LAST_VALUE(id)", "id"), ("SUM(amount)", "made"), ("MIN(id)", "amount, id")]
    )  # fmt: skip
    part = d.pick(["", "PARTITION BY user_id ", "PARTITION BY currency "])
    return d.select(f"id, {what} OVER ({part}ORDER BY {order}) AS w", "FROM deposits", d.by(["id"], none=0.6))


@SHAPES("HAVING as a WHERE", engines=("mysql",))
def _(d: Draw) -> Ask:
    by = [By("score", d.chance(0.5), "s"), By("id")] if d.chance(0.5) else []
    rest = f"FROM users{d.where('users', USER_COLUMNS)} HAVING s > {d.v(d.pick([0, 2]))}"
    if not by:
        return d.select("id, score AS s", rest)
    return d.select("id, score AS s", rest, by, d.cut() if d.chance(0.5) else None)


@SHAPES("MariaDB's own words", engines=("mysql",))
def _(d: Draw) -> Ask:
    rest = d.pick(
        [f"SELECT id, score FROM users WHERE score > ALL (SELECT value FROM options WHERE value < {d.v(3)})",
         "SELECT id FROM users WHERE score = ANY (SELECT amount FROM deposits)", "SELECT ALL id FROM users",
         "SELECT id FROM users WHERE (score > 1) XOR (city IS NULL)", "SELECT STRAIGHT_JOIN u.id, d.id FROM users u "
         "JOIN deposits d ON d.user_id = u.id", "SELECT DISTINCTROW city IS NULL FROM users",
         "SELECT SQL_NO_CACHE id FROM users", "SELECT user_id FROM deposits USE INDEX (by_user_id)",
         "SELECT id, IF(score > 1, 'a', 'b') AS c FROM users", "SELECT id FROM users WHERE name REGEXP '^a'",
         "SELECT id, name <=> NULL AS bare FROM users", "SELECT id DIV 2 AS half, COUNT(*) FROM users GROUP BY half",
         "SELECT id, score FROM users WHERE score RLIKE '1' AND NOT score = 10",
         "SELECT id FROM users WHERE !(score > 1)",
         "SELECT LEFT(city, 1) AS l, COUNT(*) FROM users WHERE city NOT LIKE 'r%' GROUP BY BINARY l",
         "SELECT u.id FROM users AS u FORCE INDEX (PRIMARY) WHERE u.id > 3 && u.score IS NOT NULL",
         "SELECT CONCAT_WS('-', id, email) AS c FROM users",
         "SELECT id, score FROM users WHERE score BETWEEN 1 AND 10 || id = 3"]
    )  # fmt: skip
    return d.say(rest, loose={0: "fold"} if "LEFT(" in rest else {})


@SHAPES("SQLite's own words", engines=("sqlite",))
def _(d: Draw) -> Ask:
    rest = d.pick(
        ["SELECT id FROM users WHERE name GLOB 'a*'", "SELECT id, score FROM users WHERE score NOTNULL",
         "SELECT ALL id FROM users",
         "SELECT id, iif(score > 1, 'a', 'b') AS c FROM users",
         "SELECT u.id FROM users AS u NOT INDEXED WHERE u.id > 3",
         "SELECT typeof(amount), COUNT(*) FROM deposits GROUP BY typeof(amount)",
         "SELECT id FROM users WHERE score == 2",
         "SELECT printf('%05d', id) AS p FROM users", "SELECT id, name LIKE 'A%' AS a FROM users",
         "SELECT id || '' AS t FROM users",
         "SELECT id FROM users WHERE id IN (SELECT value FROM json_each('[1, 2, 3, 7]'))",
         "SELECT id, [name] FROM users",
         "SELECT j.value, COUNT(*) FROM deposits, json_each('[1, 2]') j WHERE amount = j.value GROUP BY j.value",
         "SELECT users.id FROM users WHERE users.score = users.score", "SELECT TOTAL(score), COUNT(*) FROM users",
         "SELECT MAX(score), MIN(score) FROM users WHERE score NOT NULL", "SELECT id FROM users WHERE 'ann' = name",
         "SELECT id FROM users WHERE id IN ()", "SELECT sum(score) filter (where id > 3) AS s FROM users"]
    )  # fmt: skip
    return d.say(rest)


@SHAPES("orders that decide nothing")
def _(d: Draw) -> Ask:
    by = d.pick([[By("NULL")], [By("'x'")], [By("1 + 0")], [By("score * 0"), By("id")], [By("id IS NULL"), By("id")]])
    return d.select("id, score", f"FROM users{d.where('users', USER_COLUMNS)}", by, d.cut())


@SHAPES("grouped and ordered by text that ignores case")
def _(d: Draw) -> Ask:
    items = d.pick(["COUNT(*), MIN(id)", "COUNT(DISTINCT city), SUM(score)"])
    rest = f"FROM users GROUP BY name HAVING COUNT(*) >= {d.v(d.pick([1, 2]))}"
    return d.select(f"name, {items}", rest, [By("name", d.chance(0.5))], d.cut(), loose={0: "fold"})


@SHAPES("texts of a group put together")
def _(d: Draw) -> Ask:
    inner = "DISTINCT amount" if d.sqlite else "amount ORDER BY id SEPARATOR ';'"
    if d.sqlite:
        return d.select("currency, COUNT(*)", f"FROM deposits GROUP BY currency HAVING GROUP_CONCAT({inner}) <> ''")
    return d.select(f"currency, GROUP_CONCAT({inner}), COUNT(*)", "FROM deposits GROUP BY currency")


@SHAPES("update of everything")
def _(d: Draw) -> Ask:
    return d.say(
        d.pick(
            ["UPDATE notes SET stars = COALESCE(stars, 0)", "UPDATE users SET rate = rate / 2 WHERE id > 0",
             "DELETE FROM notes",
             "UPDATE deposits SET currency = 'CHF' WHERE currency IN (SELECT code FROM currencies)",
             f"UPDATE users SET city = name WHERE id IN ({d.keys()})", "UPDATE notes SET body = NULL WHERE body = ''"]
        )
    )  # fmt: skip


@SHAPES("insert in other forms")
def _(d: Draw) -> Ask:
    key, stars = d.key(), d.v(d.pick([0, 1, 70000, -1, None]))
    body = d.value("notes", "body")
    more = (
        []
        if d.sqlite
        else [f"INSERT INTO notes SET user_id = {key}, stars = {stars}", f"INSERT notes (user_id) VALUES ({key})"]
    )
    return d.say(
        d.pick(
            [f"INSERT INTO notes VALUES ({key}, {body}, {stars})",
             f"INSERT INTO notes (stars, user_id) VALUES ({stars}, {key})",
             f"INSERT INTO notes (user_id, body, stars) VALUES ({key}, UPPER({body}), 1 + 1)", *more,
             f"INSERT INTO notes (USER_ID, BODY) {'VALUES' if d.sqlite else 'VALUE'} ({key}, {body})",
             f"INSERT INTO notes (user_id, stars) VALUES ({key}, (SELECT COUNT(*) FROM currencies))"]
        )
    )  # fmt: skip
