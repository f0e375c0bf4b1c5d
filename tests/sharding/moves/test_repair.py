"""A catalog that is lost or damaged, made anew from what the shards know; and what is not guessed. Edge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tenfold as package
from tenfold.sharding.moves.rebuilding import Told, rebuild
from tenfold.sharding.moves.record import REFERENCE
from tests.sharding.engine.sites import SCHEMA, Site
from tests.sharding.moves.conftest import USERS, Command

ON_THE_CATALOG = ("tf_catalog", "tf_member", "tf_table", "tf_move", "tf_router", "tf_worker", "tf_object", "tf_bucket")
WHOLE = "the catalog is whole: nothing to repair\n"


def catalog_of(site: Site) -> dict[str, list[tuple[object, ...]]]:
    """What must be the same after a repair as before the loss."""
    return {
        "map": site.look("shard_0", "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket"),
        "members": site.look("shard_0", "SELECT shard FROM tf_member ORDER BY position"),
        "tables": site.look("shard_0", "SELECT table_name, kind, detail, watermark, bucket FROM tf_table ORDER BY 1"),
        "settings": site.look("shard_0", "SELECT name, value FROM tf_catalog WHERE name IN"
                              " ('cluster', 'epoch', 'initialised', 'lease_s', 'schema_version') ORDER BY 1"),
        "objects": site.look("shard_0", "SELECT shard, object FROM tf_object ORDER BY 1, 2"),
    }  # fmt: skip


def assert_serves(site: Site) -> None:
    with package.connect(site.file) as db:
        assert db.execute("SELECT COUNT(*), SUM(id) FROM users").rows == [(USERS, USERS * (USERS + 1) // 2)]
        assert db.execute("SELECT COUNT(*) FROM posts").scalar() == 2
        row = db.execute("INSERT INTO deposits (user_id, amount) VALUES (7, 1)").lastrowid
        assert db.execute("SELECT user_id FROM deposits WHERE id = ?", (row,)).scalar() == 7
        db.execute("DELETE FROM deposits WHERE id = ?", (row,))


def test_a_catalog_that_is_whole_is_left_alone(filled_site: Site, tenfold: Command) -> None:
    before = filled_site.look("shard_0", "SELECT name, value FROM tf_catalog ORDER BY 1")
    assert tenfold(filled_site, "shard", "repair-catalog") == (0, WHOLE, "")
    assert filled_site.look("shard_0", "SELECT name, value FROM tf_catalog ORDER BY 1") == before


def test_a_map_with_holes_is_filled_from_the_copies(filled_site: Site, tenfold: Command) -> None:
    before = catalog_of(filled_site)
    version = int(filled_site.look("shard_0", "SELECT value FROM tf_catalog WHERE name = 'version'")[0][0])
    filled_site.look("shard_0", "DELETE FROM tf_bucket WHERE bucket BETWEEN 5 AND 9")
    code, out, err = tenfold(filled_site, "shard", "repair-catalog", "--yes")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "the map on shard_0 lacks 5 entries that other shards have"
    assert out.splitlines()[-1] == "the catalog on shard_0 is whole again"
    assert catalog_of(filled_site) == before
    after = int(filled_site.look("shard_0", "SELECT value FROM tf_catalog WHERE name = 'version'")[0][0])
    assert after > version  # so that every router reads it anew
    assert_serves(filled_site)


def test_a_catalog_that_is_lost_whole_is_made_anew(filled_site: Site, tenfold: Command) -> None:
    bucket = filled_site.look("shard_0", "SELECT MIN(bucket) FROM tf_bucket WHERE shard = 'shard_1'")[0][0]
    for arguments in (("move", "--buckets", str(bucket), "--to", "shard_2"), ("finish",)):
        assert tenfold(filled_site, "shard", *arguments, "--yes")[0] == 0
    before = catalog_of(filled_site)
    assert ("epoch", "2") in before["settings"]
    for table in ON_THE_CATALOG:
        filled_site.look("shard_0", f"DROP TABLE {table}")
    code, out, err = tenfold(filled_site, "shard", "repair-catalog", "--yes")
    assert (code, err) == (0, ""), out
    assert "the catalog lists no members" in out and "shard_0 lacks the table tf_move" in out
    assert catalog_of(filled_site) == before
    assert "`tenfold shard init` reserves the values of unique columns again" in out
    filled_site.initialise()
    assert filled_site.violations() == []
    assert_serves(filled_site)
    held = filled_site.look("shard_0", "SELECT MIN(worker) FROM tf_worker WHERE token <> ?", ("0" * 32,))
    assert held == [(256,)]  # whoever drew ids under a window of the lost catalog may go on with it
    assert tenfold(filled_site, "shard", "repair-catalog")[:2] == (0, WHOLE)


def test_a_catalog_from_an_old_backup_does_not_take_buckets_back(on_files: Site, tenfold: Command) -> None:
    bucket = on_files.look("shard_0", "SELECT MIN(bucket) FROM tf_bucket WHERE shard = 'shard_1'")[0][0]
    old = on_files.look("shard_0", "SELECT bucket, shard, epoch FROM tf_bucket WHERE bucket = ?", (bucket,))[0]
    for arguments in (("move", "--buckets", str(bucket), "--to", "shard_2"), ("finish",)):
        assert tenfold(on_files, "shard", *arguments, "--yes")[0] == 0
    on_files.look("shard_0", "UPDATE tf_bucket SET shard = ?, epoch = ? WHERE bucket = ?", (old[1], old[2], bucket))
    on_files.look("shard_0", "UPDATE tf_catalog SET value = '1' WHERE name = 'epoch'")
    code, out, _ = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 0 and "the map on shard_0 is older than what shards say of 1 entries" in out
    assert "the catalog's epoch 1 is older than 2" in out
    assert on_files.look("shard_0", "SELECT shard, epoch FROM tf_bucket WHERE bucket = ?", (bucket,)) == [
        ("shard_2", 2)
    ]
    assert_serves(on_files)


def test_adopted_ids_are_found_after_the_record_of_the_last_of_them_is_lost(tmp_path: Path, tenfold: Command) -> None:
    site = Site(tmp_path / "site")
    for statement in SCHEMA[:2]:
        site.look("shard_0", statement)
    site.look("shard_0", "INSERT INTO users (id) VALUES (1), (2), (3)")
    site.look("shard_0", "INSERT INTO deposits VALUES (10, 1, 5), (500, 2, 5)")
    site.initialise()
    with package.connect(site.file) as db:
        for statement in SCHEMA:
            db.execute(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        new = db.execute("INSERT INTO deposits (user_id, amount) VALUES (3, 5)").lastrowid
    marks = "SELECT table_name, watermark FROM tf_table ORDER BY 1"
    before = site.look("shard_0", marks)
    assert ("deposits", 500) in before
    for table in ("tf_catalog", "tf_table", "tf_member"):
        site.look("shard_0", f"DROP TABLE {table}")
    assert tenfold(site, "shard", "repair-catalog", "--yes")[0] == 0
    assert dict(site.look("shard_0", marks))["deposits"] == 500
    site.initialise()
    with package.connect(site.file) as db:
        assert db.execute("SELECT user_id FROM deposits WHERE id = 500").scalar() == 2
        assert db.execute("SELECT user_id FROM deposits WHERE id = ?", (new,)).scalar() == 3


@pytest.mark.parametrize(
    ("shard", "sql", "what"),
    [
        ("shard_1", "UPDATE tf_fence SET state = 'open' WHERE bucket = 3",
         "shard_0 and shard_1 are both said to own bucket 3"),
        ("shard_1", "UPDATE tf_fence SET state = 'fenced' WHERE bucket = 2000",
         "the catalog knows of no move, and shard_1 is amid one"),
        ("shard_0", "UPDATE tf_member SET shard = 'shard_9' WHERE shard = 'shard_2'",
         "shard_9 owns buckets, or is a member, and is not in the file"),
    ],
)  # fmt: skip
def test_what_only_a_person_can_decide_is_named_and_nothing_is_written(
    on_files: Site, tenfold: Command, shard: str, sql: str, what: str
) -> None:
    on_files.look(shard, sql)
    before = catalog_of(on_files)
    code, out, _ = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 1 and f"cannot be decided: {what}" in out
    told = json.loads(tenfold(on_files, "shard", "repair-catalog", "--yes", "--json")[1])
    assert any(what in one for one in told["conflicts"])
    assert catalog_of(on_files) == before


def test_a_bucket_that_nobody_knows_is_not_given_to_anybody(on_files: Site, tenfold: Command) -> None:
    for shard in on_files.shards:
        on_files.look(shard, "DELETE FROM tf_bucket WHERE bucket = 7")
        on_files.look(shard, "DELETE FROM tf_fence WHERE bucket = 7")
    code, out, _ = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 1 and "no shard knows who owns bucket 7" in out


def test_a_record_of_a_move_that_is_older_than_its_mover_is_not_gone_by(on_files: Site, tenfold: Command) -> None:
    legs = json.dumps([{"source": "shard_0", "target": "shard_1", "buckets": "1"}])
    on_files.look("shard_0", "INSERT INTO tf_move VALUES (1, 'copying', 3, ?, '{}', 0, 0)", (legs,))
    on_files.look("shard_1", "INSERT INTO tf_shard VALUES ('mover', '5')")
    code, out, _ = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 1 and "the catalog has move 1 as copying, and a later mover has been at work" in out


def test_an_empty_database_in_the_place_of_the_catalog_is_not_taken_for_it(on_files: Site, tenfold: Command) -> None:
    on_files.path("shard_0").unlink()
    code, _, err = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 75 and "shard_0" in err
    on_files.look("shard_0", "CREATE TABLE something (id INTEGER)")
    code, out, _ = tenfold(on_files, "shard", "repair-catalog", "--yes")
    assert code == 1 and "shard_0 owns buckets and its database is empty: their rows are gone with it" in out


def test_a_bucket_amid_its_cutover_is_its_sources_until_somebody_bumped_it() -> None:
    every = [(bucket, "a", 1) for bucket in range(4096)]
    fences = [(bucket, "open", 1, "") for bucket in range(1, 4096)]
    found = rebuild(
        {
            "a": Told(every, [(0, "fenced", 1, ""), *fences, (REFERENCE, "open", 1, "")]),
            "b": Told(every, [(0, "incoming", 1, "a"), (REFERENCE, "open", 1, "")]),
        }
    )
    assert found.conflicts == [] and found.map[0] == ("a", 1)
    found = rebuild(
        {"a": Told(every, [(0, "moved", 5, "b"), *fences]), "b": Told(every, [(0, "incoming", 1, "a")])}
    )  # fmt: skip
    assert found.conflicts == [] and found.map[0] == ("b", 5) and found.epoch == 5
