"""The archive of a commit: looked through before it leaves this machine. Edge."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from tenfold.deploy.onrelease import fault
from tenfold.errors import DeployError

MOST_MIGRATION = 1 << 20
MOST_PROJECT = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Content:
    """What a release is made of.

    top         names in its first directory
    project     text of pyproject.toml, "" where it has none
    migrations  files directly in the directory of migrations: name → bytes, cut beyond MOST_MIGRATION + 1
    """

    files: int
    top: frozenset[str]
    project: str = ""
    migrations: dict[str, bytes] = field(default_factory=dict)


def look_through(file: IO[bytes], migrations: str) -> Content:
    """What the archive holds. Raises DeployError for what may not be deployed, everything at once."""
    files, top, project = 0, set[str](), ""
    found: dict[str, bytes] = {}
    wrong, pointers = list[str](), list[str]()
    place = migrations.strip("/") + "/"
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            top.add(member.name.split("/")[0])
            if why := fault(member):
                wrong.append(f"{member.name}: {why}")
            if not member.isreg():
                continue
            files += 1
            if member.size <= _LONGEST_POINTER and _content(archive, member, 64).startswith(_LFS):
                pointers.append(member.name)
            folder, _, name = member.name.rpartition("/")
            if f"{folder}/" == place:
                found[name] = _content(archive, member, MOST_MIGRATION + 1)
            if member.name == "pyproject.toml":
                project = _content(archive, member, MOST_PROJECT).decode("utf-8", "replace")
    if wrong:
        raise DeployError(f"the commit holds what no release may: {listed(wrong)}", hint="take it out, and commit")
    if pointers:
        raise DeployError(
            f"the commit has files in Git LFS, and only pointers to them are here: {listed(pointers)}",
            hint="run `git lfs install && git lfs pull` in the repository, then deploy again",
        )
    return Content(files, frozenset(top), project, found)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member)
    return file.read(most) if file else b""


def listed(names: Sequence[str]) -> str:
    """The first of several, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
