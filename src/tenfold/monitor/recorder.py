"""Takes the timings of an application's process and ships them to the agent once a second. Edge.

An observation costs one append of one float to a list. The list is never swapped: `append` is atomic,
and so are the slice and the deletion by which the one shipper takes the front off it, so no observation
falls between two lists. Whatever goes wrong here never reaches the application.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref

from tenfold.monitor.shipment import Shipment
from tenfold.monitor.wire import HTTP, MAX_LABEL, MAX_NAMES, MAX_SECONDS, MAX_VALUES, SCALE, SQL

LIMIT = 200_000
"""Observations held at most (6 MB); more are dropped, and counted."""
PRESSING = LIMIT // 2
"""From so many on the shipper does not wait for its next second."""
OTHER = "__other__"
ENVIRONMENT_SOCKET, ENVIRONMENT_BACKEND = "TENFOLD_AGENT_SOCKET", "TENFOLD_BACKEND"

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_ORDINARY_NAMES = MAX_NAMES - 5 - 2  # the classes of `_overflow`: 1xx to 5xx, ok and error
_Name = tuple[str, tuple[str, ...]]
_Key = tuple[str, str, int] | tuple[str, str, str, bool]
_living: weakref.WeakSet[Recorder] = weakref.WeakSet()


class Recorder:
    """The recorder of one process. Safe for threads, tasks and forks; starts its thread with the first observation."""

    __slots__ = (
        "__weakref__",
        "_away", "_backend", "_bases", "_buffer", "_dropped", "_interval_s", "_keep_s", "_known", "_lock",
        "_names", "_path", "_shipment", "_shipping", "_thread", "_wake",
    )  # fmt: skip

    def __init__(
        self, socket_path: str | os.PathLike[str], backend: str = "", *, interval_s: float = 1.0, keep_s: float = 5.0
    ) -> None:
        """`socket_path`: the agent's; it need not exist yet. `backend`: whose process this is.

        interval_s  between shipments
        keep_s      while nobody takes them, observations older than about this are dropped: delivered later
                    they would be counted in a moment they do not belong to
        """
        # Absolute: an application may change its directory.
        self._path, self._backend = os.path.abspath(socket_path), backend  # noqa: PTH100
        self._interval_s, self._keep_s = interval_s, keep_s
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        """The state of a recorder that has seen nothing: a new one's, and that in the child of a fork."""
        self._buffer: list[float] = []
        self._bases: dict[_Key, float] = {}
        self._known: dict[_Name, int] = {}
        self._names: list[_Name] = []
        self._dropped = 0
        self._lock = threading.RLock()  # of names and dropped; a signal handler may come back to it
        self._shipping = threading.Lock()  # of shipment, and of the front of the buffer
        self._wake = threading.Event()
        self._away = False
        self._thread: threading.Thread | None = None
        self._shipment = Shipment(self._path, self._backend, os.getpid())

    @property
    def dropped(self) -> int:
        """Observations of this process that were lost so far and known to be."""
        return self._dropped

    def http(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request. `route`: its template, never the path itself."""
        key = (method, route, status)
        buffer = self._buffer
        if len(buffer) < PRESSING and 0.0 <= seconds < MAX_SECONDS:
            try:
                buffer.append(self._bases[key] + seconds)
                return
            except KeyError:
                pass
        self._append(self._base(key), seconds)

    def sql(self, kind: str, table: str, shard: str, ok: bool, seconds: float) -> None:
        """Note one statement on one shard. `kind`: select, insert …; `table`: the first it names."""
        key = (kind, table, shard, ok)
        buffer = self._buffer
        if len(buffer) < PRESSING and 0.0 <= seconds < MAX_SECONDS:
            try:
                buffer.append(self._bases[key] + seconds)
                return
            except KeyError:
                pass
        self._append(self._base(key), seconds)

    statement = sql
    """As sharding's Observer calls it."""

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Ship what is here now, waiting at most so long; → whether all of it went."""
        until_s = time.monotonic() + timeout_s
        if not self._shipping.acquire(timeout=timeout_s):
            return False
        try:
            return self._ship(until_s)
        finally:
            self._shipping.release()

    def close(self, timeout_s: float = 1.0) -> None:
        """Ship the rest, waiting at most so long, and hang up. An observation made later begins anew."""
        with self._lock:
            ending, self._wake = self._wake, threading.Event()
            self._thread = None
            self._bases.clear()  # so that the next observation finds its way to _start
        ending.set()
        self.flush(timeout_s)
        if self._shipping.acquire(timeout=timeout_s):
            self._shipment.hang_up()
            self._shipping.release()

    def after_fork(self) -> None:
        """In the child: what was recorded, the connection and the thread belong to the parent."""
        self._shipment.hang_up()  # the child's copy of the descriptor; the parent's stays open
        self._begin()

    # -- the rare ways ---------------------------------------------------------------------------------------------

    def _append(self, base: float, seconds: float) -> None:
        waiting = len(self._buffer)
        if waiting >= PRESSING:
            self._start()
            if not self._away:  # else it would try for every observation what has just failed
                self._wake.set()
            if waiting >= LIMIT:
                self._drop(1)
                return
        self._buffer.append(base + (min(max(seconds, 0.0), MAX_SECONDS) if seconds == seconds else 0.0))

    def _drop(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    def _base(self, key: _Key) -> float:
        """The id of what `key` says, times SCALE. Names are bounded; what is beyond has one for all of its class."""
        name = _http_name(*key) if len(key) == 3 else _sql_name(*key)
        with self._lock:
            number = self._known.get(name)
            if number is None:
                if len(self._names) >= _ORDINARY_NAMES:
                    name = _overflow(name)
                number = self._known.get(name)
            if number is None:
                number = self._known[name] = len(self._names)
                self._names.append(name)
            base = number * SCALE
            # A name that is not the key itself (a strange method, one beyond the bound) is looked up each time:
            # else whoever invents methods could fill the memory.
            if len(self._bases) < MAX_NAMES and name[1][:2] == key[:2]:
                self._bases[key] = base
        self._start()
        return base

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=_run, args=(weakref.ref(self), self._wake), name="tenfold-recorder")
            thread.daemon = True  # it must keep no process from ending; _at_exit ships the rest
            with contextlib.suppress(RuntimeError):  # no thread to be had now: the next full buffer asks again
                thread.start()
                self._thread = thread

    def _tick(self) -> None:
        """One turn of the shipper."""
        with self._shipping:
            self._away = not self._ship(time.monotonic() + self._interval_s)
            if time.monotonic() - self._shipment.progress_s > self._keep_s:
                stale = len(self._buffer)
                del self._buffer[:stale]
                self._drop(stale + self._shipment.abandon())

    def _ship(self, until_s: float) -> bool:
        """Deliver until nothing is left or the time is up."""
        shipment = self._shipment
        while True:
            if not shipment.laden:
                count = min(len(self._buffer), MAX_VALUES)
                values = self._buffer[:count]
                del self._buffer[:count]
                # Names after values: each was there before its first value.
                shipment.load(values, self._names, self._dropped)
                if not shipment.laden:
                    return True
            if not shipment.deliver(until_s):
                return False


def _run(reference: weakref.ref[Recorder], wake: threading.Event) -> None:
    """The shipper's thread. It holds the recorder only while it ships, so that a forgotten one ends it."""
    while True:
        recorder = reference()
        if recorder is None or recorder._wake is not wake:
            return
        recorder._tick()
        interval_s = recorder._interval_s
        del recorder
        wake.wait(interval_s)
        wake.clear()


def _http_name(method: str, route: str, status: int) -> _Name:
    # RFC 9110, 15: a client treats a status outside of 100 to 599 as a 5xx.
    told = str(int(status)) if 100 <= status < 600 else "500"
    return HTTP, (method if method in _METHODS else "OTHER", route[:MAX_LABEL], told)


def _sql_name(kind: str, table: str, shard: str, ok: bool) -> _Name:
    return SQL, (kind[:MAX_LABEL], table[:MAX_LABEL], shard[:MAX_LABEL], "ok" if ok else "error")


def _overflow(name: _Name) -> _Name:
    kind, labels = name
    if kind == HTTP:
        return kind, ("*", OTHER, f"{labels[2][0]}00")
    return kind, (OTHER, OTHER, OTHER, labels[3])


_current: Recorder | None = None
_current_lock = threading.Lock()


def current() -> Recorder | None:
    """The one recorder of this process, which middleware and database share; None where no agent is named.

    Named by $TENFOLD_AGENT_SOCKET and $TENFOLD_BACKEND, which `tenfold up` gives to what it starts.
    """
    path = os.environ.get(ENVIRONMENT_SOCKET)
    if not path:
        return None
    global _current
    with _current_lock:
        if _current is None:
            _current = Recorder(path, os.environ.get(ENVIRONMENT_BACKEND, ""))
        return _current


def _after_fork_in_child() -> None:
    global _current_lock
    _current_lock = threading.Lock()
    for recorder in list(_living):
        recorder.after_fork()


@atexit.register
def _at_exit() -> None:
    for recorder in list(_living):
        recorder.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
