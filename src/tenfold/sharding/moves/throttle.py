"""Keeps a mover from asking too much: rows a second, and none while a shard is slow or a replica behind. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tenfold.sharding.moves.connections import Shards

PROBE = "SELECT value FROM tf_shard WHERE name = 'cluster'"
PROBE_S = 0.25
"""How often shards are probed."""
PAUSE_S = 0.2
PURPOSE = "probe"


class Throttle:
    """Waits after each chunk. lag: seconds that the replicas of a shard are behind; None where nobody knows."""

    def __init__(
        self, shards: Shards, rows_s: float | None, latency_ms: float | None, lag_s: float | None,
        lag: Callable[[str], float | None], clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._shards, self._lag, self._clock, self._sleep = shards, lag, clock, sleep
        self._rows_s, self._latency_ms, self._lag_s = rows_s, latency_ms, lag_s
        self._due_s = clock()
        self._probed_s = float("-inf")

    def wait(self, count: int, names: Iterable[str]) -> None:
        """After `count` rows that these shards were asked for."""
        if self._rows_s:
            # Time that was not used is not saved up: a pause is not followed by a burst.
            self._due_s = max(self._due_s, self._clock() - 0.1) + count / self._rows_s
            self._pause(self._due_s - self._clock())
        if (self._latency_ms or self._lag_s) and self._clock() - self._probed_s >= PROBE_S:
            while any(self._is_slow(shard) for shard in names):
                self._pause(PAUSE_S)
            self._probed_s = self._clock()

    def _is_slow(self, shard: str) -> bool:
        if self._lag_s is not None and (self._lag(shard) or 0.0) > self._lag_s:
            return True
        if self._latency_ms is None:
            return False
        driver = self._shards.at(shard, PURPOSE)
        began_s = self._clock()
        driver.execute(PROBE, ())
        return (self._clock() - began_s) * 1000 > self._latency_ms

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
