"""A shard that joins or leaves: its schema, its reference rows, stopped after any step, and taken back. Edge."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import CatalogError, ConstraintError, FenceError, MoveError, NodeError
from tenfold.sharding.moves.joining import Joining, joinable
from tenfold.sharding.moves.progress import Silence
from tests.mariadb import Server
from tests.sharding.engine.sites import GROUP, Site
from tests.sharding.moves.conftest import LEASE, widened

FENCE = "SELECT state, epoch FROM tf_fence WHERE bucket = 4096"
OWN = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name NOT GLOB 'sqlite_*' ORDER BY name",
    "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() UNION ALL SELECT"
    " trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1",
}


class Killed(BaseException):
    """The end of the process."""


class StopsAt(Silence):
    """Ends the process before the nth step."""

    def __init__(self, nth: int) -> None:
        self.left, self.seen = nth, [""]

    def step(self, name: str) -> None:
        self.seen.append(name)
        if not self.left:
            raise Killed(name)
        self.left -= 1


def join(site: Site, progress: Silence | None = None) -> None:
    with closing(Joining(site.topology(), progress or Silence())) as joining:
        joining.join("shard_3")


def resume(site: Site) -> None:
    with closing(Joining(site.topology(), Silence())) as joining:
        joining.resume()


def assert_joined(site: Site, epoch: int = 2) -> None:
    members = [row[0] for row in site.look("shard_0", "SELECT shard FROM tf_member ORDER BY position")]
    assert members == ["shard_0", "shard_1", "shard_2", "shard_3"]
    assert site.look_everywhere(FENCE) == {shard: [("open", epoch)] for shard in site.shards}
    copies = site.look_everywhere("SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
    assert copies["shard_3"] == copies["shard_0"] == copies["shard_1"]
    assert copies["shard_0"][4096:] == [(4096, "", epoch), (4097, "shard_2", 1)]
    assert set(site.look("shard_3", "SELECT state FROM tf_fence WHERE bucket <> 4096")) == {("moved",)}
    objects = site.look_everywhere(OWN[site.engine])
    names = {name for (name,) in objects["shard_3"]}
    assert {"users", "deposits", "currencies"} <= names and "posts" not in names
    kept = {name for name in names if name.startswith("tf_")}
    assert kept == {name for (name,) in objects["shard_1"] if name.startswith("tf_")}
    ledger = {name for (name,) in site.look("shard_0", "SELECT object FROM tf_object WHERE shard = 'shard_3'")}
    assert ledger == kept
    assert site.look("shard_0", "SELECT phase FROM tf_move ORDER BY id DESC LIMIT 1") == [("done",)]
    found = site.look_everywhere("SELECT code, digits FROM currencies ORDER BY code")
    assert found == {shard: [("CHF", 2), ("JPY", 0)] for shard in site.shards}


def test_a_shard_that_joins_has_the_schema_and_the_reference_rows(four: Site) -> None:
    join(four)
    assert_joined(four)
    with tenfold.connect(four.file) as db:
        db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 60
    assert four.look("shard_3", "SELECT code FROM currencies ORDER BY code") == [("CHF",), ("EUR",), ("JPY",)]
    schema = four.look_everywhere(
        "SELECT sql FROM sqlite_master WHERE name = 'deposits_user'" if four.engine == "sqlite" else
        "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'deposits'"
    )  # fmt: skip
    assert schema["shard_3"] == schema["shard_0"] != []


def test_a_join_stopped_before_any_step_goes_on_and_ends_the_same(filled_pattern: Path, tmp_path: Path) -> None:
    import shutil

    nth, stopped = 0, True
    while stopped:
        shutil.copytree(filled_pattern, tmp_path / f"site_{nth}")
        with widened(Site(tmp_path / f"site_{nth}")) as site:
            stopped = False
            with suppress(Killed):
                join(site, progress := StopsAt(nth))
                stopped = False
            stopped = progress.left == 0 and len(progress.seen) == nth + 2
            if stopped:
                resume(site)
            assert_joined(site)
        nth += 5
    assert nth > 20


@pytest.mark.parametrize(
    ("engine", "nth"), [*(("sqlite", nth) for nth in (0, 2, 5, 9, 14, 17)), ("mysql", 5), ("mysql", 12)]
)
def test_a_join_can_be_taken_back_until_the_members_have_changed(
    engine: str, nth: int, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue("on_files" if engine == "sqlite" else "on_servers")
    servers = request.getfixturevalue("three_servers") if engine == "mysql" else None
    with widened(site, servers) as four:
        taken_back(four, nth)


def taken_back(four: Site, nth: int) -> None:
    before = {shard: four.look(shard, OWN[four.engine]) for shard in four.shards[:3]}
    with suppress(Killed):
        join(four, progress := StopsAt(nth))
    with closing(Joining(four.topology(), Silence())) as joining:
        if four.look("shard_0", "SELECT phase FROM tf_move") == [("cleaning",)]:
            with pytest.raises(MoveError, match="shard_3 has joined"):
                joining.cancel()
            return
        joining.cancel()
    assert {shard: four.look(shard, OWN[four.engine]) for shard in four.shards[:3]} == before
    assert four.look("shard_3", OWN[four.engine]) == [], progress.seen
    assert four.look("shard_0", "SELECT object FROM tf_object WHERE shard = 'shard_3'") == []
    assert four.look("shard_0", FENCE) == [("open", 1)]
    with tenfold.connect(four.file) as db:
        db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
    join(four)


def test_reference_rows_are_not_written_while_a_shard_joins(four_files: Site) -> None:
    class Writes(Silence):
        refused = 0

        def step(self, name: str) -> None:
            if name != "join.copy":
                return
            # Past Tenfold nobody knows its functions; a router without lease meets the fence.
            with tenfold.connect(four_files.file) as db, pytest.raises(NodeError) as caught:
                db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
            Writes.refused += isinstance(caught.value, FenceError)

    join(four_files, Writes())
    assert_joined(four_files)
    assert Writes.refused == 1


def test_copies_that_differ_already_are_told_and_not_spread(four_files: Site) -> None:
    four_files.look("shard_1", "INSERT INTO currencies VALUES ('EUR', 2)")
    with pytest.raises(MoveError, match=r"currencies does not hold the same rows on shard_0 \(2\) and shard_1 \(3\)"):
        join(four_files)
    with tenfold.connect(four_files.file) as db:
        assert db.execute("SELECT email FROM users WHERE id = 1").scalar() == "u1@example.org"


def test_a_database_that_is_not_empty_or_not_ours_does_not_join(four_files: Site, tmp_path: Path) -> None:
    four_files.look("shard_3", "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    four_files.look("shard_3", "INSERT INTO users VALUES (1)")
    with pytest.raises(MoveError, match="the database of shard_3 holds rows already: users"):
        join(four_files)
    four_files.path("shard_3").unlink()
    other = Site(tmp_path / "other")
    other.initialise()
    other.path("shard_1").rename(four_files.path("shard_3"))
    with pytest.raises(CatalogError, match="shard_3 belongs to another platform"):
        join(four_files)
    assert four_files.look("shard_0", "SELECT * FROM tf_move") == []


def test_a_name_that_is_not_declared_or_a_member_already_is_refused(on_files: Site) -> None:
    with pytest.raises(MoveError, match=r"shard_3 is not in tenfold\.toml"):
        joinable(on_files.topology(), "shard_3")
    with pytest.raises(MoveError, match="shard_2 belongs to the platform already"):
        joinable(on_files.topology(), "shard_2")


def test_two_changes_at_once_are_refused(four_files: Site) -> None:
    with suppress(Killed):
        join(four_files, StopsAt(3))
    with pytest.raises(MoveError, match="there is one at a time"):
        join(four_files)
    resume(four_files)
    assert_joined(four_files)


@pytest.mark.sample("mysql")
def test_a_shard_that_owns_nothing_may_leave_and_come_back(four: Site) -> None:
    join(four)
    with closing(Joining(four.topology(), Silence())) as joining:
        with pytest.raises(MoveError, match="shard_1 still owns bucket"):
            joining.leave("shard_1")
        joining.leave("shard_3")
    assert four.look("shard_0", "SELECT COUNT(*) FROM tf_member") == [(3,)]
    assert four.look("shard_0", FENCE) == [("open", 3)]
    detail = json.loads(four.look("shard_0", "SELECT detail FROM tf_move ORDER BY id DESC LIMIT 1")[0][0])
    assert detail["result"] == "left"
    shards = {name: four.shard_line(name) for name in four.shards[:3]}
    four.write(GROUP, shards, LEASE)
    with tenfold.connect(four.file) as db:
        db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
    assert four.look("shard_3", "SELECT COUNT(*) FROM currencies") == [(2,)]
    with tenfold.connect(four.file) as db:
        db.execute("DELETE FROM currencies WHERE code = 'EUR'")
        with pytest.raises(ConstraintError):
            db.execute("INSERT INTO currencies VALUES ('CHF', 3)")
    four.write(settings=LEASE)
    join(four)
    assert_joined(four, 4)


def test_reference_rows_that_fit_no_statement_together_are_copied_too(
    on_servers: Site, three_servers: list[Server]
) -> None:
    for shard in on_servers.shards:
        on_servers.look(shard, "ALTER TABLE currencies ADD flag LONGBLOB")
        on_servers.look(shard, "INSERT INTO currencies SELECT seq, 2, REPEAT('x', 500000) FROM seq_1_to_20")
    with widened(on_servers, three_servers) as site:
        join(site)
        assert site.look("shard_3", "SELECT COUNT(*), SUM(LENGTH(flag)) FROM currencies") == [(22, 20 * 500000)]
