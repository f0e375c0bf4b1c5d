"""A MariaDB server without room: its statements fail, none is half done, and the other shards go on. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import NodeDown
from tests.mariadb import Server, fresh_databases, server
from tests.sharding.engine.sites import MARIADB_SCHEMA, Site

# All tables share two files that do not grow.
SMALL_FILE = ("--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M;ibdata2:24M")
LONG_NAMES = (MARIADB_SCHEMA[0].replace("name VARCHAR(100)", "name LONGTEXT"), *MARIADB_SCHEMA[1:])
INSERT = "INSERT INTO users (id, email, name) VALUES (?, ?, ?)"
LONG = "x" * 300_000


@pytest.fixture
def site(three_servers: list[Server], mariadb_pattern: Path, tmp_path: Path) -> Iterator[Site]:
    """Three shards, of which the second has a few megabytes."""
    with server(mariadb_pattern, SMALL_FILE) as small:
        roomy, other = three_servers[:2]
        with fresh_databases([roomy, small, other], 3) as databases:
            made = Site(tmp_path / "site", databases=databases).set_up(LONG_NAMES)
            made.look("shard_1", "CREATE TABLE ballast AS SELECT REPEAT('x', 1000000) AS held FROM seq_1_to_4")
            yield made
            made.look("shard_1", "DROP TABLE IF EXISTS ballast")  # a full server does not even drop a database


def test_a_full_server_refuses_whole_statements_and_holds_up_no_other_shard(site: Site) -> None:
    with tenfold.connect(site.file) as db:
        stored = fill(db, site)
        assert 0 < stored < 150
        assert site.look("shard_1", "SELECT COUNT(*) FROM users") == [(stored,)]

        # Rows for two shards: that of the full one fails, so neither is there.
        before = site.look("shard_0", "SELECT COUNT(*) FROM users")
        rows = (site.key("shard_0", 0), "zero@x", "short", site.key("shard_1", 99), "one@x", LONG)
        with pytest.raises(NodeDown):
            db.execute("INSERT INTO users (id, email, name) VALUES (?, ?, ?), (?, ?, ?)", rows)
        assert site.look("shard_0", "SELECT COUNT(*) FROM users") == before

        # A transaction is undone whole.
        with pytest.raises(NodeDown):
            store_together(db, site, 40)
        assert site.look("shard_1", "SELECT COUNT(*) FROM users") == [(stored,)]
        assert site.look("shard_1", "SELECT COUNT(*) FROM deposits") == [(0,)]

        for shard in ("shard_0", "shard_2"):
            db.execute(INSERT, (site.key(shard, 1), f"{shard}@x", LONG))
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == stored + 2

        site.look("shard_1", "DROP TABLE ballast")  # room is made
        store_together(db, site, 3)
        assert site.look("shard_1", "SELECT COUNT(*) FROM users") == [(stored + 3,)]
    site.sweep()
    assert site.violations() == []


def store_together(db: tenfold.Database, site: Site, rows: int) -> None:
    """A transaction on the small shard: a deposit, then long rows."""
    with db.transaction() as tx:
        tx.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 1)", (site.key("shard_1", 0),))
        for nth in range(200, 200 + rows):
            tx.execute(INSERT, (site.key("shard_1", nth), f"t{nth}@x", LONG))


def fill(db: tenfold.Database, site: Site) -> int:
    """Store long rows on the small shard until it is full; → how many it took."""
    stored = 0

    def store() -> None:
        nonlocal stored
        while stored < 150:
            db.execute(INSERT, (site.key("shard_1", stored), f"u{stored}@x", LONG))
            stored += 1

    with pytest.raises(NodeDown, match="shard_1") as full:
        store()
    assert "make room" in full.value.hint and "xxx" not in str(full.value)
    return stored
