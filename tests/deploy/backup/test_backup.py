"""What is backed up comes back, whatever it is; who reads it without Tenfold can. Edge."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tenfold.audit.trail import Trail
from tenfold.deploy.backup import files
from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.prune import prune
from tenfold.deploy.backup.shelf import Shelf, last_verified_age_s, reading
from tenfold.errors import BackupError
from tenfold.sharding.catalog import VERSION
from tenfold.sharding.moves.placement import strays
from tests.deploy.backup.conftest import Vault
from tests.mariadb import PASSWORD, Server
from tests.sharding.engine.sites import Site
from tests.support import program

ODD_LITE = (
    "CREATE TABLE odd (a, b TEXT, c BLOB, d REAL, e INTEGER GENERATED ALWAYS AS (length(b)) STORED)",
    "INSERT INTO odd (a, b, c, d) VALUES ('it''s; -- \n?', CAST(x'00ff41' AS TEXT), x'00ff', 1e999)",
    "INSERT INTO odd (a, b, c, d) VALUES (NULL, '', x'', 0.1)",
    "INSERT INTO odd (a, b) VALUES (9223372036854775807, '𝄞'), (NULL, NULL), (NULL, NULL)",
    "CREATE TABLE \"a b\"\"c\" (\"x y\" TEXT PRIMARY KEY) WITHOUT ROWID",
    "INSERT INTO \"a b\"\"c\" VALUES ('z'), ('a')",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
    "INSERT INTO counted (v) VALUES ('gone'), ('stays')",
    "DELETE FROM counted WHERE v = 'gone'",
    "INSERT INTO counted (id, v) VALUES (77, 'x')", "DELETE FROM counted WHERE id = 77",
    "CREATE UNIQUE INDEX counted_v ON counted (lower(v)) WHERE v IS NOT NULL",
    "CREATE TABLE log (n)",
    "CREATE TRIGGER noted AFTER INSERT ON counted BEGIN INSERT INTO log VALUES (NEW.id); SELECT 1; END",
    "CREATE VIEW seen AS SELECT v FROM counted",
    "CREATE VIRTUAL TABLE words USING fts5(body)",
    "INSERT INTO words VALUES ('to be or not to be')",
    "PRAGMA user_version = 7",
)  # fmt: skip
ODD_MARIA = (
    "CREATE TABLE odd (id BINARY(3) PRIMARY KEY, b BIT(9), e ENUM('a','b'), s SET('x','y'), y YEAR, d DECIMAL(30,10),"
    " f FLOAT, g DOUBLE, t TIME(6), ts TIMESTAMP(6) NULL, dt DATETIME, j JSON, l VARCHAR(20) CHARACTER SET latin1,"
    " m MEDIUMBLOB, p POINT, u UUID, i INET6, v INT AS (LENGTH(l)) STORED)",
    "INSERT INTO odd (id, b, e, s, y, d, f, g, t, ts, dt, j, l, m, p, u, i) VALUES (0x002741, 257, 'b', 'x,y', 1999,"
    " -1234567890123456789.0123456789, 0.1, 1e300, '-838:59:59.5', '2020-02-29 12:00:00.123456', '0000-00-00',"
    " '{\"a\": \"\\\\u00e9?\"}', 'Grüße', REPEAT(0xff00, 100000), POINT(1, 2), UUID(), '::1')",
    "INSERT INTO odd (id) VALUES (0x000000), (0x000001)",
    "CREATE TABLE keyless (n INT, t TEXT)",
    "INSERT INTO keyless VALUES (1, 'it''s'), (1, 'it''s'), (2, NULL), (NULL, 'a\\nb\\\\?')",
    "CREATE TABLE `a b``c` (`x y` VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY)",
    "INSERT INTO `a b``c` VALUES ('b'), (' FROM '), ('Ä'), ('𝄞')",
    "CREATE TABLE counted (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(9), CHECK (v <> 'x'))",
    "INSERT INTO counted (v) VALUES ('a'), ('b')", "DELETE FROM counted WHERE v = 'b'",
    "CREATE SEQUENCE numbers START WITH 5", "DO NEXTVAL(numbers)",
    "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n",
    "CREATE VIEW a_second AS SELECT twice(id) AS n FROM z_first",
    "CREATE TABLE log (n BIGINT)",
    "CREATE TRIGGER noted AFTER INSERT ON counted FOR EACH ROW"
    " BEGIN INSERT INTO log VALUES (NEW.id); SET @x = ';'; END",
)  # fmt: skip


def make_odd(vault: Vault) -> None:
    statements = list(ODD_LITE if vault.site.engine == "sqlite" else ODD_MARIA)
    if vault.site.engine == "mysql":
        at = next(n for n, sql in enumerate(statements) if "a_second" in sql)
        statements.insert(at, "CREATE VIEW z_first AS SELECT id FROM counted")
        statements.insert(0, "SET SESSION sql_mode = ''")
        with vault.site.client("shard_1") as line, line.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
        return
    for sql in statements:
        vault.site.look("shard_1", sql)


def odd(site: Site) -> object:
    look = site.look
    if site.engine == "sqlite":
        return [
            look("shard_1", "SELECT a, CAST(b AS BLOB), c, d, e, typeof(a), typeof(b) FROM odd ORDER BY rowid"),
            look("shard_1", 'SELECT * FROM "a b""c" ORDER BY 1'),
            look("shard_1", "SELECT name, seq FROM sqlite_sequence"),
            look("shard_1", "SELECT * FROM seen"), look("shard_1", "SELECT * FROM words WHERE words MATCH 'not'"),
            look("shard_1", "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'tf_%' ORDER BY 1, 2"),
            look("shard_1", "PRAGMA user_version"),
        ]  # fmt: skip
    shown = "SHOW CREATE {}"
    return [
        look("shard_1", "SELECT id, b + 0, e, s, y, d, f, g, t, ts, dt, j, l, MD5(m) FROM odd ORDER BY 1"),
        look("shard_1", "SELECT id, HEX(p), u, i, v FROM odd ORDER BY 1"),
        look("shard_1", "SELECT n, t FROM keyless ORDER BY 1, 2"),
        look("shard_1", "SELECT `x y` FROM `a b``c` ORDER BY 1"),
        look("shard_1", "SELECT * FROM a_second"), look("shard_1", shown.format("TABLE counted")),
        look("shard_1", shown.format("TABLE odd")), look("shard_1", shown.format("TRIGGER noted"))[0][2],
        look("shard_1", "SELECT twice(4)"),
    ]  # fmt: skip


def test_what_was_backed_up_and_lost_comes_back(vault: Vault) -> None:
    make_odd(vault)
    rows, odds = vault.rows(), odd(vault.site)
    vault.site.look("shard_0", "INSERT INTO tf_router VALUES ('of that time', 2, 'h', 1, '', 1, 9e9)")
    kept = vault.create(consistent=True)
    vault.site.look("shard_0", "DELETE FROM tf_router")
    assert kept.manifest is not None and kept.manifest.consistent and kept.manifest.epoch == 1
    assert kept.manifest.shards["shard_1"].tables["odd"].rows == (5 if vault.site.engine == "sqlite" else 3)
    assert vault.verify(kept).rows == kept.manifest.rows
    for shard in vault.site.shards:
        vault.site.look(shard, "DELETE FROM users")
        vault.site.look(shard, "DROP TABLE deposits")
    vault.site.look("shard_2", "CREATE TABLE later (id INT)")
    ((version,),) = vault.site.look("shard_0", VERSION)
    vault.restore(kept)
    assert (vault.rows(), odd(vault.site)) == (rows, odds)
    assert int(vault.site.look("shard_0", VERSION)[0][0]) > int(version), "no version comes twice"
    assert not vault.site.look("shard_0", "SELECT id FROM tf_router")
    names = {
        "sqlite": "SELECT name FROM sqlite_master",
        "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    }[vault.site.engine]
    assert ("later",) not in vault.site.look("shard_2", names)
    assert strays(vault.topology) == [] and vault.site.violations() == []
    with vault.site.connect() as db:
        db.execute("INSERT INTO users (id, email) VALUES (999, 'new@example.org')")
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 61


def test_a_platform_restored_elsewhere_runs_there_and_the_first_stays_as_it_is(vault: Vault, elsewhere: Site) -> None:
    kept = vault.create()
    before = vault.rows()
    vault.restore(kept, elsewhere.topology(), meant=None)
    with elsewhere.connect() as db:
        assert db.execute("SELECT COUNT(*), SUM(amount) FROM deposits").first() == (120, 660)
        db.execute("DELETE FROM deposits")
    assert vault.rows() == before
    assert strays(elsewhere.topology()) == []


def test_a_part_can_be_read_without_tenfold(on_files: Vault, tmp_path: Path) -> None:
    make_odd(on_files)
    kept = on_files.create()
    sealed = io.BytesIO((kept.path / "shard_1.sql.gz.age").read_bytes())
    out = io.BytesIO()
    pyrage.decrypt_io(sealed, out, on_files.key.identity)
    text = gzip.decompress(out.getvalue()).decode()
    with closing(sqlite3.connect(tmp_path / "by_hand.db")) as plain:
        plain.executescript(text)
        plain.commit()
        assert plain.execute("SELECT COUNT(*) FROM odd").fetchone() == (5,)
    with closing(sqlite3.connect(tmp_path / "by_hand.db")) as plain:
        assert plain.execute("SELECT * FROM words WHERE words MATCH 'be'").fetchall() == [("to be or not to be",)]


def test_a_part_of_a_server_can_be_read_by_its_own_client(on_servers: Vault, servers: list[Server]) -> None:
    make_odd(on_servers)
    kept = on_servers.create()
    out = io.BytesIO()
    pyrage.decrypt_io(
        io.BytesIO((kept.path / "shard_1.sql.gz.age").read_bytes()), out, on_servers.key.identity
    )  # fmt: skip
    servers[0].sql("DROP DATABASE IF EXISTS by_hand", "CREATE DATABASE by_hand CHARACTER SET utf8mb4")
    try:
        subprocess.run(
            [program("mariadb"), f"--socket={servers[0].socket}", "--user=root", "by_hand"],
            input=gzip.decompress(out.getvalue()), check=True, timeout=60,
        )  # fmt: skip
        assert servers[0].sql("SELECT COUNT(*), MAX(LENGTH(m)) FROM by_hand.odd") == ((3, 200000),)
        assert servers[0].sql("SELECT * FROM by_hand.a_second") == ((2,),)
    finally:
        servers[0].sql("DROP DATABASE by_hand")


def test_a_server_of_its_own_proves_a_backup_and_leaves_nothing(on_servers: Vault, tmp_path: Path) -> None:
    program("mariadb-install-db")
    make_odd(on_servers)
    text = on_servers.site.file.read_text()
    on_servers.site.file.write_text(text.replace('scratch = "shard_0"\n', ""))
    found = on_servers.verify(on_servers.create())
    assert found.how == "a MariaDB server of its own"


def test_nothing_of_a_backup_can_be_read_by_others_and_no_password_is_in_it(on_servers: Vault) -> None:
    kept = on_servers.create()
    for path in [kept.path, *kept.path.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    everything = b"".join(path.read_bytes() for path in kept.path.iterdir())
    assert PASSWORD.encode() not in everything and b"u1@example.org" not in everything
    told = json.dumps(on_servers.events) + Trail(on_servers.site.root / "var/audit.jsonl").path.read_text()
    assert PASSWORD not in told and "example.org" not in told


def test_files_and_links_come_back_and_the_file_of_the_platform_stays(on_files: Vault, tmp_path: Path) -> None:
    root = on_files.site.root
    on_files.site.file.write_text(
        on_files.site.file.read_text() + 'files = ["uploads", "one.txt"]\ndirectory = "uploads/backups"\n'
    )
    (root / "uploads" / "deep").mkdir(parents=True)
    (root / "uploads" / "deep" / "a").write_bytes(b"\0" * 100_000)
    (root / "uploads" / "link").symlink_to("deep/a")
    (root / "one.txt").write_text("one")
    (root / "one.txt").chmod(0o600)
    on_files.create()
    kept = on_files.create()
    assert kept.manifest is not None and kept.manifest.files == 3, "no backup of backups"
    on_files.verify(kept)
    (root / "uploads" / "deep" / "a").unlink()
    (root / "one.txt").write_text("two")
    on_files.site.file.write_text(on_files.site.file.read_text() + "# mine\n")
    assert on_files.restore(kept).files == 3
    assert (root / "uploads" / "link").read_bytes() == b"\0" * 100_000
    assert (root / "one.txt").read_text() == "one" and stat.S_IMODE((root / "one.txt").stat().st_mode) == 0o600
    assert on_files.site.file.read_text().endswith("# mine\n")


@pytest.mark.parametrize("named", [".", "var", "var/shard_0.db"])
def test_shards_among_the_files_come_back_as_shards_alone(on_files: Vault, named: str) -> None:
    # A copy of a database that is written to is no database; put over a restored one it would destroy that.
    vault = on_files
    vault.site.file.write_text(vault.site.file.read_text() + f'files = ["{named}"]\n')
    (vault.site.root / "var/uploads").mkdir(exist_ok=True)
    (vault.site.root / "var/uploads/a").write_text("a")
    (vault.site.root / "var/uploads").chmod(0o775)
    vault.create()
    kept, rows = vault.create(), vault.rows()
    assert kept.manifest is not None
    assert kept.manifest.files == (named != "var/shard_0.db")
    for shard in vault.site.shards:
        vault.site.look(shard, "DELETE FROM users")
    (vault.site.root / "var/uploads/a").unlink()
    trail = (vault.site.root / "var/audit.jsonl").read_text()
    vault.restore(kept)
    assert vault.rows() == rows
    assert (vault.site.root / "var/audit.jsonl").read_text().startswith(trail)
    assert (vault.site.root / "var/uploads/a").exists() is (named != "var/shard_0.db")
    assert stat.S_IMODE((vault.site.root / "var/uploads").stat().st_mode) == 0o775


def test_a_file_that_goes_while_its_directory_is_read_is_no_fault(
    on_files: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    on_files.site.file.write_text(on_files.site.file.read_text() + 'files = ["uploads"]\n')
    uploads = on_files.site.root / "uploads"
    uploads.mkdir()
    for name in "abc":
        (uploads / name).write_text(name)
    plain = files._add

    def add(tar: Any, path: Path, name: str) -> bool:
        (uploads / "b").unlink(missing_ok=True)
        return plain(tar, path, name)

    monkeypatch.setattr(files, "_add", add)
    kept = on_files.create()
    assert kept.manifest is not None and kept.manifest.files == 2
    on_files.verify(kept)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "missing"])
def test_files_that_are_missing_or_outside_are_refused_by_name(on_files: Vault, name: str) -> None:
    on_files.site.file.write_text(on_files.site.file.read_text() + f'files = ["{name}"]\n')
    with pytest.raises(BackupError, match=f"backup.files: {name} is"):
        on_files.create()
    assert on_files.partial() == [] and Shelf(on_files.topology).backups() == []


def test_the_age_of_the_last_verified_backup_is_that_of_its_data(on_files: Vault) -> None:
    assert last_verified_age_s(on_files.topology, 0.0) is None
    first = on_files.create()
    assert first.manifest is not None
    assert last_verified_age_s(on_files.topology, 0.0) is None
    on_files.verify(first)
    on_files.create()
    assert last_verified_age_s(on_files.topology, first.manifest.made_s + 60.0) == 60.0
    said = first.path / "verified.json"
    said.write_text(said.read_text().replace(first.manifest.digest, "0" * 64))
    assert last_verified_age_s(on_files.topology, 0.0) is None


def test_a_backup_that_a_wrong_clock_dated_in_the_future_is_never_young(on_files: Vault) -> None:
    on_files.site.file.write_text(on_files.site.file.read_text() + "keep_days = 0\nkeep_weeks = 0\nkeep_months = 0\n")
    later = Creation(on_files.topology, lambda event: None, now=lambda: time.time() + 86_400.0).run()
    on_files.verify(later)
    assert last_verified_age_s(on_files.topology, time.time()) is None
    first, second = on_files.create(), on_files.create()
    on_files.verify(first)
    age_s = last_verified_age_s(on_files.topology, time.time())
    assert age_s is not None and age_s < 3600
    assert prune(on_files.topology).removed == []
    assert {one.id for one in Shelf(on_files.topology).backups()} == {later.id, first.id, second.id}


def test_prune_keeps_what_the_file_says_and_what_somebody_reads(on_files: Vault) -> None:
    on_files.site.file.write_text(on_files.site.file.read_text() + "keep_days = 0\nkeep_weeks = 0\nkeep_months = 0\n")
    first, second, third = on_files.create(), on_files.create(), on_files.create()
    on_files.verify(first)
    assert prune(on_files.topology, dry_run=True).removed == [second.id]
    assert second.path.exists()
    with reading(second.path):
        assert prune(on_files.topology).busy == [second.id]
    with reading(second.path, exclusive=True), pytest.raises(BackupError, match="is being removed"):
        on_files.verify(second)
    assert prune(on_files.topology).removed == [second.id]
    left = {one.id for one in Shelf(on_files.topology).backups()}
    assert left == {first.id, third.id}


def test_two_backups_at_once_are_refused(on_files: Vault) -> None:
    with Shelf(on_files.topology).alone(), pytest.raises(BackupError, match="another backup is being made") as told:
        on_files.create()
    assert told.value.retryable


def test_every_act_is_on_the_trail(on_files: Vault) -> None:
    kept = on_files.create()
    on_files.verify(kept)
    on_files.restore(kept)
    trail = Trail(on_files.site.root / "var/audit.jsonl")
    assert [entry.did for entry in trail.entries()] == [
        "backup create", "backup verify", "backup restore", "backup restore",
    ]  # fmt: skip
    assert trail.faults() == []
