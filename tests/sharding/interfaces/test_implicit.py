"""The transaction that a connection begins by itself, and what stays outside it, on both engines. Edge."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from types import FrameType

import pymysql
import pytest

from tenfold import dbapi, errors
from tests.sharding.engine.sites import Site
from tests.sharding.interfaces.conftest import Connect

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (%s, %s)"
TOTAL = "SELECT SUM(amount) FROM deposits WHERE user_id = %s"


def amounts(site: Site) -> list[int]:
    """What is committed, seen from outside."""
    rows = site.look_everywhere("SELECT amount FROM deposits")
    return sorted(amount for found in rows.values() for (amount,) in found)


def pending(connection: dbapi.Connection) -> bool:
    return connection.in_transaction


def test_the_first_write_begins_a_transaction_and_commit_ends_it(site: Site, connection: dbapi.Connection) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    cursor.execute("SELECT COUNT(*) FROM deposits WHERE user_id = %s", (key,))
    assert not pending(connection)
    connection.commit()
    connection.rollback()
    cursor.execute(DEPOSIT, (key, 1))
    assert pending(connection) and amounts(site) == []
    cursor.executemany(DEPOSIT, [(key, 2), (key, 3)])
    assert connection.cursor().execute(TOTAL, (key,)).fetchone() == (6,), "cursors of one connection are not isolated"
    connection.commit()
    assert not pending(connection) and amounts(site) == [1, 2, 3]


def test_a_rollback_and_a_close_undo_what_is_pending(site: Site, connect: Connect) -> None:
    key, connection = site.key("shard_1"), connect()
    connection.cursor().execute(DEPOSIT, (key, 1))
    connection.rollback()
    assert not pending(connection)
    connection.cursor().execute("INSERT INTO users (id, email) VALUES (%s, %s)", (key, "a@example.org"))
    connection.close()
    assert amounts(site) == [] and site.violations() == []
    other = connect()
    assert other.cursor().execute("SELECT COUNT(*) FROM users WHERE id = %s", (key,)).fetchone() == (0,)


def test_what_one_transaction_reserved_is_no_business_of_the_next(site: Site, connection: dbapi.Connection) -> None:
    sign_up = "INSERT INTO users (id, email) VALUES (%s, %s)"
    connection.cursor().execute(sign_up, (site.key("shard_1"), "a@example.org"))
    connection.commit()
    connection.cursor().execute(sign_up, (site.key("shard_1", 1), "b@example.org"))
    connection.rollback()
    connection.cursor().execute(sign_up, (site.key("shard_2"), "b@example.org"))
    connection.commit()
    assert site.violations() == []


def test_reads_of_all_shards_see_what_the_transaction_has_written(site: Site, connect: Connect) -> None:
    here, there = site.key("shard_1"), site.key("shard_2")
    connection, other = connect(), connect()
    other.cursor().execute(DEPOSIT, (there, 10))
    other.commit()
    cursor = connection.cursor()
    cursor.execute(DEPOSIT, (here, 1))
    assert cursor.execute(TOTAL, (here,)).fetchone() == (1,)
    assert cursor.execute(TOTAL, (there,)).fetchone() == (10,)
    assert sorted(cursor.execute("SELECT amount FROM deposits").fetchall()) == [(1,), (10,)]
    assert cursor.execute("SELECT amount FROM deposits WHERE user_id IN (%s, %s)", (here, there)).rowcount == 2
    assert pending(connection) and amounts(site) == [10]
    assert other.cursor().execute("SELECT amount FROM deposits").fetchall() == [(10,)]
    connection.rollback()


def test_a_write_to_another_shard_is_refused_and_the_transaction_goes_on(
    site: Site, connection: dbapi.Connection
) -> None:
    here, there = site.key("shard_1"), site.key("shard_2")
    cursor = connection.cursor()
    cursor.execute(DEPOSIT, (here, 1))
    for sql, rows in (
        (DEPOSIT, [(there, 2)]),
        (DEPOSIT, [(here, 2), (there, 2)]),
        ("INSERT INTO posts (title) VALUES (%s)", [("x",)]),
        ("DELETE FROM deposits WHERE user_id = %s", [(there,)]),
    ):
        with pytest.raises(dbapi.NotSupportedError) as caught:
            cursor.executemany(sql, rows)
        assert isinstance(caught.value, errors.CrossShardError)
        assert "connection.autocommit = True" in caught.value.hint
        assert pending(connection)
    cursor.execute(DEPOSIT, (here, 4))
    connection.commit()
    assert amounts(site) == [1, 4] and site.violations() == []


def test_rows_of_several_shards_as_the_first_write_leave_nothing_pending(
    site: Site, connection: dbapi.Connection
) -> None:
    rows = [(site.key("shard_1"), 1), (site.key("shard_2"), 2)]
    with pytest.raises(dbapi.NotSupportedError):
        connection.cursor().executemany(DEPOSIT, rows)
    assert not pending(connection) and amounts(site) == []
    connection.autocommit = True
    connection.cursor().executemany(DEPOSIT, rows)
    assert not pending(connection) and amounts(site) == [1, 2]


def test_schema_and_reference_tables_are_written_outside_any_transaction(site: Site, connect: Connect) -> None:
    connection, key = connect(), site.key("shard_1")
    cursor = connection.cursor()
    cursor.execute(DEPOSIT, (key, 1))
    refused = (
        "INSERT INTO currencies (code, digits) VALUES ('EUR', 2)",
        "CREATE INDEX deposits_by_amount ON deposits (amount)",
    )
    for sql in refused:
        with pytest.raises(dbapi.NotSupportedError) as caught:
            cursor.execute(sql)
        assert "commit or roll back first" in caught.value.hint and pending(connection)
    connection.rollback()
    assert amounts(site) == []
    cursor.execute(refused[0])
    assert cursor.rowcount == 1 and not pending(connection)
    connection.rollback()
    assert connect().cursor().execute("SELECT code FROM currencies").fetchall() == [("EUR",)]
    cursor.execute(refused[1])
    cursor.execute("ALTER TABLE deposits ADD COLUMN note TEXT")
    cursor.execute("UPDATE deposits SET note = 'x' WHERE user_id = %s", (key,))
    connection.rollback()
    cursor.execute("ALTER TABLE deposits DROP COLUMN note")
    for shard in site.shards:
        gone = "DROP INDEX deposits_by_amount" + ("" if site.engine == "sqlite" else " ON deposits")
        site.look(shard, gone)


def test_a_first_write_that_fails_holds_no_lock(site: Site, connect: Connect) -> None:
    key, connection = site.key("shard_1"), connect()
    with pytest.raises(dbapi.IntegrityError):
        connection.cursor().execute(DEPOSIT, (key, -1))
    assert not pending(connection)
    other = connect()
    other.cursor().execute(DEPOSIT, (key, 2))  # SQLite has one writer at a time
    other.commit()
    assert amounts(site) == [2]


def test_a_later_statement_that_fails_leaves_the_transaction_to_its_owner(
    site: Site, connection: dbapi.Connection
) -> None:
    cursor, key = connection.cursor(), site.key("shard_1")
    cursor.execute(DEPOSIT, (key, 1))
    for sql, params in ((DEPOSIT, (key, -1)), ("SELECT nothing FROM deposits WHERE user_id = %s", (key,))):
        with pytest.raises(dbapi.DatabaseError):
            cursor.execute(sql, params)
        assert pending(connection)
    cursor.execute(DEPOSIT, (key, 2))
    connection.commit()
    cursor.execute(DEPOSIT, (key, 3))
    with pytest.raises(dbapi.IntegrityError):
        cursor.execute(DEPOSIT, (key, -1))
    connection.rollback()
    assert amounts(site) == [1, 2]


def test_with_autocommit_each_statement_stands_alone(site: Site, connect: Connect) -> None:
    connection, key = connect(autocommit=True), site.key("shard_1")
    assert connection.autocommit is True
    connection.cursor().execute(DEPOSIT, (key, 1))
    assert not pending(connection) and amounts(site) == [1]
    connection.rollback()
    connection.autocommit = False
    connection.cursor().execute(DEPOSIT, (key, 2))
    with pytest.raises(dbapi.ProgrammingError, match="is pending") as caught:
        connection.autocommit = True
    assert "commit or roll back first" in caught.value.hint
    connection.rollback()
    connection.autocommit = True
    assert amounts(site) == [1]


def test_a_locking_read_begins_the_transaction(on_mariadb: Site) -> None:
    key, there = on_mariadb.key("shard_1"), on_mariadb.key("shard_2")
    on_mariadb.look("shard_1", "INSERT INTO deposits VALUES (1, ?, 5)", (key,))
    change = "UPDATE deposits SET amount = amount + 1 WHERE user_id = %s"
    with dbapi.connect(on_mariadb.file) as first, dbapi.connect(on_mariadb.file) as second:
        for ending in ("LOCK IN SHARE MODE", "FOR UPDATE"):
            first.commit()
            for stream in (True, False):
                first.rollback()
                locked = first.cursor(stream=stream)
                locked.execute(f"SELECT amount FROM deposits WHERE user_id = %s {ending}", (key,))
                assert pending(first) and locked.fetchall() == [(5,)]
            with pytest.raises(dbapi.NotSupportedError):
                first.cursor().execute(f"SELECT amount FROM deposits WHERE user_id = %s {ending}", (there,))
        with pytest.raises(dbapi.OperationalError) as caught:
            second.cursor().execute(change, (key,))
        assert caught.value.retryable and not pending(second)
        first.commit()
        second.cursor().execute(change, (key,))


def test_an_interrupted_statement_undoes_its_transaction(on_mariadb: Site) -> None:
    key = on_mariadb.key("shard_1")

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with dbapi.connect(on_mariadb.file) as connection:
            cursor = connection.cursor()
            cursor.execute(DEPOSIT, (key, 1))
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                cursor.execute("SELECT SLEEP(1) FROM deposits WHERE user_id = %s", (key,))
            assert time.monotonic() - started < 0.8
            for use in (lambda: cursor.execute(DEPOSIT, (key, 2)), connection.commit):
                with pytest.raises(dbapi.OperationalError, match="the transaction is undone") as caught:
                    use()
                assert "rollback()" in caught.value.hint
            connection.rollback()
            # What the interrupted statement would have answered is nobody else's answer.
            told = "SELECT %s FROM deposits WHERE user_id = %s"
            cursor.execute(DEPOSIT, (key, 3))
            assert [cursor.execute(told, (n, key)).fetchall() for n in range(3)] == [[(0,)], [(1,)], [(2,)]]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert amounts(on_mariadb) == [3]


def test_a_commit_in_doubt_is_told_and_taints_no_later_transaction(on_mariadb: Site) -> None:
    key = on_mariadb.key("shard_1")
    with dbapi.connect(on_mariadb.file) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO users (id, email) VALUES (%s, 'a@example.org')", (key,))
        with on_mariadb.client("shard_1") as client, client.cursor() as killer:
            killer.execute(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in killer.fetchall():
                with suppress(pymysql.err.OperationalError):  # has gone by itself
                    killer.execute(f"KILL {number}")
        with pytest.raises(dbapi.OperationalError) as caught:
            connection.commit()
        assert caught.value.retryable and not pending(connection)
        cursor.execute(DEPOSIT, (key, 1))
        connection.commit()
    assert amounts(on_mariadb) == [1]
    on_mariadb.sweep()
    assert on_mariadb.violations() == []


def test_a_child_of_a_fork_leaves_the_transaction_of_its_parent_alone(site: Site, connection: dbapi.Connection) -> None:
    key, cursor = site.key("shard_1"), connection.cursor()
    cursor.execute(DEPOSIT, (key, 1))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for use in (lambda: cursor.execute(DEPOSIT, (key, 2)), connection.commit):
                with pytest.raises(dbapi.OperationalError, match="is the parent's"):
                    use()
            connection.rollback()
            assert cursor.execute("SELECT COUNT(*) FROM deposits WHERE user_id = %s", (key,)).fetchone() == (0,)
            cursor.execute("INSERT INTO posts (title) VALUES ('from the child')")
            connection.commit()
            connection.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cursor.execute(DEPOSIT, (key, 4))
    connection.commit()
    assert amounts(site) == [1, 4]
    assert cursor.execute("SELECT title FROM posts").fetchall() == [("from the child",)]
