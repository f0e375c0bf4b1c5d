"""Connections that ended while nobody used them, and transactions that another one undid. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeDown, NodeError
from tenfold.sharding.engine.async_pools import AsyncPool, AsyncSource
from tenfold.sharding.engine.async_runner import AsyncRunner
from tenfold.sharding.engine.asyncmysql import AsyncMysqlDriver
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions, mysql_options
from tenfold.sharding.engine.pools import SILENT_S, Pool, Source, drop_socket
from tenfold.sharding.engine.router import Threads, opener
from tenfold.sharding.engine.runners import Runner
from tenfold.sharding.poolrules import Rules
from tenfold.sharding.ports import Begin, Commit, Send, Steps
from tests.mariadb import Server, server
from tests.sharding.engine.sites import Site, mariadb_site
from tests.support import wait_for

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"


@pytest.fixture(scope="module")
def kept(mariadb_pattern: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Server]]:
    """Three shards on a server of one's own."""
    with (
        server(mariadb_pattern) as started,
        mariadb_site(tmp_path_factory.mktemp("kept") / "site", [started]) as found,
    ):
        yield found.set_up(), started


def cut_off(server: Server) -> None:
    """End every connection of the application, as a restart does."""
    server.cut(server.sessions())
    wait_for(lambda: not server.sessions(), "all have ended", 5)


def both(site: Site, body: Callable[[Callable[..., object]], None]) -> None:
    """Run `body` with a function that runs one statement, of the handle for threads and of that for tasks."""
    with site.connect() as db:

        def ask_blocking(sql: str, params: tuple[object, ...] = ()) -> object:
            time.sleep(2 * SILENT_S)
            return db.execute(sql, params).rows

        body(ask_blocking)
        assert sum(counted.closed.get("down", 0) for counted in db.pools().values()) == 0
    with asyncio.Runner() as loop:
        handle = loop.run(tenfold.connect_async(site.file))

        async def one(sql: str, params: tuple[object, ...]) -> object:
            return (await handle.execute(sql, params)).rows

        async def pause() -> None:
            await asyncio.sleep(2 * SILENT_S)  # in which the loop hears of what has ended

        def ask(sql: str, params: tuple[object, ...] = ()) -> object:
            loop.run(pause())
            return loop.run(one(sql, params))

        try:
            body(ask)
            assert sum(counted.closed.get("down", 0) for counted in handle.pools().values()) == 0
        finally:
            loop.run(handle.close())


def test_connections_that_the_server_ended_meanwhile_cost_no_statement(kept: tuple[Site, Server]) -> None:
    site, server = kept
    key = site.key("shard_1")

    def body(ask: Callable[..., object]) -> None:
        for sql, params in (
            (DEPOSIT, (key, 1)),
            ("SELECT amount FROM deposits WHERE user_id = ?", (key,)),
            ("SELECT COUNT(*) FROM deposits", ()),
            ("UPDATE deposits SET amount = 2 WHERE user_id = ?", (key,)),
        ):
            ask("SELECT COUNT(*) FROM deposits")
            ask("SELECT amount FROM deposits WHERE user_id = ?", (key,))
            cut_off(server)
            ask(sql, params)
        ask("DELETE FROM deposits")

    both(site, body)


def test_a_transaction_is_begun_anew_where_its_connection_had_gone(kept: tuple[Site, Server]) -> None:
    site, server = kept
    key = site.key("shard_1")
    open_one = opener(site.topology(), "shard_1")
    # Pools that look at no connection.
    found = Pool(Rules("shard_1", 2, 2.0), Source(open_one, drop=drop_socket, alone=False))
    made = mysql_options(site.topology(), "shard_1")
    of_tasks = AsyncPool(Rules("shard_1", 2, 2.0), AsyncSource(lambda: AsyncMysqlDriver.connect(made), alone=False))

    def steps(amount: int) -> Steps[None]:
        yield Send("shard_1", "SELECT 1")
        cut_off(server)
        yield Begin("shard_1")
        yield Send("shard_1", "INSERT INTO deposits VALUES (?, ?, ?)", (amount, key, amount))
        yield Commit("shard_1")

    async def main() -> None:
        await AsyncRunner({"shard_1": of_tasks}).run(steps(9))
        await of_tasks.ended()
        of_tasks.close()

    Runner({"shard_1": found}, Threads(1)).run(steps(8))
    found.close()
    asyncio.run(main())
    assert site.look("shard_1", "SELECT amount FROM deposits ORDER BY amount") == [(8,), (9,)]
    for one in (found, of_tasks):
        assert one.counters().closed == {"down": 1, "end": 1} and one.counters().in_use == 0
    site.look("shard_1", "DELETE FROM deposits")


def test_a_write_whose_connection_ended_unseen_is_not_sent_twice(kept: tuple[Site, Server]) -> None:
    site, server = kept
    found = Pool(Rules("shard_1", 2, 2.0), Source(opener(site.topology(), "shard_1"), drop=drop_socket, alone=False))

    def steps() -> Steps[None]:
        yield Send("shard_1", "SELECT 1")
        cut_off(server)
        yield Send("shard_1", "INSERT INTO deposits VALUES (1, 1, 9)")

    with pytest.raises(NodeDown):
        Runner({"shard_1": found}, Threads(1)).run(steps())
    assert site.look("shard_1", "SELECT amount FROM deposits") == []
    found.close()


BACKWARDS = "UPDATE deposits SET amount = amount + 100 WHERE id <= 6 ORDER BY id DESC LIMIT 6"
ONE = "UPDATE deposits SET amount = amount + 100 WHERE id = ?"


def once(driver: MysqlDriver) -> None:
    driver.execute(BACKWARDS, ())


def in_halves(driver: MysqlDriver) -> None:
    driver.start(BACKWARDS, ())
    driver.finish()


def of_many(driver: MysqlDriver) -> None:
    assert driver.execute_many(ONE, [(number,) for number in range(6, 0, -1)]).rowcount == 6


async def once_async(driver: AsyncMysqlDriver) -> None:
    await driver.execute(BACKWARDS, ())


async def in_halves_async(driver: AsyncMysqlDriver) -> None:
    await driver.start(BACKWARDS, ())
    await driver.finish()


async def of_many_async(driver: AsyncMysqlDriver) -> None:
    assert (await driver.execute_many(ONE, [(number,) for number in range(6, 0, -1)])).rowcount == 6


def blocking(work: Callable[[MysqlDriver], None], made: MysqlOptions) -> None:
    with closing(MysqlDriver(made)) as driver:
        work(driver)


def in_a_task(work: Callable[[AsyncMysqlDriver], Awaitable[None]], made: MysqlOptions) -> None:
    async def main() -> None:
        driver = await AsyncMysqlDriver.connect(made)
        try:
            await work(driver)
        finally:
            driver.close()

    asyncio.run(main())


@pytest.fixture
def rows(kept: tuple[Site, Server]) -> Iterator[Site]:
    """Six deposits."""
    site, _ = kept
    site.look("shard_1", "INSERT INTO deposits SELECT seq, 1, 1 FROM seq_1_to_6")
    yield site
    site.look("shard_1", "DELETE FROM deposits")


@pytest.mark.parametrize("work", [once, in_halves, of_many, once_async, in_halves_async, of_many_async])
def test_a_statement_of_its_own_that_a_deadlock_undid_is_done_again(
    rows: Site, kept: tuple[Site, Server], work: Callable[..., Any]
) -> None:
    made = mysql_options(rows.topology(), "shard_1")
    ended: list[BaseException | None] = []
    status = kept[1].status

    def run() -> None:
        try:
            (in_a_task if asyncio.iscoroutinefunction(work) else blocking)(work, made)
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    with closing(MysqlDriver(made)) as other:
        other.begin()
        other.execute("UPDATE deposits SET amount = 2 WHERE id = 1", ())
        other.execute("INSERT INTO deposits SELECT seq, 1, 1 FROM seq_100_to_160", ())  # who has done less is undone
        thread = threading.Thread(target=run)
        thread.start()
        wait_for(lambda: status("Innodb_row_lock_current_waits"), "the statement waits for the first row", 5)
        before = status("Innodb_deadlocks")
        other.execute("UPDATE deposits SET amount = 2 WHERE id = 2", ())
        wait_for(lambda: status("Innodb_deadlocks") > before, "there is a deadlock", 5)
        other.commit()
        thread.join(10)
    assert ended == [None]
    found = rows.look("shard_1", "SELECT amount FROM deposits WHERE id <= 6 ORDER BY id")
    assert [row[0] for row in found] == [102, 102, 101, 101, 101, 101]


def test_a_lock_that_is_waited_for_in_vain_is_not_waited_for_again(rows: Site) -> None:
    made = mysql_options(rows.topology(), "shard_1")
    with closing(MysqlDriver(made)) as other, closing(MysqlDriver(made)) as driver:
        other.begin()
        other.execute("UPDATE deposits SET amount = 2 WHERE id = 1", ())
        started_s = time.monotonic()
        with pytest.raises(NodeError, match="stayed locked"):
            driver.execute(BACKWARDS, ())
        assert time.monotonic() - started_s < 1.9  # once is a second


def test_a_commit_that_is_refused_costs_no_connection(rows: Site) -> None:
    made = mysql_options(rows.topology(), "shard_1")
    ddl = "CREATE OR REPLACE TABLE other (id INT)"  # commits behind our back

    with closing(MysqlDriver(made)) as driver:
        driver.begin()
        driver.execute(ddl, ())
        with pytest.raises(NodeError, match="has ended the transaction"):
            driver.commit()
        driver.rollback()
        assert driver.execute("SELECT 7", ()).rows[0] == (7,)

    async def refused(driver: AsyncMysqlDriver) -> None:
        await driver.begin()
        await driver.execute(ddl, ())
        with pytest.raises(NodeError, match="has ended the transaction"):
            await driver.commit()
        await driver.rollback()
        assert (await driver.execute("SELECT 7", ())).rows[0] == (7,)

    in_a_task(refused, made)

    def steps() -> Steps[None]:
        yield Begin("shard_1")
        yield Send("shard_1", ddl)
        with pytest.raises(NodeError, match="has ended the transaction"):
            yield Commit("shard_1")

    with rows.connect() as db:
        db.runner.run(steps())
        counted = db.pools()["shard_1"]
        assert (counted.in_use, counted.idle, counted.closed.get("cut", 0)) == (0, 1, 0)

    async def main() -> None:
        async with await tenfold.connect_async(rows.file) as handle:
            await handle.runner.run(steps())
            counted = handle.pools()["shard_1"]
            assert (counted.in_use, counted.idle, counted.closed) == (0, 1, {})

    asyncio.run(main())
