"""Accounts: signing up, checking a password, the profile. Edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tenfold
from tenfold.demo.ledger.forms import SignUp
from tenfold.demo.ledger.problems import Missing, NotSignedIn, Refused, Taken
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.store.cache import Cache
from tenfold.demo.ledger.store.options import Options
from tenfold.demo.ledger.store.passwords import Passwords
from tenfold.errors import ConstraintError

_TAKEN = "This e-mail address has an account already."


class Accounts:
    """The tables users and user_meta."""

    def __init__(
        self,
        db: tenfold.AsyncDatabase,
        cache: Cache,
        passwords: Passwords,
        options: Options,
        clock: Callable[[], int],
    ) -> None:
        self._db = db
        self._cache = cache
        self._passwords = passwords
        self._options = options
        self._clock = clock

    async def sign_up(self, wanted: SignUp) -> Person:
        """Create the account. Raises Taken, Refused while the site is closed to new accounts, or Busy."""
        if not await self._options.is_open("sign_ups"):
            raise Refused("This site takes no new accounts at the moment.")
        async with self._passwords.turn() as turn:
            # Asked once it is our turn: of many who ask for one address at once, only the first costs a hash.
            # Tenfold's reservation, not this question, keeps the address unique.
            if await self.by_email(wanted.email):
                raise Taken(_TAKEN, fields={"email": _TAKEN})
            password_hash = await turn.hash(wanted.password)
        try:
            added = await self._db.execute(
                "INSERT INTO users (email, name, password_hash, currency, balance, created_at)"
                " VALUES (?, ?, ?, ?, 0, ?)",
                (wanted.email, wanted.name, password_hash, wanted.currency, self._clock()),
            )
        except ConstraintError:
            raise Taken(_TAKEN, fields={"email": _TAKEN}) from None
        user_id = added.lastrowid
        assert user_id is not None  # noqa: S101  # users take their ids from Tenfold
        await self._options.offer_admin(user_id)
        return Person(user_id, wanted.email, wanted.name, wanted.currency)

    async def check(self, email: str, password: str) -> Person:
        """The person with this address and password; raises NotSignedIn, in the same time for a wrong address as
        for a wrong password, or Busy."""
        found = await self._db.execute(
            "SELECT id, email, name, currency, password_hash FROM users WHERE email = ?", (email,)
        )
        row = found.first()
        async with self._passwords.turn() as turn:
            if not await turn.verify(row["password_hash"] if row else None, password) or row is None:
                raise NotSignedIn("The e-mail address and the password do not belong together.")
            if self._passwords.outdated(row["password_hash"]):
                renewed = await turn.hash(password)
                await self._db.execute("UPDATE users SET password_hash = ? WHERE id = ?", (renewed, row["id"]))
        return Person(row["id"], row["email"], row["name"], row["currency"])

    async def by_email(self, email: str) -> Person | None:
        """The person with this address: one shard is asked, because the column is reserved."""
        found = await self._db.execute("SELECT id, email, name, currency FROM users WHERE email = ?", (email,))
        row = found.first()
        return Person(*row) if row else None

    async def person(self, user_id: int) -> Person:
        """The person with this id. Raises Missing."""

        async def load() -> list[Any] | None:
            found = await self._db.execute("SELECT id, email, name, currency FROM users WHERE id = ?", (user_id,))
            row = found.first()
            return list(row) if row else None

        held = await self._cache.read_through(f"person:{user_id}", load)
        if held is None:
            raise Missing("There is no such account.")
        return Person(*held)

    async def meta(self, user_id: int) -> dict[str, str]:
        """The extra facts of a profile: name → value."""

        async def load() -> dict[str, str]:
            rows = await self._db.execute("SELECT name, value FROM user_meta WHERE user_id = ?", (user_id,))
            return {name: value for name, value in rows}

        return await self._cache.read_through(f"meta:{user_id}", load)

    async def change_profile(self, user_id: int, name: str, meta: Mapping[str, str]) -> None:
        """Set the name and replace all extra facts, in one transaction."""
        async with self._db.transaction() as tx:
            await tx.execute("UPDATE users SET name = ? WHERE id = ?", (name, user_id))
            await tx.execute("DELETE FROM user_meta WHERE user_id = ?", (user_id,))
            for fact, value in meta.items():
                await tx.execute(
                    "INSERT INTO user_meta (user_id, name, value) VALUES (?, ?, ?)", (user_id, fact, value)
                )
        await self._cache.forget(f"person:{user_id}", f"meta:{user_id}")
