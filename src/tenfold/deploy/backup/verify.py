"""Whether a backup is worth anything: every byte read, decrypted, restored beside, and compared. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tenfold.audit.trail import whoami
from tenfold.deploy.backup.create import trail
from tenfold.deploy.backup.envelope import Identities, check, opened
from tenfold.deploy.backup.files import walk
from tenfold.deploy.backup.frames import Damaged
from tenfold.deploy.backup.manifest import FILES_PART, Manifest
from tenfold.deploy.backup.replay import MysqlTaker, SqliteTaker, compare, replay
from tenfold.deploy.backup.scratch import scratch
from tenfold.deploy.backup.shelf import Kept, Shelf, Telling, forget_verified, note_verified, reading
from tenfold.errors import BackupError, TenfoldError
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.moves.connections import Shards
from tenfold.topology.model import Engine, Topology

_ROWS_S = 0.1


@dataclass(frozen=True, slots=True)
class Verified:
    """tables and rows that were compared; how: where it was restored to; took_s."""

    id: str
    tables: int
    rows: int
    how: str
    took_s: float


class Counter:
    """Tells of rows from several threads, now and then."""

    def __init__(self, say: Telling, total: int) -> None:
        self._say, self._total, self._done, self._told_s = say, total, 0, 0.0
        self._turn = threading.Lock()

    def __call__(self, rows: int) -> None:
        """So many more."""
        with self._turn:
            self._done += rows
            now_s = time.monotonic()
            if now_s - self._told_s < _ROWS_S:
                return
            self._told_s, done = now_s, self._done
        self._say({"event": "rows", "done": done, "total": max(done, self._total)})


def check_parts(kept: Kept, say: Telling) -> Manifest:
    """Compare every byte of every part with the manifest. Raises BackupError."""
    assert kept.manifest is not None  # noqa: S101  # `Shelf.find` has seen to it
    say({"event": "phase", "phase": "bytes"})
    for name, part in kept.manifest.parts.items():
        check(kept.path / name, part)
    return kept.manifest


def each(shards: list[str], act: Callable[[str], None], together: int = 2) -> None:
    """Do the same for several shards at a time. Raises the first error, once all have ended."""
    with ThreadPoolExecutor(min(together, len(shards))) as pool:
        for future in [pool.submit(act, shard) for shard in shards]:
            future.result()


def bring(
    kept: Kept, topology: Topology, shards: Shards, shard: str, identity: Identities,
    progress: Callable[[int], None], *, path: Path | None = None, events: list[str] | None = None,
) -> bytes:  # fmt: skip
    """Bring a shard's part into its empty database; → the key of the checksums.

    path    of the new file on SQLite
    events  takes what is to be run once all is restored; None: no event will ever run
    """
    if topology.database.engine is Engine.MYSQL:
        server = MysqlTaker(shards.at(shard, "load"), looks=events is None)
        key = replay(kept, shard, identity, server, progress)
        if events is not None:
            events += server.events
        return key
    path = path or sqlite_path(topology.database.shards[shard].url, topology.root)
    taker = SqliteTaker(path)
    with closing(taker):
        return replay(kept, shard, identity, taker, progress)


def verify(
    topology: Topology, name: str, identity: Identities, say: Telling = lambda event: None,
    now: Callable[[], float] = time.time,
) -> Verified:  # fmt: skip
    """Restore a backup into a scratch database and compare; record and audit the outcome. Raises BackupError …"""
    kept = Shelf(topology).find(name)
    began_s = time.monotonic()
    try:
        with reading(kept.path):
            how = _restored(topology, kept, identity, say)
    except TenfoldError as error:
        if isinstance(error, Damaged):
            forget_verified(kept)
        trail(topology).write("backup verify", ok=False, backup=kept.id, why=str(error))
        raise
    manifest = kept.manifest
    assert manifest is not None  # noqa: S101
    try:
        note_verified(kept, now(), whoami(), how)
    except OSError as error:
        raise BackupError(
            f"{kept.id} is good, which cannot be recorded in {kept.path}: {error.strerror}",
            hint="verify it where that directory can be written to: without the record it does not count",
        ) from None
    tables = sum(len(part.tables) for part in manifest.shards.values())
    trail(topology).write("backup verify", ok=True, backup=kept.id, rows=manifest.rows, how=how)
    return Verified(kept.id, tables, manifest.rows, how, time.monotonic() - began_s)


def _restored(topology: Topology, kept: Kept, identity: Identities, say: Telling) -> str:
    manifest = check_parts(kept, say)
    if manifest.engine != topology.database.engine.value:
        raise BackupError(
            f"{kept.id} is of {manifest.engine}, and tenfold.toml has {topology.database.engine.value}",
            hint="name the tenfold.toml that it is of with -f",
        )
    say({"event": "phase", "phase": "restore"})
    counter = Counter(say, 2 * manifest.rows)
    names = list(manifest.shards)
    with scratch(topology, names) as (elsewhere, how), closing(Shards(elsewhere)) as shards:

        def one(shard: str) -> None:
            key = bring(kept, elsewhere, shards, shard, identity, counter)
            compare(shards, shard, manifest.shards[shard], key, counter)

        each(names, one)
    say({"event": "phase", "phase": "files"})
    with opened(kept.path / FILES_PART, identity) as stream:
        files = walk(stream, None)
    if files != manifest.files:
        raise Damaged(f"{kept.id} holds {files:,} files, not {manifest.files:,}", hint="make another backup")
    return how
