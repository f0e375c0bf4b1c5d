"""Tasks cancelled at random moments, and servers that break under them: no answer is another's, none is lost. Edge."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

import tenfold
from tenfold.errors import NodeError
from tenfold.sharding.ports import Gather, Open, Send, Steps
from tests.faults.conftest import LONG
from tests.mariadb import Server
from tests.sharding.engine.sites import Site, mariadb_site
from tests.support import wait_for

SHARDS = ("shard_0", "shard_1", "shard_2")
DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
SETTINGS = "pool_size = 4\npool_wait_s = 5.0\nlock_wait_s = 2\nconnect_s = 1\nstatement_s = 3"
CANCELS = 15_000 * LONG or 200
SECONDS = 10.0 * LONG or 0.8


@pytest.fixture(scope="module")
def kept(three_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three MariaDB shards, for all tests of this file."""
    with mariadb_site(tmp_path_factory.mktemp("kept") / "site", three_servers) as found:
        found.set_up()
        found.write(settings=SETTINGS)
        with found.connect() as db:
            for key in keys_of(found):
                db.execute("INSERT INTO users (id) VALUES (?)", (key,))
        yield found


def keys_of(site: Site) -> list[int]:
    return sorted(site.key(shard, n) for shard in SHARDS for n in range(3))


def seed() -> int:
    drawn = random.randrange(1 << 32) if LONG else 20262
    print(f"seed {drawn}")
    return drawn


class Cancelled:
    """Work that is cancelled somewhere in the middle; it notices a foreign answer itself."""

    def __init__(self, db: tenfold.AsyncDatabase, site: Site, chance: random.Random) -> None:
        self.db, self.chance = db, chance
        self.keys = keys_of(site)
        self.numbers = iter(range(1, 1 << 30))
        self.cancels = 0

    async def scatter(self) -> None:
        number = next(self.numbers)

        def steps() -> Steps[list[list[object]]]:
            replies = yield Gather([Send(shard, "SELECT ?, SLEEP(0.0003)", (number,)) for shard in SHARDS])
            return [list(reply.rows) for reply in replies]

        assert await self.db.runner.run(steps()) == [[(number, 0)]] * 3

    async def cursors(self) -> None:
        number = next(self.numbers)

        def steps() -> Steps[list[str]]:
            opened = yield Gather([Open(shard, f"SELECT {number} AS a{number}") for shard in SHARDS])
            return [one.columns[0] for one in opened]

        assert await self.db.runner.run(steps()) == [f"a{number}"] * 3

    async def merge(self) -> None:
        number = next(self.numbers)
        rows = (await self.db.execute("SELECT id, ? FROM users ORDER BY id", (number,))).rows
        assert [row[1] for row in rows] == [number] * len(rows) and len(rows) == len(self.keys)

    async def stream(self) -> None:
        number = next(self.numbers)
        async with self.db.stream("SELECT ? + id FROM users ORDER BY id", (number,)) as rows:
            assert [row[0] - number async for row in rows] == self.keys

    async def transaction(self) -> None:
        number, key = next(self.numbers), self.chance.choice(self.keys)
        async with self.db.transaction() as tx:
            for _ in range(2):
                await tx.execute(DEPOSIT, (key, number))
            sql = "SELECT COUNT(*) FROM deposits WHERE user_id = ? AND amount = ?"
            assert (await tx.execute(sql, (key, number))).scalar() == 2

    async def victim(self) -> None:
        works: list[Callable[[], Awaitable[None]]] = [
            self.scatter, self.scatter, self.cursors, self.merge, self.stream, self.transaction,
        ]  # fmt: skip
        while self.cancels < CANCELS:
            task = asyncio.ensure_future(self.chance.choice(works)())
            await asyncio.sleep(self.chance.random() * 0.004)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                self.cancels += 1

    async def asker(self) -> None:
        while self.cancels < CANCELS:
            await self.scatter()
            number, key = next(self.numbers), self.chance.choice(self.keys)
            assert (await self.db.execute("SELECT ? FROM users WHERE id = ?", (number, key))).scalar() == number
            await asyncio.sleep(self.chance.random() * 0.002)


@pytest.mark.timeout(3600 if LONG else 60)
def test_no_answer_of_a_cancelled_task_reaches_another(kept: Site, three_servers: list[Server]) -> None:
    chance = random.Random(seed())

    async def main() -> None:
        async with await tenfold.connect_async(kept.file) as db:
            cancelled = Cancelled(db, kept, chance)
            await asyncio.gather(*(cancelled.victim() for _ in range(5)), *(cancelled.asker() for _ in range(3)))
            pools = db._pools.values()
            await asyncio.gather(*(pool.ended() for pool in pools))
            assert {counted.in_use for counted in db.pools().values()} == {0}, db.pools()
            assert sum(counted.closed.get("cut", 0) for counted in db.pools().values()) > CANCELS / 10
            assert not [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]

    asyncio.run(main())
    wait_for(lambda: not connected(three_servers), "no connection is left", 5)
    halves = kept.look_everywhere("SELECT amount FROM deposits GROUP BY amount HAVING COUNT(*) <> 2")
    assert halves == {shard: [] for shard in SHARDS}


def connected(servers: list[Server]) -> bool:
    return any(server.sessions() for server in servers)


class Load:
    """Tasks that write and read for as long as they may, and note what was promised."""

    def __init__(self, site: Site, start: int) -> None:
        self.site, self.start = site, start
        self.keys = keys_of(site)
        self.promised: dict[int, int] = {}
        self.tried: dict[int, int] = {}
        self.wrong: list[BaseException] = []
        self.troubles: Counter[str] = Counter()
        self.left: dict[str, int] = {}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()))

    async def main(self) -> None:
        async with await tenfold.connect_async(self.site.file) as db:
            await asyncio.gather(*(self.worker(db, nth) for nth in range(8)))
            await asyncio.gather(*(pool.ended() for pool in db._pools.values()))
            self.left = {shard: counted.in_use for shard, counted in db.pools().items()}

    async def worker(self, db: tenfold.AsyncDatabase, nth: int) -> None:
        chance = random.Random(self.start + nth)
        number = nth * 1_000_000
        while not self.stop.is_set():
            number += 1
            try:
                await self.work(db, chance, number)
            except NodeError as error:
                self.troubles[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(0.005)
            except BaseException as error:
                self.wrong.append(error)
                return

    async def work(self, db: tenfold.AsyncDatabase, chance: random.Random, number: int) -> None:
        key, kind = chance.choice(self.keys), chance.random()
        if kind < 0.35:
            self.tried[number] = 2
            async with db.transaction() as tx:
                await tx.execute(DEPOSIT, (key, number + 1))
                await tx.execute(DEPOSIT, (key, number + 1))
            self.promised[number] = 2
        elif kind < 0.55:
            self.tried[number] = 1
            await db.execute(DEPOSIT, (key, number + 1))
            self.promised[number] = 1
        elif kind < 0.8:
            sql = "SELECT ? + user_id FROM deposits WHERE user_id = ? LIMIT 1"
            rows = (await db.execute(sql, (number, key))).rows
            assert not rows or rows[0][0] == number + key, (rows, number, key)
        elif kind < 0.9:
            rows = (await db.execute("SELECT COUNT(*), ? FROM deposits", (number,))).rows
            assert rows[0][1] == number
        else:
            last, wanted = 0, chance.randrange(1, 200)
            async with db.stream("SELECT amount FROM deposits ORDER BY amount") as stream:
                async for row in stream:
                    assert row[0] >= last
                    last, wanted = row[0], wanted - 1
                    if wanted < 0:
                        break


def restart(server: Server, chance: random.Random) -> None:
    server.kill()
    time.sleep(chance.random() * 0.2)
    server.start()


def pause(server: Server, chance: random.Random) -> None:
    server.pause()
    time.sleep(0.1 + chance.random() * (5.0 if LONG else 0.3))  # the limits are 3.5 s for an answer, 1 s to connect
    server.resume()


def kill_connections(server: Server, chance: random.Random) -> None:
    server.cut(number for number in server.sessions() if chance.random() < 0.5)
    time.sleep(0.05)


def take_no_writes(server: Server, chance: random.Random) -> None:
    server.sql("SET GLOBAL read_only = 1")
    time.sleep(chance.random() * 0.2)
    server.sql("SET GLOBAL read_only = 0")


@pytest.mark.timeout(3600 if LONG else 60)
@pytest.mark.parametrize("fault", [restart, pause, kill_connections, take_no_writes])
def test_a_server_that_breaks_under_tasks_loses_nothing_that_was_promised(
    kept: Site, three_servers: list[Server], fault: Callable[[Server, random.Random], None]
) -> None:
    kept.look_everywhere("DELETE FROM deposits")
    chance = random.Random(start := seed())
    load = Load(kept, start)
    load.thread.start()
    try:
        wait_for(lambda: len(load.promised) > 20, "work is done", 10)
        until_s = time.monotonic() + SECONDS
        while time.monotonic() < until_s:
            fault(three_servers[1], chance)
            time.sleep(chance.random() * 0.2)
        done = len(load.promised)
        # Back-off: the shard may be tried again only after a moment.
        wait_for(lambda: len(load.promised) > done + 50, "work goes on after it", 15)
    finally:
        load.stop.set()
        load.thread.join(30)
        print(load.troubles.most_common(8), load.wrong[:3])
    assert not load.thread.is_alive() and load.wrong == []
    assert set(load.left.values()) == {0}, load.left
    rows = kept.look_everywhere("SELECT amount - 1 FROM deposits").values()
    have = Counter(number for found in rows for (number,) in found)
    assert {number: have[number] for number in load.promised} == load.promised
    assert all(have[number] in (0, wanted) for number, wanted in load.tried.items()), "half a transaction"
    wait_for(lambda: not connected(three_servers), "no connection is left", 5)
    assert load.troubles or fault is pause, "the fault was felt by nobody"
