"""What one run of steps holds: open transactions, cursors, a scratch database. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tenfold.errors import FenceError, NodeDown, NodeError, TenfoldError
from tenfold.sharding.poolrules import Link
from tenfold.sharding.ports import SCRATCH, Fetch, Open, Reply, Send, SendMany, main_shard

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

    def discard(self, link: Any, why: str = "cut", *, down: bool = False) -> None:
        """Close a connection."""

    def lends(self, link: Any) -> bool:
        """Whether the connection is this process's."""


def interrupted(shard: str) -> NodeError:
    """What a transaction gets in which a statement did not come to its end."""
    return NodeError(
        f"a statement of the transaction on {shard} was interrupted, and all of it is undone",
        hint="leave the transaction and run all of it again",
    )


def of_the_parent() -> NodeError:
    """What the child of a fork gets that goes on with what was open before."""
    return NodeError(
        "the transaction or stream was begun before the fork, and is the parent's", hint="begin another in the child"
    )


def lapsed() -> FenceError:
    """What a statement gets whose lease has run out before it was sent."""
    error = FenceError("the lease on the bucket map ran out before the statement was sent")
    error.sent = False
    return error


class Crowd(Protocol[D]):
    """Connections on which several threads of one run ask at once."""

    def asked(self, link: Link[D], ask: Callable[[D], Reply]) -> Reply:
        """What `ask` gives on it. Raises NodeDown once the run was interrupted."""


def settle(pool: Lends, link: Any, error: BaseException) -> None:
    """Give a connection back after an error on it."""
    if isinstance(error, TenfoldError) and not isinstance(error, NodeDown):
        pool.release(link)
    elif isinstance(error, NodeDown):
        pool.discard(link, "down", down=True)
    else:
        pool.discard(link)


class Session(Generic[D]):
    """The open transactions of one caller, by shard."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: dict[str, Link[D]] = {}

    def is_copied(self, pools: Mapping[str, Lends]) -> bool:
        """Whether a fork made this of one of the parent's, whose connections these are."""
        return any(not pools[shard].lends(link) for shard, link in self.open.items())


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
    turn          gives its turn back, if it has one
    crowd         what its threads are busy on, while several are
    over          the run has ended; what a thread of it still opens is closed at once
    leased        tells whether the lease that it is routed by still holds; None: nobody asks
    """

    __slots__ = (
        "begun",
        "crowd",
        "leased",
        "numbers",
        "over",
        "reading",
        "scratch",
        "scratch_link",
        "scratch_pool",
        "turn",
    )

    def __init__(self, begun: dict[str, Link[D]]) -> None:
        self.begun = begun
        self.reading: dict[int, Reading[D, C, P]] = {}
        self.numbers: count[int] | None = None
        self.crowd: Crowd[D] | None = None
        self.over = False
        self.leased: Callable[[], bool] | None = None
        self.scratch: D | None = None
        self.scratch_link: Link[D] | None = None
        self.scratch_pool: P | None = None
        self.turn: Callable[[], None] | None = None

    def see_lease(self, shard: str = "") -> None:
        """Just before something is sent on a connection that was taken. Raises FenceError: it must not be sent."""
        if self.leased is not None and main_shard(shard) == shard and not self.leased():
            raise lapsed()

    def locking(self, pool: Any, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What asks for a write: where that locks the whole shard, the lease is looked at under its lock."""
        if self.leased is None or not pool.locks:
            return ask
        return lambda driver: driver.locked(self.see_lease, ask)

    def shard_of(self, effect: Send | SendMany | Open | Fetch) -> str:
        """The shard that an effect of a Gather asks."""
        if not isinstance(effect, Fetch):
            return effect.shard
        reading = self.reading.get(effect.cursor)
        return reading.shard if reading is not None else SCRATCH

    def keep(self, reading: Reading[D, C, P]) -> int:
        """Hold a cursor; → its number."""
        if self.numbers is None:
            self.numbers = count(1)
        number = next(self.numbers)
        self.reading[number] = reading
        if self.over:
            self._close_readings()
        return number

    def failed(self, error: BaseException) -> None:
        """The run ends by `error`. If that is none of ours, it was interrupted, perhaps amid a call, and whatever
        it would still have done in its transactions is not done: nothing may follow in them."""
        if not isinstance(error, TenfoldError):
            for link in self.begun.values():
                link.cut = True

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
        self.over = True
        self._close_readings()
        self.drop_scratch(clean=False)
        self.end_turn()

    def _close_readings(self) -> None:
        while self.reading:  # one by one, as a thread of the run may come with another
            with suppress(KeyError):
                _, reading = self.reading.popitem()
                if reading.pool is not None and reading.link is not None:
                    reading.pool.discard(reading.link)

    @property
    def holds(self) -> bool:
        """Whether there is anything to `leave`."""
        return bool(self.reading) or self.scratch is not None or self.turn is not None

    def end_turn(self) -> None:
        """Let the next one begin."""
        turn, self.turn = self.turn, None
        if turn is not None:
            turn()
