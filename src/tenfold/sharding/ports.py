"""What sharding asks of the outside: effects that a generator yields, and the driver of a shard. Pure.

Everything above a runner is a generator that yields effects and is sent their results, so sync and
async users run the same logic (docs/design/002-effects.md). An effect that fails is thrown into the
generator as a TenfoldError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Params = Sequence[Any] | Mapping[str, Any]


@dataclass(slots=True)
class Reply:
    """What a shard answered.

    columns    names, empty for a statement without rows
    rows       all of them, in the shard's order
    rowcount   rows changed, or the number of rows of a SELECT
    lastrowid  the id that the shard itself gave to an inserted row, if it did
    types      what the driver says of each column, as PEP 249's type_code; empty where it says nothing
    cursor     instead of rows, where they are to be read as they are wanted
    """

    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[Any, ...]] = ()
    rowcount: int = 0
    lastrowid: int | None = None
    types: tuple[Any, ...] = ()
    cursor: Cursor | None = None


class Cursor(Protocol):
    """Rows of one statement, read from the shard as they are wanted; its connection does nothing else meanwhile."""

    columns: tuple[str, ...]
    types: tuple[Any, ...]

    def fetch(self, count: int) -> Sequence[tuple[Any, ...]]:
        """The next rows, at most `count`; none left: an empty sequence. Errors are TenfoldErrors."""

    def close(self) -> bool:
        """Read no further; → whether the connection can go on with other statements."""


@dataclass(frozen=True, slots=True)
class Send:
    """Run one statement on a shard, → Reply.

    aside    keeps out of the session's transaction, if it has one on that shard
    buckets  the only ones of which it touches rows (numbers of pinned tables too); None: it may touch any
    spoils   the connection is closed at the transaction's end, not used again
    """

    shard: str
    sql: str
    params: Params = ()
    aside: bool = False
    buckets: tuple[int, ...] | None = None
    spoils: bool = False


@dataclass(frozen=True, slots=True)
class SendMany:
    """Run one statement for many rows of parameters, all or none, → Reply with the sum of rowcounts."""

    shard: str
    sql: str
    rows: Sequence[Params]
    aside: bool = False
    buckets: tuple[int, ...] | None = None


_SIDE = "#side"


def side(shard: str) -> str:
    """The shard name of a `Send` that asks about a statement rather than for it: never in a transaction, whatever
    the lease, and on connections of their own. Who holds all others of the shard may have to ask."""
    return shard + _SIDE


def main_shard(name: str) -> str:
    """The shard itself of a name that may be one of `side`."""
    return name.removesuffix(_SIDE)


SCRATCH = "*scratch*"
"""The shard name of a `Send` or `SendMany` to the scratch database of the session."""


@dataclass(frozen=True, slots=True)
class Open:
    """Begin to read the rows of one statement, outside any transaction unless the session has one there,
    → Opened. Whatever a run leaves open is closed at its end."""

    shard: str
    sql: str
    params: Params = ()
    buckets: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A cursor that the runner holds: `number` names it in a Fetch."""

    number: int
    columns: tuple[str, ...]
    types: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """The next rows of an open cursor, → sequence of at most `count` rows; empty at its end."""

    cursor: int
    count: int


@dataclass(frozen=True, slots=True)
class Close:
    """Read no further from these cursors, → None; never fails."""

    cursors: Sequence[int]


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand rows to whoever reads the stream, → None. Only in steps that are streamed."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    types: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """Wait until few enough others of this process bring rows together, → None; given back with `EndScratch`.

    Such a statement holds connections of several shards while it asks for more. If all were held by its like, none
    of them could go on.
    """


@dataclass(frozen=True, slots=True)
class Scratch:
    """Have a database for temporary tables, for this session alone, → None; then Send(SCRATCH, …) goes there.

    On MySQL it is a connection of `shard` that does nothing else meanwhile, so that temporary tables may hide
    the shard's own and the others are seen through; on SQLite a private, empty database that spills to disk.
    """

    shard: str


@dataclass(frozen=True, slots=True)
class EndScratch:
    """Give the scratch database up, → None; never fails. clean: its temporary tables were dropped, so that its
    connection may be used again; else it is closed."""

    clean: bool


@dataclass(frozen=True, slots=True)
class Gather:
    """Run several effects side by side, → list of their answers in order; the first error is raised after all ended."""

    sends: Sequence[Send | SendMany | Open | Fetch]


@dataclass(frozen=True, slots=True)
class Begin:
    """Open a transaction of the session on a shard, → None. reads: it will only read, and keeps nobody from writing."""

    shard: str
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit the session's transaction on a shard, → None. On NodeError the outcome is in doubt."""

    shard: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """Roll the session's transaction on a shard back, → None; never fails."""

    shard: str


@dataclass(frozen=True, slots=True)
class Under:
    """From now on this run is routed by a lease, → None. Each connection is taken, and on SQLite each lock, before
    `holds` is asked, and nothing is sent where it says no: FenceError. holds None: nobody asks."""

    holds: Callable[[], bool] | None


@dataclass(frozen=True, slots=True)
class Chance:
    """Ask for the time and for something that nobody else has, → Drawn."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """now_s: Unix time in seconds; token: 32 random hexadecimal digits."""

    now_s: float
    token: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait `seconds`, → None."""

    seconds: float


Effect = (
    Send | SendMany | Gather | Begin | Commit | Rollback | Chance | Pause
    | Open | Fetch | Close | Emit | Turn | Scratch | EndScratch | Under
)  # fmt: skip
T = TypeVar("T")
Steps = Generator[Effect, Any, T]
"""Logic that asks for effects and returns a T."""


class Observer(Protocol):
    """Is told of each statement on each shard. Called on many threads; must return at once and raise nothing."""

    def statement(self, kind: str, table: str, shard: str, ok: bool, seconds: float) -> None:
        """One statement has ended.

        kind     select, insert, update, delete, ddl, begin, commit or other
        table    the first it names, in lower case; "" without one; never a value
        ok       whether the shard did its part: a value that is taken (ConstraintError) is an answer too
        seconds  what the caller waited, for a free connection too
        """


class Driver(Protocol):
    """One connection to one shard, used by one thread at a time. Errors are TenfoldErrors."""

    def execute(self, sql: str, params: Params, *, stream: bool = False) -> Reply:
        """Run one statement: in the open transaction, else in one of its own. Parameters are `?` or `:name`.

        stream  for a SELECT: the reply holds a cursor and no rows
        """

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Reply:
        """Run one statement for each row of parameters, all or none."""

    def begin(self, *, reads: bool = False) -> None:
        """Open a transaction that may write; waits for the lock as long as the file says. reads: it will not write."""

    def commit(self) -> None:
        """Commit; after an error the connection is closed and the outcome unknown."""

    def rollback(self) -> None:
        """Undo what the open transaction did; nothing when none is open."""

    def close(self) -> None:
        """Close; an open transaction is rolled back. Called while a statement runs on another thread, it stops
        the statement on the shard too."""
