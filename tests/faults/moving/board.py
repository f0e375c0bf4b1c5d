"""What writers have acknowledged and readers have seen, in memory that all processes of a run share. Edge."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import numpy as np

ACKED, STARTED, GONE, AWAY, SEEN = range(5)
READERS = 4
LONGEST_S = 150.0
"""Whoever is still running then was forgotten."""
PRESENT, HOME = 2, 1


class Board:
    """For each key, in words of 64 bits that are written by one process each:

    ACKED    4·version + PRESENT + HOME: the last version whose write was acknowledged, whether the row is there
             after it, and whether with its home address
    STARTED  the last version whose write has begun
    GONE     the last version begun after which there is no row; AWAY: no row with its home address
    SEEN     as ACKED, by each reader: what one has read, no later read may precede
    """

    def __init__(self, path: Path, size: int) -> None:
        """Open the file, or make it."""
        length = (SEEN + READERS) * size + 8
        if not path.exists():
            path.write_bytes(bytes(8 * length))
        with path.open("r+b") as file:
            words = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.int64)
        self._ends_s = time.monotonic() + LONGEST_S
        self._flags, self.rows = words[:8], words[8:].reshape(SEEN + READERS, size)

    @property
    def stopped(self) -> bool:
        """Whether writers and readers are to end."""
        return bool(self._flags[0]) or time.monotonic() > self._ends_s

    def stop(self) -> None:
        """End writers and readers."""
        self._flags[0] = 1

    # --- of the writer of a key ---

    def begin(self, key: int, version: int, *, present: bool, home: bool) -> tuple[int, int]:
        """A write begins → what `give_up` needs if it surely comes to nothing."""
        before = int(self.rows[GONE, key]), int(self.rows[AWAY, key])
        if not present:
            self.rows[GONE, key] = version
        if not (present and home):
            self.rows[AWAY, key] = version
        self.rows[STARTED, key] = version
        return before

    def acknowledge(self, key: int, version: int, *, present: bool, home: bool) -> None:
        """It was done."""
        self.rows[ACKED, key] = 4 * version + PRESENT * present + HOME * (present and home)

    def give_up(self, key: int, before: tuple[int, int]) -> None:
        """It was surely not done."""
        self.rows[GONE, key], self.rows[AWAY, key] = before

    # --- of readers ---

    def floor(self, key: int) -> int:
        """What a read that begins now may not precede."""
        return int(max(self.rows[ACKED, key], self.rows[SEEN:, key].max()))

    def wrong(self, reader: int, key: int, floor: int, seen: int | None, *, by_home: bool = False) -> str:
        """Why a read was wrong that has ended now and began at `floor`; "" if it was not.

        seen     the version read; None: no such row
        by_home  it was looked for by its home address
        """
        version = floor >> 2
        if seen is None:
            there = floor & HOME if by_home else floor & PRESENT
            if there and int(self.rows[AWAY if by_home else GONE, key]) <= version:
                return f"version {version} was there, nobody has deleted it, and it was not found"
            return ""
        if seen < version:
            return f"version {seen} was read after version {version} was acknowledged or read"
        if seen == version and not floor & PRESENT:
            return f"version {seen} was deleted, and was read again"
        if seen > int(self.rows[STARTED, key]):
            return f"version {seen} was read, and nobody has written it"
        self.rows[SEEN + reader, key] = max(int(self.rows[SEEN + reader, key]), 4 * seen + PRESENT)
        return ""
