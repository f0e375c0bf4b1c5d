"""What becomes of an answer that a router has, in the model of a move: checks, commits, acknowledgements. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.move_rules import Rules
from tests.faults.move_state import (
    BORN,
    DEAD,
    FENCED,
    FIRST_BIT,
    IDLE,
    MOVED,
    OPEN,
    Act,
    Client,
    Fence,
    Op,
    Router,
    State,
    Step,
    View,
    holds,
    is_present,
    put,
    with_router,
    with_shard,
)

NOWHERE = View(0, 0, 0, False, False)
READS = ("read", "scatter")


class Answers:
    """The latter half of `Routers`."""

    def __init__(self, rules: Rules, clients: tuple[Client, ...]) -> None:
        self._rules, self._clients = rules, clients

    # Checks after the answer.

    def _believes(self, router: Router) -> bool:
        """Whether the lease holds still, and the version is the one that the statement was planned by."""
        same = router.view.version == router.act.view.version or not self._rules.same_version
        return router.act.leased and ((router.lease and same) or not self._rules.after_check)

    def _check_answer(self, state: State, number: int, op: Op) -> Iterator[Step]:
        router, rules = state.routers[number], self._rules
        act, believed = router.act, self._believes(router)
        if believed and not act.view.guarded:
            yield "the lease still holds", *self._accept(state, number, op)
        elif op.does[act.at][0] != "read" or (
            rules.read_check_guarded if believed else act.leased or rules.read_check_unleased
        ):
            yield from self._check_fence(state, number, op)
        else:
            yield "does not look at the fence", *self._accept(state, number, op)

    def _check_scatter(self, state: State, number: int, op: Op) -> Iterator[Step]:
        """All have answered. Planned with a lease, that must hold still, whatever the fences say."""
        router, rules = state.routers[number], self._rules
        act, believed = router.act, self._believes(router)
        if act.leased and not believed and rules.scatter_demands_lease:
            again = with_router(state, number, router._replace(act=IDLE))
            yield "the lease no longer holds: asks again", again, None
        elif believed and not act.view.guarded:
            yield "the lease still holds", *self._accept(state, number, op)
        elif rules.scatter_compare:
            compared = with_router(state, number, router._replace(act=act._replace(pc="compared")))
            yield "must look at the fence", compared, None
        else:
            yield "does not look at the fence", *self._accept(state, number, op)

    def _check_fence(self, state: State, number: int, op: Op) -> Iterator[Step]:
        router, rules = state.routers[number], self._rules
        act = router.act
        owner = act.view.owner
        fence = state.shards[owner].fence
        seen = fence if rules.current_read or act.past is None else act.past
        words = f"looks at the fence on shard {owner}: " + (f"{seen.state} {seen.epoch}" if seen else "no row")
        if self._passes(seen, act.view):
            if act.pc == "wrote":
                act = act._replace(held=True)
            after = with_router(state, number, router._replace(act=act))
            yield f"{words}, as it should be", *self._accept(after, number, op)
            return
        yield f"{words}: drops what it did", with_router(state, number, dropped(router, fence)), None

    def _passes(self, fence: Fence | None, view: View) -> bool:
        if fence is None:
            return True
        state_passes = fence.state == OPEN or (fence.state == FENCED and not self._rules.open_only)
        return state_passes and (fence.epoch == view.epoch or not self._rules.epoch_in_fence)

    # What comes of it.

    def _accept(self, state: State, number: int, op: Op) -> tuple[State, str | None]:
        """The answer counts."""
        router = state.routers[number]
        act = router.act
        verb, key = op.does[act.at]
        if verb == "scatter":
            return self._end(state, number), self._broken_by_scatter(act)
        if act.pc == "wrote":
            return with_router(state, number, router._replace(act=act._replace(pc="cleared"))), None
        if verb in READS:
            assert act.got[0] is not None
            row = act.got[0][0]
            broken = None if holds(row, act.floor[key]) else f"P3: read {show(row)}, after {show(act.floor[key])}"
            seen = state.seen[key] | row if is_present(row) else state.seen[key]
            state = state._replace(seen=put(state.seen, key, seen))
            if not op.in_transaction:
                return self._end(state, number), broken
            return with_router(state, number, router._replace(act=act._replace(pc="cleared", got=()))), broken
        if op.in_transaction:
            return with_router(state, number, router._replace(act=act._replace(pc="cleared"))), None
        return self._commit(state, number, op)

    def _broken_by_scatter(self, act: Act) -> str | None:
        for key, floor in enumerate(act.floor):
            rows = [got[key] for got in act.got if got is not None and is_present(got[key])]
            if len(rows) > 1:
                return f"P4: row {key} seen twice"
            if not rows and is_present(floor):
                return f"P4: row {key} not seen"
            if rows and not holds(rows[0], floor):
                return f"P3: scatter shows {show(rows[0])}, after {show(floor)}"
        return None

    def _go_on(self, state: State, number: int, op: Op) -> Iterator[Step]:
        """The next statement of a transaction, or its commit."""
        router = state.routers[number]
        act = router.act
        if act.at + 1 < len(op.does):
            after = router._replace(act=act._replace(pc="connected", at=act.at + 1))
            yield "goes on in its transaction", with_router(state, number, after), None
        else:
            yield "commits", *self._commit(state, number, op)

    def _commit(self, state: State, number: int, op: Op) -> tuple[State, str | None]:
        """All that it wrote is there at once, and acknowledged."""
        router, rules = state.routers[number], self._rules
        act = router.act
        shard, seen, broken = state.shards[act.view.owner], state.seen, None
        bit = FIRST_BIT << (2 * number + router.op)
        rows, marks = shard.rows, shard.marks
        for verb, key in op.does:
            if act.wrote >> key & 1:
                now = BORN | bit | (DEAD if verb == "delete" else 0)
                rows = put(rows, key, rows[key] | now)
                seen = put(seen, key, seen[key] | now)
                if act.caught >> key & 1 and rules.capture_in_transaction:
                    marks = put(marks, key, marks[key] + 1)
            elif verb in ("update", "several") and is_present(act.floor[key]):
                broken = f"P1: an update of row {key} was acknowledged, and it did nothing"
        state = with_shard(state, act.view.owner, shard._replace(rows=rows, marks=marks))
        state = state._replace(seen=seen)
        if act.caught and not rules.capture_in_transaction:
            late = Act("unmarked", view=act.view, caught=act.caught)
            return with_router(state, number, router._replace(act=late)), broken
        return self._end(state, number), broken

    def _mark(self, state: State, number: int) -> Step:
        """The mark that was not written in the writer's transaction."""
        act = state.routers[number].act
        shard = state.shards[act.view.owner]
        marks = tuple(mark + (act.caught >> key & 1) for key, mark in enumerate(shard.marks))
        return "marks it", self._end(with_shard(state, act.view.owner, shard._replace(marks=marks)), number), None

    def _end(self, state: State, number: int) -> State:
        """The operation is over. After the last, nothing of the router matters any more."""
        router = state.routers[number]
        op = router.op + 1
        if op == len(self._clients[number].ops):
            return with_router(state, number, Router(NOWHERE, False, None, op, IDLE))
        return with_router(state, number, router._replace(op=op, act=IDLE))

    def is_connected(self, state: State, number: int, shard: int) -> bool:
        """Whether it has a connection to the shard in use. An answered statement needs its own no more."""
        act, op = state.routers[number].act, state.routers[number].op
        if op == len(self._clients[number].ops) or act.pc in ("idle", "unconnected", "unmarked"):
            return False
        does = self._clients[number].ops[op]
        if act.pc in ("answered", "compared") and not does.in_transaction:
            return False
        return act.view.owner == shard or does.does[0][0] == "scatter"

    def killed(self, state: State, number: int) -> State:
        """Its connection has gone: a read is asked again, a write is in doubt and never tried again."""
        router = state.routers[number]
        if self._clients[number].ops[router.op].does[0][0] in READS:
            return with_router(state, number, router._replace(act=IDLE))
        return self._end(state, number)


def dropped(router: Router, fence: Fence | None) -> Router:
    """Plans again. Without a lease, by what the fence row says of a later owner."""
    router = router._replace(act=IDLE)
    if not router.lease and fence is not None and fence.epoch > router.view.epoch and fence.state in (OPEN, MOVED):
        return router._replace(view=View(-1, fence.to, fence.epoch, True, True))
    return router


def show(row: int) -> str:
    """A row in a trace."""
    if not is_present(row):
        return "absent"
    writes = [f"{bit // 2}{'ab'[bit % 2]}" for bit in range(6) if row // FIRST_BIT >> bit & 1]
    return "{" + " ".join(writes) + "}"
