"""Rows that something wrote past Tenfold: found, named, brought home, and never at the cost of another row. Edge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tenfold as package
from tenfold.errors import FenceError, MoveError
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.checking import check
from tenfold.sharding.moves.placement import strays
from tests.sharding.engine.sites import Site
from tests.sharding.moves.conftest import Command

ODD = 'it\'s "100%" \\ \x00 é'


def elsewhere(site: Site, user: int) -> str:
    """A shard that does not own a user."""
    return next(shard for shard in site.shards if shard != site.owner(user))


def test_rows_on_the_right_shard_are_nothing_to_tell_of(filled_site: Site, tenfold: Command) -> None:
    assert strays(filled_site.topology()) == []
    code, out, _ = tenfold(filled_site, "shard", "verify", "--placement")
    assert (code, out) == (0, "every row is on the shard that owns its bucket\n")
    code, out, _ = tenfold(filled_site, "shard", "verify")
    assert (code, out) == (0, "the same on all shards: 1 reference table, both sides of 0 buckets that move\n")


def test_a_row_written_past_tenfold_is_found_and_brought_to_its_shard(filled_site: Site, tenfold: Command) -> None:
    site, user = filled_site, 1001
    wrong = elsewhere(site, user)
    name = ODD if site.engine == "sqlite" else ODD.replace("\x00", "")
    site.look(wrong, "INSERT INTO users (id, name) VALUES (?, ?)", (user, name))
    site.look(wrong, "INSERT INTO deposits (id, user_id, amount) VALUES (?, ?, 5)", (77, user))
    code, out, _ = tenfold(site, "shard", "verify", "--placement")
    assert code == 1
    assert f"users on {wrong}: 1 row that belongs elsewhere\n  (1001) belongs on {site.owner(user)}\n" in out
    assert f"deposits on {wrong}: 1 row that belongs elsewhere\n  (77) belongs on {site.owner(user)}\n" in out
    assert out.endswith("`tenfold shard verify --placement --mend` brings them to their shard\n")
    with package.connect(site.file) as db:
        assert db.execute("SELECT name FROM users WHERE id = ?", (user,)).rows == []
    code, out, _ = tenfold(site, "shard", "verify", "--placement", "--mend")
    assert code == 0 and out.count("1 brought to their shard") == 2
    with package.connect(site.file) as db:
        assert db.execute("SELECT name FROM users WHERE id = ?", (user,)).rows == [(name,)]
    assert site.look(wrong, "SELECT COUNT(*) FROM users WHERE id = ?", (user,)) == [(0,)]
    assert strays(site.topology()) == []


def test_many_are_counted_and_the_first_are_named(on_files: Site) -> None:
    owner = dict(on_files.look("shard_0", "SELECT bucket, shard FROM tf_bucket"))
    users = range(1000, 2000)
    owned = [user for user in users if owner[bucket_of(user, KeyType.INTEGER)] != "shard_1"][:450]
    on_files.look("shard_1", f"INSERT INTO users (id) VALUES {', '.join(f'({user})' for user in owned)}")
    (found,) = strays(on_files.topology())
    assert (found.count, len(found.named)) == (450, 100)
    assert found.named[0] == (f"({owned[0]})", on_files.owner(owned[0]))
    (mended,) = strays(on_files.topology(), mend=True)
    assert (mended.mended, mended.twice) == (450, [])
    assert strays(on_files.topology()) == []


@pytest.mark.sample("mysql")
def test_a_row_that_its_owner_has_otherwise_is_left_on_both(filled_site: Site, tenfold: Command) -> None:
    site, user = filled_site, 7
    wrong, owner = elsewhere(site, user), site.owner(user)
    site.look(wrong, "INSERT INTO users (id, name) VALUES (?, 'another')", (user,))
    other = next(n for n in range(1000, 90_000) if bucket_of(n, KeyType.INTEGER) == bucket_of(user, KeyType.INTEGER))
    site.look(wrong, "INSERT INTO users (id) VALUES (?)", (other,))
    code, out, _ = tenfold(site, "shard", "verify", "--placement", "--mend")
    assert code == 1 and "1 brought to their shard" in out and f"(7) stays: {owner} has another row like it" in out
    assert site.look(wrong, "SELECT id, name FROM users WHERE id = 7") == [(7, "another")]
    assert site.look(owner, "SELECT id, name FROM users WHERE id = 7") == [(7, None)]


def test_a_copy_that_is_the_same_byte_for_byte_is_just_taken_away(filled_site: Site) -> None:
    site, user = filled_site, 7
    wrong = elsewhere(site, user)
    site.look(wrong, "INSERT INTO users (id, email) VALUES (?, ?)", (user, f"u{user}@example.org"))
    (found,) = strays(site.topology(), mend=True)
    assert (found.mended, found.twice) == (1, [])
    assert site.look(site.owner(user), "SELECT COUNT(*) FROM users WHERE id = 7") == [(1,)]


def test_a_value_that_must_be_unique_keeps_a_row_where_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path / "site").set_up(
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
            "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER, day TEXT, UNIQUE (user_id, day))",
        )
    )
    user = site.key("shard_1")
    site.look("shard_1", "INSERT INTO deposits VALUES (1, ?, 'mon')", (user,))
    for number, day in ((2, "mon"), (3, "tue")):
        site.look("shard_0", "INSERT INTO deposits VALUES (?, ?, ?)", (number, user, day))
    (found,) = strays(site.topology(), mend=True)
    assert (found.mended, found.twice) == (1, [("(2)", "shard_1")])
    assert site.look("shard_1", "SELECT id FROM deposits ORDER BY id") == [(1,), (3,)]


def test_rows_without_a_shard_key_belong_nowhere_and_are_counted(tmp_path: Path) -> None:
    site = Site(tmp_path / "site").set_up(
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
            "CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER)",
        )
    )
    site.look("shard_0", "INSERT INTO deposits VALUES (1, NULL)")
    (found,) = strays(site.topology(), mend=True)
    assert (found.count, found.keyless, found.mended) == (1, 1, 0)


def test_reservations_that_lie_on_a_wrong_shard_are_found_too(filled_site: Site) -> None:
    ((scope, digest, bucket, *rest),) = filled_site.look("shard_0", "SELECT * FROM tf_reservation LIMIT 1")
    filled_site.look("shard_0", "DELETE FROM tf_reservation WHERE digest = ?", (digest,))
    filled_site.look("shard_1", "INSERT INTO tf_reservation VALUES (?, ?, ?, ?, ?, ?, ?)",
                     (scope, digest, bucket, *rest))  # fmt: skip
    (found,) = strays(filled_site.topology(), mend=True)
    assert (found.table, found.shard, found.mended) == ("tf_reservation", "shard_1", 1)
    assert filled_site.violations() == []


def test_buckets_that_a_move_has_announced_are_left_to_it(on_files: Site) -> None:
    user = on_files.key("shard_0", 3)
    bucket = bucket_of(user, KeyType.INTEGER)
    on_files.look("shard_1", "INSERT INTO users (id) VALUES (?)", (100 * 4096 + user,))
    on_files.look("shard_1", "DELETE FROM users WHERE id = ?", (100 * 4096 + user,))
    on_files.look("shard_1", "INSERT INTO users (id) VALUES (?)", (user,))
    legs = json.dumps([{"source": "shard_0", "target": "shard_1", "buckets": str(bucket)}])
    on_files.look("shard_0", "INSERT INTO tf_move VALUES (1, 'copying', 1, ?, '{}', 0, 0)", (legs,))
    for phase in ("copying", "serving", "cleaning"):  # remains, too: `undo` builds on them
        on_files.look("shard_0", "UPDATE tf_move SET phase = ?", (phase,))
        assert strays(on_files.topology(), mend=True) == []
    assert on_files.look("shard_1", "SELECT COUNT(*) FROM users WHERE id = ?", (user,)) == [(1,)]
    on_files.look("shard_0", "UPDATE tf_move SET phase = 'done'")
    # The fence has the last word: a mover that this reading did not know of has raised it.
    on_files.look("shard_0", "UPDATE tf_fence SET state = 'fenced' WHERE bucket = ?", (bucket,))
    with pytest.raises(FenceError, match=f"bucket {bucket} is fenced on shard_0"):
        strays(on_files.topology(), mend=True)


@pytest.mark.sample("mysql")
def test_reference_tables_that_differ_are_told_with_how_many_rows(filled_site: Site, tenfold: Command) -> None:
    filled_site.look("shard_2", "INSERT INTO currencies VALUES ('EUR', 2)")
    filled_site.look("shard_2", "UPDATE currencies SET digits = 9 WHERE code = 'CHF'")
    code, out, _ = tenfold(filled_site, "shard", "verify")
    assert (code, out) == (
        1, "currencies is not the same on shard_0 and shard_2: 1 rows are only on shard_0, 2 only on shard_2\n"
    )  # fmt: skip


def test_a_row_that_differs_while_a_move_serves_is_named(filled_site: Site, tenfold: Command) -> None:
    site, user = filled_site, filled_site.key("shard_0")
    bucket = bucket_of(user, KeyType.INTEGER)
    assert tenfold(site, "shard", "move", "--buckets", str(bucket), "--to", "shard_1", "--yes")[0] == 0
    found = check(site.topology(), {bucket})
    assert (found.buckets, found.differences) == (1, [])
    with package.connect(site.file) as db:  # marked, and so on its way back only
        db.execute("UPDATE users SET name = 'new' WHERE id = ?", (user,))
    assert check(site.topology(), sleep=lambda _: None).differences == []
    # What no trigger saw.
    site.look("shard_1", "DROP TRIGGER " + trigger(site, "bu", user))
    site.look("shard_1", "DROP TRIGGER " + trigger(site, "au", user))
    site.look("shard_1", "DELETE FROM " + marks(site))
    code, out, _ = tenfold(site, "shard", "verify", "--buckets", str(bucket))
    assert code == 1 and out == f"users ({user}) (bucket {bucket}) differs\n"
    with pytest.raises(MoveError, match="alone: nothing can be compared with it"):
        check(site.topology(), {(bucket + 1) % 4096})
    assert tenfold(site, "shard", "verify", "--buckets", "x")[0] == 1
    assert tenfold(site, "shard", "verify", "--mend")[0] == 2


def trigger(site: Site, event: str, user: int) -> str:
    names = objects(site)
    number = marks(site).rpartition("_")[2]
    return next(name for name in names if name.endswith(f"_{number}_{event}"))


def marks(site: Site) -> str:
    """The table that holds the mark of the user."""
    found = [name for name in objects(site) if name.startswith("tf_d") and name[4:].replace("_", "").isdigit()]
    return next(name for name in found if site.look("shard_1", f"SELECT COUNT(*) FROM {name}") == [(1,)])


def objects(site: Site) -> list[str]:
    from tests.sharding.moves.test_joining import OWN

    return [name for (name,) in site.look("shard_1", OWN[site.engine])]
