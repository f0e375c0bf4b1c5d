"""A MariaDB server without room: its statements fail, none is half done, and the other shards go on. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import NodeDown
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.mover import Limits, Mover
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import Leg
from tests.faults.conftest import LONG
from tests.mariadb import Server, server
from tests.sharding.engine.sites import Site, mariadb_site
from tests.support import wait_for

# All tables share one file that grows by a few megabytes and no further. Rows are short: MariaDB 10.11 itself ends,
# by an assertion, where a long text finds no room.
SMALL_FILE = ("--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:22M")
DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
BATCH = 2_000
ROWS = 80_000
"""More than there is room for beside the ballast, and less than without it."""


@pytest.fixture
def site(three_servers: list[Server], mariadb_pattern: Path, tmp_path: Path) -> Iterator[Site]:
    """Three shards, of which the second has room for some megabytes, a few of which are taken up for later."""
    with (
        server(mariadb_pattern, SMALL_FILE) as small,
        mariadb_site(tmp_path / "site", [three_servers[0], small, three_servers[1]]) as made,
    ):
        made.set_up()
        made.look("shard_1", "CREATE TABLE ballast AS SELECT seq, REPEAT('x', 100) AS held FROM seq_1_to_40000")
        yield made
        made.look("shard_1", "DROP TABLE IF EXISTS ballast")  # a full server does not even drop a database


def test_a_full_server_refuses_whole_statements_and_holds_up_no_other_shard(site: Site) -> None:
    here, there = site.key("shard_1"), site.key("shard_0")
    with tenfold.connect(site.file) as db:
        stored = fill(db, here)
        assert 0 < stored < 100 * BATCH
        assert deposits(site, "shard_1") == stored

        # One statement for two shards: the full one fails, so the row of the other is not there either.
        rows = [there, 1] + [here, 1] * BATCH
        with pytest.raises(NodeDown, match="shard_1"):
            db.execute(DEPOSIT + ", (?, ?)" * BATCH, rows)
        assert (deposits(site, "shard_0"), deposits(site, "shard_1")) == (0, stored)

        # A transaction is undone whole.
        with pytest.raises(NodeDown, match="shard_1"):
            store_together(db, here)
        assert deposits(site, "shard_1") == stored

        db.execute(DEPOSIT, (there, 7))
        assert db.execute("SELECT COUNT(*) FROM deposits").scalar() == stored + 1

        site.look("shard_1", "DROP TABLE ballast")

        def room_is_made() -> bool:  # in its own time
            with suppress(NodeDown):
                store_together(db, here)
            return deposits(site, "shard_1") > stored

        wait_for(room_is_made, "the server has room again", 20)
        assert deposits(site, "shard_1") == stored + 1 + BATCH


def deposits(site: Site, shard: str) -> int:
    """How many a shard has."""
    return int(site.look(shard, "SELECT COUNT(*) FROM deposits")[0][0])


def fill(db: tenfold.Database, key: int) -> int:
    """Store rows by batches until there is no room; → how many were taken."""
    stored = 0

    def store() -> None:
        nonlocal stored
        while stored < 100 * BATCH:
            db.executemany(DEPOSIT, [(key, 1)] * BATCH)
            stored += BATCH

    with pytest.raises(NodeDown, match="shard_1") as full:
        store()
    assert "make room" in full.value.hint
    return stored


def store_together(db: tenfold.Database, key: int) -> None:
    """A transaction of one row and then of many."""
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 2))
        tx.executemany(DEPOSIT, [(key, 3)] * BATCH)


@pytest.mark.skipif(not LONG, reason="`make faults` runs it")
def test_a_move_to_a_full_server_stops_and_goes_on_when_there_is_room(site: Site) -> None:
    key = site.key("shard_0")
    with tenfold.connect(site.file) as db:
        for _ in range(ROWS // BATCH):
            db.executemany(DEPOSIT, [(key, 1)] * BATCH)
    ids = site.look("shard_0", "SELECT id FROM deposits ORDER BY id")
    mover = Mover(site.topology(), limits=Limits(grace_s=0.0))
    mover.begin([Leg("shard_0", "shard_1", (bucket_of(key, KeyType.INTEGER),))])
    with pytest.raises(NodeDown, match="shard_1") as caught:
        mover.run()
    assert "make room" in caught.value.hint
    with tenfold.connect(site.file) as db:  # and everybody goes on
        assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (key,)).scalar() == ROWS
        db.execute("DELETE FROM deposits WHERE id = ? AND user_id = ?", (ids[0][0], key))

    site.look("shard_1", "DROP TABLE ballast")

    def goes_on() -> bool:  # room is made in the server's own time
        with suppress(NodeDown):
            return mover.run().phase is Phase.SERVING
        return False

    wait_for(goes_on, "the move serves", 60)
    mover.finish()
    assert site.look("shard_1", "SELECT id FROM deposits ORDER BY id") == ids[1:]
    assert deposits(site, "shard_0") == 0
