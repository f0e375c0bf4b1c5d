"""A platform of the release before, brought to this one: whatever was unfinished, and stopped after any step. Edge."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tenfold.errors import CatalogError
from tenfold.sharding.adopt import adopt
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.reserve import claim_of
from tests.faults.test_killed_initialisation import Killed, stopped
from tests.mariadb import Server
from tests.sharding.engine.sites import GROUP, Site, mariadb_site

USERS = range(1, 9)
STATES = ("kept", "pending", "pending", "releasing", "releasing")
VERDICTS = ("", "kept", "", "kept", "")
"""Of a statement of each state: what its writer said before it vanished; "" is nothing."""


def of_version_1(site: Site) -> Site:
    """The site as the release before would have left it, with statements that never ended."""
    site.set_up()
    on_mysql = site.engine == "mysql"
    for shard in site.shards:
        for sql in (
            "DROP TABLE tf_fence", "DELETE FROM tf_bucket WHERE bucket >= 4096", "DROP TABLE tf_verdict",
            "CREATE TABLE tf_verdict (token CHAR(32) PRIMARY KEY, verdict VARCHAR(10) NOT NULL, at_s DOUBLE PRECISION"
            " NOT NULL)" + (" ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin" if on_mysql else ""),
            "CREATE INDEX tf_verdict_at ON tf_verdict (at_s)", "DELETE FROM tf_reservation",
        ):  # fmt: skip
            site.look(shard, sql)
    for sql in (
        "DROP TABLE tf_move", "DROP TABLE tf_router", "ALTER TABLE tf_table DROP COLUMN bucket",
        "DELETE FROM tf_catalog WHERE name IN ('version', 'lease_s')",
        "UPDATE tf_catalog SET value = '1' WHERE name = 'schema_version'",
        "DELETE FROM tf_object WHERE object IN ('tf_fence', 'tf_move', 'tf_router')",
    ):  # fmt: skip
        site.look("shard_0", sql)
    for user in USERS:
        state, verdict = STATES[user % 5], VERDICTS[user % 5]
        owner_bucket, email, token = bucket_of(user, KeyType.INTEGER), f"u{user}@example.org", f"{user:032}"
        claim = claim_of("users", "email", email, KeyType.TEXT, owner_bucket)
        (home,) = site.look("shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", (claim.bucket,))[0]
        site.look(
            home, "INSERT INTO tf_reservation VALUES (?, ?, ?, ?, ?, ?, ?)",
            (claim.scope, claim.digest, claim.bucket, owner_bucket, state, token, time.time()),
        )  # fmt: skip
        if verdict:
            site.look(site.owner(user), "INSERT INTO tf_verdict VALUES (?, ?, ?)", (token, verdict, time.time()))
        if state == "kept" or (state == "pending") == (verdict == "kept"):
            site.look(site.owner(user), "INSERT INTO users (id, email) VALUES (?, ?)", (user, email))
    return site


def assert_upgraded(site: Site) -> None:
    assert site.violations() == []
    unsettled = site.look_everywhere("SELECT COUNT(*) FROM tf_reservation WHERE state <> 'kept'")
    assert unsettled == {shard: [(0,)] for shard in site.shards}
    settings = dict(site.look("shard_0", "SELECT name, value FROM tf_catalog"))
    assert (settings["schema_version"], settings["lease_s"]) == ("2", "2") and int(settings["version"]) >= 1
    map = site.look("shard_0", "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
    assert len(map) == 4097 and map[-1] == (4097, "shard_2", 1)
    assert site.look("shard_0", "SELECT bucket FROM tf_table WHERE table_name = 'posts'") == [(4097,)]
    for shard in site.shards:
        fences = site.look(shard, "SELECT bucket, state, epoch, to_shard FROM tf_fence ORDER BY bucket")
        assert [row[0] for row in fences] == [*range(4096), REFERENCE, 4097]
        for (bucket, state, epoch, to), (_, owner, _) in zip(fences[:4096], map, strict=False):
            assert (state, epoch, to) == (("open", 1, "") if owner == shard else ("moved", 1, owner)), bucket
        assert site.look(shard, "SELECT token, bucket, verdict FROM tf_verdict") == []
        own = "SELECT name FROM sqlite_master WHERE name GLOB 'tf_*'"
        if site.engine == "mysql":
            own = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()" \
                  " AND table_name LIKE 'tf%'"  # fmt: skip
        ledger = site.look("shard_0", "SELECT object FROM tf_object WHERE shard = ?", (shard,))
        assert sorted(ledger) == sorted(site.look(shard, own))


@pytest.fixture(params=["sqlite", "mysql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A platform of the release before."""
    if request.param == "sqlite":
        yield of_version_1(Site(tmp_path / "site"))
        return
    servers: list[Server] = request.getfixturevalue("three_servers")
    with mariadb_site(tmp_path / "mariadb", servers) as site:
        yield of_version_1(site)


def test_a_platform_of_the_release_before_is_brought_up_to_date(old: Site) -> None:
    with pytest.raises(CatalogError, match="schema_version 1") as caught:
        old.connect()
    assert "shard init" in caught.value.hint
    made = old.initialise()
    assert made.done == ["the catalog is brought from schema_version 1 to 2"]
    assert len(made.notes) == 1 and "--restarted" in made.notes[0]
    assert_upgraded(old)
    again = old.initialise()
    assert again.done == [] and again.notes == made.notes
    with old.connect() as db:
        db.execute("INSERT INTO users (email) VALUES ('new@example.org')")
        db.execute("INSERT INTO posts (title) VALUES ('one')")
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 4 + 1


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_an_upgrade_killed_after_any_step_is_finished_by_the_next(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    steps, done = 4, False
    while not done:
        if engine == "sqlite":
            done = killed_and_finished(of_version_1(Site(tmp_path / f"site_{steps}")), steps)
        else:
            with mariadb_site(tmp_path / f"site_{steps}", request.getfixturevalue("three_servers")) as site:
                done = killed_and_finished(of_version_1(site), steps)
        steps += 29 if engine == "sqlite" else 97
    assert steps > 70, steps


def killed_and_finished(site: Site, steps: int) -> bool:
    """Upgrade, stopped after so many effects, and upgrade again; → whether it had ended before."""
    done = False
    with one_off_runner(site.topology()) as runner, suppress(Killed):
        runner.run(stopped(adopt(site.topology()), steps))
        done = True
    site.initialise()
    assert_upgraded(site)
    return done


def test_only_a_person_can_say_that_no_older_process_runs_any_more(tmp_path: Path) -> None:
    from tenfold.cli.main import main

    site = of_version_1(Site(tmp_path / "site"))
    assert main(["shard", "init", "--file", str(site.file)]) == 0
    assert site.look("shard_0", "SELECT COUNT(*) FROM tf_catalog WHERE name = 'older_routers'") == [(1,)]
    assert main(["shard", "init", "--restarted", "--file", str(site.file)]) == 0
    assert site.look("shard_0", "SELECT COUNT(*) FROM tf_catalog WHERE name = 'older_routers'") == [(0,)]


def test_a_database_of_another_platform_is_not_touched_by_an_upgrade(tmp_path: Path) -> None:
    site = of_version_1(Site(tmp_path / "site"))
    site.look("shard_1", "UPDATE tf_shard SET value = 'theirs' WHERE name = 'cluster'")
    before = site.path("shard_0").read_bytes()
    with pytest.raises(CatalogError, match="shard_1 belongs to another platform"):
        site.initialise()
    assert site.path("shard_0").read_bytes() == before


def test_a_longer_lease_is_taken_over_at_once_and_a_shorter_one_when_the_longer_ran_out(site: Site) -> None:
    def lease() -> tuple[str, int]:
        rows = dict(site.look("shard_0", "SELECT name, value FROM tf_catalog"))
        assert "lease_was_s" not in rows
        return rows["lease_s"], int(rows["version"])

    first, version = lease()
    assert first == "2"
    site.write(settings="lease_s = 0.1")
    started_s = time.monotonic()
    assert site.initialise().done == ["processes trust their copy of the bucket map for 0.1 s"]
    assert time.monotonic() - started_s >= 2 and lease() == ("0.1", version + 1)
    assert site.initialise().done == []
    site.write(settings="lease_s = 9.0")
    assert site.initialise().done == ["processes trust their copy of the bucket map for 9 s"]
    assert time.monotonic() - started_s < 8 and lease() == ("9", version + 2)


def test_a_lease_keeps_its_length_while_a_move_counts_on_it(site: Site) -> None:
    legs = json.dumps([{"source": "shard_0", "target": "shard_1", "buckets": "1"}])
    site.look("shard_0", "INSERT INTO tf_move VALUES (1, 'copying', 1, ?, '{}', 0, 0)", (legs,))
    site.write(settings="lease_s = 9.0")
    assert site.initialise().done == ["database.lease_s stays 2 s: a move is under way; run this again when it is done"]
    assert site.look("shard_0", "SELECT value FROM tf_catalog WHERE name = 'lease_s'") == [("2",)]


def test_a_pinned_table_that_the_file_puts_elsewhere_stays_where_it_is(site: Site) -> None:
    site.write(GROUP.replace('shard_2 = ["posts"]', 'shard_1 = ["posts"]'))
    assert site.initialise().done == []  # empty or not: a move takes it there
    with site.connect() as db:
        db.execute("INSERT INTO posts (title) VALUES ('hello')")
    assert site.look("shard_2", "SELECT title FROM posts") == [("hello",)]
