"""Which buckets go where, so that every shard has its share: never more of them than must. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from tenfold.errors import MoveError
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.record import Leg


def plan_moves(
    map: BucketMap, weights: Mapping[str, int], sizes: Mapping[int, int], *, only: str | None = None
) -> tuple[Leg, ...]:
    """The fewest buckets that give every shard its share; the same ones for the same question.

    weights  shard → its share relative to the others; 0, or absent: it is to have none
    sizes    bucket → how much it holds, rows or bytes; absent: nothing is known of it. Among equally few buckets those
             go whose going evens the shards out
    only     the one shard that gives buckets away, however uneven the others are
    Returns  legs in the order of `weights`; none when every share is right. A share is right when it is the exact one,
             rounded up or down: which of the two is up to what must not move.
    Raises   MoveError when no shard has a weight.
    """
    order = [*weights, *(shard for shard in sorted(map.shares()) if shard not in weights)]
    weighed = {shard: weights.get(shard, 0) for shard in order}
    held = {shard: 0 for shard in order} | map.shares()
    if sum(weighed.values()) <= 0:
        raise MoveError("no shard is left that could take the buckets", hint="name one with a weight in tenfold.toml")
    wanted = _filled(held, weighed, only) if only else target_shares(held, weighed)
    load = _Load(map, weighed, sizes)
    going: list[tuple[str, int]] = []
    for shard in order:
        surplus = held[shard] - wanted[shard]
        if surplus > 0:
            going += [(shard, bucket) for bucket in load.give(shard, surplus)]
    taken: dict[tuple[str, str], list[int]] = {}
    room = {shard: wanted[shard] - held[shard] for shard in order if wanted[shard] > held[shard]}
    # The large ones first: the small ones then even out what is left between the shards.
    for source, bucket in sorted(going, key=lambda one: (-sizes.get(one[1], 0), one[1])):
        target = load.neediest(room)
        taken.setdefault((source, target), []).append(bucket)
        load.take(target, bucket)
        room[target] -= 1
        if not room[target]:
            del room[target]
    place = {shard: position for position, shard in enumerate(order)}
    return tuple(
        Leg(source, target, tuple(sorted(buckets)))
        for (source, target), buckets in sorted(taken.items(), key=lambda item: [place[shard] for shard in item[0]])
    )


def target_shares(held: Mapping[str, int], weights: Mapping[str, int], buckets: int = BUCKETS) -> dict[str, int]:
    """How many buckets each shard is to have: its exact share rounded up or down, so that the fewest must move.

    held  how many it has now. Where as many shards could be rounded up, those are that have one bucket more to keep,
          then those whose share is nearest to it, then the first.
    """
    total = sum(weights.values())
    exact = {shard: Fraction(buckets * weight, total) for shard, weight in weights.items()}
    shares = {shard: share.numerator // share.denominator for shard, share in exact.items()}
    spare = buckets - sum(shares.values())
    broken = [shard for shard, share in exact.items() if share.denominator > 1]
    broken.sort(key=lambda shard: (held[shard] <= shares[shard], shares[shard] - exact[shard]))
    for shard in broken[:spare]:
        shares[shard] += 1
    return shares


def _filled(held: Mapping[str, int], weights: Mapping[str, int], leaving: str) -> dict[str, int]:
    """Shares when one shard gives all it has and no other gives any: who has more than enough gets none."""
    full: dict[str, int] = {leaving: 0}
    while True:
        open_to = {shard: weight for shard, weight in weights.items() if shard not in full}
        if not any(open_to.values()):
            raise MoveError("no shard is left that could take the buckets", hint="name one with a weight")
        shares = target_shares(held, open_to, BUCKETS - sum(full.values()))
        over = [shard for shard, share in shares.items() if held[shard] > share]
        if not over:
            return full | shares
        full |= {shard: held[shard] for shard in over}


class _Load:
    """How much every shard holds while buckets are dealt out, and how much would be fair."""

    def __init__(self, map: BucketMap, weights: Mapping[str, int], sizes: Mapping[int, int]) -> None:
        self._sizes = sizes
        self._owned: dict[str, list[int]] = {}
        for bucket, owner in enumerate(map.owners):
            self._owned.setdefault(owner, []).append(bucket)
        whole, total = sum(sizes.get(bucket, 0) for bucket in range(BUCKETS)), sum(weights.values())
        self._missing = {
            shard: Fraction(whole * weight, total) - self._size(self._owned.get(shard, ()))
            for shard, weight in weights.items()
        }

    def _size(self, buckets: Sequence[int]) -> int:
        return sum(self._sizes.get(bucket, 0) for bucket in buckets)

    def give(self, shard: str, count: int) -> Sequence[int]:
        """The `count` buckets of a shard whose size is nearest to what it has too much."""
        owned = sorted(self._owned[shard], key=lambda bucket: (self._sizes.get(bucket, 0), bucket))
        excess = -self._missing[shard]
        # Neighbours in the order of size: each window further on weighs at least as much, so the nearest is where
        # the excess is passed.
        weight = self._size(owned[:count])
        best, nearest = 0, abs(weight - excess)
        for start in range(1, len(owned) - count + 1):
            weight += self._sizes.get(owned[start + count - 1], 0) - self._sizes.get(owned[start - 1], 0)
            if abs(weight - excess) < nearest:
                best, nearest = start, abs(weight - excess)
        return owned[best : best + count]

    def neediest(self, room: Mapping[str, int]) -> str:
        """Of the shards with room for so many buckets the one that lacks most for each of them; the first of equals."""
        return max(room, key=lambda shard: self._missing[shard] / room[shard])

    def take(self, shard: str, bucket: int) -> None:
        """A shard gets a bucket."""
        self._missing[shard] -= self._sizes.get(bucket, 0)
