"""Steps carried out and taken back, with a real journal under them. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy.journal import Journal, Replaced
from tenfold.deploy.lock import Heartbeat, take
from tenfold.deploy.order import Kind, Mark, Order
from tenfold.deploy.plan import Act, Item, Phase
from tenfold.deploy.run import Runner
from tenfold.errors import DeployError
from tenfold.topology.model import Topology
from tests.deploy.places import place

ORDER = Order(Kind.DEPLOY, "r1", "c1", "main", {"backend_0": None})


class Lamp:
    """A step that switches something on, and off again."""

    def __init__(self, name: str, on: list[str], how: str = "") -> None:
        self.name, self.said = name, ""
        self.host: str | None = None
        self._on, self._how = on, how

    async def check(self) -> bool:
        return self._how == "was on"

    async def apply(self) -> None:
        self._on.append(self.name)
        if self._how == "bursts":
            raise DeployError("it burst", hint="another lamp")
        if self._how == "hangs":
            await asyncio.sleep(600)

    async def undo(self) -> None:
        if self._how == "stuck":
            raise OSError("the switch is stuck")
        if self.name in self._on:
            self._on.remove(self.name)


class House:
    """Lamps by name, in lanes a, b and c; "a2": the second of lane a."""

    def __init__(self, topology: Topology, *phases: Mapping[str, str]) -> None:
        self.on: list[str] = []
        self.how = {name: how for phase in phases for name, how in phase.items()}
        self.topology, self.told = topology, list[Mapping[str, Any]]()
        self.plan = tuple(
            Phase(
                str(nth),
                tuple(
                    tuple(Item(name, Act.BUILD, lane, "") for name in phase if name[0] == lane)
                    for lane in sorted({name[0] for name in phase})
                ),
            )
            for nth, phase in enumerate(phases)
        )

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[Runner]:
        journal = Journal(self.topology).open()
        self.held = take(journal, "ann", 30.0)
        self.number = journal.begin(self.held, ORDER)
        self.journal = journal
        with Heartbeat(Journal(self.topology), self.held, 30.0, lambda: None) as beat:
            yield Runner(
                journal, self.held, beat, self.number, self.plan,
                lambda item: Lamp(item.name, self.on, self.how[item.name]), self.told.append,
            )  # fmt: skip
        journal.close()

    def marks(self) -> dict[str, Mark]:
        return {name: entry.mark for name, entry in self.journal.steps(self.number).items()}


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return place(tmp_path / "shop")


def test_a_failed_step_stops_those_beside_it_and_everything_is_taken_back(topology: Topology) -> None:
    house = House(topology, {"a1": "", "b1": "was on"}, {"a2": "hangs", "b2": "bursts"}, {"a3": ""})

    async def night() -> None:
        async with house.runner() as runner:
            await runner.forward(house.plan[0])
            with pytest.raises(DeployError, match="it burst"):
                await runner.forward(house.plan[1])
            assert sorted(house.on) == ["a1", "a2", "b2"]
            assert house.marks() == {
                "a1": Mark.DONE, "b1": Mark.SKIPPED, "a2": Mark.BEGUN, "b2": Mark.FAILED,
            }  # fmt: skip
            assert not await runner.back()
            assert set(house.marks().values()) == {Mark.UNDONE}

    asyncio.run(night())
    assert house.on == []


def test_what_cannot_be_taken_back_keeps_its_own_lane_and_no_other(topology: Topology) -> None:
    house = House(topology, {"a1": "", "a2": "stuck", "a3": "", "b1": ""}, {"c1": ""})

    async def night() -> None:
        async with house.runner() as runner:
            for phase in house.plan:
                await runner.forward(phase)
            left = await runner.back()
            assert "a2: OSError: the switch is stuck" in left.steps["a2"]
            assert left.steps["a1"] == "waits for a2"
            assert sorted(house.on) == ["a1", "a2"]
            house.how["a2"] = ""  # mended: whoever comes next finishes it
            assert not await runner.back()

    asyncio.run(night())
    assert house.on == []


def test_who_was_replaced_begins_no_step_and_takes_none_back(topology: Topology) -> None:
    house = House(topology, {"a1": ""}, {"a2": ""})

    async def night() -> None:
        async with house.runner() as runner:
            await runner.forward(house.plan[0])
            other = Journal(topology)
            assert other.take(other.holder(), "bob", 30.0)
            other.close()
            with pytest.raises(Replaced):
                await runner.forward(house.plan[1])
            with pytest.raises(Replaced):
                await runner.back()

    asyncio.run(night())
    assert house.on == ["a1"]


def test_interrupted_in_the_middle_of_a_step_it_is_in_the_journal(topology: Topology) -> None:
    house = House(topology, {"a1": "hangs"})

    async def night() -> None:
        async with house.runner() as runner:
            work = asyncio.ensure_future(runner.forward(house.plan[0]))
            while not house.on:
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert house.marks() == {"a1": Mark.BEGUN}
            await runner.back()

    asyncio.run(night())
    assert house.on == []
