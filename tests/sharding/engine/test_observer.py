"""Every statement on a shard is told to the observer, with how it went. Edge."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tenfold.errors import ConstraintError, StatementError, TenfoldError
from tenfold.sharding.engine import async_database, database
from tests.monitor.listener import listening
from tests.sharding.engine.sites import Site


class Notes:
    """What was told, but for the statements on Tenfold's own tables."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, bool]] = []
        self.seconds: list[float] = []

    def statement(self, kind: str, table: str, shard: str, ok: bool, seconds: float) -> None:
        if not table.startswith(("tf_", "sqlite_", "pragma_")) and kind != "other":
            self.told.append((kind, table, shard, ok))
            self.seconds.append(seconds)

    def take(self) -> list[tuple[str, str, str, bool]]:
        """What was told since the last time, sorted."""
        told, self.told = sorted(self.told), []
        return told


def test_each_shard_that_a_statement_reached_is_told_of(site: Site) -> None:
    notes = Notes()
    with database.connect(site.file, observer=notes) as db:
        db.execute("INSERT INTO posts (title) VALUES ('x')")
        assert notes.take() == [("insert", "posts", "shard_2", True)]
        db.execute("SELECT name FROM users")
        assert notes.take() == [("select", "users", shard, True) for shard in site.shards]
        db.executemany("UPDATE posts SET title = ? WHERE id = ?", [("a", 1), ("b", 2)])
        assert notes.take() == [("update", "posts", "shard_2", True)]
        with db.transaction() as tx:
            tx.execute("DELETE FROM posts")
        assert notes.take() == [
            ("begin", "", "shard_2", True), ("commit", "", "shard_2", True), ("delete", "posts", "shard_2", True)
        ]  # fmt: skip
        assert all(0 <= seconds < 60 for seconds in notes.seconds)


def test_a_refused_statement_is_an_error_and_a_taken_value_an_answer(site: Site) -> None:
    notes = Notes()
    with database.connect(site.file, observer=notes) as db:
        db.execute("INSERT INTO posts (title) VALUES ('x')")
        with pytest.raises(ConstraintError):
            db.execute("INSERT INTO posts (title) VALUES ('x')")
        with pytest.raises(StatementError):
            db.execute("SELECT nothing FROM posts")
    inserted = ("insert", "posts", "shard_2", True)
    assert notes.take() == [inserted, inserted, ("select", "posts", "shard_2", False)]


def test_a_shard_that_is_gone_is_told_as_an_error(site: Site) -> None:
    notes = Notes()
    with database.connect(site.file, observer=notes) as db:
        (site.root / "var").rename(site.root / "elsewhere")
        with pytest.raises(TenfoldError):
            db.execute("SELECT title FROM posts")
        with pytest.raises(TenfoldError), db.transaction() as tx:
            tx.execute("DELETE FROM posts")
        (site.root / "elsewhere").rename(site.root / "var")
    assert notes.take() == [("begin", "", "shard_2", False), ("select", "posts", "shard_2", False)]


def test_tasks_tell_the_same_as_threads(site: Site) -> None:
    notes = Notes()

    async def main() -> None:
        async with await async_database.connect_async(site.file, observer=notes) as db:
            await db.execute("INSERT INTO posts (title) VALUES ('x')")
            await db.execute("SELECT name FROM users")
            async with db.transaction() as tx:
                await tx.execute("DELETE FROM posts")
            with pytest.raises(StatementError):
                await db.execute("SELECT nothing FROM posts")

    asyncio.run(main())
    expected = [("insert", "posts", "shard_2", True), ("delete", "posts", "shard_2", True)]
    expected += [("begin", "", "shard_2", True), ("commit", "", "shard_2", True), ("select", "posts", "shard_2", False)]
    assert notes.take() == sorted([*expected, *(("select", "users", shard, True) for shard in site.shards)])


APP = """
import asyncio, tenfold
with tenfold.connect() as db:
    for n in range(5):
        db.execute("SELECT title FROM posts WHERE id = ?", (n,))
async def main():
    async with await tenfold.connect_async() as db:
        await db.execute("SELECT code FROM currencies")
asyncio.run(main())
"""


@pytest.mark.parametrize("agent", ["there", "not named"])
def test_an_application_that_tenfold_started_tells_the_agent(site: Site, tmp_path: Path, agent: str) -> None:
    environment = {**os.environ, "TENFOLD_FILE": str(site.file)}
    environment.pop("TENFOLD_AGENT_SOCKET", None)
    with listening(tmp_path / "agent.sock") as listener:
        if agent == "there":
            environment |= {"TENFOLD_AGENT_SOCKET": str(listener.path), "TENFOLD_BACKEND": "backend_1"}
        subprocess.run([sys.executable, "-c", APP], env=environment, check=True, timeout=30)
        if agent == "not named":
            assert listener.connections == 0
            return
    told = Counter({labels: count for labels, count in listener.counts.items() if not labels[1].startswith("tf_")})
    assert told["select", "posts", "shard_2", "ok"] == 5
    assert told["select", "currencies", "shard_0", "ok"] == 1
    assert listener.backends == {"backend_1"}
