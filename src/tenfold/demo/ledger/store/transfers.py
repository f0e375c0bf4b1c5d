"""Transfers between users, who may live on different shards. Edge.

No transaction spans two shards, so money travels in three steps, each of which is whole or absent:

1. debit    on the sender's shard, in one transaction: the balance, an entry, and an outbox row whose id is
            the transfer's. From here on the transfer will arrive, whoever crashes.
2. credit   on the receiver's shard, in one transaction: a row in `credits` whose key is the transfer's id,
            an entry, and the balance. A second credit breaks on that key, so it changes nothing.
3. done     the outbox row is marked.

The request does all three. If it cannot do the second or third (a crash, a shard that is away), a sweeper
of any backend finds the unmarked row and does them. Several sweepers at once are harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import tenfold
from tenfold.demo.ledger.amounts import MAX_BALANCE
from tenfold.demo.ledger.problems import Invalid, Missing
from tenfold.demo.ledger.records import Person, Transfer
from tenfold.demo.ledger.store.entries import WALLET, take_from_balance, write_entry
from tenfold.demo.ledger.store.request_keys import Repeated, RequestKeys, fingerprint
from tenfold.errors import ConstraintError, TenfoldError

_log = logging.getLogger("uvicorn.error")
_SELECT = "SELECT id, user_id, receiver_id, amount, sender, receiver, note, created_at, done_at FROM outbox"


class _Arrived(Exception):
    """Rolls a second credit back."""


class Transfers:
    """Sends money, and finishes what was interrupted."""

    def __init__(self, db: tenfold.AsyncDatabase, keys: RequestKeys, clock: Callable[[], int]) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock

    async def send(self, sender: Person, receiver: Person, amount: int, note: str, key: str | None) -> Transfer:
        """Send money to another user with the same currency.

        Returns it with done=False when the receiver's shard did not answer: it will arrive within seconds of
        the shard's return. Raises Invalid, or Taken for a key used otherwise.
        """
        print_ = fingerprint("transfer", receiver.id, amount, note)
        earlier = await self._keys.earlier(sender.id, key, print_)
        if earlier is None:
            await self._check(sender, receiver, amount)
            try:
                return await self._deliver_if_possible(await self._debit(sender, receiver, amount, note, key, print_))
            except Repeated:
                earlier = await self._keys.earlier(sender.id, key, print_)
        transfer = replace(await self.find(sender.id, earlier), replayed=True)
        return transfer if transfer.done else await self._deliver_if_possible(transfer)

    async def find(self, sender_id: int, transfer_id: int | None) -> Transfer:
        """A transfer that this user sent. Raises Missing."""
        found = await self._db.execute(
            _SELECT + " WHERE user_id = ? AND id = ?",
            (sender_id, transfer_id),
        )
        row = found.first()
        if row is None:
            raise Missing("There is no such transfer.")
        return _transfer(row)

    async def sweep(self, older_than_ms: int) -> int:
        """Deliver what left its sender before that time and has not arrived; return how many did now.

        Raises TenfoldError when a shard does not answer the question; one that fails to take its credit is
        left for the next sweep and does not keep the others waiting.
        """
        found = await self._db.execute(
            _SELECT + " WHERE done_at IS NULL AND created_at <= ?",
            (older_than_ms,),
        )
        delivered = [(await self._deliver_if_possible(_transfer(row))).done for row in found]
        return sum(delivered)

    async def _check(self, sender: Person, receiver: Person, amount: int) -> None:
        if sender.id == receiver.id:
            raise Invalid(to="This is yourself.")
        if sender.currency != receiver.currency:
            raise Invalid(to=f"This wallet is in {receiver.currency}; yours is in {sender.currency}.")
        held = (await self._db.execute("SELECT balance FROM users WHERE id = ?", (receiver.id,))).scalar()
        if held is None or held > MAX_BALANCE - amount:
            raise Invalid(to="This wallet is full.")

    async def _debit(
        self, sender: Person, receiver: Person, amount: int, note: str, key: str | None, print_: str
    ) -> Transfer:
        transfer_id = await self._db.new_id("outbox", sender.id)
        now = self._clock()
        async with self._db.transaction() as tx:
            await self._keys.claim(tx, sender.id, key, print_, transfer_id)
            await take_from_balance(tx, sender.id, amount)
            await write_entry(
                tx, sender.id, WALLET, -amount,
                kind="transfer", ref=transfer_id, at_ms=now, party=receiver.name, note=note,
            )  # fmt: skip
            await tx.execute(
                "INSERT INTO outbox (id, user_id, receiver_id, amount, sender, receiver, note, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (transfer_id, sender.id, receiver.id, amount, sender.name, receiver.name, note, now),
            )
        return Transfer(
            transfer_id, sender.id, sender.name, receiver.id, receiver.name, amount, note, now, done=False
        )  # fmt: skip

    async def _deliver_if_possible(self, transfer: Transfer) -> Transfer:
        try:
            await self._credit(transfer)
            await self._db.execute(
                "UPDATE outbox SET done_at = ? WHERE user_id = ? AND id = ?",
                (self._clock(), transfer.sender_id, transfer.id),
            )
        except TenfoldError as error:
            _log.warning("transfer %d has not arrived yet: %s", transfer.id, error)
            return transfer
        return replace(transfer, done=True)

    async def _credit(self, transfer: Transfer) -> None:
        now = self._clock()
        try:
            async with self._db.transaction() as tx:
                try:
                    await tx.execute(
                        "INSERT INTO credits (user_id, transfer_id, amount, created_at) VALUES (?, ?, ?, ?)",
                        (transfer.receiver_id, transfer.id, transfer.amount, now),
                    )
                except ConstraintError:
                    raise _Arrived from None
                await write_entry(
                    tx, transfer.receiver_id, WALLET, transfer.amount,
                    kind="transfer", ref=transfer.id, at_ms=now, party=transfer.sender, note=transfer.note,
                )  # fmt: skip
                await tx.execute(
                    "UPDATE users SET balance = balance + ? WHERE id = ?", (transfer.amount, transfer.receiver_id)
                )
        except _Arrived:
            return


def _transfer(row: tenfold.Row) -> Transfer:
    return Transfer(
        id=row["id"],
        sender_id=row["user_id"],
        sender=row["sender"],
        receiver_id=row["receiver_id"],
        receiver=row["receiver"],
        amount=row["amount"],
        note=row["note"],
        created_at=row["created_at"],
        done=row["done_at"] is not None,
    )
