"""The directory of backups: what lies there, who works on it, what is half made. Edge."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenfold.deploy.backup.envelope import no_room
from tenfold.deploy.backup.manifest import NAME, Manifest, manifest_of
from tenfold.deploy.backup.retention import Held
from tenfold.errors import BackupError
from tenfold.topology.model import Topology

PARTIAL, VERIFIED = ".partial", "verified.json"
_STAMP = "%Y%m%dT%H%M%SZ"
_SMALL = 1 << 26
SKEW_S = 300.0
"""How far the clocks of machines that share the directory may be apart."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One backup. manifest None: it is damaged, as `fault` says; verified: {"at_s", "who", "how"} of the last time."""

    path: Path
    manifest: Manifest | None
    fault: str = ""
    verified: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """Its name."""
        return self.path.name


class Shelf:
    """The backups of one platform and environment, in one directory."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.path = Path(topology.root, topology.backup.directory)

    def backups(self) -> list[Kept]:
        """All, the newest first; those of other platforms and environments in the same directory are left out."""
        if not self.path.is_dir():
            return []
        found = [
            _kept(path) for path in self.path.iterdir()
            if path.is_dir() and not path.name.startswith(".") and path.suffix != PARTIAL and (path / NAME).exists()
        ]  # fmt: skip
        ours = (self.topology.platform.name, self.topology.environment)
        return sorted(
            (one for one in found if one.manifest is None or (one.manifest.platform, one.manifest.environment) == ours),
            key=lambda one: (one.manifest.made_s if one.manifest else _made_s(one.id), one.id),
            reverse=True,
        )

    def find(self, name: str) -> Kept:
        """One by its id; "latest" is the newest. Raises BackupError where it is not there, or damaged."""
        found = self.backups()
        one = next((one for one in found if name in (one.id, "latest")), None)
        if one is None:
            raise BackupError(f'there is no backup "{name}" in {self.path}', hint="`tenfold backup list` names them")
        if one.manifest is None:
            raise BackupError(one.fault, hint="restore from another backup: `tenfold backup list`")
        return one

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who makes or removes backups here. Raises BackupError, retryable, where somebody else is."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise no_room(self.path, error) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise BackupError(
                f"another backup is being made or removed in {self.path}", hint="try again", retryable=True
            ) from None
        try:
            yield
        finally:
            os.close(fd)

    def sweep(self) -> list[str]:
        """Remove what was not finished, or not wholly removed; → its names. For whoever is alone."""
        found = [path for path in self.path.iterdir() if path.suffix == PARTIAL]
        for path in found:
            shutil.rmtree(path)
        return [path.name for path in found]

    def begin(self, now_s: float) -> Path:
        """A new directory for a backup of that moment."""
        name = datetime.fromtimestamp(now_s, UTC).strftime(_STAMP) + "-" + secrets.token_hex(2)
        path = self.path / (name + PARTIAL)
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise no_room(path, error) from None
        return path

    def finish(self, partial: Path, manifest: Manifest) -> Path:
        """Write the manifest, last of all, and give the backup its name; → once all of it is on the disk."""
        path = partial.with_suffix("")
        try:
            write_through(partial / NAME, manifest.text())
            sync(partial)
            partial.rename(path)
            sync(self.path)
        except OSError as error:
            raise no_room(path, error) from None
        return path

    def remove(self, one: Kept) -> bool:
        """Remove a backup; False where somebody reads it."""
        with suppress(BlockingIOError), reading(one.path, exclusive=True):
            gone = one.path.with_name(one.id + PARTIAL)
            one.path.rename(gone)
            shutil.rmtree(gone)
            return True
        return False


@contextmanager
def reading(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """Keep a backup from being removed. exclusive: nobody else reads it; else BlockingIOError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _being_removed(path) from None
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            if exclusive:
                raise
            raise _being_removed(path) from None
        yield
    finally:
        os.close(fd)


def _being_removed(path: Path) -> BackupError:
    return BackupError(f"{path} is being removed", hint="name another: `tenfold backup list`")


def _made_s(name: str) -> float:
    """When a backup was begun, by its name alone; 0 for a name that is none of ours."""
    try:
        return datetime.strptime(name[:16], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _kept(path: Path) -> Kept:
    file = path / NAME
    try:
        with file.open("rb") as opened:
            manifest = manifest_of(opened.read(_SMALL), str(file))
    except OSError as error:
        return Kept(path, None, f"{file} cannot be read: {error.strerror}")
    except BackupError as error:
        return Kept(path, None, str(error))
    if manifest.id != path.name:
        return Kept(path, None, f"{file} is of the backup {manifest.id}")
    verified = None
    with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
        raw = json.loads((path / VERIFIED).read_text())
        if raw["manifest"] == manifest.digest:
            verified = {"at_s": float(raw["at_s"]), "who": str(raw["who"]), "how": str(raw["how"])}
    return Kept(path, manifest, verified=verified)


def note_verified(one: Kept, at_s: float, who: str, how: str) -> None:
    """Record beside a backup that it was restored and compared."""
    assert one.manifest is not None  # noqa: S101  # `find` has seen to it
    said = {"at_s": at_s, "who": who, "how": how, "manifest": one.manifest.digest}
    beside = one.path / (VERIFIED + ".new")
    write_through(beside, json.dumps(said).encode() + b"\n")
    beside.rename(one.path / VERIFIED)
    sync(one.path)


def forget_verified(one: Kept) -> None:
    """What was good once is not any more."""
    with suppress(OSError):
        (one.path / VERIFIED).unlink(missing_ok=True)


def held(backups: list[Kept]) -> list[Held]:
    """As retention sees them; damaged ones are none."""
    return [Held(one.id, one.manifest.made_s, one.verified is not None) for one in backups if one.manifest]


def last_verified_age_s(topology: Topology, now_s: float) -> float | None:
    """How old the newest verified backup of this platform and environment is; None: there is none.

    Its age is that of its data, not of its verification. What is dated in the future, by a clock that was wrong,
    would be young for ever, and does not count.
    """
    verified = [one.manifest.made_s for one in Shelf(topology).backups() if one.manifest and one.verified]
    found = [made_s for made_s in verified if made_s <= now_s + SKEW_S]
    return max(0.0, now_s - max(found)) if found else None


def write_through(path: Path, content: bytes) -> None:
    """A small file, on the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


Telling = Callable[[dict[str, Any]], None]
"""Is told of what happens: {"event": …} and numbers and names, never values of rows. Called on several threads."""
