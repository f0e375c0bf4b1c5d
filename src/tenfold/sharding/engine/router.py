"""The router of a process: pools, catalog and executor put together, and what a fork must not share. Edge."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tenfold.errors import StatementError
from tenfold.sharding.catalog import IDENTITY, check_identity
from tenfold.sharding.engine.async_pools import AsyncDriver, AsyncPool, AsyncSource
from tenfold.sharding.engine.asyncmysql import AsyncMysqlDriver
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import mysql_options
from tenfold.sharding.engine.pools import Pool, Source, drop_socket, hung_up
from tenfold.sharding.engine.runners import Runner
from tenfold.sharding.engine.sqlite import SqliteDriver, scratch_driver, sqlite_path
from tenfold.sharding.engine.threaded import ThreadedDriver, threaded_source
from tenfold.sharding.execute import Executor
from tenfold.sharding.poolrules import Rules, closed, rules_of, side_rules
from tenfold.sharding.ports import SCRATCH, Driver, side
from tenfold.sharding.view import Catalog
from tenfold.topology.load import load as load_topology
from tenfold.topology.model import Engine, Topology

# The parser warns on standard error of what it cannot parse; we refuse such a statement by name.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def read_topology(path: str | os.PathLike[str] | None, environment: str | None) -> Topology:
    """The file that a process connects by: `path`, else $TENFOLD_FILE, else ./tenfold.toml."""
    return load_topology(named_file(path), named_environment(environment))


def named_file(path: str | os.PathLike[str] | None) -> Path:
    """`path`, else $TENFOLD_FILE, else ./tenfold.toml."""
    return Path(path if path is not None else os.environ.get("TENFOLD_FILE") or "tenfold.toml")


def named_environment(environment: str | None) -> str | None:
    """`environment`, else $TENFOLD_ENV, else none."""
    return environment or os.environ.get("TENFOLD_ENV") or None


def opener(topology: Topology, shard: str, mode: str = "rw") -> Callable[[], Driver]:
    """Opens a connection to a shard of the file, whoever the shard is; `mode` matters to SQLite alone."""
    if topology.database.engine is Engine.MYSQL:
        options = mysql_options(topology, shard)
        return lambda: MysqlDriver(options)
    path = sqlite_path(topology.database.shards[shard].url, topology.root)
    return lambda: SqliteDriver(shard, path, topology.database.lock_wait_s, mode=mode)


def member_opener(topology: Topology, shard: str, catalog: Callable[[], Catalog | None]) -> Callable[[], Driver]:
    """Opens a connection and sees that the database at its other end is the shard of this platform."""
    plain = opener(topology, shard)

    def open_member() -> Driver:
        driver = plain()
        known = catalog()
        if known is not None:
            try:
                check_identity(shard, _identity(driver), known.cluster)
            except BaseException:
                driver.close()
                raise
        return driver

    return open_member


def _identity(driver: Driver) -> dict[str, str]:
    try:
        return dict(driver.execute(IDENTITY, ()).rows)
    except StatementError:  # no such table
        return {}


class Threads:
    """Threads for each shard, at most `per_shard`, made when they are first needed, and again after a fork.

    Each shard has its own, so that one that hangs holds up nobody who needs another.
    """

    def __init__(self, per_shard: int) -> None:
        self._size = per_shard
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, shard: str) -> ThreadPoolExecutor:
        """The threads of a shard. Raises PlatformError once they are closed."""
        pool = self._pools.get(shard)
        if pool is None:
            with self._lock:
                if self._closed:
                    raise closed()
                pool = self._pools.get(shard) or ThreadPoolExecutor(self._size, f"tenfold-{shard}")
                self._pools[shard] = pool
        return pool

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        with self._lock:
            self._closed = True
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown()

    def forget(self) -> None:
        """In the child of a fork: its threads do not exist there."""
        self._pools = {}
        self._lock = threading.Lock()


def new_pools(topology: Topology, catalog: Callable[[], Catalog | None]) -> dict[str, Pool]:
    """A pool for each shard; once the catalog is known, each connection is checked to be to a shard of it."""
    database = topology.database
    found = {}
    for shard in database.shards:
        source = source_of(topology, member_opener(topology, shard, catalog))
        found[shard] = Pool(rules_of(shard, database), source)
        found[side(shard)] = Pool(side_rules(shard, database), source)
    return found


def source_of(topology: Topology, open_one: Callable[[], Driver]) -> Source:
    """A source of connections of the platform's engine."""
    if topology.database.engine is Engine.MYSQL:
        return Source(open_one, drop=drop_socket, alone=False, starts=True, stale=hung_up)
    return Source(open_one, locks=True)


def scratch_of(topology: Topology) -> Callable[[], Driver] | None:
    """What opens a scratch database; None: a connection to a shard is one."""
    return None if topology.database.engine is Engine.MYSQL else scratch_driver


def new_async_pools(topology: Topology, catalog: Catalog, threads: Threads) -> dict[str, AsyncPool]:
    """As `new_pools`, for tasks."""
    database = topology.database
    found = {}
    for shard in database.shards:
        for name, rules in ((shard, rules_of(shard, database)), (side(shard), side_rules(shard, database))):
            found[name] = AsyncPool(rules, _async_source(topology, shard, catalog, partial(threads, name)))
    return found


def _async_source(
    topology: Topology, shard: str, catalog: Catalog, threads: Callable[[], ThreadPoolExecutor]
) -> AsyncSource:
    if topology.database.engine is not Engine.MYSQL:
        return threaded_source(member_opener(topology, shard, lambda: catalog), threads)
    options = mysql_options(topology, shard)

    async def open_member() -> AsyncDriver:
        driver = await AsyncMysqlDriver.connect(options)
        try:
            check_identity(shard, await _identity_async(driver), catalog.cluster)
        except BaseException:
            driver.close()
            raise
        return driver

    return AsyncSource(open_member, drop=drop_socket, alone=False, starts=True, stale=AsyncMysqlDriver.has_news)


async def _identity_async(driver: AsyncDriver) -> dict[str, str]:
    try:
        return dict((await driver.execute(IDENTITY, ())).rows)
    except StatementError:  # no such table
        return {}


def async_scratch_of(topology: Topology, threads: Threads) -> Callable[[], AsyncDriver] | None:
    """As `scratch_of`, for tasks."""
    scratch = scratch_of(topology)
    return None if scratch is None else lambda: ThreadedDriver(scratch(), partial(threads, SCRATCH))


@contextmanager
def one_off_runner(topology: Topology, mode: str = "rw") -> Iterator[Runner]:
    """A runner over all shards of the file for one errand; its connections are closed after it."""
    threads = Threads(2)
    pools = {
        name: Pool(Rules(shard, 2, 5.0), source_of(topology, opener(topology, shard, mode)))
        for shard in topology.database.shards
        for name in (shard, side(shard))
    }
    errand = _Errand(pools, threads)
    survive_forks(errand, pools)
    try:
        yield Runner(pools, threads, scratch=scratch_of(topology))
    finally:
        del _living[errand]
        threads.close()
        for pool in pools.values():
            pool.close()


class Forkable(Protocol):
    """Something that must begin anew in the child of a fork."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent."""


@dataclass(eq=False)
class _Errand:
    """The connections of a `one_off_runner`."""

    pools: Mapping[str, Pool]
    threads: Threads

    def after_fork(self) -> None:
        for pool in self.pools.values():
            pool.forget()
        self.threads.forget()


FORK_WAIT_S = 1.0
"""How long a fork waits for statements of other threads to end."""
_living: weakref.WeakKeyDictionary[Forkable, Mapping[str, Pool | AsyncPool]] = weakref.WeakKeyDictionary()
_forking = threading.Lock()


def survive_forks(handle: Forkable, pools: Mapping[str, Pool | AsyncPool]) -> None:
    """Have none of `pools` connected while this process forks, and `handle.after_fork()` called in the child."""
    _living[handle] = pools


def _living_pools() -> list[Pool | AsyncPool]:
    return [pool for pools in list(_living.values()) for pool in pools.values()]


def _before_fork() -> None:
    _forking.acquire()
    until_s = time.monotonic() + FORK_WAIT_S
    for pool in _living_pools():
        pool.hold(until_s)


def _in_parent() -> None:
    for pool in _living_pools():
        pool.resume()
    _forking.release()


def _in_child() -> None:
    global _forking
    _forking = threading.Lock()
    for handle in list(_living):
        handle.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def new_executor(catalog: Catalog, topology: Topology) -> Executor:
    """An executor with its lock."""
    database = topology.database
    return Executor(catalog, threading.Lock(), database.lock_wait_s, database.pull_rows)
