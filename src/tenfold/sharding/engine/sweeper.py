"""Settles now and then what crashed writers left reserved. Edge."""

from __future__ import annotations

import random
import threading

from tenfold.errors import TenfoldError
from tenfold.sharding.engine.router import new_executor, one_off_runner
from tenfold.sharding.layout import Grouped
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

EVERY_S = 30.0
OLD_S = 15.0
"""A statement that has held a reservation for so long is taken for dead; settling it is safe even if it is not."""
VERDICTS_S = 86_400.0


class Sweeper:
    """A daemon thread of a process with reserved columns; none without."""

    def __init__(self, topology: Topology, catalog: Catalog) -> None:
        self._topology, self._catalog = topology, catalog
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if there is anything that may need it."""
        tables = self._catalog.layout.tables.values()
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
                sweep(self._topology, self._catalog)
            except TenfoldError:
                continue  # a shard is down; the next round finds the same work


def sweep(topology: Topology, catalog: Catalog, older_than_s: float = OLD_S) -> int:
    """Settle every reservation that has been unfinished for `older_than_s`; → how many statements."""
    executor = new_executor(catalog, topology)
    with one_off_runner(topology) as runner:
        return runner.run(executor.reservations.sweep(catalog.layout.shards, older_than_s, VERDICTS_S))
