"""Tells an observer what was sent to the shards. Edge."""

from __future__ import annotations

from time import perf_counter

from tenfold.errors import ConstraintError, TenfoldError
from tenfold.sharding.labels import labels
from tenfold.sharding.ports import Begin, Commit, Observer, Open, Send, SendMany, main_shard

Sent = Send | SendMany | Open | Begin | Commit


class Watch:
    """What a runner notes of each effect on a shard; without an observer, nothing."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self.watches = observer is not None

    def ended(self, effect: Sent, started_s: float, error: TenfoldError | None = None) -> None:
        """`effect` began when perf_counter() said `started_s`, and has ended now."""
        observer = self._observer
        if observer is None:
            return
        if isinstance(effect, Send | SendMany | Open):
            kind, table = labels(effect.sql)
        else:
            kind, table = ("begin" if isinstance(effect, Begin) else "commit"), ""
        ok = error is None or isinstance(error, ConstraintError)
        observer.statement(kind, table, main_shard(effect.shard), ok, perf_counter() - started_s)
