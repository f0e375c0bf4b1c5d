"""A mover asks for no more than it may. Pure."""

from __future__ import annotations

from typing import Any, cast

from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.throttle import Throttle


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Slow:
    """Shards whose probes take so long, one after the other."""

    def __init__(self, clock: Clock, *probes_s: float) -> None:
        self.clock, self.probes_s = clock, list(probes_s)

    def at(self, shard: str, purpose: str) -> Any:
        return self

    def execute(self, sql: str, params: tuple[Any, ...]) -> None:
        self.clock.sleep(self.probes_s.pop(0) if self.probes_s else 0.0)


def test_so_many_rows_take_their_time_and_a_pause_is_not_made_up_for() -> None:
    clock = Clock()
    throttle = Throttle(cast(Shards, None), 100, None, None, lambda _: None, clock, clock.sleep)
    for _ in range(10):
        throttle.wait(50, ())
    assert 104.8 <= clock.now_s <= 105.2
    clock.sleep(60)
    throttle.wait(100, ())
    assert clock.now_s >= 165.8


def test_while_a_shard_is_slow_nothing_more_is_asked_of_it() -> None:
    clock = Clock()
    throttle = Throttle(
        cast(Shards, Slow(clock, 0.5, 0.5, 0.001)), None, 20.0, None, lambda _: None, clock, clock.sleep
    )
    throttle.wait(1, ("shard_0",))
    assert 101.3 <= clock.now_s <= 101.5, "two slow probes, a pause after each"


def test_while_a_replica_is_behind_nothing_is_written() -> None:
    clock, lags = Clock(), [9.0, 4.0, 0.5, None]
    throttle = Throttle(cast(Shards, None), None, None, 1.0, lambda _: lags.pop(0), clock, clock.sleep)
    throttle.wait(1, ("shard_0",))
    assert clock.now_s == 100.4
