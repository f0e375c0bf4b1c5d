"""Making databases a platform: from nothing, from one that is in use, again and again. Edge."""

from __future__ import annotations

import re

import pytest

from tenfold.errors import CatalogError, ConfigError, ConstraintError, NodeDown, PlatformError
from tests.sharding.engine.sites import GROUP, SCHEMA, Site


@pytest.fixture
def lived_in(bare: Site) -> Site:
    """One database that an application has used for years, now the first of three shards."""
    for statement in SCHEMA[:2]:
        bare.look("shard_0", statement)
    for number in range(1, 51):
        bare.look("shard_0", "INSERT INTO users VALUES (?, ?, ?)", (number, f"u{number}@example.org", "name"))
        bare.look("shard_0", "INSERT INTO deposits VALUES (?, ?, ?)", (number * 10, number, 100))
    return bare


def test_a_second_initialisation_changes_nothing(bare: Site) -> None:
    first = bare.initialise()
    assert any("catalog on shard_0" in line for line in first.done)
    before = [path.read_bytes() for path in map(bare.path, bare.shards)]
    second = bare.initialise()
    assert second.done == [] and second.cluster == first.cluster
    assert [path.read_bytes() for path in map(bare.path, bare.shards)] == before


def test_every_shard_holds_a_copy_of_the_map_and_the_catalog_a_ledger(bare: Site) -> None:
    bare.initialise()
    copies = bare.look_everywhere("SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
    assert copies["shard_0"] == copies["shard_1"] == copies["shard_2"]
    assert copies["shard_0"] == [*copies["shard_0"][:4096], (4097, "shard_2", 1)]  # posts, pinned, has a number too
    assert [row[0] for row in copies["shard_0"][:4096]] == list(range(4096))
    ledger = set(bare.look("shard_0", "SELECT shard, object FROM tf_object"))
    for shard, tables in bare.look_everywhere("SELECT name FROM sqlite_master WHERE name GLOB 'tf_*'").items():
        assert {(shard, name) for (name,) in tables} == {entry for entry in ledger if entry[0] == shard}


def test_buckets_are_shared_out_by_weight(bare: Site) -> None:
    weights = {"shard_0": 1, "shard_1": 2, "shard_2": 5}
    bare.write(shards={name: f'url = "sqlite:///var/{name}.db", weight = {w}' for name, w in weights.items()})
    bare.initialise()
    counts = dict(bare.look("shard_0", "SELECT shard, COUNT(*) FROM tf_bucket WHERE bucket < 4096 GROUP BY shard"))
    assert counts == {"shard_0": 512, "shard_1": 1024, "shard_2": 2560}


def test_adopting_a_database_moves_nothing(lived_in: Site) -> None:
    lived_in.initialise()
    assert lived_in.look("shard_1", "SELECT DISTINCT shard FROM tf_bucket WHERE bucket < 4096") == [("shard_0",)]
    assert lived_in.look("shard_0", "SELECT COUNT(*), SUM(id) FROM users") == [(50, 1275)]
    assert lived_in.path("shard_1").exists() and not lived_in.look(
        "shard_1", "SELECT name FROM sqlite_master WHERE name NOT GLOB 'tf_*' AND name NOT GLOB 'sqlite_*'"
    )
    with lived_in.connect() as db:
        assert db.execute("SELECT name FROM users WHERE id = 7").scalar() == "name"
        assert db.execute("SELECT id FROM users WHERE email = 'u7@example.org'").scalar() == 7


def test_addresses_of_adopted_users_are_reserved(lived_in: Site) -> None:
    assert "users.email: unique over all shards, 50 values reserved" in lived_in.initialise().done
    with lived_in.connect() as db:
        with pytest.raises(ConstraintError, match=r"users\.email: the value is taken"):
            db.execute("INSERT INTO users (email) VALUES ('u7@example.org')")
        db.execute("DELETE FROM users WHERE id = 7")
        db.execute("INSERT INTO users (email) VALUES ('u7@example.org')")
    for statement in SCHEMA[:1]:
        for shard in ("shard_1", "shard_2"):
            lived_in.look(shard, statement)
    assert lived_in.violations() == []


def test_adopted_ids_are_looked_for_everywhere_and_new_ids_lead_to_their_shard(lived_in: Site) -> None:
    lived_in.initialise()
    with lived_in.connect() as db:
        for statement in SCHEMA[:2]:
            db.execute(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        new = db.execute("INSERT INTO deposits (user_id, amount) VALUES (7, 5)").lastrowid
        assert new is not None and new > 500
        assert db.execute("SELECT amount FROM deposits WHERE id = 70").scalar() == 100
        assert db.execute("DELETE FROM deposits WHERE id = 70").rowcount == 1
        assert db.execute("DELETE FROM deposits WHERE id = 80 AND user_id = 8").rowcount == 1
    # A shard that owns no bucket is not asked for rows, so nobody needs it.
    lived_in.path("shard_2").rename(lived_in.root / "away")
    with lived_in.connect() as db:
        assert db.execute("SELECT amount FROM deposits WHERE id = ?", (new,)).scalar() == 5
        assert db.execute("SELECT amount FROM deposits WHERE id = 90").rowcount == 1
    lived_in.path("shard_0").rename(lived_in.root / "away, too")
    with pytest.raises(NodeDown, match="shard_0"):
        lived_in.connect()


def test_a_value_held_twice_is_refused_with_the_query_that_finds_it(lived_in: Site) -> None:
    lived_in.look("shard_0", "UPDATE users SET email = 'u7@example.org' WHERE id = 9")
    with pytest.raises(ConfigError, match=r"unique\.users: email holds a value twice") as caught:
        lived_in.initialise()
    found = lived_in.look("shard_0", caught.value.hint)
    assert found == [("u7@example.org", 2)]
    with pytest.raises(CatalogError):
        lived_in.connect()
    lived_in.look("shard_0", "UPDATE users SET email = 'u9@example.org' WHERE id = 9")
    lived_in.initialise()
    with lived_in.connect() as db:
        assert db.execute("SELECT id FROM users WHERE email = 'u9@example.org'").scalar() == 9


def test_a_column_that_becomes_unique_later_reserves_what_is_spread_already(site: Site) -> None:
    site.write(without_unique := GROUP.replace('["email"]', "[]"))
    site.look("shard_0", "DELETE FROM tf_catalog WHERE name = 'reserved:users.email'")
    with site.connect() as db:
        for shard in site.shards:
            db.execute("INSERT INTO users (id, email) VALUES (?, ?)", (site.key(shard), f"{shard}@example.org"))
    site.write()
    assert site.initialise().done == ["users.email: unique over all shards, 3 values reserved"]
    assert site.violations() == []
    # No longer unique, and unique again: what was written in between is reserved, what has gone is free.
    site.write(without_unique)
    site.initialise()
    with site.connect() as db:
        db.execute("DELETE FROM users WHERE id = ?", (site.key("shard_1"),))
        db.execute("INSERT INTO users (id, email) VALUES (?, 'late@example.org')", (site.key("shard_1", 1),))
    site.write()
    site.initialise()
    assert site.violations() == []


def test_rows_on_two_shards_before_tenfold_placed_any_are_refused(lived_in: Site) -> None:
    lived_in.look("shard_2", SCHEMA[1])
    lived_in.look("shard_2", "INSERT INTO deposits VALUES (1, 1, 1)")
    with pytest.raises(ConfigError, match="hold rows on shard_0 and shard_2") as caught:
        lived_in.initialise()
    assert "begin with all rows on one shard" in caught.value.hint


def test_a_schema_that_cannot_work_is_refused_by_name(bare: Site) -> None:
    bare.look("shard_0", "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, nick TEXT UNIQUE)")
    bare.look("shard_0", "CREATE TABLE deposits (id INTEGER PRIMARY KEY, owner INTEGER)")
    with pytest.raises(ConfigError) as caught:
        bare.initialise()
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "tables.users: UNIQUE (nick) lacks the shard key" in lines[0] and 'users = ["nick"]' in lines[0]
    assert 'tables.deposits: column "user_id" is not in the table (has: id, owner)' in lines[1]
    assert bare.look("shard_0", "SELECT name FROM sqlite_master WHERE name GLOB 'tf_*'") == []


def test_a_new_shard_in_the_file_is_noted_and_holds_nothing(site: Site) -> None:
    site.write(shards={name: f'url = "sqlite:///var/{name}.db"' for name in (*site.shards, "shard_3")})
    done = site.initialise()
    assert done.done == [] and len(done.notes) == 1 and "shard_3 is in the file and not yet part" in done.notes[0]
    with site.connect() as db:
        db.execute("SELECT * FROM users")


def test_a_lost_shard_is_not_replaced_by_an_empty_one(site: Site) -> None:
    site.path("shard_1").unlink()
    with pytest.raises(NodeDown, match="shard_1") as caught:
        site.initialise()
    assert "backup" in caught.value.hint and not site.path("shard_1").exists()
    site.look("shard_1", "CREATE TABLE unrelated (id INTEGER PRIMARY KEY)")
    with pytest.raises(CatalogError, match="shard_1 held rows of this platform once"):
        site.initialise()


def test_a_lost_catalog_is_not_replaced_by_a_new_one(site: Site) -> None:
    with site.connect() as db:
        db.execute("INSERT INTO users (id) VALUES (?)", (site.key("shard_1"),))
    site.path("shard_0").unlink()
    with pytest.raises(CatalogError, match="shard_0 held rows of this platform once") as caught:
        site.initialise()
    assert "backup" in caught.value.hint


def test_shards_of_two_platforms_do_not_become_one(site: Site, bare: Site) -> None:
    bare.initialise()
    bare.path("shard_1").rename(site.path("shard_1"))
    with pytest.raises(CatalogError, match="shard_1 belongs to another platform"):
        site.initialise()
    site.path("shard_0").unlink()
    with pytest.raises(CatalogError):
        site.initialise()


def test_a_directory_that_cannot_be_made_is_named(bare: Site) -> None:
    (bare.root / "file").touch()
    bare.write(shards={"shard_0": 'url = "sqlite:///file/shard_0.db"'}, tables="")
    with pytest.raises(PlatformError, match=re.escape(str(bare.root / "file"))) as caught:
        bare.initialise()
    assert "database.shards.shard_0.url" in caught.value.hint
