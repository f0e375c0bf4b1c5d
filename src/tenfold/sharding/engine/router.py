"""The router of a process: pools, catalog and executor put together, and what a fork must not share. Edge."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tenfold.sharding.adopt import check_identity
from tenfold.sharding.catalog import IDENTITY
from tenfold.sharding.engine.pools import Pool
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
                check_identity(shard, dict(driver.execute(IDENTITY, ()).rows), known.cluster)
            except BaseException:
                driver.close()
                raise
        return driver

    return open_member


class Threads:
    """A thread pool made when it is first needed, and again after a fork."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __call__(self) -> ThreadPoolExecutor:
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or ThreadPoolExecutor(THREADS, "tenfold-shard")
        return self._pool

    def close(self) -> None:
        """Wait for what runs and end the threads."""
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
    try:
        yield Runner(pools, threads)
    finally:
        threads.close()
        for pool in pools.values():
            pool.close()


class Forkable(Protocol):
    """Something that must begin anew in the child of a fork."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent."""


_living: weakref.WeakSet[Forkable] = weakref.WeakSet()


def survive_forks(handle: Forkable) -> None:
    """Have `handle.after_fork()` called in every child that this process forks."""
    _living.add(handle)


def _in_child() -> None:
    for handle in list(_living):
        handle.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def new_executor(catalog: Catalog, topology: Topology) -> Executor:
    """An executor with its lock."""
    return Executor(catalog, threading.Lock(), topology.database.lock_wait_s)
