"""Tasks of an event loop: cancelled anywhere, they neither leak a connection nor see another's rows. Edge."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import ConstraintError, CrossShardError, NodeError, PlatformError, PoolTimeout
from tests.sharding.engine.sites import Site
from tests.support import wait_in_task

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"
# About a second on a slow machine; gives its argument back, so that a row can be told from another's.
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {steps}) SELECT ?, COUNT(*) FROM n"
SLOW_WRITE = (
    "UPDATE deposits SET amount = amount + (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
    " WHERE i < 1500000) SELECT COUNT(*) FROM n) WHERE user_id = ?"
)
Body = Callable[[tenfold.AsyncDatabase], Awaitable[None]]


def run(site: Site, body: Body) -> None:
    async def main() -> None:
        async with await tenfold.connect_async(site.file) as db:
            await body(db)

    asyncio.run(main())


def open_files(site: Site) -> int:
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith(str(site.root))
        except OSError:
            continue
    return found


def test_statements_ids_and_errors_are_those_of_the_blocking_handle(site: Site) -> None:
    async def body(db: tenfold.AsyncDatabase) -> None:
        key = site.key("shard_1")
        assert (await db.execute(SIGN_UP, (key, "a@example.org"))).rowcount == 1
        row_id = (await db.execute(DEPOSIT, (key, 5))).lastrowid
        assert (await db.execute("SELECT amount FROM deposits WHERE id = ?", (row_id,))).scalar() == 5
        assert (await db.executemany(DEPOSIT, [(site.key(shard), 1) for shard in site.shards])).rowcount == 3
        assert len(await db.execute("SELECT * FROM deposits")) == 4
        assert await db.new_id("users") != await db.new_id("users")
        with pytest.raises(ConstraintError, match="taken"):
            await db.execute(SIGN_UP, (site.key("shard_2"), "a@example.org"))
        async with db.transaction() as tx:
            await tx.execute(DEPOSIT, (key, 7))
            with pytest.raises(CrossShardError):
                await tx.execute(DEPOSIT, (site.key("shard_2"), 7))
            with pytest.raises(ConstraintError):
                await tx.executemany(DEPOSIT, [(key, 8), (key, -8)])
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with db.transaction() as tx:
                await tx.execute("UPDATE users SET email = 'b@example.org' WHERE id = ?", (key,))
                raise ZeroDivisionError
        with pytest.raises(PlatformError, match="has ended"):
            await tx.execute(DEPOSIT, (key, 9))
        await db.close()
        with pytest.raises(PlatformError, match="closed"):
            await db.execute("SELECT 1")

    run(site, body)
    amounts = [amount for rows in site.look_everywhere("SELECT amount FROM deposits").values() for (amount,) in rows]
    assert sorted(amounts) == [1, 1, 1, 5, 7]
    assert site.violations() == [] and open_files(site) == 0


def test_the_rows_of_a_cancelled_query_reach_nobody(site: Site) -> None:
    site.write(settings="pool_size = 2\npool_wait_s = 20.0")

    async def body(db: tenfold.AsyncDatabase) -> None:
        slow = SLOW.format(steps=400_000)
        for round_ in range(3):
            tasks = [asyncio.create_task(db.execute(slow, (f"cancelled {round_}",))) for _ in range(4)]
            await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*(db.execute("SELECT ?", (f"mine {n}",)) for n in range(20)))
            assert [answer.scalar() for answer in answers] == [f"mine {n}" for n in range(20)]
            assert all(
                # One may have been done before the cancel; then its row is its own.
                isinstance(got, asyncio.CancelledError)
                or (isinstance(got, tenfold.Result) and got.scalar() == f"cancelled {round_}")
                for got in await asyncio.gather(*tasks, return_exceptions=True)
            )
        # Not one connection was lost: both can be out at once, and no more are open.
        await asyncio.gather(*(db.execute(SLOW.format(steps=1000), (0,)) for _ in range(10)))
        assert open_files(site) <= 2 * 3 + 1  # and the one by which the lease is renewed

    run(site, body)
    assert open_files(site) == 0


def test_cancelled_statements_still_count_until_they_end(site: Site) -> None:
    """Else a client that gives up again and again would have any number of statements waiting for one lock."""
    site.write(settings="pool_size = 2\npool_wait_s = 0.05\nlock_wait_s = 2.0")
    key = site.key("shard_0")

    async def body(db: tenfold.AsyncDatabase) -> None:
        with closing(sqlite3.connect(site.path("shard_0"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(db.execute("DELETE FROM deposits WHERE user_id = ?", (key,)), 0.05)
            with pytest.raises(PoolTimeout) as caught:
                await db.execute("SELECT 1")
            assert caught.value.retryable
            # Only the shard that is busy refuses.
            assert (await db.execute("SELECT COUNT(*) FROM posts")).scalar() == 0

    run(site, body)
    assert open_files(site) == 0


def test_a_cancelled_query_is_stopped(site: Site) -> None:
    site.write(settings="pool_size = 1\npool_wait_s = 2.0")

    async def body(db: tenfold.AsyncDatabase) -> None:
        with pytest.raises(TimeoutError):  # it would take a minute
            await asyncio.wait_for(db.execute(SLOW.format(steps=400_000_000), (1,)), 0.05)
        assert (await db.execute("SELECT 2")).scalar() == 2

    run(site, body)


def test_a_cancelled_wait_for_a_connection_takes_none_away(site: Site) -> None:
    site.write(settings="pool_size = 1\npool_wait_s = 5.0")

    async def body(db: tenfold.AsyncDatabase) -> None:
        busy = asyncio.create_task(db.execute(SLOW.format(steps=2_000_000), (1,)))
        await wait_in_task(lambda: db.pools()["shard_0"].in_use, "the only connection is busy")
        waiting = [asyncio.create_task(db.execute("SELECT 1")) for _ in range(10)]
        await wait_in_task(lambda: db.pools()["shard_0"].waiting == 10, "all wait for it")
        for task in waiting[::2]:
            task.cancel()
        await busy
        rest = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(got, asyncio.CancelledError) for got in rest] == [True, False] * 5
        assert (await db.execute("SELECT 2")).scalar() == 2

    run(site, body)


def test_a_cancelled_connect_leaves_no_connection_behind(site: Site) -> None:
    async def body(db: tenfold.AsyncDatabase) -> None:
        for _ in range(20):
            task = asyncio.create_task(db.execute("SELECT * FROM deposits"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await db.execute("SELECT * FROM deposits")).rows == []

    run(site, body)
    assert open_files(site) == 0


def test_a_cancelled_transaction_stores_nothing(site: Site) -> None:
    key = site.key("shard_1")

    async def body(db: tenfold.AsyncDatabase) -> None:
        await db.execute(DEPOSIT, (key, 1))

        async def work() -> None:
            async with db.transaction() as tx:
                await tx.execute(DEPOSIT, (key, 2))
                await tx.execute(SIGN_UP, (key, "a@example.org"))
                slow.set()
                await tx.execute(SLOW_WRITE, (key,))
                await tx.execute(DEPOSIT, (key, 3))

        slow = asyncio.Event()
        task = asyncio.create_task(work())
        await slow.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rows = (await db.execute("SELECT amount FROM deposits WHERE user_id = ?", (key,))).rows
        assert rows == [(1,)]

    site.write(settings="lock_wait_s = 20.0")
    run(site, body)
    site.sweep()
    assert site.look("shard_1", "SELECT amount FROM deposits") == [(1,)] and site.violations() == []


def test_a_statement_that_ran_out_of_time_takes_its_transaction_along(site: Site) -> None:
    """wait_for inside the block: the statement goes on in its thread, so what follows must not join it."""
    key = site.key("shard_1")

    async def body(db: tenfold.AsyncDatabase) -> None:
        await db.execute(DEPOSIT, (key, 1))
        started = time.monotonic()
        with pytest.raises(NodeError, match="was interrupted, and all of it is undone"):  # noqa: PT012
            async with db.transaction() as tx:
                await tx.execute(DEPOSIT, (key, 2))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(tx.execute(SLOW_WRITE, (key,)), 0.05)
                with pytest.raises(NodeError, match="was interrupted"):
                    await tx.execute(DEPOSIT, (key, 3))
        with pytest.raises(TimeoutError):
            async with db.transaction() as tx:
                await asyncio.wait_for(tx.execute(SLOW.format(steps=1_500_000), (key,)), 0.05)
        assert time.monotonic() - started < 5

    site.write(settings="lock_wait_s = 20.0")
    run(site, body)
    assert site.look("shard_1", "SELECT amount FROM deposits") == [(1,)]


def test_a_cancelled_sign_up_is_either_there_or_its_address_is_free(site: Site) -> None:
    async def body(db: tenfold.AsyncDatabase) -> None:
        for number in range(30):
            task = asyncio.create_task(
                db.execute("INSERT INTO users (email) VALUES (?)", (f"{number % 5}@example.org",))
            )
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    site.write(settings="lock_wait_s = 5.0")
    run(site, body)
    site.sweep()
    assert site.violations() == []


@pytest.mark.parametrize("wait_s", [0.0, 0.01, 0.03, 0.06])
def test_closing_while_tasks_are_busy_neither_hangs_nor_leaks(site: Site, wait_s: float) -> None:
    async def main() -> None:
        db = await tenfold.connect_async(site.file)
        tasks = [asyncio.create_task(db.execute(SLOW.format(steps=200_000), (n,))) for n in range(4)]
        tasks += [asyncio.create_task(db.execute("INSERT INTO users (email) VALUES (?)", (f"{n}",))) for n in range(10)]
        tasks += [asyncio.create_task(transaction(db)) for _ in range(3)]
        await asyncio.sleep(wait_s)
        await db.close()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 3)
        assert all(isinstance(got, tenfold.Result | PlatformError | NodeError) for got in done), done

    async def transaction(db: tenfold.AsyncDatabase) -> tenfold.Result:
        async with db.transaction() as tx:
            await tx.execute(DEPOSIT, (site.key("shard_1"), 1))
            await asyncio.sleep(0.02)
            return await tx.execute(DEPOSIT, (site.key("shard_1"), 1))

    others = set(threading.enumerate())  # of modules whose database lives as long as they do
    asyncio.run(main())
    assert open_files(site) == 0 and set(threading.enumerate()) <= others
    assert len(site.look("shard_1", "SELECT * FROM deposits")) % 2 == 0
    site.sweep()
    assert site.violations() == []


def test_many_tasks_at_once_get_their_own_answers(site: Site) -> None:
    async def body(db: tenfold.AsyncDatabase) -> None:
        keys = [site.key(shard, nth) for nth in range(20) for shard in site.shards]
        await asyncio.gather(*(db.execute(DEPOSIT, (key, key)) for key in keys))
        answers = await asyncio.gather(
            *(db.execute("SELECT user_id, amount FROM deposits WHERE user_id = ?", (key,)) for key in keys)
        )
        assert [answer.rows for answer in answers] == [[(key, key)] for key in keys]
        assert len(await db.execute("SELECT id FROM deposits")) == 60

    site.write(settings="pool_size = 3\npool_wait_s = 30.0\nlock_wait_s = 20.0")
    run(site, body)


def test_one_event_loop_after_another_each_has_its_handle(site: Site) -> None:
    async def body(db: tenfold.AsyncDatabase) -> None:
        await asyncio.gather(*(db.execute(DEPOSIT, (site.key("shard_1"), 1)) for _ in range(12)))

    for _ in range(2):
        run(site, body)
    assert len(site.look("shard_1", "SELECT * FROM deposits")) == 24 and open_files(site) == 0
