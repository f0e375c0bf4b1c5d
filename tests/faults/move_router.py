"""What a router may do next, in the model of a move. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.move_answers import Answers, dropped, show
from tests.faults.move_state import (
    GUARDED,
    IDLE,
    OPEN,
    REST,
    Act,
    Catalog,
    Client,
    Op,
    State,
    Step,
    View,
    is_present,
    with_router,
)


def view_of(catalog: Catalog) -> View:
    phase = catalog.phase
    return View(catalog.version, catalog.owner, catalog.epoch, phase in GUARDED, phase != REST)


class Routers(Answers):
    """Successors of a state by a step of one router."""

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
        hides = act.view.hides if rules.scatter_filter_serving else act.view.guarded
        filtered = rules.scatter_filter and (hides or (not act.leased and rules.scatter_filter_unleased))
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
            yield words, with_router(state, number, dropped(router, shard.fence)), None
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
