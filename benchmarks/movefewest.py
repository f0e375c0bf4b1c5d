"""How many buckets a plan moves, and the fewest that any plan could: found by trying every fair share. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, floor

from tenfold.sharding.buckets import BucketMap, first_fill
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.plan import plan_moves


def fewest() -> Iterator[tuple[str, int, int]]:
    """(case, buckets that the plan moves, the fewest possible)."""
    for count in (1, 2, 3, 4, 7):
        before = dict.fromkeys(_names(count), 1)
        yield _case(f"{count} shards become {count + 1}", before, before | {f"s{count}": 1})
    yield _case("3 shards become 4, the new one twice as large", _even(3), _even(3) | {"s3": 2})
    yield _case("3 shards become 6", _even(3), _even(6))
    yield _case("of 3 shards one gets three times the weight", _even(3), _even(3) | {"s1": 3})
    yield _case("of 4 shards one is drained", _even(4), _even(4) | {"s2": 0})
    yield _case("of 4 shards of weights 3 2 1 1 one is drained", _weights(3, 2, 1, 1), _weights(3, 0, 1, 1))
    yield _case("of 4 shards one goes as another comes", _even(4), _even(4) | {"s0": 0, "s4": 1})


def _names(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


def _even(count: int) -> dict[str, int]:
    return dict.fromkeys(_names(count), 1)


def _weights(*weights: int) -> dict[str, int]:
    return {f"s{number}": weight for number, weight in enumerate(weights)}


def _case(name: str, before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, int, int]:
    owners = first_fill(before)
    sizes = {bucket: 100 + bucket * 7919 % 1000 for bucket in range(BUCKETS)}
    legs = plan_moves(BucketMap(1, owners), after, sizes)
    held = {shard: sum(owner == shard for owner in owners) for shard in after}
    return name, sum(len(leg.buckets) for leg in legs), _least(held, after)


def _least(held: Mapping[str, int], weights: Mapping[str, int]) -> int:
    """Over all ways to round the exact shares up or down so that they add up."""
    exact = [Fraction(BUCKETS * weight, sum(weights.values())) for weight in weights.values()]
    have = [held.get(shard, 0) for shard in weights]
    return min(
        sum(max(0, had - share) for had, share in zip(have, shares, strict=True))
        for shares in itertools.product(*({floor(one), ceil(one)} for one in exact))
        if sum(shares) == BUCKETS
    )
