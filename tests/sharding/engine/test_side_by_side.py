"""A scatter sends all its statements before it waits for the first answer. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeDown, StatementError
from tenfold.sharding.ports import Gather, Send, Steps
from tests.mariadb import Server
from tests.sharding.engine.running import Pools, Run, run_by
from tests.sharding.engine.sites import Site
from tests.support import wait_for, wait_in_task

SHARDS = ("shard_0", "shard_1", "shard_2")


class Seen:
    """What an observer was told, and the handle's counters."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.pools: Pools = dict

    def watch(self, pools: Pools) -> None:
        self.pools = pools

    def statement(self, kind: str, table: str, shard: str, ok: bool, seconds: float) -> None:
        self.told.append((shard, ok))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(params=["threads", "tasks"])
def run(request: pytest.FixtureRequest, kept: Site, seen: Seen) -> Run:
    """Runs steps by either runner, with connections that lie ready; after it nothing may be in use."""

    def ran(steps: Callable[[], Steps[Any]]) -> Any:
        def warm() -> Steps[Any]:
            yield from warmed()
            seen.told.clear()
            return (yield from steps())

        return run_by(request.param, kept.file, warm, seen, seen.watch)

    return ran


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
        three_servers[1].cut(wait_for(lambda: three_servers[1].sessions("Query"), "the statement runs", 5))

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
            await wait_in_task(lambda: all(one.sessions("Query") for one in three_servers), "all three run", 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.gather(*(pool.ended() for pool in db._pools.values()))
            assert not any(one.sessions("Query") for one in three_servers)
            await db.runner.run(warmed())
            assert {counted.closed["cut"] for counted in db.pools().values()} == {1}

    asyncio.run(main())
