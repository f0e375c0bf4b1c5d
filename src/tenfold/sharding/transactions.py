"""The caller's transaction: on one shard, which its first statement decides. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.errors import CrossShardError, FenceError, StatementError
from tenfold.sharding.idlease import Ids
from tenfold.sharding.ports import Begin, Commit, Rollback, Steps
from tenfold.sharding.reserve import Reservations, Transaction


def refuse_to_leave(tx: Transaction, shards: Sequence[str]) -> None:
    """Raises CrossShardError when a statement of the transaction needs another shard than the one it is on."""
    home = tx.shard or next(iter(shards), None)
    for shard in shards:
        if shard != home:
            raise CrossShardError(
                f"the statement belongs to {shard}, the transaction is on {home}",
                hint="a transaction has one shard: write the other part outside it, with an outbox row inside",
            )


def refuse_several(shards: Sequence[str]) -> CrossShardError:
    """A statement of a transaction needs more than one shard."""
    return CrossShardError(
        f"the statement needs {len(shards)} shards, a transaction has one",
        hint="run it outside the transaction, or add the shard key to its WHERE",
    )


@dataclass(frozen=True, slots=True)
class Transactions:
    """Begins and ends them."""

    ids: Ids
    reservations: Reservations

    def enter(self, tx: Transaction, shard: str) -> Steps[None]:
        """Bring the transaction onto `shard`; the first statement decides which it is."""
        refuse_to_leave(tx, [shard])
        if tx.shard is None:
            if shard == self.ids.catalog:
                yield from self.ids.ahead(tx)
            yield Begin(shard)
            tx.shard = shard

    def commit(self, tx: Transaction) -> Steps[None]:
        """Commit. Raises NodeError when the outcome is in doubt; reservations are then settled by the sweeper.
        StatementError (a deferred constraint) and FenceError leave nothing in doubt: all is undone."""
        shard, tx.shard = tx.shard, None
        if shard is not None:
            try:
                yield Commit(shard)
            except (StatementError, FenceError):
                tx.shard = shard
                yield from self.rollback(tx)
                raise
        for settlement in tx.settlements:
            yield from self.reservations.confirm(settlement)

    def rollback(self, tx: Transaction) -> Steps[None]:
        """Undo everything."""
        if tx.shard is not None:
            yield Rollback(tx.shard)
            tx.shard = None
        for settlement in tx.settlements:
            yield from self.reservations.withdraw(settlement)
