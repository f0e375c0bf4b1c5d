"""The currencies: a reference table, which every shard holds in full. Edge."""

from __future__ import annotations

import tenfold
from tenfold.demo.ledger.amounts import Currency


class Currencies:
    """Read once: they change with a release, not while the app runs."""

    def __init__(self, db: tenfold.AsyncDatabase) -> None:
        self._db = db
        self._held: dict[str, Currency] = {}

    async def all(self) -> dict[str, Currency]:
        """Code → currency, in order of the codes."""
        if not self._held:
            rows = await self._db.execute("SELECT code, name, digits FROM currencies")
            self._held = {row["code"]: Currency(*row) for row in sorted(rows, key=lambda row: str(row["code"]))}
        return self._held

    async def of(self, code: str) -> Currency:
        """The currency with this code; a wallet's code is always one of the table."""
        return (await self.all())[code]
