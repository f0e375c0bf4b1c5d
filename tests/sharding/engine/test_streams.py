"""Rows read as they are wanted, scratch databases, and that a run leaves nothing open however it ends. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeError, PlatformError, StatementError, TenfoldError
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.ports import (
    SCRATCH,
    Begin,
    Close,
    Commit,
    Driver,
    Emit,
    EndScratch,
    Fetch,
    Gather,
    Open,
    Opened,
    Reply,
    Scratch,
    Send,
    SendMany,
    Steps,
)
from tests.mariadb import Server
from tests.sharding.engine.running import Run, in_use, run_by
from tests.sharding.engine.sites import Site
from tests.support import wait_for, wait_in_task

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, ? FROM n"


@pytest.fixture(params=["threads", "tasks"])
def run(request: pytest.FixtureRequest, home: Site) -> Run:
    """Runs steps by either runner; when they have ended nothing may be in use."""

    return partial(run_by, request.param, home.file)


def test_cursors_of_several_shards_are_read_side_by_side(home: Site, run: Run) -> None:
    def steps() -> Steps[list[Any]]:
        opened: list[Opened] = yield Gather([Open(shard, NUMBERS, (5, shard)) for shard in home.shards])
        assert [len(one.columns) for one in opened] == [2, 2, 2]
        first = yield Gather([Fetch(one.number, 3) for one in opened])
        rest = yield Gather([Fetch(one.number, 3) for one in opened])
        assert (yield Fetch(opened[0].number, 3)) == ()  # and its connection has gone home
        yield Close([one.number for one in opened])
        return [[tuple(row) for part in pair for row in part] for pair in zip(first, rest, strict=True)]

    assert run(steps) == [[(n, shard) for n in range(1, 6)] for shard in home.shards]


def test_what_a_run_leaves_open_is_closed_whether_it_returns_or_fails(home: Site, run: Run) -> None:
    def forgetful() -> Steps[int]:
        opened = yield Open("shard_1", NUMBERS, (900, "x"))
        yield Scratch("shard_0")
        return len((yield Fetch(opened.number, 10)))

    def failing() -> Steps[None]:
        yield Open("shard_1", NUMBERS, (900, "x"))
        yield Gather([Open("shard_0", NUMBERS, (900, "x")), Open("shard_2", "SELECT nothing FROM nowhere")])

    assert run(forgetful) == 10
    with pytest.raises(StatementError):
        run(failing)


def test_a_scratch_database_holds_temporary_tables_for_one_run(home: Site, run: Run) -> None:
    def steps() -> Steps[Any]:
        yield Scratch("shard_1")
        yield Send(SCRATCH, "CREATE TEMPORARY TABLE tf_some (id INTEGER, name VARCHAR(20))")
        yield SendMany(SCRATCH, "INSERT INTO tf_some VALUES (?, ?)", [(n, f"name {n}") for n in range(100)])
        both = yield Gather([Send(SCRATCH, "SELECT COUNT(*), MAX(id) FROM tf_some"), Send("shard_0", "SELECT 5")])
        opened = yield Open(SCRATCH, "SELECT name FROM tf_some ORDER BY id")
        names = yield Fetch(opened.number, 2)
        yield Send(SCRATCH, "DROP TABLE tf_some")
        yield EndScratch(clean=True)
        return [tuple(both[0].rows[0]), both[1].rows[0][0], [row[0] for row in names]]

    assert run(steps) == [(100, 99), 5, ["name 0", "name 1"]]
    assert home.look("shard_1", "SELECT COUNT(*) FROM users") == [(0,)]


def test_what_was_left_in_a_scratch_database_meets_nobody(home: Site) -> None:
    def dirty(*, clean: bool) -> Steps[None]:
        yield Scratch("shard_1")
        yield Send(SCRATCH, "CREATE TEMPORARY TABLE users (id INTEGER)")
        yield EndScratch(clean=clean)

    with home.connect() as db:
        db.execute("INSERT INTO users (id, name) VALUES (?, 'there')", (home.key("shard_1"),))
        db.runner.run(dirty(clean=False))
        assert db.execute("SELECT name FROM users WHERE id = ?", (home.key("shard_1"),)).scalar() == "there"
        if home.engine == "mysql":
            assert db.pools()["shard_1"].closed["cut"] == 1


def test_on_mariadb_the_scratch_database_of_a_transaction_sees_what_it_wrote(emptied: Site) -> None:
    key = emptied.key("shard_1")

    def steps(*, clean: bool) -> Steps[Any]:
        yield Scratch("shard_1")
        yield Send(SCRATCH, "CREATE TEMPORARY TABLE tf_seen AS SELECT name FROM users")
        seen = yield Send(SCRATCH, "SELECT * FROM tf_seen")
        if clean:
            yield Send(SCRATCH, "DROP TEMPORARY TABLE tf_seen")
        yield EndScratch(clean=clean)
        return seen.rows

    def write() -> Steps[None]:
        yield Begin("shard_1")
        yield Send("shard_1", "INSERT INTO users (id, name) VALUES (?, 'mine')", (key,))

    def commit() -> Steps[None]:
        yield Commit("shard_1")

    with emptied.connect() as db:
        for clean in (True, False):
            session: Session[Driver] = Session()
            db.runner.run(write(), session)
            assert list(db.runner.run(steps(clean=clean), session)) == [("mine",)]
            db.runner.run(commit(), session)
            # What was left there goes with its connection.
            assert db.pools()["shard_1"].closed.get("cut", 0) == (not clean)
            assert emptied.look("shard_1", "DELETE FROM users") == []


def test_rows_of_all_shards_come_in_pieces(home: Site) -> None:
    with home.connect() as db:
        db.executemany("INSERT INTO users (id, name) VALUES (?, ?)", [(n, f"n{n}") for n in range(1, 3001)])
        with db.stream("SELECT id, name FROM users ORDER BY id DESC") as rows:
            assert rows.columns == ("id", "name") and next(rows)["name"] == "n3000"
            assert in_use(db.pools()) >= 1
            assert [row[0] for row in rows] == list(range(2999, 0, -1))
            assert in_use(db.pools()) == 0
        assert list(db.stream("SELECT id FROM users WHERE id > 5000")) == []
        assert db.stream("SELECT id FROM users WHERE id > ?", (5000,)).columns == ("id",)
        assert [row["name"] for row in db.stream("SELECT name FROM users WHERE id = ?", (7,))] == ["n7"]
        assert in_use(db.pools()) == 0


def test_a_stream_that_is_abandoned_gives_its_connections_back(home: Site) -> None:
    with home.connect() as db:
        db.executemany("INSERT INTO users (id, name) VALUES (?, ?)", [(n, f"n{n}") for n in range(1, 4001)])
        for way in ("close", "with", "forget", "fail"):
            _abandoned(db, way)
            assert in_use(db.pools()) == 0, way
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 4000


def _abandoned(db: tenfold.Database, way: str) -> None:
    rows = db.stream("SELECT a.id FROM users a JOIN users b ON b.id = a.id ORDER BY a.id")
    assert next(rows)[0] == 1
    if way == "close":
        rows.close()
        assert list(rows) == []
    elif way == "with":
        with rows:
            next(rows)
    elif way == "fail":
        with pytest.raises(ZeroDivisionError):
            [1 // 0 for _ in rows]
    del rows


def test_a_stream_that_is_abandoned_by_a_task_gives_its_connections_back(home: Site) -> None:
    async def main() -> None:
        async with await tenfold.connect_async(home.file) as db:
            await db.executemany("INSERT INTO users (id, name) VALUES (?, ?)", [(n, f"n{n}") for n in range(1, 3001)])
            async with db.stream("SELECT id FROM users ORDER BY id") as rows:
                assert rows.columns == ("id",)
                async for row in rows:
                    assert row[0] == 1
                    break
            reading = asyncio.Event()
            task = asyncio.create_task(_read_slowly(db, reading))
            await reading.wait()
            assert in_use(db.pools()) > 0
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await wait_in_task(lambda: in_use(db.pools()) == 0, "every connection is given back", 2)
            assert len([row async for row in db.stream("SELECT id FROM users")]) == 3000
            with pytest.raises(StatementError):
                await anext(db.stream("SELECT nothing FROM users"))

    asyncio.run(main())


async def _read_slowly(db: tenfold.AsyncDatabase, reading: asyncio.Event) -> None:
    async for _ in db.stream("SELECT id FROM users ORDER BY id"):
        reading.set()
        await asyncio.sleep(0.01)


def test_an_error_in_the_midst_of_a_stream_reaches_its_reader(emptied: Site, three_servers: list[Server]) -> None:
    with emptied.connect() as db:
        db.executemany("INSERT INTO users (id, name) VALUES (?, ?)", [(n, "x") for n in range(1, 4001)])
        rows = db.stream("SELECT id, REPEAT(name, 30000) AS much FROM users")
        assert next(rows)["much"] == "x" * 30_000
        for server in three_servers:
            server.cut(server.sessions())
        with pytest.raises(NodeError, match="was lost") as caught:
            list(rows)
        assert caught.value.retryable and in_use(db.pools()) == 0
        wait_for(lambda: _counted(db) == 4_000, "the pools connect again", 5)


def _counted(db: tenfold.Database) -> object:
    try:
        return db.execute("SELECT COUNT(*) FROM users").scalar()
    except TenfoldError:
        return None


def test_a_stream_of_steps_can_be_told_to_stop_and_hears_errors(home: Site) -> None:
    heard: list[str] = []

    def steps() -> Steps[None]:
        try:
            yield Send("shard_0", "SELECT nothing FROM nowhere")
        except StatementError:
            heard.append("an error")
        try:
            yield Emit(("n",), [(1,)])
            yield Emit(("n",), [(2,)])
        except GeneratorExit:
            heard.append("the end")
            raise

    with home.connect() as db:
        replies: Iterator[Reply] = db.runner.stream(steps())
        assert next(replies).rows == [(1,)]
        del replies
    assert heard == ["an error", "the end"]


def test_a_closed_handle_streams_nothing(site: Site) -> None:
    db = site.connect()
    db.close()
    with pytest.raises(PlatformError, match="closed"):
        db.stream("SELECT 1")

    async def main() -> None:
        handle = await tenfold.connect_async(site.file)
        await handle.close()
        with pytest.raises(PlatformError, match="closed"):
            handle.stream("SELECT 1")

    asyncio.run(main())
