"""Carries a plan out, step by step, and takes it back when anything goes wrong. Edge.

Invariant: a step is in the journal before anything of it is done. So whoever comes after a process that was killed
knows every step that may have left a trace.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tenfold.deploy.journal import Held, Journal, Replaced
from tenfold.deploy.lock import Heartbeat
from tenfold.deploy.order import Mark, State
from tenfold.deploy.plan import Item, Phase, Plan, backwards
from tenfold.deploy.steps import Step
from tenfold.errors import DeployError, NodeError, TenfoldError

T = TypeVar("T")
Tell = Callable[[Mapping[str, Any]], None]
"""Is told of what happens, as dicts of JSON's types with an "event"."""
JOURNAL_S = 20.0
"""How long the catalog may be away before a deploy stops where it is; shorter than the shipped lock_s."""


@dataclass(slots=True)
class Left:
    """What could not be taken back: step → why."""

    steps: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def said(self) -> str:
        """All of it, in one line."""
        return "; ".join(f"{name}: {why}" for name, why in self.steps.items())


class Runner:
    """One deploy on its way. make: gives the step of an item, anew each time or not."""

    def __init__(
        self, journal: Journal, held: Held, beat: Heartbeat, number: int, plan: Plan, make: Callable[[Item], Step],
        tell: Tell,
    ) -> None:  # fmt: skip
        self._journal, self._held, self._beat = journal, held, beat
        self._number, self._plan, self._make, self._tell = number, plan, make, tell
        self._position = {item.name: at for at, item in enumerate(i for phase in plan for i in phase.items)}

    @property
    def phases(self) -> Plan:
        """The plan."""
        return self._plan

    async def forward(self, phase: Phase) -> None:
        """Do the steps of a phase. Raises what the first of them that fails raises; the others are stopped."""
        self._tell({"event": "phase", "phase": phase.name})
        lanes = [asyncio.ensure_future(self._lane(lane)) for lane in phase.lanes]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _lane(self, items: tuple[Item, ...]) -> None:
        for item in items:
            await self._step(item)

    async def _step(self, item: Item) -> None:
        self._beat.check()
        await self._write(item, Mark.BEGUN)
        step = self._make(item)
        try:
            if await step.check():
                mark = Mark.SKIPPED
            else:
                await step.apply()
                mark = Mark.DONE
        except asyncio.CancelledError:
            self._say(item, Mark.FAILED, "interrupted")
            raise
        except Exception as error:
            self._say(item, Mark.FAILED, str(error))
            await self._write(item, Mark.FAILED, str(error))
            raise _known(item, error) from error
        told = getattr(step, "told", "")
        await self._write(item, mark, told)
        self._say(item, mark, told)

    async def back(self) -> Left:
        """Take everything back that was begun, the last first → what could not be.

        Raises Replaced where another process does it by now, NodeError where the catalog stays away.
        """
        marks = {name: entry.mark for name, entry in (await self._patiently(self._steps)).items()}
        left = Left()
        for lanes in backwards(self._plan, marks):
            for told in await asyncio.gather(*(self._lane_back(lane) for lane in lanes), return_exceptions=True):
                if isinstance(told, BaseException):
                    raise told
                left.steps |= told
        return left

    def _steps(self) -> Mapping[str, Any]:
        return self._journal.steps(self._number)

    async def _lane_back(self, items: tuple[Item, ...]) -> dict[str, str]:
        for nth, item in enumerate(items):
            self._beat.check()
            await self._write(item, Mark.UNDOING)
            try:
                await self._make(item).undo()
            except Exception as error:
                why = _known(item, error)
                self._say(item, Mark.LEFT, str(why))
                await self._write(item, Mark.LEFT)
                # What came before in this lane stands on what could not be taken back: it waits for that.
                return {item.name: str(why)} | {waiting.name: f"waits for {item.name}" for waiting in items[nth + 1 :]}
            await self._write(item, Mark.UNDONE)
            self._say(item, Mark.UNDONE, "")
        return {}

    async def turn(self, state: State, said: str = "") -> None:
        """Record how the deploy stands."""
        await self._patiently(lambda: self._journal.turn(self._held, self._number, state, said))

    async def _write(self, item: Item, mark: Mark, told: str = "") -> None:
        position = self._position.get(item.name, 0)
        await self._patiently(lambda: self._journal.step(self._held, self._number, position, item.name, mark, told))
        if mark in (Mark.BEGUN, Mark.UNDOING):
            self._say(item, mark, item.said)

    def _say(self, item: Item, mark: Mark, told: str) -> None:
        self._tell({"event": "step", "step": item.name, "host": item.host, "state": mark.value, "said": told})

    async def _patiently(self, act: Callable[[], T]) -> T:
        """Run what asks the catalog in a thread, to its end even when we are cancelled meanwhile; a catalog that is
        away for a moment is waited for."""
        until_s = asyncio.get_running_loop().time() + JOURNAL_S
        while True:
            work = asyncio.ensure_future(asyncio.to_thread(act))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
            except NodeError:
                if asyncio.get_running_loop().time() > until_s:
                    raise
            self._beat.check()
            await asyncio.sleep(0.2)


def _known(item: Item, error: BaseException) -> TenfoldError:
    """The error of a step as one of ours; a bug of ours is named by where it is."""
    if isinstance(error, Replaced | TenfoldError):
        return error
    at = traceback.extract_tb(error.__traceback__)[-1]
    return DeployError(
        f"{item.name}: {type(error).__name__}: {error} ({at.filename.rpartition('/')[2]}, {at.name})",
        hint="please report it",
    )
