"""Which shard owns which bucket. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.sharding.keys import BUCKETS


@dataclass(frozen=True, slots=True)
class BucketMap:
    """bucket → shard, with an epoch that grows by one with every change.

    owners  one shard name a bucket, BUCKETS of them, in bucket order
    epochs  since which its owner has each bucket, likewise; empty: since the first
    pinned  number of a pinned table → its shard, and since which epoch
    """

    epoch: int
    owners: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    pinned: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.owners) != BUCKETS:
            raise ValueError(f"a bucket map has {BUCKETS} entries, not {len(self.owners)}")

    def shard_of(self, bucket: int) -> str:
        """The shard that owns a bucket, or has the pinned table of that number; "": every shard has it."""
        return self.owners[bucket] if bucket < BUCKETS else self.pinned.get(bucket, ("", 1))[0]

    def since(self, bucket: int) -> int:
        """The epoch since which it does."""
        if bucket >= BUCKETS:
            return self.pinned.get(bucket, ("", 1))[1]
        return self.epochs[bucket] if self.epochs else 1

    def moved(self, buckets: Iterable[int], to: str, epoch: int) -> BucketMap:
        """The map in which `to` has owned `buckets` since `epoch`."""
        owners, epochs, pinned = list(self.owners), list(self.epochs or (1,) * BUCKETS), dict(self.pinned)
        for bucket in buckets:
            if bucket < BUCKETS:
                owners[bucket], epochs[bucket] = to, epoch
            else:
                pinned[bucket] = (to, epoch)
        return BucketMap(max(epoch, self.epoch), tuple(owners), tuple(epochs), pinned)

    def shares(self) -> dict[str, int]:
        """How many buckets each shard owns; shards that own none are absent."""
        counts: dict[str, int] = {}
        for owner in self.owners:
            counts[owner] = counts.get(owner, 0) + 1
        return counts


def first_fill(weights: Mapping[str, int]) -> tuple[str, ...]:
    """Owners of a new map: contiguous runs in the order of `weights`, sized by weight.

    Shares differ from the exact ones by less than one bucket; a shard with weight above
    zero gets at least none when there are more shards than buckets.
    """
    total = sum(weights.values())
    if not weights or total <= 0:
        raise ValueError("a bucket map needs a shard with a weight above zero")
    owners: list[str] = []
    passed = 0
    for shard, weight in weights.items():
        passed += weight
        # Rounding the running total keeps every share within one bucket and the sum exact.
        owners += [shard] * (round(BUCKETS * passed / total) - len(owners))
    return tuple(owners)


def runs(owners: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first bucket, last bucket, shard) of each run with one owner, for people and for messages."""
    found: list[tuple[int, int, str]] = []
    for bucket, owner in enumerate(owners):
        if found and found[-1][2] == owner:
            found[-1] = (found[-1][0], bucket, owner)
        else:
            found.append((bucket, bucket, owner))
    return found
