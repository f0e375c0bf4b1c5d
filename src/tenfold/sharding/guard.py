"""Statements under a lease: run under the newest view of the catalog, and again when their rows have moved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from tenfold.errors import FenceError, NodeError, TenfoldError
from tenfold.sharding.catalog import load_once, read_version
from tenfold.sharding.execute import Executor
from tenfold.sharding.hiding import Hiding
from tenfold.sharding.layout import Grouped, GroupTable, Layout
from tenfold.sharding.lease import Lease
from tenfold.sharding.plan import Plan
from tenfold.sharding.ports import Params, Pause, Reply, Send, Steps, side
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.vetting import FENCES, Vetting
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

T = TypeVar("T")
_READINGS = 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.02


class Guard:
    """What makes the steps of a process's statements. Shared by its threads or tasks.

    wait_s   how long a statement waits for rows that are on their way
    changed  is told of each new view, and the one before, ere anything goes by it
    """

    def __init__(
        self,
        topology: Topology,
        executor: Executor,
        lease: Lease,
        wait_s: float,
        changed: Callable[[Catalog, Catalog], None] = lambda _, __: None,
    ) -> None:
        self.topology, self.lease = topology, lease
        self._executor, self._wait_s, self._changed = executor, wait_s, changed
        self._hide = Hiding(self._known, executor.layout.dialect)

    @property
    def executor(self) -> Executor:
        """What carries statements out under the newest view."""
        return self._executor

    @property
    def catalog(self) -> Catalog:
        """The newest view."""
        return self._executor.catalog

    @property
    def layout(self) -> Layout:
        """Which table lives where."""
        return self._executor.layout

    def direct(self, sql: str, params: Params) -> tuple[str, str, Callable[[], bool]] | None:
        """As `Executor.direct`, and what tells whether the view still holds."""
        executor = self._executor
        found = executor.direct(sql, params)
        if found is None:
            return None
        return found[0], found[1], partial(self.lease.holds, executor.catalog.version)

    def execute(self, sql: str, params: Params, tx: Transaction | None = None) -> Steps[Reply]:
        """Run one statement, in the caller's transaction if there is one."""
        return self._guarded(lambda executor: executor.execute(sql, params, tx), tx)

    def stream(self, sql: str, params: Params, tx: Transaction | None = None) -> Steps[Reply]:
        """Run one statement and hand its rows on as they come, as `Emit`s."""
        return self._guarded(lambda executor: executor.stream(sql, params, tx), tx)

    def execute_many(self, sql: str, rows: Sequence[Params], tx: Transaction | None = None) -> Steps[Reply]:
        """Run one writing statement for many rows. All or none of the rows of each shard."""
        left, changed = list(rows), 0

        def once_more(executor: Executor) -> Steps[Reply]:
            nonlocal left, changed
            try:
                return (yield from executor.execute_many(sql, left, tx))
            except FenceError as error:
                done, count = error.done
                left, changed = [row for position, row in enumerate(left) if position not in done], changed + count
                raise

        reply = yield from self._guarded(once_more, tx)
        reply.rowcount += changed
        return reply

    def planned(self, sql: str) -> Steps[Plan]:
        """The plan of a text."""
        return self.run(lambda executor: executor.planned(sql))

    def new_id(self, table: str, key: object, tx: Transaction | None = None) -> Steps[int]:
        """An id for a row to come."""
        return self.run(lambda executor: executor.new_id(table, key, tx))

    def run(self, work: Callable[[Executor], Steps[T]]) -> Steps[T]:
        """Run other steps that need shards, outside any transaction."""
        return self._guarded(work, None)

    # --- the caller's transaction ---

    def commit(self, tx: Transaction) -> Steps[None]:
        """Commit. Raises FenceError when its rows have moved, and nothing of it is committed; NodeError in doubt."""
        self._refuse_moved(tx)
        executor = tx.view or self._executor
        try:
            yield from self._vetting(executor, tx).through(executor.writes.commit(tx))
        except FenceError as error:
            yield from self._refresh(error)  # so that it goes where the rows are when it is run again
            raise _undone(error) from error

    def rollback(self, tx: Transaction) -> Steps[None]:
        """Undo everything; whatever becomes of it, the transaction has ended."""
        tx.moved = False
        executor = tx.view or self._executor
        return executor.writes.rollback(tx)

    def _refuse_moved(self, tx: Transaction) -> None:
        if tx.moved:
            raise _undone(None)

    # --- views ---

    def use(self, catalog: Catalog) -> None:
        """Go by another view from now on."""
        before = self.catalog
        if catalog is not before:
            self._changed(catalog, before)
            self._executor = self._executor.under(catalog)

    def poll(self) -> Steps[None]:
        """Ask the catalog whether the view still holds, and renew the lease; read it anew where it does not.

        Raises NodeError where the catalog cannot be asked, ConfigError, CatalogError.
        """
        found = self.catalog
        for _ in range(_READINGS):
            started_s = self.lease.clock()
            version = yield from read_version(side(self.topology.catalog_shard))
            if version == found.version:
                self.use(found)
                self.lease.renew(version, started_s, found.lease_s)
                return
            found = yield from load_once(self.topology, self.catalog, by=side(self.topology.catalog_shard))
        raise NodeError("the catalog keeps changing", hint="try again")

    def _refresh(self, error: FenceError) -> Steps[bool]:
        """After a statement met a fence: see what has become of its rows; → whether anything is new."""
        before = self.catalog
        try:
            yield from self.poll()
        except TenfoldError:
            if error.bucket is not None:
                yield from self._led_on(error.bucket, error.to, error.epoch)
        return self.catalog is not before

    def _led_on(self, bucket: int, to: str, epoch: int) -> Steps[None]:
        """Without the catalog the shards' own fences lead on: to where a bucket has gone, and since when."""
        known = self.catalog.map
        if not to:  # a trigger has refused the write, and says no more than that
            with suppress(TenfoldError):
                fence = Send(side(known.shard_of(bucket)), f"{FENCES} WHERE bucket = ?", (bucket,), buckets=())
                for _, state, since, pointer in (yield fence).rows:
                    to, epoch = (pointer if state == "moved" else ""), since
        if to in self.layout.shards and known.since(bucket) < epoch:
            self.use(self.catalog.led_on(bucket, to, epoch))

    def _known(self, table: str) -> GroupTable | None:
        placed = self.layout.tables.get(table)
        found = self._executor.known_table(table) if isinstance(placed, Grouped) else None
        if found is None and isinstance(placed, Grouped):
            raise FenceError(f"the shape of {table} was forgotten while a statement on it was made ready")
        return found

    def _vetting(self, executor: Executor, tx: Transaction | None, *, again: bool = False) -> Vetting:
        return Vetting(executor.catalog, self.lease, tx, self._hide, steady=again)

    def _guarded(self, work: Callable[[Executor], Steps[T]], tx: Transaction | None) -> Steps[T]:
        if tx is not None:
            self._refuse_moved(tx)
        started_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            inside = tx is not None and tx.shard is not None
            executor: Executor = tx.view if tx is not None and inside else self._executor
            if tx is not None:
                tx.view = executor
            try:
                again = started_s is not None
                return (yield from self._vetting(executor, tx, again=again).through(work(executor)))
            except FenceError as error:
                if tx is not None and tx.shard is not None and error.sent:
                    yield from self._lose(executor, tx, error, inside=inside)
                now_s = self.lease.clock()
                started_s = now_s if started_s is None else started_s
                if now_s - started_s > self._wait_s:
                    raise _too_long(error, self._wait_s) from error
                if not (yield from self._refresh(error)):
                    yield Pause(pause_s)
                    pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)

    def _lose(self, executor: Executor, tx: Transaction, error: FenceError, *, inside: bool) -> Steps[None]:
        """The rows of a transaction have moved: all of it is undone. If the statement was its first, it may be run
        again by itself; else the caller has to know."""
        yield from executor.writes.rollback(tx)
        tx.touched.clear()
        tx.settlements.clear()
        if inside:
            tx.moved = True
            yield from self._refresh(error)
            raise _undone(error) from error


def _undone(error: FenceError | None) -> FenceError:
    return FenceError(
        "rows of the transaction have moved to another shard, and all of it is undone",
        hint="leave the transaction and run all of it again",
        bucket=error.bucket if error is not None else None,
    )


def _too_long(error: FenceError, wait_s: float) -> FenceError:
    return FenceError(
        f"rows of the statement were on their way to another shard for {wait_s:g} s ({error})",
        hint="a cutover takes milliseconds: its mover has stopped. `tenfold shard resume` goes on with it",
        bucket=error.bucket,
    )
