"""The databases that a backup is restored to: what they hold now, marked, emptied, given their names again. Edge."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenfold.deploy.backup.manifest import Manifest
from tenfold.deploy.backup.shelf import sync
from tenfold.errors import BackupError, NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.catalog import IDENTITY, LEAP, RESTORING, on_every_shard
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.moves.connections import Shards

EMPTY, HALF, SAME, BROKEN = "empty", "half", "same", "broken"
"""What a database holds: nothing; half of a restore; the platform of the backup; nothing that can be read."""
ALIVE_S = 15.0
"""A process that was seen in the catalog so long ago, or five leases, uses the platform."""
_LOCK = "CONCAT('tenfold_restore_', MD5(DATABASE()))"
_CONNECTED = (
    "SELECT COUNT(*) FROM information_schema.processlist"
    f" WHERE db = DATABASE() AND id NOT IN (CONNECTION_ID(), COALESCE(IS_USED_LOCK({_LOCK}), 0))"
)
_DROPS = {"VIEW": "VIEW", "SEQUENCE": "SEQUENCE"}


@dataclass(frozen=True, slots=True)
class Found:
    """states: by shard; strangers: members of the platform there that are not in the backup."""

    states: dict[str, str]
    strangers: list[str]

    @property
    def holds(self) -> list[str]:
        """Shards on which something would be lost."""
        return [shard for shard, state in self.states.items() if state in (SAME, BROKEN)]


def look(shards: Shards, manifest: Manifest) -> Found:
    """What the databases hold. Raises BackupError for those that may not be written to, NodeError."""
    topology = shards.topology
    missing = [shard for shard in manifest.shards if shard not in topology.database.shards]
    if missing:
        raise BackupError(
            f"the backup has {', '.join(missing)}, which {topology.file.name} has not",
            hint="name the same shards there; their urls may be others",
        )
    states = {shard: _state(shards, shard, manifest) for shard in manifest.shards}
    others = [shard for shard in topology.database.shards if shard not in manifest.shards]
    strangers = [shard for shard in others if _identity(shards, shard).get("cluster") == manifest.cluster]
    return Found(states, strangers)


def _state(shards: Shards, shard: str, manifest: Manifest) -> str:
    file = file_of(shards, shard)
    if file is not None and (not file.exists() or file.stat().st_size == 0):
        return EMPTY
    try:
        if not _tables(shards, shard):
            return EMPTY
        identity = _identity(shards, shard)
    except NodeDown:
        if file is None:
            raise
        return BROKEN
    if not identity:
        raise BackupError(
            f"the database of {shard} holds tables that are none of a platform",
            hint="name an empty database in its url",
        )
    if RESTORING in identity and identity.get("cluster", manifest.cluster) == manifest.cluster:
        return HALF
    if identity.get("cluster") != manifest.cluster or identity.get("shard") != shard:
        raise BackupError(
            f"the database of {shard} belongs to another platform, or is another shard of it",
            hint="correct its url, or name an empty database",
        )
    return SAME


def file_of(shards: Shards, shard: str) -> Path | None:
    """The file of a shard on SQLite; None: it is on a server."""
    if shards.dialect is MYSQL:
        return None
    # Resolved: a link stays one, and its file is replaced where it lies.
    return sqlite_path(shards.topology.database.shards[shard].url, shards.topology.root).resolve()


def _identity(shards: Shards, shard: str) -> dict[str, str]:
    file = file_of(shards, shard)
    if file is not None and not file.exists():
        return {}
    try:
        return {str(name): str(value) for name, value in shards.rows(shard, IDENTITY)}
    except StatementError:
        return {}


def _tables(shards: Shards, shard: str) -> list[tuple[str, str]]:
    if shards.dialect is MYSQL:
        sql = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()"
    else:
        sql = "SELECT name, type FROM sqlite_master"
    return [(str(name), str(kind)) for name, kind in shards.rows(shard, sql)]


@contextmanager
def alone(shards: Shards) -> Iterator[None]:
    """Be the only one who restores to these databases. Raises BackupError, retryable, where somebody else does."""
    home = shards.topology.catalog_shard
    file = file_of(shards, home)
    fd = -1
    if file is None:
        free = shards.at(home, "alone").execute(f"SELECT GET_LOCK({_LOCK}, 0)", ()).rows[0][0] == 1
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
    try:
        if not free:
            raise BackupError(f"another restore to {home} is under way", hint="let it end", retryable=True)
        yield
    finally:
        if fd >= 0:
            os.close(fd)
        shards.forget(home, "alone")


def refuse_alive(shards: Shards, found: Found, now_s: float) -> None:
    """Raises BackupError, retryable, while processes use the platform that is there."""
    for shard, state in found.states.items():
        if shards.dialect is MYSQL and state == SAME:
            _refuse_connected(shards, shard)
    home = shards.topology.catalog_shard
    if found.states.get(home) != SAME:
        return
    try:
        ((lease_s,),) = shards.rows(home, "SELECT value FROM tf_catalog WHERE name = 'lease_s'")
        since_s = now_s - max(ALIVE_S, 5 * float(lease_s))
        rows = shards.rows(home, "SELECT host, pid FROM tf_router WHERE seen_s > ? ORDER BY host, pid", (since_s,))
    except (StatementError, ValueError):
        return  # of a catalog that lacks its tables nobody can hold a lease
    if rows:
        who = ", ".join(f"{host} {pid}" for host, pid in rows[:5])
        raise BackupError(
            f"{len(rows)} processes use the platform, or have until a moment ago: {who}",
            hint=f"stop them (`tenfold down`), and try again {ALIVE_S:g} s later",
            retryable=True,
        )


def _refuse_connected(shards: Shards, shard: str) -> None:
    """A process that has just begun is not in the catalog yet; its connections can be seen."""
    for _ in range(20):
        ((count,),) = shards.rows(shard, _CONNECTED)
        if not count:
            return
        shards.execute(shard, "DO SLEEP(0.1)")  # one that was closed leaves the list a moment later
    raise BackupError(
        f"{count} connections to the database of {shard} are open: something uses the platform",
        hint="stop it (`tenfold down`), and see SHOW PROCESSLIST there",
        retryable=True,
    )


def mark(shards: Shards, shard: str, backup: str) -> None:
    """Say on a shard that it is being restored: routers refuse it from here on."""
    shards.execute(shard, on_every_shard(shards.dialect)["tf_shard"])
    shards.execute(shard, "DELETE FROM tf_shard WHERE name = ?", (RESTORING,))
    shards.execute(shard, "INSERT INTO tf_shard (name, value) VALUES (?, ?)", (RESTORING, backup))


def unmark(shards: Shards, shard: str) -> None:
    """Say that it is whole."""
    shards.execute(shard, "DELETE FROM tf_shard WHERE name = ?", (RESTORING,))


def empty(shards: Shards, shard: str) -> None:
    """Drop all that a marked database on a server holds, but the mark."""
    quoted = shards.dialect.quoted
    for kind in ("EVENT", "PROCEDURE", "FUNCTION", "PACKAGE"):
        column, table = ("event", "events") if kind == "EVENT" else ("routine", "routines")
        only = "" if kind == "EVENT" else f" AND routine_type = '{kind}'"
        sql = f"SELECT {column}_name FROM information_schema.{table} WHERE {column}_schema = DATABASE(){only}"
        names = [str(name) for (name,) in shards.rows(shard, sql)]
        if kind == "PACKAGE" and names:
            shards.execute(shard, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ORACLE')")  # no other knows packages
        for name in names:
            shards.execute(shard, f"DROP {kind} IF EXISTS {quoted(name)}")
        if kind == "PACKAGE" and names:
            shards.forget(shard)
    for name, kind in _tables(shards, shard):
        if name != "tf_shard":
            shards.execute(shard, f"DROP {_DROPS.get(kind, 'TABLE')} IF EXISTS {quoted(name)}")
    shards.execute(shard, "DELETE FROM tf_shard WHERE name <> ?", (RESTORING,))


def settle(shards: Shards, now_s: float) -> None:
    """In the restored catalog: nobody uses it yet, and no version that a process may remember comes again, nor one near
    it (see LEAP): it is milliseconds, of which no catalog has had as many changes."""
    home = shards.topology.catalog_shard
    shards.execute(home, "DELETE FROM tf_router")
    ((version,),) = shards.rows(home, "SELECT value FROM tf_catalog WHERE name = 'version'")
    shards.execute(
        home,
        "UPDATE tf_catalog SET value = ? WHERE name = 'version'",
        (str(max(int(version) + LEAP, int(1000 * now_s))),),
    )


def put(shards: Shards, shard: str, new: Path, state: str, backup: str) -> None:
    """Give a finished, marked file of SQLite the place of the one that is there. Raises NodeError while it is used."""
    path = file_of(shards, shard)
    assert path is not None  # noqa: S101  # SQLite
    _sync_file(new)
    if state in (SAME, HALF):
        mark(shards, shard, backup)
    shards.forget(shard)
    if path.exists() and state in (SAME, HALF):
        _alone(shard, path)
    for suffix in ("-wal", "-shm"):
        # Of a file that cannot be read. What a log left of another file would be taken for the new one's.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if path.exists():
        was = path.stat()
        new.chmod(was.st_mode & 0o777)
        with suppress(PermissionError):  # whoever may not give it away owned the old one, or shall own this one
            os.chown(new, was.st_uid, was.st_gid)
    os.replace(new, path)  # noqa: PTH105
    sync(path.parent)


def _alone(shard: str, path: Path, wait: Callable[[float], None] = time.sleep) -> None:
    """Have all of a file in the file itself, and nobody else have it open."""
    with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as connection:
        for _ in range(10):
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                if connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete":
                    return
            wait(0.1)
    raise NodeError(f"{shard} is used by another program", hint=f"end what has {path} open, and try again")


def _sync_file(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    with suppress(TenfoldError):
        sync(path.parent)
