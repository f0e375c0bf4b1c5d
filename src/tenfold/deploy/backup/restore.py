"""Brings a backup back, onto the shards of the platform or of another file; half a restore is marked as one. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.deploy.backup import targets
from tenfold.deploy.backup.create import trail
from tenfold.deploy.backup.envelope import Identities, opened
from tenfold.deploy.backup.files import own_files, walk
from tenfold.deploy.backup.manifest import FILES_PART
from tenfold.deploy.backup.replay import compare, replay
from tenfold.deploy.backup.shelf import Kept, Shelf, Telling, reading, sync, write_through
from tenfold.deploy.backup.verify import Counter, bring, check_parts, each
from tenfold.errors import BackupError, StatementError, TenfoldError
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.moves.connections import Shards
from tenfold.topology.load import load
from tenfold.topology.model import Engine, Topology

_NEW = ".restoring"
_UNFINISHED = ".tenfold-restoring"


@dataclass(frozen=True, slots=True)
class Restored:
    """rows and files that came back; notes: what is left to do, in sentences; took_s."""

    id: str
    rows: int
    files: int
    root: str
    took_s: float
    notes: list[str] = field(default_factory=list)


class Restoring:
    """One restore. target: the file whose shards take it; its own platform, or another place.

    config  whether tenfold.toml comes back too
    """

    def __init__(
        self, kept: Kept, identity: Identities, target: Topology, say: Telling,
        now: Callable[[], float] = time.time, *, config: bool = False,
    ) -> None:  # fmt: skip
        assert kept.manifest is not None  # noqa: S101  # `Shelf.find` has seen to it
        self.kept, self.manifest, self._identity = kept, kept.manifest, identity
        self.target, self._say, self._now, self._config = target, say, now, config
        self._notes: list[str] = []
        if self.manifest.engine != target.database.engine.value:
            raise BackupError(
                f"{kept.id} is of {self.manifest.engine}, and {target.file} has {target.database.engine.value}",
                hint="restore to shards of the same engine",
            )

    def look(self) -> targets.Found:
        """What the target's databases hold, and whether anybody uses them. Raises BackupError where they may not be."""
        with closing(Shards(self.target)) as shards:
            found = targets.look(shards, self.manifest)
            targets.refuse_alive(shards, found, self._now())
        return found

    def run(self, meant: str | None) -> Restored:
        """Do it. meant: the name of the platform, as a person has typed it, where something would be lost."""
        began_s = time.monotonic()
        found = self.look()
        if found.holds and meant != self.manifest.platform:
            raise BackupError(
                f"{', '.join(found.holds)} would lose what is there now",
                hint=f"type the platform's name: --yes-i-mean {self.manifest.platform}",
            )
        about = trail(self.target)
        about.write("backup restore", began=True, backup=self.kept.id, over=found.holds)
        try:
            with reading(self.kept.path), closing(Shards(self.target)) as locked, targets.alone(locked):
                self._whole()
                if self.target.database.engine is Engine.MYSQL:
                    self._servers()
                else:
                    self._files(found)
                self._say({"event": "phase", "phase": "files"})
                files = self._bring_files()
                self._unmark()
        except TenfoldError as error:
            about.write("backup restore", ok=False, backup=self.kept.id, why=str(error))
            raise
        about.write("backup restore", ok=True, backup=self.kept.id, rows=self.manifest.rows, files=files)
        notes = [f"{shard} joined after the backup: empty its database, and add it again" for shard in found.strangers]
        notes += self._notes
        if self.manifest.moves:
            notes.append("a move was under way: `tenfold shard resume --accept`, or `tenfold shard cancel`, goes on")
        took_s = time.monotonic() - began_s
        return Restored(self.kept.id, self.manifest.rows, files, str(self.target.root), took_s, notes)

    def _whole(self) -> None:
        """Every byte, before anything is touched: of a damaged backup nothing is restored."""
        check_parts(self.kept, self._say)
        self._say({"event": "phase", "phase": "decrypt"})
        counter = Counter(self._say, self.manifest.rows)
        each(list(self.manifest.shards), lambda shard: _read(self.kept, shard, self._identity, counter))
        with opened(self.kept.path / FILES_PART, self._identity) as stream:
            walk(stream, None)

    def _servers(self) -> None:
        """In place: marked first on all shards, then emptied, filled and compared."""
        names = list(self.manifest.shards)
        home = self.target.catalog_shard
        self.look()  # nobody has begun to use it while all was read
        with closing(Shards(self.target)) as shards:
            for shard in sorted(names, key=lambda shard: shard != home):
                targets.mark(shards, shard, self.kept.id)
            self._say({"event": "phase", "phase": "restore"})
            counter = Counter(self._say, 2 * self.manifest.rows)

            events: dict[str, list[str]] = {shard: [] for shard in names}

            def one(shard: str) -> None:
                targets.empty(shards, shard)
                key = bring(
                    self.kept, self.target, shards, shard, self._identity, counter, events=events[shard]
                )  # fmt: skip
                compare(shards, shard, self.manifest.shards[shard], key, counter)

            each(names, one)
            targets.settle(shards, self._now())
            for shard in names:
                for sql in events[shard]:
                    self._enable(shards, shard, sql)

    def _enable(self, shards: Shards, shard: str, sql: str) -> None:
        try:
            shards.execute(shard, sql)
        except StatementError as error:
            self._notes.append(f"{shard}: {sql}: {error}")  # its time is over

    def _files(self, found: targets.Found) -> None:
        """Beside the files that are there, which stay whole until all new ones are; then each takes its place."""
        names = list(self.manifest.shards)
        with closing(Shards(self.target)) as old:
            paths = {shard: path for shard in names if (path := targets.file_of(old, shard)) is not None}
            beside = {shard: path.with_name(path.name + _NEW) for shard, path in paths.items()}
            for path in beside.values():
                path.parent.mkdir(parents=True, exist_ok=True)
                for suffix in ("", "-wal", "-shm"):  # of an attempt before
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._say({"event": "phase", "phase": "restore"})
            with closing(Shards(_beside(self.target, beside))) as new:
                self._fill(new, beside)
            self.look()  # nobody has begun to use it meanwhile
            # The catalog's first: a mark there keeps everybody from all of it.
            for shard in sorted(names, key=lambda shard: shard != self.target.catalog_shard):
                targets.put(old, shard, beside[shard], found.states[shard], self.kept.id)

    def _fill(self, shards: Shards, paths: dict[str, Path]) -> None:
        counter = Counter(self._say, 2 * self.manifest.rows)

        def one(shard: str) -> None:
            key = bring(self.kept, self.target, shards, shard, self._identity, counter, path=paths[shard])
            compare(shards, shard, self.manifest.shards[shard], key, counter)
            targets.mark(shards, shard, self.kept.id)

        each(list(self.manifest.shards), one)
        targets.settle(shards, self._now())

    def _unmark(self) -> None:
        home = self.target.catalog_shard
        with closing(Shards(self.target)) as shards:
            for shard in sorted(self.manifest.shards, key=lambda shard: shard == home):
                targets.unmark(shards, shard)

    def _bring_files(self) -> int:
        with opened(self.kept.path / FILES_PART, self._identity) as stream:
            own = own_files(self.target) - ({Path(self.target.file).resolve()} if self._config else set())
            return walk(stream, Path(self.target.root), config=self._config, own=own)


def _read(kept: Kept, shard: str, identity: Identities, counter: Counter) -> None:
    replay(kept, shard, identity, None, counter)


def _beside(topology: Topology, files: dict[str, Path]) -> Topology:
    """The platform with the new files for its shards."""
    database = topology.database
    shards = {
        name: entry.model_copy(update={"url": _url(entry.url + _NEW, files.get(name), topology)})
        for name, entry in database.shards.items()
    }
    return topology.model_copy(update={"database": database.model_copy(update={"shards": shards})})


def _url(url: str, file: Path | None, topology: Topology) -> str:
    """Where the new file lies: beside the old one, though a link leads there."""
    return url if file is None or sqlite_path(url, topology.root) == file else f"sqlite:///{file}"


def restore_into(topology: Topology, name: str, identity: Identities, directory: Path, say: Telling) -> Restored:
    """Restore a backup of SQLite into a directory of its own, as a platform that can be started there."""
    kept = Shelf(topology).find(name)
    mark = directory / _UNFINISHED
    if directory.exists() and any(directory.iterdir()) and not mark.exists():
        raise BackupError(f"{directory} is not empty", hint="name a new directory")
    if topology.database.engine is not Engine.SQLITE:
        raise BackupError("--into is for SQLite", hint="write another tenfold.toml with shards of its own: --to FILE")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_through(mark, b"")
    with reading(kept.path):
        check_parts(kept, say)
        with opened(kept.path / FILES_PART, identity) as stream:
            walk(stream, directory, config=True)
    target = load(directory / topology.file.name, topology.environment)
    root = directory.resolve()
    with closing(Shards(target)) as shards:
        for shard in target.database.shards:
            path = targets.file_of(shards, shard)
            if path is None or not path.resolve().is_relative_to(root):
                raise BackupError(
                    f"the url of {shard} leads out of {directory}", hint="write another tenfold.toml, and --to FILE"
                )
    done = Restoring(kept, identity, target, say, config=True).run(None)
    mark.unlink()
    sync(directory)
    return done


def restore(
    topology: Topology, name: str, identity: Identities, say: Telling = lambda event: None, *,
    target: Topology | None = None, meant: str | None = None,
) -> Restored:  # fmt: skip
    """Restore a backup onto the platform's shards, or those of `target`; see Restoring.run."""
    return Restoring(Shelf(topology).find(name), identity, target or topology, say).run(meant)
