"""Values unique over all shards: reserve, write, confirm; and what a crash left is settled. Pure.

A reservation is a row in `tf_reservation`, placed by the hash of the value; it names the bucket of the
row that holds the value, not the value itself. It is made (`pending`) before the row is written and
freed (`releasing`) only after the row has gone, so whoever looks a value up never misses its row.

Whether a writer that vanished had committed is decided on the *owner's* shard, in `tf_verdict`: the
writer inserts (token, bucket, kept) in the transaction of the rows, for each bucket that they are of;
whoever tidies up inserts (token, bucket, void) for the bucket of the reservation that it met, unless a
verdict is there. (token, bucket) is the primary key, so one of the two wins, whatever the timing:

    void wins   the writer's transaction fails on the verdict, nothing was written, the value is free
    kept wins   the row is there, the reservation becomes `kept` (or is deleted, if it was releasing)

A verdict has its row's bucket because it moves with it to another shard: whoever settles asks there, and
found nothing if one verdict had stayed behind for all buckets of the statement. They never disagree: all
of a statement's verdicts are inserted in one transaction, so a `void` for one bucket fails all its rows,
and a `kept` for one says that all were committed.

Invariant: for each value at most one committed row; and every committed row has a reservation that
is kept, or pending/releasing with the verdict `kept`. Tidying is safe at any age; waiting first is politeness.

What is read to decide something is what is committed now. Outside a transaction every read is so; inside
one, InnoDB's REPEATABLE READ shows the past of its first read, so a read there locks (`shared_read`). And
where another has inserted the same key and not committed, SQLite's lock keeps us out of the shard, while
InnoDB lets the INSERT wait for that row: either way it ends with the other's commit, its rollback, or a
NodeError after `database.lock_wait_s`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tenfold.errors import ConstraintError, CrossShardError, FenceError, NodeError, TenfoldError
from tenfold.sharding.dialects import SQLITE, Dialect
from tenfold.sharding.keys import KeyType, bucket_of, key_bytes
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.ports import Chance, Pause, Send, SendMany, Steps
from tenfold.sharding.stale import make_room

PENDING, KEPT, RELEASING = "pending", "kept", "releasing"
KEEP, VOID = "kept", "void"

LOOK_UP = "SELECT owner_bucket FROM tf_reservation WHERE scope = ? AND digest = ?"
RESERVE = (
    "INSERT INTO tf_reservation (scope, digest, bucket, owner_bucket, state, token, at_s) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
GIVE_VERDICT = "INSERT INTO tf_verdict (token, bucket, verdict, at_s) VALUES (?, ?, ?, ?)"
_STATE = "SELECT state, token, owner_bucket, at_s FROM tf_reservation WHERE scope = ? AND digest = ?"
_FREE = (
    "UPDATE tf_reservation SET state = ?, token = ?, at_s = ?"
    " WHERE scope = ? AND digest = ? AND state = ? AND owner_bucket = ?"
)
# By primary key and not by token alone: over a small table InnoDB's optimizer reads, and so locks, every row.
_KEEP = "UPDATE tf_reservation SET state = 'kept' WHERE scope = ? AND digest = ? AND token = ? AND state = ?"
_DROP = "DELETE FROM tf_reservation WHERE scope = ? AND digest = ? AND token = ? AND state = ?"
_HELD_UNDER = "SELECT scope, digest, bucket, state FROM tf_reservation WHERE token = ? AND owner_bucket = ?"
_VERDICT = "SELECT verdict FROM tf_verdict WHERE token = ? AND bucket = ?"
_UNSETTLED = "SELECT DISTINCT token, owner_bucket, bucket FROM tf_reservation WHERE state <> ? AND at_s < ? LIMIT 500"
_OLD = "SELECT token, bucket FROM tf_verdict WHERE at_s < ? LIMIT 500"
_FORGET = "DELETE FROM tf_verdict WHERE token = ? AND bucket = ?"
_EMPTY = "DELETE FROM tf_reservation WHERE scope = ?"
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Claim:
    """A value of a reserved column: scope is "table.column", digest its SHA-256 in hexadecimal."""

    scope: str
    digest: str
    bucket: int
    owner_bucket: int
    value: object = field(default=None, compare=False, repr=False)


class _Key(NamedTuple):
    """Of a reservation that is there."""

    scope: str
    digest: str
    bucket: int


def _of(keys: Iterable[_Key | Claim]) -> tuple[int, ...]:
    return tuple(sorted({key.bucket for key in keys}))


def scope_of(table: str, column: str) -> str:
    """What the reservations of a column go by."""
    return f"{table}.{column}".lower()


def claim_of(table: str, column: str, value: object, kind: KeyType, owner_bucket: int) -> Claim:
    """The claim on `value`; equal values of the column give equal claims. Raises ShardKeyError for a bad value."""
    digest = hashlib.sha256(key_bytes(value, kind)).hexdigest()
    return Claim(scope_of(table, column), digest, bucket_of(value, kind), owner_bucket, value)


@dataclass(slots=True)
class Settlement:
    """What one statement claims and frees; settled when its transaction has ended.

    table   whose values they are
    absent  what it would have freed and found no reservation for: see `still_absent`
    tried   what it has claimed or marked, or may have: a reservation that is another's is left alone to the end
    """

    token: str
    owner_shard: str
    claims: Sequence[Claim] = ()
    frees: Sequence[Claim] = ()
    table: GroupTable | None = None
    absent: list[Claim] = field(default_factory=list)
    tried: set[Claim] = field(default_factory=set)


@dataclass(slots=True)
class Transaction:
    """A transaction of the caller: on one shard, which its first statement decides.

    reads_anywhere  the first write decides instead, and what only reads may go to other shards: outside it there
    view            what all its statements are routed by: the executor of its first one
    touched         shard → the buckets that it changes, None for any
    moved           its rows went to another shard, and all of it is undone
    """

    shard: str | None = None
    settlements: list[Settlement] = field(default_factory=list)
    reads_anywhere: bool = False
    view: Any = None
    touched: dict[str, set[int] | None] = field(default_factory=dict)
    moved: bool = False


def _refuse_twice(claim: Claim, state: str, taken: str | None) -> None:
    """A statement meets a value that an earlier one of the same transaction claimed or freed."""
    if state == PENDING and taken is not None:
        raise ConstraintError(
            f"{claim.scope}: the value is taken, by this very transaction", hint="choose another value"
        )
    # The reservation cannot say "back to what it was before both": waiting for oneself would never end.
    raise CrossShardError(
        f"{claim.scope}: this transaction has already changed the row that holds the value",
        hint="change a unique value once in a transaction, or commit in between",
    )


@dataclass(frozen=True, slots=True)
class Reservations:
    """The protocol, for a bucket map.

    wait_s     how long another's unfinished claim is waited for
    hidden_on  buckets of which a shard may hold rows that are not to be seen, while a move is on
    """

    shard_of: Callable[[int], str]
    wait_s: float
    dialect: Dialect = SQLITE
    hidden_on: Callable[[str], frozenset[int]] = lambda _: frozenset()

    def make(self, settlement: Settlement, tx: Transaction) -> Steps[None]:
        """Claim and mark all values. Raises ConstraintError for a taken one; then nothing of it is left."""
        try:
            now_s = (yield Chance()).now_s
            for shard, claims in self._by_shard(settlement.claims).items():
                rows = [(c.scope, c.digest, c.bucket, c.owner_bucket, PENDING, settlement.token, now_s) for c in claims]
                settlement.tried.update(claims)
                try:
                    yield SendMany(shard, RESERVE, rows, buckets=_of(claims))
                except ConstraintError:
                    settlement.tried.difference_update(claims)
                    for claim, row in zip(claims, rows, strict=True):
                        yield from self._until(
                            claim, settlement, tx, Send(shard, RESERVE, row, buckets=(claim.bucket,)), KEPT
                        )
            for claim in settlement.frees:
                values = (RELEASING, settlement.token, now_s, claim.scope, claim.digest, KEPT, claim.owner_bucket)
                free = Send(self.shard_of(claim.bucket), _FREE, values, buckets=(claim.bucket,))
                if not (yield from self._until(claim, settlement, tx, free, None)):
                    settlement.absent.append(claim)
        except TenfoldError:
            yield from self.withdraw(settlement)
            raise

    def _until(
        self, claim: Claim, settlement: Settlement, tx: Transaction, attempt: Send, taken: str | None
    ) -> Steps[bool]:
        """Repeat `attempt` while somebody else's statement holds the value, then settle what that one left.

        Returns False when there is nothing to free: nobody holds the value, or the row of another key does.
        """
        polls = 0  # bounds the wait where the other's clock is ahead
        for _ in range(10_000):
            settlement.tried.add(claim)  # before: whether an attempt that is cut off was made is not known
            try:
                if (yield attempt).rowcount:
                    return True
            except ConstraintError:
                pass
            settlement.tried.discard(claim)
            held = yield self._state(claim, attempt.shard, tx.shard)
            if not held.rows:
                if taken is None:
                    return False
                continue
            state, other, owner_bucket, at_s = held.rows[0]
            if state == KEPT and taken is None:
                if owner_bucket != claim.owner_bucket:
                    return False
                continue
            if state == taken or other == settlement.token:
                raise ConstraintError(f"{claim.scope}: the value is taken", hint="choose another value")
            if any(other == earlier.token for earlier in tx.settlements):
                _refuse_twice(claim, state, taken)
            # Its age counts, not our waiting: what a killed process left long ago holds nobody up. On the shard of
            # our own transaction there is nothing to wait for: what the attempt has locked keeps the other from ending.
            if (
                attempt.shard != tx.shard
                and 0 <= (yield Chance()).now_s - at_s < self.wait_s
                and polls < self.wait_s / _POLL_S
            ):
                yield Pause(_POLL_S)
                polls += 1
            else:
                yield from self._settle_other(attempt.shard, other, owner_bucket, tx)
        raise NodeError(f"{claim.scope}: the value is fought over", hint="try again")

    def still_absent(self, settlement: Settlement) -> Steps[bool]:
        """Whether what could not be freed has no reservation even now that its row is locked.

        If it has, the row was changed away and back between the probe and the lock: what the probe saw was
        another life of the row, and the reservation of this one would be forgotten.
        """
        for claim in settlement.absent:
            held = yield self._state(claim, self.shard_of(claim.bucket), settlement.owner_shard)
            if held.rows:
                return False
        return True

    def _state(self, claim: Claim, shard: str, transaction: str | None) -> Send:
        """Asks for the reservation as it is now; `transaction`: the shard on which one is open."""
        # Shared: the INSERT that met the row has locked it so, and two who both wanted more would wait for each other.
        current = self.dialect.shared_read if shard == transaction else ""
        return Send(shard, _STATE + current, (claim.scope, claim.digest), buckets=(claim.bucket,))

    def _settle_other(self, shard: str, token: str, owner_bucket: int, tx: Transaction) -> Steps[None]:
        if tx.shard is not None:
            # A verdict inside the caller's transaction would vanish with its rollback, after it was acted on.
            raise NodeError("the value is held by a statement that has not ended", hint="run the transaction again")
        yield from self.settle(shard, token, owner_bucket)

    def settle(self, shard: str, token: str, owner_bucket: int) -> Steps[None]:
        """Decide what became of the rows in `owner_bucket` that the statement `token` wrote, and bring their
        reservations on `shard` to it; those of its other buckets are settled with the verdicts of these."""
        owner_shard, key = self.shard_of(owner_bucket), (token, owner_bucket)
        verdict = yield Send(owner_shard, _VERDICT, key, buckets=(owner_bucket,))
        if not verdict.rows:
            now_s = (yield Chance()).now_s
            with suppress(ConstraintError):  # somebody else has just given it
                yield Send(owner_shard, GIVE_VERDICT, (*key, VOID, now_s), buckets=(owner_bucket,))
            verdict = yield Send(owner_shard, _VERDICT, key, buckets=(owner_bucket,))
            if not verdict.rows:
                raise NodeError("a verdict has gone to another shard while it was read", hint="try again")
        yield from self._apply(shard, token, owner_bucket, kept=verdict.rows[0][0] == KEEP)

    def _apply(self, shard: str, token: str, owner_bucket: int, *, kept: bool) -> Steps[None]:
        rows = (yield Send(shard, _HELD_UNDER, (token, owner_bucket), buckets=())).rows
        for state in (PENDING, RELEASING):
            # Of a bucket that moves its other shard has a copy, which follows.
            found = [_Key(*key) for *key, held in rows if held == state and self.shard_of(key[2]) == shard]
            yield from self._bring(shard, token, state, found, kept=kept)

    def _bring(self, shard: str, token: str, state: str, keys: Sequence[_Key | Claim], *, kept: bool) -> Steps[None]:
        """What the statement claimed (PENDING) stays if it is kept, what it frees (RELEASING) if it is not."""
        if keys:
            stays = (state == PENDING) is kept
            rows = [(key.scope, key.digest, token, state) for key in keys]
            yield SendMany(shard, _KEEP if stays else _DROP, rows, buckets=_of(keys))

    def give_verdict(self, settlement: Settlement, shard: str) -> Steps[None]:
        """Say `kept` for every bucket of the rows, in their open transaction; nothing where no value is at stake.

        Raises NodeError when a claim was given up meanwhile: the whole statement fails then, whatever its bucket.
        """
        buckets = sorted({claim.owner_bucket for claim in (*settlement.claims, *settlement.frees)})
        now_s = (yield Chance()).now_s
        rows = [(settlement.token, bucket, KEEP, now_s) for bucket in buckets]
        try:
            if len(rows) == 1:
                yield Send(shard, GIVE_VERDICT, rows[0], buckets=tuple(buckets))
            elif rows:
                yield SendMany(shard, GIVE_VERDICT, rows, buckets=tuple(buckets))
        except ConstraintError:
            raise NodeError("the statement took so long that its reservation was given up", hint="try again") from None
        hidden = self.hidden_on(shard)
        if hidden and settlement.table is not None:
            values = [(claim.scope.rpartition(".")[2], claim.value) for claim in settlement.claims]
            yield from make_room(shard, settlement.table, values, hidden)

    def confirm(self, settlement: Settlement) -> Steps[None]:
        """After the commit. A shard that is down is left to the sweeper."""
        yield from self._end(settlement, kept=True)

    def withdraw(self, settlement: Settlement) -> Steps[None]:
        """After a rollback, or before anything was written."""
        yield from self._end(settlement, kept=False)

    def _end(self, settlement: Settlement, *, kept: bool) -> Steps[None]:
        for state, claims in ((RELEASING, settlement.frees), (PENDING, settlement.claims)):
            for shard, tried in self._by_shard(claim for claim in claims if claim in settlement.tried).items():
                # The lease may have run out; then the fences are asked the next time, and it is done without one.
                for _ in range(2):
                    try:
                        yield from self._bring(shard, settlement.token, state, tried, kept=kept)
                    except FenceError:
                        continue
                    except NodeError:
                        pass
                    break

    def sweep(self, shards: Iterable[str], older_than_s: float, keep_verdicts_s: float) -> Steps[int]:
        """Settle what crashed writers left on `shards`; → how many statements, each once for a bucket and shard.

        One shard that is down does not hold up the others; then NodeError is raised at the end.
        Verdicts go once they are older than `keep_verdicts_s` and every shard was swept: whatever
        waited for them has been settled. A writer that stalls longer than that inside one transaction
        would be the exception; connections time out long before.
        """
        now_s = (yield Chance()).now_s
        settled = 0
        failures: list[NodeError] = []
        for shard in shards:
            settled += yield from self._sweep_shard(shard, now_s - older_than_s, failures)
        if failures:
            raise failures[0]
        for shard in shards:
            yield from self._forget_verdicts(shard, now_s - keep_verdicts_s)
        return settled

    def _forget_verdicts(self, shard: str, before_s: float) -> Steps[None]:
        """One by one: a DELETE by age would lock the first row that is not so old, too, which InnoDB may have to
        wait for: a writer at work has just inserted it (measured)."""
        full = True
        while full:
            found = (yield Send(shard, _OLD, (before_s,), buckets=())).rows
            keys = [key for key in found if self.shard_of(key[1]) == shard]
            if keys:
                yield SendMany(shard, _FORGET, keys, buckets=tuple(sorted({bucket for _, bucket in keys})))
            full = len(found) == 500 and bool(keys)

    def _sweep_shard(self, shard: str, before_s: float, failures: list[NodeError]) -> Steps[int]:
        settled, failed_before, full = 0, len(failures), True
        while full and len(failures) == failed_before:
            try:
                found: Sequence[tuple[str, int, int]] = (
                    yield Send(shard, _UNSETTLED, (KEPT, before_s), buckets=())
                ).rows
            except NodeError as error:
                failures.append(error)
                break
            # Of a bucket that moves its other shard has a copy, which follows.
            ours = {(token, owner) for token, owner, bucket in found if self.shard_of(bucket) == shard}
            for token, owner_bucket in sorted(ours):
                try:
                    yield from self.settle(shard, token, owner_bucket)
                    settled += 1
                except NodeError as error:
                    failures.append(error)
            full = len(found) == 500 and bool(ours)
        return settled

    def forget(self, table: str, columns: Iterable[str], shards: Iterable[str]) -> Steps[None]:
        """After a table was dropped: nobody holds its values any more. Cut short, `DROP TABLE IF EXISTS` goes on."""
        for shard in shards:
            for column in columns:
                yield Send(shard, _EMPTY, (scope_of(table, column),))

    def _by_shard(self, claims: Iterable[Claim]) -> dict[str, list[Claim]]:
        found: dict[str, list[Claim]] = {}
        for claim in claims:
            found.setdefault(self.shard_of(claim.bucket), []).append(claim)
        return found
