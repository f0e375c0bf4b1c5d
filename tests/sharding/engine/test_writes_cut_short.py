"""Writes over several shards that are cut short: killed processes, lost shards, schemas changed halfway. Edge."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tenfold.errors import NodeError, RoutingError, StatementError, TenfoldError
from tenfold.sharding.catalog import load
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.execute import Executor
from tenfold.sharding.ports import Commit, Params, Reply, Steps
from tests.faults.conftest import LONG
from tests.sharding.engine.writing import World, world_in
from tests.support import wait_for

ROUNDS = 8 * (LONG or 1)
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["sqlite", "mysql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Three shards of each engine, which are not what they were afterwards."""
    with world_in(tmp_path / "site", request) as found:
        yield found


on_mysql = pytest.mark.parametrize("world", ["mysql"], indirect=True)
on_sqlite = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


def test_a_killed_process_leaves_each_shard_with_all_of_its_rows_or_none(world: World) -> None:
    seed = random.randrange(1 << 32) if LONG else 4
    print(f"seed {seed}")
    world.db.execute("INSERT INTO logins VALUES " + ", ".join(["(?, 0)"] * len(world.keys)), world.keys)
    arguments = [str(world.site.file), str(seed), str(ROUNDS), *map(str, world.keys)]
    subprocess.run(
        [sys.executable, "-m", "tests.sharding.engine.killed", *arguments], cwd=ROOT, check=True, timeout=60 * ROUNDS
    )
    for shard in world.site.shards:
        # The server notices that its client has gone, and rolls back.
        wait_for(partial(whole, world, shard), f"{shard} is whole (seed {seed})", 5)
    world.site.sweep()
    assert world.site.violations() == []
    assert world.at_home("notes") and world.at_home("users", "id")
    halves = [
        len({row[0] for row in world.site.look(shard, "SELECT DISTINCT name FROM notes")})
        for shard in world.site.shards
    ]
    assert max(halves) > 0, "no round came far enough to store anything"


def whole(world: World, shard: str) -> bool:
    """Whether every statement has changed all of a shard's three users, or none."""
    notes = Counter(row[0] for row in world.site.look(shard, "SELECT name FROM notes"))
    counts = {row[0] for row in world.site.look(shard, "SELECT count FROM logins")}
    return set(notes.values()) <= {3} and len(counts) == 1


def test_values_of_rows_that_were_not_committed_are_free_again(world: World) -> None:
    rows = ", ".join(["(?, ?)"] * 9)
    params = [item for key in world.keys for item in (key, f"{key}@e")]
    assert ran(world, f"INSERT INTO users (id, email) VALUES {rows}", params, stop_before=2) is None
    world.site.sweep()
    assert world.all("SELECT id FROM users") == sorted((key,) for key in world.keys[::3])  # those of the first shard
    assert world.site.violations() == []
    lost = [item for key in world.keys[1:3] for item in (key, f"{key}@e")]
    assert world.db.execute("INSERT INTO users (id, email) VALUES (?, ?), (?, ?)", lost).rowcount == 2


def ran(
    world: World,
    sql: str,
    params: Params,
    *,
    stop_before: int | None = None,
    act_before: tuple[int, Callable[[str], object]] | None = None,
) -> Reply | None:
    """Run a statement; stop for ever before its n-th commit, or do something to the shard before it."""
    topology = world.site.topology()

    def watched(steps: Steps[Reply]) -> Steps[Reply | None]:
        commits, answer, failed = 0, None, None
        while True:
            try:
                effect = steps.send(answer) if failed is None else steps.throw(failed)
            except StopIteration as stop:
                found: Reply = stop.value
                return found
            answer = failed = None
            if isinstance(effect, Commit):
                commits += 1
                if commits == stop_before:
                    return None
                if act_before is not None and commits == act_before[0]:
                    act_before[1](effect.shard)
            try:
                answer = yield effect
            except TenfoldError as error:
                failed = error

    with one_off_runner(topology) as runner:
        executor = Executor(runner.run(load(topology)), threading.Lock(), 1.0)
        return runner.run(watched(executor.execute(sql, params, None)))


@on_mysql
def test_a_shard_lost_between_two_commits_is_named_with_those_that_have_committed(world: World) -> None:
    def cut(shard: str) -> None:
        with world.site.client(shard) as client, client.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE()"
            )
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")

    sql = "INSERT INTO users (id, email) VALUES (?, 'a@e'), (?, 'b@e'), (?, 'c@e')"
    with pytest.raises(NodeError) as caught:
        ran(world, sql, world.keys[:3], act_before=(2, cut))
    assert "users: committed on shard_0, perhaps on shard_1 (its answer was lost), not on shard_2" in str(caught.value)
    assert "see what the other shards have" in caught.value.hint
    assert not caught.value.retryable, "to run it all again would be wrong"
    assert world.all("SELECT email FROM users") == [("a@e",)]
    world.site.sweep()
    assert world.site.violations() == []


@on_sqlite
def test_a_constraint_that_fails_at_the_second_commit_is_told_with_what_is_committed(world: World) -> None:
    for shard in world.site.shards:
        world.site.look(shard, "CREATE TABLE known (user_id INTEGER PRIMARY KEY)")
        world.site.look(shard, "DROP TABLE notes")
        world.site.look(
            shard,
            "CREATE TABLE notes (user_id INTEGER NOT NULL REFERENCES known DEFERRABLE INITIALLY DEFERRED,"
            " name TEXT NOT NULL, value TEXT, PRIMARY KEY (user_id, name))",
        )
    world.site.look("shard_0", "INSERT INTO known VALUES (?)", (world.keys[0],))
    rows = "INSERT INTO notes VALUES (?, 'x', 'y'), (?, 'x', 'y'), (?, 'x', 'y')"
    with pytest.raises(NodeError, match="notes: committed on shard_0, not on shard_1, shard_2") as caught:
        world.db.execute(rows, world.keys[:3])
    assert not caught.value.retryable
    assert world.all("SELECT user_id FROM notes") == [(world.keys[0],)]
    with pytest.raises(StatementError, match="FOREIGN KEY"):  # before any has committed
        world.db.execute(rows, world.keys[3:6])


@on_mysql
def test_a_schema_that_changed_on_some_shards_says_which(world: World) -> None:
    world.site.look("shard_1", "ALTER TABLE notes ADD COLUMN extra INTEGER")
    change = "ALTER TABLE notes ADD COLUMN extra INTEGER"
    with pytest.raises(NodeError) as caught:
        world.db.execute(change)
    assert "notes: changed on shard_0, not on shard_1, shard_2: " in str(caught.value)
    assert "IF NOT EXISTS" in caught.value.hint and not caught.value.retryable
    world.db.execute(change.replace("COLUMN", "COLUMN IF NOT EXISTS"))
    key = world.keys[2]
    assert world.db.execute("INSERT INTO notes VALUES (?, 'n', 'v', 5)", (key,)).rowcount == 1
    with pytest.raises(StatementError):  # the first shard has it, and nothing was done
        world.db.execute(change)


@on_mysql
def test_a_truncated_table_is_empty_on_every_shard(world: World) -> None:
    rows = ", ".join(["(?, 'n', 'v')"] * 9)
    world.db.execute(f"INSERT INTO notes VALUES {rows}", world.keys)
    world.db.execute("TRUNCATE TABLE notes")
    assert world.all("SELECT user_id FROM notes") == []
    # A value that is claimed between the two would be forgotten while its row is there.
    with pytest.raises(RoutingError, match="reserved values"):
        world.db.execute("TRUNCATE users")
