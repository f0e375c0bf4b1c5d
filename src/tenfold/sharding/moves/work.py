"""What all steps of a mover share: the move, its shards and tables, limits, and whom to tell. Edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tenfold.errors import MoveError, NodeDown, NodeError
from tenfold.sharding.catalog import load
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.books import Books
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.progress import Progress
from tenfold.sharding.moves.record import Leg, Move
from tenfold.sharding.moves.tables import Moved, moved
from tenfold.sharding.ports import T
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import TableShape
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

AGAIN = 6
"""How often what a deadlock or a lock has undone is done again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a mover may ask of the platform.

    rows_s      rows it copies or deletes in a second
    latency_ms  it pauses while a shard takes longer than this for a SELECT of one row
    lag_s       it pauses while a replica is further behind than this
    grace_s     how long statements that run may go on before their connections are ended
    ahead       from which part of a shard's buckets on their rows are compared before a fence is up, so that behind it
                only those written since are compared again; above 1: all behind their fence, always
    """

    rows_s: float | None = None
    latency_ms: float | None = None
    lag_s: float | None = None
    grace_s: float = 10.0
    ahead: float = 0.125


@dataclass
class Work:
    """One mover at work on one move. clock: monotonic seconds."""

    topology: Topology
    shards: Shards
    books: Books
    move: Move
    progress: Progress
    limits: Limits
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    lag: Callable[[str], float | None] = lambda _: None
    _tables: dict[str, Moved] = field(default_factory=dict)

    @cached_property
    def catalog(self) -> Catalog:
        """The platform as it is when it is first asked for."""
        return self.shards.ask(load(self.topology))

    def shape(self, shard: str, name: str) -> TableShape | None:
        """What a table looks like on a shard."""
        placed = self.catalog.layout.tables.get(name)
        declared = placed.table if placed else name
        return self.shards.ask(read_shape(shard, declared, self.shards.dialect))

    def tables(self, leg: Leg) -> list[Moved]:
        """The tables of which rows go from one end of a leg to the other, in their order."""
        names: list[str] = self.move.detail["tables"]
        grouped = any(bucket < BUCKETS for bucket in leg.buckets)
        found = []
        for number, name in enumerate(names):
            pinned = self.catalog.numbers.get(name)
            if grouped if pinned is None else pinned in leg.buckets:
                found.append(self._table(leg.source, number, name))
        return found

    def _table(self, shard: str, number: int, name: str) -> Moved:
        if name not in self._tables:
            shape = self.shape(shard, name)
            if shape is None:
                raise MoveError(f"{shard} has no table {name}", hint="create it there, or take it out of the file")
            self._tables[name] = moved(self.catalog.layout, dict(self.catalog.numbers), number, name, shape)
        return self._tables[name]

    @property
    def on(self) -> list[tuple[str, Moved]]:
        """(shard, table) of all tables at both ends of all legs, each once."""
        found = {(shard, table.number): (shard, table) for leg in self.move.legs for table in self.tables(leg)
                 for shard in (leg.source, leg.target)}  # fmt: skip
        return list(found.values())

    def owned(self, leg: Leg) -> tuple[list[int], list[int]]:
        """The buckets of a leg that its source and its target own, as the catalog says once nobody changes it."""
        owners = self.books.owners(self.move, leg.buckets)
        return (
            [bucket for bucket in leg.buckets if owners[bucket][0] == leg.source],
            [bucket for bucket in leg.buckets if owners[bucket][0] == leg.target],
        )

    def again(self, act: Callable[[], T]) -> T:
        """Do something, and do it again after a deadlock or a lock that was held too long."""
        for nth in range(AGAIN):
            try:
                return act()
            except NodeDown:
                raise
            except NodeError:
                if nth == AGAIN - 1:
                    raise
                self.sleep(0.01 * 2**nth)
        raise AssertionError

    def say(self, event: str, **more: Any) -> None:
        """Tell of one thing that happened."""
        self.progress.say({"event": event, "move": self.move.id} | more)

    def wait_leases(self) -> None:
        """Wait until every router has learned of the last version, or stopped going by an older one."""
        lease_s = self.books.lease_s()
        wait_s = lease_s + max(0.1 * lease_s, 0.05)
        self.say("leases", seconds=wait_s)
        self.sleep(wait_s)
