"""Where a backup may be restored, and what half a restore is taken for. Edge."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy.backup import targets
from tenfold.deploy.backup.restore import Restoring
from tenfold.deploy.backup.shelf import Shelf
from tenfold.errors import BackupError, CatalogError, NodeError
from tenfold.sharding.catalog import load, load_once
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.placement import strays
from tenfold.sharding.moves.progress import Silence
from tenfold.sharding.moves.repair import Repair
from tests.deploy.backup.conftest import Key, Vault
from tests.mariadb import Server, fresh_databases
from tests.sharding.engine.sites import Site, mariadb_site
from tests.sharding.moves.mover.places import TABLES, Place
from tests.support import wait_for

DRILLS = os.environ.get("TENFOLD_DRILLS") == "1"


class Killed(BaseException):
    """The end of the process."""


def test_a_platform_that_is_there_is_replaced_only_when_its_name_is_typed(vault: Vault) -> None:
    kept = vault.create()
    before = vault.rows()
    for meant in (None, "", "Tiny", "ledger"):
        with pytest.raises(BackupError, match="shard_0, shard_1, shard_2 would lose") as told:
            vault.restore(kept, meant=meant)
        assert "--yes-i-mean tiny" in told.value.hint
    assert vault.rows() == before


def test_a_platform_that_is_in_use_is_not_restored_over(vault: Vault) -> None:
    kept = vault.create()
    with vault.site.connect() as db:
        db.execute("UPDATE users SET name = 'alive'")
        use = "connections to the database of shard_0 are open"
        if vault.site.engine == "sqlite":
            use = "1 processes use the platform"
            wait_for(lambda: vault.site.look("shard_0", "SELECT 1 FROM tf_router"), "it is in the catalog")
        with pytest.raises(BackupError, match=use) as told:
            vault.restore(kept)
        assert told.value.retryable
        assert db.execute("SELECT COUNT(*) FROM users WHERE name = 'alive'").scalar() == 60
    vault.restore(kept)


def test_what_belongs_to_others_is_never_touched(vault: Vault, elsewhere: Site) -> None:
    kept = vault.create()
    elsewhere.look("shard_1", "CREATE TABLE precious (id INT)")
    with pytest.raises(BackupError, match="the database of shard_1 holds tables that are none of a platform"):
        vault.restore(kept, elsewhere.topology())
    elsewhere.look("shard_1", "DROP TABLE precious")
    elsewhere.set_up()
    with pytest.raises(BackupError, match="the database of shard_0 belongs to another platform"):
        vault.restore(kept, elsewhere.topology())
    with elsewhere.connect() as db:
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 0


def test_what_is_begun_while_a_backup_is_read_is_not_restored_over(vault: Vault) -> None:
    kept = vault.create()
    opened: list[Any] = []

    def say(event: dict[str, Any]) -> None:
        if event.get("phase") == "decrypt":
            opened.append(vault.site.connect())
            opened[0].execute("UPDATE users SET name = 'alive'")
            wait_for(lambda: vault.site.look("shard_0", "SELECT 1 FROM tf_router"), "it is in the catalog")

    try:
        with pytest.raises(BackupError, match="use"):
            Restoring(Shelf(vault.topology).find(kept.id), vault.key.identity, vault.topology, say).run("tiny")
        assert opened[0].execute("SELECT COUNT(*) FROM users WHERE name = 'alive'").scalar() == 60
    finally:
        opened[0].close()


def test_a_process_that_slept_through_a_restore_reads_the_whole_map_anew(vault: Vault) -> None:
    # Its map is of an epoch that the restored platform comes to again, by other moves.
    def move(bucket: int) -> None:
        look = vault.site.look
        look("shard_0", "UPDATE tf_bucket SET shard = 'shard_2', epoch = 2 WHERE bucket = ?", (bucket,))
        look("shard_0", "UPDATE tf_catalog SET value = '2' WHERE name = 'epoch'")
        look("shard_0", "UPDATE tf_catalog SET value = value + 1 WHERE name = 'version'")

    first, second = (
        row[0] for row in vault.site.look("shard_0", "SELECT bucket FROM tf_bucket WHERE shard = 'shard_0'")[:2]
    )
    kept = vault.create()
    move(first)
    with one_off_runner(vault.topology) as runner:
        known = runner.run(load(vault.topology))
    vault.restore(kept)
    move(second)
    with one_off_runner(vault.topology) as runner:
        now = runner.run(load_once(vault.topology, known))
    assert (now.map.shard_of(first), now.map.shard_of(second)) == ("shard_0", "shard_2")


def test_two_restores_to_the_same_databases_at_once_are_refused(vault: Vault, elsewhere: Site) -> None:
    kept = vault.create()
    with closing(Shards(elsewhere.topology())) as shards, targets.alone(shards):
        with pytest.raises(BackupError, match="another restore to shard_0 is under way") as told:
            vault.restore(kept, elsewhere.topology(), meant=None)
        assert told.value.retryable
    vault.restore(kept, elsewhere.topology(), meant=None)


def test_a_restored_file_is_where_a_link_leads_and_whose_the_old_one_was(on_files: Vault, tmp_path: Path) -> None:
    path, other = on_files.site.path("shard_1"), tmp_path / "disk/real.db"
    other.parent.mkdir()
    path.rename(other)
    path.symlink_to(other)
    other.chmod(0o660)
    kept, rows = on_files.create(), on_files.rows()
    if os.geteuid() == 0:
        os.chown(other, 1234, 1235)
    on_files.restore(kept)
    assert path.is_symlink() and on_files.rows() == rows
    assert other.stat().st_mode & 0o777 == 0o660 and not list(other.parent.glob("*restoring*"))
    assert os.geteuid() != 0 or (other.stat().st_uid, other.stat().st_gid) == (1234, 1235)


def test_a_shard_that_is_missing_in_the_file_is_named(vault: Vault, elsewhere: Site) -> None:
    kept = vault.create()
    elsewhere.write(shards={name: elsewhere.shard_line(name) for name in elsewhere.shards[:2]}, tables="")
    with pytest.raises(BackupError, match="the backup has shard_2"):
        vault.restore(kept, elsewhere.topology())


def test_of_a_damaged_backup_no_server_is_emptied(on_servers: Vault) -> None:
    kept, before = on_servers.create(), on_servers.rows()
    path = kept.path / "shard_2.sql.gz.age"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(BackupError, match="damaged"):
        on_servers.restore(kept)
    assert on_servers.rows() == before
    assert not on_servers.site.look("shard_0", "SELECT 1 FROM tf_shard WHERE name = 'restoring'")


def interrupted(vault: Vault, kept: Any, target: Site, after: int) -> bool:
    """Whether a restore was killed once it had told of so many things."""
    left = [after]

    def say(event: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    try:
        Restoring(kept, vault.key.identity, target.topology(), say).run("tiny")
    except Killed:
        return True
    return False


def test_half_a_restore_is_used_by_nobody_and_can_be_run_again(
    on_servers: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    vault, rows = on_servers, on_servers.rows()
    kept = vault.create()
    after = 0
    marked = False
    while interrupted(vault, kept, vault.site, after):
        after += 1 if DRILLS else 2
        identity = vault.site.look("shard_0", "SELECT name FROM tf_shard")
        if ("restoring",) not in identity:
            assert vault.rows() == rows, "nothing was touched yet"
            continue
        marked = True
        for use in (vault.site.connect, vault.site.initialise, Repair(vault.topology).diagnose):
            with pytest.raises(CatalogError, match="holds half a platform") as told:
                use()
            assert f"tenfold backup restore {kept.id}" in told.value.hint
        with pytest.raises(CatalogError, match="half a platform"):
            vault.create()
    assert marked and after > 4
    assert vault.rows() == rows and strays(vault.topology) == []


def test_files_are_replaced_only_once_all_of_them_are_whole(on_files: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = on_files
    kept = vault.create()
    with vault.site.connect() as db:
        db.execute("UPDATE users SET name = 'later'")
    later = vault.rows()
    after = 0
    while interrupted(vault, kept, vault.site, after):
        after += 1
        if ("restoring",) in vault.site.look("shard_0", "SELECT name FROM tf_shard"):
            with pytest.raises(CatalogError, match="holds half a platform"):
                vault.site.connect()
            continue
        assert vault.rows() == later
        with vault.site.connect() as db:  # and the platform is as it was
            assert db.execute("SELECT COUNT(*) FROM users WHERE name = 'later'").scalar() == 60
        forget_routers(vault)
    with vault.site.connect() as db:
        db.execute("UPDATE users SET name = 'later'")
    forget_routers(vault)
    plain, left = os.replace, [1]

    def replaced(*names: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        plain(*names)

    monkeypatch.setattr(os, "replace", replaced)
    with pytest.raises(Killed):
        vault.restore(kept)
    monkeypatch.undo()
    # One file is new, two are old, and nobody takes them for a platform.
    for use in (vault.site.connect, vault.site.initialise):
        with pytest.raises(CatalogError, match="holds half a platform"):
            use()
    vault.restore(kept)
    with vault.site.connect() as db:
        assert db.execute("SELECT COUNT(*) FROM users WHERE name = 'later'").scalar() == 0
    assert list((vault.site.root / "var").glob("*.restoring*")) == []


def forget_routers(vault: Vault) -> None:
    vault.site.look("shard_0", "DELETE FROM tf_router")


def test_what_a_log_left_of_the_old_file_is_not_taken_for_the_new_ones(on_files: Vault) -> None:
    kept = on_files.create()
    rows = on_files.rows()
    path = on_files.site.path("shard_1")
    # As after a power cut: the log holds what is not yet in the file.
    with closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("PRAGMA wal_autocheckpoint = 0")
        held.execute("UPDATE users SET name = 'in the log'")
        log = path.with_name(path.name + "-wal").read_bytes()
        body = path.read_bytes()
    path.write_bytes(body)
    path.with_name(path.name + "-wal").write_bytes(log)
    on_files.restore(kept)
    assert on_files.rows() == rows


def test_a_file_that_another_program_uses_is_left_alone(on_files: Vault) -> None:
    kept = on_files.create()
    with closing(sqlite3.connect(on_files.site.path("shard_2"), isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT COUNT(*) FROM users").fetchone()
        with pytest.raises(NodeError, match="shard_2 is used by another program"):
            on_files.restore(kept)
        other.execute("ROLLBACK")
    on_files.restore(kept)
    on_files.site.connect().close()


def test_a_file_that_is_no_database_any_more_or_gone_comes_back(on_files: Vault) -> None:
    rows, kept = on_files.rows(), on_files.create()
    on_files.site.path("shard_1").write_bytes(b"rubbish" * 1000)
    on_files.site.path("shard_0").unlink()
    with pytest.raises(BackupError, match="shard_1, shard_2 would lose"):
        on_files.restore(kept, meant=None)
    on_files.restore(kept)
    assert on_files.rows() == rows
    with on_files.site.connect() as db:
        assert db.execute("SELECT COUNT(*) FROM users").scalar() == 60


# ---------------------------------------------------------------- moves


class Until(Silence):
    """Ends the mover's process before the nth step of that name."""

    def __init__(self, name: str, nth: int = 0) -> None:
        self._name, self._left = name, nth

    def step(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left < 0:
                raise Killed(name)


@pytest.fixture
def moving(request: pytest.FixtureRequest, tmp_path: Path, key: Key) -> Iterator[tuple[Place, Vault, Site]]:
    """A place with a move on it that can be stopped, backed up, and restored to another file."""
    if request.getfixturevalue("engine") == "sqlite":
        place = Place(Site(tmp_path / "place"))
        yield place, Vault(place.site, key), Site(tmp_path / "other")
        return
    servers: list[Server] = request.getfixturevalue("servers")
    with mariadb_site(tmp_path / "place", servers) as site, fresh_databases(servers, 3) as urls:
        place = Place(site)
        yield place, Vault(site, key), Site(tmp_path / "other", databases=urls)


STEPS = ("copy.rows", "copy.end", "cutover.fence", "cutover.bump", "cutover.moved", "cutover.open", "clean.rows")
CASES = [(engine, step) for engine in ("sqlite", "mysql") for step in STEPS]
SOONER = [("mysql", "cutover.moved"), *(case for case in CASES if case[0] == "sqlite" and case[1] != "copy.end")]
"""The others take 100 s."""


@pytest.mark.parametrize(("engine", "step"), CASES if DRILLS else SOONER)
def test_a_move_goes_on_from_a_backup_as_after_a_power_cut(
    moving: tuple[Place, Vault, Site], engine: str, step: str
) -> None:  # fmt: skip
    place, vault, other = moving
    place.empty()
    leg = place.leg(count=6)
    place.fill("shard_0", leg.buckets, 12)
    place.fill("shard_0", place.owned("shard_0")[6:12], 6)
    place.mover().begin([leg])
    with suppress(Killed):
        place.mover(Until(step, 1 if step.startswith("cutover") else 0)).run()
        place.mover(Until(step)).finish()
    active = place.active()
    assert active is not None, "it was killed before its end"
    rows = place.rows()
    kept = vault.create(consistent=True)
    assert kept.manifest is not None and kept.manifest.moves
    vault.verify(kept)
    other.write(TABLES, settings="lease_s = 0.1")
    done = vault.restore(kept, other.topology(), meant=None)
    assert any("tenfold shard resume --accept" in note for note in done.notes)
    there = Place.__new__(Place)
    there.site = other
    assert there.rows() == rows
    end = there.mover().run(accept=True)
    if end.phase is Phase.SERVING:
        end = there.mover().finish()
    assert end.phase is Phase.DONE
    assert there.rows() == rows and strays(other.topology()) == []
    assert [line for line in there.left_behind() if "note" not in line] == []
    # And the platform that was backed up goes on, too.
    place.mover().run()
    assert place.rows() == rows


@pytest.mark.parametrize("engine", ["sqlite", "mysql"] if DRILLS else ["sqlite"])
def test_a_backup_while_rows_move_can_be_taken_back(moving: tuple[Place, Vault, Site], engine: str) -> None:
    place, vault, other = moving
    place.empty()
    leg = place.leg(count=4)
    place.fill("shard_0", leg.buckets, 8)
    place.mover().begin([leg])
    assert place.mover().run().phase is Phase.SERVING
    kept = vault.create(consistent=True)
    rows = place.rows()
    other.write(TABLES, settings="lease_s = 0.1")
    vault.restore(kept, other.topology(), meant=None)
    there = Place.__new__(Place)
    there.site = other
    there.mover().run(accept=True)
    assert there.mover().undo().phase is Phase.DONE
    assert there.rows() == rows and set(leg.buckets) <= set(there.owned("shard_0"))


def test_a_backup_is_found_by_its_name_or_as_the_latest(on_files: Vault) -> None:
    with pytest.raises(BackupError, match='there is no backup "latest"'):
        Shelf(on_files.topology).find("latest")
    first, second = on_files.create(), on_files.create()
    assert Shelf(on_files.topology).find("latest").id in (first.id, second.id)
    assert Shelf(on_files.topology).find(first.id).id == first.id
    with pytest.raises(BackupError, match=r'there is no backup "\.\./x"'):
        Shelf(on_files.topology).find("../x")
