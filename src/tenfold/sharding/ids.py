"""Ids that are unique over all shards and carry the bucket of their owner. Pure.

63 bits:  bucket 12 | seconds 31 | worker 10 | sequence 10.
Seconds count from 2024-01-01 UTC and last until 2092. 1,024 processes at once may draw ids, each
1,024 a second and bucket; who needs more runs ahead of the clock inside the window that the catalog
granted. Rows of the key table itself route by the hash of the id, so their 12 bits are free and
serve as more sequence: 4 million a second.

Uniqueness does not rest on clocks. The catalog leases a worker number together with a *window* of
seconds [start, end); the next holder of the number begins where the last window ended. So two holders
never share a (worker, second), however wrong their clocks are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BASE_S = 1_704_067_200  # 2024-01-01T00:00:00Z
SECOND_BITS, WORKER_BITS, SEQUENCE_BITS = 31, 10, 10
WORKERS = 1 << WORKER_BITS
SEQUENCES = 1 << SEQUENCE_BITS
_BUCKET_SHIFT = SECOND_BITS + WORKER_BITS + SEQUENCE_BITS
MAX_ID = (1 << 63) - 1


def id_bucket(row_id: int) -> int:
    """The bucket that an id drawn for a row of a group (not of its key table) carries."""
    return row_id >> _BUCKET_SHIFT


def id_second(row_id: int) -> float:
    """When an id was drawn, in seconds of the Unix epoch, as the drawer's clock had it."""
    return BASE_S + (row_id >> (WORKER_BITS + SEQUENCE_BITS) & ((1 << SECOND_BITS) - 1))


def id_clock(now_s: float) -> int:
    """Seconds since 2024 for a Unix time; what `Window` counts in."""
    return max(0, int(now_s) - BASE_S)


@dataclass(frozen=True, slots=True)
class Window:
    """The right to draw ids as `worker` for the seconds [start, end), as id_clock counts."""

    worker: int
    start: int
    end: int


@dataclass(slots=True)
class IdSource:
    """Draws ids inside its window. Not thread-safe: the caller holds a lock."""

    window: Window
    # Of each bucket: the second and sequence drawn last.
    last: dict[int, tuple[int, int]] = field(default_factory=dict)

    def draw(self, bucket: int | None, now_s: float) -> int | None:
        """The next id; None when the window is used up and a new one must be leased.

        bucket  of the owner's key; None for the key table, whose rows go by the hash of the id.
        now_s   Unix time; when it goes back, ids go on from the second drawn last.
        """
        lane = -1 if bucket is None else bucket
        limit = SEQUENCES if bucket is not None else SEQUENCES << 12
        last_second, last_sequence = self.last.get(lane, (self.window.start, -1))
        second, sequence = max(id_clock(now_s), self.window.start), 0
        if second <= last_second:
            second, sequence = last_second, last_sequence + 1
            if sequence >= limit:
                second, sequence = second + 1, 0
        if second >= self.window.end:
            return None
        self.last[lane] = (second, sequence)
        high = sequence >> SEQUENCE_BITS if bucket is None else bucket
        low = sequence & (SEQUENCES - 1)
        return (high << SECOND_BITS | second) << WORKER_BITS + SEQUENCE_BITS | self.window.worker << SEQUENCE_BITS | low

    def used_up_to(self) -> int:
        """The first second in which this source drew nothing: where the next holder may begin."""
        return max((second + 1 for second, _ in self.last.values()), default=self.window.start)
