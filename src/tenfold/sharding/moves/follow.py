"""Carries what has changed since it was copied, by its marks. Repeatable at every point. Edge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tenfold.errors import ConstraintError, MoveError, StatementError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves import rows
from tenfold.sharding.moves.copy import LONGEST, write_keys
from tenfold.sharding.moves.tables import Moved, dirty_table, one_of
from tenfold.sharding.moves.work import Work
from tenfold.sharding.ports import Driver

BATCH, AT_ONCE = 500, 25
"""So many marks are carried together, and so few deleted by one statement: what MariaDB takes for a list of tuples
grows with its square (500 at once 220 ms, in slices of 25 9 ms), and writers of these rows wait meanwhile."""
FIRST = 25
"""Marks of a table that are carried together first, while nobody knows how long its rows are."""
TRIES = 20
"""How often rows whose place others hold are tried in vain before the move stops and names them."""
Mark = tuple[str, int, int]
"""Primary key as literals, bucket, version."""


class Follower:
    """From one shard to another, for tables and buckets that the receiving one does not own."""

    def __init__(self, work: Work, giver: str, taker: str, tables: Sequence[Moved], buckets: Collection[int]) -> None:
        self.work, self.giver, self.taker = work, giver, taker
        self.tables, self.buckets = tables, frozenset(buckets)
        self._sizes: dict[int, int] = {}
        self.note: Callable[[Moved, Sequence[Mark]], None] | None = None
        """Is told of marks before any of them is taken away."""

    def marks(self, buckets: Collection[int]) -> int:
        """How many marks there are of some of the buckets."""
        return sum(
            int(self.work.shards.rows(self.giver, _count(self.work.move.id, table, buckets))[0][0])
            for table in self.tables
        )

    def round(self, buckets: Collection[int], *, lock: str = "") -> tuple[int, int]:
        """Carry each mark of `buckets` once → (carried, left over as their place is held)."""
        carried = stuck = 0
        for table in self.tables:
            done, left = self._table(table, buckets, lock)
            carried, stuck = carried + done, stuck + left
        return carried, stuck

    def drain(self, buckets: Collection[int], *, lock: str = "") -> int:
        """Carry until no mark of `buckets` is left → how many it were. Raises MoveError for rows that find no place."""
        total = in_vain = 0
        while in_vain < TRIES:
            carried, stuck = self.round(buckets, lock=lock)
            total += carried
            in_vain = 0 if carried else in_vain + 1
            if not carried and not stuck:
                return total
            if stuck:
                # What holds the place may be gone from the giver, with a mark of another bucket.
                self.round(self.buckets)
                self.work.sleep(0.005)
        raise MoveError(
            f"rows of {' and '.join(self._named(buckets))} find no place on {self.taker}: others there hold a value "
            "that is unique",
            hint="compare them on both shards; then `tenfold shard resume`, or undo",
        )

    def _named(self, buckets: Collection[int]) -> list[str]:
        found = []
        for table in self.tables:
            marks = self.work.shards.rows(self.giver, rows.read_marks(self.work.move.id, table, buckets, 3))
            found += [f"{table.shape.name} {key}" for key, _, _ in marks]
        return found or ["tables"]

    def _table(self, table: Moved, buckets: Collection[int], lock: str) -> tuple[int, int]:
        if not table.of(buckets):
            return 0, 0
        driver = self.work.shards.at(self.giver)
        carried = stuck = 0
        while True:
            asked = self._sizes.get(table.number, FIRST)
            # What stays comes first again: the others may free its place.
            sql = rows.read_marks(self.work.move.id, table, buckets, asked, lock, skip=stuck)
            marks: list[Mark] = [(key, int(of), int(version)) for key, of, version in driver.execute(sql, ()).rows]
            if not marks:
                return carried, stuck
            if self.note is not None:
                self.note(table, marks)
            done = self._halved(table, marks, buckets)
            carried, stuck = carried + len(done), stuck + len(marks) - len(done)
            if len(marks) < asked:
                return carried, stuck

    def _halved(self, table: Moved, marks: Sequence[Mark], buckets: Collection[int]) -> list[Mark]:
        """As `_batch`, and the half of them at a time where a server takes no statement that is so long."""
        try:
            return self._batch(table, marks, buckets)
        except ConstraintError:
            raise
        except StatementError as error:
            if len(marks) == 1:
                raise MoveError(
                    f"the row {marks[0][0]} of {table.shape.name} cannot go from {self.giver} to {self.taker}: {error}",
                    hint="if it is too long, raise max_allowed_packet on both servers; then `tenfold shard resume`",
                ) from error
        middle = len(marks) // 2
        self._sizes[table.number] = middle
        done = self._halved(table, marks[:middle], buckets)
        return done + self._halved(table, marks[middle:], buckets)

    def _batch(self, table: Moved, marks: Sequence[Mark], buckets: Collection[int]) -> list[Mark]:
        """Carry the rows of some marks → the marks of those that are where they belong now.

        buckets  of which the marks were read. A row that is of another by now has a mark there too, and is left to it:
                 what it displaces may be known by marks of that bucket only.
        """
        work, keys = self.work, sorted({key for key, _, _ in marks})
        # Read after their versions: what is read is at least as new as they are.
        found = work.shards.rows(self.giver, rows.read_rows(table, keys, buckets))
        if any(row is None for _, _, row in found):
            raise StatementError(f"{self.giver} makes no text that is longer than its max_allowed_packet")
        self._adapt(table, len(marks), sum(len(key) for key in keys) + sum(len(row) for _, _, row in found))
        noted = ""
        if table.key and found:
            count, text = work.shards.rows(self.giver, rows.keys_of_rows(table, keys, buckets))[0]
            if count:
                noted = str(text)
                write_keys(work, (self.giver,), table, noted)
        work.progress.step("follow.rows")
        here = [(key, row) for key, _, row in found]
        held = work.again(lambda: self._apply(table, keys, here, buckets, noted))
        done = [mark for mark in marks if mark[0] not in held]
        if done:
            work.progress.step("follow.marks")
            work.again(lambda: self._unmark(table, done))
        return done

    def _adapt(self, table: Moved, count: int, length: int) -> None:
        """As many marks the next time as make a statement of about the length of those that copy."""
        wished = LONGEST[table.dialect is MYSQL] * count // max(length, 1)
        self._sizes[table.number] = max(1, min(wished, 2 * self._sizes.get(table.number, FIRST), BATCH))

    def _apply(
        self, table: Moved, keys: Sequence[str], found: Sequence[tuple[str, str]], buckets: Collection[int], noted: str
    ) -> set[str]:
        """Put the rows that were found in the place of those with these keys → keys whose place others hold.

        noted  their shard keys, as `write_keys` takes them
        """
        held = set()
        there = [key for key, _ in found]
        gone = sorted(set(keys).difference(there))
        with self.work.shards.transaction(self.taker) as driver:
            if noted:
                driver.execute(rows.insert_keys(self.work.move.id, table, noted), ())
            if gone:
                driver.execute(rows.delete_rows(table, gone, buckets), ())
            if there:
                driver.execute(rows.delete_rows(table, there, self.buckets), ())
            if not self._insert_all(driver, table, found):
                for key, row in found:
                    try:
                        driver.execute(rows.insert_rows(table, row), ())
                    except ConstraintError:
                        held.add(key)
        return held

    def _insert_all(self, driver: Driver, table: Moved, found: Sequence[tuple[str, str]]) -> bool:
        if not found:
            return True
        try:
            driver.execute(rows.insert_rows(table, ",".join(row for _, row in found)), ())
        except ConstraintError:
            return False
        return True

    def _unmark(self, table: Moved, marks: Sequence[Mark]) -> None:
        with self.work.shards.transaction(self.giver) as driver:
            for start in range(0, len(marks), AT_ONCE):
                some = marks[start : start + AT_ONCE]
                driver.execute(rows.delete_marks(self.work.move.id, table, some), ())


def _count(move: int, table: Moved, buckets: Collection[int]) -> str:
    return f"SELECT COUNT(*) FROM {dirty_table(move, table)} WHERE {one_of('tf_bucket', table.of(buckets))}"


def locking(work: Work) -> str:
    """What makes a read of marks wait for transactions that have not ended, prepared ones too."""
    return work.shards.dialect.shared_read if work.shards.dialect is MYSQL else ""
