"""One statement under one view of the catalog: whether the shards it asked still had what it touched. Pure.

Wraps the steps of a statement. With a lease and no announced move it costs a look at the clock before and after.
Else the fence rows of what was touched are read on the shard that was asked, after a read, after a write that found
no row (no trigger sees it), and before the commit of what touches several buckets: each must be open since the epoch
that the statement was routed by. Otherwise FenceError is raised, nothing of the statement stays, and `guard` runs it
again under a newer view.

A write of one bucket that found rows needs no more: a trigger has looked at the fence in its own transaction; and
where the triggers have gone, the connection was cut before (MySQL) or the lease is looked at under the lock (SQLite).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from tenfold.errors import FenceError, MoveError, NodeError, TenfoldError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.lease import Lease
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.ports import (
    SCRATCH,
    Begin,
    Close,
    Commit,
    Effect,
    Emit,
    EndScratch,
    Gather,
    Open,
    Opened,
    Reply,
    Rollback,
    Scratch,
    Send,
    SendMany,
    Steps,
    Under,
    side,
)
from tenfold.sharding.reserve import Transaction
from tenfold.sharding.view import Catalog

T = TypeVar("T")
Hide = Callable[[str, frozenset[int]], str]
"""A text, and the buckets of which it is to see no row → the text that does not."""

FENCES = "SELECT bucket, state, epoch, to_shard FROM tf_fence"
_LISTED = 200
"""Up to so many fence rows are asked for by their buckets, more by reading all of them."""
_INSERTS, _WRITES = frozenset({"INSERT", "REPLACE"}), frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_READS = frozenset({"SELECT", "WITH", "VALUES"})
# Every shard has them, so they are read anywhere at any time; who writes them says so.
_REFERENCES = frozenset({REFERENCE})
_OWN = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) tf_")
_SCHEMA = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME"})
_VERB = re.compile(r"(?:\s|--[^\n]*\n|#[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]*)", re.DOTALL)


@lru_cache(maxsize=4096)
def verb(sql: str) -> str:
    """The first word of a text, in capitals, whatever stands before it."""
    found = _VERB.match(sql)
    return found[1].upper() if found else ""


def writes(sql: str) -> bool:
    """Whether a text changes rows."""
    return verb(sql) in _WRITES


class Vetting:
    """What one statement has touched so far.

    tx       the caller's transaction that it is part of
    hide     adds to a text that may see rows of any bucket the condition that leaves some out
    trusted  the view may be trusted as it begins; else every shard is asked only for what it has by the view
    lasting  something of the statement is committed: nothing may have it run again
    steady   what it reads of several buckets it reads from a snapshot, of which the fences are looked at before: a
             long SELECT would else never end while buckets are cut over one after the other
    """

    def __init__(
        self, catalog: Catalog, lease: Lease, tx: Transaction | None, hide: Hide, *, steady: bool = False
    ) -> None:
        self._catalog, self._lease, self._tx, self._hide = catalog, lease, tx, hide
        self._steady = steady and tx is None
        self._snapshots: list[str] = []
        self._cursors: list[int] = []
        self._trusted = lease.holds(catalog.version)
        self._lasting = False
        self._home = ""
        self._reads: dict[str, set[int] | None] = {}
        self._begun: dict[str, set[int] | None] = {}

    @property
    def leased(self) -> bool:
        """Whether the view may be trusted now, and might be when the statement began."""
        return self._trusted and self._lease.holds(self._catalog.version)

    def through(self, steps: Steps[T]) -> Steps[T]:
        """Run `steps` and see that what they read and wrote was where the view says. Raises FenceError."""
        yield Under((lambda: self.leased) if self._trusted else None)
        try:
            effect = next(steps)
            while True:
                try:
                    answer = yield from self._done(effect)
                except TenfoldError as error:
                    if isinstance(error, FenceError) and self._trusted:
                        # What is left to do is to clean up, and each shard is asked whether it may still be done there.
                        self._trusted = False
                        yield Under(None)
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
        except FenceError:
            # It will be run again, and must not wait for the connections that it holds itself.
            yield Close(self._cursors)
            yield EndScratch(clean=False)
            yield from self._end_snapshots()
            raise
        finally:
            steps.close()
        yield from self._check_reads()
        yield from self._end_snapshots()
        return result

    def _done(self, effect: Effect) -> Steps[Any]:
        kind = type(effect)
        if kind is Send or kind is SendMany:
            return (yield from self._sent(effect))  # type: ignore[arg-type]  # as the line before says
        if isinstance(effect, Gather):
            yield from self._steadied(effect.sends)
            answers = yield Gather([self._seeing(one) for one in effect.sends])
            for one, answer in zip(effect.sends, answers, strict=True):
                self._has_read(one, answer)
            return answers
        if isinstance(effect, Open):
            yield from self._steadied([effect])
            opened = yield self._seeing(effect)
            self._has_read(effect, opened)
            return opened
        if isinstance(effect, Scratch):
            yield from self._steadied([Send(effect.shard, "SELECT")])
            self._home = effect.shard
            self._note(self._reads, effect.shard, None)  # on MySQL it sees the rows of this shard
        elif isinstance(effect, Emit):
            yield from self._check_reads()  # what was handed on cannot be taken back
        elif isinstance(effect, Begin) and self._tx is None:
            yield from self._unsteadied()
            self._begun[effect.shard] = set()
        elif isinstance(effect, Commit):
            yield from self._check_begun()
            self._lasting = True
        elif isinstance(effect, Rollback):
            self._begun.pop(effect.shard, None)
        return (yield effect)

    # --- reads ---

    def _seeing(self, effect: Any) -> Any:
        """The effect, with what is to be hidden from it left out."""
        return self._hidden(effect, effect.shard) if _reads(effect) and effect.buckets is None else effect

    def _has_read(self, effect: Any, answer: object) -> None:
        if isinstance(answer, Opened):
            self._cursors.append(answer.number)
        if _reads(effect) and not self._lasting:
            self._note(self._reads, effect.shard, effect.buckets)

    def _steadied(self, effects: Iterable[Any]) -> Steps[None]:
        """Take the snapshots that `effects` are to read. A fence that is open in one was open when it was taken."""
        if not self._steady or self._begun:
            return
        for effect in effects:
            # A Fetch goes on with what was opened before.
            if not _reads(effect) or effect.buckets is not None or (shard := effect.shard) in self._snapshots:
                continue
            yield Begin(shard, reads=True)
            self._snapshots.append(shard)
            yield from self._vet(shard, None, inside=False)

    def _unsteadied(self) -> Steps[None]:
        """Before a write: in the transaction of a snapshot it would be undone with it, and was told of as done."""
        self._steady = False
        yield from self._end_snapshots()

    def _end_snapshots(self) -> Steps[None]:
        while self._snapshots:
            yield Rollback(self._snapshots.pop())

    def _hidden(self, effect: Any, shard: str) -> Any:
        known = self._catalog
        buckets = known.hidden_on(shard) if self._trusted else known.foreign_to(shard)
        return replace(effect, sql=self._hide(effect.sql, buckets)) if buckets else effect

    def _note(self, where: dict[str, set[int] | None], shard: str, buckets: Iterable[int] | None) -> None:
        if where is self._reads and shard in self._snapshots:
            return
        known = where.get(shard, set())
        where[shard] = None if known is None or buckets is None else known.union(buckets)

    def _check_reads(self) -> Steps[None]:
        reads, self._reads = self._reads, {}
        if not reads or (self.leased and not self._catalog.announced):
            return
        for shard, buckets in reads.items():
            yield from self._vet(shard, buckets, inside=self._tx is not None and self._tx.shard == shard)

    # --- writes ---

    def _sent(self, effect: Send | SendMany) -> Steps[Reply]:
        if effect.shard == SCRATCH:
            effect = self._scratched(effect)
        elif verb(effect.sql) in _SCHEMA:
            self._refuse_schema()
            yield from self._unsteadied()
        elif not effect.aside and writes(effect.sql):
            return (yield from self._written(effect))
        else:
            yield from self._steadied([effect])
        reply: Reply = yield self._seeing(effect)
        self._has_read(effect, reply)
        return reply

    def _written(self, effect: Send | SendMany) -> Steps[Reply]:
        reply: Reply
        yield from self._unsteadied()
        if effect.buckets is None:
            effect = self._hidden(effect, effect.shard)
        if effect.shard in self._begun:
            self._note(self._begun, effect.shard, effect.buckets)
            reply = yield effect
            return reply
        if self._tx is not None and self._tx.shard == effect.shard:
            self._note(self._tx.touched, effect.shard, effect.buckets)
            reply = yield effect
            if not reply.rowcount or self._several(effect):
                yield from self._vet(effect.shard, effect.buckets, inside=True)
            return reply
        if self._several(effect) or not self.leased:
            return (yield from self._apart(effect))
        yield from self._check_reads()  # by which it may have been decided
        reply = yield effect
        if reply.rowcount:
            self._lasts(effect)
        elif verb(effect.sql) not in _INSERTS:
            yield from self._vet(effect.shard, effect.buckets, inside=False)
        return reply

    def _lasts(self, effect: Send | SendMany) -> None:
        """What it wrote is committed. What is reserved is not counted: it is settled whatever becomes of the rest."""
        self._lasting = self._lasting or not _OWN.match(effect.sql)

    @staticmethod
    def _several(effect: Send | SendMany) -> bool:
        """Whether it may miss a row that a trigger would have to see, and find others: so its count says nothing."""
        if effect.buckets is None:
            return True
        return len(effect.buckets) > 1 and verb(effect.sql) not in _INSERTS

    def _apart(self, effect: Send | SendMany) -> Steps[Reply]:
        """In a transaction of its own, so that the fences can be read before it is committed."""
        yield from self._check_reads()
        yield Begin(effect.shard)
        try:
            reply: Reply = yield effect
            yield from self._vet(effect.shard, effect.buckets, inside=True)
        except TenfoldError:
            yield Rollback(effect.shard)
            raise
        yield Commit(effect.shard)
        if reply.rowcount:
            self._lasts(effect)
        return reply

    def _check_begun(self) -> Steps[None]:
        """Before the first commit of several: what is read then is locked until the last one."""
        yield from self._check_reads()
        begun, self._begun = self._begun, {}
        touched = dict(self._tx.touched) if self._tx is not None else {}
        for shard, buckets in (begun | touched).items():
            if buckets is None or buckets:
                yield from self._vet(shard, buckets, inside=True)

    def _scratched(self, effect: Any) -> Any:
        """On MySQL the rows of the scratch database's own shard come with the table that takes them."""
        hides = self._catalog.layout.dialect is MYSQL and effect.sql.startswith("CREATE TEMPORARY TABLE")
        return self._hidden(effect, self._home) if hides else effect

    def _refuse_schema(self) -> None:
        if self._catalog.moves:
            raise MoveError(
                "the schema cannot change while rows move: what is on its way would not be changed",
                hint="`tenfold shard status` says how far the move is; finish, undo or cancel it first",
            )
        if not self.leased:
            raise NodeError(
                "the schema cannot change while the catalog does not say whether rows move", hint="try again"
            )

    # --- fences ---

    def _vet(self, shard: str, buckets: set[int] | tuple[int, ...] | None, *, inside: bool) -> Steps[None]:
        """See that `shard` has had `buckets` (None: all that it may be asked for) all the time. Raises FenceError."""
        known = self._catalog
        if self.leased:
            wanted = known.announced_on(shard)
            wanted = wanted - _REFERENCES if buckets is None else wanted.intersection(buckets)
        elif self._trusted and buckets is None:
            # It was sent to be read as if nothing moved; what has arrived since is in the answer, and may be elsewhere.
            raise FenceError(f"the lease ran out while {shard} was asked")
        else:
            wanted = known.owned_by(shard) if buckets is None else frozenset(buckets)
        if not wanted:
            return
        where = f" WHERE bucket IN ({', '.join(map(str, sorted(wanted)))})" if len(wanted) <= _LISTED else ""
        current = known.layout.dialect.shared_read if inside else ""
        asked = shard if inside or shard in self._snapshots else side(shard)
        rows = (yield Send(asked, FENCES + where + current)).rows
        _compare(known, shard, wanted, rows)


def _reads(effect: Any) -> bool:
    """Whether it reads rows that a move may take away."""
    if not isinstance(effect, Send | Open) or effect.shard == SCRATCH or getattr(effect, "aside", False):
        return False
    return verb(effect.sql) in _READS


def _compare(known: Catalog, shard: str, wanted: frozenset[int], rows: Sequence[tuple[Any, ...]]) -> None:
    found = {row[0]: row for row in rows}
    for bucket in wanted:
        _, state, epoch, to = found.get(bucket, (bucket, "missing", 0, ""))
        if state == "open" and epoch == known.map.since(bucket):
            continue
        here = state == "open"
        raise FenceError(
            f"bucket {bucket} of {shard} is {'of another epoch' if here else state}",
            bucket=bucket,
            to=shard if here else to if state == "moved" else "",
            epoch=epoch,
        )
