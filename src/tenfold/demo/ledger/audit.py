"""`python -m tenfold.demo.ledger.audit`: adds all money up. Edge.

On quiet data, whatever crashed before:
* all entries, and what is on its way between two wallets, sum to zero;
* each balance is the sum of its user's entries on the account "wallet".

A transfer is on its way from its debit until its credit, marked done or not: a crash may come between the
credit and the mark. While money moves, shards are read at slightly different moments and the sums may differ.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass

import tenfold
from tenfold.demo.ledger.store.entries import WALLET
from tenfold.errors import TenfoldError


@dataclass(frozen=True, slots=True)
class Audit:
    """entries: sum of all; on_the_way: sum of transfers that have not arrived; wrong_balances: users whose balance
    is not the sum of their entries."""

    users: int
    entries: int
    on_the_way: int
    unmarked: int
    wrong_balances: int

    @property
    def balances(self) -> bool:
        """Whether the books balance."""
        return self.entries + self.on_the_way == 0 and self.wrong_balances == 0


def audit(db: tenfold.Database) -> Audit:
    """Read all shards. Raises TenfoldError."""
    wallets: Counter[int] = Counter()
    total = 0
    for user_id, account, amount in db.execute("SELECT user_id, account, amount FROM transactions"):
        total += amount
        if account == WALLET:
            wallets[user_id] += amount
    users = db.execute("SELECT id, balance FROM users")
    unmarked = db.execute("SELECT id, receiver_id, amount FROM outbox WHERE done_at IS NULL")
    on_the_way = sum(row["amount"] for row in unmarked if not _arrived(db, row))
    return Audit(
        users=len(users),
        entries=total,
        on_the_way=on_the_way,
        unmarked=len(unmarked),
        wrong_balances=sum(balance != wallets[user_id] for user_id, balance in users),
    )


def _arrived(db: tenfold.Database, row: tenfold.Row) -> bool:
    found = db.execute(
        "SELECT amount FROM credits WHERE user_id = ? AND transfer_id = ?", (row["receiver_id"], row["id"])
    )
    return found.first() is not None


def main() -> int:
    """Print the sums as JSON; 0 when the books balance, 1 when not."""
    try:
        with tenfold.connect() as db:
            found = audit(db)
    except TenfoldError as error:
        print(f"error: {error}\nTry: {error.hint}" if error.hint else f"error: {error}", file=sys.stderr)  # noqa: T201
        return 75 if error.retryable else 1
    print(json.dumps({**asdict(found), "balances": found.balances}))  # noqa: T201
    return 0 if found.balances else 1


if __name__ == "__main__":
    sys.exit(main())
