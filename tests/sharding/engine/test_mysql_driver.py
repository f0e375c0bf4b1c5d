"""The driver on real MariaDB servers: values, transactions, limits, rows that come as they are wanted. Edge."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import ConstraintError, NodeError, StatementError
from tenfold.sharding.engine.mysql import DRAIN_ROWS, MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions, mysql_options
from tenfold.sharding.engine.router import opener
from tenfold.sharding.ports import Reply
from tenfold.topology.parse import parse
from tests.mariadb import Server, fresh_databases, options_of, server
from tests.sharding.engine.driving import SHORT, told
from tests.support import wait_for

# Not "Questions": the good-byes of earlier connections are among them, whenever they come.
COUNT = """
    SELECT SUM(variable_value) FROM information_schema.global_status
    WHERE variable_name LIKE 'com\\_%' AND variable_name NOT LIKE '%admin%' AND variable_name NOT LIKE '%stmt%'
"""


def statements(server: Server, act: Callable[[], object]) -> int:
    """How many statements the server was sent by `act`."""
    counts: list[int] = []
    for moment in range(3):
        counts.append(int(server.sql(COUNT)[0][0]))
        if moment == 1:
            act()
    return counts[2] - counts[1] - (counts[1] - counts[0])  # without those of counting


def test_values_come_back_as_they_went_in(driver: MysqlDriver) -> None:
    driver.execute(
        "CREATE TABLE v (t TEXT, b BLOB, i BIGINT UNSIGNED, f DOUBLE, d DECIMAL(65, 30), dt DATETIME(6), da DATE, "
        "ti TIME(6), u VARCHAR(36), n INT)",
        (),
    )
    row = (
        "💧 it's \\ \" \0 \n \x1a % ? :a",
        bytes(range(256)),
        2**64 - 1,
        0.1 + 0.2,
        Decimal("12345678901234567890.123456789012345678901234567891"),
        datetime.fromisoformat("2026-02-28 23:59:59.999999"),
        date(1000, 1, 1),
        -timedelta(hours=200, microseconds=1),
        str(uuid.UUID(int=5)),
        None,
    )
    driver.execute("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    reply = driver.execute("SELECT * FROM v WHERE t = ? AND b = ? AND i = ? AND f = ? AND d = ? AND dt = ?", row[:6])
    assert list(reply.rows) == [row]
    assert reply.columns == ("t", "b", "i", "f", "d", "dt", "da", "ti", "u", "n")
    assert reply.rowcount == 1 and len(reply.types) == 10


def test_rows_are_the_same_whichever_way_they_are_read(driver: MysqlDriver) -> None:
    driver.execute(
        "CREATE TABLE v (id INT, a TINYINT, b BIGINT UNSIGNED, c FLOAT, d DOUBLE, e DECIMAL(20, 5), f BIT(10), g YEAR, "
        "h DATE, i DATETIME(3), j TIMESTAMP NULL, k TIME(6), l CHAR(9), m VARBINARY(9), n LONGTEXT, o BLOB, p JSON, "
        "q ENUM('x', 'ü'), r SET('a', 'b'), s UUID, t INET6)",
        (),
    )
    full = (1, -8, 2**63, 1.5, -2.5e-300, Decimal("-1.50000"), b"\x03\xff", 2026, "2026-01-02",
            "2026-01-02 03:04:05.678", "2026-01-02 03:04:05", "-100:00:00.000001", "💧", b"\0\xff", "", b"",
            '{"a": 1}', "ü", "a,b", uuid.UUID(int=7), "::1")  # fmt: skip
    for n, text in enumerate(["", "x" * 250, "x" * 251, "ü" * 300, "x" * 65_535, "x" * 65_536]):
        driver.execute(f"INSERT INTO v VALUES ({', '.join('?' * 21)})", (n, *full[1:14], text, *full[15:]))
    driver.execute("INSERT INTO v (id, h, i) VALUES (99, NULL, NULL)", ())
    sql = "SELECT * FROM v WHERE id <= ? ORDER BY id"
    for last in (0, 1, 2, 3, 4, 5, 6, 99):
        streamed = driver.execute(sql, (last,), stream=True).cursor
        assert streamed is not None
        theirs = tuple(streamed.fetch(100))  # PyMySQL's own reading
        for _ in range(2):
            reply = driver.execute(sql, (last,))
            assert tuple(reply.rows) == theirs and reply.types == streamed.types
            assert [[type(item) for item in row] for row in reply.rows] == [[type(x) for x in row] for row in theirs]
    for _ in range(2):
        assert tuple(driver.execute("SELECT * FROM v WHERE id < 0", ()).rows) == ()
        assert tuple(driver.execute("SELECT NULL, '', 0", ()).rows) == ((None, "", 0),)


def test_the_second_result_of_a_procedure_is_passed_over(driver: MysqlDriver) -> None:
    driver.execute("CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS a; END", ())
    for _ in range(3):
        assert tuple(driver.execute("CALL two()", ()).rows) == ((1,),)
        assert tuple(driver.execute("SELECT 3 AS a", ()).rows) == ((3,),)


def test_no_text_breaks_out_of_its_quotes(driver: MysqlDriver) -> None:
    seed = 20261123
    chance = random.Random(seed)
    texts = ["".join(chance.choices("'\"\\`%?:;-/*#\0\n\x1a \xa5\u2019\U0001f4a7a", k=12)) for _ in range(300)]
    texts += ["' OR 1=1 -- ", "\\' OR 1=1 -- ", "\\", "''", "\\\\'", "*/", "\xbf\x27", "%s", "\ufb00"]
    print(f"seed {seed}")
    columns = ", ".join(["HEX(?)"] * len(texts))
    (row,) = driver.execute(f"SELECT {columns}", texts).rows
    assert [bytes.fromhex(item).decode() for item in row] == texts
    named = ", ".join(f"HEX(:p{n})" for n in range(len(texts)))
    assert driver.execute(f"SELECT {named}", {f"p{n}": text for n, text in enumerate(texts)}).rows == (row,)


def test_bytes_meet_text_and_numbers_as_text_and_never_as_numbers(driver: MysqlDriver) -> None:
    (row,) = driver.execute("SELECT ? = 'a', ? + 1, ? = 0x61, HEX(?)", (b"a", b"41", b"a", b"")).rows
    assert row == (1, 42, 1, "")


def test_one_text_is_one_statement(driver: MysqlDriver) -> None:
    driver.execute("INSERT INTO notes (rank) VALUES (1)", ())
    with told(StatementError, "syntax", False):
        driver.execute("SELECT 1; DROP TABLE notes", ())
    with told(StatementError, "local infile", False):
        driver.execute("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE notes", ())
    assert driver.execute("SELECT COUNT(*) FROM notes", ()).rows[0] == (1,)


def test_a_text_that_is_no_text_is_refused_and_the_connection_goes_on(driver: MysqlDriver) -> None:
    with told(StatementError, "surrogate", False):
        driver.execute("SELECT ?", ("\ud83d",))
    with told(StatementError, "surrogate", False):
        driver.execute_many("INSERT INTO notes (body, rank) VALUES (?, 1)", [("\ud83d",)])
    assert driver.execute("SELECT 1", ()).rows[0] == (1,)


def test_a_write_says_how_many_rows_it_changed_and_what_id_the_server_gave(driver: MysqlDriver) -> None:
    assert driver.execute("INSERT INTO notes (rank) VALUES (1), (2)", ()).rowcount == 2
    assert driver.execute("INSERT INTO notes (rank) VALUES (3)", ()).lastrowid == 3
    reply = driver.execute("UPDATE notes SET rank = 2", ())
    assert (reply.rowcount, reply.lastrowid, reply.columns) == (2, None, ())  # that of 2 is 2 already


def test_connecting_and_reading_take_no_more_round_trips_than_they_must(
    three_servers: list[Server], options: MysqlOptions
) -> None:
    opened: list[MysqlDriver] = []
    assert statements(three_servers[0], lambda: opened.append(MysqlDriver(options))) == 1  # the pins
    with closing(opened[0]) as driver:
        assert statements(three_servers[0], lambda: driver.execute("SELECT ?", (1,))) == 1
        assert statements(three_servers[0], driver.begin) == 1
        assert statements(three_servers[0], lambda: driver.execute("UPDATE notes SET rank = ?", (1,))) == 1
        assert statements(three_servers[0], driver.commit) == 1


def test_a_session_is_pinned_whatever_the_server_is_set_to(mariadb_pattern: Path, library: str) -> None:
    options = [
        "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY", "--default-time-zone=+05:00",
        "--character-set-server=latin1", "--autocommit=0", "--max-allowed-packet=2M",
    ]  # fmt: skip
    with (
        server(mariadb_pattern, options) as started,
        closing(MysqlDriver(options_of(started.create("d"), driver=library, **SHORT))) as driver,
    ):
        (row,) = driver.execute(
            "SELECT @@sql_mode, @@time_zone, @@character_set_connection, @@character_set_results, @@autocommit, "
            '@@innodb_lock_wait_timeout, @@lock_wait_timeout, @@max_statement_time, "\\\\", ?',
            ("' \\' 💧",),
        ).rows
        modes = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
        assert row == (modes, "+00:00", "utf8mb4", "utf8mb4", 1, 1, 1, 5, "\\", "' \\' 💧")
        with told(StatementError, "bytes, shard_0 takes 2,097,152", False):
            driver.execute("SELECT LENGTH(?)", ("x" * 2_100_000,))
        assert driver.execute("SELECT LENGTH(?)", ("x" * 2_000_000,)).rows == ((2_000_000,),)


def test_many_rows_go_out_as_few_statements(three_servers: list[Server], driver: MysqlDriver) -> None:
    rows = [(f"{n} {'💧' * 50}", n) for n in range(20_000)]
    replies: list[Reply] = []
    sql = "INSERT INTO notes (body, rank) VALUES (?, ?)"
    sent = statements(three_servers[0], lambda: replies.append(driver.execute_many(sql, rows)))
    assert sent < 10 and replies[0].rowcount == 20_000
    assert driver.execute("SELECT COUNT(*), SUM(rank), MAX(LENGTH(body)) FROM notes", ()).rows == (
        (20_000, sum(range(20_000)), 206),
    )
    changed = driver.execute_many(
        "UPDATE notes SET rank = :rank WHERE id = :id", [{"id": n, "rank": 0} for n in (1, 2)]
    )
    assert changed.rowcount == 1  # that of id 1 was 0 already
    assert driver.execute_many("INSERT INTO notes (rank) VALUES (?)", []).rowcount == 0


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("sql", ["INSERT INTO notes (body, rank) VALUES (?, ?)", "INSERT notes SET body = ?, rank = ?"])
def test_many_rows_are_all_there_or_none(driver: MysqlDriver, sql: str, inside: bool) -> None:
    rows = [("x" * 500_000, n if n < 6 else None) for n in range(7)]  # the last is refused, in a statement of its own
    if inside:
        driver.begin()
        driver.execute("INSERT INTO notes (rank) VALUES (42)", ())
    with told(ConstraintError, "rank", False):
        driver.execute_many(sql, rows)
    if inside:
        driver.commit()
    assert driver.execute("SELECT rank FROM notes", ()).rows == (((42,),) if inside else ())


def test_a_transaction_is_kept_or_undone_whole(driver: MysqlDriver, options: MysqlOptions) -> None:
    with closing(MysqlDriver(options)) as other:
        driver.begin()
        driver.execute("INSERT INTO notes (rank) VALUES (1)", ())
        assert other.execute("SELECT COUNT(*) FROM notes", ()).rows == ((0,),)
        driver.rollback()
        driver.rollback()  # nothing is open
        driver.begin()
        driver.execute("INSERT INTO notes (rank) VALUES (2)", ())
        driver.commit()
        assert other.execute("SELECT rank FROM notes", ()).rows == ((2,),)


def test_after_a_deadlock_nothing_more_is_written_in_that_transaction(
    driver: MysqlDriver, options: MysqlOptions, three_servers: list[Server]
) -> None:
    driver.execute("INSERT INTO notes (rank) VALUES (0), (0)", ())
    with closing(MysqlDriver(options)) as other:
        for one, row in ((driver, 1), (other, 2)):
            one.begin()
            one.execute("UPDATE notes SET rank = rank + 1 WHERE id = ?", (row,))
        waiting = threading.Thread(target=lambda: other.execute("UPDATE notes SET rank = 7 WHERE id = 1", ()))
        other.execute("INSERT INTO notes (rank) VALUES (9), (9)", ())  # the heavier one is spared
        waiting.start()
        wait_for(lambda: three_servers[0].status("Innodb_row_lock_current_waits"), "the other waits for the first row")
        with told(NodeError, "undid the transaction", True):
            driver.execute("UPDATE notes SET rank = 7 WHERE id = 2", ())
        waiting.join()
        with told(NodeError, "has ended the transaction", True):
            driver.execute("INSERT INTO notes (rank) VALUES (5)", ())
        with told(NodeError, "has ended the transaction", True):
            driver.commit()
        driver.rollback()
        other.commit()
    assert driver.execute("SELECT COUNT(*) FROM notes WHERE rank = 5", ()).rows == ((0,),)


def test_a_wait_for_a_lock_ends_and_the_transaction_goes_on(driver: MysqlDriver, options: MysqlOptions) -> None:
    driver.execute("INSERT INTO notes (rank) VALUES (0), (0)", ())
    with closing(MysqlDriver(options)) as other:
        other.begin()
        other.execute("UPDATE notes SET rank = 1 WHERE id = 1", ())
        driver.begin()
        driver.execute("UPDATE notes SET rank = 2 WHERE id = 2", ())
        with told(NodeError, "stayed locked for 1 s", True):
            driver.execute("UPDATE notes SET rank = 2 WHERE id = 1", ())
        driver.commit()
    assert driver.execute("SELECT rank FROM notes ORDER BY id", ()).rows == ((0,), (2,))


def test_ddl_ends_a_transaction_and_what_follows_is_refused(driver: MysqlDriver) -> None:
    driver.begin()
    driver.execute("CREATE TABLE other (id INT)", ())
    with told(NodeError, "has ended the transaction", True):
        driver.execute("INSERT INTO notes (rank) VALUES (5)", ())


def test_a_failed_statement_leaves_its_transaction_open(driver: MysqlDriver) -> None:
    driver.begin()
    driver.execute("INSERT INTO notes (id, rank) VALUES (1, 1)", ())
    with told(ConstraintError, "^Duplicate entry '…' for key 'PRIMARY'$", False):
        driver.execute("INSERT INTO notes (id, rank) VALUES (1, 1)", ())
    driver.execute("INSERT INTO notes (id, rank) VALUES (2, 1)", ())
    driver.commit()
    assert driver.execute("SELECT COUNT(*) FROM notes", ()).rows == ((2,),)


def test_a_statement_that_takes_too_long_is_stopped_by_the_server(options: MysqlOptions) -> None:
    with closing(MysqlDriver(replace(options, statement_s=0.2))) as driver:
        with told(NodeError, "longer than 0.2 s on shard_0", True):
            driver.execute("SELECT SLEEP(30)", ())
        assert driver.execute("SELECT 1", ()).rows[0] == (1,)


def fill(driver: MysqlDriver, count: int) -> None:
    driver.execute("INSERT INTO notes (body, rank) SELECT REPEAT('x', 200), seq FROM seq_1_to_" + str(count), ())


def test_rows_are_read_as_they_are_wanted(driver: MysqlDriver) -> None:
    fill(driver, 1000)
    reply = driver.execute("SELECT id, rank FROM notes WHERE rank > ? ORDER BY id", (10,), stream=True)
    assert reply.columns == ("id", "rank") and reply.rows == () and reply.cursor is not None
    with told(StatementError, "still reading rows", False):
        driver.execute("SELECT 1", ())
    got: list[Any] = []
    while rows := reply.cursor.fetch(99):
        assert len(rows) <= 99
        got += rows
    assert got == [(n, n) for n in range(11, 1001)]
    assert list(reply.cursor.fetch(1)) == [] and reply.cursor.close()
    assert driver.execute("SELECT 1", ()).rows[0] == (1,)


def test_a_short_rest_is_read_to_keep_the_connection_and_a_long_one_is_stopped(
    driver: MysqlDriver, three_servers: list[Server]
) -> None:
    fill(driver, 2_000)
    short = driver.execute(f"SELECT * FROM notes LIMIT {DRAIN_ROWS}", (), stream=True).cursor
    assert short is not None and len(short.fetch(10)) == 10 and short.close()
    assert driver.execute("SELECT 1", ()).rows[0] == (1,)
    long = driver.execute("SELECT * FROM notes, seq_1_to_1000", (), stream=True).cursor
    assert long is not None and len(long.fetch(10)) == 10
    begun = time.monotonic()
    assert not long.close()
    driver.close()
    assert time.monotonic() - begun < 2
    wait_for(lambda: not three_servers[0].sessions("Query"), "the statement is stopped on the server", 5)


def test_an_error_amid_the_rows_is_told_and_the_connection_goes_on(driver: MysqlDriver) -> None:
    fill(driver, 5000)
    sql = "SELECT id, (SELECT seq FROM seq_1_to_2 WHERE seq = 1 OR notes.id > 4000) FROM notes ORDER BY id"
    cursor = driver.execute(sql, (), stream=True).cursor
    assert cursor is not None and len(cursor.fetch(10)) == 10
    with told(StatementError, "more than 1 row", False):
        while cursor.fetch(1000):
            pass
    assert cursor.close() and driver.execute("SELECT 1", ()).rows[0] == (1,)


def test_the_file_says_which_driver_opens_a_shard(three_servers: list[Server]) -> None:
    with fresh_databases(three_servers, 2) as urls:
        shards = {f"shard_{n}": {"url": url} for n, url in enumerate(urls)}
        topology = parse(
            {
                "platform": {"name": "ledger"},
                "app": {"command": "app"},
                "database": {"engine": "mysql", "shards": shards},
            }
        )
        assert mysql_options(topology, "shard_1").port == three_servers[1].port
        assert mysql_options(topology, "shard_1").tls is False
        with told(NodeError, "Access denied", False):
            opener(topology, "shard_0")()
