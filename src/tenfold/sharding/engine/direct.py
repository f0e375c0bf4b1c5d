"""The statement of one bucket of which nothing else is to be done: sent at once, without steps. Edge.

What is read and written most by far. None: the lease ran out, before it was sent or meanwhile, and `Guard.execute` is
to run it; nothing of it was done.
"""

from __future__ import annotations

from collections.abc import Callable

from tenfold.errors import FenceError
from tenfold.sharding.engine.async_pools import AsyncPool
from tenfold.sharding.engine.errand import settle
from tenfold.sharding.engine.pools import Pool
from tenfold.sharding.ports import Params, Reply


def ask(pool: Pool, sql: str, params: Params, holds: Callable[[], bool]) -> Reply | None:
    """On a thread."""
    link = pool.acquire()
    if not holds():
        pool.release(link)
        return None
    try:
        reply = link.driver.execute(sql, params)
    except BaseException as error:
        settle(pool, link, error)
        if isinstance(error, FenceError):
            return None
        raise
    pool.release(link)
    return trusted(reply, holds)


async def ask_async(pool: AsyncPool, sql: str, params: Params, holds: Callable[[], bool]) -> Reply | None:
    """In a task."""
    link = pool.at_once() or await pool.acquire()
    if not holds():
        pool.release(link)
        return None
    try:
        reply = await link.driver.execute(sql, params)
    except BaseException as error:
        settle(pool, link, error)
        if isinstance(error, FenceError):
            return None
        raise
    pool.release(link)
    return trusted(reply, holds)


def trusted(reply: Reply, holds: Callable[[], bool]) -> Reply | None:
    """The answer, unless what it read may have been elsewhere by then. A write that found its row did find it."""
    if not holds() and (reply.columns or not reply.rowcount):
        return None
    reply.lastrowid = None  # of whatever was inserted last on this connection
    return reply
