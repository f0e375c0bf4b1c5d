"""Who answers the statements of `bench_sql`: bare drivers, one of them by a Spider head, and Tenfold. Edge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import asyncmy
import pymysql
from tests.mariadb import PASSWORD, Server

import tenfold
from benchmarks.mariadb import DATABASE, SESSION
from benchmarks.platforms import SHARDS
from tenfold.sharding.buckets import first_fill
from tenfold.sharding.keys import KeyType, bucket_of

Call = Callable[[int], object]
AsyncCall = Callable[[int], Awaitable[object]]
OWNERS = first_fill(dict.fromkeys(SHARDS, 1))


@dataclass(frozen=True)
class Operation:
    """sql with `?`; params: of the nth call, n from 0; asyncio: measured under asyncio too; reads: changes nothing."""

    name: str
    sql: str
    params: Callable[[int], tuple[Any, ...]]
    asyncio: bool = False
    reads: bool = True


def owner(user_id: int) -> str:
    """The shard of a user's rows."""
    return OWNERS[bucket_of(user_id, KeyType.INTEGER)]


def connected(server: Server, module: Any = pymysql) -> Any:
    """A bare connection with Tenfold's session settings, by PyMySQL or mysqlclient."""
    settings: dict[str, Any] = {"ssl_disabled": True} if module is pymysql else {"ssl_mode": "DISABLED"}
    connection = module.connect(
        host="127.0.0.1", port=server.port, user=server.account, password=PASSWORD, database=DATABASE,
        charset="utf8mb4", autocommit=True, **settings,
    )  # fmt: skip
    with closing(connection.cursor()) as cursor:
        cursor.execute(SESSION)
    return connection


def bare(connection: Any, operation: Operation) -> Call:
    """An operation by a PEP 249 connection that speaks %s."""
    sql, params = operation.sql.replace("?", "%s"), operation.params

    def call(number: int) -> object:
        with closing(connection.cursor()) as cursor:
            cursor.execute(sql, params(number))
            return cursor.fetchall()

    return call


def routed(connections: dict[str, Any], operation: Operation) -> Call:
    """An operation on one key by bare connections to three servers, for an application that hashes the key itself."""
    sql, params = operation.sql.replace("?", "%s"), operation.params

    def call(number: int) -> object:
        values = params(number)
        with closing(connections[owner(values[0])].cursor()) as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    return call


async def connected_async(server: Server) -> Any:
    """A bare asyncmy connection with Tenfold's session settings."""
    connection = await asyncmy.connect(
        host="127.0.0.1", port=server.port, user=server.account, password=PASSWORD, database=DATABASE,
        charset="utf8mb4", autocommit=True,
    )  # fmt: skip
    async with connection.cursor() as cursor:
        await cursor.execute(SESSION)
    return connection


def bare_async(connection: Any, operation: Operation) -> AsyncCall:
    """An operation by an asyncmy connection."""
    sql, params = operation.sql.replace("?", "%s"), operation.params

    async def call(number: int) -> object:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, params(number))
            return await cursor.fetchall()

    return call


def through(db: tenfold.Database, operation: Operation) -> Call:
    """An operation by Tenfold."""
    return lambda number: db.execute(operation.sql, operation.params(number)).rows


def through_async(db: tenfold.AsyncDatabase, operation: Operation) -> AsyncCall:
    """An operation by Tenfold under asyncio."""

    async def call(number: int) -> object:
        return (await db.execute(operation.sql, operation.params(number))).rows

    return call


def on_threads(calls: Sequence[Call], seconds: float) -> float:
    """Calls a second of so many threads, each with a call of its own."""
    done = [0] * len(calls)
    go = threading.Event()
    until = 0.0

    def work(place: int) -> None:
        go.wait()
        while time.perf_counter() < until:
            calls[place](done[place] * len(calls) + place)
            done[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    until = started + seconds
    go.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


async def on_tasks(calls: Sequence[AsyncCall], seconds: float) -> float:
    """Calls a second of so many tasks, each with a call of its own."""
    started = time.perf_counter()

    async def work(place: int) -> int:
        done = 0
        while time.perf_counter() < started + seconds:
            await calls[place](done * len(calls) + place)
            done += 1
        return done

    done = await asyncio.gather(*(work(place) for place in range(len(calls))))
    return sum(done) / (time.perf_counter() - started)
