"""What there is in the model of a move: a catalog, two shards, routers, movers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# A row is the set of all that was ever done to it: two marks and a bit for each write. So "a later state of
# the same row" is "has more bits". A row that was deleted keeps its bits in the model, though no reader sees them.
BORN, DEAD, FIRST_BIT = 1, 2, 4

# Phases of the catalog. GIVEN: from the bump until the fences say so too, in a move as in its return.
REST, MOVING, GIVEN, SERVING, RETURNING, FINISHING, CANCELLING = (
    "at rest", "moving", "given", "serving", "returning", "finishing", "cancelling",
)  # fmt: skip
GUARDED = (MOVING, GIVEN, RETURNING)
"""In the others nothing is taken from the owner: it would be announced before, and waited for."""
# States of a fence row.
OPEN, FENCED, MOVED, INCOMING = "open", "fenced", "moved", "incoming"


class View(NamedTuple):
    """What a router knows. version: -1 if it was learnt from a fence row, not from the catalog; guarded: the owner
    may change at any moment; hides: who is not the owner may have copies, or remains."""

    version: int
    owner: int
    epoch: int
    guarded: bool
    hides: bool


class Catalog(NamedTuple):
    """announced_at: the version of the last announcement, of a move or of its return; moves: how many there were."""

    version: int
    owner: int
    epoch: int
    phase: str
    announced_at: int
    moves: int
    token: int


class Fence(NamedTuple):
    """epoch: since when this shard is the owner (`open`, `fenced`) or `to` is (`moved`)."""

    state: str
    epoch: int
    to: int


class Shard(NamedTuple):
    """rows, marks: one for each key, a mark is its version or 0; triggers: bit n is set if those of mover n
    exist; copied: how many keys the copy to this shard has passed."""

    rows: tuple[int, ...]
    marks: tuple[int, ...]
    triggers: int
    fence: Fence | None
    token: int
    copied: int


class Act(NamedTuple):
    """Where a router is in its statement or transaction.

    at       the statement of the transaction
    view     what the statement was planned by; its owner is asked
    leased   whether the lease held that very version when it was checked before sending
    era      when the connection was opened: how many bumps and markers there had been
    floor    by key, all that was acknowledged or read before the statement began
    got      the answers: of a read, the row; of a scatter, by shard, the rows
    wrote    keys with an uncommitted write, as a bit set; caught: those of them that a trigger marked
    held     it holds a lock on the fence row; touched: on the table (CREATE TRIGGER waits for it)
    past     the fence row as its snapshot shows it
    """

    pc: str = "idle"
    at: int = 0
    view: View = View(0, 0, 0, False, False)
    leased: bool = False
    era: int = 0
    floor: tuple[int, ...] = ()
    got: tuple[tuple[int, ...] | None, ...] = ()
    wrote: int = 0
    caught: int = 0
    held: bool = False
    touched: bool = False
    past: Fence | None = None


IDLE = Act()


class Router(NamedTuple):
    """poll: what the catalog has answered and the router has not heard yet; op: which of its operations runs."""

    view: View
    lease: bool
    poll: View | None
    op: int
    act: Act


class Mover(NamedTuple):
    """src, epoch: what it moves from, and the owner's epoch that it makes; batch: what it read and has not
    written yet, (version of the mark, row) by key; then: what comes after the batch; ddl: its connections for DDL,
    none, open or killed; doubts: the keys whose rows it has to compare behind the fence, as a bit set."""

    pc: str
    src: int = 0
    epoch: int = 0
    batch: tuple[tuple[int, int], ...] = ()
    then: str = ""
    ddl: str = "none"
    doubts: int = 0


class State(NamedTuple):
    """era: bumps and markers so far; seen: by key, all that was acknowledged to or read by anyone."""

    catalog: Catalog
    shards: tuple[Shard, ...]
    routers: tuple[Router, ...]
    movers: tuple[Mover, ...]
    era: int
    seen: tuple[int, ...]


Step = tuple[str, State, str | None]
"""What happens, the state after it, and the property that it breaks, if it does."""


@dataclass(frozen=True, slots=True)
class Op:
    """What a router does. does: (verb, key)...; verbs: read; write (an upsert); update; delete; several (an update
    that also changes a row of a bucket that stays on shard 0); snapshot (of another table); scatter.
    in_transaction: BEGIN before, COMMIT after."""

    does: tuple[tuple[str, int], ...]
    in_transaction: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """A router. polls: it reaches the catalog; slowly: an answer takes its time; lapses: its lease may run out
    while it is at work; leased: it begins with a lease; at_once: it polls, plans, sends and has its answer in one
    step (a write whose router never dawdles: it keeps the model small)."""

    ops: tuple[Op, ...]
    polls: bool = True
    slowly: bool = False
    lapses: bool = True
    leased: bool = True
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen. rows: by key, whether it exists at the start; movers: 2: at any moment another one may take
    over; cancel, undo, finish: may be asked for; again: a further move may follow; follow: marks are carried over
    before the fence too; late: the first of two movers has not written its token on the shards yet; ahead: rows are
    compared before the fence, and behind it those in doubt."""

    clients: tuple[Client, ...]
    rows: tuple[bool, ...] = (True,)
    movers: int = 1
    cancel: bool = False
    undo: bool = False
    finish: bool = True
    again: bool = False
    follow: bool = False
    late: bool = False
    ahead: bool = False


def is_present(row: int) -> bool:
    return row & (BORN | DEAD) == BORN


def holds(row: int, floor: int) -> bool:
    """Whether `row` can be what has come of `floor`. One that is not there must have been deleted, or never born."""
    return floor & ~row == 0 if is_present(row) else row & DEAD != 0 or not is_present(floor)


def begin(scenario: Scenario) -> State:
    """Shard 0 owns the bucket. The first mover has its token everywhere, or in the catalog only."""
    rows = tuple(BORN if there else 0 for there in scenario.rows)
    none = (0,) * len(rows)
    view = View(1, 0, 1, False, False)
    token = 0 if scenario.late else 1
    return State(
        Catalog(1, 0, 1, REST, 0, 0, 1),
        (Shard(rows, none, 0, Fence(OPEN, 1, 0), token, 0), Shard(none, none, 0, Fence(MOVED, 1, 0), token, 0)),
        tuple(Router(view, c.leased and not c.at_once, None, 0, IDLE) for c in scenario.clients),
        (Mover("announce", ddl="open") if token else Mover("token"), Mover("off"))[: scenario.movers],
        0,
        rows,
    )


def with_shard(state: State, number: int, shard: Shard) -> State:
    catalog, (first, second), routers, movers, era, seen = state
    return State(catalog, (shard, second) if number == 0 else (first, shard), routers, movers, era, seen)


def with_router(state: State, number: int, router: Router) -> State:
    catalog, shards, routers, movers, era, seen = state
    return State(catalog, shards, (*routers[:number], router, *routers[number + 1 :]), movers, era, seen)


def with_mover(state: State, number: int, mover: Mover) -> State:
    catalog, shards, routers, movers, era, seen = state
    return State(catalog, shards, routers, (*movers[:number], mover, *movers[number + 1 :]), era, seen)


def put(values: tuple[int, ...], key: int, value: int) -> tuple[int, ...]:
    """`values` with one replaced."""
    return (*values[:key], value, *values[key + 1 :])
