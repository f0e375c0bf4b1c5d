"""The protocol of reservations with one rule taken out of it each time. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tenfold.errors import ConstraintError, NodeError
from tenfold.sharding.claiming import Claiming
from tenfold.sharding.ports import Chance, Reply, Send, SendMany, Steps
from tenfold.sharding.reserve import GIVE_VERDICT, KEEP, RELEASING, Claim, Reservations, Settlement, Transaction
from tenfold.sharding.transactions import Transactions


class NoVerdict(Reservations):
    """The writer does not say on the row's shard that it committed."""

    def give_verdict(self, settlement: Settlement, shard: str) -> Steps[None]:
        yield Chance()


class VerdictIsOnlyRead(Reservations):
    """Whoever tidies up takes the lack of a verdict for one, without putting it down."""

    def settle(self, shard: str, token: str, owner_bucket: int) -> Steps[None]:
        read = "SELECT verdict FROM tf_verdict WHERE token = ? AND bucket = ?"
        verdict = yield Send(self.shard_of(owner_bucket), read, (token, owner_bucket))
        yield from self._apply(shard, token, owner_bucket, kept=bool(verdict.rows) and verdict.rows[0][0] == KEEP)


class OneVerdictForAllBuckets(Reservations):
    """The writer says it once, with the bucket of its first row."""

    def give_verdict(self, settlement: Settlement, shard: str) -> Steps[None]:
        first = replace(settlement, claims=settlement.claims[:1], frees=settlement.frees[:1])
        yield from super().give_verdict(first, shard)


class VoidCostsItsBucketAlone(Reservations):
    """The writer goes on where one of its buckets has its verdict already, unless all have."""

    def give_verdict(self, settlement: Settlement, shard: str) -> Steps[None]:
        now_s, given = (yield Chance()).now_s, False
        for bucket in {claim.owner_bucket for claim in settlement.claims}:
            with suppress(ConstraintError):
                yield Send(shard, GIVE_VERDICT, (settlement.token, bucket, KEEP, now_s))
                given = True
        if not given:
            raise NodeError("given up")


class FreedBeforeTheRowHasGone(Reservations):
    """An old value is given up at once, not after the commit."""

    def make(self, settlement: Settlement, tx: Transaction) -> Steps[None]:
        yield from super().make(settlement, tx)
        for claim in settlement.frees:
            drop = "DELETE FROM tf_reservation WHERE token = ? AND state = ?"
            yield Send(self.shard_of(claim.bucket), drop, (settlement.token, RELEASING))


class FreesWhoeverHoldsIt(Reservations):
    """The mark on a value that goes is put on whatever reservation the value has, another row's too."""

    def _until(
        self, claim: Claim, settlement: Settlement, tx: Transaction, attempt: Send, taken: str | None
    ) -> Steps[bool]:
        if taken is None:
            sql, rule, _ = attempt.sql.partition(" AND owner_bucket = ?")
            assert rule
            attempt = Send(attempt.shard, sql, list(attempt.params)[:-1])
        return (yield from super()._until(claim, settlement, tx, attempt, taken))


class AbsentIsNeverReserved(Reservations):
    """A reservation that was not there to be freed is not looked for again once the row is locked."""

    def still_absent(self, settlement: Settlement) -> Steps[bool]:
        yield Chance()
        return True


class NothingIsSwept(Reservations):
    """What a dead writer left stays."""

    def sweep(self, *_: object) -> Steps[int]:
        yield Chance()
        return 0


class WrittenBeforeReserved(Claiming):
    """The row comes first, its reservation after the commit."""

    def settled(
        self, settlement: Settlement, write: Send | SendMany, rows: range, tx: Transaction | None, seen: Any
    ) -> Steps[Reply]:
        own = tx if tx is not None else Transaction()
        yield from self.transactions.enter(own, write.shard)
        reply: Reply = yield write
        if tx is None:
            yield from self.transactions.commit(own)
        yield from self.transactions.reservations.make(settlement, own)
        yield from self.transactions.reservations.confirm(settlement)
        return reply


class RowsAreNotLookedAtAgain(Claiming):
    """What the probe saw is believed, though it held no lock."""

    def _write(self, settlement: Settlement, write: Send | SendMany, rows: range, seen: Any) -> Steps[Reply]:
        return (yield from super()._write(settlement, write, rows, None))


class ConfirmedBeforeTheCommit(Transactions):
    """The reservation is kept before it is certain that the row is."""

    def commit(self, tx: Transaction) -> Steps[None]:
        for settlement in tx.settlements:
            yield from self.reservations.confirm(settlement)
        yield from super().commit(tx)


@dataclass(frozen=True)
class Mutant:
    """A protocol without a rule, and where that shows: the case of `cases.CASES`, the bounds of the schedules;
    slow: only after seconds of them."""

    case: str
    switches: int
    faults: int
    reservations: type[Reservations] = Reservations
    claiming: type[Claiming] = Claiming
    transactions: type[Transactions] = Transactions
    slow: bool = False


PROTOCOL = Mutant("", 0, 0)
"""With all its rules."""
MUTANTS = {
    "no verdict": Mutant("two sign-ups on two shards", 0, 1, NoVerdict),
    "verdict is only read": Mutant("two sign-ups on two shards", 1, 0, VerdictIsOnlyRead),
    "one verdict for all buckets": Mutant("two signed up at once", 0, 1, OneVerdictForAllBuckets),
    "void costs its bucket alone": Mutant("two signed up at once", 2, 0, VoidCostsItsBucketAlone),
    "freed before the row has gone": Mutant("one leaves, another takes the address", 1, 0, FreedBeforeTheRowHasGone),
    "absent is never reserved": Mutant("away and back while it is deleted", 3, 0, AbsentIsNeverReserved),
    "frees whoever holds it": Mutant("away, another's, and back", 3, 0, FreesWhoeverHoldsIt, slow=True),
    "nothing is swept": Mutant("a transaction that rolls back", 0, 1, NothingIsSwept),
    "written before reserved": Mutant("two sign-ups on two shards", 1, 0, claiming=WrittenBeforeReserved),
    "rows are not looked at again": Mutant("one renamed twice at once", 1, 0, claiming=RowsAreNotLookedAtAgain),
    "confirmed before the commit": Mutant("two sign-ups on two shards", 0, 1, transactions=ConfirmedBeforeTheCommit),
}
