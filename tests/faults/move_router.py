"""What a router may do next, in the model of a move. Pure."""

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
    REST,
    Act,
    Catalog,
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

NOWHERE = View(0, 0, 0, False)
READS = ("read", "scatter")


def view_of(catalog: Catalog) -> View:
    return View(catalog.version, catalog.owner, catalog.epoch, catalog.phase != REST)


def bit_of(number: int, router: Router) -> int:
    """The bit that a write of the operation at hand leaves in a row."""
    return FIRST_BIT << (2 * number + router.op)


class Routers:
    """Successors of a state by a step of one router."""

    def __init__(self, rules: Rules, clients: tuple[Client, ...]) -> None:
        self._rules, self._clients = rules, clients

    def steps(self, state: State, number: int) -> Iterator[Step]:
        router, client = state.routers[number], self._clients[number]
        if router.op == len(client.ops):
            return
        if client.at_once:
            yield from self._at_once(state, number)
            return
        if router.lease and client.lapses:
            yield "the lease runs out", with_router(state, number, router._replace(lease=False)), None
        if client.polls:
            yield from self._poll(state, number, client)
        yield from self._act(state, number, client.ops[router.op])

    def _act(self, state: State, number: int, op: Op) -> Iterator[Step]:
        router = state.routers[number]
        act = router.act
        match act.pc:
            case "idle":
                yield from self._plan(state, number)
            case "unconnected":
                act = act._replace(pc="checked", era=state.era)
                yield "connects", with_router(state, number, router._replace(act=act)), None
            case "connected":
                yield from self._check_lease(state, number)
            case "checked":
                verb = op.does[act.at][0]
                send = {"scatter": self._scatter, "read": self._read, "snapshot": self._read}.get(verb, self._write)
                yield from send(state, number, op)
            case "looked":
                yield from self._change(state, number, op)
            case "answered" if op.does[0][0] == "scatter":
                yield from self._check_scatter(state, number, op)
            case "compared":
                yield from self._check_fence(state, number, op)
            case "answered" | "wrote":
                yield from self._check_answer(state, number, op)
            case "cleared":
                yield from self._go_on(state, number, op)
            case "unmarked":
                yield self._mark(state, number)

    def _at_once(self, state: State, number: int) -> Iterator[Step]:
        router = state.routers[number]
        act = Act("checked", 0, view_of(state.catalog), True, state.era, state.seen)
        sent = with_router(state, number, router._replace(act=act))
        for what, after, broken in self._write(sent, number, self._clients[number].ops[router.op]):
            if after.routers[number].op != router.op:
                yield f"at once {what}", after, broken

    def _poll(self, state: State, number: int, client: Client) -> Iterator[Step]:
        router, view = state.routers[number], view_of(state.catalog)
        if router.poll is not None:
            after = router._replace(view=router.poll, lease=True, poll=None)
            yield f"hears version {router.poll.version}", with_router(state, number, after), None
        elif view != router.view or not router.lease:
            if client.slowly:
                asked = with_router(state, number, router._replace(poll=view))
                yield f"the catalog answers its poll with version {view.version}", asked, None
            else:
                polled = with_router(state, number, router._replace(view=view, lease=True))
                yield f"polls version {view.version}", polled, None

    def _plan(self, state: State, number: int) -> Iterator[Step]:
        router = state.routers[number]
        act = Act("connected", 0, router.view, False, state.era, state.seen)
        words = f"plans by version {router.view.version} and connects to shard {router.view.owner}"
        if not self._rules.connection_first:
            act = act._replace(pc="unconnected", leased=router.lease, era=0)
            words = f"plans by version {router.view.version} and checks the lease: {router.lease}"
        yield words, with_router(state, number, router._replace(act=act)), None

    def _check_lease(self, state: State, number: int) -> Iterator[Step]:
        router = state.routers[number]
        act = router.act
        if act.at == 0 and router.view != act.view:
            yield "has a newer map: plans again", with_router(state, number, router._replace(act=IDLE)), None
            return
        leased = router.lease and router.view.version == act.view.version
        act = act._replace(pc="checked", leased=leased, floor=state.seen if act.at else act.floor)
        words = "the lease holds: sends" if leased else "there is no lease: sends"
        yield words, with_router(state, number, router._replace(act=act)), None

    # Answers.

    def _read(self, state: State, number: int, op: Op) -> Iterator[Step]:
        router = state.routers[number]
        act = router.act
        verb, key = op.does[act.at]
        shard = state.shards[act.view.owner]
        if verb == "snapshot":
            act = act._replace(pc="cleared", past=shard.fence)
            yield "reads another table: its snapshot", with_router(state, number, router._replace(act=act)), None
            return
        row = shard.rows[key]
        act = act._replace(pc="answered", got=((row,),), touched=op.in_transaction)
        words = f"reads row {key} on shard {act.view.owner}: {show(row)}"
        yield words, with_router(state, number, router._replace(act=act)), None

    def _scatter(self, state: State, number: int, _: Op) -> Iterator[Step]:
        router = state.routers[number]
        act, rules = router.act, self._rules
        got = act.got or (None, None)
        filtered = act.view.announced if act.leased else rules.scatter_filter_unleased or act.view.announced
        filtered = filtered and rules.scatter_filter
        for shard in (0, 1):
            if got[shard] is None:
                rows = state.shards[shard].rows
                if filtered and shard != act.view.owner:
                    rows = (0,) * len(rows)
                both = (rows, got[1]) if shard == 0 else (got[0], rows)
                after = act._replace(pc="checked" if None in both else "answered", got=both)
                words = f"scatter on shard {shard}: {', '.join(map(show, rows))}"
                yield words, with_router(state, number, router._replace(act=after)), None

    # Writes.

    def _write(self, state: State, number: int, op: Op) -> Iterator[Step]:
        """The statement reaches the shard. Splits where nothing holds the fence from the trigger's look to the row."""
        router = state.routers[number]
        act = router.act
        verb, key = op.does[act.at]
        shard = state.shards[act.view.owner]
        for other, one in enumerate(state.routers):
            if other != number and one.act.wrote >> key & 1 and one.act.view.owner == act.view.owner:
                return  # waits for the row's lock
        matched = verb == "write" or is_present(shard.rows[key])
        if matched and shard.triggers and shard.fence is not None and shard.fence.state != OPEN:
            words = f"the trigger refuses row {key} on shard {act.view.owner}: {shard.fence.state}"
            yield words, with_router(state, number, _dropped(router, shard.fence)), None
            return
        rules = self._rules
        nothing_holds = not rules.shared_lock if shard.triggers else not rules.trigger_barrier
        if matched and nothing_holds and not self._clients[number].at_once:
            act = act._replace(pc="looked", touched=True, caught=act.caught | bool(shard.triggers) << key)
            words = "its trigger finds the fence open" if shard.triggers else "it finds no triggers"
            yield words, with_router(state, number, router._replace(act=act)), None
            return
        yield from self._change(state, number, op)

    def _change(self, state: State, number: int, op: Op) -> Iterator[Step]:
        """The row changes, or there is none."""
        router, rules = state.routers[number], self._rules
        act = router.act
        verb, key = op.does[act.at]
        shard = state.shards[act.view.owner]
        several = verb == "several" and act.view.owner == 0
        matched = verb == "write" or is_present(shard.rows[key])
        words = f"{verb}s row {key} on shard {act.view.owner}" if matched else f"{verb} of row {key} matches nothing"
        triggers = bool(act.caught >> key & 1 if act.pc == "looked" else shard.triggers)
        checks = (several and rules.several_buckets_check) or (not act.leased and rules.write_check_unleased)
        if op.in_transaction or checks:
            caught = bool(matched and triggers)
            needs_check = checks or (not matched and rules.zero_row_check)
            act = act._replace(
                pc="wrote" if needs_check else "cleared",
                wrote=act.wrote | matched << key,
                caught=act.caught | caught << key,
                held=act.held or (caught and rules.shared_lock),
                touched=True,
            )
            yield f"{words}, uncommitted", with_router(state, number, router._replace(act=act)), None
        elif matched:
            act = act._replace(wrote=1 << key, caught=triggers << key)
            yield words, *self._commit(with_router(state, number, router._replace(act=act)), number, op)
        elif several or not rules.zero_row_check:
            yield f"{words}, and is accepted", *self._commit(state, number, op)
        else:
            after = router._replace(act=act._replace(pc="answered", got=((0,),)))
            yield words, with_router(state, number, after), None

    # Checks after the answer.

    def _believes(self, router: Router) -> bool:
        """Whether the lease holds still, and the version is the one that the statement was planned by."""
        same = router.view.version == router.act.view.version or not self._rules.same_version
        return router.act.leased and ((router.lease and same) or not self._rules.after_check)

    def _check_answer(self, state: State, number: int, op: Op) -> Iterator[Step]:
        router, rules = state.routers[number], self._rules
        act, believed = router.act, self._believes(router)
        if believed and not act.view.announced:
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
        elif believed and not act.view.announced:
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
        yield f"{words}: drops what it did", with_router(state, number, _dropped(router, fence)), None

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
        shard, bit, seen, broken = state.shards[act.view.owner], bit_of(number, router), state.seen, None
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


def _dropped(router: Router, fence: Fence | None) -> Router:
    """Plans again. Without a lease, by what the fence row says of a later owner."""
    router = router._replace(act=IDLE)
    if not router.lease and fence is not None and fence.epoch > router.view.epoch and fence.state in (OPEN, MOVED):
        return router._replace(view=View(-1, fence.to, fence.epoch, True))
    return router


def show(row: int) -> str:
    """A row in a trace."""
    if not is_present(row):
        return "absent"
    writes = [f"{bit // 2}{'ab'[bit % 2]}" for bit in range(6) if row // FIRST_BIT >> bit & 1]
    return "{" + " ".join(writes) + "}"
