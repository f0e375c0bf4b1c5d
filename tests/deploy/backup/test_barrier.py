"""Writes are held up for as long as was said and no longer, whatever happens; what was not held is no backup. Edge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tenfold.deploy.backup.barrier import Barrier
from tenfold.deploy.backup.shelf import Shelf
from tenfold.errors import BackupError
from tenfold.sharding.moves.connections import Shards
from tests.deploy.backup.conftest import Vault
from tests.mariadb import Server
from tests.support import wait_for

DRILLS = os.environ.get("TENFOLD_DRILLS") == "1"


def before(monkeypatch: pytest.MonkeyPatch, method: str, shard: str, act: Callable[[], object]) -> None:
    """Do something before the barrier comes to a shard."""
    plain = getattr(Barrier, method)

    def patched(barrier: Barrier, at: str, *more: Any) -> Any:
        if at == shard:
            act()
        return plain(barrier, at, *more)

    monkeypatch.setattr(Barrier, method, patched)


@pytest.mark.parametrize("method", ["_hold", "_open", "_see"] if DRILLS else ["_hold"])
def test_a_server_that_hangs_while_writes_are_held_up_lets_the_others_go_in_time(
    on_servers: Vault, servers: list[Server], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:  # fmt: skip
    vault = on_servers
    vault.site.file.write_text(vault.site.file.read_text().replace("barrier_s = 5.0", "barrier_s = 1.0"))

    def hang() -> None:
        servers[1].pause()
        wait_for(lambda: _stands_still(servers[1].pid), "it stands still")

    before(monkeypatch, method, "shard_1", hang)
    with ThreadPoolExecutor(1) as pool:
        try:
            making = pool.submit(vault.create)
            wait_for(lambda: making.done(), "the backup gives up", 30)
            vault.site.look("shard_0", "UPDATE users SET name = 'free'")
            with pytest.raises(BackupError, match="within 1 s: shard_1 was busy") as told:
                making.result()
        finally:
            servers[1].resume()
    assert told.value.retryable and vault.partial() == []


def test_a_lock_that_was_lost_before_all_snapshots_were_open_makes_no_backup(
    on_servers: Vault, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    holders: list[int] = []
    plain = Barrier._granted

    def granted(barrier: Barrier, shard: str, lock: str) -> bool:
        found = plain(barrier, shard, lock)
        holder = barrier._shards.at(shard, "barrier")
        holders.append(int(holder.execute("SELECT CONNECTION_ID()", ()).rows[0][0]))
        return found

    monkeypatch.setattr(Barrier, "_granted", granted)
    before(monkeypatch, "_open", "shard_2", lambda: servers[0].cut(holders[:2]))
    with pytest.raises(BackupError, match="the connection that held writes up on shard_0 was lost") as told:
        on_servers.create()
    assert told.value.retryable and Shelf(on_servers.topology).backups() == []


def test_writes_to_a_table_that_keeps_its_history_are_held_up_too(on_servers: Vault) -> None:
    site = on_servers.site
    site.look("shard_1", "CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
    with closing(Shards(on_servers.topology)) as shards:
        barrier = Barrier(shards, ["shard_1"], 5.0, lambda: 0.0, lambda: 0.0)
        barrier._ready("shard_1")
        assert barrier._hold("shard_1") == "tables"
        with site.client("shard_1") as line, line.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 1")
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
                cursor.execute("INSERT INTO versioned VALUES (1)")


FROZEN = """
import os, signal, sys
from tenfold.cli.main import main
from tenfold.deploy.backup.barrier import Barrier
plain = Barrier._open
def opened(barrier, shard):
    if shard == "shard_2":
        os.kill(os.getpid(), signal.SIGSTOP)
    plain(barrier, shard)
Barrier._open = opened
sys.exit(main(["backup", "create"]))
"""


@pytest.mark.skipif(not DRILLS, reason="it waits for seconds; TENFOLD_DRILLS=1")
def test_writers_go_on_when_the_machine_that_makes_the_backup_falls_silent(on_servers: Vault) -> None:
    vault = on_servers
    vault.site.file.write_text(vault.site.file.read_text().replace("barrier_s = 5.0", "barrier_s = 1.0"))
    process = subprocess.Popen([sys.executable, "-c", FROZEN], cwd=vault.site.root, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: _stands_still(process.pid), "it holds writes up, and stands still", 30)
        written = threading.Thread(target=vault.site.look, args=("shard_0", "UPDATE users SET name = 'free'"))
        written.start()
        written.join(30)
        assert not written.is_alive(), "writers wait for a machine that is silent"
    finally:
        process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 75, said
    assert Shelf(vault.topology).backups() == []


def _stands_still(pid: int) -> bool:
    """Whether all threads of a process do."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    return {one.read_text().rpartition(")")[2].split()[0] for one in threads} == {"T"}
