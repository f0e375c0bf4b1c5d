"""Shapes that are easily answered almost rightly: written oddly, counted oddly, named oddly. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


@SHAPES("another collation than the column's")
def _(d: Draw) -> Ask:
    collation = d.pick(["BINARY", "NOCASE", "RTRIM"] if d.sqlite else ["utf8mb4_bin", "utf8mb4_general_ci"])
    column = d.pick(["name", "city"])
    kind = d.random.randint(0, 3)
    if kind == 0:
        return d.select(
            "id, name, city", "FROM users", [By(f"{column} COLLATE {collation}", d.chance(0.5)), By("id")], d.cut()
        )
    if kind == 1:
        value = d.value("users", column)
        return d.select("id", f"FROM users WHERE {column} = {value} COLLATE {collation}")
    if kind == 2:
        return d.select(
            f"COUNT(DISTINCT {column} COLLATE {collation}), MIN({column} COLLATE {collation})",
            "FROM users",
            loose={1: "fold"},
        )
    return d.select("COUNT(*)", f"FROM users GROUP BY {column} COLLATE {collation}")


@SHAPES("alias that hides a column, grouped")
def _(d: Draw) -> Ask:
    having = d.pick(["", " HAVING COUNT(*) > 1", " HAVING SUM(amount) > 0"])
    return d.select("LENGTH(currency) AS currency, COUNT(*) AS n", f"FROM deposits GROUP BY currency{having}")


@SHAPES("ordered by what is not shown")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        by = [
            By(d.pick(["COUNT(*)", "SUM(amount)", "MAX(note)", "MIN(made)", "AVG(price)"]), d.chance(0.5)),
            By("currency"),
        ]
        return d.select("currency", "FROM deposits GROUP BY currency", by, d.cut())
    by = [By("CASE WHEN amount IS NULL THEN 1 ELSE 0 END"), By("amount", d.chance(0.5)), By("id")]
    return d.select("note", "FROM deposits", by, d.cut())


@SHAPES("case, quotes and comments")
def _(d: Draw) -> Ask:
    quote = '"' if d.sqlite else "`"
    text = d.pick(
        [f"select ID, Name as {quote}full name{quote} from Users where ID in ({d.keys()})",
         f"SELECT /* ? :x %s */ u.{quote}id{quote}, 'a?b' AS q FROM {quote}users{quote} AS u WHERE u.score >= {d.v(1)}",
         f"SELECT id -- what ? is it\n, score FROM users WHERE score > {d.v(0)};",
         f"SELECT USERS.ID, users.SCORE FROM Users WHERE uSeRs.score IS NOT NULL AND ID <> {d.v(3)}",
         "SELECT\tid\n,\n\tscore\nFROM\n\tusers",
         f"SELECT COUNT( * ) , Max( score )AS m FROM users WHERE(score)>({d.v(0)})OR(id)={d.key()}",
         f"SELECT id FROM users WHERE name = 'it''s' OR name = {d.v('?')} OR city = '%s'"]
    )  # fmt: skip
    return d.say(text)


@SHAPES("stars")
def _(d: Draw) -> Ask:
    items, rest = d.pick(
        [("u.*, d.amount", "FROM users u JOIN deposits d ON d.user_id = u.id"),
         ("*", "FROM users JOIN notes ON user_id = id"),
         ("p.*", "FROM posts p LEFT JOIN users u ON u.id = p.author"), ("*, score + 1 AS more", "FROM users"),
         ("d.*, c.*", "FROM deposits d LEFT JOIN currencies c ON c.code = d.currency"),
         ("*", "FROM (SELECT user_id, COUNT(*) AS n FROM deposits GROUP BY user_id) q")]
    )  # fmt: skip
    items = items.replace("*, score", "users.*, score")
    return d.select(items, rest)


@SHAPES("set operations in a chain")
def _(d: Draw) -> Ask:
    parts = ["SELECT id AS k FROM users", "SELECT user_id AS k FROM deposits", "SELECT author AS k FROM posts",
             "SELECT amount AS k FROM deposits", f"SELECT user_id AS k FROM notes WHERE user_id = {d.key()}",
             "SELECT score AS k FROM users"]  # fmt: skip
    chosen = d.some(parts, 3, 4)
    # MariaDB gives INTERSECT precedence, SQLite goes from left to right: each its own.
    text = chosen[0] + "".join(
        f" {d.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'])} {part}" for part in chosen[1:]
    )
    return d.compound(text, d.by(["k"], none=0.5), d.cut() if d.chance(0.3) else None)


@SHAPES("UNION of one key")
def _(d: Draw) -> Ask:
    user = d.number()
    text = f"SELECT id AS k, name AS t FROM users WHERE id = {d.key(user)} UNION ALL"
    return d.compound(f"{text} SELECT user_id AS k, note AS t FROM deposits WHERE user_id = {d.key(user)}", d.by(["k"]))


@SHAPES("grouped sub-query joined")
def _(d: Draw) -> Ask:
    inner = "SELECT user_id, COUNT(*) AS n, MAX(amount) AS most FROM deposits GROUP BY user_id"
    rest = f"FROM users u {d.pick(['JOIN', 'LEFT JOIN'])} ({inner}) q ON q.user_id = u.id"
    rest += d.where("users", USER_COLUMNS, "u")
    return d.select("u.id, q.n, q.most", rest, d.by(["u.id", "q.n"], none=0.5))


@SHAPES("sub-query in HAVING or ORDER BY")
def _(d: Draw) -> Ask:
    if d.chance(0.5):
        having = d.pick(["SELECT AVG(amount) FROM deposits", "SELECT MIN(score) FROM users", "SELECT 1"])
        return d.select("user_id, SUM(amount)", f"FROM deposits GROUP BY user_id HAVING SUM(amount) > ({having})")
    by = [By("(SELECT COUNT(*) FROM deposits d WHERE d.user_id = u.id)", d.chance(0.5)), By("u.id")]
    return d.select("u.id, u.name", "FROM users u", by, d.cut())


@SHAPES("cut by one and cut in a list")
def _(d: Draw) -> Ask:
    inner = "(SELECT d.amount FROM deposits d WHERE d.user_id = u.id ORDER BY d.id DESC LIMIT 1) AS last"
    return d.select(f"u.id, {inner}", f"FROM users u{d.where('users', USER_COLUMNS, 'u')}")


@SHAPES("aggregates that are not added up")
def _(d: Draw) -> Ask:
    if d.sqlite:
        items = d.some(["COUNT(*) FILTER (WHERE amount > 1)", "TOTAL(amount)", "COUNT(*)",
                        "SUM(amount) FILTER (WHERE currency = 'CHF')",
                        "COUNT(DISTINCT amount) FILTER (WHERE note IS NOT NULL)"], 1, 3)  # fmt: skip
    else:
        items = d.some(["COUNT(DISTINCT currency, amount)", "BIT_OR(id)", "STDDEV_POP(amount)", "BIT_AND(user_id)",
                        "VARIANCE(amount)", "BIT_XOR(amount + 6)"], 1, 3)  # fmt: skip
    return d.select(", ".join(items), f"FROM deposits{d.pick(['', ' GROUP BY currency'])}")


@SHAPES("roll-up", engines=("mysql",))
def _(d: Draw) -> Ask:
    return d.select("currency, user_id, COUNT(*), SUM(amount)", "FROM deposits GROUP BY currency, user_id WITH ROLLUP")


@SHAPES("nothing of many shards")
def _(d: Draw) -> Ask:
    never = d.pick(["1 = 0", "id IS NULL", "id IN (NULL)", "score > 5 AND score < 2", f"id = {d.v(None)}"])
    items = d.pick(["*", "COUNT(*), SUM(score), MAX(name)", "COUNT(DISTINCT city)", "SUM(score) + 1, AVG(rate)"])
    group = d.pick(["", " GROUP BY city"]) if items.startswith("COUNT(*)") else ""
    return d.select(items, f"FROM users WHERE {never}{group}")


@SHAPES("keys and NULL in a list")
def _(d: Draw) -> Ask:
    return d.select("id, score", f"FROM users WHERE id {d.pick(['IN', 'IN', 'NOT IN'])} ({d.keys()}, {d.v(None)})")


@SHAPES("two lists of keys")
def _(d: Draw) -> Ask:
    rest = f"FROM users u JOIN deposits d ON d.user_id = u.id WHERE u.id IN ({d.keys()}) AND d.user_id IN ({d.keys()})"
    return d.select("u.id, d.amount", rest, d.by(["d.amount", "u.id"], none=0.5))


@SHAPES("distinct over a join")
def _(d: Draw) -> Ask:
    rest = f"FROM users u JOIN deposits d ON d.user_id = u.id{d.where('deposits', DEPOSIT_COLUMNS, 'd')}"
    items = d.pick(["u.id", "d.currency", "u.id, d.currency", "d.currency, u.score"])
    return d.select(items, rest, d.by(items.split(", "), none=0.5), head="SELECT DISTINCT")


@SHAPES("distinct of an aggregate")
def _(d: Draw) -> Ask:
    return d.select(
        "COUNT(*)", f"FROM deposits GROUP BY {d.pick(['user_id', 'currency', 'amount'])}", head="SELECT DISTINCT"
    )


@SHAPES("distinct expressions")
def _(d: Draw) -> Ask:
    expression = d.pick(["score % 3", "LENGTH(name)", "score > 1", "COALESCE(city, 'none')", "ABS(score)", "1"])
    loose = {0: "fold"} if "city" in expression else {}
    return d.select(expression, f"FROM users{d.where('users', USER_COLUMNS)}", head="SELECT DISTINCT", loose=loose)


@SHAPES("window of groups")
def _(d: Draw) -> Ask:
    items = "user_id, SUM(amount) AS total, RANK() OVER (ORDER BY SUM(amount)) AS place"
    return d.select(items, "FROM deposits GROUP BY user_id")


@SHAPES("the newest of each key")
def _(d: Draw) -> Ask:
    inner = "SELECT id, user_id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY made DESC, id) AS place FROM deposits"
    return d.select("q.user_id, q.id", f"FROM ({inner}) q WHERE q.place <= {d.v(d.pick([1, 2]))}")


@SHAPES("more types of columns", engines=("mysql",))
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 3)
    column = d.pick(["bits", "born", "fixed", "wide", "stamp"])
    if kind == 0:
        return d.select(
            f"user_id, n, {column}", f"FROM kinds{d.where('kinds', [column])}", d.by([column, "n"]), d.cut()
        )
    if kind == 1:
        return d.select(f"{column}, COUNT(*)", f"FROM kinds GROUP BY {column}", d.by([column], none=0.5))
    if kind == 2:
        return d.select(f"MIN({column}), MAX({column}), COUNT(DISTINCT {column})", "FROM kinds")
    return d.select("user_id, n, doc", f"FROM kinds WHERE JSON_EXTRACT(doc, '$.a') > {d.v(0)}", d.by(["n"]))


@SHAPES("sums of every type", engines=("mysql",))
def _(d: Draw) -> Ask:
    columns = d.some(["exact", "rough", "n", "big", "wide", "born", "clock", "size"], 1, 3)
    return d.select(", ".join(f"{d.pick(['SUM', 'AVG'])}({column})" for column in columns), "FROM kinds")


@SHAPES("types of expressions")
def _(d: Draw) -> Ask:
    items = d.some(
        ["exact + 1", "exact * 2", "rough * 2", "n / 2", "big + 1 AS b", "exact / 3", "n % 2", "-exact", "big > 0"],
        1,
        3,
    )
    where = " WHERE big < 1000 AND big > -1000"
    if d.chance(0.5):
        return d.select(", ".join(items), f"FROM kinds{where}", [By("user_id"), By("n")])
    return d.select(", ".join(f"MAX({item.removesuffix(' AS b')})" for item in items), f"FROM kinds{where}")


@SHAPES("texts against numbers")
def _(d: Draw) -> Ask:
    condition = d.pick(
        ["amount = '2'", "note = 2", "amount > '1'", "amount IN ('1', '2')", "user_id > '12'", "price = '7'"]
    )
    return d.select("id, amount", f"FROM deposits WHERE {condition}")
