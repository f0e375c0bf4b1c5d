"""A mover process: asks at each step whether it may go on, and is killed or held there by whoever answers. Edge."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tenfold.errors import TenfoldError
from tenfold.sharding.catalog import load
from tenfold.sharding.engine.router import one_off_runner, read_topology
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.mover import Mover, latest
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.moves.work import Limits
from tests.faults.moving.router import may_be_cut, processed

GRACE_S = 0.2


class Asking:
    """Progress that waits at each step for an answer."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def step(self, name: str) -> None:
        self._line.send(("step", name))
        self._line.recv()

    def rows(self, done: int, total: int) -> None:
        pass

    def say(self, event: dict[str, Any]) -> None:
        self._line.send(("say", event))


def move(
    file: Path, root: Path, name: str, line: Connection, legs: Any, goal: str, turned: bool, ahead: float
) -> None:  # fmt: skip
    """Bring a move nearer to its end: begin it, or take over what is there.

    goal    finish, undo, early
    turned  of "early": that it is to end now, however far it is
    ahead   as in `Limits`
    """

    def work() -> None:
        topology = read_topology(file, None)
        if topology.database.engine.value == "sqlite":
            may_be_cut("shard_0")
        try:
            asking = Asking(line)
            mover = Mover(topology, asking, Limits(grace_s=GRACE_S, ahead=ahead))
            phase = _moved(file, mover, legs, goal, turned)
            line.send(("ended", phase.value))
        except TenfoldError as error:
            line.send(("failed", f"{type(error).__name__}: {error}"))

    processed(root, name, work)


def _moved(file: Path, mover: Mover, legs: Any, goal: str, turned: bool) -> Phase:
    found = latest(mover.topology)
    if found is None:
        found = mover.begin(_legs(file, legs))
    if found.phase is Phase.DONE:
        return found.phase
    if turned and found.phase in (Phase.ANNOUNCED, Phase.CAPTURING, Phase.COPYING, Phase.FOLLOWING):
        return mover.cancel().phase
    if turned and found.phase in (Phase.CUTTING, Phase.SERVING):
        return mover.undo().phase
    if found.phase is not Phase.SERVING:
        found = mover.run()
    if found.phase is Phase.SERVING:
        mover.progress.step("serving")
        found = mover.finish() if goal == "finish" else mover.undo()
    return found.phase


def _legs(file: Path, legs: Any) -> list[Leg]:
    """Legs with the number that the pinned table has got."""
    topology = read_topology(file, None)
    with one_off_runner(topology) as runner:
        numbers = runner.run(load(topology)).numbers
    return [
        Leg(source, target, tuple(numbers["posts"] if bucket == BUCKETS else bucket for bucket in buckets))
        for source, target, buckets in legs
    ]
