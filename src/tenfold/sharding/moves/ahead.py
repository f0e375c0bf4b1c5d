"""Compares rows while they are still written to, so that behind a fence only those in doubt are compared again. Edge.

A row is in doubt from when its mark is met, or it was seen to differ, until both sides were read after that and were
equal. A row that is in no doubt once a fence is up and its bucket is drained is the same on both sides:

- On the giver each change commits together with a mark. Nothing takes a mark away before it was noted here, and the
  drain reads marks with locks until none is left: a change since the row was read would have put it in doubt. Of
  transactions from before there were triggers none is left: creating them has waited for all that were open, and
  with branches that are prepared nothing is compared ahead.
- On the taker only this mover writes these buckets (its triggers refuse all others there), and only rows whose marks
  it has noted.
- The two sides are read one after the other. What changes in between is marked, and its mark is noted later.

Nothing of this is kept: who takes a move over compares all of it anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves import rows
from tenfold.sharding.moves.follow import AT_ONCE, BATCH, Follower, Mark
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.moves.verify import SIDE
from tenfold.sharding.moves.work import Work

FIRST, CHUNK = 500, 20_000
"""Rows of the giver that are compared at once: at first, and at most."""
LENGTH = 1_000_000
"""Bytes of the texts of rows that are compared at once, about."""
FOLLOW_S = 0.25
"""How long a survey goes on before it carries what was marked meanwhile: where a chunk holds a row that is still
marked, each of its rows is looked at."""
MOST = 20_000
"""So many doubts are kept at most before all are looked at again."""
Rows = list[tuple[Any, ...]]


class Ahead:
    """The doubts about rows of one leg's buckets. Made before the survey, with the follower that will drain them."""

    def __init__(self, work: Work, follower: Follower) -> None:
        self.work, self.follower = work, follower
        self._doubts: dict[int, dict[int, set[str]]] = {table.number: {} for table in follower.tables}
        follower.note = self._note

    def _note(self, table: Moved, marks: Sequence[Mark]) -> None:
        for key, bucket, _ in marks:
            self._doubt(table, key, bucket)

    def _doubt(self, table: Moved, key: str, bucket: int) -> None:
        self._doubts[table.number].setdefault(bucket, set()).add(key)

    def doubts(self, buckets: Collection[int]) -> int:
        """How many rows of buckets are in doubt."""
        return sum(len(held.get(bucket, ())) for held in self._doubts.values() for bucket in buckets)

    def survey(self) -> None:
        """Read all rows of the follower's buckets once, on both sides, and doubt those that differ."""
        followed_s = self.work.clock()
        for table in self.follower.tables:
            if not table.of(self.follower.buckets):
                continue
            position: tuple[str, ...] = ()
            size = min(FIRST, CHUNK)
            while True:
                end = self._end(table, position, size)
                size = self._compare_chunk(table, position, end, size)
                if self.work.clock() - followed_s > FOLLOW_S:
                    self.follower.round(self.follower.buckets)
                    self.relieve(self.follower.buckets, MOST)
                    followed_s = self.work.clock()
                if not end:
                    break
                position = end

    def _end(self, table: Moved, position: Sequence[str], size: int) -> tuple[str, ...]:
        """The primary key up to which the next chunk goes; of the last nothing, which has no end: the taker may hold
        rows beyond."""
        sql, _ = rows.boundary(table, position, size)
        found = self.work.shards.at(self.follower.giver, SIDE).execute(sql, ()).rows
        return tuple(map(str, found[0])) if found else ()

    def _compare_chunk(self, table: Moved, position: Sequence[str], end: Sequence[str], size: int) -> int:
        """Compare a chunk of `size` rows → of how many the next is to be."""
        mine, theirs = self._both(rows.digest_between(table, position, end, self.follower.buckets))
        length = max(int(mine[0][1]), int(theirs[0][1]), 1)
        if mine != theirs:
            self._doubt_differing(table, *self._both(rows.digests_between(table, position, end, self.follower.buckets)))
            return max(1, min(size // 2, LENGTH * size // length))
        return max(1, min(2 * size, LENGTH * size // length, CHUNK))

    def _both(self, sql: str, lock: str = "") -> tuple[Rows, Rows]:
        """The answers of giver and taker. lock: of the giver's."""
        shards, taker = self.work.shards, self.follower.taker
        with ThreadPoolExecutor(1) as aside:
            other = aside.submit(lambda: list(shards.at(taker, SIDE).execute(sql, ()).rows))
            mine = list(shards.at(self.follower.giver, SIDE).execute(sql + lock, ()).rows)
            return mine, other.result()

    def _doubt_differing(self, table: Moved, mine: Rows, theirs: Rows) -> bool:
        differing = set(mine) ^ set(theirs)
        for key, bucket, _ in differing:
            self._doubt(table, key, int(bucket))
        return bool(differing)

    def relieve(self, buckets: Collection[int], most: int) -> None:
        """Look at the doubtful rows of buckets again where they are more than `most`; those that are equal are in no
        doubt any more."""
        if self.doubts(buckets) <= most:
            return
        for table in self.follower.tables:
            answers = self._look(table, buckets)
            for bucket in buckets:
                self._doubts[table.number].pop(bucket, None)
            for mine, theirs in answers:
                self._doubt_differing(table, mine, theirs)

    def differing(self, buckets: Collection[int], lock: str) -> list[Moved]:
        """Compare the doubtful rows of buckets behind their fence → the tables that differ. lock: of the giver's."""
        return [
            table
            for table in self.follower.tables
            if any(set(mine) != set(theirs) for mine, theirs in self._look(table, buckets, lock))
        ]

    def _look(self, table: Moved, buckets: Collection[int], lock: str = "") -> list[tuple[Rows, Rows]]:
        """The doubtful rows of buckets as both sides have them now."""
        held = self._doubts[table.number]
        keys = sorted({key for bucket in buckets for key in held.get(bucket, ())})
        return [self._both(sql, lock) for sql in self._among(table, keys, buckets)]

    @staticmethod
    def _among(table: Moved, keys: Sequence[str], buckets: Collection[int]) -> Iterator[str]:
        size = BATCH if len(table.primary_key) == 1 else AT_ONCE
        for start in range(0, len(keys), size):
            yield rows.digests_among(table, keys[start : start + size], buckets)

    def forget(self, buckets: Collection[int]) -> None:
        """Of buckets that are given away."""
        for held in self._doubts.values():
            for bucket in buckets:
                held.pop(bucket, None)


def worthwhile(work: Work, giver: str, buckets: Collection[int], share: float) -> bool:
    """Whether buckets are so large a part of what `giver` owns that reading its tables once is less than going by
    their keys. share: from which part on."""
    wanted = sum(bucket < BUCKETS for bucket in buckets)
    if not wanted:  # pinned tables, whole
        return share <= 1
    owned = sum(work.catalog.map.shard_of(bucket) == giver for bucket in range(BUCKETS))
    return wanted >= share * max(owned, wanted)
