"""Statements that write: several shards as one, upserts, copies, and what is refused. Edge."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import tenfold
from tenfold.errors import (
    ConstraintError,
    CrossShardError,
    NodeError,
    StatementError,
)
from tests.sharding.engine.writing import DEPOSIT, NOTE, NOTES, World


def test_rows_of_one_insert_reach_their_shards_with_their_own_parameters(world: World) -> None:
    a, b, c, *_ = world.keys
    found = world.db.execute(
        "INSERT INTO deposits (user_id, ref, amount) VALUES (?, 'a', ?), (?, ?, 2 + ?), -- ?\n (?, 'c', 3);",
        (a, 1, b, "it's (?), ok", 5, c),
    )
    assert found.rowcount == 3
    assert world.all("SELECT user_id, ref, amount FROM deposits") == sorted(
        [(a, "a", 1), (b, "it's (?), ok", 7), (c, "c", 3)]
    )
    assert world.at_home("deposits")
    assert world.db.execute("SELECT user_id FROM deposits WHERE id = ?", (found.lastrowid,)).scalar() == c


def test_named_parameters_go_with_their_rows(world: World) -> None:
    a, b, *_ = world.keys
    world.db.execute(
        "INSERT INTO deposits (user_id, ref, amount) VALUES (:a, 'x', :n), (:b, 'y', :n + 1)", {"a": a, "b": b, "n": 4}
    )
    assert world.all("SELECT user_id, amount FROM deposits") == sorted([(a, 4), (b, 5)])


def test_one_bad_row_of_an_insert_leaves_no_row_on_any_shard(world: World) -> None:
    a, b, c, *_ = world.keys
    sql = "INSERT INTO deposits (user_id, ref, amount) VALUES (?, 'a', 1), (?, 'b', 1), (?, 'c', -1)"
    for order in ((a, b, c), (c, a, b), (b, c, a)):
        with pytest.raises(ConstraintError):
            world.db.execute(sql, order)
    assert world.all("SELECT id FROM deposits") == []


def test_unique_values_of_one_insert_are_reserved_for_all_its_rows_or_for_none(world: World) -> None:
    a, b, c, d, *_ = world.keys
    sql = "INSERT INTO users (id, email) VALUES (?, ?), (?, ?), (?, ?)"
    assert world.db.execute(sql, (a, "a@e", b, "b@e", c, None)).rowcount == 3
    with pytest.raises(ConstraintError, match="taken"):
        world.db.execute(sql, (d, "d@e", world.keys[4], "e@e", world.keys[5], "a@e"))
    with pytest.raises(ConstraintError, match="taken"):  # by the row beside it, at once
        world.db.execute(sql, (d, "d@e", world.keys[4], "d@e", world.keys[5], "f@e"))
    with pytest.raises(ConstraintError):  # a key is taken
        world.db.execute(sql, (d, "d@e", b, "e@e", world.keys[5], "f@e"))
    assert world.all("SELECT id FROM users") == sorted([(a,), (b,), (c,)])
    assert world.site.violations() == []
    assert world.db.execute(sql, (d, "d@e", world.keys[4], "e@e", world.keys[5], "f@e")).rowcount == 3
    assert world.site.violations() == []


def test_keys_that_are_drawn_spread_the_rows_of_one_insert(world: World) -> None:
    values = ", ".join(f"('{number}@e', ?)" for number in range(12))
    found = world.db.execute(f"INSERT INTO users (email, name) VALUES {values}", [str(number) for number in range(12)])
    assert found.rowcount == 12 and world.at_home("users", "id")
    assert world.db.execute("SELECT name FROM users WHERE id = ?", (found.lastrowid,)).scalar() == "11"
    assert len({world.site.owner(row[0]) for row in world.all("SELECT id FROM users")}) > 1
    assert world.site.violations() == []


def test_executemany_of_inserts_with_rows_of_several_shards_is_all_or_none(world: World) -> None:
    a, b, c, d, e, f, *_ = world.keys
    sql = "INSERT INTO deposits (user_id, ref, amount) VALUES (?, 'x', ?), (?, 'y', ?)"
    found = world.db.executemany(sql, [(a, 1, b, 2), (c, 3, d, 4), (e, 5, f, 6)])
    assert found.rowcount == 6 and world.at_home("deposits")
    with pytest.raises(ConstraintError):
        world.db.executemany(sql, [(a, 7, e, 8), (b, 9, d, -1)])
    assert len(world.all("SELECT id FROM deposits")) == 6


def test_a_transaction_takes_several_rows_of_its_own_shard_only(world: World) -> None:
    here, there, again = world.keys[0], world.keys[1], world.keys[3]
    sql = "INSERT INTO notes VALUES (?, 'x', '1'), (?, 'y', '2')"
    with world.db.transaction() as tx:
        with pytest.raises(CrossShardError) as caught:
            tx.execute(sql, (here, there))
        assert caught.value.hint
        tx.execute(sql, (here, again))
        for change in ("UPDATE notes SET value = 'all'", "DELETE FROM notes"):
            with pytest.raises(CrossShardError, match="needs 3 shards, a transaction has one"):
                tx.execute(change)
        with pytest.raises(CrossShardError, match="needs 3 shards"):
            tx.execute("INSERT INTO logins SELECT user_id, 1 FROM notes")
    assert world.all(NOTES) == sorted([(here, "x", "1"), (again, "y", "2")])


def test_update_and_delete_without_the_key_change_every_shard_or_none(world: World) -> None:
    for key in world.keys:
        world.db.execute(DEPOSIT, (key, "r", 10))
    assert world.db.execute("UPDATE deposits SET amount = amount + ?", (1,)).rowcount == 9
    with pytest.raises(ConstraintError):  # only the last shard's rows fail
        world.db.execute("UPDATE deposits SET amount = CASE WHEN user_id = ? THEN -1 ELSE 50 END", (world.keys[2],))
    assert {row[0] for row in world.all("SELECT amount FROM deposits")} == {11}
    some = world.keys[:4]
    found = world.db.execute("UPDATE deposits SET amount = 1 WHERE user_id IN (?, ?, ?, ?, NULL)", some)
    assert found.rowcount == 4 and found.lastrowid is None
    assert world.db.execute("DELETE FROM deposits WHERE amount = 1 AND user_id <> ?", (some[0],)).rowcount == 3
    assert [row[0] for row in world.all("SELECT user_id FROM deposits WHERE amount = 1")] == [some[0]]


def test_a_condition_on_rows_of_the_same_key_or_of_a_reference_table_is_judged_by_each_shard(world: World) -> None:
    for nth, key in enumerate(world.keys):
        world.db.execute(DEPOSIT, (key, "EUR" if nth % 2 else "XXX", 10))
        world.db.execute(NOTE, (key, "n", str(nth)))
    world.db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
    rich = (
        "UPDATE notes SET value = (SELECT SUM(amount) FROM deposits d WHERE d.user_id = notes.user_id)"
        " WHERE EXISTS (SELECT 1 FROM deposits d WHERE d.user_id = notes.user_id AND d.ref = ?)"
    )
    assert world.db.execute(rich, ("EUR",)).rowcount == 4
    assert sorted(row[2] for row in world.all(NOTES)) == ["0", "10", "10", "10", "10", "2", "4", "6", "8"]
    assert world.db.execute("DELETE FROM deposits WHERE ref IN (SELECT code FROM currencies)").rowcount == 4
    in_list = "DELETE FROM notes WHERE user_id IN (SELECT user_id FROM deposits WHERE amount = ?)"
    assert world.db.execute(in_list, (10,)).rowcount == 5


@pytest.fixture
def old(world: World) -> Iterator[tuple[tenfold.Database, int]]:
    """A handle to shards whose archive had ids up to 1000 before Tenfold came; the user of its row 7."""
    key = world.keys[1]
    world.site.look(world.site.owner(key), "INSERT INTO archive VALUES (7, ?, 'old', 1)", (key,))
    world.site.look("shard_0", "UPDATE tf_table SET watermark = 1000 WHERE table_name = 'archive'")
    with world.site.connect() as db:
        yield db, key
    world.site.look("shard_0", "UPDATE tf_table SET watermark = 0 WHERE table_name = 'archive'")


def test_an_id_that_tenfold_did_not_draw_is_looked_for_on_every_shard(
    world: World, old: tuple[tenfold.Database, int]
) -> None:
    db, key = old
    drawn = db.execute(DEPOSIT, (key, "r", 10)).lastrowid
    assert db.execute("UPDATE deposits SET amount = 11 WHERE id = ?", (drawn,)).rowcount == 1
    assert db.execute("UPDATE archive SET amount = 2 WHERE id = ?", (7,)).rowcount == 1
    with db.transaction() as tx, pytest.raises(CrossShardError, match="a transaction has one"):
        tx.execute("UPDATE archive SET amount = 3 WHERE id = ?", (7,))
    assert world.all("SELECT amount FROM archive") == [(2,)]
    assert db.execute("DELETE FROM archive WHERE id = ?", (7,)).rowcount == 1


def test_an_upsert_of_several_shards_changes_what_is_there_and_inserts_the_rest(world: World) -> None:
    a, b, c, *_ = world.keys
    world.db.execute(NOTE, (a, "k", "old"))
    update = (
        "ON DUPLICATE KEY UPDATE value = VALUES(value), user_id = VALUES(user_id)"
        if world.engine == "mysql"
        else "ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, user_id = excluded.user_id"
    )
    found = world.db.execute(
        f"INSERT INTO notes VALUES (?, 'k', 'new'), (?, 'k', ?), (?, 'k', 'c') {update}", (a, b, "b", c)
    )
    assert found.rowcount == (4 if world.engine == "mysql" else 3)  # MySQL counts a changed row twice
    assert world.all(NOTES) == sorted([(a, "k", "new"), (b, "k", "b"), (c, "k", "c")])
    ignore = "INSERT IGNORE" if world.engine == "mysql" else "INSERT OR IGNORE"
    assert world.db.execute(f"{ignore} INTO notes VALUES (?, 'k', 'x'), (?, 'l', 'y')", (a, b)).rowcount == 1
    assert world.db.execute("REPLACE INTO notes VALUES (?, 'k', 'z'), (?, 'm', ?)", (a, c, "w")).rowcount == (
        3 if world.engine == "mysql" else 2
    )
    assert world.all(NOTES) == sorted([(a, "k", "z"), (b, "k", "b"), (b, "l", "y"), (c, "k", "c"), (c, "m", "w")])


def test_lastrowid_is_never_that_of_a_row_that_an_upsert_did_not_insert(world: World) -> None:
    key = world.keys[0]
    insert = "INSERT INTO deposits (user_id, ref, amount) VALUES (?, ?, 5)"
    conflict = (
        "ON DUPLICATE KEY UPDATE amount = amount + 1"
        if world.engine == "mysql"
        else "ON CONFLICT (user_id, ref) DO UPDATE SET amount = amount + 1"
    )
    first = world.db.execute(f"{insert} {conflict}", (key, "r"))
    assert world.db.execute("SELECT ref FROM deposits WHERE id = ?", (first.lastrowid,)).scalar() == "r"
    assert world.db.execute(f"{insert} {conflict}", (key, "r")).lastrowid is None
    verb = "INSERT IGNORE" if world.engine == "mysql" else "INSERT OR IGNORE"
    assert world.db.execute(insert.replace("INSERT", verb, 1), (key, "r")).lastrowid is None
    assert world.db.execute(insert.replace("INSERT", verb, 1), (key, "s")).lastrowid is not None
    with world.db.transaction() as tx:
        assert tx.execute(f"{insert} {conflict}", (key, "t")).lastrowid is not None
        assert tx.execute(f"{insert} {conflict}", (key, "t")).lastrowid is None
    assert world.all("SELECT ref, amount FROM deposits") == [("r", 6), ("s", 5), ("t", 6)]


def test_rows_are_copied_on_the_shards_where_they_are(world: World) -> None:
    for nth, key in enumerate(world.keys):
        world.db.execute(DEPOSIT, (key, f"r{nth}", nth + 1))
        world.db.execute(DEPOSIT, (key, f"s{nth}", 10))
    db, key = world.db, world.keys[4]
    assert (
        db.execute("INSERT INTO archive SELECT * FROM deposits WHERE user_id = ? AND amount > ?", (key, 5)).rowcount
        == 1
    )
    assert (
        db.execute(
            "INSERT INTO archive (id, user_id, amount) SELECT id, user_id, amount FROM deposits WHERE amount < ?", (10,)
        ).rowcount
        == 9
    )
    assert world.at_home("archive") and len(world.all("SELECT id FROM archive")) == 10
    total = (
        "INSERT INTO notes SELECT user_id, 'total', SUM(amount) FROM deposits GROUP BY user_id HAVING SUM(amount) > ?"
    )
    assert db.execute(total, (15,)).rowcount == 4
    assert (
        db.execute("INSERT INTO notes SELECT ?, ref, amount FROM deposits WHERE user_id = ?", (key, key)).rowcount == 2
    )
    db.execute("INSERT INTO currencies VALUES ('EUR', 2), ('JPY', 0)")
    assert db.execute("INSERT INTO notes SELECT ?, code, digits FROM currencies", (key,)).rowcount == 2
    some = world.keys[:2]
    assert (
        db.execute("INSERT INTO logins SELECT DISTINCT user_id, 1 FROM deposits WHERE user_id IN (?, ?)", some).rowcount
        == 2
    )
    assert world.at_home("notes") and world.at_home("logins")
    with pytest.raises(ConstraintError):  # two of three users are new: none gets a row
        db.execute("INSERT INTO logins SELECT DISTINCT user_id, 2 FROM deposits WHERE amount = 10")
    assert world.all("SELECT user_id FROM logins") == sorted((one,) for one in some)
    with pytest.raises(CrossShardError, match="different shards"):
        db.execute(
            "INSERT INTO notes SELECT ?, ref, amount FROM deposits WHERE user_id = ?", (world.keys[0], world.keys[1])
        )


def test_a_copy_gives_no_row_an_id_that_another_shard_may_give(world: World, old: tuple[tenfold.Database, int]) -> None:
    db, key = old
    for sql, params in (
        ("INSERT INTO deposits SELECT * FROM archive", ()),
        ("INSERT INTO deposits SELECT * FROM archive WHERE user_id = ?", (key,)),
        (
            "INSERT INTO deposits (id, user_id, amount) SELECT id, user_id, :n FROM archive WHERE user_id = :k",
            {"n": 3, "k": key},
        ),
    ):
        with pytest.raises(CrossShardError, match="the id of a row that is selected of deposits is not one"):
            db.execute(sql, params)
        if params:
            with db.transaction() as tx:
                tx.execute(NOTE, (key, sql[-8:], "before"))
                with pytest.raises(CrossShardError, match="is not one that Tenfold drew"):
                    tx.execute(sql, params)
    assert world.all("SELECT id FROM deposits") == [] and len(world.all(NOTES)) == 2


def test_pinned_tables_are_copied_on_their_shard(world: World) -> None:
    world.db.execute("INSERT INTO posts (title) VALUES ('a'), ('b')")
    assert world.db.execute("INSERT INTO drafts (title) SELECT title FROM posts").rowcount == 2


def test_a_changed_unique_value_is_claimed_and_the_old_one_is_free(world: World) -> None:
    a, b, *_ = world.keys
    world.db.executemany("INSERT INTO users (id, email, name) VALUES (?, ?, 'n')", [(a, "a@e"), (b, "b@e")])
    change = "UPDATE users SET email = ? WHERE id = ? -- in a comment"
    assert world.db.execute(change, ("c@e", a)).rowcount == 1
    same = world.db.execute(change, ("c@e", a))
    assert same.rowcount == (0 if world.engine == "mysql" else 1)  # MySQL counts the rows that are not as before
    with pytest.raises(ConstraintError):
        world.db.execute(change, ("b@e", a))
    with world.db.transaction() as tx:
        assert tx.execute("SELECT name FROM users WHERE id = ?", (a,)).scalar() == "n"
        world.db.execute("UPDATE users SET name = 'm' WHERE id = ?", (b,))  # behind the snapshot of the transaction
        assert tx.execute(change, ("a@e", a)).rowcount == 1
        with pytest.raises(ConstraintError):
            tx.execute(change, ("b@e", a))
    assert world.db.execute("DELETE FROM users WHERE email = ?", ("b@e",)).rowcount == 1
    assert world.all("SELECT id, email FROM users") == [(a, "a@e")]
    assert world.site.violations() == []


def test_a_row_changed_behind_a_transactions_back_is_seen_before_its_value_is_freed(world: World) -> None:
    a = world.keys[0]
    world.db.execute("INSERT INTO users (id, email, name) VALUES (?, 'a@e', 'n')", (a,))
    with world.db.transaction() as tx:
        assert tx.execute("SELECT email FROM users WHERE id = ?", (a,)).scalar() == "a@e"  # its snapshot
        beside = "UPDATE users SET email = 'b@e' WHERE id = ?"
        if world.engine == "mysql":
            assert world.db.execute(beside, (a,)).rowcount == 1
        else:
            with pytest.raises(NodeError, match="stayed locked"):
                world.db.execute(beside, (a,))
        assert tx.execute("DELETE FROM users WHERE id = ?", (a,)).rowcount == 1
    assert world.site.violations() == []


def test_statements_over_all_shards_that_meet_do_not_lose_a_change(world: World) -> None:
    for key in world.keys:
        world.db.execute(DEPOSIT, (key, "r", 1))
    done: list[int] = []
    odd: list[BaseException] = []

    def add(db: tenfold.Database) -> None:
        for _ in range(5):
            try:
                db.execute("UPDATE deposits SET amount = amount + 1")
                done.append(1)
            except NodeError as error:  # waited too long for the other, and undone
                odd.extend([] if error.retryable else [error])
            except BaseException as error:
                odd.append(error)

    threads = [threading.Thread(target=add, args=(world.db,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert odd == [] and done
    assert {row[0] for row in world.all("SELECT amount FROM deposits")} == {1 + len(done)}


def test_a_shard_that_fails_before_any_has_committed_undoes_the_others(world: World) -> None:
    for key in world.keys:
        world.db.execute(NOTE, (key, "n", "v"))
    lost = world.site.shards[2]
    world.site.look(lost, "ALTER TABLE notes RENAME TO hidden")
    try:
        for sql, params in (
            ("UPDATE notes SET value = 'x'", ()),
            ("DELETE FROM notes", ()),
            ("INSERT INTO notes VALUES (?, 'p', 'q'), (?, 'p', 'q'), (?, 'p', 'q')", world.keys[:3]),
        ):
            with pytest.raises(StatementError):
                world.db.execute(sql, params)
    finally:
        world.site.look(lost, "ALTER TABLE hidden RENAME TO notes")
    assert world.all(NOTES) == sorted((key, "n", "v") for key in world.keys)
