"""A backup that is hurt, cut off or half made never passes for a good one. Edge."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyrage
import pytest

from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.envelope import opened, read_identity, seal, write_identity
from tenfold.deploy.backup.manifest import NAME, Table
from tenfold.deploy.backup.shelf import Kept, Shelf, last_verified_age_s, reading
from tenfold.deploy.backup.verify import verify
from tenfold.errors import BackupError, NodeError, TenfoldError
from tests.deploy.backup.conftest import Key, Vault
from tests.mariadb import Server
from tests.support import wait_for

SEED = 20261123
DRILLS = os.environ.get("TENFOLD_DRILLS") == "1"
KILLS = [(engine, nth) for engine in ("sqlite", "mysql") for nth in range(20)] if DRILLS else [
    ("sqlite", 0), ("mysql", 0)
]  # fmt: skip


def big(vault: Vault, rows: int = 30_000) -> None:
    """Rows that take a while to read."""
    if vault.site.engine == "mysql":
        vault.site.look("shard_1", "CREATE TABLE big (id BIGINT PRIMARY KEY, v VARCHAR(200))")
        vault.site.look("shard_1", f"INSERT INTO big SELECT seq, MD5(seq) FROM seq_1_to_{rows}")
        return
    vault.site.look("shard_1", "CREATE TABLE big (id INTEGER PRIMARY KEY, v TEXT)")
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    vault.site.look("shard_1", f"INSERT INTO big {numbers} SELECT i, hex(randomblob(40)) FROM n")


@pytest.fixture
def kept(on_files: Vault) -> Kept:
    """A good backup, proved."""
    found = on_files.create()
    on_files.verify(found)
    return found


def test_one_flipped_byte_anywhere_fails_verification_and_restores_nothing(on_files: Vault, kept: Kept) -> None:
    chance, before = random.Random(SEED), on_files.rows()
    for path in [*sorted(kept.path.glob("*.age")), kept.path / NAME]:
        whole = path.read_bytes()
        for position in {0, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(6))}:
            hurt = bytearray(whole)
            hurt[position] ^= 1 << chance.randrange(8)
            path.write_bytes(hurt)
            with pytest.raises(BackupError, match="damaged"):
                on_files.verify(kept)
            with pytest.raises(BackupError, match="damaged"):
                on_files.restore(kept)
        path.write_bytes(whole)
    assert on_files.rows() == before
    on_files.verify(kept)


def test_a_part_that_is_cut_off_or_gone_fails_verification(on_files: Vault, kept: Kept) -> None:
    path = kept.path / "shard_1.sql.gz.age"
    whole = path.read_bytes()
    for left in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:left])
        with pytest.raises(BackupError, match=f"it has {left:,} bytes"):
            on_files.verify(kept)
    path.unlink()
    with pytest.raises(BackupError, match="cannot be read"):
        on_files.verify(kept)


def test_what_was_good_once_and_is_damaged_now_counts_no_more(on_files: Vault, kept: Kept, tmp_path: Path) -> None:
    write_identity(tmp_path / "other", "another")
    with pytest.raises(BackupError, match="the key does not fit"):
        verify(on_files.topology, kept.id, read_identity(tmp_path / "other"))
    assert last_verified_age_s(on_files.topology, time.time()) is not None, "of a wrong key it knows nothing"
    path = kept.path / "shard_1.sql.gz.age"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BackupError, match="is damaged"):
        on_files.verify(kept)
    assert last_verified_age_s(on_files.topology, time.time()) is None


def test_a_manifest_whose_shards_are_paths_is_damaged(on_files: Vault, kept: Kept) -> None:
    assert kept.manifest is not None
    shards, parts = kept.manifest.shards, kept.manifest.parts
    for evil in ("../../evil", "/tmp/evil", "", "a\0b"):
        lie = replace(
            kept.manifest,
            shards=shards | {evil: shards["shard_1"]},
            parts=parts | {f"{evil}.sql.gz.age": parts["shard_1.sql.gz.age"]},
        )
        (kept.path / NAME).write_bytes(lie.text())
        with pytest.raises(BackupError, match="is damaged"):
            on_files.verify(kept)
    lie = replace(kept.manifest, parts=parts | {"../x": parts["shard_1.sql.gz.age"]})
    (kept.path / NAME).write_bytes(lie.text())
    with pytest.raises(BackupError, match="is damaged"):
        on_files.verify(kept)


def test_what_a_killed_verification_left_is_removed_by_the_next(
    on_files: Vault, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = tmp_path / "tenfold-verify-dead", tmp_path / "tenfold-verify-alive"
    dead.mkdir()
    alive.mkdir()
    (dead / "shard_0.db").write_text("rows")
    with reading(alive):
        on_files.verify(kept)
    assert not dead.exists() and alive.exists()
    assert [path.name for path in tmp_path.glob("tenfold-verify-*")] == ["tenfold-verify-alive"]


@pytest.mark.skipif(not DRILLS, reason="it starts a server; TENFOLD_DRILLS=1")
def test_a_scratch_server_does_not_outlive_a_verification_that_is_killed(on_servers: Vault, tmp_path: Path) -> None:
    on_servers.site.file.write_text(on_servers.site.file.read_text().replace('scratch = "shard_0"\n', ""))
    on_servers.create()
    room = {**os.environ, "TMPDIR": str(tmp_path)}
    process = tenfold(on_servers, "backup", "verify", "-i", str(on_servers.key.path), env=room)
    try:
        server = wait_for(
            lambda: [one for one in psutil.Process(process.pid).children() if one.name() == "mariadbd"], "it runs", 60
        )
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not server[0].is_running(), "the server ends")


def test_a_verification_that_cannot_be_recorded_says_so(on_files: Vault) -> None:
    kept = on_files.create()
    (kept.path / "verified.json.new").mkdir()
    with pytest.raises(BackupError, match="is good, which cannot be recorded"):
        on_files.verify(kept)


def test_a_wrong_key_reads_nothing(on_files: Vault, kept: Kept, tmp_path: Path) -> None:
    write_identity(tmp_path / "other", "another")
    before = on_files.rows()
    with pytest.raises(BackupError, match="the key does not fit"):
        verify(on_files.topology, kept.id, read_identity(tmp_path / "other"))
    wrong = Vault.__new__(Vault)
    wrong.site, wrong.key, wrong.events = on_files.site, Key(tmp_path / "other", ""), []
    with pytest.raises(BackupError, match="the key does not fit"):
        wrong.restore(kept)
    assert on_files.rows() == before


def test_of_several_keys_in_a_file_each_is_tried(on_files: Vault, kept: Kept, tmp_path: Path) -> None:
    write_identity(tmp_path / "later", "made when the first was given up")
    both = tmp_path / "both"
    both.touch(0o600)
    both.write_text((tmp_path / "later").read_text() + on_files.key.path.read_text())
    assert verify(on_files.topology, kept.id, read_identity(both)).id == kept.id


@pytest.mark.parametrize("text", ["", "# nothing\n", "-----BEGIN AGE ENCRYPTED FILE-----\n", "AGE-SECRET-KEY-1X\n"])
def test_a_file_without_a_key_that_can_be_read_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(text)
    with pytest.raises(BackupError, match="holds no private key"):
        read_identity(tmp_path / "key")


def test_the_latest_is_not_an_older_one_because_it_is_damaged(on_files: Vault, kept: Kept) -> None:
    newest = Creation(on_files.topology, lambda event: None, now=lambda: time.time() + 60.0).run()
    (newest.path / NAME).write_text("{}")
    with pytest.raises(BackupError, match=f"{newest.id}.* is damaged"):
        Shelf(on_files.topology).find("latest")
    assert Shelf(on_files.topology).find(kept.id).id == kept.id


def test_a_key_that_others_may_read_is_refused(on_files: Vault, tmp_path: Path) -> None:
    write_identity(tmp_path / "key", "open")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(BackupError, match="others may read") as told:
        read_identity(tmp_path / "key")
    assert told.value.hint.startswith("chmod 600")
    with pytest.raises(BackupError, match="is there already"):
        write_identity(tmp_path / "key", "twice")


def test_a_manifest_that_lies_is_found_out_by_the_restore(vault: Vault) -> None:
    # Whoever has the public key can write such a one: bytes, digests and rows agree, and what is restored does not.
    kept = vault.create()
    assert kept.manifest is not None
    for name in ("users", "tf_bucket"):
        part = kept.manifest.shards["shard_1"]
        lie = part.tables | {name: Table(part.tables[name].rows, "0" * 64)}
        shards = kept.manifest.shards | {"shard_1": replace(part, tables=lie)}
        (kept.path / NAME).write_bytes(replace(kept.manifest, shards=shards).text())
        with pytest.raises(BackupError, match=f"shard_1: {name} is not restored as it was"):
            vault.verify(kept)
        assert Shelf(vault.topology).find(kept.id).verified is None


def test_a_dump_that_lacks_rows_is_found_out(on_files: Vault, kept: Kept) -> None:
    assert kept.manifest is not None
    path = kept.path / "shard_0.sql.gz.age"
    with opened(path, on_files.key.identity) as stream:
        text = stream.read()
    start = text.index(b'-- tenfold {"kind":"rows","name":"deposits"')
    end = text.index(b"-- tenfold ", start + 1)
    path.unlink()
    part = seal(path, on_files.key.recipient, lambda write: write(text[:start] + text[end:]))
    parts = kept.manifest.parts | {path.name: part}
    (kept.path / NAME).write_bytes(replace(kept.manifest, parts=parts).text())
    with pytest.raises(BackupError, match="deposits has 0 rows"):
        on_files.verify(kept)


@pytest.mark.parametrize("left", [0, 10, 1000])
def test_an_encrypted_part_that_ends_too_soon_is_no_part(tmp_path: Path, key: Key, left: int) -> None:
    def fails(write: Callable[[bytes], None]) -> None:
        write(os.urandom(left * 1000))
        raise NodeError("the shard has gone")

    with pytest.raises(NodeError, match="the shard has gone"):
        seal(tmp_path / "part", key.recipient, fails)


def test_a_server_that_cuts_the_line_midway_leaves_no_backup(on_servers: Vault, servers: list[Server]) -> None:
    big(on_servers)
    cut: list[int] = []

    def say(event: dict[str, Any]) -> None:
        if event["event"] == "rows" and not cut:
            for one in servers:
                cut.extend(one.sessions())
                one.cut(one.sessions())

    with pytest.raises(TenfoldError) as told:
        Creation(on_servers.topology, say).run()
    assert cut and told.value.retryable
    assert on_servers.partial() == [] and Shelf(on_servers.topology).backups() == []
    on_servers.verify(on_servers.create())


def test_a_schema_that_changes_meanwhile_stops_the_backup(vault: Vault) -> None:
    big(vault)

    def say(event: dict[str, Any]) -> None:
        if event.get("phase") == "dump":
            vault.site.look("shard_2", "CREATE TABLE newborn (id INT)")
            vault.site.look("shard_1", "ALTER TABLE big ADD COLUMN more INT")

    with pytest.raises(BackupError, match="was changed while it was read") as told:
        Creation(vault.topology, say).run()
    assert told.value.retryable and vault.partial() == []
    vault.verify(vault.create())


def tenfold(vault: Vault, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tenfold.cli.main", *arguments, "--json"],
        cwd=vault.site.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how,
    )  # fmt: skip


def test_a_disk_that_is_full_leaves_no_backup(on_files: Vault) -> None:
    big(on_files)

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = tenfold(on_files, "backup", "create", preexec_fn=small)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    said = json.loads(out.splitlines()[-1])
    assert "cannot be written: File too large" in said["error"] and "make room" in said["hint"]
    assert on_files.partial() == [] and Shelf(on_files.topology).backups() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount; the limit of a file's size is tested beside it")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_file_system_that_is_full_leaves_no_backup(on_files: Vault, small_disk: Path) -> None:
    big(on_files)
    on_files.site.file.write_text(on_files.site.file.read_text() + f'directory = "{small_disk}"\n')
    with pytest.raises(BackupError, match="cannot be written: No space left on device"):
        on_files.create()
    assert on_files.partial() == [] and list(small_disk.glob("2*")) == []
    on_files.site.look("shard_1", "DELETE FROM big")
    on_files.verify(on_files.create())


@pytest.mark.parametrize(("vault", "nth"), KILLS, indirect=["vault"])
def test_a_backup_killed_at_any_moment_is_none_or_a_good_one(
    vault: Vault, nth: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED + nth)
    big(vault)
    process = tenfold(vault, "backup", "create")
    wait_for(lambda: vault.partial() or process.poll() is not None, "it has begun", 30)
    pause_s = chance.random() * 0.3
    record_property("seed", SEED + nth)
    time.sleep(pause_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for one in Shelf(vault.topology).backups():
        vault.verify(one)  # killed when it was whole
    with vault.site.connect() as db:  # nothing is held up
        db.execute("UPDATE users SET name = 'free'")
    vault.verify(vault.create())
    assert vault.partial() == []


def test_what_is_not_finished_is_no_backup_and_the_next_one_sweeps_it(on_files: Vault, kept: Kept) -> None:
    shutil.copytree(kept.path, kept.path.with_name("20200101T000000Z-aaaa.partial"))
    shutil.copytree(kept.path, kept.path.with_name("20200101T000000Z-bbbb"))
    (kept.path.with_name("20200101T000000Z-bbbb") / NAME).unlink()
    assert [one.id for one in Shelf(on_files.topology).backups()] == [kept.id]
    on_files.create()
    assert on_files.partial() == []


def test_a_backup_under_another_name_is_not_believed(on_files: Vault, kept: Kept) -> None:
    shutil.copytree(kept.path, kept.path.with_name("20200101T000000Z-aaaa"))
    with pytest.raises(BackupError, match=f"is of the backup {kept.id}"):
        Shelf(on_files.topology).find("20200101T000000Z-aaaa")


@pytest.mark.parametrize("hurt", [lambda whole: whole[:-4], lambda whole: whole + b"more", lambda whole: b"no gzip"])
def test_what_is_rightly_encrypted_and_wrongly_compressed_is_damaged(
    tmp_path: Path, key: Key, hurt: Callable[[bytes], bytes]
) -> None:
    plain = hurt(gzip.compress(b"x" * 100_000))
    (tmp_path / "part").write_bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(key.recipient)]))
    with opened(tmp_path / "part", key.identity) as stream, pytest.raises(BackupError, match="is damaged"):
        stream.read()
