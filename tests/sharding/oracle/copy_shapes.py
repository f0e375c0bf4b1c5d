"""Shapes that write what is read, write over what is there, and write in the words of one engine. Pure."""

from __future__ import annotations

from tests.sharding.oracle.asks import Ask
from tests.sharding.oracle.core_shapes import DEPOSIT_COLUMNS, USER_COLUMNS
from tests.sharding.oracle.draw import Draw, Shapes

SHAPES = Shapes()


@SHAPES("insert of groups that are read")
def _(d: Draw) -> Ask:
    rest = f"FROM deposits{d.where('deposits', DEPOSIT_COLUMNS)} GROUP BY user_id"
    having = d.pick(["", " HAVING COUNT(*) > 1"])
    return d.say(f"INSERT INTO notes (user_id, body, stars) SELECT user_id, MAX(note), COUNT(*) {rest}{having}")


@SHAPES("upsert of what is read")
def _(d: Draw) -> Ask:
    where = d.where("deposits", DEPOSIT_COLUMNS, empty=0.0)
    if d.chance(0.5):
        rest = f"FROM deposits{where} GROUP BY user_id"
        return d.say(
            f"INSERT INTO user_meta (user_id, name, value) SELECT user_id, 'x', COUNT(*) {rest} {d.upsert_value}"
        )
    rest = f"FROM users{d.where('users', USER_COLUMNS, empty=0.0)}"
    return d.say(f"INSERT INTO user_meta (user_id, name, value) SELECT id, 'y', score {rest} {d.upsert_value}")


@SHAPES("insert of keys that are read")
def _(d: Draw) -> Ask:
    verb = d.pick(["INSERT", d.insert_ignore, "REPLACE"])
    select = d.pick(
        ["SELECT DISTINCT user_id FROM notes", f"SELECT id FROM users{d.where('users', USER_COLUMNS)}",
         f"SELECT id FROM users WHERE id IN ({d.keys()})", f"SELECT id FROM users WHERE id = {d.key()}",
         "SELECT u.id FROM users u WHERE EXISTS (SELECT 1 FROM deposits d WHERE d.user_id = u.id)"]
    )  # fmt: skip
    return d.say(f"{verb} INTO banned (user_id) {select}")


@SHAPES("insert of a table's own rows")
def _(d: Draw) -> Ask:
    where = d.where("notes", ["body", "stars"], empty=0.0)
    return d.say(f"INSERT INTO notes (user_id, body, stars) SELECT user_id, body, 9 FROM notes{where}")


@SHAPES("replaced on several shards")
def _(d: Draw) -> Ask:
    pairs = {(number, d.pick(["x", "y"])): None for number in d.numbers(2, 5)}
    rows = ", ".join(f"({d.v(number)}, {d.v(name)}, {d.value('user_meta', 'value')})" for number, name in pairs)
    return d.say(f"REPLACE INTO user_meta (user_id, name, value) VALUES {rows}")


@SHAPES("upsert that keeps some")
def _(d: Draw) -> Ask:
    pairs = {(number, d.pick(["x", "y", "X"])): None for number in d.numbers(1, 4)}
    rows = ", ".join(f"({d.v(number)}, {d.v(name)}, {d.v(d.pick(['1', 'new', None]))})" for number, name in pairs)
    ends = (
        ["ON CONFLICT DO NOTHING", "ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value WHERE value = '1'",
         "ON CONFLICT (user_id, name) DO UPDATE SET value = coalesce(value, '') || excluded.name"]
        if d.sqlite
        else ["ON DUPLICATE KEY UPDATE value = IF(value = '1', VALUES(value), value)",
              "ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), value = 'there'",
              "ON DUPLICATE KEY UPDATE value = value"]
    )  # fmt: skip
    return d.say(f"INSERT INTO user_meta (user_id, name, value) VALUES {rows} {d.pick(ends)}")


@SHAPES("insert with drawn ids for several shards")
def _(d: Draw) -> Ask:
    rows = [f"({d.v(number)}, {d.v(n, literal=False)})" for n, number in enumerate(d.numbers(2, 6))]
    return d.say(f"INSERT INTO deposits (user_id, amount) VALUES {', '.join(rows)}", draws="deposits")


@SHAPES("written in an order, cut", engines=("mysql",))
def _(d: Draw) -> Ask:
    where = f"WHERE user_id = {d.key()} ORDER BY id{d.pick(['', ' DESC'])} LIMIT {d.v(d.pick([1, 2]))}"
    return d.say(d.pick([f"UPDATE deposits SET amount = 77 {where}", f"DELETE FROM deposits {where}"]))


@SHAPES("ignored and cut to fit", engines=("mysql",))
def _(d: Draw) -> Ask:
    rows = ", ".join(f"({d.v(number)}, {d.v(d.pick([70000, -1, 2]))})" for number in d.numbers(1, 3))
    verb = d.pick(["INSERT", "INSERT IGNORE"])
    if d.chance(0.4):
        return d.say(f"UPDATE {d.pick(['', 'IGNORE '])}notes SET stars = stars * 30000 WHERE user_id IN ({d.keys()})")
    return d.say(f"{verb} INTO notes (user_id, stars) VALUES {rows}")


@SHAPES("written with columns of the same row")
def _(d: Draw) -> Ask:
    # On SQLite floats would then stand beside numbers so large that their sum depends on its order.
    swapped = "amount = amount - 1, price = 2" if d.sqlite else "amount = price, price = amount"
    sets = d.pick([swapped, "note = currency, currency = 'EUR'", "amount = amount, price = 1",
                   f"note = {d.concat('COALESCE(note, 1)', 'user_id')}"])  # fmt: skip
    where = d.pick([f"user_id = {d.key()}", f"user_id IN ({d.keys()})", d.tests("deposits", DEPOSIT_COLUMNS)])
    return d.say(f"UPDATE deposits SET {sets} WHERE amount BETWEEN -100 AND 100 AND {where}")


@SHAPES("written to what two sub-queries find")
def _(d: Draw) -> Ask:
    first = f"user_id IN (SELECT id FROM users WHERE {d.tests('users', USER_COLUMNS)})"
    second = "EXISTS (SELECT 1 FROM deposits d JOIN users u ON u.id = d.user_id WHERE d.user_id = notes.user_id)"
    where = f"{first} {d.pick(['AND', 'OR', 'AND NOT'])} {second}"
    return d.say(d.pick([f"DELETE FROM notes WHERE {where}", f"UPDATE notes SET stars = 4 WHERE {where}"]))
