"""What connect() refuses before a single row is read or written in the wrong place. Edge."""

from __future__ import annotations

import shutil

import pytest

import tenfold
from tenfold.errors import CatalogError, ConfigError, NodeDown, PlatformError, StatementError, TenfoldError
from tests.sharding.engine.sites import GROUP, Site

SIGN_UP = "INSERT INTO users (id, name) VALUES (?, ?)"


def refusal(site: Site) -> TenfoldError:
    with pytest.raises(TenfoldError) as caught:
        site.connect().close()
    return caught.value


@pytest.mark.parametrize(
    ("version", "said", "hint"),
    [
        ("UPDATE tf_catalog SET value = '3' WHERE name = 'schema_version'", "schema_version 3", "upgrade Tenfold"),
        ("UPDATE tf_catalog SET value = '0' WHERE name = 'schema_version'", "schema_version 0", "shard init"),
        ("DELETE FROM tf_catalog WHERE name = 'schema_version'", "schema_version none", "upgrade Tenfold"),
        ("UPDATE tf_catalog SET value = 'x' WHERE name = 'schema_version'", "schema_version x", "upgrade Tenfold"),
    ],
)
def test_a_catalog_of_another_version_is_refused(site: Site, version: str, said: str, hint: str) -> None:
    site.look("shard_0", version)
    error = refusal(site)
    assert isinstance(error, CatalogError) and said in str(error) and hint in error.hint
    with pytest.raises(CatalogError, match=said):
        site.initialise()


def test_databases_that_are_no_platform_yet_lead_to_shard_init(bare: Site) -> None:
    error = refusal(bare)
    assert isinstance(error, NodeDown) and "tenfold shard init" in error.hint
    for shard in bare.shards:
        bare.look(shard, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    error = refusal(bare)
    assert isinstance(error, CatalogError) and "tenfold shard init" in error.hint


def test_an_initialisation_that_never_ended_is_no_platform(site: Site) -> None:
    site.look("shard_0", "DELETE FROM tf_catalog WHERE name = 'initialised'")
    error = refusal(site)
    assert isinstance(error, CatalogError) and "tenfold shard init" in error.hint


def test_a_table_cannot_change_its_place_by_an_edit_of_the_file(site: Site) -> None:
    with site.connect() as db:
        db.execute("INSERT INTO posts (title) VALUES ('hello')")
    grouped = GROUP.replace('["posts"]', "[]").replace("tables = { users", 'tables = { posts = "id", users')
    site.write(grouped.replace("unique = {", 'unique = { posts = ["title"],'))
    for attempt in (site.connect, site.initialise):
        with pytest.raises(ConfigError) as caught:
            attempt()
        error = caught.value
        assert "posts was pinned to shard_2 when its rows were written" in str(error) and "write it back" in str(error)
    site.write(GROUP.replace('deposits = "user_id"', 'deposits = "amount"'))
    assert "deposits was in the group user with the key user_id" in str(refusal(site))


def test_a_table_that_never_held_a_row_may_change_its_place(site: Site) -> None:
    site.look("shard_2", "DROP TABLE posts")
    site.write(GROUP.replace('shard_2 = ["posts"]', 'shard_1 = ["posts"]'))
    site.connect().close()  # it goes by what the catalog says
    assert site.initialise().done == ["posts: pinned shard_1"]
    with site.connect() as db:
        db.execute("CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT)")
        db.execute("INSERT INTO posts (title) VALUES ('hello')")
    assert site.look("shard_1", "SELECT title FROM posts") == [("hello",)]


def test_a_table_or_unique_column_that_is_new_in_the_file_waits_for_shard_init(site: Site) -> None:
    site.write(GROUP.replace('["posts"]', '["posts", "pages"]'))
    error = refusal(site)
    assert isinstance(error, CatalogError) and "pages is new" in str(error) and "shard init" in error.hint
    site.write(GROUP.replace('["email"]', '["email", "name"]'))
    error = refusal(site)
    assert isinstance(error, CatalogError) and "users.name is newly unique" in str(error)
    site.initialise()
    site.connect().close()


def test_a_member_that_is_missing_in_the_file_is_asked_back(site: Site) -> None:
    site.write(
        GROUP.replace("shard_2", "shard_1"), {name: f'url = "sqlite:///var/{name}.db"' for name in site.shards[:2]}
    )
    assert "shard_2 belongs to the platform" in str(refusal(site))


def test_swapped_files_are_noticed_before_anything_is_written(site: Site) -> None:
    def url(shard: str) -> str:
        return f'url = "sqlite:///var/{shard}.db"'

    site.write(shards={"shard_0": url("shard_1"), "shard_1": url("shard_0"), "shard_2": url("shard_2")})
    error = refusal(site)
    assert isinstance(error, CatalogError) and "the database of shard_0 is shard_1" in str(error)
    assert "urls" in error.hint
    with pytest.raises(CatalogError, match="the database of shard_0 is shard_1"):
        site.initialise()

    site.write(shards={"shard_0": url("shard_0"), "shard_1": url("shard_2"), "shard_2": url("shard_1")})
    with site.connect() as db:
        db.execute(SIGN_UP, (site.key("shard_0"), "ada"))  # its own shard is in its place
        for shard, other in (("shard_1", "shard_2"), ("shard_2", "shard_1")):
            with pytest.raises(CatalogError, match=f"the database of {shard} is {other}"):
                db.execute(SIGN_UP, (site.key(shard), "bob"))
        with pytest.raises(CatalogError):
            db.execute("SELECT * FROM users")
    assert site.look_everywhere("SELECT name FROM users") == {"shard_0": [("ada",)], "shard_1": [], "shard_2": []}


def test_a_shard_of_another_platform_is_refused(site: Site, bare: Site) -> None:
    bare.set_up()
    shutil.copy(bare.path("shard_1"), site.path("shard_1"))
    with site.connect() as db, pytest.raises(CatalogError, match="shard_1 belongs to another platform") as caught:
        db.execute(SIGN_UP, (site.key("shard_1"), "ada"))
    assert "url" in caught.value.hint
    shutil.copy(bare.path("shard_1"), site.path("shard_0"))
    error = refusal(site)
    assert isinstance(error, CatalogError) and "the database of shard_0 is shard_1" in str(error)


def test_an_empty_database_in_the_place_of_a_shard_is_no_shard(site: Site) -> None:
    site.path("shard_1").unlink()
    site.look("shard_1", "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
    with site.connect() as db, pytest.raises(CatalogError, match="shard_1 is not part of the platform") as caught:
        db.execute(SIGN_UP, (site.key("shard_1"), "ada"))
    assert "backup" in caught.value.hint
    assert site.look("shard_1", "SELECT * FROM users") == []


def test_a_bucket_map_with_holes_is_not_guessed(site: Site) -> None:
    site.look("shard_0", "DELETE FROM tf_bucket WHERE bucket = 7")
    error = refusal(site)
    assert isinstance(error, CatalogError) and "4095 entries" in str(error) and "every shard holds a copy" in error.hint


def test_the_file_and_environment_come_from_the_process_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_FILE", str(site.file))
    with tenfold.connect() as db:
        assert db.execute("SELECT 1").scalar() == 1
    monkeypatch.setenv("TENFOLD_ENV", "nowhere")
    with pytest.raises(ConfigError):
        tenfold.connect()
    monkeypatch.delenv("TENFOLD_FILE")
    monkeypatch.delenv("TENFOLD_ENV")
    monkeypatch.chdir(site.root)
    with tenfold.connect() as db:
        assert db.execute("SELECT 1").scalar() == 1


def test_a_closed_handle_says_so(site: Site) -> None:
    db = site.connect()
    db.close()
    db.close()
    with pytest.raises(PlatformError, match="closed"):
        db.execute("SELECT 1")
    with pytest.raises(PlatformError, match="closed"), db.transaction():
        pass


def test_only_an_insert_has_a_lastrowid(site: Site, db: tenfold.Database) -> None:
    first = db.execute("INSERT INTO posts (title) VALUES ('a')").lastrowid
    assert first == site.look("shard_2", "SELECT id FROM posts")[0][0]
    for sql in (
        "SELECT title FROM posts",
        "UPDATE posts SET title = 'b'",
        "INSERT OR IGNORE INTO posts (title) VALUES ('b')",
    ):
        assert db.execute(sql).lastrowid is None, sql
    user = db.execute("INSERT INTO users (name) VALUES ('ada')")
    assert user.lastrowid == db.execute("SELECT id FROM users").scalar()
    ignored = "INSERT INTO deposits (id, user_id, amount) VALUES (?, ?, 1) ON CONFLICT (id) DO NOTHING"
    row_id = db.new_id("deposits", user.lastrowid)
    assert db.execute(ignored, (row_id, user.lastrowid)).lastrowid == row_id
    assert db.execute(ignored, (row_id, user.lastrowid)).lastrowid is None


def test_a_table_that_nobody_created_is_named(db: tenfold.Database, site: Site) -> None:
    site.look("shard_0", "DROP TABLE deposits")
    site.look("shard_1", "DROP TABLE deposits")
    site.look("shard_2", "DROP TABLE deposits")
    with pytest.raises(StatementError, match="no such table: deposits"):
        db.execute("SELECT * FROM deposits")
