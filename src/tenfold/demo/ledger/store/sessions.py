"""Who is signed in: the database is the truth, the cache a fast copy. Edge.

A token is "<user id>.<secret>": the id leads to the user's shard, the secret is what counts. Only the
secret's SHA-256 is stored, so that whoever reads the database or the cache cannot sign in with it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable

import tenfold
from tenfold.demo.ledger.store.cache import TTL_S, Cache

LIFETIME_S = 30 * 24 * 3600
_TOKEN = re.compile(r"([0-9]{1,19})\.([A-Za-z0-9_-]{43})")


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, db: tenfold.AsyncDatabase, cache: Cache, clock: Callable[[], int]) -> None:
        self._db = db
        self._cache = cache
        self._clock = clock

    async def open(self, user_id: int) -> str:
        """Sign the user in for LIFETIME_S and return the token. What of theirs has run out is tidied away."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        await self._db.execute("DELETE FROM sessions WHERE user_id = ? AND expires_at <= ?", (user_id, now))
        await self._db.execute(
            "INSERT INTO sessions (user_id, token_hash, created_at, expires_at) VALUES (?, ?, ?, ?)",
            (user_id, _hash(secret), now, now + LIFETIME_S * 1000),
        )
        return f"{user_id}.{secret}"

    async def find(self, token: str | None) -> int | None:
        """The user whose valid session this is; None for every other text."""
        parts = _parts(token)
        if parts is None:
            return None
        user_id, hashed = parts

        async def load() -> int | None:
            found = await self._db.execute(
                "SELECT expires_at FROM sessions WHERE user_id = ? AND token_hash = ?", (user_id, hashed)
            )
            expires_at: int | None = found.scalar()
            return expires_at

        expires_at = await self._cache.read_through(_key(user_id, hashed), load, TTL_S)
        return user_id if expires_at is not None and expires_at > self._clock() else None

    async def end(self, token: str | None) -> None:
        """Sign out: the token is worth nothing from now on."""
        parts = _parts(token)
        if parts is not None:
            await self._db.execute("DELETE FROM sessions WHERE user_id = ? AND token_hash = ?", parts)
            await self._cache.forget(_key(*parts))


def _parts(token: str | None) -> tuple[int, str] | None:
    found = _TOKEN.fullmatch(token or "")
    if not found or int(found[1]) >= 2**63:
        return None
    return int(found[1]), _hash(found[2])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(user_id: int, hashed: str) -> str:
    return f"session:{user_id}:{hashed}"
