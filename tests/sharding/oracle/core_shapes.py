"""The core of the oracle: the 40 shapes that are never refused. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask, By
from tests.sharding.oracle.data import deposit_id
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()
ONE, LISTS, AGGREGATES, JOINS, NESTED = "one shard", "lists, order, limit", "aggregates", "joins", "sub-queries, unions"
USER_COLUMNS = ("name", "city", "score", "rate")
DEPOSIT_COLUMNS = ("amount", "price", "currency", "note", "made")


@SHAPES("point read", ONE)
def _(d: Draw) -> Ask:
    columns = ", ".join(d.some(["id", "name", "city", "score", "rate", "email"]))
    return d.select(d.pick(["*", columns]), f"FROM users WHERE id = {d.key()}")


@SHAPES("read by key, ordered and cut", ONE)
def _(d: Draw) -> Ask:
    rest = f"FROM deposits WHERE user_id = {d.key()} AND {d.tests('deposits', DEPOSIT_COLUMNS)}"
    return d.select("id, amount, note", rest, d.by(["amount", "note", "made", "id", "price * 2"]), d.cut())


@SHAPES("aggregate by key", ONE)
def _(d: Draw) -> Ask:
    rest = f"FROM deposits WHERE user_id = {d.key()}{d.pick(['', ' GROUP BY currency', ' GROUP BY user_id'])}"
    return d.select("COUNT(*), SUM(amount), MIN(price), MAX(made), AVG(amount), COUNT(DISTINCT note)", rest)


@SHAPES("read by a unique value", ONE)
def _(d: Draw) -> Ask:
    return d.select("id, email, name", f"FROM users WHERE email = {d.email()}")


@SHAPES("insert one row", ONE)
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 2)
    if kind == 0:
        return d.say(f"INSERT INTO notes (user_id, body) VALUES ({d.key()}, {d.value('notes', 'body')})")
    if kind == 1:
        row = f"{d.email()}, {d.key()}, {d.value('users', 'name')}"
        return d.say(f"INSERT INTO users (email, id, name) VALUES ({row})")
    user = d.number()
    row = f"{d.v(deposit_id(user, 500 + d.random.randint(0, 99)))}, {d.v(user)}, {d.value('deposits', 'amount')}"
    return d.say(f"INSERT INTO deposits (id, user_id, amount) VALUES ({row})")


@SHAPES("insert several rows of one key", ONE)
def _(d: Draw) -> Ask:
    user = d.number()
    rows = [f"({d.key(user)}, {d.value('notes', 'body')}, {d.value('notes', 'stars')})" for _ in range(d.pick([2, 3]))]
    return d.say(f"INSERT INTO notes (user_id, body, stars) VALUES {', '.join(rows)}")


@SHAPES("insert with drawn ids", ONE)
def _(d: Draw) -> Ask:
    if d.chance(0.3):
        row = f"{d.email()}, {d.value('users', 'name')}"
        return d.say(f"INSERT INTO users (email, name) VALUES ({row})", draws="users")
    user = d.number()
    rows = [f"({d.value('deposits', 'note')}, {d.key(user)}, ({d.v(n)}))" for n in range(d.pick([1, 1, 2, 3]))]
    return d.say(f"INSERT INTO deposits (note, user_id, amount) VALUES {', '.join(rows)}", draws="deposits")


@SHAPES("upsert by key", ONE)
def _(d: Draw) -> Ask:
    row = f"{d.key()}, {d.v(d.pick(['x', 'y', 'X']))}, {d.value('user_meta', 'value')}"
    if d.sqlite:
        end = d.pick(
            ["ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value", "ON CONFLICT DO NOTHING",
             "ON CONFLICT (user_id, name) DO UPDATE SET value = value || '!' WHERE value <> 'x'"]
        )  # fmt: skip
        return d.say(f"INSERT INTO user_meta (user_id, name, value) VALUES ({row}) {end}")
    end = d.pick(["value = VALUES(value)", "value = CONCAT(value, '!')", f"value = {d.v('new')}"])
    return d.say(f"INSERT INTO user_meta (user_id, name, value) VALUES ({row}) ON DUPLICATE KEY UPDATE {end}")


@SHAPES("update by key", ONE)
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 2)
    if kind == 0:
        sets = f"score = score + {d.v(d.pick([1, -1]))}, city = {d.value('users', 'city')}"
        return d.say(f"UPDATE users SET {sets} WHERE id = {d.key()} AND score < 1000")
    if kind == 1:
        return d.say(f"UPDATE users SET email = {d.email()} WHERE id = {d.key()}")
    sets = f"note = {d.value('deposits', 'note')}, amount = {d.value('deposits', 'amount')}"
    return d.say(f"UPDATE deposits SET {sets} WHERE user_id = {d.key()} AND {d.tests('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("delete by key", ONE)
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 2)
    if kind == 0:
        return d.say(f"DELETE FROM notes WHERE user_id = {d.key()} AND {d.tests('notes', ['body', 'stars'])}")
    if kind == 1:
        return d.say(f"DELETE FROM users WHERE id = {d.key()} AND {d.tests('users', USER_COLUMNS)}")
    user = d.number()
    return d.say(f"DELETE FROM deposits WHERE user_id = {d.key(user)} AND id <> {d.v(deposit_id(user, 1))}")


# --- lists, order, limit ---


@SHAPES("list of keys", LISTS)
def _(d: Draw) -> Ask:
    more = f" AND {d.tests('users', USER_COLUMNS)}" if d.chance(0.5) else ""
    return d.select("id, name, score", f"FROM users WHERE id IN ({d.keys()}){more}")


@SHAPES("list of keys, ordered and cut", LISTS)
def _(d: Draw) -> Ask:
    rest = f"FROM deposits WHERE user_id IN ({d.keys()})"
    return d.select("user_id, amount, currency", rest, d.by(["amount", "user_id", "currency", "id"]), d.cut())


@SHAPES("any condition", LISTS)
def _(d: Draw) -> Ask:
    return d.select("*", f"FROM users {d.where('users', USER_COLUMNS, empty=0.1)}")


@SHAPES("any condition, ordered", LISTS)
def _(d: Draw) -> Ask:
    items = ", ".join(d.some(["id", "city", "score", "rate", "name"]))
    rest = f"FROM users{d.where('users', USER_COLUMNS)}"
    return d.select(items, rest, d.by(["score", "city", "rate", "id", "name", "email"]))


@SHAPES("ordered by several", LISTS)
def _(d: Draw) -> Ask:
    by = d.by(["amount", "currency", "price", "made", "note", "user_id"], 2, 4)
    return d.select("currency, amount, price, note", "FROM deposits", [*by, By("id", d.chance(0.5))])


@SHAPES("ordered and cut", LISTS)
def _(d: Draw) -> Ask:
    rest = f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}"
    return d.select("id, made", rest, d.by(["made", "amount", "price"]), (d.pick([1, 3, 10]), 0))


@SHAPES("ordered, cut and begun later", LISTS)
def _(d: Draw) -> Ask:
    return d.select("*", f"FROM users{d.where('users', USER_COLUMNS)}", d.by(["score", "name", "city", "id"]), d.cut())


@SHAPES("cut without an order", LISTS)
def _(d: Draw) -> Ask:
    return d.select("user_id, body", f"FROM notes{d.where('notes', ['body', 'stars'])}", limit=d.cut())


# --- aggregates ---


@SHAPES("count", AGGREGATES)
def _(d: Draw) -> Ask:
    items = d.pick(["COUNT(*)", "count(*) AS n", "COUNT(amount)", "COUNT(1), COUNT(note)"])
    return d.select(items, f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("sum, least, most", AGGREGATES)
def _(d: Draw) -> Ask:
    items = d.some(["SUM(amount)", "MIN(amount)", "MAX(price)", "SUM(price)", "MAX(made)", "MIN(currency)"])
    return d.select(", ".join(items), f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("average", AGGREGATES)
def _(d: Draw) -> Ask:
    items = d.some(["AVG(score)", "AVG(rate)", "COUNT(*)", "AVG(score) * 2 AS twice", "ROUND(AVG(score), 2)"])
    return d.select(", ".join(items), f"FROM users{d.where('users', USER_COLUMNS)}")


@SHAPES("grouped", AGGREGATES)
def _(d: Draw) -> Ask:
    column = d.pick(["currency", "made", "amount"])
    items = f"{column}, COUNT(*) AS n, SUM(price), MAX(amount)"
    return d.select(items, f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)} GROUP BY {column}")


@SHAPES("grouped by several", AGGREGATES)
def _(d: Draw) -> Ask:
    columns = d.some(["currency", "amount", "user_id"], 2, 3)
    by = [By(column, d.chance(0.5)) for column in columns] if d.chance(0.5) else []
    items = f"{', '.join(columns)}, COUNT(*), AVG(price)"
    return d.select(items, f"FROM deposits GROUP BY {', '.join(columns)}", by)


@SHAPES("grouped, with HAVING", AGGREGATES)
def _(d: Draw) -> Ask:
    having = d.pick(["COUNT(*) > 1", "SUM(amount) > 0", "MAX(amount) IS NULL OR COUNT(*) = 2", "AVG(price) >= 1"])
    return d.select("currency, COUNT(*)", f"FROM deposits GROUP BY currency HAVING {having}")


@SHAPES("grouped, ordered by an aggregate", AGGREGATES)
def _(d: Draw) -> Ask:
    by = [By("COUNT(*)", True, d.pick(["", "n", "2"])), By("user_id")]
    limit = d.cut() if d.chance(0.7) else None
    return d.select("user_id, COUNT(*) AS n, SUM(amount)", "FROM deposits GROUP BY user_id", by, limit)


@SHAPES("distinct", AGGREGATES)
def _(d: Draw) -> Ask:
    items = ", ".join(d.some(["currency", "amount", "made", "user_id"], 1, 3))
    return d.select(items, f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}", head="SELECT DISTINCT")


@SHAPES("distinct, ordered and cut", AGGREGATES)
def _(d: Draw) -> Ask:
    columns = d.some(["currency", "amount", "made"], 1, 2)
    by = [By(column, d.chance(0.5)) for column in columns]
    return d.select(", ".join(columns), "FROM deposits", by, d.cut(), head="SELECT DISTINCT")


@SHAPES("count of distinct", AGGREGATES)
def _(d: Draw) -> Ask:
    items = d.some(["COUNT(DISTINCT currency)", "COUNT(DISTINCT amount)", "COUNT(DISTINCT note)", "COUNT(*)"])
    group = d.pick(["", " GROUP BY currency"])
    return d.select(", ".join(items), f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}{group}")


# --- joins ---


@SHAPES("join by one key", JOINS)
def _(d: Draw) -> Ask:
    join = d.pick(["JOIN", "LEFT JOIN"])
    rest = f"FROM users u {join} deposits d ON d.user_id = u.id WHERE u.id = {d.key()}"
    return d.select("u.name, d.amount, d.note", rest, d.by(["d.amount", "d.id"], none=0.5))


@SHAPES("join on the key", JOINS)
def _(d: Draw) -> Ask:
    rest = f"FROM users u JOIN deposits d ON d.user_id = u.id{d.where('deposits', DEPOSIT_COLUMNS, 'd')}"
    return d.select("u.id, u.name, d.amount, d.currency", rest, d.by(["d.amount", "u.id"], none=0.5))


@SHAPES("left join on the key", JOINS)
def _(d: Draw) -> Ask:
    rest = f"FROM users u LEFT JOIN deposits d ON u.id = d.user_id{d.where('users', USER_COLUMNS, 'u')}"
    by = d.by(["d.amount", "u.id", "u.city"], none=0.5)
    return d.select("u.id, u.city, d.amount", rest, by, d.cut() if by and d.chance(0.5) else None)


@SHAPES("join with a reference table", JOINS)
def _(d: Draw) -> Ask:
    rest = f"FROM deposits d {d.pick(['JOIN', 'LEFT JOIN'])} currencies c ON c.code = d.currency"
    rest += d.where("deposits", DEPOSIT_COLUMNS, "d")
    return d.select("d.id, d.amount, c.name", rest, d.by(["c.code", "d.amount", "d.id"], none=0.5))


@SHAPES("three tables and a reference table", JOINS)
def _(d: Draw) -> Ask:
    rest = (
        "FROM users u JOIN deposits d ON d.user_id = u.id LEFT JOIN notes n ON n.user_id = u.id"
        f" JOIN currencies c ON c.code = d.currency{d.where('users', USER_COLUMNS, 'u')}"
    )
    return d.select("u.id, d.amount, n.body, c.code", rest, d.by(["u.id", "d.amount"], none=0.7))


@SHAPES("join on the key, grouped", JOINS)
def _(d: Draw) -> Ask:
    group = d.pick(["u.id", "u.city", "d.currency"])
    join = d.pick(["JOIN", "LEFT JOIN"])
    rest = f"FROM users u {join} deposits d ON d.user_id = u.id{d.where('users', USER_COLUMNS, 'u')} GROUP BY {group}"
    by = [By("SUM(d.amount)", d.chance(0.5), d.pick(["", "total"]))] if d.chance(0.5) else []
    loose = {0: "fold"} if group == "u.city" else {}
    return d.select(f"{group}, COUNT(d.id), SUM(d.amount) AS total, MAX(u.score)", rest, by, loose=loose)


# --- sub-queries, unions ---


@SHAPES("IN a sub-query of the same key", NESTED)
def _(d: Draw) -> Ask:
    inner = f"SELECT user_id FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}"
    return d.select("id, name", f"FROM users WHERE id IN ({inner})", d.by(["id", "score"], none=0.5))


@SHAPES("EXISTS of the same key", NESTED)
def _(d: Draw) -> Ask:
    inner = f"SELECT 1 FROM deposits d WHERE d.user_id = u.id AND {d.tests('deposits', DEPOSIT_COLUMNS, 'd')}"
    return d.select("u.id, u.score", f"FROM users u WHERE {d.pick(['', 'NOT '])}EXISTS ({inner})")


@SHAPES("sub-query as a column", NESTED)
def _(d: Draw) -> Ask:
    what = d.pick(["COUNT(*)", "MAX(d.amount)", "SUM(d.price)"])
    inner = f"(SELECT {what} FROM deposits d WHERE d.user_id = u.id) AS n"
    return d.select(f"u.id, {inner}", f"FROM users u{d.where('users', USER_COLUMNS, 'u')}")


@SHAPES("sub-query in FROM", NESTED)
def _(d: Draw) -> Ask:
    inner = f"SELECT user_id, amount AS a FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}"
    return d.select("q.user_id, q.a", f"FROM ({inner}) q WHERE q.a > {d.v(0)}", d.by(["q.a", "q.user_id"]))


@SHAPES("UNION ALL", NESTED)
def _(d: Draw) -> Ask:
    parts = [
        f"SELECT id AS k, score AS n FROM users{d.where('users', USER_COLUMNS)}",
        f"SELECT user_id AS k, amount AS n FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}",
    ]
    by = d.by(["k", "n"], none=0.5)
    return d.compound(" UNION ALL ".join(d.some(parts, 2)), by, d.cut() if by and d.chance(0.5) else None)


@SHAPES("UNION", NESTED)
def _(d: Draw) -> Ask:
    parts = [
        f"SELECT score AS n FROM users{d.where('users', USER_COLUMNS)}",
        f"SELECT amount AS n FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)}",
        f"SELECT stars AS n FROM notes WHERE user_id = {d.key()}",
    ]
    return d.compound(" UNION ".join(d.some(parts, 2)), d.by(["n"], none=0.5))
