"""Makes a backup: every shard behind one barrier, files and configuration; all of it or nothing. Edge."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from tenfold.audit.trail import NAME as TRAIL
from tenfold.audit.trail import Trail
from tenfold.deploy.backup.barrier import Barrier, Snapshots, closing_all, reader_of
from tenfold.deploy.backup.dump import Dump
from tenfold.deploy.backup.envelope import recipient_of, seal
from tenfold.deploy.backup.files import write_files
from tenfold.deploy.backup.manifest import FILES_PART, SQL_SUFFIX, Manifest, Part, ShardPart, Table
from tenfold.deploy.backup.objects import Objects, read_counts, read_objects
from tenfold.deploy.backup.shelf import Kept, Shelf, Telling
from tenfold.errors import BackupError, NodeError
from tenfold.sharding.catalog import MEMBERS, SETTINGS, VERSION, load
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import ACTIVE, Move, move_of
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

_KEY_BYTES = 32
_ROWS_S = 0.1
"""How often it tells of rows."""


class Stopped(Exception):
    """Another shard has failed."""


def trail(topology: Topology) -> Trail:
    """Where acts are written down."""
    return Trail(Path(topology.root, "var", TRAIL))


class Creation:
    """One backup in the making. say: is told of phases and rows. now: Unix time; clock: monotonic seconds."""

    def __init__(
        self, topology: Topology, say: Telling, now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.topology, self._say, self._now, self._clock = topology, say, now, clock
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._done, self._total, self._told_s = 0, 0, 0.0
        self._objects: dict[str, Objects] = {}

    def run(self, *, consistent: bool = False) -> Kept:
        """Make it. consistent: raise where shards would be of different moments. Raises BackupError, NodeError …"""
        recipient = self.topology.backup.recipient
        if recipient is None:
            raise BackupError(
                "backup.recipient is missing: a backup is encrypted to a public key",
                hint="`tenfold backup keygen` makes a key and prints the line for tenfold.toml",
            )
        recipient_of(recipient)
        shelf = Shelf(self.topology)
        with shelf.alone():
            for name in shelf.sweep():
                self._say({"event": "removed", "id": name})
            partial = shelf.begin(self._now())
            try:
                manifest = self._filled(partial, recipient, consistent)
                path = shelf.finish(partial, manifest)
            except BaseException as error:
                self._stop.set()
                shutil.rmtree(partial, ignore_errors=True)
                with suppress(OSError):  # what went wrong is worth more than that it could not be written down
                    trail(self.topology).write("backup create", ok=False, why=type(error).__name__)
                raise
        trail(self.topology).write(
            "backup create", ok=True, backup=manifest.id, consistent=manifest.consistent, rows=manifest.rows,
            size_bytes=manifest.size, pause_s=round(manifest.pause_s, 6),
        )  # fmt: skip
        return Kept(path, manifest)

    def _filled(self, partial: Path, recipient: str, consistent: bool) -> Manifest:
        began_s, clock_s = self._now(), self._clock()
        with closing_all(Shards(self.topology)) as asking:
            catalog = asking.ask(load(self.topology))
            names = _names(catalog)
            shards = Shards(self.topology, cluster=catalog.cluster)
            with closing_all(shards):
                snapshots = self._opened(shards, names, consistent)
                settings, moves = self._settled(shards, catalog, names, snapshots, consistent)
                for shard in names:
                    self._objects[shard].counts = read_counts(reader_of(shards, shard), shards.dialect)
                key = secrets.token_bytes(_KEY_BYTES)
                self._total = sum(self._about(shards, shard) for shard in names)
                self._say({"event": "phase", "phase": "dump"})
                parts, tables = self._dumped(shards, names, partial, recipient, key)
                self._see_schemas(shards, names)
                servers = {shard: _server(shards, shard) for shard in names}
        parts[FILES_PART], count = self._sealed_files(partial, recipient)
        prepared = {shard: one.prepared for shard, one in snapshots.shards.items() if one.prepared}
        notes = [note for objects in self._objects.values() for note in objects.notes]
        notes += [
            f"{shard}: {left} prepared transactions, undecided, are not in it" for shard, left in prepared.items()
        ]
        return Manifest(
            id=partial.with_suffix("").name,
            platform=self.topology.platform.name,
            environment=self.topology.environment,
            cluster=catalog.cluster,
            engine=self.topology.database.engine.value,
            epoch=int(settings["epoch"]),
            version=int(settings["version"]),
            tenfold=version("tenfold"),
            made_s=began_s,
            took_s=self._clock() - clock_s,
            pause_s=snapshots.pause_s,
            consistent=not (snapshots.moments or prepared or self._torn()),
            recipient=recipient,
            shards={
                shard: ShardPart(
                    servers[shard],
                    one.at_s,
                    one.barrier,
                    tables[shard],
                    one.positions,
                    one.prepared,
                    self._objects[shard].signed(key),
                )
                for shard, one in snapshots.shards.items()
            },
            parts=parts,
            moments=snapshots.moments,
            moves=[{"id": move.id, "phase": move.phase.value} for move in moves],
            notes=notes,
            files=count,
        )

    def _opened(self, shards: Shards, names: list[str], consistent: bool) -> Snapshots:
        self._objects = {shard: read_objects(shards, shard) for shard in names}
        if consistent and self._torn():
            raise BackupError(
                f"{', '.join(self._torn())} have no snapshots: their rows would be of a later moment",
                hint="ALTER TABLE … ENGINE = InnoDB; or leave --consistent out",
            )
        self._say({"event": "phase", "phase": "barrier"})
        barrier = Barrier(shards, names, self.topology.backup.barrier_s, self._clock, self._now)
        snapshots = barrier.open(needed=consistent)
        self._say({"event": "barrier", "pause_s": snapshots.pause_s, "moments": snapshots.moments})
        return snapshots

    def _sealed_files(self, partial: Path, recipient: str) -> tuple[Part, int]:
        """The part with files and configuration, and how many files it holds."""
        self._say({"event": "phase", "phase": "files"})
        count = 0

        def files(write: Callable[[bytes], None]) -> None:
            nonlocal count
            count = write_files(self.topology, write)

        return seal(partial / FILES_PART, recipient, files), count

    def _settled(
        self, shards: Shards, catalog: Catalog, names: list[str], snapshots: Snapshots, consistent: bool
    ) -> tuple[dict[str, str], list[Move]]:
        """What the catalog's snapshot says, where it fits the others. Raises BackupError, retryable, where not.

        Behind one barrier the shards are of one moment, as after a power cut; a move goes on from there. Without one
        they are of several, and no step of a move may lie between them.
        """
        home = self.topology.catalog_shard
        reader = reader_of(shards, home)
        settings = {str(name): str(value) for name, value in reader.execute(SETTINGS, ()).rows}
        moves = [move_of(row) for row in reader.execute(ACTIVE, ()).rows]
        members = [row[0] for row in reader.execute(MEMBERS, ()).rows]
        if not set(members) <= set(names):
            raise BackupError("a shard has joined the platform meanwhile", hint="try again", retryable=True)
        if consistent and any(one.prepared for one in snapshots.shards.values()):
            raise BackupError(
                "prepared transactions are undecided, and would be torn apart",
                hint="see XA RECOVER; try again once they are committed or rolled back",
                retryable=True,
            )
        if snapshots.moments:
            after = shards.rows(home, VERSION)[0][0]
            if moves or catalog.moves or {catalog.version, int(settings["version"])} != {int(after)}:
                raise BackupError(
                    "buckets are on the move, and writes cannot be held up on "
                    f"{', '.join(snapshots.moments)}: the shards would not fit together",
                    hint="try again once the move is done (`tenfold shard status`), or GRANT RELOAD ON *.*",
                    retryable=True,
                )
        return settings, moves

    # ---------------------------------------------------------------- rows

    def _dumped(
        self, shards: Shards, names: list[str], partial: Path, recipient: str, key: bytes
    ) -> tuple[dict[str, Part], dict[str, dict[str, Table]]]:
        parts: dict[str, Part] = {}
        tables: dict[str, dict[str, Table]] = {}

        def one(shard: str) -> None:
            dump = Dump(shard, reader_of(shards, shard), shards.dialect, key, self._count)

            def produce(write: Callable[[bytes], None]) -> None:
                tables[shard] = dump.write(self._objects[shard], write)

            try:
                parts[shard + SQL_SUFFIX] = seal(partial / (shard + SQL_SUFFIX), recipient, produce)
            except BaseException:
                self._stop.set()
                raise

        with ThreadPoolExecutor(min(len(names), os.cpu_count() or 1)) as pool:
            running = [pool.submit(one, shard) for shard in names]
            try:
                ended = [future.exception() for future in running]
            except BaseException:
                self._stop.set()
                raise
        errors = [error for error in ended if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            if isinstance(error, NodeError) and "undid the transaction" in str(error):
                raise self._changed("a table") from error
            raise error
        return dict(sorted(parts.items())), tables

    def _count(self, rows: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._counting:
            self._done += rows
            if self._clock() - self._told_s < _ROWS_S:
                return
            self._told_s = self._clock()
            done = self._done
        self._say({"event": "rows", "done": done, "total": max(self._total, done)})

    def _torn(self) -> list[str]:
        return [f"{shard}.{name}" for shard, objects in self._objects.items() for name in objects.torn]

    def _about(self, shards: Shards, shard: str) -> int:
        if shards.dialect is MYSQL:
            sql = "SELECT COALESCE(SUM(table_rows), 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
            return int(shards.rows(shard, sql)[0][0])
        return sum(
            int(shards.rows(shard, f"SELECT COUNT(*) FROM {rows.table.name}")[0][0])
            for rows in self._objects[shard].tables
        )

    def _see_schemas(self, shards: Shards, names: list[str]) -> None:
        """The statements that make the tables were read outside the snapshots."""
        for shard in names:
            if read_objects(shards, shard, rows=False).fingerprint != self._objects[shard].fingerprint:
                raise self._changed(shard)

    def _changed(self, what: str) -> BackupError:
        return BackupError(
            f"the schema of {what} was changed while it was read", hint="try again once it stays", retryable=True
        )


def _names(catalog: Catalog) -> list[str]:
    """The shards of the platform, and one that is joining it."""
    joining = [str(move.detail["joins"]) for move in catalog.moves if move.detail.get("joins")]
    return list(dict.fromkeys([*catalog.layout.shards, *joining]))


def _server(shards: Shards, shard: str) -> str:
    return str(shards.rows(shard, "SELECT VERSION()" if shards.dialect is MYSQL else "SELECT sqlite_version()")[0][0])


def create(topology: Topology, say: Telling = lambda event: None, *, consistent: bool = False) -> Kept:
    """Make a backup of the platform."""
    return Creation(topology, say).run(consistent=consistent)
