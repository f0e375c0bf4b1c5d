"""One statement that changes several shards: begun on all, done on all, then committed one after the other. Pure.

An error before the first commit undoes all. A shard that is lost between two commits cannot be helped: the
error names who has committed and who has not. Every such statement takes the shards in one order, the file's, so
that two of them cannot hold what the other waits for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.errors import FenceError, NodeDown, NodeError, StatementError, TenfoldError
from tenfold.sharding.ports import Begin, Commit, Reply, Rollback, Send, SendMany, Steps
from tenfold.sharding.reserve import Reservations, Settlement, Transaction


@dataclass(slots=True)
class Share:
    """What one shard does.

    writes      in order
    guards      asked first: counts that must be 0; refusal: what to say when one is not
    settlement  of the reserved values that it claims; rows: how many it must then insert
    replies     what the shard answered to the writes
    """

    writes: list[Send | SendMany]
    guards: Sequence[Send] = ()
    refusal: TenfoldError | None = None
    settlement: Settlement | None = None
    rows: int = 0
    replies: list[Reply] = field(default_factory=list)

    def done(self, shard: str, reservations: Reservations) -> Steps[None]:
        """Do it, in the transaction that is open on `shard`."""
        for guard in self.guards:
            if self.refusal is not None and (yield guard).rows[0][0]:
                raise self.refusal
        if self.settlement is not None:
            yield from reservations.give_verdict(self.settlement, shard)
        for write in self.writes:
            self.replies.append((yield write))
        changed = sum(reply.rowcount for reply in self.replies)
        if self.settlement is not None and changed != self.rows:
            raise unlike(changed, self.rows)

    def total(self) -> Reply:
        """All replies as one."""
        return summed(self.replies)


def summed(replies: Sequence[Reply]) -> Reply:
    """The rows of one reply after those of another; rowcount is the sum, lastrowid that of the last."""
    first = next((reply for reply in replies if reply.columns), Reply())
    return Reply(
        first.columns,
        [row for reply in replies for row in reply.rows],
        sum(reply.rowcount for reply in replies),
        replies[-1].lastrowid if replies else None,
        first.types,
    )


def on_all(shares: Mapping[str, Share], reservations: Reservations, what: str) -> Steps[Reply]:
    """Do the shares of all shards, in the order of the mapping. what: the table, for messages.

    Returns the rows of one shard after those of another; rowcount is the sum; lastrowid that of the last shard.
    """
    begun: list[str] = []
    try:
        yield from _claim(shares, reservations)
        for shard, share in shares.items():
            yield Begin(shard)
            begun.append(shard)
            yield from share.done(shard, reservations)
    except TenfoldError:
        for shard in begun:
            yield Rollback(shard)
        yield from _withdraw(list(shares.values()), reservations)
        raise
    yield from _commit(shares, reservations, what)
    return summed([reply for share in shares.values() for reply in share.replies])


def _claim(shares: Mapping[str, Share], reservations: Reservations) -> Steps[None]:
    """Claim the reserved values of all shards before anything is begun."""
    own = Transaction()
    for share in shares.values():
        if share.settlement is not None:
            yield from reservations.make(share.settlement, own)
            own.settlements.append(share.settlement)


def unlike(changed: int, rows: int) -> StatementError:
    """The database did not change the rows whose values were reserved."""
    return StatementError(
        f"the database changed {changed} rows where the statement changes {rows}: "
        "an ON CONFLICT clause or a trigger of the table stands in the way of its unique values",
        hint="take it out of the schema, or the column out of unique in tenfold.toml",
    )


def _commit(shares: Mapping[str, Share], reservations: Reservations, what: str) -> Steps[None]:
    shards = list(shares)
    for position, shard in enumerate(shards):
        try:
            yield Commit(shard)
        except TenfoldError as error:
            for rest in shards[position:]:
                yield Rollback(rest)
            # Of the one whose answer was lost the sweeper finds out.
            doubtful = isinstance(error, NodeError) and not isinstance(error, FenceError)
            yield from _confirm([shares[done] for done in shards[:position]], reservations)
            yield from _withdraw([shares[rest] for rest in shards[position + doubtful :]], reservations)
            if position == 0:
                raise
            raise _half_done(what, shards, position, doubtful) from error
    # Not sooner: it would be done inside the transactions that are still open.
    yield from _confirm(list(shares.values()), reservations)


def _confirm(shares: Sequence[Share], reservations: Reservations) -> Steps[None]:
    for share in shares:
        if share.settlement is not None:
            yield from reservations.confirm(share.settlement)


def _withdraw(shares: Sequence[Share], reservations: Reservations) -> Steps[None]:
    for share in shares:
        if share.settlement is not None:
            yield from reservations.withdraw(share.settlement)


def _half_done(what: str, shards: Sequence[str], position: int, doubtful: bool) -> NodeError:
    return NodeError(
        _who_has_it(f"{what}: committed", shards, position, doubtful),
        # To run all of it again would do it twice where it is committed.
        hint="what is committed stays; see what the other shards have, and do the rest by the keys that are missing",
        retryable=False,
    )


def _who_has_it(done: str, shards: Sequence[str], position: int, doubtful: bool) -> str:
    said = f"{done} on {', '.join(shards[:position])}"
    if doubtful:
        said += f", perhaps on {shards[position]} (its answer was lost)"
    undone = shards[position + doubtful :]
    return f"{said}, not on {', '.join(undone)}" if undone else said


def ddl_on_all(sends: Mapping[str, Send | SendMany], table: str) -> Steps[list[Reply]]:
    """Change the schema where each statement commits by itself: on one shard, and if that takes it on the others.

    Raises what the first shard raises; after it NodeError, which names the shards that have the change.
    """
    shards = list(sends)
    replies: list[Reply] = []
    for position, shard in enumerate(shards):
        try:
            replies.append((yield sends[shard]))
        except TenfoldError as error:
            if position == 0:
                raise
            said = _who_has_it(f"{table}: changed", shards, position, isinstance(error, NodeDown))
            raise NodeError(
                f"{said}: {error}",
                hint=f"mend {shard}, then run the statement again with IF NOT EXISTS or IF EXISTS, which passes over "
                "the shards that have it; or run it on the others by the database's own client",
                retryable=False,
            ) from error
    return replies
