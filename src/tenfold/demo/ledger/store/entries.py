"""Entries and balances: the two statements that every movement of money is made of. Edge.

On quiet data, and whatever crashed before:

* each balance is the sum of its user's entries on the account "wallet";
* the sum of all entries, plus the transfers that have left a sender and not reached their receiver, is zero.

Deposits and withdrawals write a contra entry on the account "bank", on the user's own shard, so their
entries sum to zero by themselves. A transfer's debit and credit may lie on two shards: until the credit is
there, the outbox row stands for it (transfers.py). audit.py adds it all up.
"""

from __future__ import annotations

import tenfold
from tenfold.demo.ledger.amounts import MAX_BALANCE, Currency, format_amount
from tenfold.demo.ledger.problems import Invalid

WALLET, BANK = "wallet", "bank"


async def write_entry(
    tx: tenfold.AsyncTransaction,
    user_id: int,
    account: str,
    amount: int,
    *,
    kind: str,
    ref: int,
    at_ms: int,
    party: str = "",
    note: str = "",
) -> None:
    """Write one movement on an account of the user; amount is negative when money leaves the account."""
    await tx.execute(
        "INSERT INTO transactions (user_id, account, amount, kind, ref, party, note, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (user_id, account, amount, kind, ref, party, note, at_ms),
    )


async def take_from_balance(tx: tenfold.AsyncTransaction, user_id: int, amount: int) -> None:
    """Lower the balance, if it suffices: asked and done in one statement, so that two at once cannot overdraw.

    Raises Invalid.
    """
    changed = await tx.execute(
        "UPDATE users SET balance = balance - ? WHERE id = ? AND balance >= ?", (amount, user_id, amount)
    )
    if changed.rowcount != 1:
        raise Invalid(amount="There is not enough money in your wallet.")


async def put_on_balance(tx: tenfold.AsyncTransaction, user_id: int, amount: int, currency: Currency) -> None:
    """Raise the balance, up to MAX_BALANCE. Raises Invalid."""
    changed = await tx.execute(
        "UPDATE users SET balance = balance + ? WHERE id = ? AND balance <= ?", (amount, user_id, MAX_BALANCE - amount)
    )
    if changed.rowcount != 1:
        raise Invalid(amount=f"A wallet holds at most {format_amount(MAX_BALANCE, currency)}.")
