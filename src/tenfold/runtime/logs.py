"""What programs write: files that stay below a size, their last lines, and lines as they come. Edge."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROTATE_BYTES = 10 * 2**20
KEEP = 3
# A program that never ends its line must not fill the memory of who reads it.
LONGEST_LINE = 64 * 1024


def open_for_program(path: Path) -> int:
    """A file descriptor for a program to append to, readable by this user and group alone. Raises OSError.

    O_APPEND is what lets `rotate` empty the file under a program that holds it open.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def rotate(path: Path, limit_bytes: int = ROTATE_BYTES, keep: int = KEEP) -> bool:
    """Copy a log that has outgrown `limit_bytes` to NAME.1 (older ones to .2, .3 …) and empty it; tell whether.

    The program goes on writing to the same file, so any program will do. A line that it writes between the end
    of the copy and the emptying, some microseconds, is lost. Raises OSError.
    """
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return False
    for number in range(keep - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    newest = path.with_name(f"{path.name}.1")
    with path.open("rb") as source, open(open_for_program(newest), "wb") as target:
        shutil.copyfileobj(source, target, 2**20)
        target.flush()
        shutil.copyfileobj(source, target)  # what came meanwhile
    os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int, start: int = 0) -> list[str]:
    """The last `count` lines of a file, none from before byte `start`. A missing file has none."""
    if count <= 0 or not path.exists():
        return []
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if start > end:  # emptied since
            start = 0
        position, data = end, b""
        while position > start and data.count(b"\n") <= count and len(data) < LONGEST_LINE * 16:
            step = min(LONGEST_LINE, position - start)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    return [line.decode(errors="replace") for line in data.splitlines()[-count:]]


class Lines:
    """Cuts bytes as they come into lines of text; a line too long is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def close(self) -> list[str]:
        """What is left of a line that was not ended."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []


class Follower:
    """Reads what is added to a file, also when it is emptied or replaced meanwhile, or comes to be only later."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self._lines = Lines()
        self._inode, self._position = 0, 0
        if not from_start and path.exists():
            stat = path.stat()
            self._inode, self._position = stat.st_ino, stat.st_size

    def new_lines(self) -> list[str]:
        """The lines added since the last call."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return []
        lines = []
        if stat.st_size < self._position or (self._inode and stat.st_ino != self._inode):
            # Rotated: the end of what we were reading is in the newest copy.
            lines = self._read(self.path.with_name(f"{self.path.name}.1"))
            self._position = 0
        self._inode = stat.st_ino
        return lines + self._read(self.path)

    def _read(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return []
        self._position += len(data)
        return self._lines.add(data)
