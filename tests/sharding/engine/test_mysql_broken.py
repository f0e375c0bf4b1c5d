"""The driver, and servers that hang, die, shut down, refuse: what is told, and what still runs there. Edge."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.errors import NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tests.mariadb import ACCOUNT, PASSWORD, Server, options_of, server
from tests.sharding.engine.driving import SHORT, told
from tests.support import free_port, wait_for


@pytest.fixture
def fragile(mariadb_pattern: Path, library: str) -> Iterator[tuple[Server, MysqlOptions]]:
    """A server of one's own, to be broken."""
    with server(mariadb_pattern) as started:
        yield started, options_of(started.create("d"), driver=library, **SHORT)


def test_closing_from_another_thread_stops_the_statement_on_the_server(
    options: MysqlOptions, three_servers: list[Server]
) -> None:
    driver = MysqlDriver(options)
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            driver.execute("SELECT SLEEP(4)", ())
        except TenfoldError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: three_servers[0].sessions("Query"), "the statement runs")
    begun = time.monotonic()
    driver.close()
    assert time.monotonic() - begun < 1.5
    asking.join(1)
    assert not asking.is_alive() and isinstance(failed[0], NodeDown)
    wait_for(lambda: not three_servers[0].sessions("Query"), "the statement is stopped", 2)


def test_closing_wakes_whoever_waits_for_a_server_that_hangs(fragile: tuple[Server, MysqlOptions]) -> None:
    server, options = fragile
    driver = MysqlDriver(options)
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            driver.execute("SELECT 1", ())
        except TenfoldError as error:
            failed.append(error)

    server.pause()
    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: driver._busy, "the statement is sent")
    closing_it = threading.Thread(target=driver.close)
    closing_it.start()
    asking.join(0.5)  # at once, not after the second that stopping the statement may take
    assert not asking.is_alive() and isinstance(failed[0], NodeDown)
    closing_it.join(1.5)
    assert not closing_it.is_alive()


def test_a_statement_that_nobody_waits_for_any_more_is_stopped_on_the_server(
    options: MysqlOptions, three_servers: list[Server]
) -> None:
    options = replace(options, statement_s=0.2, connect_s=0.2)
    with closing(MysqlDriver(options)) as driver:
        driver.execute("SET SESSION max_statement_time = 0", ())  # as of a server that has no such limit
        with told(NodeDown, "did not answer within 0.4 s", True):
            driver.execute("SELECT SLEEP(20)", ())
    wait_for(lambda: not three_servers[0].sessions("Query"), "the statement is stopped", 2)


def test_a_wrong_password_is_denied_without_showing_any(options: MysqlOptions) -> None:
    assert PASSWORD not in repr(options)
    wrong = replace(options, password=b"hunter2")
    with told(NodeError, "Access denied for user 'app'@'127.0.0.1'", False):
        MysqlDriver(wrong)
    with pytest.raises(NodeError) as failed:
        MysqlDriver(wrong)
    assert "hunter2" not in "".join(traceback.format_exception(failed.value)) + repr(wrong)


def test_what_the_account_may_not_and_what_is_not_there_is_told(options: MysqlOptions, driver: MysqlDriver) -> None:
    with told(NodeError, "denies it: .*ACCESS|denies it: .*denied", False):
        MysqlDriver(replace(options, database="mysql"))
    with told(NodeError, "denies it: SELECT command denied", False):
        driver.execute("SELECT * FROM mysql.global_priv", ())
    with told(StatementError, r"Table '.*\.nothing' doesn't exist", False):
        driver.execute("SELECT * FROM nothing", ())


def test_a_server_that_is_not_there_is_down_at_once(options: MysqlOptions) -> None:
    with told(NodeDown, "shard_0 does not answer: (Connection )?refused", True):
        MysqlDriver(replace(options, port=free_port()))
    with told(NodeDown, "shard_0 does not answer: ", True):
        MysqlDriver(replace(options, host="no-such-host.invalid"))


def test_a_server_that_hangs_is_left_after_the_time_that_the_file_allows(
    fragile: tuple[Server, MysqlOptions],
) -> None:
    server, options = fragile
    options = replace(options, connect_s=0.2, statement_s=0.2)
    driver = MysqlDriver(options)
    server.pause()
    begun = time.monotonic()
    with told(NodeDown, "does not answer: no answer in time", True):
        MysqlDriver(options)
    assert time.monotonic() - begun < 1.5  # mysqlclient connects within whole seconds
    with told(NodeDown, "did not answer within 0.4 s", True):
        driver.execute("SELECT 1", ())
    driver.close()
    assert time.monotonic() - begun < 4
    server.resume()
    with closing(MysqlDriver(options)) as driver:
        assert driver.execute("SELECT 1", ()).rows[0] == (1,)


def test_a_server_that_dies_amid_a_statement_is_down_and_what_came_before_is_not_repeated(
    fragile: tuple[Server, MysqlOptions],
) -> None:
    server, options = fragile
    driver = MysqlDriver(options)
    driver.execute("CREATE TABLE t (id INT PRIMARY KEY)", ())
    driver.begin()
    driver.execute("INSERT INTO t VALUES (1)", ())
    killer = threading.Timer(0.1, server.kill)
    killer.start()
    with told(NodeDown, "was lost", True):
        driver.execute("SELECT SLEEP(4)", ())
    killer.join()
    server.start()
    with told(NodeError, "has ended the transaction", True):
        driver.execute("INSERT INTO t VALUES (2)", ())
    with told(NodeError, "has ended the transaction", True):
        driver.commit()
    driver.close()
    with closing(MysqlDriver(options)) as driver:
        assert driver.execute("SELECT * FROM t", ()).rows == ()


def test_a_server_that_shuts_down_or_takes_no_writes_says_so(fragile: tuple[Server, MysqlOptions]) -> None:
    server, options = fragile
    server.sql(f"ALTER USER {ACCOUNT}@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1")
    driver = MysqlDriver(options)
    driver.execute("CREATE TABLE t (id INT PRIMARY KEY)", ())
    server.sql("SET GLOBAL read_only = 1")
    with told(NodeDown, "takes no writes", True):
        driver.execute("INSERT INTO t VALUES (1)", ())
    assert driver.execute("SELECT * FROM t", ()).rows == ()
    with told(NodeDown, "no connection left", True):
        MysqlDriver(options)
    server.restart()
    with told(NodeDown, "was lost", True):
        driver.execute("SELECT 1", ())
    driver.close()


def test_a_connection_that_the_server_killed_is_lost(driver: MysqlDriver, three_servers: list[Server]) -> None:
    ((number,),) = driver.execute("SELECT CONNECTION_ID()", ()).rows
    three_servers[0].sql(f"KILL {number}")
    with told(NodeDown, "was lost", True):
        driver.execute("SELECT 1", ())
