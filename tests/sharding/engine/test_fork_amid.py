"""A transaction or a stream that is open while the process forks stays the parent's, whatever the child does. Edge."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeError
from tenfold.sharding.engine.async_pools import AsyncPool, AsyncSource
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.engine.pools import Pool, Source
from tenfold.sharding.poolrules import Rules
from tenfold.sharding.ports import Begin, Commit, Driver, Send, Steps
from tests.sharding.engine.running import in_use
from tests.sharding.engine.sites import Site

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"


def forked() -> int:
    """0 in the child, which must end by `end_of`; a child that hangs is killed by its own alarm."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
    return child


def end_of(checks: Callable[[], bool]) -> None:
    """In the child: leave without the parent's clean-up; 0 where all is as it should be."""
    code = 1
    with suppress(BaseException):
        code = 0 if checks() else 2
    os._exit(code)


def fine(child: int) -> bool:
    """Whether the child found all as it should be."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("home", "way"),
    [
        ("sqlite", "leaves by an error"),  # one suffices, as a fork waits a second for an open file
        ("mysql", "leaves by an error"),
        ("mysql", "leaves as usual"),
        ("mysql", "goes on"),
    ],
    indirect=["home"],
)
def test_a_transaction_is_ended_by_the_parent_alone(home: Site, way: str) -> None:
    key = home.key("shard_1")
    child = -1
    with home.connect() as db:
        refused = False
        try:
            with db.transaction() as tx:
                tx.execute(DEPOSIT, (key, 1))
                child = forked()
                if child == 0 and way == "leaves by an error":
                    raise ZeroDivisionError
                if child == 0 and way == "goes on":
                    tx.execute(DEPOSIT, (key, 2))
                if child != 0:
                    assert fine(child)
                    assert home.look("shard_1", "SELECT amount FROM deposits") == [], "the child has committed"
                    tx.execute(DEPOSIT, (key, 3))
        except ZeroDivisionError:
            refused = True
        except NodeError as error:
            refused = "is the parent's" in str(error) and way != "leaves by an error"
        if child == 0:
            end_of(
                lambda: refused and in_use(db.pools()) == 0 and db.execute("SELECT COUNT(*) FROM posts").scalar() == 0
            )
        assert in_use(db.pools()) == 0 and not refused
        assert home.look("shard_1", "SELECT amount FROM deposits ORDER BY amount") == [(1,), (3,)]


@pytest.mark.parametrize(
    ("home", "way"),
    [("sqlite", "reads on"), ("mysql", "closes it"), ("mysql", "forgets it"), ("mysql", "reads on")],
    indirect=["home"],
)
def test_a_stream_is_read_and_ended_by_the_parent_alone(home: Site, way: str) -> None:
    keys = [home.key(shard) for shard in home.shards]
    with home.connect() as db:
        db.executemany(DEPOSIT, [(key, amount) for key in keys for amount in range(1, 4000)])
        rows = db.stream("SELECT amount FROM deposits ORDER BY amount")
        assert [next(rows)[0] for _ in range(3)] == [1, 1, 1]
        child = forked()
        if child == 0:

            def checks() -> bool:
                nonlocal rows
                refused = True
                if way == "closes it":
                    rows.close()
                elif way == "forgets it":
                    del rows
                    gc.collect()
                else:
                    refused = False
                    try:
                        list(rows)
                    except NodeError as error:
                        refused = "is the parent's" in str(error)
                there = db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (keys[0],)).scalar()
                return refused and there == 3999 and in_use(db.pools()) == 0

            end_of(checks)
        assert fine(child)
        assert [row[0] for row in rows] == [amount for amount in range(2, 4000) for _ in range(3)]
        assert in_use(db.pools()) == 0


def test_a_session_that_the_child_aborts_is_the_parents(site: Site) -> None:
    key = site.key("shard_1")
    session: Session[Driver] = Session()

    def write(amount: int) -> Steps[None]:
        if amount == 1:
            yield Begin("shard_1")
        yield Send("shard_1", "INSERT INTO deposits VALUES (?, ?, ?)", (amount, key, amount))
        if amount == 2:
            yield Commit("shard_1")

    with site.connect() as db:
        db.runner.run(write(1), session)
        driver: Any = session.open["shard_1"].driver
        child = forked()
        if child == 0:

            def checks() -> bool:
                db.runner.abort(session)
                return in_use(db.pools()) == 0 and not session.open and driver._connection.in_transaction

            end_of(checks)
        assert fine(child)
        db.runner.run(write(2), session)
    assert site.look("shard_1", "SELECT amount FROM deposits ORDER BY amount") == [(1,), (2,)]


def test_in_the_child_of_a_task_nothing_of_its_transaction_or_stream_is_touched(emptied: Site) -> None:
    key = emptied.key("shard_1")

    async def main() -> None:
        async with await tenfold.connect_async(emptied.file) as db:
            await db.executemany(DEPOSIT, [(key, amount) for amount in range(1, 4000)])
            rows = db.stream("SELECT amount FROM deposits ORDER BY amount")
            assert (await anext(rows))[0] == 1
            child = -1
            refused = False
            try:
                async with db.transaction() as tx:
                    await tx.execute(DEPOSIT, (key, 5000))
                    child = forked()
                    if child == 0:
                        # No loop runs twice: what would be awaited in the child must not be sent at all.
                        try:
                            await tx.execute(DEPOSIT, (key, 6000))
                        except NodeError as error:
                            refused = "is the parent's" in str(error)
                        raise ZeroDivisionError
                    assert fine(child)
                    await tx.execute(DEPOSIT, (key, 7000))
            except ZeroDivisionError:
                await rows.close()
            if child == 0:
                end_of(lambda: refused and in_use(db.pools()) == 0)
            assert [row[0] async for row in rows] == list(range(2, 4000))
            await asyncio.sleep(0)
            assert in_use(db.pools()) == 0

    asyncio.run(main())
    found = emptied.look("shard_1", "SELECT amount FROM deposits WHERE amount > 4000 ORDER BY amount")
    assert found == [(5000,), (7000,)]


def test_a_connection_lent_before_the_fork_counts_for_nothing_when_the_child_gives_it_back() -> None:
    class Nothing:
        spoiled = False
        ending = None

        def close(self) -> None:
            raise AssertionError("it is the parent's")

    def opened() -> Any:
        return Nothing()

    async def opened_async() -> Any:
        return Nothing()

    def given_back(pool: Pool | AsyncPool, links: list[Any]) -> None:
        pool.forget()  # as the router does in the child
        pool.release(links[0])
        pool.discard(links[1])
        counted = pool.counters()
        assert (counted.in_use, counted.idle, counted.closed) == (0, 0, {})
        assert not pool.lends(links[0])

    blocking = Pool(Rules("shard_1", 3, 1.0), Source(opened))
    given_back(blocking, [blocking.acquire(), blocking.acquire()])

    async def main() -> None:
        pool = AsyncPool(Rules("shard_1", 3, 1.0), AsyncSource(opened_async))
        given_back(pool, [await pool.acquire(), await pool.acquire()])

    asyncio.run(main())
