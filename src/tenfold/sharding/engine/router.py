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
from pathlib import Path
from typing import Protocol

from tenfold.errors import StatementError
from tenfold.sharding.catalog import IDENTITY, check_identity
from tenfold.sharding.engine.pools import AsyncPool, Pool, closed
from tenfold.sharding.engine.runners import Runner
from tenfold.sharding.engine.sqlite import SqliteDriver, sqlite_path
from tenfold.sharding.execute import Catalog, Executor
from tenfold.sharding.ports import Driver
from tenfold.topology.load import load as load_topology
from tenfold.topology.model import Topology

# The parser warns on standard error of what it cannot parse; we refuse such a statement by name.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

THREADS = 32
"""At most so many threads wait for shards in one process."""


def read_topology(path: str | os.PathLike[str] | None, environment: str | None) -> Topology:
    """The file that a process connects by: `path`, else $TENFOLD_FILE, else ./tenfold.toml."""
    file = path if path is not None else os.environ.get("TENFOLD_FILE") or "tenfold.toml"
    return load_topology(Path(file), environment or os.environ.get("TENFOLD_ENV") or None)


def opener(topology: Topology, shard: str, mode: str = "rw") -> Callable[[], Driver]:
    """Opens a connection to a shard of the file, whoever the shard is."""
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
    """A thread pool made when it is first needed, and again after a fork."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self) -> ThreadPoolExecutor:
        """The pool. Raises PlatformError once it is closed."""
        pool = self._pool
        if pool is None:
            with self._lock:
                if self._closed:
                    raise closed()
                pool = self._pool = self._pool or ThreadPoolExecutor(THREADS, "tenfold-shard")
        return pool

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def forget(self) -> None:
        """In the child of a fork: its threads do not exist there."""
        self._pool = None
        self._lock = threading.Lock()


@contextmanager
def one_off_runner(topology: Topology, mode: str = "rw") -> Iterator[Runner]:
    """A runner over all shards of the file for one errand; its connections are closed after it."""
    threads = Threads()
    pools = {shard: Pool(shard, opener(topology, shard, mode), 2, 5.0) for shard in topology.database.shards}
    errand = _Errand(pools, threads)
    survive_forks(errand, pools)
    try:
        yield Runner(pools, threads)
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
    return Executor(catalog, threading.Lock(), topology.database.lock_wait_s)
