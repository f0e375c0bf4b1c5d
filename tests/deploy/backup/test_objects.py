"""What a database holds besides rows comes back as it was, does nothing before its time, and is compared. Edge."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tenfold.deploy.backup import dump, verify
from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.dump import Dump
from tenfold.deploy.backup.envelope import opened, seal
from tenfold.deploy.backup.frames import Frame, frames
from tenfold.deploy.backup.manifest import NAME
from tenfold.deploy.backup.objects import in_order, read_objects, without_definer
from tenfold.deploy.backup.replay import compare
from tenfold.deploy.backup.shelf import Shelf
from tenfold.errors import BackupError
from tenfold.sharding.moves.connections import Shards
from tests.deploy.backup.conftest import Vault
from tests.mariadb import Server, fresh_databases
from tests.sharding.engine.sites import Site


@pytest.mark.parametrize(
    ("made", "left"),
    [
        ("CREATE DEFINER=`root`@`localhost` TRIGGER t", "CREATE TRIGGER t"),
        ('CREATE DEFINER="ro""ot"@"%" PROCEDURE "p"()', 'CREATE PROCEDURE "p"()'),
        ("CREATE DEFINER=`a role` FUNCTION f", "CREATE FUNCTION f"),
        ("CREATE ALGORITHM=MERGE DEFINER=`a``b`@`h` SQL SECURITY DEFINER VIEW v",
         "CREATE ALGORITHM=MERGE SQL SECURITY DEFINER VIEW v"),
        ("CREATE PROCEDURE p() SELECT ' DEFINER=`x`@`y` '", "CREATE PROCEDURE p() SELECT ' DEFINER=`x`@`y` '"),
    ],
)  # fmt: skip
def test_who_made_an_object_is_left_out_and_nothing_else(made: str, left: str) -> None:
    assert without_definer(made) == left


def test_a_column_with_the_name_of_a_view_is_not_taken_for_it() -> None:
    views = {
        "a": Frame("view", "a", b"CREATE VIEW `a` AS select `b`.`c` AS `b` from `b` join `t`"),
        "b": Frame("view", "b", b"CREATE VIEW `b` AS select `t`.`a` AS `a`,f(`a`.`x`) from `t` `a`"),
    }
    assert [view.name for view in in_order(views)] == ["b", "a"]


ODD = (
    "CREATE SEQUENCE z START WITH 100 NOCACHE",
    "CREATE TABLE a (id BIGINT PRIMARY KEY DEFAULT NEXTVAL(z), v VARCHAR(20))", "INSERT INTO a (v) VALUES ('first')",
    "CREATE TABLE base1 (id INT) ENGINE=MyISAM", "INSERT INTO base1 VALUES (1)",
    "CREATE TABLE both1 (id INT) ENGINE=MERGE UNION=(base1)",
    "CREATE TABLE gone (id INT)", "CREATE VIEW broken AS SELECT id FROM gone", "DROP TABLE gone",
    "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
    "CREATE PROCEDURE said() SELECT 'a\\' || 'b'",
    "SET sql_mode = ''", r"CREATE VIEW slashed AS SELECT 'a\\b\'c' AS c",
    "SET time_zone = '+05:00'",
    "CREATE EVENT hourly ON SCHEDULE EVERY 1 HOUR STARTS '2036-06-01 00:00:00' DO DELETE FROM a",
    "CREATE EVENT resting ON SCHEDULE EVERY 1 HOUR DISABLE DO DELETE FROM a",
    "CREATE EVENT once ON SCHEDULE AT '2036-01-01 00:00:00' DO DELETE FROM a",
    "SET sql_mode = ORACLE", "CREATE PACKAGE pack AS PROCEDURE p; END",
    "SET sql_mode = '', collation_connection = utf8mb4_unicode_ci",
    "CREATE TRIGGER noted BEFORE INSERT ON a FOR EACH ROW SET @noted = 'x'",
)  # fmt: skip
EVENTS = (
    "SELECT event_name, status, time_zone, CAST(starts AS CHAR) FROM information_schema.events"
    " WHERE event_schema = DATABASE() AND event_type = 'RECURRING' ORDER BY 1"
)


@pytest.fixture
def odd(on_servers: Vault, servers: list[Server]) -> Vault:
    """A database of which much is odd; a trigger and a view are root's."""
    name = on_servers.site.urls["shard_1"].rpartition("/")[2]
    with on_servers.site.client("shard_1") as line, line.cursor() as cursor:
        for sql in ODD:
            cursor.execute(sql)
    servers[1].sql(
        f"USE `{name}`", "SET sql_mode = ANSI_QUOTES",
        "CREATE TRIGGER roots AFTER INSERT ON a FOR EACH ROW SET @roots = 1", "CREATE VIEW of_root AS SELECT id FROM a",
    )  # fmt: skip
    return on_servers


@pytest.fixture
def empty_site(servers: list[Server], tmp_path: Any) -> Iterator[Site]:
    with fresh_databases(servers, 3) as urls:
        yield Site(tmp_path / "elsewhere", databases=urls)


def test_odd_objects_of_a_server_come_back_as_they_were(
    odd: Vault, empty_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    kept = odd.create()
    assert kept.manifest is not None and not kept.manifest.consistent
    notes = " ".join(kept.manifest.notes)
    assert "the view broken cannot be read" in notes and "both1 is MRG_MyISAM, whose rows lie elsewhere" in notes
    assert "base1 is MyISAM, which has no snapshots" in notes
    looked: list[Any] = []
    plain = compare

    def compared(shards: Shards, shard: str, *more: Any) -> None:
        looked.extend(shards.rows(shard, EVENTS))
        plain(shards, shard, *more)

    monkeypatch.setattr(verify, "compare", compared)
    odd.verify(kept)
    assert [status for _, status, _, _ in looked] == ["DISABLED", "DISABLED"], "what is looked at does nothing"
    odd.restore(kept, empty_site.topology(), meant=None)
    there = empty_site.look("shard_1", EVENTS)
    assert there == odd.site.look("shard_1", EVENTS)
    assert [(name, status, zone) for name, status, zone, _ in there] == [
        ("hourly", "ENABLED", "+05:00"), ("resting", "DISABLED", "+05:00"),
    ]  # fmt: skip
    empty_site.look("shard_1", "INSERT INTO a (v) VALUES ('second')")
    assert empty_site.look("shard_1", "SELECT id FROM a ORDER BY id") == [(100,), (101,)]
    assert odd.site.look("shard_1", "SELECT id FROM a") == [(100,)], "the sequence is its own"
    assert empty_site.look("shard_1", "SELECT * FROM slashed") == [("a\\b'c",)]
    assert empty_site.look("shard_1", "CALL said()") == [("a\\b",)]
    assert empty_site.look("shard_1", "SELECT id FROM both1") == [(1,)]
    for kind, name in (("PACKAGE", "pack"), ("TRIGGER", "noted"), ("TRIGGER", "roots"), ("VIEW", "of_root")):
        (was,), (now,) = (site.look("shard_1", f"SHOW CREATE {kind} {name}") for site in (odd.site, empty_site))
        assert without_definer(now[2 if kind != "VIEW" else 1]) == without_definer(was[2 if kind != "VIEW" else 1])
        assert now[3:-1] == was[3:-1]
    odd.restore(kept, meant="tiny")  # over all of it


def test_tables_without_snapshots_are_refused_where_one_moment_is_wanted(odd: Vault) -> None:
    with pytest.raises(BackupError, match=r"shard_1\.base1 have no snapshots"):
        odd.create(consistent=True)


def test_numbers_given_out_while_a_backup_begins_are_not_given_out_again(vault: Vault, elsewhere: Site) -> None:
    maria = vault.site.engine == "mysql"
    key = "BIGINT PRIMARY KEY AUTO_INCREMENT" if maria else "INTEGER PRIMARY KEY AUTOINCREMENT"
    vault.site.look("shard_1", f"CREATE TABLE counted (id {key}, v TEXT)")
    vault.site.look("shard_1", "INSERT INTO counted (v) VALUES ('first')")
    if maria:
        vault.site.look("shard_1", "CREATE SEQUENCE numbers NOCACHE")

    def say(event: dict[str, Any]) -> None:
        if event.get("phase") == "barrier":  # the schema has been read
            for _ in range(3):
                vault.site.look("shard_1", "INSERT INTO counted (v) VALUES ('later')")
                if maria:
                    vault.site.look("shard_1", "SELECT NEXTVAL(numbers)")
            vault.site.look("shard_1", "DELETE FROM counted WHERE v = 'later'")

    kept = Creation(vault.topology, say).run()
    vault.verify(kept)
    vault.restore(kept, elsewhere.topology(), meant=None)
    elsewhere.look("shard_1", "INSERT INTO counted (v) VALUES ('restored')")
    assert elsewhere.look("shard_1", "SELECT id FROM counted ORDER BY id") == [(1,), (5,)]
    if maria:
        assert elsewhere.look("shard_1", "SELECT NEXTVAL(numbers)") == [(4,)]


def _write(text: bytes, write: Callable[[bytes], None]) -> None:
    write(text)


def test_an_object_that_is_missing_from_a_dump_fails_verification(on_files: Vault) -> None:
    on_files.site.look("shard_1", "CREATE TRIGGER noted AFTER INSERT ON users BEGIN SELECT 1; END")
    kept = on_files.create()
    assert kept.manifest is not None and on_files.verify(kept)
    path = kept.path / "shard_1.sql.gz.age"
    with opened(path, on_files.key.identity) as stream:
        whole = stream.read()
    other = b"CREATE TRIGGER noted AFTER DELETE ON users BEGIN SELECT 1; END"
    for said, becomes in (("restored as it was: it is missing", None), ("noted is not restored as it was", other)):
        text = b"".join(
            frame.text() if frame.name != "noted" else replace(frame, sql=becomes).text() if becomes else b""
            for frame in frames(io.BytesIO(whole))
        )
        path.unlink()
        part = seal(path, on_files.key.recipient, partial(_write, text))
        lie = replace(kept.manifest, parts=kept.manifest.parts | {path.name: part})
        (kept.path / NAME).write_bytes(lie.text())
        with pytest.raises(BackupError, match=said):
            on_files.verify(kept)
        assert Shelf(on_files.topology).find(kept.id).verified is None


def test_a_part_that_would_write_to_another_file_is_not_run(on_files: Vault, tmp_path: Any) -> None:
    # Whoever has the public key may have written it.
    kept = on_files.create()
    assert kept.manifest is not None
    path, other = kept.path / "shard_1.sql.gz.age", tmp_path / "other.db"
    with opened(path, on_files.key.identity) as stream:
        whole = stream.read()
    at = whole.index(b'-- tenfold {"kind":"table"')
    evil = Frame("pragma", "x", f"ATTACH DATABASE '{other}' AS o".encode()).text()
    path.unlink()
    part = seal(path, on_files.key.recipient, lambda write: write(whole[:at] + evil + whole[at:]))
    (kept.path / NAME).write_bytes(replace(kept.manifest, parts=kept.manifest.parts | {path.name: part}).text())
    with pytest.raises(BackupError, match="not authorized"):
        on_files.verify(kept)
    assert not other.exists()


def test_rows_of_files_keep_their_numbers_and_what_is_older_than_a_constraint_stays(
    on_files: Vault, tmp_path: Any
) -> None:  # fmt: skip
    site = on_files.site
    site.look("shard_1", 'CREATE TABLE "numbered (x" (v)')
    site.look("shard_1", "INSERT INTO \"numbered (x\" (rowid, v) VALUES (100, 'a'), (-7, 'b')")
    site.look("shard_1", 'CREATE TABLE hidden ("rowid", "_rowid_", "oid")')
    site.look("shard_1", "INSERT INTO hidden VALUES (2, 2, 2), (1, 1, 1)")
    site.look("shard_1", "CREATE TABLE checked (v CHECK (v > 0))")
    site.look("shard_1", "PRAGMA writable_schema = ON")
    with closing(Shards(on_files.topology)) as shards:
        shards.execute("shard_1", "PRAGMA ignore_check_constraints = ON")
        shards.execute("shard_1", "INSERT INTO checked VALUES (-1)")
    site.look("shard_1", "ANALYZE")
    kept = on_files.create()
    on_files.verify(kept)
    other = Site(tmp_path / "other")
    on_files.restore(kept, other.topology(), meant=None)
    assert other.look("shard_1", 'SELECT rowid, v FROM "numbered (x" ORDER BY v') == [(100, "a"), (-7, "b")]
    assert other.look("shard_1", "SELECT v FROM checked") == [(-1,)]
    assert sorted(other.look("shard_1", "SELECT * FROM hidden")) == [(1, 1, 1), (2, 2, 2)]


def test_long_rows_are_read_few_at_a_time(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "LARGEST", 300_000)
    vault.site.look("shard_1", "CREATE TABLE wide (id INTEGER PRIMARY KEY, v LONGBLOB)")
    for number in range(20):
        vault.site.look("shard_1", "INSERT INTO wide VALUES (?, ?)", (number, b"x" * 300_000))
    with closing(Shards(vault.topology)) as shards:
        (wide,) = (rows for rows in read_objects(shards, "shard_1").tables if rows.name == "wide")
        reader = Dump("shard_1", shards.at("shard_1"), shards.dialect, b"k", lambda rows: None)
        found = list(reader.chunks(wide))
    assert sum(rows for rows, _ in found) == 20
    assert max(len(text) for _, text in found) < 700_000
