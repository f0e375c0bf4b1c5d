"""What the agent asks to learn whether something answers: over HTTP, of a shard, of Redis. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from tenfold.monitor.collect.health import Answer
from tenfold.monitor.collect.probes import Aside, Question
from tenfold.runtime.life import State
from tenfold.runtime.probe import status_of
from tenfold.runtime.programs import Address, Program, cache_url
from tenfold.runtime.record import Entry
from tenfold.topology.model import Cache, Engine, Topology

# Below the time that the prober waits, so that we can still say why.
TIMEOUT_S = 1.5
CACHE_TIMEOUT_S = 1.0
CACHE = "redis"


def of_program(program: Program, entry: Callable[[], Entry | None]) -> Question:
    """Asks a program for its health page.

    entry  tells what the supervisor says of it: a process that has ended is down, even if the next one already answers
    """
    seen: int | None = None

    async def ask() -> Answer | None:
        nonlocal seen
        known = entry()
        if known is None or (not known.restarts and known.state in (State.WAITING, State.STARTING)):
            return None  # it has not been up yet
        if known.state == State.RESTARTING:
            return Answer(error="it is being restarted, as it was asked for", certain=True)
        if known.state != State.UP or known.pid is None:
            return Answer(error=f"its process has ended ({known.state})", certain=True)
        before, seen = seen, known.pid
        if before not in (None, known.pid):
            return Answer(error="its process ended and was started again", certain=True)
        return await _asked(program)

    return ask


def of_elsewhere(program: Program) -> Question:
    """Asks a program of another host for its health page; what its supervisor says is not known here."""

    async def ask() -> Answer:
        return await _asked(program)

    return ask


async def _asked(program: Program) -> Answer:
    status = await status_of(program.address, program.health, program.host, TIMEOUT_S)
    if status is None:
        return Answer(error=await _why_silent(program.address))
    if status not in program.well:
        return Answer(error=f"answers {program.health} with {status}")
    return Answer()


async def _why_silent(address: Address) -> str:
    """Why there was no HTTP answer, in a word that tells a dead process from one that hangs."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address.host, address.port), TIMEOUT_S / 4)
    except ConnectionRefusedError:
        return "refuses connections"
    except (OSError, TimeoutError):
        return "cannot be reached"
    writer.close()
    return f"accepts connections and does not answer within {TIMEOUT_S:g} s"


SHARD_TIMEOUT_S = 2.0
_SIZES = {
    # Of a table, for without one SQLite does not even look at the file; what it answers is not used.
    Engine.SQLITE: "SELECT COUNT(*) FROM (SELECT 1 FROM sqlite_master LIMIT 1)",
    Engine.MYSQL: "SELECT SUM(data_length + index_length) FROM information_schema.tables"
    " WHERE table_schema = DATABASE()",
}


def shards(topology: Topology) -> dict[str, Question]:
    """For each shard: open a connection, read a little, and say how large it is."""
    return {name: Aside(_shard(topology, name)) for name in topology.database.shards}


def _shard(topology: Topology, shard: str) -> Callable[[], Answer]:
    engine = topology.database.engine
    # A server that hangs is found out soon, however patient the application is.
    patience = {"connect_s": SHARD_TIMEOUT_S, "statement_s": SHARD_TIMEOUT_S}
    asked = topology.model_copy(update={"database": topology.database.model_copy(update=patience)})

    def ask() -> Answer:
        # Here, not above: they bring the parser of SQL, which takes longer to import than the agent may take to answer.
        from tenfold.sharding.engine.router import opener
        from tenfold.sharding.engine.sqlite import sqlite_path

        driver = opener(asked, shard, mode="ro")()
        try:
            size = driver.execute(_SIZES[engine], ()).rows[0][0]
        finally:
            driver.close()
        if engine is Engine.MYSQL:
            return Answer(size_bytes=int(size or 0))
        path = sqlite_path(topology.database.shards[shard].url, topology.root)
        # What is in the write-ahead log belongs to the shard as well.
        files = [path, path.with_name(f"{path.name}-wal")]
        return Answer(size_bytes=sum(file.stat().st_size for file in files if file.exists()))

    return ask


def cache(settings: Cache) -> Question:
    """PING to Redis, with its password, on a connection of its own."""

    async def ask() -> Answer:
        from redis.asyncio import Redis
        from redis.exceptions import AuthenticationError, RedisError

        client = Redis.from_url(
            cache_url(settings),
            socket_timeout=CACHE_TIMEOUT_S,
            socket_connect_timeout=CACHE_TIMEOUT_S,
            single_connection_client=True,
        )
        place = urlsplit(settings.url).netloc.rpartition("@")[2]
        try:
            await client.ping()
        except AuthenticationError:
            return Answer(error=f"{place} refuses the password")
        except RedisError as error:
            # Its texts may hold the address as it was given; the password is in that.
            return Answer(error=f"{place} does not answer ({type(error).__name__})")
        finally:
            await client.aclose()
        return Answer()

    return ask
