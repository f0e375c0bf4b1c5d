"""Moves and a deploy's migrations keep each other out, whoever comes first, and whoever is killed. Edge."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tenfold.deploy.claim import By, Claim
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.journal import Journal, Replaced
from tenfold.deploy.migrate import Migrating
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import Act, Item
from tenfold.deploy.whole import Migrate, Tables
from tenfold.errors import DeployError, MoveError, NodeError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.books import Books
from tenfold.sharding.moves.connections import Shards
from tenfold.topology.model import Topology
from tests.deploy.places import place
from tests.deploy.test_migrate import NICK, RUN, TABLES
from tests.support import wait_for

ORDER = Order(
    Kind.DEPLOY, "r1", "c1", "main", {"backend_0": None}, migrations=(TABLES.name, NICK.name), contracts=("0003.sql",)
)


@pytest.fixture
def books(shop: Topology) -> Iterator[Books]:
    found = Shards(shop)
    yield Books(found, shop.catalog_shard, lambda: 1e9)
    found.close()


def fenced(shop: Topology) -> int:
    """Take the lock of deploys, whoever has it; → its fence."""
    journal = Journal(shop).open()
    held = journal.take(journal.holder(), "ann", 900.0)
    journal.close()
    assert held is not None
    return held.fence


def step(shop: Topology, fence: int, act: Act, about: str = "") -> Migrate | Tables:
    kind = Tables if act is Act.TABLES else Migrate
    made = kind(Item(f"migrations.{about}", act, "migrations", "", about=about), Fleet(shop, fence), ORDER)
    if isinstance(made, Migrate):
        made.files = {TABLES.name: TABLES, NICK.name: NICK, "0003.sql": NICK}
    return made


def refused(books: Books) -> bool:
    """Whether no move begins now; one that does is ended."""
    try:
        move = books.announce((), {})
    except MoveError as error:
        return error.retryable and "deploy of r1 runs" in str(error) and "rollback --unfinished" in error.hint
    books.shards.execute(books.catalog, "UPDATE tf_move SET phase = 'done' WHERE id = ?", (move.id,))
    return False


def test_from_the_first_file_to_the_last_no_move_begins(shop: Topology, books: Books) -> None:
    fence = fenced(shop)
    assert not refused(books)
    for act, about, holds in (
        (Act.MIGRATE, TABLES.name, True), (Act.MIGRATE, NICK.name, True), (Act.TABLES, "", False),
        (Act.CONTRACT, "0003.sql", False),
    ):  # fmt: skip
        asyncio.run(step(shop, fence, act, about).apply())
        assert refused(books) == holds, about


def test_who_waits_behind_a_long_migration_of_sqlite_does_not_take_its_deploy_over(tmp_path: Path) -> None:
    shop = place(tmp_path / "shop")
    fence, journal = fenced(shop), Journal(shop)
    seen = journal.holder()  # and its beats wait behind the migration as we do
    asyncio.run(step(shop, fence, Act.MIGRATE, TABLES.name).apply())
    assert journal.take(seen, "bob", 900.0) is None
    journal.close()


def test_a_deploy_that_is_taken_back_lets_moves_begin_again(shop: Topology, books: Books) -> None:
    fence = fenced(shop)
    asyncio.run(step(shop, fence, Act.MIGRATE, TABLES.name).apply())
    assert refused(books)
    asyncio.run(step(shop, fence, Act.MIGRATE, TABLES.name).undo())
    assert not refused(books)
    asyncio.run(step(shop, fence, Act.MIGRATE, TABLES.name).undo())


def impatient(shards: Shards, catalog: str) -> None:
    driver = shards.at(catalog)
    mysql = shards.dialect is MYSQL
    driver.execute("SET SESSION innodb_lock_wait_timeout = 1" if mysql else "PRAGMA busy_timeout = 200", ())


def test_of_a_move_and_a_deploy_that_begin_at_once_each_waits_for_the_look_of_the_other(
    shop: Topology, shards: Shards, books: Books
) -> None:
    claim = Claim(shards, shop.catalog_shard, By("r1", 0))
    impatient(shards, shop.catalog_shard)
    impatient(books.shards, shop.catalog_shard)
    with claim._alone(), pytest.raises(NodeError):
        books.announce((), {})
    with books.changing(), pytest.raises(NodeError):
        claim.take()
    claim.take()
    assert refused(books)
    claim.give_back()
    books.announce((), {})
    with pytest.raises(MoveError, match="move 1 is announced"):
        claim.take()


def test_what_a_stopped_deployer_was_about_to_run_is_ended_before_moves_begin(
    shop: Topology, shards: Shards, books: Books
) -> None:
    migrating = Migrating(shop, By("r1", fenced(shop)))
    migrating.run(TABLES)
    shards.execute("shard_1", "INSERT INTO users (id, email) VALUES (1, 'a@b')")
    migrating._prepare(NICK, migrating.ground())
    command = [sys.executable, "-c", RUN, str(shop.file), NICK.name, NICK.text, "1"]
    with ExitStack() as ends:
        # The second shard does not let the first deployer by, who is stopped while it waits.
        with shards.transaction("shard_1", "holder", token=False) as holder:
            holder.execute("UPDATE users SET email = 'c@d' WHERE id = 1", ())
            process = ends.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            ends.callback(process.kill)

            def first_is_done() -> bool:
                line = migrating.ledgers(migrating.ground())["shard_0"].get(NICK.name)
                return process.poll() is not None or (line is not None and line.state == "done")

            wait_for(first_is_done, "the first shard is done", 30)
            process.send_signal(signal.SIGSTOP)
        second = fenced(shop)
        assert refused(books)
        asyncio.run(step(shop, second, Act.MIGRATE, NICK.name).undo())
        assert not refused(books)
        books.announce((), {})
        process.send_signal(signal.SIGCONT)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 1, told
    ledgers = migrating.ledgers(migrating.ground())
    assert {shard: ledgers[shard][NICK.name].state == "done" for shard in ledgers} == {
        "shard_0": True, "shard_1": False, "shard_2": False,
    }  # fmt: skip
    with pytest.raises(Replaced):
        migrating.run(NICK)
    with pytest.raises(Replaced):
        migrating.end()
    migrating.close()


def test_a_deployer_whose_setting_was_removed_runs_nothing_more(shop: Topology, shards: Shards) -> None:
    migrating = Migrating(shop, By("r1", fenced(shop)))
    migrating.run(TABLES)
    migrating._claim.give_back()
    ground = migrating.ground()
    with pytest.raises(DeployError, match="taken this deploy over"):
        migrating._on("shard_0", TABLES, [])
    assert ground.layout.shards
    migrating.close()
