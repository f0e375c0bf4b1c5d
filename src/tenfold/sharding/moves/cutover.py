"""Gives buckets from one shard to the other, a few at a time: fence, drain, compare, bump, open. Edge.

Until the bump the giver owns them, and the fence is lifted whatever goes wrong; after it only the way forward is left,
and every step of it may be repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from tenfold.errors import MoveError, NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves import rows, verify
from tenfold.sharding.moves.ahead import MOST, Ahead, worthwhile
from tenfold.sharding.moves.counters import count_on
from tenfold.sharding.moves.follow import Follower, locking
from tenfold.sharding.moves.installing import set_fences
from tenfold.sharding.moves.record import spans
from tenfold.sharding.moves.tables import Moved, listed
from tenfold.sharding.moves.witness import emptied
from tenfold.sharding.moves.work import Work
from tenfold.sharding.ports import Driver

FENCE = "fence"
"""The purpose of the connection on which a fence is raised: it waits for a lock only briefly."""
COMPARE_S = 0.02
"""How long to drain and compare a set of buckets should take: sets are made larger or smaller by it. The rest of a
pause is commits, which are as many for one bucket as for all."""
BURDEN = 100
"""What there may be to do behind the fence of a set that was compared ahead: see `_burden`. Its time would judge it
wrongly: that is statements and commits, as many for one bucket as for hundreds, and on servers that are busy sets would
become smaller and smaller, and the move longer and longer."""
WAITED = 10
"""A bucket that somebody was writing to is as much to do as so many rows."""
FIRST_BUCKETS, MOST_BUCKETS = 4, 256
"""Of a set: at first, and at most."""
FEW = 20
"""So many marks may be left when the fence goes up."""
ATTEMPTS = 30
MISMATCHES = 5


class Cutover:
    """From giver to taker, for the tables and buckets of one leg."""

    def __init__(self, work: Work, giver: str, taker: str, tables: Sequence[Moved], buckets: Collection[int]) -> None:
        self.work, self.giver, self.taker, self.tables = work, giver, taker, tables
        self._left = sorted(buckets)
        self._follower = Follower(work, giver, taker, tables, buckets)
        self._size, self._set_s = FIRST_BUCKETS, 0.0
        self._burden = 0
        """Of the last set, behind its fence: rows that were carried and compared, and buckets that were waited for."""
        self._on_mysql = work.shards.dialect is MYSQL
        self._brief: Driver | None = None
        self.ahead: Ahead | None = None

    def run(self) -> None:
        """Give all of them. Raises MoveError where rows stay different, or transactions stay open."""
        settle(self.work, self.giver, self.taker, self._left)
        # A branch that a restart has left may be older than capture: it would be committed without any mark.
        if worthwhile(self.work, self.giver, self._left, self.work.limits.ahead) and self._branches() == 0:
            self.ahead = Ahead(self.work, self._follower)
            self.ahead.survey()
        while self._left:
            some = self._left[: self._size]
            self._give(some)
            if self.ahead:
                self.ahead.forget(some)
            self._left = self._left[len(some) :]
            self._follower.buckets = frozenset(self._left)

    def _give(self, some: Sequence[int]) -> None:
        mismatches = 0
        for nth in range(ATTEMPTS):
            self._prepare(some)
            try:
                paused_s = self._attempt(some)
            except _Busy as error:
                self.work.say("busy", why=str(error))
                self.work.sleep(min(0.05 * 2**nth, 2.0))
                self._size = max(1, self._size // 2)
                continue
            except _Differs as error:
                mismatches += 1
                self._repair(some, error.tables, mismatches)
                continue
            self._adapt(len(some))
            self.work.say("cut over", buckets=len(some), pause_ms=round(paused_s * 1000, 1))
            return
        raise MoveError(
            f"transactions on {self.giver} stay open for too long to give its buckets away",
            hint="end what has been open for long (SHOW PROCESSLIST, KILL), then `tenfold shard resume`",
        )

    def _adapt(self, count: int) -> None:
        if self.ahead:
            wished = count * BURDEN // max(self._burden, 1)
        else:
            wished = int(count * COMPARE_S / max(self._set_s, 0.001))
        # One slow answer does not make all that follow small, and one quick one does not make them large.
        most = min((4 if self.ahead else 2) * self._size, MOST_BUCKETS)
        self._size = max(1, self._size // 2, min(wished, most))

    def _prepare(self, some: Sequence[int]) -> None:
        """Leave little to do under the fence."""
        for _ in range(20):
            if self._follower.round(some)[0] <= FEW:
                break
        if self.ahead:
            self.ahead.relieve(some, FEW)
            self.ahead.relieve(self._left, MOST)

    def _attempt(self, some: Sequence[int]) -> float:
        """One try, at whose end the set is given or the fence is down → seconds that it was up."""
        began_s = self.work.clock()
        bumped = False
        try:
            self._burden = WAITED * self._fence_all(some)
            self._refuse_prepared()
            self.work.progress.step("cutover.drain")
            drained_s = self.work.clock()
            self._drain(some)
            self.work.progress.step("cutover.compare")
            self._compare(some)
            self._count_on(some)
            self._set_s = self.work.clock() - drained_s
            self.work.progress.step("cutover.bump")
            bumped = True  # or so it may be, from here on
            epoch = self.work.books.bump(self.work.move, some, self.giver, self.taker)
        except BaseException:
            # A failed COMMIT may have been one: only the catalog knows, once nobody changes it.
            self._lift(some, bumped)
            raise
        open_up(self.work, self.giver, self.taker, some, epoch)
        return self.work.clock() - began_s

    def _lift(self, some: Sequence[int], in_doubt: bool) -> None:
        with suppress(TenfoldError):
            if in_doubt:
                settle(self.work, self.giver, self.taker, some)
            else:
                lift(self.work, self.giver, some)

    def _fence_all(self, some: Sequence[int]) -> int:
        """Fence each of them → how many somebody was writing to, as far as that is known."""
        if not self._on_mysql:
            self.work.progress.step("cutover.fence")
            self._fence(some)
            return 0
        self.work.progress.step("cutover.fence")
        quiet = self._fence_quiet(some)
        # One transaction a bucket: who holds one and waits for another may deadlock with a writer, who is then undone.
        for bucket in some:
            if bucket not in quiet:
                self.work.progress.step("cutover.fence")
                self._fence([bucket])
        return len(some) - len(quiet)

    def _fence_quiet(self, some: Sequence[int]) -> frozenset[int]:
        """Fence all that nobody is writing to at this moment, in one transaction that never waits → which they are."""
        where = f"WHERE bucket IN ({listed(some)}) AND state = 'open'"
        self._be_brief()
        try:
            with self.work.shards.transaction(self.giver, FENCE) as driver:
                found = driver.execute(f"SELECT bucket FROM tf_fence {where} FOR UPDATE SKIP LOCKED", ()).rows
                quiet = frozenset(int(row[0]) for row in found)
                sql = f"UPDATE tf_fence SET state = 'fenced', token = {self.work.move.token:d}"
                driver.execute(f"{sql} WHERE bucket IN ({listed(sorted(quiet))})", ())
        except NodeDown:
            raise
        except NodeError as error:
            raise _Busy(str(error)) from error
        return quiet

    def _fence(self, some: Sequence[int]) -> None:
        sql = (
            f"UPDATE tf_fence SET state = 'fenced', token = {self.work.move.token:d}"
            f" WHERE bucket IN ({listed(some)}) AND state = 'open'"
        )
        for nth in range(3):
            try:
                self._be_brief()
                with self.work.shards.transaction(self.giver, FENCE) as driver:
                    found = driver.execute(sql, ()).rowcount
            except NodeDown:
                raise
            except NodeError as error:
                if nth == 2:
                    raise _Busy(str(error)) from error
                continue
            if found != len(some):
                raise MoveError(
                    f"buckets of {spans(some)} are not open on {self.giver}",
                    hint="run `tenfold shard status`, then resume",
                )
            return

    def _be_brief(self) -> None:
        """All who write to the bucket queue up behind a fence that waits."""
        driver = self.work.shards.at(self.giver, FENCE)
        if self._on_mysql and driver is not self._brief:
            driver.execute("SET SESSION innodb_lock_wait_timeout = 1", ())
            self._brief = driver

    def _refuse_prepared(self) -> None:
        """A prepared branch holds no lock on the fence, and may yet be committed."""
        # Where it may not be asked, the locking reads that follow wait for its rows.
        if found := self._branches():
            raise _Busy(f"{found} transactions are prepared on {self.giver}")

    def _branches(self) -> int | None:
        """How many transactions are prepared on the giver; None where it may not be asked."""
        if not self._on_mysql:
            return 0
        try:
            return len(self.work.shards.rows(self.giver, "XA RECOVER"))
        except (StatementError, NodeError) as error:
            if isinstance(error, NodeDown):
                raise
            return None

    def _drain(self, some: Sequence[int]) -> None:
        try:
            self._burden += self._follower.drain(some, lock=locking(self.work))
        except NodeDown:
            raise
        except NodeError as error:
            raise _Busy(str(error)) from error

    def _compare(self, some: Sequence[int]) -> None:
        lock = locking(self.work)
        try:
            if self.ahead:
                self._burden += self.ahead.doubts(some)
                work, sides = self.work, (self.giver, self.taker)
                differing = self.ahead.differing(some, lock) or emptied(
                    work.shards, work.move.id, *sides, self.tables, some
                )
            else:
                differing = verify.equal(
                    self.work.shards, self.work.move.id, self.giver, self.taker, self.tables, some, lock
                )
        except NodeDown:
            raise
        except NodeError as error:
            raise _Busy(str(error)) from error
        if differing:
            raise _Differs(differing)

    def _count_on(self, some: Sequence[int]) -> None:
        try:
            count_on(self.work.shards, self.giver, self.taker, self.tables, some)
        except NodeDown:
            raise
        except NodeError as error:
            raise _Busy(str(error)) from error

    def _repair(self, some: Sequence[int], tables: Sequence[Moved], nth: int) -> None:
        """Mark the rows that differ, as if they had been written again; the fence is down meanwhile."""
        found = list(verify.compare(self.work.shards, self.work.move.id, self.giver, self.taker, tables, some))
        self.work.say("differs", rows=len(found), tables=sorted({each.table for each in found}))
        if nth > MISMATCHES:
            named = "; ".join(f"{each.table} {each.key} is {each.kind}" for each in found[:5])
            raise MoveError(
                f"{len(found)} rows differ between {self.giver} and {self.taker} whenever they are compared: {named}",
                hint="see who writes them past Tenfold; then `tenfold shard resume`, or undo",
            )
        for table in tables:
            marks = [(each.key, each.bucket) for each in found if each.table == table.shape.name]
            for start in range(0, len(marks), 500):
                with self.work.shards.transaction(self.giver) as driver:
                    driver.execute(rows.mark(self.work.move.id, table, marks[start : start + 500]), ())


class _Busy(Exception):
    """Somebody has not ended a transaction; later it may be possible."""


class _Differs(Exception):
    """Rows are not the same on both shards."""

    def __init__(self, tables: Sequence[Moved]) -> None:
        super().__init__()
        self.tables = tables


def lift(work: Work, giver: str, buckets: Collection[int]) -> None:
    """Let writers in again, where a fence is up. Only for buckets that `giver` owns for certain."""
    set_fences(work, giver, buckets, "state = 'open'", "state = 'fenced'")


def open_up(work: Work, giver: str, taker: str, buckets: Collection[int], epoch: int) -> None:
    """After the bump: the giver says first where they have gone, then the taker lets writers in."""
    work.progress.step("cutover.moved")
    moved = f"state = 'moved', epoch = {epoch:d}, to_shard = '{taker}'"
    set_fences(work, giver, buckets, moved, "state IN ('open', 'fenced')")
    work.progress.step("cutover.open")
    set_fences(work, taker, buckets, f"state = 'open', epoch = {epoch:d}, to_shard = ''", "state = 'incoming'")


def settle(work: Work, giver: str, taker: str, buckets: Collection[int]) -> list[int]:
    """Whatever was interrupted: fences as the catalog has it → the buckets that are the giver's."""
    owners = work.books.owners(work.move, buckets)
    mine = [bucket for bucket in buckets if owners[bucket][0] == giver]
    if mine:
        lift(work, giver, mine)
    given: dict[int, list[int]] = {}
    for bucket in buckets:
        if owners[bucket][0] == taker:
            given.setdefault(owners[bucket][1], []).append(bucket)
    for epoch, some in given.items():
        open_up(work, giver, taker, some, epoch)
    return mine
