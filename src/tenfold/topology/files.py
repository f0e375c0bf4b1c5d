"""Reads a small regular file, and never waits: not for a pipe, not for a device without end. Edge."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotAFile(OSError):
    """There is something at the path, but no regular file."""


def read(path: Path, at_most_bytes: int) -> tuple[bytes, int]:
    """(content, mode) of the file. Raises OSError, NotAFile, and ValueError for a path that can be none.

    A file that is larger than `at_most_bytes` gives one byte more than that.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # Of what was opened, not of the path: that may be another file by now.
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile(f"{'a directory' if stat.S_ISDIR(mode) else 'not a regular file'}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(at_most_bytes + 1), mode
    finally:
        os.close(descriptor)
