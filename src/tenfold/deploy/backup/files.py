"""The files of a platform and its configuration, as a tar of their own. Edge."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tenfold.audit.trail import NAME as TRAIL
from tenfold.deploy.backup.frames import Damaged
from tenfold.errors import BackupError
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.topology.model import Engine, Topology

CONFIG, FILES = "config", "files"
"""The two directories of the tar: what describes the platform, and what it was asked to keep."""


class _Out:
    """What tarfile writes to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


def write_files(topology: Topology, write: Callable[[bytes], None]) -> int:
    """Write the tar; → how many files. Raises BackupError for a path that is missing or lies outside."""
    root = Path(topology.root).resolve()
    own = own_files(topology)
    count = 0
    # PAX: any name, and times below a second. Of a stream tarfile asks for write() alone; its types ask for more.
    with tarfile.open(fileobj=_Out(write), mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        _add(tar, Path(topology.file), f"{CONFIG}/{topology.file.name}")
        for name in topology.backup.files:
            for path in _below(root, own, name):
                if _add(tar, path, f"{FILES}/{path.relative_to(root)}"):
                    count += not path.is_dir()
    return count


def own_files(topology: Topology) -> frozenset[Path]:
    """What is never one of the files, though it lie among them: the shards, which are in a backup as they were at one
    moment; backups; tenfold.toml, and what Tenfold writes while it runs."""
    root, var = Path(topology.root).resolve(), Path(topology.root, "var").resolve()
    found = {root / topology.backup.directory, Path(topology.file), var / TRAIL}
    found |= {var / name for name in ("run", "log", "nginx", "agent")}
    if topology.database.engine is Engine.SQLITE:
        for shard in topology.database.shards.values():
            path = sqlite_path(shard.url, topology.root)
            found |= {path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".restoring")}
    return frozenset(path.resolve() for path in found)


def _below(root: Path, own: frozenset[Path], name: str) -> Iterator[Path]:
    start = root / name
    if not start.absolute().is_relative_to(root) or ".." in Path(name).parts:
        raise BackupError(
            f"backup.files: {name} is not below {root}", hint="name paths relative to tenfold.toml, none with .."
        )
    if not os.path.lexists(start):
        raise BackupError(f"backup.files: {name} is missing", hint="take it out of backup.files, or put it back")
    if start.resolve() in own:
        return
    yield start
    if start.is_symlink() or not start.is_dir():
        return

    def refuse(error: OSError) -> None:
        raise BackupError(f"{error.filename} cannot be read: {error.strerror}", hint="let this account read it")

    for directory, names, files in os.walk(start, onerror=refuse):
        here = Path(directory)
        names[:] = sorted(one for one in names if (here / one).resolve() not in own)
        yield from (here / one for one in sorted([*names, *files]) if (here / one).resolve() not in own)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> bool:
    """Whether it is in it: not a socket, nor what has gone since its directory was read."""
    try:
        entry: tarfile.TarInfo | None = tar.gettarinfo(path, name)
        if entry is None:  # a socket
            return False
        if not entry.isreg():
            tar.addfile(entry)
            return True
        # A second name of the same file is a file: the first may lie outside what is restored.
        entry.type, entry.linkname = tarfile.REGTYPE, ""
        with path.open("rb") as file:
            entry.size = os.fstat(file.fileno()).st_size
            tar.addfile(entry, file)
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        why = "it was changed while it was read" if error.errno is None else error.strerror
        raise BackupError(f"{path} cannot be read: {why}", hint="let this account read it; try again") from None


def walk(
    stream: Any, into: Path | None, *, config: bool = False, own: frozenset[Path] = frozenset()
) -> int:  # fmt: skip
    """Read the tar to its end; → how many files.

    into  bring them back below it, but for `own`; config: tenfold.toml too
    """
    count = 0
    modes: list[tuple[Path, int]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                top, _, rest = entry.name.partition("/")
                count += top == FILES and not entry.isdir()
                if into is not None and rest and (top == FILES or (config and top == CONFIG)):
                    if (into / rest).resolve() in own:
                        continue
                    if entry.isdir():
                        modes.append((into / rest, entry.mode & 0o777))
                        entry.mode |= 0o700
                    _extract(tar, entry, rest, into)
        for path, mode in reversed(modes):  # once all is in them
            path.chmod(mode)
        while stream.read(1 << 16):
            pass
    except tarfile.TarError as error:
        raise Damaged(f"the files of the backup cannot be read: {error}") from None
    return count


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, name: str, into: Path) -> None:
    entry.name = name
    try:
        # "tar": as they were, links too, but nothing outside `into`.
        tar.extract(entry, into, numeric_owner=True, set_attrs=True, filter="tar")
        if entry.isreg():
            os.chmod(into / name, entry.mode & 0o777)  # noqa: PTH101
    except OSError as error:
        raise BackupError(f"{into / name} cannot be written: {error.strerror}", hint="see its directory") from None
