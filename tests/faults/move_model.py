"""The move protocol as states and steps, to be explored whole. Pure.

What is modelled. One bucket of one or two rows, two shards, the catalog, up to three routers and two movers. A step
is what nothing can come between: a statement on one server, a look at the own clock, an answer that arrives. Steps
of different actors follow each other in any order; whoever takes no more steps has stopped, crashed or lost the
network. So the second mover may replace the first at any moment, and the first may go on as if nothing had been.
  rows      sets of writes; so a lost, doubled or undone write shows as a bit that is missing (`move_state`)
  time      a lease runs out at any moment; the mover's wait ends only when all leases that it waits for have, and
            a poll that was on its way brings one that has run out. So no clock is needed
  routers   `move_router`, `move_answers`: plan, connect, check the lease, send, check again (lease, or fence row by a
            current read); transactions; scatters; without the catalog they learn a later owner from fence rows
  movers    `move_acts`, `move_carry`, `move_compare`, `move_mover`: announce, wait, capture, copy, follow, compare
            ahead, fence, drain, verify, bump, open, serve, undo, wait again, finish, cancel, take over
  rules     `move_rules`: a switch for each; `move_mutants`: what breaks without it; `move_scenarios`: what meets what

Where it refines the facts (`facts/moves.md`, "What breaks when one rule is taken out"):
  - The check demands `open`, so a fenced source answers no reads: `moved before open` is missed only together with
    that (`open_only`).
  - Whoever takes over kills the DDL connection of those before it. Without that (`ddl_kill`) a zombie leaves triggers
    that nobody drops; names by attempt (`trigger_names`) are missed only together with it. And as with routers, the
    connection comes first, then the look at the token (`ddl_connection_first`): one opened after the kill was not
    killed.
  - Without a lease a scatter filters every bucket (`scatter_filter_unleased`): the router may not have heard of the
    announcement, and the owner's fence row is open while the copy is being built. For the same reason one that was
    sent without a filter is asked again once its lease has run out; the fences are no way out, as they are for a
    statement on one bucket (`scatter_demands_lease`).
  - A mover writes its token only over a smaller one (`token_grows`): else one that is late in it stops its successor,
    and the catalog stops it.
  - Phases are in the catalog, `finishing` and `cancelling` too: whoever takes over does not guess.
  - Once all is cut over the move `serves`, and routers with a lease guard its bucket no more, as at rest; nor while it
    is finished or cancelled. Nothing is taken from the owner then: `undo` is announced first, and all leases from
    before run out ere it fences (`undo_wait`). Scatters go on leaving out copies and remains
    (`scatter_filter_serving`). From the bump until the fences are open the phase is `given`, and guarded. A return
    serves, too, before it is finished; really it goes from `returning` to `cleaning`, and is guarded longer.

  - Where rows are compared ahead of the fence (design 007), the verification sees those in doubt alone. It masks less
    then: that each change commits with a mark (`capture_in_transaction`), and that marks are read to the last behind
    the fence (`drain`), are rules that nothing else stands in for. What a mover wrote wrongly it still stops, by what
    makes for doubts (`move_mutants.AHEAD`).

What is not: XA, several moving buckets at once (so no undo amid the cutover), scatter writes, cascades (argued and
measured in the facts); plain reads inside an old snapshot (their answer is the snapshot's, by their isolation); locks
on rows that a mover writes.

What must hold: P1 every acknowledged write is on the owner, and at rest only there; P2 a transaction is there whole
or not; P3 a read shows all that was acknowledged or read before it began; P4 a scatter sees a row once; P5 from every
state the move can come to rest, tidy; P6 is P1 to P4 in scenarios with cancel and undo.

How to read a trace. Steps from the beginning, the shortest way there; indented, what the step changed. Rows are
`absent`, or the writes that they have seen: {} is a row as it was at first, {0a 1b} one with the first write of
router 0 and the second of router 1. Marks are versions by row, triggers a bit for each mover that made them.
"version -1": planned by what a fence row said.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.move_answers import show
from tests.faults.move_mover import Movers
from tests.faults.move_router import Routers
from tests.faults.move_rules import Rules
from tests.faults.move_state import (
    MOVED,
    OPEN,
    REST,
    Fence,
    Scenario,
    State,
    Step,
    begin,
    holds,
    is_present,
)


class Model:
    """A scenario under rules: where it begins, what may come next, and what must hold."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self._scenario = scenario
        self._routers = Routers(rules, scenario.clients)
        self._movers = Movers(rules, scenario, self._routers)
        # Bits of transactions that write both keys.
        self._pairs = [
            4 << (2 * number + position)
            for number, client in enumerate(scenario.clients)
            for position, op in enumerate(client.ops)
            if op.in_transaction and {("write", 0), ("write", 1)} <= set(op.does)
        ]

    def begin(self) -> State:
        return begin(self._scenario)

    def steps(self, state: State) -> Iterator[Step]:
        for number in range(len(state.routers)):
            for what, after, broken in self._routers.steps(state, number):
                yield f"router {number} {what}", after, broken
        for number in range(len(state.movers)):
            for what, after, broken in self._movers.steps(state, number):
                yield f"mover {number} {what}", after, broken

    def broken(self, state: State) -> str | None:
        """What holds at every moment, and does not."""
        catalog = state.catalog
        rows = state.shards[catalog.owner].rows
        for key, seen in enumerate(state.seen):
            if not holds(rows[key], seen):
                there = f"row {key} is {show(rows[key])} on its owner, shard {catalog.owner}"
                return f"P1 while {catalog.phase}: {there}, not {show(seen)}"
        for bit in self._pairs:
            if (rows[0] & bit and not rows[1] & bit) or (rows[1] & bit and not rows[0] & bit):
                return "P2: half of a transaction is there"
        if catalog.phase == REST and any(map(is_present, state.shards[1 - catalog.owner].rows)):
            return f"P1 while {catalog.phase}: rows are on shard {1 - catalog.owner} too, and no move is announced"
        return None

    def is_at_rest(self, state: State) -> bool:
        """All is done and tidy."""
        catalog = state.catalog
        owner, other = state.shards[catalog.owner], state.shards[1 - catalog.owner]
        clients = zip(state.routers, self._scenario.clients, strict=True)
        return (
            catalog.phase == REST
            and owner.triggers == other.triggers == 0
            and owner.fence == Fence(OPEN, catalog.epoch, catalog.owner)
            and other.fence == Fence(MOVED, catalog.epoch, catalog.owner)
            and all(router.op == len(client.ops) for router, client in clients)
        )

    def difference(self, before: State, after: State) -> Iterator[str]:
        """For a trace: what a step changed in the catalog and on the shards."""
        old, new = before.catalog, after.catalog
        if old != new:
            yield (
                f"catalog: version {new.version}, shard {new.owner} owns it since epoch {new.epoch}, {new.phase}, "
                f"token {new.token}"
            )
        for number in (0, 1):
            if before.shards[number] != after.shards[number]:
                shard = after.shards[number]
                fence = f"{shard.fence.state} {shard.fence.epoch}" if shard.fence else "no fence"
                yield (
                    f"shard {number}: rows {', '.join(map(show, shard.rows))}; marks {shard.marks}; {fence}; "
                    f"triggers {shard.triggers:b}; token {shard.token}; copied {shard.copied}"
                )
