"""Transactions on one shard: all or nothing, whatever goes wrong inside. Edge."""

from __future__ import annotations

import threading
import time

import pytest

import tenfold
from tenfold.errors import (
    ConstraintError,
    CrossShardError,
    NodeError,
    PlatformError,
    StatementError,
    TenfoldError,
)
from tenfold.sharding.keys import KeyType, bucket_of
from tests.sharding.engine.sites import Site

INTEGER = KeyType.INTEGER
SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"
DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
RENAME = "UPDATE users SET email = ? WHERE id = ?"


def emails(site: Site) -> set[str]:
    return {email for rows in site.look_everywhere("SELECT email FROM users").values() for (email,) in rows}


def amounts(site: Site) -> list[int]:
    rows = site.look_everywhere("SELECT amount FROM deposits")
    return sorted(amount for found in rows.values() for (amount,) in found)


def test_a_block_that_ends_is_stored_and_one_that_raises_is_not(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    with db.transaction() as tx:
        tx.execute(SIGN_UP, (key, "a@example.org"))
        assert tx.execute(DEPOSIT, (key, 5)).lastrowid
        assert tx.execute("SELECT SUM(amount) FROM deposits WHERE user_id = ?", (key,)).scalar() == 5
        assert amounts(site) == []
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:  # noqa: PT012
        tx.execute(DEPOSIT, (key, 7))
        tx.execute(RENAME, ("b@example.org", key))
        raise ZeroDivisionError
    assert amounts(site) == [5] and emails(site) == {"a@example.org"}
    assert site.violations() == []
    with pytest.raises(KeyboardInterrupt), db.transaction() as tx:  # noqa: PT012
        tx.execute(RENAME, ("c@example.org", key))
        raise KeyboardInterrupt
    assert emails(site) == {"a@example.org"} and site.violations() == []


def test_a_statement_of_another_shard_is_refused_and_the_transaction_goes_on(site: Site, db: tenfold.Database) -> None:
    here, there = site.key("shard_1"), site.key("shard_2")
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (here, 1))
        for sql, params in (
            (DEPOSIT, (there, 2)),
            (SIGN_UP, (there, "a@example.org")),
            ("UPDATE deposits SET amount = 3 WHERE user_id = ?", (there,)),
            ("SELECT * FROM deposits WHERE user_id = ?", (there,)),
            ("SELECT * FROM deposits", ()),
            ("INSERT INTO posts (title) VALUES ('x')", ()),
            ("INSERT INTO currencies (code) VALUES ('EUR')", ()),
            ("CREATE TABLE posts (id INTEGER)", ()),
        ):
            with pytest.raises(CrossShardError) as caught:
                tx.execute(sql, params)
            assert caught.value.hint, sql
        tx.execute(DEPOSIT, (here, 4))
    assert amounts(site) == [1, 4]
    assert site.violations() == [] and emails(site) == set()


def test_rows_for_several_shards_leave_nothing_in_a_transaction(site: Site, db: tenfold.Database) -> None:
    here, there = site.key("shard_1"), site.key("shard_2")
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (here, 4))
        for sql, rows in (
            (DEPOSIT, [(here, 1), (there, 2)]),
            (SIGN_UP, [(here, "a@example.org"), (there, "b@example.org")]),
            ("UPDATE deposits SET amount = 9 WHERE user_id = ?", [(here,), (there,)]),
        ):
            with pytest.raises(CrossShardError) as caught:
                tx.executemany(sql, rows)
            assert "are stored" not in str(caught.value)
    with db.transaction() as tx, pytest.raises(CrossShardError):  # as the first statement, too
        tx.executemany(DEPOSIT, [(here, 1), (there, 2)])
    assert amounts(site) == [4] and emails(site) == set() and site.violations() == []


def test_reading_what_every_shard_has_does_not_choose_the_shard(site: Site, db: tenfold.Database) -> None:
    db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
    for shard in site.shards:
        with db.transaction() as tx:
            assert tx.execute("SELECT digits FROM currencies WHERE code = 'EUR'").scalar() == 2
            assert tx.execute("SELECT 1").scalar() == 1
            # Nobody has the address: no shard knows more than another.
            for other in site.shards:
                assert tx.execute("SELECT id FROM users WHERE email = ?", (site.address(other),)).rows == []
            tx.execute(DEPOSIT, (site.key(shard), 1))
            for other in site.shards:
                assert tx.execute("SELECT id FROM users WHERE email = ?", (site.address(other),)).first() is None
    assert [len(found) for found in site.look_everywhere("SELECT * FROM deposits").values()] == [1, 1, 1]


def test_a_refused_row_leaves_the_transaction_usable(site: Site, db: tenfold.Database) -> None:
    key, other = site.key("shard_1"), site.key("shard_1", 1)
    db.execute(SIGN_UP, (site.key("shard_0"), "taken@example.org"))
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 1))
        with pytest.raises(ConstraintError):
            tx.execute(DEPOSIT, (key, -1))
        with pytest.raises(ConstraintError):
            tx.execute(SIGN_UP, (key, "taken@example.org"))
        with pytest.raises(StatementError):
            tx.execute("SELECT nothing FROM deposits WHERE user_id = ?", (key,))
        tx.execute(SIGN_UP, (key, "a@example.org"))
        with pytest.raises(ConstraintError):  # the id is taken, so the address must not stay reserved
            tx.execute(SIGN_UP, (key, "b@example.org"))
        with pytest.raises(ConstraintError):
            tx.executemany(DEPOSIT, [(key, 2), (key, -2)])
        with pytest.raises(ConstraintError):
            tx.executemany(SIGN_UP, [(other, "c@example.org"), (key, "d@example.org")])
        tx.execute(SIGN_UP, (other, "b@example.org"))
    assert amounts(site) == [1] and emails(site) == {"taken@example.org", "a@example.org", "b@example.org"}
    assert site.violations() == []


def test_a_value_that_the_transaction_itself_took_is_taken_at_once(site: Site, db: tenfold.Database) -> None:
    key, other = site.key("shard_1"), site.key("shard_1", 1)
    started = time.monotonic()
    with db.transaction() as tx:
        tx.execute(SIGN_UP, (key, "a@example.org"))
        with pytest.raises(ConstraintError, match="taken, by this very transaction") as caught:
            tx.execute(SIGN_UP, (other, "a@example.org"))
        assert not caught.value.retryable
        tx.execute("UPDATE users SET email = 'a@example.org', name = 'x' WHERE id = ?", (key,))
        tx.execute(SIGN_UP, (other, "b@example.org"))
    assert time.monotonic() - started < 0.2, "waited for itself"
    assert emails(site) == {"a@example.org", "b@example.org"} and site.violations() == []


def test_changing_one_unique_value_twice_in_a_transaction_is_refused_by_name(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    db.execute(SIGN_UP, (key, "a@example.org"))
    with db.transaction() as tx:
        tx.execute(RENAME, ("b@example.org", key))
        for second in ("c@example.org", "a@example.org", None):
            with pytest.raises(CrossShardError, match="already changed the row") as caught:
                tx.execute(RENAME, (second, key))
            assert "commit in between" in caught.value.hint and not caught.value.retryable
        with pytest.raises(CrossShardError, match="already changed"):
            tx.execute("DELETE FROM users WHERE id = ?", (key,))
    assert emails(site) == {"b@example.org"} and site.violations() == []


def test_insert_or_fail_keeps_no_row_whose_value_is_not_reserved(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    other = next(k for k in site.keys("shard_1") if k != key and bucket_of(k, INTEGER) == bucket_of(key, INTEGER))
    db.execute(SIGN_UP, (key, "a@example.org"))
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 1))
        for verb in ("INSERT OR FAIL", "INSERT OR ABORT"):
            # The planner may refuse it; where it does not, the first row must go with the second.
            with pytest.raises(TenfoldError):
                tx.executemany(f"{verb} INTO users (id, email) VALUES (?, ?)", [(other, "b@e.org"), (key, "c@e.org")])
            with pytest.raises(TenfoldError):
                tx.execute(f"{verb} INTO users (id, email) VALUES (?, ?), (?, ?)", (other, "b@e.org", key, "c@e.org"))
    assert emails(site) == {"a@example.org"} and amounts(site) == [1] and site.violations() == []


def test_a_transaction_that_the_database_undid_does_not_go_on_without_one(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    row = db.new_id("deposits", key)
    with pytest.raises(NodeError, match="shard_1 has undone the transaction") as caught, db.transaction() as tx:  # noqa: PT012
        tx.execute("INSERT INTO deposits (id, user_id, amount) VALUES (?, ?, 1)", (row, key))
        with pytest.raises(ConstraintError):
            tx.execute("INSERT OR ROLLBACK INTO deposits (id, user_id, amount) VALUES (?, ?, 1)", (row, key))
        with pytest.raises(NodeError, match="has undone the transaction"):
            tx.execute(DEPOSIT, (key, 2))
        with pytest.raises(NodeError, match="has undone the transaction"):
            tx.execute(SIGN_UP, (key, "a@example.org"))
        # The commit at the end of the block must not pass for one.
    assert "run all of it again" in caught.value.hint
    assert amounts(site) == []
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 3))
    assert amounts(site) == [3]
    site.sweep()
    assert site.violations() == []


def test_a_constraint_that_fails_at_the_commit_frees_its_values_at_once(site: Site, db: tenfold.Database) -> None:
    for shard in site.shards:
        site.look(shard, "CREATE TABLE limits (user_id INTEGER PRIMARY KEY)")
        site.look(shard, "DROP TABLE users")
        site.look(
            shard,
            "CREATE TABLE users (id INTEGER PRIMARY KEY REFERENCES limits DEFERRABLE INITIALLY DEFERRED, email TEXT)",
        )
    with pytest.raises(ConstraintError, match="FOREIGN KEY"), db.transaction() as tx:
        tx.execute(SIGN_UP, (site.key("shard_1"), "a@example.org"))
    assert emails(site) == set() and site.violations() == []
    with pytest.raises(ConstraintError, match="FOREIGN KEY"):
        db.execute(SIGN_UP, (site.key("shard_1"), "a@example.org"))
    assert site.violations() == []


def test_what_a_trigger_does_to_a_unique_value_is_not_believed(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    site.look("shard_1", "CREATE TRIGGER no BEFORE INSERT ON users BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StatementError, match="changed 0 rows where the statement changes 1"):
        db.execute(SIGN_UP, (key, "a@example.org"))
    with db.transaction() as tx, pytest.raises(StatementError, match="a trigger of the table"):
        tx.execute(SIGN_UP, (key, "a@example.org"))
    assert site.violations() == []


def test_a_transaction_is_of_no_use_after_its_end(site: Site, db: tenfold.Database) -> None:
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (site.key("shard_1"), 1))
    with pytest.raises(PlatformError, match="has ended"):
        tx.execute(DEPOSIT, (site.key("shard_1"), 2))
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        raise ZeroDivisionError
    with pytest.raises(PlatformError, match="has ended"):
        tx.executemany(DEPOSIT, [(site.key("shard_1"), 2)])
    with db.transaction():
        pass  # an empty one is none
    assert amounts(site) == [1]


def test_a_second_transaction_on_the_same_shard_inside_the_first_says_who_waits(
    site: Site, db: tenfold.Database
) -> None:
    key = site.key("shard_1")
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 1))
        with pytest.raises(NodeError, match=r"shard_1 stayed locked for 0\.2 s") as caught, db.transaction() as inner:
            inner.execute(DEPOSIT, (key, 2))
        assert caught.value.retryable and "long transaction" in caught.value.hint
        with db.transaction() as other:  # on another shard nobody waits
            other.execute(DEPOSIT, (site.key("shard_2"), 3))
    assert amounts(site) == [1, 3]


def test_a_process_with_one_connection_a_shard_can_work_in_transactions(site: Site) -> None:
    site.write(settings="pool_size = 1\npool_wait_s = 5.0")
    started = time.monotonic()
    with site.connect() as db, db.transaction() as tx:
        key = site.key("shard_0")
        tx.execute("UPDATE deposits SET amount = 1 WHERE user_id = ?", (key,))
        # Planning meets a table for the first time, while the only connection is the transaction's.
        tx.execute(SIGN_UP, (key, "a@example.org"))
        tx.execute(DEPOSIT, (key, 1))
    assert amounts(site) == [1] and time.monotonic() - started < 2


def test_transactions_of_many_threads_on_one_shard_come_one_after_the_other(site: Site) -> None:
    site.write(settings="lock_wait_s = 20.0\npool_wait_s = 20.0")
    key, db = site.key("shard_0"), site.connect()
    db.execute(DEPOSIT, (key, 1))
    failures: list[BaseException] = []

    def count_up() -> None:
        try:
            for _ in range(10):
                with db.transaction() as tx:
                    amount = tx.execute("SELECT amount FROM deposits WHERE user_id = ?", (key,)).scalar()
                    tx.execute("UPDATE deposits SET amount = ? WHERE user_id = ?", (amount + 1, key))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.close()
    assert failures == [] and amounts(site) == [61]
