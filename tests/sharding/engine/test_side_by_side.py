"""A scatter sends all its statements before it waits for the first answer. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeDown, StatementError
from tenfold.sharding.engine import async_database, database
from tenfold.sharding.poolrules import Counters
from tenfold.sharding.ports import Gather, Send, Steps
from tests.mariadb import ACCOUNT, Server
from tests.sharding.engine.sites import Site, mariadb_site
from tests.support import wait_for

Run = Callable[[Callable[[], Steps[Any]]], Any]
SHARDS = ("shard_0", "shard_1", "shard_2")


@pytest.fixture(scope="module")
def kept(three_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three MariaDB shards, for all tests of this file: to make them takes longer than the tests."""
    with mariadb_site(tmp_path_factory.mktemp("kept") / "site", three_servers) as found:
        yield found.set_up()


class Seen:
    """What an observer was told, and the handle's counters."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.pools: Callable[[], dict[str, Counters]] = dict

    def statement(self, kind: str, table: str, shard: str, ok: bool, seconds: float) -> None:
        self.told.append((shard, ok))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(params=["threads", "tasks"])
def run(request: pytest.FixtureRequest, kept: Site, seen: Seen) -> Run:
    """Runs steps by either runner, with connections that lie ready; after it nothing may be in use."""

    def in_thread(steps: Callable[[], Steps[Any]]) -> Any:
        with database.connect(kept.file, observer=seen) as db:
            db.runner.run(warmed())
            seen.told.clear()
            seen.pools = db.pools
            try:
                return db.runner.run(steps())
            finally:
                assert all(counted.in_use == 0 for counted in db.pools().values())

    def in_task(steps: Callable[[], Steps[Any]]) -> Any:
        async def main() -> Any:
            async with await async_database.connect_async(kept.file, observer=seen) as db:
                await db.runner.run(warmed())
                seen.told.clear()
                seen.pools = db.pools
                try:
                    return await db.runner.run(steps())
                finally:
                    await asyncio.gather(*(pool.ended() for pool in db._pools.values()))
                    assert all(counted.in_use == 0 for counted in db.pools().values())

        return asyncio.run(main())

    return in_thread if request.param == "threads" else in_task


def warmed() -> Steps[None]:
    yield Gather([Send(shard, "SELECT 1") for shard in SHARDS])


def test_it_takes_as_long_as_the_slowest_and_answers_come_in_order(run: Run, seen: Seen) -> None:
    def steps() -> Steps[Any]:
        started_s = time.monotonic()
        replies = yield Gather([Send(shard, "SELECT ?, SLEEP(?)", (shard, 0.2)) for shard in SHARDS])
        return [reply.rows[0][0] for reply in replies], time.monotonic() - started_s

    rows, took_s = run(steps)
    assert rows == list(SHARDS) and 0.2 <= took_s < 0.5
    assert sorted(seen.told) == [(shard, True) for shard in SHARDS]
    assert {counted.opened for counted in seen.pools().values()} <= {1, 2}


def test_a_connection_is_free_as_soon_as_its_shard_has_answered(run: Run, seen: Seen) -> None:
    busy: list[list[int]] = []

    def steps() -> Steps[None]:
        # Of the first one the answer comes last.
        looking = threading.Timer(0.3, lambda: busy.append([seen.pools()[shard].in_use for shard in SHARDS]))
        looking.start()
        yield Gather([Send("shard_0", "SELECT SLEEP(0.6)"), Send("shard_1", "SELECT 1"), Send("shard_2", "SELECT 1")])
        looking.join()

    run(steps)
    assert busy == [[1, 0, 0]]


def test_an_error_of_one_is_raised_once_all_have_ended(run: Run, seen: Seen) -> None:
    def steps() -> Steps[Any]:
        started_s = time.monotonic()
        with pytest.raises(StatementError, match="nowhere"):
            yield Gather(
                [
                    Send("shard_0", "SELECT SLEEP(0.2)"),
                    Send("shard_1", "SELECT * FROM nowhere"),
                    Send("shard_2", "DO 1"),
                ]
            )
        assert time.monotonic() - started_s >= 0.2
        with pytest.raises(StatementError, match="parameters"):
            yield Gather([Send("shard_0", "SELECT ?", (1, 2)), Send("shard_1", "SELECT 1")])
        return [reply.rows[0][0] for reply in (yield Gather([Send(shard, "SELECT 7") for shard in SHARDS]))]

    assert run(steps) == [7, 7, 7]
    assert ("shard_1", False) in seen.told and set(seen.pools()["shard_1"].closed) <= {"end"}


def test_a_shard_that_vanishes_meanwhile_is_told_of(run: Run, three_servers: list[Server], seen: Seen) -> None:
    def cut() -> None:
        wait_for(lambda: sessions(three_servers[1], "Query"), "the statement runs", 5)
        for number in sessions(three_servers[1], "Query"):
            three_servers[1].sql(f"KILL {number}")

    def steps() -> Steps[None]:
        cutting = threading.Thread(target=cut)
        cutting.start()
        try:
            yield Gather(
                [Send("shard_0", "SELECT 1"), Send("shard_1", "SELECT SLEEP(20)"), Send("shard_2", "SELECT 1")]
            )
        finally:
            cutting.join(10)

    with pytest.raises(NodeDown, match="shard_1 was lost"):
        run(steps)
    assert seen.pools()["shard_1"].closed["down"] == 1 and seen.pools()["shard_0"].closed.get("down") is None


def sessions(server: Server, command: str) -> list[int]:
    rows = server.sql(
        f"SELECT id FROM information_schema.processlist WHERE user = '{ACCOUNT}' AND command = '{command}'"
    )
    return [int(row[0]) for row in rows]


def test_an_answer_that_never_comes_is_not_waited_for_longer_than_the_limit(
    kept: Site, three_servers: list[Server]
) -> None:
    kept.write(settings="statement_s = 0.2\nconnect_s = 0.3")
    try:
        for way in (_blocked, _blocked_task):
            started_s = time.monotonic()
            way(kept, three_servers[2])
            assert time.monotonic() - started_s < 6
    finally:
        kept.write()


def _blocked(kept: Site, server: Server) -> None:
    with kept.connect() as db:
        db.runner.run(warmed())
        server.pause()
        try:
            with pytest.raises(NodeDown, match=r"shard_2 did not answer within 0\.5 s"):
                db.runner.run(warmed())
        finally:
            server.resume()


def _blocked_task(kept: Site, server: Server) -> None:
    async def main() -> None:
        async with await tenfold.connect_async(kept.file) as db:
            await db.runner.run(warmed())
            server.pause()
            try:
                with pytest.raises(NodeDown, match=r"shard_2 did not answer within 0\.5 s"):
                    await db.runner.run(warmed())
            finally:
                server.resume()

    asyncio.run(main())


def test_a_cancelled_scatter_is_stopped_on_all_shards(kept: Site, three_servers: list[Server]) -> None:
    def slow() -> Steps[None]:
        yield Gather([Send(shard, "SELECT SLEEP(30)") for shard in SHARDS])

    async def main() -> None:
        async with await tenfold.connect_async(kept.file) as db:
            await db.runner.run(warmed())
            task = asyncio.create_task(db.runner.run(slow()))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.gather(*(pool.ended() for pool in db._pools.values()))
            assert not any(sessions(server, "Query") for server in three_servers)
            await db.runner.run(warmed())
            assert {counted.closed["cut"] for counted in db.pools().values()} == {1}

    asyncio.run(main())
