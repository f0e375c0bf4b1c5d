"""Shapes beyond the core that bring rows of several shards together: joins, windows, CTEs, sub-queries. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


# --- joins ---


@SHAPES("join not on the key")
def _(d: Draw) -> Ask:
    column = d.pick(["city", "score", "name"])
    rest = f"FROM users a JOIN users b ON a.{column} = b.{column} AND a.id < b.id{d.where('users', USER_COLUMNS, 'a')}"
    return d.select("a.id, b.id AS other, a.score", rest, d.by(["a.id", "b.score"], none=0.5))


@SHAPES("join not on the key, grouped")
def _(d: Draw) -> Ask:
    rest = "FROM users u JOIN deposits d ON d.amount = u.score GROUP BY u.score"
    return d.select("u.score, COUNT(*) AS n, MIN(d.price)", rest, [By("COUNT(*)", True, "n"), By("u.score")], d.cut())


@SHAPES("join of two groups")
def _(d: Draw) -> Ask:
    join = d.pick(["JOIN", "LEFT JOIN"])
    rest = f"FROM users u {join} members m ON m.who = u.email{d.where('users', USER_COLUMNS, 'u')}"
    return d.select("u.id, m.club, m.who", rest, d.by(["u.id", "m.club"], none=0.5))


@SHAPES("join of a group with a pinned table")
def _(d: Draw) -> Ask:
    rest = f"FROM posts p {d.pick(['JOIN', 'LEFT JOIN'])} users u ON u.id = p.author{d.where('posts', ['title'], 'p')}"
    return d.select("p.id, p.title, u.name, u.score", rest, d.by(["p.id", "u.score"], none=0.5))


@SHAPES("one key with a pinned table")
def _(d: Draw) -> Ask:
    rest = f"FROM users u JOIN posts p ON p.author = u.id WHERE u.id = {d.key()}"
    return d.select("u.id, u.name, p.title", rest)


@SHAPES("pinned tables of two shards")
def _(d: Draw) -> Ask:
    rest = f"FROM posts p {d.pick(['JOIN', 'LEFT JOIN'])} options o ON o.value = p.author"
    return d.select("p.id, o.name, o.value", rest, d.by(["p.id", "o.name"], none=0.5))


@SHAPES("pinned with reference")
def _(d: Draw) -> Ask:
    rest = f"FROM posts p LEFT JOIN currencies c ON c.user_id = p.author{d.where('posts', ['title', 'author'], 'p')}"
    return d.select("p.id, c.code", rest, d.by(["p.title", "c.code"]), d.cut())


@SHAPES("reference tables alone")
def _(d: Draw) -> Ask:
    rest = f"FROM currencies c LEFT JOIN places p ON p.id = c.user_id{d.where('currencies', ['name', 'user_id'], 'c')}"
    return d.select("c.code, c.name, p.name AS place", rest, d.by(["c.code", "p.id"]), d.cut())


@SHAPES("reference left join group")
def _(d: Draw) -> Ask:
    rest = "FROM currencies c LEFT JOIN deposits d ON d.currency = c.code"
    if d.chance(0.5):
        return d.select("c.code, COUNT(d.id) AS n, SUM(d.amount)", f"{rest} GROUP BY c.code", [By("c.code")])
    return d.select("c.code, d.id, d.amount", f"{rest}{d.where('currencies', ['name'], 'c')}")


@SHAPES("outer join that keeps the reference table")
def _(d: Draw) -> Ask:
    joins = ["deposits d RIGHT JOIN currencies c ON c.code = d.currency"]
    joins += ["currencies c LEFT JOIN deposits d ON c.code = d.currency AND d.amount > 1"]
    joins += ["currencies c FULL JOIN deposits d ON c.code = d.currency"] if d.sqlite else []
    return d.select("c.code, d.id", f"FROM {d.pick(joins)}", d.by(["c.code", "d.id"], none=0.7))


@SHAPES("group left join reference, where nothing matches")
def _(d: Draw) -> Ask:
    rest = "FROM deposits d LEFT JOIN currencies c ON c.code = d.currency WHERE c.code IS NULL"
    return d.select("d.id, d.currency", rest, d.by(["d.currency", "d.id"]))


@SHAPES("right join on the key")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits d RIGHT JOIN users u ON u.id = d.user_id{d.where('users', USER_COLUMNS, 'u')}"
    return d.select("u.id, d.amount", rest)


@SHAPES("full join on the key", engines=("sqlite",))
def _(d: Draw) -> Ask:
    return d.select("u.id, n.user_id, n.body", "FROM users u FULL JOIN notes n ON u.id = n.user_id")


@SHAPES("join with itself on the key")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits a JOIN deposits b ON a.user_id = b.user_id AND a.id <> b.id WHERE a.amount >= {d.v(0)}"
    return d.select("a.id, b.id AS other, a.amount + b.amount AS both_of_them", rest)


@SHAPES("join with USING")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits {d.pick(['JOIN', 'LEFT JOIN'])} notes USING (user_id)"
    return d.select("user_id, amount, body", rest, d.by(["user_id", "amount"], none=0.5))


@SHAPES("join by comma")
def _(d: Draw) -> Ask:
    rest = f"FROM users u, deposits d WHERE u.id = d.user_id AND {d.tests('deposits', DEPOSIT_COLUMNS, 'd')}"
    return d.select("u.name, d.amount", rest)


@SHAPES("join by text keys")
def _(d: Draw) -> Ask:
    rest = f"FROM people p {d.pick(['JOIN', 'LEFT JOIN'])} follows f ON f.handle = p.handle"
    rest += d.pick(["", f" WHERE p.handle = {d.handle()}", f" WHERE p.handle IN ({d.handle()}, {d.handle()})"])
    return d.select("p.handle, f.other", rest, d.by(["p.handle", "f.other"], none=0.5))


@SHAPES("join by text, key to other column")
def _(d: Draw) -> Ask:
    rest = "FROM follows f JOIN people p ON p.handle = f.other"
    return d.select("f.handle, p.handle AS followed, p.bio", rest)


# --- windows ---


@SHAPES("window within the key")
def _(d: Draw) -> Ask:
    what = d.pick(["ROW_NUMBER()", "SUM(amount)", "LAG(amount)", "COUNT(*)", "FIRST_VALUE(amount)"])
    over = f"{what} OVER (PARTITION BY user_id ORDER BY id{d.pick(['', ' DESC'])})"
    return d.select(f"id, {over} AS w", f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("window over all rows")
def _(d: Draw) -> Ask:
    what = d.pick(["RANK()", "DENSE_RANK()", "SUM(score)", "COUNT(*)"])
    over = f"{what} OVER (ORDER BY score{d.pick(['', ' DESC'])})"
    by = d.by(["score", "id"], none=0.5)
    return d.select(f"id, {over} AS w", f"FROM users{d.where('users', USER_COLUMNS)}", by)


@SHAPES("window within another column")
def _(d: Draw) -> Ask:
    over = f"{d.pick(['RANK()', 'MAX(amount)', 'COUNT(*)'])} OVER (PARTITION BY currency ORDER BY amount)"
    return d.select(f"id, currency, {over} AS w", "FROM deposits", d.by(["currency", "id"], none=0.5))


@SHAPES("window by a name")
def _(d: Draw) -> Ask:
    items = "id, SUM(amount) OVER w AS total, ROW_NUMBER() OVER w AS place"
    return d.select(items, "FROM deposits WINDOW w AS (PARTITION BY user_id ORDER BY id)")


# --- WITH ---


@SHAPES("CTE")
def _(d: Draw) -> Ask:
    head = f"WITH rich AS (SELECT user_id, amount FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}) SELECT"
    rest = "FROM rich r" + d.pick(["", " JOIN users u ON u.id = r.user_id"])
    return d.select("r.user_id, r.amount", rest, d.by(["r.amount", "r.user_id"]), head=head)


@SHAPES("CTE used twice")
def _(d: Draw) -> Ask:
    head = "WITH s AS (SELECT user_id, SUM(amount) AS total FROM deposits GROUP BY user_id) SELECT"
    rest = "FROM s WHERE total >= (SELECT MAX(total) FROM s)"
    return d.select("user_id, total", rest, head=head)


@SHAPES("CTE by key")
def _(d: Draw) -> Ask:
    head = f"WITH mine AS (SELECT * FROM deposits WHERE user_id = {d.key()}) SELECT"
    return d.select("COUNT(*), SUM(amount)", "FROM mine", head=head)


@SHAPES("recursive over a reference table")
def _(d: Draw) -> Ask:
    head = (
        f"WITH RECURSIVE up AS (SELECT id, parent, 0 AS depth FROM places WHERE id = {d.v(d.random.randint(1, 7))}"
        " UNION ALL SELECT p.id, p.parent, up.depth + 1 FROM places p JOIN up ON p.id = up.parent) SELECT"
    )
    return d.select("id, depth", "FROM up", [By("depth")], head=head)


# --- sets ---


@SHAPES("INTERSECT")
def _(d: Draw) -> Ask:
    first = f"SELECT id AS k FROM users{d.where('users', USER_COLUMNS)}"
    return d.compound(f"{first} INTERSECT SELECT user_id AS k FROM deposits", d.by(["k"], none=0.5))


@SHAPES("EXCEPT")
def _(d: Draw) -> Ask:
    second = f"SELECT user_id AS k FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}"
    return d.compound(f"SELECT id AS k FROM users EXCEPT {second}", d.by(["k"], none=0.5))


@SHAPES("UNION of group, pinned and reference tables")
def _(d: Draw) -> Ask:
    parts = d.some(
        ["SELECT id AS k FROM users", "SELECT author AS k FROM posts", "SELECT user_id AS k FROM currencies",
         "SELECT value AS k FROM options"], 2, 3,
    )  # fmt: skip
    return d.compound(d.pick([" UNION ", " UNION ALL "]).join(parts), d.by(["k"], none=0.5))


@SHAPES("UNION, ordered and cut")
def _(d: Draw) -> Ask:
    parts = ["SELECT city AS c FROM users", "SELECT currency AS c FROM deposits", "SELECT title AS c FROM clubs"]
    joined = d.pick([" UNION ", " UNION ALL "]).join(d.some(parts, 2))
    return d.compound(joined, d.by(["c"]), d.cut(), loose={0: "fold"})


@SHAPES("UNION grouped from outside")
def _(d: Draw) -> Ask:
    inner = "SELECT user_id AS k FROM deposits UNION ALL SELECT user_id AS k FROM notes"
    return d.select("q.k, COUNT(*) AS n", f"FROM ({inner}) q GROUP BY q.k", d.by(["q.k"], none=0.5))


# --- sub-queries ---


@SHAPES("NOT IN with NULLs")
def _(d: Draw) -> Ask:
    inner = d.pick(["SELECT user_id FROM currencies", "SELECT amount FROM deposits", "SELECT score FROM users"])
    more = d.pick(["", f" WHERE user_id = {d.key()}"]) if "deposits" in inner else ""
    return d.select("id, name", f"FROM users WHERE id NOT IN ({inner}{more})")


@SHAPES("IN a sub-query of another key")
def _(d: Draw) -> Ask:
    inner = d.pick(["SELECT author FROM posts", "SELECT club FROM members", "SELECT score FROM users"])
    return d.select("id, score", f"FROM users WHERE {d.pick(['id', 'score'])} {d.pick(['IN', 'NOT IN'])} ({inner})")


@SHAPES("EXISTS of another table")
def _(d: Draw) -> Ask:
    inner = "SELECT 1 FROM posts p WHERE p.author = u.id"
    return d.select("u.id", f"FROM users u WHERE {d.pick(['', 'NOT '])}EXISTS ({inner})")


@SHAPES("EXISTS not on the key")
def _(d: Draw) -> Ask:
    inner = "SELECT 1 FROM deposits d WHERE d.amount = u.score"
    return d.select("u.id, u.score", f"FROM users u WHERE {d.pick(['', 'NOT '])}EXISTS ({inner})", d.by(["u.id"]))


@SHAPES("compared with a sub-query")
def _(d: Draw) -> Ask:
    inner = d.pick(
        ["SELECT AVG(score) FROM users", "SELECT MAX(amount) FROM deposits", "SELECT MIN(value) FROM options"]
    )
    return d.select("id, score", f"FROM users WHERE score {d.pick(['>', '<=', '='])} ({inner})")


@SHAPES("sub-query of everything as a column")
def _(d: Draw) -> Ask:
    inner = d.pick(["SELECT COUNT(*) FROM deposits", "SELECT MAX(score) FROM users", "SELECT COUNT(*) FROM posts"])
    return d.select(f"id, ({inner}) AS n", f"FROM users{d.where('users', USER_COLUMNS)}")


@SHAPES("sub-query in a sub-query")
def _(d: Draw) -> Ask:
    deepest = f"SELECT n.user_id FROM notes n WHERE n.user_id = d.user_id AND n.stars >= {d.v(1)}"
    inner = f"SELECT 1 FROM deposits d WHERE d.user_id = u.id AND d.user_id IN ({deepest})"
    return d.select("u.id", f"FROM users u WHERE EXISTS ({inner})")


@SHAPES("grouped sub-query in FROM")
def _(d: Draw) -> Ask:
    inner = "SELECT user_id, SUM(amount) AS total, COUNT(*) AS n FROM deposits GROUP BY user_id"
    items = d.pick(["MAX(q.total), COUNT(*)", "AVG(q.n)", "q.n, COUNT(*)"])
    return d.select(items, f"FROM ({inner}) q" + (" GROUP BY q.n" if items.startswith("q.n") else ""))


@SHAPES("cut sub-query in FROM")
def _(d: Draw) -> Ask:
    inner = f"SELECT id, score FROM users ORDER BY score, id LIMIT {d.v(d.pick([1, 3, 10]))}"
    return d.select("COUNT(*), MAX(q.score)", f"FROM ({inner}) q")


@SHAPES("row values in a list")
def _(d: Draw) -> Ask:
    pairs = ", ".join(f"({d.v(d.number())}, {d.v(d.random.randint(1, 3))})" for _ in range(d.pick([1, 2, 4])))
    listed = f"(VALUES {pairs})" if d.sqlite else f"({pairs})"
    return d.select("user_id, n, day", f"FROM kinds WHERE (user_id, n) IN {listed}")
