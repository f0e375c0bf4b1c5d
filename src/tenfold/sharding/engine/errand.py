"""What one run of steps holds: open transactions, cursors, a scratch database. Pure."""

from __future__ import annotations

from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tenfold.sharding.poolrules import Link

D = TypeVar("D", bound="Closes")
P = TypeVar("P", bound="Lends")
C = TypeVar("C")


class Closes(Protocol):
    """A driver of either kind."""

    def close(self) -> None:
        """Close the connection."""


class Lends(Protocol):
    """A pool of either kind."""

    def release(self, link: Any) -> None:
        """Take a connection back."""

    def discard(self, link: Any) -> None:
        """Close a connection."""


class Session(Generic[D]):
    """The open transactions of one caller, by shard."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: dict[str, Link[D]] = {}


class Reading(NamedTuple, Generic[D, C, P]):
    """An open cursor; pool and link are None where its connection is not its own."""

    shard: str
    cursor: C
    pool: P | None
    link: Link[D] | None


class Errand(Generic[D, C, P]):
    """One run of steps, with what it holds besides the transactions of its session.

    scratch       connection of the scratch database
    scratch_link  its link, if it is a connection of a shard; None: it is nobody else's
    scratch_pool  where it goes back to; None: nowhere, it is that of an open transaction
    """

    __slots__ = ("begun", "numbers", "reading", "scratch", "scratch_link", "scratch_pool")

    def __init__(self, begun: dict[str, Link[D]]) -> None:
        self.begun = begun
        self.reading: dict[int, Reading[D, C, P]] = {}
        self.numbers: count[int] | None = None
        self.scratch: D | None = None
        self.scratch_link: Link[D] | None = None
        self.scratch_pool: P | None = None

    def keep(self, reading: Reading[D, C, P]) -> int:
        """Hold a cursor; → its number."""
        if self.numbers is None:
            self.numbers = count(1)
        number = next(self.numbers)
        self.reading[number] = reading
        return number

    def drop_scratch(self, *, clean: bool) -> None:
        """Give the scratch database up; not clean: its connection is closed, or will be after its transaction."""
        scratch, link, pool = self.scratch, self.scratch_link, self.scratch_pool
        self.scratch = self.scratch_link = self.scratch_pool = None
        if link is None:
            if scratch is not None:
                scratch.close()
        elif pool is None:
            link.spoiled = link.spoiled or not clean
        elif clean:
            pool.release(link)
        else:
            pool.discard(link)

    def leave(self) -> None:
        """Close what a run left open, but its transactions."""
        for reading in self.reading.values():
            if reading.pool is not None and reading.link is not None:
                reading.pool.discard(reading.link)
        self.reading.clear()
        self.drop_scratch(clean=False)
