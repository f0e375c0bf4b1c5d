"""The files of a platform and its configuration, as a tar of their own. Edge."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tenfold.errors import BackupError
from tenfold.topology.model import Topology

CONFIG, FILES = "config", "files"
"""The two directories of the tar: what describes the platform, and what it was asked to keep."""


class _Out:
    """What tarfile writes to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


def write_files(topology: Topology, write: Callable[[bytes], None]) -> int:
    """Write the tar; → how many files. Raises BackupError for a path that is missing or lies outside."""
    root = Path(topology.root).resolve()
    count = 0
    # PAX: any name, and times below a second. Of a stream tarfile asks for write() alone; its types ask for more.
    with tarfile.open(fileobj=_Out(write), mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        _add(tar, Path(topology.file), f"{CONFIG}/{topology.file.name}")
        for name in topology.backup.files:
            for path in _below(root, Path(topology.backup.directory), name):
                _add(tar, path, f"{FILES}/{path.relative_to(root)}")
                count += not path.is_dir()
    return count


def _below(root: Path, backups: Path, name: str) -> Iterator[Path]:
    start = root / name
    if not start.absolute().is_relative_to(root) or ".." in Path(name).parts:
        raise BackupError(
            f"backup.files: {name} is not below {root}", hint="name paths relative to tenfold.toml, none with .."
        )
    if not os.path.lexists(start):
        raise BackupError(f"backup.files: {name} is missing", hint="take it out of backup.files, or put it back")
    yield start
    if start.is_symlink() or not start.is_dir():
        return
    own = (root / backups).resolve()

    def refuse(error: OSError) -> None:
        raise BackupError(f"{error.filename} cannot be read: {error.strerror}", hint="let this account read it")

    for directory, names, files in os.walk(start, onerror=refuse):
        here = Path(directory)
        names[:] = sorted(one for one in names if (here / one).resolve() != own)  # no backups of backups
        yield from (here / one for one in sorted([*names, *files]))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        entry: tarfile.TarInfo | None = tar.gettarinfo(path, name)
        if entry is None:  # a socket
            return
        if not entry.isreg():
            tar.addfile(entry)
            return
        # A second name of the same file is a file: the first may lie outside what is restored.
        entry.type, entry.linkname = tarfile.REGTYPE, ""
        with path.open("rb") as file:
            entry.size = os.fstat(file.fileno()).st_size
            tar.addfile(entry, file)
    except OSError as error:
        why = "it was changed while it was read" if error.errno is None else error.strerror
        raise BackupError(f"{path} cannot be read: {why}", hint="let this account read it; try again") from None


def walk(stream: Any, into: Path | None, *, config: bool = False) -> int:
    """Read the tar to its end; → how many files. into: bring them back below it; config: tenfold.toml too."""
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                top, _, rest = entry.name.partition("/")
                count += top == FILES and not entry.isdir()
                if into is not None and rest and (top == FILES or (config and top == CONFIG)):
                    _extract(tar, entry, rest, into)
        while stream.read(1 << 16):
            pass
    except tarfile.TarError as error:
        raise BackupError(f"the files of the backup cannot be read: {error}") from None
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
