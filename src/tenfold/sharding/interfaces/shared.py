"""One router for each file in a process, shared by all connections to it. Edge.

A router (pools, catalog, id window) takes some ten milliseconds to set up; connections of PEP 249 are opened for
each request by some programs. So they hold one router together, and the last to let go closes it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tenfold.sharding.engine.database import Database
from tenfold.sharding.engine.errand import Session
from tenfold.sharding.ports import Driver


class Shared:
    """A router that is there while somebody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._holders = 0
        self._lost: deque[Session[Driver]] = deque()

    @property
    def database(self) -> Database:
        """The router, for a holder."""
        assert self._database is not None  # noqa: S101  # a holder has seen it opened
        return self._database

    def hold(self, open_one: Callable[[], Database]) -> None:
        """Have the router open until `let_go`. Raises what `open_one` raises."""
        self.reap()
        with self._lock:
            if self._database is None:
                self._database = open_one()
            self._holders += 1

    def let_go(self) -> None:
        """The last holder closes the router."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self._database is not None:
                database, self._database = self._database, None
                database.close()

    def lose(self, session: Session[Driver]) -> None:
        """Of a connection that nobody can reach any more. Called by the garbage collector, in the middle of anything:
        takes no lock, so the rest is done by `reap`."""
        try:
            for link in session.open.values():
                link.driver.close()
        finally:
            self._lost.append(session)

    def reap(self) -> None:
        """Give the places in the pools back that lost connections had."""
        while self._lost:
            try:
                session = self._lost.popleft()
            except IndexError:  # another thread took it
                return
            self.database.runner.abort(session)
            self.let_go()

    def after_fork(self) -> None:
        """In the child of a fork: the thread that held the lock may not exist here."""
        self._lock = threading.Lock()
        # What they had open is the parent's, but here as there they still hold the router.
        self._lost = deque(Session() for _ in self._lost)


_shared: dict[tuple[Path, str | None], Shared] = {}


def shared_router(file: Path, environment: str | None) -> Shared:
    """The place of the router of this file and environment in this process, open or not."""
    return _shared.setdefault((file.resolve(), environment), Shared())


def _in_child() -> None:
    for one in list(_shared.values()):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
