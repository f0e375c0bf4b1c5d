"""Writes that are refused with a way out, and the forms of INSERT that one engine alone has. Edge."""

from __future__ import annotations

import pytest

from tenfold.errors import CrossShardError, RoutingError, ShardKeyError, StatementError, TenfoldError
from tests.sharding.engine.writing import DEPOSIT, NOTE, NOTES, World


@pytest.mark.parametrize(
    ("sql", "params", "kind"),
    [
        ("INSERT INTO notes (name) VALUES ('x')", (), ShardKeyError),
        ("INSERT INTO notes VALUES (NULL, 'x', NULL)", (), ShardKeyError),
        ("INSERT INTO notes VALUES (?, 'x', NULL), (?, 'y', NULL)", (1, None), ShardKeyError),
        ("UPDATE notes SET value = 'x' WHERE user_id = ?", (None,), ShardKeyError),
        ("UPDATE notes SET user_id = ? WHERE user_id = ?", (1, 2), RoutingError),
        ("DELETE FROM notes ORDER BY name LIMIT 1", (), CrossShardError),
        ("INSERT INTO notes VALUES (1, 'x', (SELECT name FROM users WHERE id = ?))", (2,), CrossShardError),
        ("INSERT INTO notes VALUES (1, 'x', (SELECT name FROM users WHERE id = 1)), (2, 'y', '')", (), CrossShardError),
        ("UPDATE users SET email = NULL", (), CrossShardError),
        ("DELETE FROM notes WHERE value > (SELECT MAX(amount) FROM deposits)", (), CrossShardError),
        ("INSERT INTO notes SELECT user_id, ref, amount FROM deposits LIMIT 3", (), CrossShardError),
        ("INSERT INTO users (id, email) SELECT user_id, value FROM notes", (), RoutingError),
    ],
)
def test_what_would_move_a_row_or_need_all_shards_at_once_is_refused_with_a_way_out(
    world: World, sql: str, params: tuple[object, ...], kind: type[TenfoldError]
) -> None:
    world.db.execute(NOTE, (world.keys[0], "n", "v"))
    with pytest.raises(kind) as caught:
        world.db.execute(sql, params)
    assert caught.value.hint
    assert world.all(NOTES) == [(world.keys[0], "n", "v")]


on_mysql = pytest.mark.parametrize("kept_world", ["mysql"], indirect=True)
on_sqlite = pytest.mark.parametrize("kept_world", ["sqlite"], indirect=True)


@on_mysql
def test_the_forms_of_insert_that_only_mysql_has(world: World) -> None:
    a, b, *_ = world.keys
    one = world.db.execute('INSERT INTO deposits SET user_id = ?, ref = "it\\\'s", amount = ?', (a, 4))
    assert world.db.execute("SELECT ref FROM deposits WHERE id = ?", (one.lastrowid,)).scalar() == "it's"
    empty = world.db.execute("INSERT INTO users () VALUES ()")
    assert world.all("SELECT id, email, name FROM users") == [(empty.lastrowid, None, None)]
    world.db.execute('INSERT notes VALUE (?, "a\\\\", \'b\\\'), (\'), (?, """", \'-- \')', (a, b))
    assert world.all(NOTES) == sorted([(a, "a\\", "b'), ("), (b, '"', "-- ")])
    assert world.db.executemany(DEPOSIT, [(key, f"m{n}", 1) for key in world.keys for n in range(4)]).rowcount == 36
    assert world.at_home("deposits") and world.at_home("users", "id")


@on_mysql
def test_a_key_that_mysql_would_cut_is_refused_not_stored_elsewhere(world: World) -> None:
    for sql, params in (
        ("INSERT IGNORE INTO logins VALUES (?, 1)", (70_000,)),
        ("INSERT IGNORE INTO logins VALUES (1, 1), (-32769, 1)", ()),
        ("INSERT IGNORE INTO logins SELECT ?, 1", (70_000,)),
        ("INSERT IGNORE INTO logins SELECT user_id, 1 FROM notes", ()),
    ):
        with pytest.raises(RoutingError, match="IGNORE would change it"):
            world.db.execute(sql, params)
    with pytest.raises(StatementError):
        world.db.execute("INSERT INTO logins VALUES (?, 1)", (70_000,))
    assert world.db.execute("INSERT IGNORE INTO logins VALUES (32767, 1), (-32768, 'many')").rowcount == 2
    assert world.at_home("logins")


@on_mysql
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE notes, deposits SET value = 'x' WHERE notes.user_id = deposits.user_id",
        "UPDATE notes n JOIN deposits d ON d.user_id = n.user_id SET n.value = d.ref",
        "DELETE n FROM notes n JOIN deposits d ON d.user_id = n.user_id",
        "DELETE FROM notes USING notes JOIN deposits ON deposits.user_id = notes.user_id",
        "INSERT INTO notes PARTITION (p0) VALUES (1, 'x', 'y')",
        "INSERT INTO notes VALUES ()",
    ],
)
def test_what_mysql_writes_to_several_tables_at_once_is_refused(world: World, sql: str) -> None:
    with pytest.raises(RoutingError) as caught:
        world.db.execute(sql)
    assert caught.value.hint


@on_sqlite
def test_insert_or_fail_is_not_cut_apart(world: World) -> None:
    a, b, *_ = world.keys
    rows = "INSERT OR FAIL INTO deposits (user_id, ref, amount) VALUES (?, 'a', 1), (?, 'b', 1)"
    assert world.db.execute(rows, (a, a)).rowcount == 2
    with pytest.raises(CrossShardError, match="INSERT OR FAIL keeps the rows before a bad one"):
        world.db.execute(rows, (a, b))
