"""Shapes beyond the core that write: to several shards, with sub-queries, against constraints. Pure."""

from __future__ import annotations

from tests.sharding.oracle import core_shapes
from tests.sharding.oracle.asks import Ask
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.data import CODES, HANDLES
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()
READS = {shape.name: shape.make for shape in core_shapes.SHAPES if shape.part not in ("", "one shard")}


@SHAPES("update by any condition")
def _(d: Draw) -> Ask:
    sets = d.pick([f"note = {d.value('deposits', 'note')}", f"amount = amount + {d.v(1)}", "currency = NULL"])
    return d.say(f"UPDATE deposits SET {sets} WHERE amount < 1000 AND {d.tests('deposits', DEPOSIT_COLUMNS)}")


@SHAPES("delete by any condition")
def _(d: Draw) -> Ask:
    table, columns = d.pick([("deposits", DEPOSIT_COLUMNS), ("notes", ("body", "stars"))])
    return d.say(f"DELETE FROM {table} WHERE {d.test(table, columns)} AND {d.tests(table, columns)}")


@SHAPES("update by a list of keys")
def _(d: Draw) -> Ask:
    column = d.pick(["city", "score"])
    return d.say(f"UPDATE users SET {column} = {d.value('users', column)} WHERE id IN ({d.keys()})")


@SHAPES("delete by a list of keys")
def _(d: Draw) -> Ask:
    return d.say(f"DELETE FROM notes WHERE user_id IN ({d.keys()}) AND {d.test('notes', ['stars', 'body'])}")


@SHAPES("insert of rows for several shards")
def _(d: Draw) -> Ask:
    rows = [f"({d.key()}, {d.value('notes', 'body')}, {d.value('notes', 'stars')})" for _ in range(d.pick([2, 4, 8]))]
    return d.say(f"INSERT INTO notes (user_id, body, stars) VALUES {', '.join(rows)}")


@SHAPES("insert for several shards, some there already")
def _(d: Draw) -> Ask:
    rows = [f"({d.v(number)})" for number in dict.fromkeys(d.numbers(2, 5))]
    verb = d.pick(["INSERT", "INSERT", d.insert_ignore])
    return d.say(f"{verb} INTO banned (user_id) VALUES {', '.join(rows)}")


@SHAPES("upsert for several shards")
def _(d: Draw) -> Ask:
    pairs = {(number, d.pick(["x", "y"])): None for number in d.numbers(2, 5)}
    rows = ", ".join(f"({d.v(number)}, {d.v(name)}, {d.value('user_meta', 'value')})" for number, name in pairs)
    return d.say(f"INSERT INTO user_meta (user_id, name, value) VALUES {rows} {d.upsert_value}")


@SHAPES("insert that ignores or replaces")
def _(d: Draw) -> Ask:
    row = f"{d.key()}, {d.v(d.pick(['x', 'y']))}, {d.value('user_meta', 'value')}"
    verb = d.pick(["REPLACE", d.insert_ignore])
    return d.say(f"{verb} INTO user_meta (user_id, name, value) VALUES ({row})")


@SHAPES("insert of texts as keys")
def _(d: Draw) -> Ask:
    return d.say(f"INSERT INTO people (handle, bio) VALUES ({d.handle()}, {d.value('people', 'bio')})")


@SHAPES("insert against a constraint")
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 3)
    if kind == 0:
        return d.say(f"INSERT INTO user_meta (user_id, name) VALUES ({d.key()}, {d.v(None)})")
    if kind == 1:
        return d.say(f"INSERT INTO deposits (user_id, amount) VALUES ({d.key()}, {d.v(666)})", draws="deposits")
    if kind == 2:
        rows = f"({d.v(d.number())}, 'x', 1), ({d.v(d.number())}, {d.v(None)}, 2)"
        return d.say(f"INSERT INTO user_meta (user_id, name, value) VALUES {rows}")
    return d.say(f"INSERT INTO users (id, email) VALUES ({d.v(d.number())}, {d.email()})")


@SHAPES("update against a constraint")
def _(d: Draw) -> Ask:
    where = d.pick([f"WHERE user_id = {d.key()}", f"WHERE user_id IN ({d.keys()})", f"WHERE amount > {d.v(1)}"])
    return d.say(f"UPDATE deposits SET amount = {d.v(666)} {where}")


@SHAPES("insert of what is read, by key")
def _(d: Draw) -> Ask:
    user = d.number()
    columns = d.pick([f"user_id, note, {d.v(1)}", f"{d.v(user)}, note, {d.v(2)}"])
    rest = f"FROM deposits WHERE user_id = {d.v(user)} AND {d.tests('deposits', DEPOSIT_COLUMNS)}"
    return d.say(f"INSERT INTO notes (user_id, body, stars) SELECT {columns} {rest}")


@SHAPES("insert of what is read, on all shards")
def _(d: Draw) -> Ask:
    rest = f"FROM users u JOIN deposits d ON d.user_id = u.id WHERE {d.tests('deposits', DEPOSIT_COLUMNS, 'd')}"
    if d.chance(0.5):
        return d.say(f"INSERT INTO notes (user_id, body) SELECT u.id, d.note {rest}")
    return d.say(f"INSERT INTO notes (user_id, body) SELECT id, name FROM users WHERE {d.tests('users', USER_COLUMNS)}")


@SHAPES("update with a sub-query of the key")
def _(d: Draw) -> Ask:
    inner = d.pick(["SELECT COUNT(*) FROM deposits d WHERE d.user_id = users.id",
                    "SELECT MAX(d.amount) FROM deposits d WHERE d.user_id = users.id"])  # fmt: skip
    where = d.pick([f" WHERE id = {d.key()}", f" WHERE {d.tests('users', USER_COLUMNS)}", ""])
    return d.say(f"UPDATE users SET score = ({inner}){where}")


@SHAPES("delete with a sub-query of the key")
def _(d: Draw) -> Ask:
    inner = f"SELECT id FROM users WHERE {d.tests('users', USER_COLUMNS)}"
    if d.chance(0.5):
        return d.say(f"DELETE FROM notes WHERE user_id IN ({inner})")
    found = "SELECT 1 FROM deposits d WHERE d.user_id = notes.user_id"
    return d.say(f"DELETE FROM notes WHERE {d.pick(['', 'NOT '])}EXISTS ({found})")


@SHAPES("delete with a reference table")
def _(d: Draw) -> Ask:
    inner = f"SELECT code FROM currencies WHERE {d.test('currencies', ['user_id', 'name'])}"
    return d.say(f"DELETE FROM deposits WHERE currency IN ({inner})")


@SHAPES("write by a unique value")
def _(d: Draw) -> Ask:
    email = d.v(d.of("users", "email") or "a@x")
    if d.chance(0.5):
        return d.say(f"UPDATE users SET score = {d.value('users', 'score')} WHERE email = {email}")
    if d.chance(0.5):
        return d.say(f"UPDATE users SET email = {d.email()} WHERE email = {email}")
    return d.say(f"DELETE FROM users WHERE email = {email}")


@SHAPES("write by a drawn id")
def _(d: Draw) -> Ask:
    number = d.v(d.of("deposits", "id"))
    if d.chance(0.6):
        return d.say(f"UPDATE deposits SET note = {d.value('deposits', 'note')} WHERE id = {number}")
    return d.say(f"DELETE FROM deposits WHERE id = {number}")


@SHAPES("write to a reference table")
def _(d: Draw) -> Ask:
    code, name = d.v(d.pick(CODES)), d.value("currencies", "name")
    return d.say(
        d.pick(
            [f"INSERT INTO currencies (code, name) VALUES ({code}, {name})",
             f"UPDATE currencies SET name = {name} WHERE code = {code}",
             f"DELETE FROM currencies WHERE code = {code}"]
        )
    )  # fmt: skip


@SHAPES("write to a pinned table")
def _(d: Draw) -> Ask:
    number, title = d.v(d.random.randint(1, 20)), d.value("posts", "title")
    return d.say(
        d.pick(
            [f"INSERT INTO posts (id, title) VALUES ({number}, {title})",
             f"UPDATE posts SET title = {title} WHERE author > {number}",
             f"UPDATE posts SET title = (SELECT MAX(code) FROM currencies) WHERE id = {number}",
             f"DELETE FROM posts WHERE author = {number}"]
        )
    )  # fmt: skip


@SHAPES("many rows of parameters, inserted")
def _(d: Draw) -> Ask:
    kind = d.random.randint(0, 2)
    count = d.pick([1, 3, 9])
    if kind == 0:
        rows = tuple((d.number(), d.of("notes", "body")) for _ in range(count))
        return _many(d, "INSERT INTO notes (user_id, body) VALUES ({}, {})", rows)
    if kind == 1:
        fans = tuple((d.pick(HANDLES), d.of("fans", "note")) for _ in range(count))
        return _many(d, "INSERT INTO fans (who, note) VALUES ({}, {})", fans)
    rows = tuple((d.number(), d.of("user_meta", "value")) for _ in range(count))
    verb = d.insert_ignore
    return _many(d, f"{verb} INTO user_meta (user_id, name, value) VALUES ({{}}, 'x', {{}})", rows)


@SHAPES("many rows of parameters, changed")
def _(d: Draw) -> Ask:
    count = d.pick([1, 3, 6])
    if d.chance(0.5):
        rows = tuple((d.of("deposits", "note"), d.number()) for _ in range(count))
        return _many(d, "UPDATE deposits SET note = {} WHERE user_id = {}", rows)
    rows = tuple((d.number(), d.of("notes", "stars")) for _ in range(count))
    return _many(d, "DELETE FROM notes WHERE user_id = {} AND stars = {}", rows)


def _many(d: Draw, text: str, rows: tuple[tuple[object, ...], ...]) -> Ask:
    sql = text.format(*(d.v(item, literal=False) for item in rows[0]))
    return d.say(sql, rows=rows)


@SHAPES("transaction of one key")
def _(d: Draw) -> Ask:
    user = d.number()
    steps = []
    for _ in range(d.pick([2, 3, 4])):
        inner = Draw(d.random, d.engine, d.world, d.apart)
        key = inner.key(user)
        steps.append(
            inner.say(
                d.pick(
                    [f"UPDATE users SET email = {inner.email()} WHERE id = {key}",
                     f"UPDATE users SET score = score + 1 WHERE id = {key} AND score < 1000",
                     f"INSERT INTO notes (user_id, body) VALUES ({key}, {inner.value('notes', 'body')})",
                     f"SELECT COUNT(*), MAX(stars) FROM notes WHERE user_id = {key}",
                     f"DELETE FROM user_meta WHERE user_id = {key}",
                     f"UPDATE deposits SET amount = {inner.v(d.pick([5, 666]))} WHERE user_id = {key}"]
                )
            )
        )  # fmt: skip
    return Ask(script=tuple(steps), kept=d.chance(0.7))


@SHAPES("transaction that reads all shards")
def _(d: Draw) -> Ask:
    user = d.number()
    steps = []
    for _ in range(d.pick([2, 3, 4])):
        inner = Draw(d.random, d.engine, d.world, d.apart)
        key = inner.key(user)
        body, score = inner.value("notes", "body"), inner.value("users", "score")
        test = inner.test("deposits", DEPOSIT_COLUMNS)
        writes = [f"UPDATE users SET score = {score} WHERE id = {key}",
                  f"INSERT INTO notes (user_id, body, stars) VALUES ({key}, {body}, 3)",
                  f"DELETE FROM deposits WHERE user_id = {key} AND {test}"]  # fmt: skip
        steps.append(inner.say(d.pick(writes)))
        read = Draw(d.random, d.engine, d.world, d.apart)
        steps.append(READS[d.pick(list(READS))](read))
    return Ask(script=tuple(steps), kept=d.chance(0.6), anywhere=True)
