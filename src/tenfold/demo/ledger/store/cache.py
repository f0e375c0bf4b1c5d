"""Redis in front of the database: a fast copy of what is read often, never the truth. Edge.

Reads go through: what Redis does not hold is loaded from the database and kept for TTL_S. A write changes
the database first and then forgets the copy. Two races are left, and both are bounded:

* A reader may load the old row, lose the processor, and store it after the writer forgot the copy. So
  forgetting leaves a mark for MARK_S, and a copy is stored only where there is neither copy nor mark (NX).
  Only a reader slower than MARK_S still stores an old row; it is gone after TTL_S.
* Redis may be out of reach when a copy is to be forgotten. The key is then owed, and paid before this
  process reads from Redis again; other processes may see the old copy until TTL_S at most.

Every failure and time-out is answered by the database. After one, Redis is left alone for PAUSE_S, so
that a dead or hanging one costs a time-out now and then, not on every request. Balances are never cached.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TTL_S = 60
MARK_S = 5
TIMEOUT_S = 0.1
PAUSE_S = 1.0
CONNECTIONS = 32
MAX_OWED = 10_000

_MARK = ""
_log = logging.getLogger("uvicorn.error")
T = TypeVar("T")


class Cache:
    """Values are what JSON can hold. Without a URL it holds nothing and costs nothing."""

    def __init__(self, url: str, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix = prefix
        self._clock = clock
        self._paused_until = 0.0
        self._owed: set[str] = set()
        self._redis = _connect(url) if url else None

    async def read_through(self, key: str, load: Callable[[], Awaitable[T]], ttl_s: int = TTL_S) -> T:
        """The copy of `key`, else what `load` returns, kept for ttl_s unless it is None. T is what JSON gives back."""
        if self._redis is None:
            return await load()
        held = await self._ask(lambda redis: redis.get(self._prefix + key))
        if held:
            copy: T = json.loads(held)
            return copy
        loaded = await load()
        if loaded is not None and ttl_s > 0:
            text = json.dumps(loaded, separators=(",", ":"))
            await self._ask(lambda redis: redis.set(self._prefix + key, text, ex=ttl_s, nx=True))
        return loaded

    async def forget(self, *keys: str) -> None:
        """Drop the copies; call it after the commit."""
        if self._redis is None:
            return
        self._owed.update(keys)
        if len(self._owed) > MAX_OWED:  # all of them are older copies than TTL_S before so many could gather again
            self._owed = set(keys)
        await self._ask(None)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask(self, command: Callable[[Redis], Awaitable[Any]] | None) -> Any:
        """What Redis answers; None when it does not, or when it is being left alone. Pays what is owed first."""
        if self._redis is None or self._clock() < self._paused_until:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._pay(self._redis)
                return await command(self._redis) if command else None
        except (RedisError, OSError, TimeoutError) as error:
            if self._paused_until <= self._clock():
                _log.warning("cache: %s; the database answers for %.0f s", type(error).__name__, PAUSE_S)
            self._paused_until = self._clock() + PAUSE_S
            return None

    async def _pay(self, redis: Redis) -> None:
        if not self._owed:
            return
        paying = set(self._owed)
        async with redis.pipeline(transaction=False) as pipe:
            for key in paying:
                pipe.set(self._prefix + key, _MARK, ex=MARK_S)
            await pipe.execute()
        self._owed -= paying


def _connect(url: str) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # the database is the second try
        decode_responses=True,
    )
    return Redis.from_pool(pool)
