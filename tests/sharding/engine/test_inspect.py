"""What `tenfold check` learns from the shards, without changing them. Edge."""

from __future__ import annotations

from tenfold.sharding.engine.inspect import inspect
from tests.sharding.engine.sites import Site


def test_shards_as_the_file_says_have_no_mistakes(site: Site) -> None:
    found = inspect(site.topology())
    assert (found.mistakes, found.notes, found.reachable) == ([], [], True)


def test_nothing_is_created_by_looking(bare: Site) -> None:
    found = inspect(bare.topology())
    assert not found.reachable and found.mistakes == []
    assert len(found.notes) >= 3 and all(note.startswith("columns not checked: ") for note in found.notes)
    assert list((bare.root / "var").iterdir()) == []


def test_tables_that_do_not_exist_yet_are_no_mistake(bare: Site) -> None:
    bare.initialise()
    found = inspect(bare.topology())
    assert found.mistakes == [] and "columns not checked: users does not exist yet" in found.notes
    assert not found.reachable


def test_a_shard_that_is_away_hides_only_itself(site: Site) -> None:
    site.path("shard_1").unlink()
    site.look("shard_0", "ALTER TABLE deposits RENAME COLUMN user_id TO usr_id")
    found = inspect(site.topology())
    assert not found.reachable and "columns not checked: shard_1 cannot be read" in found.notes[0]
    assert any(
        '"user_id" is not in the table (has: id, usr_id, amount); write deposits = "usr_id"' in m
        for m in found.mistakes
    )
    assert not site.path("shard_1").exists()


def test_shards_that_differ_are_named_with_the_column(site: Site) -> None:
    site.look("shard_2", "ALTER TABLE users ADD COLUMN phone TEXT")
    site.look("shard_1", "DROP TABLE currencies")
    found = inspect(site.topology())
    assert any(
        m.startswith("tenfold.toml: database: users differs between shard_0 and shard_2: phone") for m in found.mistakes
    )
    assert any(
        m.startswith("tenfold.toml: database: currencies is on shard_0, shard_2 and not on shard_1")
        for m in found.mistakes
    )
    assert len(found.mistakes) == 2 and found.reachable


def test_a_column_that_one_shard_computes_and_another_stores_is_a_difference(site: Site) -> None:
    site.look("shard_0", "ALTER TABLE users ADD COLUMN shout TEXT AS (upper(name))")
    for shard in ("shard_1", "shard_2"):
        site.look(shard, "ALTER TABLE users ADD COLUMN shout TEXT")
    lines = inspect(site.topology()).mistakes
    assert [line for line in lines if "whether it is computed of shout (yes and no)" in line] == lines and len(
        lines
    ) == 2


def test_a_file_that_is_no_database_is_a_note(site: Site) -> None:
    site.path("shard_1").write_bytes(b"not a database at all" * 100)
    found = inspect(site.topology())
    assert not found.reachable and any(
        "shard_1 cannot be read (shard_1: file is not a database)" in n for n in found.notes
    )
