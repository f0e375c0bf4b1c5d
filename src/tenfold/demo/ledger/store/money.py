"""Deposits, withdrawals, the balance and the history: each within one shard. Edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import tenfold
from tenfold.demo.ledger.amounts import Currency
from tenfold.demo.ledger.problems import Missing
from tenfold.demo.ledger.records import Entry, Movement
from tenfold.demo.ledger.store.entries import BANK, WALLET, put_on_balance, take_from_balance, write_entry
from tenfold.demo.ledger.store.request_keys import Repeated, RequestKeys, fingerprint

# The whole text of each statement, because a table's name is never a parameter.
_INSERT = {
    "deposit": "INSERT INTO deposits (id, user_id, amount, note, created_at) VALUES (?, ?, ?, ?, ?)",
    "withdrawal": "INSERT INTO withdrawals (id, user_id, amount, note, created_at) VALUES (?, ?, ?, ?, ?)",
}
_SELECT = {
    "deposit": "SELECT amount, note, created_at FROM deposits WHERE user_id = ? AND id = ?",
    "withdrawal": "SELECT amount, note, created_at FROM withdrawals WHERE user_id = ? AND id = ?",
}
_HISTORY = (
    "SELECT id, amount, kind, ref, party, note, created_at FROM transactions"
    " WHERE user_id = ? AND account = 'wallet' {} ORDER BY created_at DESC, id DESC LIMIT ?"
)
# By time and not by id alone: within one second the ids of two backends are not in the order of time.
_NEWEST, _OLDER = (
    _HISTORY.format(""),
    _HISTORY.format("AND (created_at, id) < (SELECT created_at, id FROM transactions WHERE user_id = ? AND id = ?)"),
)


class Money:
    """What moves money into and out of one wallet, and what has moved."""

    def __init__(self, db: tenfold.AsyncDatabase, keys: RequestKeys, clock: Callable[[], int]) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock

    async def balance(self, user_id: int) -> int:
        """What the wallet holds, in smallest units. Raises Missing."""
        found = (await self._db.execute("SELECT balance FROM users WHERE id = ?", (user_id,))).scalar()
        if found is None:
            raise Missing("There is no such account.")
        return int(found)

    async def deposit(self, user_id: int, amount: int, note: str, currency: Currency, key: str | None) -> Movement:
        """Put money into the wallet. Raises Invalid beyond MAX_BALANCE, Taken for a key used otherwise."""
        return await self._move("deposit", user_id, amount, note, currency, key)

    async def withdraw(self, user_id: int, amount: int, note: str, currency: Currency, key: str | None) -> Movement:
        """Take money out of the wallet. Raises Invalid when it holds less, Taken for a key used otherwise."""
        return await self._move("withdrawal", user_id, amount, note, currency, key)

    async def _move(
        self,
        kind: Literal["deposit", "withdrawal"],
        user_id: int,
        amount: int,
        note: str,
        currency: Currency,
        key: str | None,
    ) -> Movement:
        print_ = fingerprint(kind, amount, note)
        earlier = await self._keys.earlier(user_id, key, print_)
        if earlier is None:
            row_id = await self._db.new_id("deposits" if kind == "deposit" else "withdrawals", user_id)
            now = self._clock()
            try:
                async with self._db.transaction() as tx:
                    await self._keys.claim(tx, user_id, key, print_, row_id)
                    if kind == "deposit":
                        await put_on_balance(tx, user_id, amount, currency)
                    else:
                        await take_from_balance(tx, user_id, amount)
                    await tx.execute(_INSERT[kind], (row_id, user_id, amount, note, now))
                    signed = amount if kind == "deposit" else -amount
                    for account, change in ((WALLET, signed), (BANK, -signed)):
                        await write_entry(tx, user_id, account, change, kind=kind, ref=row_id, at_ms=now, note=note)
                return Movement(row_id, kind, amount, note, now)
            except Repeated:
                earlier = await self._keys.earlier(user_id, key, print_)
        row = (await self._db.execute(_SELECT[kind], (user_id, earlier))).first()
        if row is None or earlier is None:
            raise Missing("What this Idempotency-Key did is gone.")
        return Movement(earlier, kind, row["amount"], row["note"], row["created_at"], replayed=True)

    async def history(self, user_id: int, before: int | None, limit: int) -> list[Entry]:
        """At most `limit` entries of the wallet, newest first, those older than the entry `before`.

        Paging by the last entry seen costs the same on every page, and what is added meanwhile
        neither repeats nor hides a row.
        """
        found = await (
            self._db.execute(_NEWEST, (user_id, limit))
            if before is None
            else self._db.execute(_OLDER, (user_id, user_id, before, limit))
        )
        return [Entry(*row) for row in found]
