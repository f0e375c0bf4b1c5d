"""The shapes of a mover's steps, in the model of a move: on a shard, in the catalog, a wait, DDL. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.faults.move_rules import Rules
from tests.faults.move_state import Catalog, Mover, Scenario, Shard, State, Step, View, with_mover, with_shard

OVER = ("stopped", "done")


class Acts:
    """Each yields no successor while it has to wait, else one."""

    def __init__(self, rules: Rules, scenario: Scenario) -> None:
        self._rules, self._scenario = rules, scenario

    def _go(self, what: str, state: State, number: int, mover: Mover, pc: str) -> Step:
        _, src, epoch, batch, then, ddl, doubts = mover
        return (
            what,
            with_mover(state, number, Mover(pc) if pc in OVER else Mover(pc, src, epoch, batch, then, ddl, doubts)),
            None,
        )

    def _stop(self, state: State, number: int) -> Step:
        return self._go("finds itself replaced, and stops", state, number, Mover("stopped"), "stopped")

    def _on_shard(
        self, what: str, state: State, number: int, mover: Mover, pc: str, shard: int, after: Shard
    ) -> Iterator[Step]:
        """A transaction on a shard: only while the mover's token is there."""
        if state.shards[shard].token != number + 1 and self._rules.token_on_shards:
            yield self._stop(state, number)
        else:
            yield self._go(f"{what} on shard {shard}", with_shard(state, shard, after), number, mover, pc)

    def _phase(
        self, what: str, state: State, number: int, mover: Mover, pc: str, phase: str, after: Catalog | None = None
    ) -> Iterator[Step]:
        """The next phase in the catalog, by compare-and-set on the token. after: what else changes there with it."""
        if state.catalog.token != number + 1 and self._rules.phase_by_token:
            yield self._stop(state, number)
            return
        catalog = (after or state.catalog)._replace(version=state.catalog.version + 1, phase=phase)
        yield self._go(what, state._replace(catalog=catalog), number, mover, pc)

    def _once_lapsed(
        self, what: str, state: State, number: int, mover: Mover, pc: str, too_old: Callable[[View], bool]
    ) -> Iterator[Step]:
        """Goes on once no lease by an old view is left; what polls on their way bring has lapsed by then."""
        routers = state.routers
        if any(router.lease and too_old(router.view) for router in routers):
            return
        if self._rules.lease_from_poll_start:
            routers = tuple(r._replace(poll=None) if r.poll and too_old(r.poll) else r for r in routers)
        yield self._go(what, state._replace(routers=routers), number, mover, pc)

    def _ddl(
        self, what: str, state: State, number: int, mover: Mover, pc: str, shard: int, mask: int
    ) -> Iterator[Step]:
        """CREATE or DROP TRIGGER, which carries no token; it waits for open transactions."""
        if mover.ddl == "killed" and self._rules.ddl_connection_first:
            yield self._go("finds its DDL connection killed, and starts again", state, number, mover, "connect")
            return
        mover = mover._replace(ddl="open")
        if (self._rules.trigger_barrier or what != "creates triggers") and any(
            router.act.touched and router.act.view.owner == shard for router in state.routers
        ):
            return
        after = state.shards[shard]._replace(triggers=mask)
        if not mask:
            after = after._replace(marks=(0,) * len(after.marks))
        yield self._go(f"{what} on shard {shard}", with_shard(state, shard, after), number, mover, pc)

    def _create(self, state: State, number: int, mover: Mover, pc: str, shard: int) -> Iterator[Step]:
        mask = state.shards[shard].triggers | 1 << number if self._rules.trigger_names else 1
        yield from self._ddl("creates triggers", state, number, mover, pc, shard, mask)

    def _drop(self, state: State, number: int, mover: Mover, pc: str, shard: int) -> Iterator[Step]:
        mask = state.shards[shard].triggers & ~((2 << number) - 1) if self._rules.trigger_names else 0
        yield from self._ddl("drops triggers and marks", state, number, mover, pc, shard, mask)
