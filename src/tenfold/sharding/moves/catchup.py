"""Follows until little is left; where more is written than can be carried, writers are slowed down. Edge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenfold.errors import MoveError, NodeError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.capture import SLOWED
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.follow import Follower
from tenfold.sharding.moves.installing import set_fences
from tenfold.sharding.moves.work import Work

SMALL = 200
"""So many marks are little enough to begin with the cutover."""
PATIENCE = 3
"""Rounds without progress before writers are slowed down, and again before they are slowed down more."""
DELAYS_MS = (2, 10, 50)
HOLD_S = 0.02
"""How long the write lock of a SQLite shard is held for nothing at a time, at most."""


def catch_up(work: Work, follower: Follower) -> None:
    """Carry marks until they are few. Raises MoveError where they do not become so, however slow the writers."""
    # What a mover that was killed has left.
    set_fences(work, follower.giver, follower.buckets, "captured = 1", SLOWED)
    for delay_ms in (0, *DELAYS_MS):
        with slowed(work, follower, delay_ms):
            if _rounds(work, follower):
                return
    raise MoveError(
        f"more is written to {follower.giver} than can be carried to {follower.taker}",
        hint="try when less is written: `tenfold shard resume`; or `tenfold shard cancel`",
    )


def _rounds(work: Work, follower: Follower) -> bool:
    """Whether little is left; given up after some rounds in which it became no less."""
    least, idle = -1, 0
    while idle < PATIENCE:
        carried, _ = follower.round(follower.buckets)
        left = follower.marks(follower.buckets)
        work.say("following", carried=carried, left=left)
        if left <= SMALL:
            return True
        # A little less in each round would take for ever.
        idle = 0 if least < 0 or left < 0.9 * least else idle + 1
        least = left if least < 0 else min(least, left)
    return False


@contextmanager
def slowed(work: Work, follower: Follower, delay_ms: int) -> Iterator[None]:
    """Each write of the buckets takes so much longer, for the time of the block."""
    if not delay_ms:
        yield
        return
    work.say("slowed", milliseconds=delay_ms)
    if work.shards.dialect is MYSQL:
        try:
            set_fences(work, follower.giver, follower.buckets, f"captured = {1 + delay_ms:d}")
            yield
        finally:
            set_fences(work, follower.giver, follower.buckets, "captured = 1")
        return
    with _held(work, follower.giver, delay_ms / 1000):
        yield


@contextmanager
def _held(work: Work, shard: str, hold_s: float) -> Iterator[None]:
    """SQLite has one writer: who holds its lock half of the time leaves others the other half."""
    stop = threading.Event()
    holder = threading.Thread(target=_hold, args=(work.shards, shard, hold_s, stop.wait, stop.is_set), daemon=True)
    holder.start()
    try:
        yield
    finally:
        stop.set()
        holder.join()


def _hold(
    shards: Shards, shard: str, hold_s: float, wait: Callable[[float], object], ended: Callable[[], bool]
) -> None:
    own = Shards(shards.topology, shards.token)
    try:
        while not ended():
            try:
                with own.transaction(shard, token=False):
                    wait(min(hold_s, HOLD_S))
            except NodeError:
                wait(hold_s)  # others hold it: nothing else was wanted
            wait(min(hold_s, HOLD_S))
    finally:
        own.close()
