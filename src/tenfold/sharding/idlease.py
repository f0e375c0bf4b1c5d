"""Drawing ids under a window leased in the catalog. Pure."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from tenfold.errors import ConstraintError, NodeError
from tenfold.sharding.ids import WORKERS, IdSource, Window, id_clock
from tenfold.sharding.ports import Chance, Send, Steps
from tenfold.sharding.reserve import Transaction

WINDOW_S = 600
"""Seconds that a lease lasts: how long ids go on while the catalog is away."""

_FREE = "SELECT worker, token, until_s FROM tf_worker WHERE until_s <= ? ORDER BY until_s LIMIT 1"
_TAKE = "UPDATE tf_worker SET token = ?, until_s = ? WHERE worker = ? AND token = ? AND until_s = ?"
_EXTEND = "UPDATE tf_worker SET until_s = ? WHERE worker = ? AND token = ? AND until_s <= ?"
_ENDS = "SELECT until_s FROM tf_worker WHERE worker = ? AND token = ?"
_COUNT = "SELECT COUNT(*) FROM tf_worker"
_ADD = "INSERT INTO tf_worker (worker, token, until_s) VALUES (?, ?, ?)"
_RETURN = "UPDATE tf_worker SET until_s = ? WHERE worker = ? AND token = ?"


@dataclass(slots=True)
class Ids:
    """The id source of one process. lock: held while drawing, so that threads never share an id."""

    catalog: str
    lock: AbstractContextManager[object]
    source: IdSource | None = None
    token: str = ""
    # Whether a transaction ran out of ids where none could be leased: the next one leases before it begins.
    ran_out: bool = False

    def draw(self, bucket: int | None, tx: Transaction | None) -> Steps[int]:
        """The next id for a bucket (None: for the key table). Raises NodeError when no window can be had."""
        now_s = (yield Chance()).now_s
        for _ in range(100):
            with self.lock:  # which also keeps another thread from taking the source away meanwhile
                found = self.source.draw(bucket, now_s) if self.source is not None else None
            if found is not None:
                return found
            yield from self._lease(now_s, tx)
        raise NodeError("no id could be drawn", hint="look at the clock of this machine, then try again")

    def ahead(self, tx: Transaction) -> Steps[None]:
        """Before a transaction begins on the catalog's shard: a window that lasts, since none can be leased inside.

        Ids may run ahead of the clock, so the clock alone does not say how much of the window is left.
        """
        now_s = (yield Chance()).now_s
        for _ in range(100):
            source = self.source
            if source is not None and not self.ran_out and source.window.end - id_clock(now_s) >= WINDOW_S // 2:
                return
            self.ran_out = False
            yield from self._lease(now_s, tx)

    def give_back(self) -> Steps[None]:
        """At the end of the process: the rest of the window is free for the next one."""
        with self.lock:
            source, token, self.source = self.source, self.token, None
        if source is not None:
            yield Send(self.catalog, _RETURN, (source.used_up_to(), source.window.worker, token), aside=True)

    def _lease(self, now_s: float, tx: Transaction | None) -> Steps[None]:
        if tx is not None and tx.shard == self.catalog:
            # A lease written here would vanish with a rollback, and its ids be given twice.
            self.ran_out = True
            raise NodeError("the ids for this transaction ran out", hint="run the transaction again")
        clock = id_clock(now_s)
        source = self.source
        if source is not None:
            window = source.window
            until = max(clock, window.end) + WINDOW_S
            values = (until, window.worker, self.token, until)
            extended = bool((yield Send(self.catalog, _EXTEND, values, aside=True)).rowcount)
            if not extended:
                # MySQL counts no row that has its values already: another thread may have extended it so far.
                ends = yield Send(self.catalog, _ENDS, (window.worker, self.token), aside=True)
                extended = [row[0] for row in ends.rows] == [until]
            if extended:
                with self.lock:
                    if until > source.window.end:  # else another thread was quicker, and has extended it further
                        source.window = Window(window.worker, window.start, until)
                return
            with self.lock:
                if self.source is source:
                    self.source = None  # the lease ran out and another process has the number now
        yield from self._acquire(clock)

    def _acquire(self, clock: int) -> Steps[None]:
        token = (yield Chance()).token
        until = clock + WINDOW_S
        free = yield Send(self.catalog, _FREE, (clock,), aside=True)
        if free.rows:
            worker, old, ended = free.rows[0]
            taken = yield Send(self.catalog, _TAKE, (token, until, worker, old, ended), aside=True)
            if not taken.rowcount:
                return  # another process was quicker; `draw` asks again
            start = max(clock, ended)
        else:
            worker, start = (yield Send(self.catalog, _COUNT, aside=True)).rows[0][0], clock
            if worker >= WORKERS:
                raise NodeError(
                    f"all {WORKERS} id workers are taken",
                    hint=f"wait {WINDOW_S} s for those of processes that ended, or run fewer processes",
                )
            try:
                yield Send(self.catalog, _ADD, (worker, token, until), aside=True)
            except ConstraintError:
                return
        with self.lock:
            quicker = self.source is not None  # another thread
            if not quicker:
                self.token, self.source = token, IdSource(Window(worker, start, until))
        if quicker:
            yield Send(self.catalog, _RETURN, (start, worker, token), aside=True)
