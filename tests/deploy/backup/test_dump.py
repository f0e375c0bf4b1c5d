"""What a server cuts off, or makes NULL, with no more than a warning is noticed; nobody is held up. Edge."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenfold.deploy.backup.barrier import READING, Barrier
from tenfold.deploy.backup.dump import Dump
from tenfold.deploy.backup.frames import frames
from tenfold.deploy.backup.objects import read_objects
from tenfold.errors import BackupError
from tenfold.sharding.moves.connections import Shards
from tests.deploy.backup.conftest import Key, Vault
from tests.mariadb import ACCOUNT, Server, server
from tests.sharding.engine.sites import mariadb_site


@pytest.fixture(scope="module")
def narrow(mariadb_pattern: Path) -> Iterator[Server]:
    """A server that takes and gives a megabyte at once, and may be flushed."""
    with server(mariadb_pattern, ["--max-allowed-packet=1M"]) as one:
        one.sql(f"GRANT RELOAD ON *.* TO {ACCOUNT}@'127.0.0.1'")
        yield one


@pytest.fixture
def vault(narrow: Server, tmp_path: Path, key: Key) -> Iterator[Vault]:
    """Three shards on it."""
    with mariadb_site(tmp_path / "site", [narrow]) as site:
        yield Vault(site.set_up(), key)


def dumped(vault: Vault) -> tuple[dict[str, int], bytes]:
    """Rows by table as the frames have them, and all of it."""
    text: list[bytes] = []
    with closing(Shards(vault.topology)) as shards:
        objects = read_objects(shards, "shard_0")
        Barrier(shards, ["shard_0"], 5.0, lambda: 0.0, lambda: 0.0).open(needed=True)
        driver = shards.at("shard_0", READING)
        sums = Dump("shard_0", driver, shards.dialect, b"k", lambda rows: None).write(objects, text.append)
        # The transaction with the snapshot is still open, and holds nobody up.
        with vault.site.client("shard_0") as line, line.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 1")
            cursor.execute("ALTER TABLE users ADD COLUMN later INT")
    found: dict[str, int] = {}
    for frame in frames(io.BytesIO(b"".join(text))):
        if frame.kind == "rows":
            found[frame.name] = found.get(frame.name, 0) + frame.rows
    assert {name: one.rows for name, one in sums.items() if one.rows} == found
    return found, b"".join(text)


def test_rows_that_suddenly_become_long_are_all_read(vault: Vault) -> None:
    vault.site.look("shard_0", "CREATE TABLE grows (id INT PRIMARY KEY, v TEXT)")
    vault.site.look("shard_0", "INSERT INTO grows SELECT seq, 'x' FROM seq_1_to_9000")
    vault.site.look("shard_0", "INSERT INTO grows SELECT seq, REPEAT('y', 20000) FROM seq_9001_to_9100")
    rows, text = dumped(vault)
    assert rows["grows"] == 9100
    assert text.count(b"y" * 20000) == 100


def test_rows_without_large_columns_that_become_long_are_all_read(vault: Vault) -> None:
    vault.site.look("shard_0", "CREATE TABLE grows (id INT PRIMARY KEY, v VARCHAR(10000))")
    vault.site.look("shard_0", "INSERT INTO grows SELECT seq, 'x' FROM seq_1_to_9000")
    vault.site.look("shard_0", "INSERT INTO grows SELECT seq, REPEAT('y', 10000) FROM seq_9001_to_9300")
    rows, text = dumped(vault)
    assert rows["grows"] == 9300
    assert text.count(b"y" * 10000) == 300


@pytest.mark.parametrize(
    ("primary", "kind"),
    [("PRIMARY KEY", "MEDIUMBLOB"), ("NOT NULL", "MEDIUMBLOB"), ("PRIMARY KEY", "LONGTEXT COMPRESSED")],
)
def test_a_value_too_long_to_be_read_is_refused_by_name(vault: Vault, primary: str, kind: str) -> None:
    vault.site.look("shard_0", f"CREATE TABLE holds (id INT {primary}, v {kind})")
    vault.site.look("shard_0", "INSERT INTO holds VALUES (1, REPEAT('z', 600000))")
    with pytest.raises(BackupError, match="a row of holds has 600,000 bytes") as told:
        vault.create()
    assert "max_allowed_packet" in told.value.hint
    assert vault.partial() == []


def test_prepared_transactions_are_named_and_never_torn_apart_unseen(vault: Vault) -> None:
    vault.site.look("shard_2", "INSERT INTO posts (title) VALUES ('first')")
    with vault.site.client("shard_2") as line, line.cursor() as cursor:
        for sql in ("XA START 'half'", "UPDATE posts SET title = 'second'", "XA END 'half'", "XA PREPARE 'half'"):
            cursor.execute(sql)
    try:
        with pytest.raises(BackupError, match="prepared transactions are undecided") as told:
            vault.create(consistent=True)
        assert told.value.retryable
        kept = vault.create()
        assert kept.manifest is not None and not kept.manifest.consistent
        assert kept.manifest.notes == [
            f"{shard}: 1 prepared transactions, undecided, are not in it" for shard in vault.site.shards
        ]  # of the server that they share
    finally:
        vault.site.look("shard_2", "XA ROLLBACK 'half'")
    assert vault.create(consistent=True).manifest is not None
