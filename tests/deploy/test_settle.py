"""A release that ends some seconds after its start answers every gate well; it is found all the same. Edge."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy.backends import Restart, no_ending
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.making import Making
from tenfold.deploy.order import Kind, Order
from tenfold.deploy.plan import LOCAL, Act, Item
from tenfold.errors import GateError
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.deploy.places import FILE
from tests.deploy.test_preflight import supervised

ORDER = Order(Kind.DEPLOY, "r2", "c2", "main", {f"backend_{n}": "r1" for n in range(3)})


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    """Three backends of this machine, watched for a while."""
    (tmp_path / "tenfold.toml").write_text(FILE.replace("lock_s = 2.0", "settle_s = 2.0"))
    return load(tmp_path / "tenfold.toml")


def program(position: int, pid: int, state: str = "up") -> dict[str, Any]:
    """What the supervisor says of a backend."""
    return {"name": f"backend_{position}", "kind": "backend", "state": state, "pid": pid, "release": "r2"}


@pytest.mark.parametrize("now", [program(0, 7, "backing off"), program(0, 8), program(1, 7)])
def test_a_backend_that_has_ended_since_its_restart_is_found_though_it_runs_again(
    now: dict[str, Any], topology: Topology
) -> None:
    async def look(programs: list[dict[str, Any]]) -> None:
        fleet = Fleet(topology)
        async with supervised(Path(topology.root), programs):
            await no_ending(fleet, {0: (7, time.monotonic())})

    asyncio.run(look([program(0, 7)]))
    with pytest.raises(GateError, match=r"backend_0 has ended within \d+ s after it was well") as error:
        asyncio.run(look([now]))
    assert error.value.hint == "tenfold logs backend_0"


@pytest.mark.parametrize("act", [Act.READY, Act.VERIFY])
def test_neither_the_next_backend_nor_the_end_of_the_deploy_passes_by_one_that_has_ended(
    act: Act, topology: Topology
) -> None:
    async def step() -> None:
        fleet = Fleet(topology)
        make = Making(fleet, ORDER)
        last = make(Item("backend_1.restart", Act.RESTART, "backend_1", "", LOCAL, 1))
        assert isinstance(last, Restart)
        last.started[1] = (8, time.monotonic())  # as its apply does
        made = make(Item(f"it.{act}", act, "it", "", LOCAL, 1))
        async with supervised(Path(topology.root), [program(1, 9)]):
            await made.apply()

    with pytest.raises(GateError, match="backend_1 has ended"):
        asyncio.run(step())
