"""Keeps figures and the place in the log, in a thread that a slow disk may hold up alone. Edge."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.monitor.sketch import Sketch
from tenfold.monitor.store import Store
from tenfold.runtime import agent_place
from tenfold.runtime.agent_place import Counted

# So many flushes wait for a disk that has stopped; what comes after is not kept, and told.
WAITING = 30
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flush:
    """One second's figures, how far the log is counted in them, and sketches now and then."""

    now_s: float
    values: Mapping[str, float]
    counted: Counted
    sketches: Mapping[str, Sketch] = field(default_factory=dict)


class Keeper:
    """Writes flushes in order.

    open_store  makes the store, in the keeper's thread
    place       file for how far the log is counted
    """

    def __init__(self, open_store: Callable[[], Store], place: Path) -> None:
        self._open_store, self._place = open_store, place
        self._waiting: queue.Queue[Flush | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True, name="keeper")
        self._store: Store | None = None
        self._place_trouble: str | None = None
        self.left_out = 0
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """What keeps history from being kept; None when all is well."""
        if self._waiting.full():
            return "history is not kept: the disk does not answer; look at it"
        return self._place_trouble or (self._store.trouble if self._store else None)

    @property
    def bytes(self) -> int | None:
        """Bytes of the store on disk."""
        return self._store.bytes if self._store else None

    def keep(self, flush: Flush) -> bool:
        """Have a flush written soon; False: it is not, the disk is behind."""
        try:
            self._waiting.put_nowait(flush)
        except queue.Full:
            self.left_out += 1
            return False
        return True

    def close(self, within_s: float) -> None:
        """Write what waits, and end; not longer than `within_s`."""
        try:
            self._waiting.put(None, timeout=within_s)
        except queue.Full:
            return
        self._thread.join(within_s)

    def _run(self) -> None:
        self._store = self._open_store()
        while (flush := self._waiting.get()) is not None:
            try:
                self._write(self._store, flush)
            except Exception:
                log.exception("a flush is lost")
        self._store.close()

    def _write(self, store: Store, flush: Flush) -> None:
        # In this order an agent that is killed in between has lost one tick; its counts go on in the next.
        try:
            agent_place.save(self._place, flush.counted)
            self._place_trouble = None
        except OSError as error:
            self._place_trouble = f"the place in nginx's log is not kept: {error.strerror}; make room on the disk"
        store.append(flush.now_s, flush.values)
        if flush.sketches:
            store.append_sketches(flush.now_s, flush.sketches)
