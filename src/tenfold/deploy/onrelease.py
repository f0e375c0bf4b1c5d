"""What makes a release on a host: sent there as text, run by its Python, standard library only. Edge.

It must run on every Python from 3.8 on, and imports nothing of Tenfold. Each act may be repeated, also after a half of
it; a release counts only once its marker is there, which is written last of all and removed first of all.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import posixpath
import re
import shutil
import stat
import sys
import tarfile
from typing import Any, BinaryIO, Callable, Dict, List, Optional

Order = Dict[str, Any]
MARKER = ".tenfold-release.json"
RELEASE = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
PIECE = 1 << 20
LIBC = ctypes.CDLL(None)


class Refused(Exception):
    """What the person who deploys is told."""


def fault(member: tarfile.TarInfo) -> Optional[str]:
    """Why a member of an archive may not be unpacked; None: it may."""
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or not member.name.strip("/") or "\0" in member.name:
        return "its name leads out of the release"
    if member.name == MARKER:
        return "its name is kept for Tenfold"
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
        if member.linkname.startswith("/") or target == ".." or target.startswith("../"):
            return "it is a link that leads out of the release: " + member.linkname
        return None
    return None if member.isreg() or member.isdir() else "it is neither a file nor a directory nor a link"


def folder(order: Order) -> str:
    """The directory of the release."""
    if not RELEASE.fullmatch(order["release"]):
        raise Refused("%r is not the name of a release" % order["release"])
    return os.path.join(order["path"], "releases", order["release"])


def is_complete(home: str) -> bool:
    """Whether a release has its marker."""
    try:
        with open(os.path.join(home, MARKER), encoding="utf-8") as file:
            told = json.loads(file.read(1 << 16))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("complete") is True


class Exactly(io.RawIOBase):
    """So many bytes of a stream; one that ends before is an error, not the end."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        wanted = min(len(into), self._left)
        data = self._stream.read(wanted) if wanted else b""
        if len(data) < wanted:
            raise Refused("the line was cut in the middle of the archive")
        into[: len(data)] = data
        self._left -= len(data)
        return len(data)


def unpack(order: Order) -> Order:
    """Unpack the archive that follows on standard input beside the releases, then give it its name."""
    home = folder(order)
    partial = home + ".partial"
    os.makedirs(os.path.dirname(home), mode=0o755, exist_ok=True)
    remove(partial)
    remove(home)
    os.mkdir(partial, 0o755)
    files = 0
    source = io.BufferedReader(Exactly(sys.stdin.buffer, order["size"]), PIECE)
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            wrong = fault(member)
            if wrong:
                raise Refused("%s: %s" % (member.name, wrong))
            put(archive, member, inside(partial, member.name), partial)
            files += member.isreg()
    while source.read(PIECE):  # to its end: a part that is missing there is found, too
        pass
    os.rename(partial, home)
    return {"files": files}


def put(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, home: str) -> None:
    """Unpack one member."""
    os.makedirs(path if member.isdir() else os.path.dirname(path), mode=0o755, exist_ok=True)
    if member.issym():
        os.symlink(member.linkname, path)
        # By way of another link it may lead farther than its text says.
        if not within(os.path.realpath(path), home):
            raise Refused("%s: it is a link that leads out of the release: %s" % (member.name, member.linkname))
    elif member.isreg():
        mode = 0o755 if member.mode & 0o100 else 0o644
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(file, "wb") as to:
            content = archive.extractfile(member)
            if content is not None:
                shutil.copyfileobj(content, to, PIECE)
        os.utime(path, (member.mtime, member.mtime))


def share(order: Order) -> Order:
    """Lead paths of the release to what all releases share; what the first one brings is moved there."""
    home, moved = folder(order), []
    names = sorted(dict.fromkeys(name.rstrip("/") for name in order["shared"]), key=lambda name: name.count("/"))
    for name in names:
        if any(name.startswith(other + "/") for other in names):  # with the one above it, it is shared already
            os.makedirs(os.path.join(order["path"], "shared", name), mode=0o755, exist_ok=True)
            continue
        here, there = inside(home, name), os.path.join(order["path"], "shared", name)
        os.makedirs(os.path.dirname(there), mode=0o755, exist_ok=True)
        if not os.path.lexists(there):
            if os.path.lexists(here) and not os.path.islink(here):
                beside = there + ".partial"
                remove(beside)
                shutil.move(here, beside)
                os.rename(beside, there)
                moved.append(name)
            else:
                os.mkdir(there, 0o755)
        remove(here)
        os.makedirs(os.path.dirname(here), mode=0o755, exist_ok=True)
        os.symlink(os.path.relpath(there, os.path.dirname(here)), here)
    return {"moved": moved}


def inside(home: str, name: str) -> str:
    """A path in the release, no directory of which is a link out of it."""
    path = os.path.join(home, name)
    if os.path.isabs(name) or ".." in name.split("/") or not within(os.path.realpath(os.path.dirname(path)), home):
        raise Refused("%s leads out of the release" % name)
    return path


def within(path: str, home: str) -> bool:
    """Whether a path without links is in the release."""
    return (path + os.sep).startswith(os.path.realpath(home) + os.sep)


def seal(order: Order) -> Order:
    """Take the right to write away, but for `writable`; then write the marker."""
    home = folder(order)
    for name in order["writable"]:
        path = inside(home, name)
        if not os.path.lexists(path):
            os.makedirs(path, mode=0o755)
    open_ones = [inside(home, name.rstrip("/")) for name in order["writable"]]
    for where, folders, files in os.walk(home, topdown=False):
        for name in files + folders:
            path = os.path.join(where, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                continue
            held = any(path == one or path.startswith(one + os.sep) for one in open_ones)
            if stat.S_ISDIR(mode):
                os.chmod(path, 0o755 if held else 0o555)
            else:
                run = 0o111 if mode & 0o111 else 0
                os.chmod(path, (0o644 if held else 0o444) | run)
    settle(home)
    marker = os.path.join(home, MARKER)
    with open(marker + ".new", "w", encoding="utf-8") as file:
        json.dump(dict(order["marker"], complete=True), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.chmod(marker + ".new", 0o444)
    os.rename(marker + ".new", marker)
    os.chmod(home, 0o555)
    place = os.open(home, os.O_RDONLY)
    os.fsync(place)
    os.close(place)
    return {"entries": sum(1 for _ in os.scandir(home))}


def settle(home: str) -> None:
    """Have all of it on the disk: what the marker vouches for comes before it."""
    place = os.open(home, os.O_RDONLY)
    try:
        # One call for its file system; one for each of thousands of files would take minutes on a slow disk.
        if not hasattr(LIBC, "syncfs") or LIBC.syncfs(place) != 0:
            os.sync()
    finally:
        os.close(place)


def links(order: Order) -> List[str]:
    """The releases that links of backends name."""
    place = os.path.join(order["path"], "backends")
    names = os.listdir(place) if os.path.isdir(place) else []
    return [
        os.path.basename(os.readlink(os.path.join(place, n))) for n in names if os.path.islink(os.path.join(place, n))
    ]


def drop(order: Order) -> Order:
    """Remove a release that nobody runs."""
    home = folder(order)
    if order["release"] in links(order):
        raise Refused("a backend's link still names it")
    there = os.path.lexists(home) or os.path.lexists(home + ".partial")
    remove(home + ".partial")
    remove(home)
    return {"there": there}


def clean(order: Order) -> Order:
    """Remove releases that nobody needs; what is not called like a release is left alone.

    keep     so many complete ones stay, the newest
    protect  these stay besides, and so do those that links name
    """
    home = os.path.join(order["path"], "releases")
    names = sorted(os.listdir(home)) if os.path.isdir(home) else []
    stay = set(order["protect"]) | set(links(order))
    complete = [name for name in names if RELEASE.fullmatch(name) and is_complete(os.path.join(home, name))]
    stay |= set(complete[len(complete) - order["keep"] :] if order["keep"] < len(complete) else complete)
    gone = []
    for name in names:
        base = name[: -len(".partial")] if name.endswith(".partial") else name
        if RELEASE.fullmatch(base) and (name not in stay):
            remove(os.path.join(home, name))
            gone.append(name)
    return {"gone": gone, "stay": sorted(stay & set(names))}


def remove(path: str) -> None:
    """Remove what is there, whatever its permissions; follows no link."""
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
        return
    if not os.path.isdir(path):
        return
    os.chmod(path, 0o755)
    marker = os.path.join(path, MARKER)
    if os.path.lexists(marker):
        os.unlink(marker)
    for where, folders, _ in os.walk(path):
        for name in folders:
            inner = os.path.join(where, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o755)
    shutil.rmtree(path)


ACTS: Dict[str, Callable[[Order], Order]] = {
    "unpack": unpack, "share": share, "seal": seal, "drop": drop, "clean": clean,
}  # fmt: skip


def main() -> None:
    """Do what the order says, and print the answer as JSON; 3: refused, in its own words."""
    order = json.loads(sys.argv[-1])
    try:
        print(json.dumps(ACTS[order["do"]](order)))
    except (Refused, OSError, tarfile.TarError) as error:
        print(json.dumps({"refused": str(error)}))
        sys.exit(3)


if __name__ == "__main__":
    main()
