"""Where a deploy is worked on: the lock held, its heartbeat going, what a killed one has left taken back. Edge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tenfold.audit.trail import whoami
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.journal import Held, Journal
from tenfold.deploy.lock import Heartbeat, take
from tenfold.deploy.making import Making
from tenfold.deploy.order import KILLED, Deployed, History, State
from tenfold.deploy.plan import planned
from tenfold.deploy.report import Reporter
from tenfold.deploy.run import Left, Runner, Tell
from tenfold.errors import DeployError, TenfoldError
from tenfold.topology.model import Topology


@dataclass(slots=True)
class Desk:
    """What a process that holds the lock works with. recovered: the deploy that it had to take back first."""

    topology: Topology
    journal: Journal
    held: Held
    beat: Heartbeat
    fleet: Fleet
    reporter: Reporter
    tell: Tell
    recovered: Deployed | None = None

    async def history(self) -> History:
        """All deploys, as they stand now."""
        return await asyncio.to_thread(self.journal.history)

    def runner(self, deployed: Deployed, make: Making) -> Runner:
        """What carries a deploy out, or takes it back."""
        plan = planned(self.topology, deployed.order)
        return Runner(self.journal, self.held, self.beat, deployed.id, plan, make, self.tell)

    async def take_back(self, deployed: Deployed, runner: Runner, why: str) -> Left:
        """Take everything of a deploy back → what could not be; the journal and the report say so."""
        self.tell({"event": "undo", "deploy": deployed.id, "release": deployed.order.release, "why": why})
        await runner.turn(State.UNDOING, why)
        left = await runner.back()
        said = f"{why}; left: {left.said}" if left else why
        await runner.turn(State.STUCK if left else State.UNDONE, said)
        await self.reporter.tell(self.journal, deployed.id, left)
        return left

    async def recover(self) -> Deployed | None:
        """Take back what a killed process has left → that deploy. Raises DeployError where that did not go whole."""
        found = (await self.history()).unfinished
        if found is None:
            return None
        why = found.said
        if found.state is State.RUNNING:
            why = f"{found.who} {KILLED}"
        elif found.state is State.UNDOING and KILLED not in why:
            why += f"; {found.who} {KILLED} of taking it back"
        runner = self.runner(found, Making(self.fleet, found.order))
        left = await self.take_back(found, runner, why)
        if left:
            raise stuck(found, left)
        return found


@asynccontextmanager
async def desk(topology: Topology, tell: Tell, *, all_hosts: bool = False) -> AsyncIterator[Desk]:
    """Hold the lock for a while, and take back what a killed deployer has left. Raises DeployError (retryable) while
    somebody else holds it.

    all_hosts  touch nothing where one of them cannot be reached: HostError. Else it is named by the step that needs it

    Where the lock is lost, the task is cancelled, and what it does next is refused.
    """
    journal = Journal(topology)
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None  # noqa: S101  within a coroutine

    def lost() -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(me.cancel, "the lock is another's")

    lock_s = topology.deploy.lock_s
    fleet: Fleet | None = None
    held: Held | None = None
    try:
        held = await _taken(journal, lock_s, lambda text: tell({"event": "said", "said": text}))
        with Heartbeat(Journal(topology), held, lock_s, lost) as beat:
            fleet = Fleet(topology, held.fence)
            away = await fleet.raise_fence()
            if away and all_hosts:
                raise next(iter(away.values()))
            work = Desk(topology, journal, held, beat, fleet, Reporter(topology, tell), tell)
            work.recovered = await work.recover()
            yield work
    finally:
        if fleet is not None:
            await fleet.close()
        if held is not None:
            kept = held
            with suppress(TenfoldError):
                await asyncio.to_thread(lambda: journal.release(kept))
        await asyncio.to_thread(journal.close)


async def _taken(journal: Journal, lock_s: float, said: Callable[[str], None]) -> Held:
    stop = threading.Event()

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise DeployError("interrupted")

    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(
        asyncio.to_thread(
            lambda: take(journal.open(), whoami(), lock_s, said=lambda text: _soon(loop, said, text), pause=pause)
        )
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            journal.release(work.result())
        raise


def _soon(loop: asyncio.AbstractEventLoop, said: Callable[[str], None], text: str) -> None:
    loop.call_soon_threadsafe(said, text)


def stuck(deployed: Deployed, left: Left) -> DeployError:
    """What is said where something could not be taken back."""
    return DeployError(
        f"deploy {deployed.id} of {deployed.order.release} could not be taken back whole; left: {left.said}",
        hint="mend what is named, then `tenfold rollback` takes the rest back",
    )
