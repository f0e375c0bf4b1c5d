"""Keeps a process's view of the catalog fresh, and its name on the catalog's list of routers. Edge."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tenfold.errors import ConstraintError, TenfoldError
from tenfold.sharding.catalog import SCHEMA_VERSION
from tenfold.sharding.engine.pools import Pool
from tenfold.sharding.engine.router import Threads, opener, source_of, survive_forks
from tenfold.sharding.engine.runners import Runner
from tenfold.sharding.guard import Guard
from tenfold.sharding.poolrules import Rules
from tenfold.sharding.ports import Send, Steps, side
from tenfold.topology.load import load as load_topology
from tenfold.topology.model import Topology

NAMED_EVERY_S = 10.0
"""How often a router says that it is alive."""
FORGOTTEN_S = 86_400.0
_SEEN = "UPDATE tf_router SET seen_s = ?, shards = ?, schema_version = ? WHERE id = ?"
_NAMED = "INSERT INTO tf_router (id, schema_version, host, pid, shards, started_s, seen_s) VALUES (?, ?, ?, ?, ?, ?, ?)"
_GONE = "DELETE FROM tf_router WHERE id = ?"
_FORGET = "DELETE FROM tf_router WHERE seen_s < ?"
_log = logging.getLogger("tenfold")


boot_clock: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds since some moment, the time included that the machine slept, where the system can tell."""


class Renewal:
    """A daemon thread that asks the catalog for its version three times a lease, by a connection of its own."""

    def __init__(self, guard: Guard, learn: Callable[[Topology], None]) -> None:
        """learn: is told of the file once it names shards that it did not when the process began."""
        self._guard, self._learn = guard, learn
        self._id = secrets.token_hex(16)
        self._started_s = time.time()
        self._named_s = 0.0
        self._listed = False
        self._read_ns = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        catalog = guard.topology.catalog_shard
        self._catalog = side(catalog)
        pool = Pool(Rules(catalog, 1, 5.0), source_of(guard.topology, opener(guard.topology, catalog)))
        self._pools = {self._catalog: pool}
        self._runner = Runner(self._pools, Threads(1))
        survive_forks(self, self._pools)

    def start(self) -> None:
        """Begin; from then on the lease is kept."""
        self._thread = threading.Thread(target=self._run, name="tenfold-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and take the process off the list."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        with self._lock:
            if self._listed:
                with suppress(TenfoldError):  # it is forgotten by itself
                    self._runner.run(_sent(self._catalog, _GONE, (self._id,)))
            for pool in self._pools.values():
                pool.close()

    def once(self, *, named: bool = True) -> None:
        """Renew the lease now, if the catalog answers; else statements ask the shards' own fences.

        named  also see that the process is on the list; what lives for less than a lease need not be
        """
        with self._lock:
            try:
                self._renew(named)
            except TenfoldError as error:
                _log.debug("the lease on the bucket map is not renewed: %s", error)

    def after_fork(self) -> None:
        """In the child of a fork the thread does not exist; whoever has this makes another."""
        for pool in self._pools.values():
            pool.forget()

    def _renew(self, named: bool) -> None:
        self._read_again()
        if named and time.time() - self._named_s >= NAMED_EVERY_S:
            self._runner.run(self._named())
            self._named_s = time.time()
        self._runner.run(self._guard.poll())

    def _read_again(self) -> None:
        """Learn of shards that the file has not had so far: one may be about to join. Whatever else has changed in it
        is for the next start; so is a mistake."""
        topology = self._guard.topology
        with suppress(OSError, TenfoldError):
            changed_ns = Path(topology.file).stat().st_mtime_ns
            if changed_ns == self._read_ns:
                return
            fresh = load_topology(topology.file, topology.environment)
            self._read_ns = changed_ns
            known = topology.database.shards
            more = {name: shard for name, shard in fresh.database.shards.items() if name not in known}
            if more:
                database = topology.database.model_copy(update={"shards": {**known, **more}})
                self._learn(topology.model_copy(update={"database": database}))
                self._named_s = 0.0

    def _run(self) -> None:
        chance = random.SystemRandom()  # forked processes share the state of `random`
        while not self._stop.wait(self._guard.catalog.lease_s / 3 * chance.uniform(0.8, 1.0)):
            self.once()

    def _named(self) -> Steps[None]:
        catalog, shards = self._catalog, ",".join(self._guard.topology.database.shards)
        now_s = time.time()
        known, self._listed = self._listed, True
        if not known or not (yield Send(catalog, _SEEN, (now_s, shards, SCHEMA_VERSION, self._id))).rowcount:
            host = socket.gethostname().encode("ascii", "replace").decode()[:100]
            row = (self._id, SCHEMA_VERSION, host, os.getpid(), shards, self._started_s, now_s)
            with suppress(ConstraintError):  # MySQL counts no row that has its values already
                yield Send(catalog, _NAMED, row)
        yield Send(catalog, _FORGET, (now_s - FORGOTTEN_S,))


def _sent(shard: str, sql: str, params: tuple[object, ...]) -> Steps[None]:
    yield Send(shard, sql, params)
