"""What a mover may do next, in the model of a move. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.faults.move_acts import OVER
from tests.faults.move_compare import Comparing
from tests.faults.move_router import Routers
from tests.faults.move_rules import Rules
from tests.faults.move_state import (
    CANCELLING,
    FENCED,
    FINISHING,
    GIVEN,
    INCOMING,
    MOVED,
    MOVING,
    OPEN,
    REST,
    RETURNING,
    SERVING,
    Catalog,
    Fence,
    Mover,
    Scenario,
    State,
    Step,
    with_shard,
)

LIFE = {
    REST: "announce",
    MOVING: "wait",
    GIVEN: "moved",
    SERVING: "serving",
    RETURNING: "unlearn",
    FINISHING: "leases",
    CANCELLING: "lift",
}
"""Where whoever takes over goes on, by the phase in the catalog."""


class Movers(Comparing):
    """Successors of a state by a step of one mover: a method for each place that it may be in."""

    def __init__(self, rules: Rules, scenario: Scenario, routers: Routers) -> None:
        super().__init__(rules, scenario)
        self._routers = routers

    def steps(self, state: State, number: int) -> Iterator[Step]:
        mover = state.movers[number]
        if mover.pc not in OVER:
            step: Callable[[State, int, Mover], Iterator[Step]] = getattr(self, "at_" + mover.pc)
            yield from step(state, number, mover)

    # Taking over.

    def at_off(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if state.catalog.phase != REST or self._is_asked_for(state):
            catalog = state.catalog._replace(token=number + 1)
            yield self._go("takes over in the catalog", state._replace(catalog=catalog), number, mover, "token")

    def at_token(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """On one shard after the other, where the token there is smaller."""
        shard = 0 if mover.then == "" else 1
        if state.shards[shard].token > number + 1 and self._rules.token_grows:
            yield self._stop(state, number)
            return
        after = state.shards[shard]._replace(token=number + 1)
        mover, pc = (mover._replace(then="token"), "token") if shard == 0 else (mover._replace(then=""), "replace")
        yield self._go(f"writes its token on shard {shard}", with_shard(state, shard, after), number, mover, pc)

    def at_replace(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Kills the DDL connections of others: of those after it too, if it has been replaced meanwhile."""
        movers = state.movers
        if self._rules.ddl_kill:
            movers = tuple(m._replace(ddl="killed") if m.ddl == "open" else m for m in movers)
        mover = mover._replace(ddl="open" if self._rules.ddl_connection_first else "none")
        pc, words = "check", "kills the DDL connections of others, and takes its own"
        if not self._rules.ddl_connection_first:
            pc, words = "find", "kills the DDL connections of others"
        yield self._go(words, state._replace(movers=movers), number, mover, pc)

    def at_connect(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        yield self._go("takes other DDL connections", state, number, mover._replace(ddl="open"), "check")

    def at_check(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """One that came after the kill finds the token of whoever killed."""
        if any(shard.token != number + 1 for shard in state.shards):
            yield self._stop(state, number)
        else:
            yield self._go("has its token on both shards still", state, number, mover, "find")

    def at_find(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Reads how far the move has come."""
        catalog = state.catalog
        pc = LIFE[catalog.phase] if catalog.phase != REST or self._is_asked_for(state) else "done"
        before_bump = catalog.phase not in (GIVEN, SERVING, FINISHING)
        src = catalog.owner if before_bump else 1 - catalog.owner
        mover = mover._replace(src=src, epoch=catalog.epoch + before_bump)
        yield self._go(f"finds the move {catalog.phase}", state, number, mover, pc)

    # Up to the bump.

    def at_announce(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        catalog = state.catalog
        mover = mover._replace(src=catalog.owner, epoch=catalog.epoch + 1)
        after = catalog._replace(announced_at=catalog.version + 1, moves=catalog.moves + 1)
        yield from self._phase("announces the move", state, number, mover, "wait", MOVING, after)

    def at_wait(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        since = state.catalog.announced_at
        words = "every earlier lease has run out"
        if self._rules.lease_wait:
            yield from self._once_lapsed(words, state, number, mover, "incoming", lambda view: view.version < since)
        else:
            yield self._go("does not wait", state, number, mover, "incoming")
        yield from self._may_cancel(state, number, mover)

    def at_incoming(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        target = 1 - mover.src
        after = state.shards[target]._replace(fence=Fence(INCOMING, mover.epoch - 1, mover.src))
        pc = "capture" if self._rules.capture_first else "copy"
        yield from self._on_shard("sets the fence to incoming", state, number, mover, pc, target, after)

    def at_capture(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        yield from self._create(state, number, mover, "copy" if self._rules.capture_first else "follow", mover.src)
        yield from self._may_cancel(state, number, mover)

    def at_follow(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if self._scenario.follow and any(state.shards[mover.src].marks):
            yield self._read_marks(state, number, mover._replace(then="follow"))
        early = not self._rules.capture_first and not self._rules.survey_after_capture
        pc = "survey" if self._scenario.ahead and not early else "fence"
        if self._rules.reverse_before_open:
            yield from self._create(state, number, mover, pc, 1 - mover.src)
        else:
            step: Callable[[State, int, Mover], Iterator[Step]] = getattr(self, "at_" + pc)
            yield from step(state, number, mover)
        yield from self._may_cancel(state, number, mover)

    def at_compared(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Marks may be carried before the fence, and rows in doubt looked at again."""
        if self._scenario.follow and any(state.shards[mover.src].marks):
            yield self._read_marks(state, number, mover._replace(then="compared"))
        for key in range(len(state.shards[mover.src].rows)):
            if mover.doubts >> key & 1:
                yield self._look(state, number, mover._replace(then="relieve"), key)
        yield from self.at_fence(state, number, mover)
        yield from self._may_cancel(state, number, mover)

    # The cutover.

    def at_fence(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if any(router.act.held and router.act.view.owner == mover.src for router in state.routers):
            return
        source = state.shards[mover.src]
        pc = "drain" if self._rules.drain else "verify"
        after = source._replace(fence=Fence(FENCED, mover.epoch - 1, mover.src)) if self._rules.fence else source
        yield from self._on_shard("fences", state, number, mover, pc, mover.src, after)

    def at_drain(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if any(state.shards[mover.src].marks):
            yield self._read_marks(state, number, mover._replace(then="drain"))
        else:
            yield from self.at_verify(state, number, mover)

    def at_verify(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Compares by locking reads, which wait for uncommitted rows; where that was done ahead, what is in doubt."""
        if any(router.act.wrote and router.act.view.owner == mover.src for router in state.routers):
            return
        ready = "bump" if self._rules.bump_before_open else "moved"
        first, second = state.shards
        both = list(zip(first.rows, second.rows, strict=True))
        if self._scenario.ahead:
            both = [rows for key, rows in enumerate(both) if mover.doubts >> key & 1]
        if all(one == other for one, other in both) or not self._rules.verification:
            yield self._go("finds source and target alike", state, number, mover, ready)
        else:
            replaced = first.token != number + 1 or second.token != number + 1
            broken = None if replaced else "V: the verification stopped the move"
            yield *self._go("finds source and target unlike", state, number, mover, "differ")[:2], broken

    def at_differ(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if state.catalog.phase == RETURNING:
            yield self._go("gives up", state, number, mover, "stopped")
        else:
            yield from self._cancel(state, number, mover)

    def at_bump(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """The point of no return."""
        catalog = state.catalog
        if catalog.token != number + 1 and self._rules.compare_and_set:
            yield self._stop(state, number)
            return
        catalog = catalog._replace(version=catalog.version + 1, owner=1 - mover.src, epoch=mover.epoch, phase=GIVEN)
        after = state._replace(catalog=catalog, era=state.era + 1)
        pc = "moved" if self._rules.bump_before_open else "serve"
        yield self._go(f"bumps the epoch to {mover.epoch}", after, number, mover, pc)

    def at_moved(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if not self._rules.moved_before_open and state.shards[1 - mover.src].fence != Fence(
            OPEN, mover.epoch, 1 - mover.src
        ):
            yield from self.at_open(state, number, mover)
            return
        after = state.shards[mover.src]._replace(fence=Fence(MOVED, mover.epoch, 1 - mover.src))
        pc = "open" if self._rules.moved_before_open else self._after_open()
        yield from self._on_shard("sets the fence to moved", state, number, mover, pc, mover.src, after)

    def at_open(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        target = 1 - mover.src
        after = state.shards[target]._replace(fence=Fence(OPEN, mover.epoch, target))
        pc = self._after_open() if self._rules.moved_before_open else "moved"
        yield from self._on_shard("opens the fence", state, number, mover, pc, target, after)

    def _after_open(self) -> str:
        if not self._rules.bump_before_open:
            return "bump"
        return "serve" if self._rules.reverse_before_open else "reverse"

    def at_reverse(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        yield from self._create(state, number, mover, "serve", 1 - mover.src)

    # After it.

    def at_serve(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """From here on nobody guards the bucket. A return comes by here, too, on its way to its end."""
        yield from self._phase("says that all is cut over", state, number, mover, "serving", SERVING)

    def at_serving(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        catalog = state.catalog
        if self._scenario.undo and catalog.epoch == 2:
            back = mover._replace(src=catalog.owner, epoch=catalog.epoch + 1)
            after = catalog._replace(announced_at=catalog.version + 1)
            yield from self._phase("undoes the move", state, number, back, "unlearn", RETURNING, after)
        if self._scenario.finish:
            yield from self._phase("finishes the move", state, number, mover, "leases", FINISHING)
        if self._scenario.cancel and not self._rules.forward_only:
            # Not even by taking the owner back: what the target took meanwhile stays behind.
            yield from self._cancel(state, number, mover, catalog._replace(owner=mover.src, epoch=catalog.epoch - 1))

    def at_unlearn(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """Who went by a move that serves did not guard its bucket."""
        since = state.catalog.announced_at
        words = "every lease from before the return has run out"
        if self._rules.undo_wait:
            yield from self._once_lapsed(words, state, number, mover, "follow", lambda view: view.version < since)
        else:
            yield self._go("does not wait", state, number, mover, "follow")

    def at_leases(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        epoch, words = state.catalog.epoch, "every lease by an older epoch has run out"
        if self._rules.finish_wait:
            yield from self._once_lapsed(words, state, number, mover, "marker", lambda view: view.epoch < epoch)
        else:
            yield self._go("does not wait", state, number, mover, "marker")

    def at_marker(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        marked = state._replace(era=max(state.era, mover.epoch))
        mover = mover._replace(then="delete")
        words = "takes the marker connection, raises the version"
        yield from self._phase(words, marked, number, mover, "kill" if self._rules.kill else "drop_src", FINISHING)

    def at_kill(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """There was a bump for each epoch after the first; the marker comes after them."""
        limit = mover.epoch if self._rules.late_kill_limit else mover.epoch - 1
        after = state
        for one in range(len(state.routers)):
            if self._routers.is_connected(state, one, mover.src) and state.routers[one].act.era < limit:
                after = self._routers.killed(after, one)
        yield self._go(f"kills older connections to shard {mover.src}", after, number, mover, "drop_src")

    def at_drop_src(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        yield from self._drop(state, number, mover, "drop_dst", mover.src)

    def at_drop_dst(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        last = mover.then if self._rules.announcement_last else "clear"
        yield from self._drop(state, number, mover, last, 1 - mover.src)

    def at_delete(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        """The remains on the source; the next move may copy to it from the start."""
        source = state.shards[mover.src]
        after = source._replace(rows=(0,) * len(source.rows), copied=0)
        if not self._rules.tombstones:
            after = after._replace(fence=None)
        pc = "clear" if self._rules.announcement_last else "done"
        yield from self._on_shard("deletes the remains", state, number, mover, pc, mover.src, after)

    def _is_asked_for(self, state: State) -> bool:
        """Whether at rest there is a move still to be made: the first, or a second one after it."""
        return state.catalog.moves < (2 if self._scenario.again else 1)

    def at_clear(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        pc = "announce" if number and self._is_asked_for(state) else "done"
        if not self._rules.announcement_last:
            pc = mover.then
        yield from self._phase("clears the announcement", state, number, mover, pc, REST)

    # Cancel.

    def _may_cancel(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        if self._scenario.cancel and state.catalog.phase == MOVING:
            yield from self._cancel(state, number, mover)

    def _cancel(self, state: State, number: int, mover: Mover, after: Catalog | None = None) -> Iterator[Step]:
        mover = mover._replace(batch=())
        yield from self._phase("cancels the move", state, number, mover, "lift", CANCELLING, after)

    def at_lift(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        source = state.shards[mover.src]
        after = source._replace(fence=Fence(OPEN, mover.epoch - 1, mover.src))
        mover = mover._replace(then="erase")
        yield from self._on_shard("lifts the fence", state, number, mover, "drop_src", mover.src, after)

    def at_erase(self, state: State, number: int, mover: Mover) -> Iterator[Step]:
        target = state.shards[1 - mover.src]
        none = (0,) * len(target.rows)
        after = target._replace(rows=none, copied=0, fence=Fence(MOVED, mover.epoch - 1, mover.src))
        pc = "clear" if self._rules.announcement_last else "done"
        yield from self._on_shard("deletes the copies", state, number, mover, pc, 1 - mover.src, after)
