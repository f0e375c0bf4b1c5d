"""Settles now and then what crashed writers left reserved. Edge."""

from __future__ import annotations

import random
import threading

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.renewal import boot_clock
from tenfold.sharding.engine.router import new_executor, one_off_runner
from tenfold.sharding.execute import Executor
from tenfold.sharding.guard import Guard
from tenfold.sharding.layout import Grouped
from tenfold.sharding.lease import Lease
from tenfold.sharding.ports import Steps
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

EVERY_S = 30.0
OLD_S = 15.0
"""A statement that has held a reservation for so long is taken for dead; settling it is safe even if it is not."""
VERDICTS_S = 86_400.0


class Sweeper:
    """A daemon thread of a process with reserved columns; none without."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if there is anything that may need it."""
        tables = self._guard.layout.tables.values()
        if any(isinstance(table, Grouped) and table.unique for table in tables):
            self._thread = threading.Thread(target=self._run, name="tenfold-sweeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        # Spread over the processes of a host, which start together; forked ones share the state of `random`.
        while not self._stop.wait(EVERY_S * random.SystemRandom().uniform(0.5, 1.5)):
            try:
                _swept(self._guard, OLD_S)
            except TenfoldError:
                continue  # a shard is down; the next round finds the same work


def sweep(topology: Topology, catalog: Catalog, older_than_s: float = OLD_S) -> int:
    """Settle every reservation that has been unfinished for `older_than_s`; → how many statements."""
    executor = new_executor(catalog, topology)
    return _swept(Guard(topology, executor, Lease(boot_clock), topology.database.lock_wait_s), older_than_s)


def _swept(guard: Guard, older_than_s: float) -> int:
    def settling(executor: Executor) -> Steps[int]:
        return executor.reservations.sweep(executor.layout.shards, older_than_s, VERDICTS_S)

    with one_off_runner(guard.topology) as runner:
        return runner.run(guard.run(settling))
