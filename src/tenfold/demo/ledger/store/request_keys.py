"""Idempotency-Keys: a POST that is sent again is answered, not done again. Edge.

The key is written in the transaction that moves the money, so both are there or neither is. Two requests
with one key at the same moment wait for each other at the primary key; the second finds the first's work.
A request that was refused leaves no key behind, and may be sent again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import tenfold
from tenfold.demo.ledger.problems import Taken
from tenfold.errors import ConstraintError

KEPT_S = 7 * 24 * 3600


class Repeated(Exception):
    """Raised inside a transaction, to roll it back: this key's work has been done already."""


def fingerprint(*what: object) -> str:
    """Tells one request from another under the same key."""
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


class RequestKeys:
    """The table request_keys, whose ref is the id of what a request made."""

    def __init__(self, db: tenfold.AsyncDatabase, clock: Callable[[], int]) -> None:
        self._db = db
        self._clock = clock

    async def claim(self, tx: tenfold.AsyncTransaction, user_id: int, key: str | None, print_: str, ref: int) -> None:
        """Write the key, as the first statement of the transaction. Raises Repeated when it is there already."""
        if key is None:
            return
        try:
            await tx.execute(
                "INSERT INTO request_keys (user_id, request_key, fingerprint, ref, created_at) VALUES (?, ?, ?, ?, ?)",
                (user_id, key, print_, ref, self._clock()),
            )
        except ConstraintError:
            raise Repeated from None

    async def earlier(self, user_id: int, key: str | None, print_: str) -> int | None:
        """The id that this key's request made; None when the key is new. Raises Taken when it asked for something
        else."""
        if key is None:
            return None
        found = await self._db.execute(
            "SELECT fingerprint, ref FROM request_keys WHERE user_id = ? AND request_key = ?", (user_id, key)
        )
        row = found.first()
        if row is None:
            return None
        if row["fingerprint"] != print_:
            message = "This Idempotency-Key was used for another request."
            raise Taken(message, fields={"request_key": message})
        return int(row["ref"])

    async def tidy(self, user_id: int) -> None:
        """Remove the user's keys that are older than KEPT_S."""
        before = self._clock() - KEPT_S * 1000
        await self._db.execute("DELETE FROM request_keys WHERE user_id = ? AND created_at < ?", (user_id, before))
