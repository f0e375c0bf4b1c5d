"""Moves while others write: every acknowledged write is there once, and nothing else. Edge."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tenfold.sharding.moves.mover import Limits, Mover
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.progress import Progress
from tests.sharding.moves.mover.places import Kill, Killed, Place
from tests.sharding.moves.mover.writers import Writer

SEEDS = range(int(os.environ.get("TENFOLD_FAULT_ROUNDS", "0")) * 20 + 1)


@contextmanager
def writing(place: Place, users: list[int], seed: int, count: int = 2) -> Iterator[list[Writer]]:
    """Writers for the time of the block; what they met is raised at its end."""
    writers = [Writer(place, users[nth::count], seed * 10 + nth) for nth in range(count)]
    for writer in writers:
        writer.start()
    try:
        time.sleep(0.2)
        yield writers
        time.sleep(0.1)
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(20)
    for writer in writers:
        if writer.failed:
            raise writer.failed[0]
        assert writer.done > 10


def beside(place: Place, progress: Progress | None = None) -> Mover:
    """A mover that waits as long as leases last, and for connections to be given up."""
    return place.mover(progress, sleep=time.sleep, limits=Limits(grace_s=10.0))


def wanted(writers: list[Writer], table: str) -> list[tuple[object, ...]]:
    """The rows that there must be."""
    return sorted((row for writer in writers for row in getattr(writer, table).values()), key=repr)


def holds(place: Place, writers: list[Writer]) -> bool:
    """Whether what lies where it belongs is what was acknowledged."""
    rows = place.rows()
    return rows["deposits"] == wanted(writers, "deposits") and rows["notes"] == wanted(writers, "notes")


@pytest.mark.sample("mysql", "finish")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ending", ["finish", "undo"])
def test_no_acknowledged_write_is_lost_by_a_move(place: Place, ending: str, seed: int) -> None:
    leg = place.leg(count=30)
    rest = place.owned(leg.source)[30:40]  # some rows stay
    users = place.users(leg.buckets, 30) + place.users(rest, 5)
    random.Random(seed).shuffle(users)
    with writing(place, users, seed) as writers:
        beside(place).begin([leg])
        assert beside(place).run().phase is Phase.SERVING
        time.sleep(0.1)
        getattr(beside(place), ending)()
    assert holds(place, writers) and not place.left_behind()
    assert sum(writer.refused for writer in writers), "no writer met a fence: the test shows nothing"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mover_killed_again_and_again_loses_no_write(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    leg = place.leg(count=20)
    users = place.users(leg.buckets, 30)
    with writing(place, users, seed) as writers:
        beside(place).begin([leg])
        ending, undone = chance.choice(["finish", "undo"]), False
        for _ in range(12):
            move = place.active()
            if move is None:
                break
            at = _At(chance.randrange(1, 60))
            try:
                if move.phase is Phase.SERVING or (move.phase is Phase.CUTTING and chance.random() < 0.3):
                    undone = undone or move.phase is Phase.CUTTING
                    getattr(beside(place, at), "undo" if undone else ending)()
                else:
                    beside(place, at).run()
            except Killed:
                continue
        while (move := place.active()) is not None:
            mover = beside(place)
            _ = mover.finish() if move.phase is Phase.SERVING else mover.run()
    assert holds(place, writers) and not place.left_behind()


class _At(Kill):
    """Ends the mover before its nth step, whatever it is."""

    def __init__(self, nth: int) -> None:
        super().__init__("", nth)
        self.count = 0

    def step(self, name: str) -> None:
        self.count += 1
        if self.count == self.nth:
            raise Killed(name)
