"""Reads a growing log to the last line, whatever renames, empties or interrupts it. Edge.

Two ways of rotation are survived without loss. *Rename*: the old file is held open and read for a while longer, as
its writers let go of it one by one. *Copy and truncate* (our own, and logrotate's `copytruncate`): what was written
between our last look and the emptying stands in a copy beside; the copy is known by the bytes before our place.
The place is a value (`Cursor`), so that who keeps it with what it made of the lines neither loses nor doubles any.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# One look reads so much at most: a reader that was away for long catches up without filling the memory.
LOOK_BYTES = 8 * 2**20
CHUNK_BYTES = 2**20
# A renamed log is read so much longer: nginx's workers write their buffers (flush=1s) to it until they reopen.
LINGER_S = 5.0
# Enough for the request id of the last line, which no other line has.
MARK_BYTES = 256


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in one file: `offset` bytes are done, and `mark` is a digest of the bytes before it."""

    inode: int
    offset: int = 0
    mark: str = ""

    @classmethod
    def of(cls, data: Any) -> Spot:
        """From JSON. Raises ValueError for what is no spot."""
        if not isinstance(data, dict):
            raise ValueError("not a place in a file")
        inode, offset, mark = data.get("inode"), data.get("offset"), data.get("mark")
        if not (isinstance(inode, int) and isinstance(offset, int) and isinstance(mark, str) and offset >= 0):
            raise ValueError("not a place in a file")
        return cls(inode, offset, mark)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader is: in the log itself, and in older files that it has not finished."""

    now: Spot | None = None
    older: tuple[Spot, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Any) -> Cursor:
        """From JSON. Raises ValueError for what is no cursor."""
        if not isinstance(data, dict) or not isinstance(data.get("older"), list):
            raise ValueError("not a cursor")
        now = data.get("now")
        return cls(None if now is None else Spot.of(now), tuple(Spot.of(spot) for spot in data["older"]))


@dataclass(slots=True)
class _Source:
    """An open file and our place in it. until_s: when a file that is no longer the log is let go."""

    fd: int
    spot: Spot
    until_s: float | None = None
    in_long_line: bool = False

    def close(self) -> None:
        os.close(self.fd)


@dataclass(slots=True)
class Look:
    """What one look brought.

    lines    complete lines without their ends
    broken   lines too long to be any
    cursor   the place after them
    behind   whether there is more to read at once
    """

    lines: list[bytes] = field(default_factory=list)
    broken: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    behind: bool = False


class Tail:
    """The lines that are added to `path`.

    cursor  where an earlier reader ended; None: at the end of what is there now, and at the beginning of what comes
    gaps    how often lines were certainly lost: the log was emptied and no copy of it is to be found
    """

    def __init__(self, path: Path, cursor: Cursor | None = None) -> None:
        self.path = path
        self.gaps = 0
        self._now: _Source | None = None
        self._older: list[_Source] = []
        if cursor is not None:
            self._resume(cursor)
        elif (found := self._open(path)) is not None:
            found.spot = _advanced(found, _end_of_lines(found.fd))
            self._now = found

    def look(self, now_s: float) -> Look:
        """Read what is new. `now_s`: a monotonic clock. Raises OSError."""
        look, left = Look(), LOOK_BYTES
        self._follow(now_s)
        for source in [*self._older, *([self._now] if self._now else [])]:
            left -= self._read(source, look, left)
        for source in [s for s in self._older if s.until_s is not None and s.until_s <= now_s]:
            if source.spot.offset >= os.fstat(source.fd).st_size or self._read_rest(source, look):
                source.close()
                self._older.remove(source)
        look.cursor = self.cursor
        look.behind = left <= 0
        return look

    @property
    def cursor(self) -> Cursor:
        """The place after all lines that were read."""
        return Cursor(self._now.spot if self._now else None, tuple(source.spot for source in self._older))

    def close(self) -> None:
        """Let go of all files."""
        for source in [*self._older, *([self._now] if self._now else [])]:
            source.close()
        self._older, self._now = [], None

    # --- which files ---

    def _resume(self, cursor: Cursor) -> None:
        for spot in (*cursor.older, *([cursor.now] if cursor.now else [])):
            found = self._by_inode(spot)
            if found is not None and found[0] == self.path:
                self._now = found[1]
            elif found is not None:
                found[1].until_s = 0.0
                self._older.append(found[1])
            else:
                self._read_copies(spot)
        if self._now is None:
            self._now = self._open(self.path)

    def _follow(self, now_s: float) -> None:
        """See whether the name stands for another file by now, or the file was emptied."""
        if self._now is not None and not _holds(self._now.fd, self._now.spot):
            spot = self._now.spot
            self._now.spot = Spot(spot.inode)
            self._now.in_long_line = False
            self._read_copies(spot)
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            return
        if self._now is None:
            self._now = self._open(self.path)
        elif inode != self._now.spot.inode:
            fresh = self._open(self.path)
            if fresh is not None:
                self._now.until_s = now_s + LINGER_S
                self._older.append(self._now)
                self._now = fresh

    def _read_copies(self, spot: Spot) -> None:
        """Find what followed `spot` in a file that was emptied: in the copy that has it, and in newer copies."""
        if not spot.offset:
            return
        newer: list[_Source] = []
        for path in self._beside():
            source = self._open(path)
            if source is None:
                continue
            source.until_s = 0.0
            if _holds(source.fd, Spot(source.spot.inode, spot.offset, spot.mark)):
                source.spot = replace(source.spot, offset=spot.offset, mark=spot.mark)
                self._older += [source, *newer]
                return
            newer.append(source)
        self.gaps += 1
        for source in newer:
            source.close()

    def _by_inode(self, spot: Spot) -> tuple[Path, _Source] | None:
        for path in (self.path, *self._beside()):
            source = self._open(path)
            if source is None:
                continue
            if source.spot.inode == spot.inode and _holds(source.fd, spot):
                source.spot = spot
                return path, source
            source.close()
        return None

    def _beside(self) -> Iterator[Path]:
        """Older copies of the log, the newest first."""
        found = []
        for path in self.path.parent.glob(f"{self.path.name}?*"):
            with suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
        yield from (path for _, path in sorted(found, reverse=True))

    @staticmethod
    def _open(path: Path) -> _Source | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        return _Source(fd, Spot(os.fstat(fd).st_ino))

    # --- what is in them ---

    def _read(self, source: _Source, look: Look, most: int) -> int:
        """Read whole lines, up to `most` bytes; returns how many."""
        done = 0
        while done < most:
            data = os.pread(source.fd, CHUNK_BYTES, source.spot.offset)
            end = data.rfind(b"\n") + 1
            if not end and len(data) < CHUNK_BYTES:
                break  # nothing, or a line that is not finished yet
            if not end:  # longer than any line is: what of it follows is left out too
                look.broken += not source.in_long_line
                source.in_long_line, end = True, len(data)
            else:
                lines = data[: end - 1].split(b"\n")
                look.lines += lines[1:] if source.in_long_line else lines
                source.in_long_line = False
            source.spot = _advanced(source, source.spot.offset + end)
            done += end
        return done

    def _read_rest(self, source: _Source, look: Look) -> bool:
        """Take the end of a file that nobody finishes any more for a line; False: there is more than that."""
        rest = os.pread(source.fd, CHUNK_BYTES, source.spot.offset)
        if b"\n" in rest or len(rest) == CHUNK_BYTES:
            return False
        if not source.in_long_line:
            look.lines.append(rest)
        return True


def _end_of_lines(fd: int) -> int:
    """The place after the last line that is complete; the next one is being written."""
    size = os.fstat(fd).st_size
    start = max(0, size - CHUNK_BYTES)
    found = os.pread(fd, size - start, start).rfind(b"\n")
    return size if found < 0 < start else start + found + 1


def _advanced(source: _Source, offset: int) -> Spot:
    return Spot(source.spot.inode, offset, _mark(source.fd, offset))


def _mark(fd: int, offset: int) -> str:
    """A digest, not the bytes: a cursor that lies on the disk holds nobody's data."""
    start = max(0, offset - MARK_BYTES)
    return hashlib.blake2b(os.pread(fd, offset - start, start), digest_size=16).hexdigest()


def _holds(fd: int, spot: Spot) -> bool:
    """Tell whether the file is the one that `spot` was taken in, and was not emptied since."""
    if not spot.offset:
        return True
    return os.fstat(fd).st_size >= spot.offset and _mark(fd, spot.offset) == spot.mark
