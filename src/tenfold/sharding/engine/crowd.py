"""Connections on which several threads of one run ask at once, so that all can be stopped. Edge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from tenfold.errors import NodeDown
from tenfold.sharding.poolrules import Link
from tenfold.sharding.ports import Driver, Reply


class Crowd:
    """Whoever is asking. A connection that has been given back is nobody's here, and is left alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[Link[Driver]] = set()
        self._stopped = False

    def asked(self, link: Link[Driver], ask: Callable[[Driver], Reply]) -> Reply:
        """What `ask` gives on a connection. Raises NodeDown once the run was interrupted."""
        with self._lock:
            self._refuse_stopped()
            self._busy.add(link)
        try:
            reply = ask(link.driver)
        finally:
            with self._lock:
                self._busy.discard(link)
        self._refuse_stopped()  # it may have been closed when its answer had just come
        return reply

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise NodeDown("the statement was interrupted", hint="run it again")

    def stop(self, others: Iterable[Link[Driver]]) -> None:
        """Stop what is asked on the shards too, on these and on `others`; nothing more begins."""
        with self._lock:
            self._stopped = True
            for link in [*self._busy, *others]:
                link.driver.close()
