"""Options of the site, and who may change them. Edge."""

from __future__ import annotations

from collections.abc import Mapping

import tenfold
from tenfold.demo.ledger.store.cache import Cache
from tenfold.errors import ConstraintError, NodeError

DEFAULTS = {
    "site_title": "Ledger",
    "site_tagline": "Money and words, over three shards.",
    "sign_ups": "open",
    "comments": "open",
}
ADMIN = "admin_id"
_KEY = "options"


class Options:
    """name → value, all text. The option `admin_id` names the administrator: the first who signed up."""

    def __init__(self, db: tenfold.AsyncDatabase, cache: Cache) -> None:
        self._db = db
        self._cache = cache

    async def all(self) -> dict[str, str]:
        """Every option, with the defaults for what nobody has set."""

        async def load() -> dict[str, str]:
            return {name: value for name, value in await self._db.execute("SELECT name, value FROM options")}

        return {**DEFAULTS, **await self._cache.read_through(_KEY, load)}

    async def shown(self) -> dict[str, str]:
        """As all(), but the defaults while their shard is away: a page about money needs no title."""
        try:
            return await self.all()
        except NodeError:
            return dict(DEFAULTS)

    async def is_open(self, name: str) -> bool:
        """Whether the switch `name` is on."""
        return (await self.all())[name] == "open"

    async def change(self, chosen: Mapping[str, str]) -> None:
        """Set these options, all or none."""
        async with self._db.transaction() as tx:
            for name, value in chosen.items():
                await tx.execute("DELETE FROM options WHERE name = ?", (name,))
                await tx.execute("INSERT INTO options (name, value) VALUES (?, ?)", (name, value))
        await self._cache.forget(_KEY)

    async def is_admin(self, user_id: int) -> bool:
        """Whether this user may write posts and pages and change options."""
        return (await self.shown()).get(ADMIN) == str(user_id)

    async def offer_admin(self, user_id: int) -> None:
        """Make the user administrator if there is none yet. The primary key of the table lets only one win."""
        try:
            if ADMIN not in await self.all():
                await self._db.execute("INSERT INTO options (name, value) VALUES (?, ?)", (ADMIN, str(user_id)))
                await self._cache.forget(_KEY)
        except ConstraintError:
            await self._cache.forget(_KEY)
        except NodeError:
            # The account is there and good; the office goes to the next who signs up.
            return
