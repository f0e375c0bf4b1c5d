"""Which library speaks to a server, and that nobody can tell by what comes back. Edge."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.errors import ConfigError, ConstraintError, NodeDown, StatementError, TenfoldError
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqllibrary import library as chosen
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.sharding.engine.pools import drop_socket
from tests.mariadb import Server, fresh_databases, options_of
from tests.support import wait_for


@pytest.fixture
def options(three_servers: list[Server], library: str) -> Iterator[MysqlOptions]:
    """How an empty database is reached by each library."""
    with fresh_databases(three_servers[:1], 1) as (url,):
        yield options_of(url, driver=library)


def used(options: MysqlOptions) -> str:
    """The library that a connection would be opened by."""
    return type(chosen(options)).__name__


PLAIN = MysqlOptions("shard_0", "127.0.0.1", 1, "app", "d")


def test_the_one_that_is_named_is_used_and_a_name_that_is_none_is_a_mistake(library: str) -> None:
    assert used(replace(PLAIN, driver=library)) == {"pymysql": "Pymysql", "mysqlclient": "Mysqldb"}[library]
    with pytest.raises(ConfigError, match="TENFOLD_MYSQL_DRIVER is 'mariadb'") as refused:
        chosen(replace(PLAIN, driver="mariadb"))
    assert "pymysql or mysqlclient" in refused.value.hint


def test_mysqlclient_is_used_unasked_where_it_is_installed_and_missed_where_it_is_asked_for() -> None:
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        assert used(PLAIN) == "Pymysql"
        with pytest.raises(ConfigError, match="it is not installed") as refused:
            chosen(replace(PLAIN, driver="mysqlclient"))
        assert "tenfold[mysqlclient]" in refused.value.hint
    else:
        assert used(PLAIN) == "Mysqldb"


def test_a_password_that_mysqlclient_would_cut_short_is_left_to_pymysql() -> None:
    assert used(replace(PLAIN, password=b"a\0b")) == "Pymysql"


def test_a_certificate_is_left_to_the_library_that_is_known_to_verify_it() -> None:
    assert used(replace(PLAIN, host="db0", tls=True, driver=None)) == "Pymysql"  # by the system's CAs
    assert used(replace(PLAIN, host="db0", tls=True, ca="ca.pem", driver="pymysql")) == "Pymysql"


# What each column holds, and a value that PyMySQL has an opinion on.
COLUMNS = {
    "a TINYINT": "-8", "b BIGINT UNSIGNED": "18446744073709551615", "c FLOAT": "1.1", "d DOUBLE": "-2.5e-300",
    "e DECIMAL(20, 5)": "-1.5", "f BIT(10)": "b'1100000001'", "g YEAR": "2026", "h DATE": "'0000-00-00'",
    "i DATETIME(3)": "'2026-01-02 03:04:05.678'", "j TIMESTAMP NULL": "'2026-01-02 03:04:05'",
    "k TIME(6)": "'-838:59:58.999999'", "l CHAR(9)": "'💧'", "m VARBINARY(9)": "X'00FF'", "n LONGTEXT": "''",
    "o BLOB": "X'FF'", "p JSON": """'{"a": 1}'""", "q ENUM('x', 'ü')": "'ü'", "r SET('a', 'b')": "'a,b'",
    "s UUID": "UUID()", "t INET6": "'::1'", "u POINT": "POINT(1, 2)", "v TEXT COLLATE utf8mb4_bin": "'bin'",
    "w DATETIME": "'0000-00-00 00:00:00'", "x DATETIME(1)": "'2026-01-00 00:00:00'", "y BINARY(3)": "'a'",
    "z MEDIUMINT ZEROFILL": "7",
}  # fmt: skip
ASKED = (
    "SELECT * FROM v", "SELECT SUM(a), AVG(d), MAX(h), COUNT(*), NULL, 1.50, 1e0, 'x', X'41', NOW() > 0 FROM v",
    "SELECT CAST('10:00' AS TIME), CAST(1 AS CHAR), CAST('a' AS BINARY), HEX(255) AS `ü \"`, MIN(w) FROM v",
    "SELECT a FROM v WHERE FALSE", "SHOW COLUMNS FROM v", "SELECT JSON_OBJECT('a', 1), ST_AsText(u), f + 0 FROM v",
)  # fmt: skip


def test_both_give_the_same_values_types_and_columns(driver: MysqlDriver, options: MysqlOptions) -> None:
    driver.execute(f"CREATE TABLE v ({', '.join(COLUMNS)})", ())
    driver.execute("SET SESSION sql_mode = ''", ())  # so that there are dates which are none
    driver.execute(f"INSERT INTO v VALUES ({', '.join(COLUMNS.values())})", ())
    driver.execute(f"INSERT INTO v VALUES ({', '.join(['NULL'] * len(COLUMNS))})", ())
    with closing(MysqlDriver(replace(options, driver="pymysql"))) as theirs:
        for sql in ASKED:
            reply, expected = driver.execute(sql, ()), theirs.execute(sql, ())
            assert list(map(repr, reply.rows)) == list(map(repr, expected.rows)), sql
            assert (reply.columns, reply.types) == (expected.columns, expected.types)
            assert (reply.rowcount, reply.lastrowid) == (expected.rowcount, expected.lastrowid)
            cursor = driver.execute(sql, (), stream=True).cursor
            assert cursor is not None and (cursor.columns, cursor.types) == (reply.columns, reply.types)
            assert list(map(repr, cursor.fetch(100))) == list(map(repr, reply.rows)), sql
            assert cursor.close()


def test_errors_are_told_in_the_same_words(driver: MysqlDriver, options: MysqlOptions) -> None:
    driver.execute("CREATE TABLE v (id INT PRIMARY KEY, t VARCHAR(200) UNIQUE, CHECK (id < 9))", ())
    driver.execute("INSERT INTO v VALUES (1, ?)", ("💧" * 190,))
    with closing(MysqlDriver(replace(options, driver="pymysql"))) as theirs:
        for sql in (f"INSERT INTO v VALUES (2, '{'💧' * 190}')", "INSERT INTO v VALUES (9, 'x')", "SELEC '💧'",
                    f"SELECT * FROM `{'💧' * 200}`", "SELECT 'a' FROM v WHERE x = 1", "INSERT INTO v VALUES ('x', 1)",
                    "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE v", "KILL 99999999", "XA COMMIT 'nothing'",
                    f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{'é' * 128}'"):  # fmt: skip
            told: list[TenfoldError] = []
            for one in (driver, theirs):
                with pytest.raises(TenfoldError) as failed:
                    one.execute(sql, ())
                told.append(failed.value)
            assert type(told[0]) is type(told[1]), sql
            assert (str(told[0]), told[0].hint, told[0].retryable) == (str(told[1]), told[1].hint, told[1].retryable)
    assert driver.execute("SELECT COUNT(*) FROM v", ()).rows[0] == (1,)


def test_an_interrupted_wait_ends_at_once_and_its_answer_is_nobody_elses(
    driver: MysqlDriver, options: MysqlOptions
) -> None:
    # Python runs signal handlers on the main thread, where tests run.
    main = threading.get_ident()
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        driver.execute("SELECT SLEEP(3), 'of the first'", ())
    timer.join()
    assert time.monotonic() - begun < 2
    with pytest.raises(NodeDown, match="was lost"):
        driver.execute("SELECT 'of the second'", ())


def test_a_result_that_an_error_ends_leaves_nothing_behind_in_a_transaction(driver: MysqlDriver) -> None:
    driver.execute("CREATE TABLE t (id INT PRIMARY KEY)", ())
    driver.begin()
    driver.execute("INSERT INTO t VALUES (1)", ())
    cursor = driver.execute("SELECT seq, (SELECT 1 UNION SELECT seq > 3000) FROM seq_1_to_9000", (), stream=True).cursor
    assert cursor is not None
    with pytest.raises(StatementError, match="more than 1 row"):
        list(iter(lambda: cursor.fetch(1000), ()))
    driver.execute("INSERT INTO t VALUES (2)", ())
    with pytest.raises(ConstraintError):
        driver.execute("INSERT INTO t VALUES (2)", ())
    driver.commit()
    assert driver.execute("SELECT COUNT(*) FROM t", ()).rows[0] == (2,)


OPEN = Path("/proc/self/fd")


def places(number: int) -> list[int]:
    """The numbers under which this process has the file open that it has as `number`."""
    sought = os.fstat(number).st_ino
    found = []
    for link in OPEN.iterdir():
        with suppress(OSError):  # that of the listing itself
            if os.fstat(int(link.name)).st_ino == sought:
                found.append(int(link.name))
    return found


def test_a_child_that_lets_go_is_not_heard_by_the_server_and_holds_nothing(driver: MysqlDriver) -> None:
    assert not os.get_inheritable(driver.fileno())  # and a program that is started gets none
    driver.begin()
    file = os.fstat(driver.fileno()).st_ino
    kept = socket.socket(fileno=os.dup(driver.fileno()))  # to be asked in the child whether any other is left
    child = os.fork()
    if child == 0:  # no test runs on: whatever happens, the child ends here
        held = 9
        with suppress(BaseException):
            drop_socket(driver)
            held = len(places(kept.fileno())) - 1
        os._exit(held)
    kept.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.fstat(driver.fileno()).st_ino == file
    assert driver.execute("SELECT 2", ()).rows[0] == (2,)
    driver.commit()


def test_the_number_of_a_closed_connection_is_no_strangers_file(
    driver: MysqlDriver, three_servers: list[Server]
) -> None:
    number = driver.fileno()
    ((connection,),) = driver.execute("SELECT CONNECTION_ID()", ()).rows
    three_servers[0].sql(f"KILL {connection}")
    with pytest.raises(NodeDown):
        driver.execute("SELECT 1", ())
    strangers = [socket.socket() for _ in range(4)]  # one has the number, where the library has closed its own
    try:
        assert driver.fileno() not in [one.fileno() for one in strangers]
        driver.close()
        assert all(os.fstat(one.fileno()) for one in strangers)
    finally:
        for one in strangers:
            one.close()
    assert number >= 0 and driver.fileno() == -1


def test_a_server_that_hangs_up_or_says_nothing_more_while_letting_us_in_is_down(library: str) -> None:
    for wait_s, words in ((0.0, "the connection was cut"), (4.0, "no answer in time")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            options = replace(PLAIN, port=listener.getsockname()[1], connect_s=1, driver=library)
            done = threading.Event()

            def let_in(done: threading.Event, listener: socket.socket, wait_s: float) -> None:
                line, _ = listener.accept()
                with line:
                    done.wait(wait_s)

            server = threading.Thread(target=let_in, args=(done, listener, wait_s))
            server.start()
            begun = time.monotonic()
            with pytest.raises(NodeDown, match=f"shard_0 does not answer: {words}"):
                MysqlDriver(options)
            assert time.monotonic() - begun < 2
            done.set()
            server.join()


def test_rows_that_are_forgotten_are_not_read(options: MysqlOptions) -> None:
    line = chosen(options).open(options, 5, 60)
    with closing(line):
        rows = line.unread("SELECT REPEAT('x', 1000) FROM seq_1_to_100000, seq_1_to_1000")
        assert len(rows.fetch(10)) == 10
        begun = time.monotonic()
        rows.forget()
        assert time.monotonic() - begun < 1


def test_half_a_result_is_left_without_reading_the_rest(driver: MysqlDriver, three_servers: list[Server]) -> None:
    sql = "SELECT REPEAT('x', 1000) FROM seq_1_to_100000, seq_1_to_1000"
    cursor = driver.execute(sql, (), stream=True).cursor
    assert cursor is not None and len(cursor.fetch(10)) == 10
    begun = time.monotonic()
    driver.close()
    assert time.monotonic() - begun < 2
    assert list(cursor.fetch(10)) == [] and not cursor.close()
    wait_for(lambda: not three_servers[0].sessions("Query"), "the statement is stopped on the server", 5)


def test_a_server_that_falls_silent_amid_its_rows_is_left_after_the_time_that_the_file_allows(
    options: MysqlOptions, three_servers: list[Server]
) -> None:
    with closing(MysqlDriver(replace(options, statement_s=0.2, connect_s=0.2))) as driver:
        driver.execute("SET SESSION max_statement_time = 0", ())  # as of a server that has no such limit
        sql = "SELECT REPEAT('x', 60000), SLEEP(IF(seq = 9, 20, 0)) FROM seq_1_to_9"
        begun = time.monotonic()
        with pytest.raises(NodeDown, match=r"did not answer within 0\.4 s"):
            driver.execute(sql, ())
        assert time.monotonic() - begun < 2.5  # mysqlclient counts whole seconds here
    wait_for(lambda: not three_servers[0].sessions("Query"), "the statement is stopped on the server", 5)


def test_a_slow_rest_is_not_waited_for(driver: MysqlDriver) -> None:
    cursor = driver.execute(
        "SELECT REPEAT('x', 60000), SLEEP(IF(seq = 9, 20, 0)) FROM seq_1_to_9", (), stream=True
    ).cursor
    assert cursor is not None and len(cursor.fetch(2)) == 2
    begun = time.monotonic()
    assert not cursor.close()
    driver.close()
    assert time.monotonic() - begun < 2
