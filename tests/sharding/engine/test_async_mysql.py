"""Tasks over MariaDB: cancelled anywhere, a connection's rows reach nobody else and its statement stops. Edge."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tenfold
from tenfold.errors import ConstraintError, NodeDown, NodeError, PoolTimeout, StatementError, TenfoldError
from tenfold.sharding.engine.async_pools import AsyncPool, AsyncSource
from tenfold.sharding.engine.asyncmysql import AsyncMysqlDriver
from tenfold.sharding.engine.errand import settle
from tenfold.sharding.engine.mysql import DRAIN_ROWS, MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.sharding.engine.pools import drop_socket
from tenfold.sharding.poolrules import Rules
from tests.mariadb import Server, options_of, server
from tests.sharding.engine.sites import Site
from tests.support import wait_for, wait_in_task

SEED = 20260
Body = Callable[[AsyncPool], Awaitable[None]]


@pytest.fixture(scope="module")
def lone(mariadb_pattern: Path) -> Iterator[Server]:
    """A server that tests stop, pause and restart; each leaves it running."""
    with server(mariadb_pattern) as started:
        started.create("tasks")
        started.sql("CREATE TABLE tasks.many (id INT PRIMARY KEY, filler VARCHAR(200))")
        started.sql("INSERT INTO tasks.many SELECT seq, REPEAT('x', 200) FROM tasks.seq_1_to_60000")
        yield started


def options(lone: Server) -> MysqlOptions:
    return options_of(lone.url("tasks"), "shard_1", connect_s=2.0)


def with_pool(made: MysqlOptions, body: Body, rules: Rules | None = None) -> None:
    """Run `body` in an event loop, with a pool that is closed after it."""

    async def main() -> None:
        source = AsyncSource(lambda: AsyncMysqlDriver.connect(made), drop=drop_socket, alone=False)
        pool = AsyncPool(rules or Rules("shard_1", 4, 5.0), source)
        try:
            await body(pool)
            await pool.ended()
            assert pool.counters().in_use == 0
        finally:
            pool.close()
            await pool.ended()

    asyncio.run(main())


@asynccontextmanager
async def lent(pool: AsyncPool) -> AsyncIterator[AsyncMysqlDriver]:
    """A connection, given back as the runner does it."""
    link = pool.at_once() or await pool.acquire()
    driver = link.driver
    assert isinstance(driver, AsyncMysqlDriver)
    try:
        yield driver
    except BaseException as error:
        settle(pool, link, error)
        raise
    pool.release(link)


async def ask(pool: AsyncPool, sql: str = "SELECT 7", *params: object) -> Any:
    async with lent(pool) as driver:
        rows = (await driver.execute(sql, params)).rows
        return rows[0][0] if rows else None


def test_hundreds_of_cancelled_queries_leave_every_other_answer_its_own(lone: Server) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")

    async def body(pool: AsyncPool) -> None:
        cut = 0

        async def victims(number: int) -> None:
            nonlocal cut
            for _ in range(400):
                if cut >= 200 and pool.counters().closed.get("cut", 0) >= 60:
                    return
                rows = chance.randrange(1, 3000)
                sql = f"SELECT ?, id, filler FROM many WHERE id <= {rows} AND SLEEP(?) = 0"
                task = asyncio.create_task(ask(pool, sql, number, 0.000001))
                await asyncio.sleep(chance.random() * 0.006)
                task.cancel()
                try:
                    assert await task == number
                except asyncio.CancelledError:
                    cut += 1

        async def asker(start: int) -> None:
            for number in range(start, start + 80):
                assert await ask(pool, "SELECT ? FROM many WHERE id = ?", number, number) == number
                await asyncio.sleep(chance.random() * 0.003)

        await asyncio.gather(*(asker(1 + 80 * nth) for nth in range(5)), *(victims(-nth) for nth in range(1, 6)))
        counted = pool.counters()
        assert cut >= 200 and counted.closed["cut"] >= 60, counted

    with_pool(options(lone), body, Rules("shard_1", 6, 60.0))
    wait_for(lambda: not lone.sessions("Query"), "nothing runs that nobody waits for")


def test_the_statement_of_a_cancelled_task_is_stopped_on_the_server(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        task = asyncio.create_task(ask(pool, "SELECT SLEEP(30)"))
        await wait_in_task(lambda: lone.sessions("Query"), "the statement runs")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Its place is free again only once the server is done with it.
        assert await ask(pool) == 7 and not lone.sessions("Query")
        assert pool.counters().opened == 2 and pool.counters().closed == {"cut": 1}

    with_pool(options(lone), body, Rules("shard_1", 1, 5.0))


def test_a_cancelled_wait_or_connect_takes_no_place_away(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        for steps in range(40):
            task = asyncio.create_task(ask(pool))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            pool.drain()
        async with lent(pool):
            waiting = [asyncio.create_task(ask(pool)) for _ in range(10)]
            await wait_in_task(lambda: pool.counters().waiting == 10, "all wait")
            for task in waiting[::2]:
                task.cancel()
        rest = await asyncio.gather(*waiting, return_exceptions=True)
        assert [got == 7 for got in rest] == [False, True] * 5

    with_pool(options(lone), body, Rules("shard_1", 1, 5.0))


def test_a_full_pool_says_so_and_serves_in_the_order_of_asking(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        async with lent(pool):
            with pytest.raises(PoolTimeout, match="all 1 connections to shard_1 were busy"):
                await pool.acquire()
            assert pool.counters().waiting == 0
        served: list[int] = []

        async def wait(number: int) -> None:
            async with lent(pool):
                served.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(wait(number) for number in range(10)))
        assert served == list(range(10))
        counted = pool.counters()
        assert (counted.timed_out, counted.opened, counted.waiting) == (1, 1, 0)

    with_pool(options(lone), body, Rules("shard_1", 1, 0.2))


def test_a_down_server_fails_fast_and_one_that_was_restarted_is_found_again(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        links = [await pool.acquire() for _ in range(3)]
        for link in links:
            pool.release(link)
        lone.restart()
        with pytest.raises(NodeDown):
            await ask(pool)
        assert [await ask(pool) for _ in range(5)] == [7] * 5
        assert pool.counters().closed == {"down": 1, "check": 2}
        lone.stop()
        try:
            for _ in range(2):
                with suppress(NodeDown):
                    await ask(pool)
            started_s = time.monotonic()
            answers = await asyncio.gather(*(ask(pool) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(answer, NodeDown) for answer in answers)
            assert time.monotonic() - started_s < 1
            assert pool.counters().refused >= 18
        finally:
            lone.start()
        for _ in range(300):
            with suppress(NodeDown):
                if await ask(pool) == 7:
                    break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the pool does not connect again")

    with_pool(options(lone), body)


def test_a_server_that_answers_nothing_is_given_up(lone: Server) -> None:
    made = replace(options(lone), statement_s=0.3, connect_s=0.2)

    async def body(pool: AsyncPool) -> None:
        assert await ask(pool) == 7
        lone.pause()
        started_s = time.monotonic()
        try:
            with pytest.raises(NodeDown, match=r"did not answer within 0\.5 s") as caught:
                await ask(pool)
            assert caught.value.retryable and "statement_s" in caught.value.hint
            with pytest.raises(NodeDown, match="no answer in time"):
                await ask(pool)
            assert time.monotonic() - started_s < 4
        finally:
            lone.resume()

    with_pool(made, body)


async def count(driver: AsyncMysqlDriver) -> object:
    return (await driver.execute("SELECT COUNT(*) FROM rows_", ())).rows[0][0]


def test_transactions_errors_and_bulk_inserts_are_those_of_the_blocking_driver(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        async with lent(pool) as driver:
            await driver.execute("CREATE OR REPLACE TABLE rows_ (id INT PRIMARY KEY, v VARCHAR(20))", ())
            assert (
                await driver.execute_many("INSERT INTO rows_ VALUES (?, ?)", [(n, "x") for n in range(9)])
            ).rowcount == 9
            with pytest.raises(ConstraintError, match="Duplicate entry '…'"):
                await driver.execute_many("INSERT INTO rows_ VALUES (?, ?)", [(100, "y"), (1, "y")])
            await driver.begin()
            await driver.execute("DELETE FROM rows_ WHERE id < ?", (5,))
            with pytest.raises(StatementError):
                await driver.execute("SELECT nothing", ())
            assert await count(driver) == 4
            await driver.rollback()
            await driver.begin()
            await driver.execute("CREATE OR REPLACE TABLE other (id INT)", ())  # commits behind our back
            with pytest.raises(NodeError, match="has ended the transaction"):
                await driver.execute("SELECT 1", ())
            await driver.rollback()
            assert await count(driver) == 9

    with_pool(options(lone), body)


def test_a_deadlock_ends_the_transaction_and_says_so(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        async with lent(pool) as first, lent(pool) as second:
            await first.execute("CREATE OR REPLACE TABLE locks (id INT PRIMARY KEY, v INT)", ())
            await first.execute("INSERT INTO locks VALUES (1, 0), (2, 0)", ())
            await first.begin()
            await second.begin()
            await first.execute("UPDATE locks SET v = 1 WHERE id = 1", ())
            await second.execute("UPDATE locks SET v = 1 WHERE id = 2", ())
            waiting = asyncio.create_task(first.execute("UPDATE locks SET v = 1 WHERE id = 2", ()))
            await wait_in_task(lambda: lone.status("Innodb_row_lock_current_waits"), "the first waits for the second")
            lost, driver = None, second
            try:
                await second.execute("UPDATE locks SET v = 1 WHERE id = 1", ())
                await second.commit()
            except NodeError as error:
                lost = error
            try:
                await waiting
            except NodeError as error:
                lost, driver = error, first
            assert lost is not None and lost.retryable
            with pytest.raises(NodeError, match="has ended the transaction"):
                await driver.execute("UPDATE locks SET v = 2 WHERE id = 1", ())
            for one in (first, second):
                await one.rollback()

    with_pool(options(lone), body)


def test_values_have_the_types_that_the_blocking_driver_gives(lone: Server) -> None:
    sql = (
        "SELECT 1, -9223372036854775808, 18446744073709551615, 1.5, 1e0, CAST(0.1 AS FLOAT), 'x😀', x'00ff', NULL,"
        " DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.000004', TIME '-30:00:01', JSON_OBJECT(), TRUE,"
        " b'101', '0000-00-00', COUNT(*), AVG(id), UUID() IS NULL, ?, ?, ? FROM many"
    )
    moment = datetime.fromisoformat("2024-02-29 01:02:03.000004")
    params = (Decimal("1.10"), moment, timedelta(days=-1, microseconds=5))
    blocking = MysqlDriver(options(lone))
    expected = blocking.execute(sql, params)
    blocking.close()

    async def body(pool: AsyncPool) -> None:
        async with lent(pool) as driver:
            found = await driver.execute(sql, params)
        assert [list(row) for row in found.rows] == [list(row) for row in expected.rows]
        assert [type(item) for item in found.rows[0]] == [type(item) for item in expected.rows[0]]
        assert (found.columns, found.types) == (expected.columns, expected.types)
        assert date(2024, 2, 29) in found.rows[0]

    with_pool(options(lone), body)


def test_a_second_statement_in_one_text_is_refused_by_the_server(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        with pytest.raises(StatementError, match="syntax"):
            await ask(pool, "SELECT 1; DROP TABLE many")
        assert await ask(pool, "SELECT COUNT(*) FROM many") == 60_000
        with pytest.raises(StatementError, match="surrogate"):
            await ask(pool, "SELECT ?", "\ud800")

    with_pool(options(lone), body)


def test_a_wrong_password_is_told_without_it(lone: Server) -> None:
    async def main() -> None:
        with pytest.raises(NodeError) as caught:
            await AsyncMysqlDriver.connect(replace(options(lone), password=b"s3cret wrong"))
        assert not caught.value.retryable and "s3cret" not in f"{caught.value!r} {caught.value.hint}"

    asyncio.run(main())


def test_a_cursor_gives_a_large_answer_in_pieces_and_holds_the_server_up_meanwhile(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        async with lent(pool) as driver:
            cursor = await driver.open("SELECT * FROM many a JOIN many b ON b.id <= 20", ())
            first = await cursor.fetch(1000)
            await asyncio.sleep(0.2)  # 500 MB would come
            assert driver._connection._proto.length < 4_000_000
            assert len(first) == 1000 and cursor.columns == ("id", "filler", "id", "filler")
            assert await cursor.close() is False
            with suppress(TenfoldError):
                await driver.execute("SELECT 1", ())
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        with_pool(options(lone), body)
    wait_for(lambda: not lone.sessions("Query"), "the rest is not computed")


def test_a_cursor_with_little_left_costs_no_connection(lone: Server) -> None:
    async def body(pool: AsyncPool) -> None:
        async with lent(pool) as driver:
            cursor = await driver.open(f"SELECT id FROM many ORDER BY id LIMIT {DRAIN_ROWS // 2}", ())
            assert list(await cursor.fetch(2)) == [(1,), (2,)]
            assert await cursor.close()
            cursor = await driver.open("SELECT id FROM many ORDER BY id LIMIT 3", ())
            assert [len(await cursor.fetch(2)) for _ in range(3)] == [2, 1, 0]
        assert await ask(pool) == 7 and pool.counters().opened == 1

    with_pool(options(lone), body)


def test_the_whole_handle_over_three_servers(on_mariadb: Site, three_servers: list[Server]) -> None:
    async def main() -> None:
        async with await tenfold.connect_async(on_mariadb.file) as db:
            for number in range(1, 31):
                await db.execute("INSERT INTO users (id, email) VALUES (?, ?)", (number, f"{number}@x.org"))
            with pytest.raises(ConstraintError):
                await db.execute("INSERT INTO users (id, email) VALUES (99, '7@x.org')")
            tasks = [asyncio.create_task(db.execute("SELECT SLEEP(20), id FROM users")) for _ in range(3)]
            await wait_in_task(lambda: any(one.sessions("Query") for one in three_servers), "the statements run")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            found = await asyncio.gather(*(db.execute("SELECT id FROM users WHERE id = ?", (n,)) for n in range(1, 31)))
            assert [answer.scalar() for answer in found] == list(range(1, 31))
            async with db.transaction() as tx:
                await tx.execute("UPDATE users SET name = 'x' WHERE id = 1")
            assert [row[0] async for row in db.stream("SELECT id FROM users ORDER BY id")] == list(range(1, 31))

    asyncio.run(main())
