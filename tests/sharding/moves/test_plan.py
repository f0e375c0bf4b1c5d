"""Which buckets go where: never more than must, evenly, and the same for the same question. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.errors import MoveError
from tenfold.sharding.buckets import BucketMap, first_fill
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.plan import plan_moves, target_shares
from tenfold.sharding.moves.record import Leg

SHARDS = "abcdef"
WEIGHTS = st.dictionaries(st.sampled_from(SHARDS), st.integers(0, 50), min_size=1, max_size=6).filter(
    lambda weights: sum(weights.values()) > 0
)


@st.composite
def maps(draw: st.DrawFn) -> BucketMap:
    """A map that some history of moves could have left."""
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), max_size=8)))
    owners: list[str] = []
    for cut in [*cuts, BUCKETS]:
        owners += draw(st.sampled_from(SHARDS)) * (cut - len(owners))
    return BucketMap(1, tuple(owners))


def fewest(held: Mapping[str, int], weights: Mapping[str, int]) -> int:
    """The least number of buckets that must move, whichever shares are rounded up."""
    total = sum(weights.values())
    shards = sorted({*held, *weights})
    floors = {shard: BUCKETS * weights.get(shard, 0) // total for shard in shards}
    broken = [shard for shard in shards if BUCKETS * weights.get(shard, 0) % total]
    spare = BUCKETS - sum(floors.values())
    return min(
        sum(max(0, held.get(shard, 0) - floors[shard] - (shard in up)) for shard in shards)
        for up in combinations(broken, spare)
    )


def after(map: BucketMap, legs: tuple[Leg, ...]) -> BucketMap:
    for leg in legs:
        assert {map.shard_of(bucket) for bucket in leg.buckets} == {leg.source}
        map = map.moved(leg.buckets, leg.target, 2)
    return map


@settings(deadline=None, derandomize=True, max_examples=60)
@given(maps(), WEIGHTS)
def test_never_a_bucket_more_than_must_and_none_twice(map: BucketMap, weights: dict[str, int]) -> None:
    sizes = {bucket: (bucket * 2654435761) % 1000 for bucket in range(BUCKETS)}
    legs = plan_moves(map, weights, sizes)
    moved = [bucket for leg in legs for bucket in leg.buckets]
    assert len(moved) == len(set(moved)) == fewest(map.shares(), weights)
    assert all(leg.buckets and leg.source != leg.target for leg in legs)
    assert len({(leg.source, leg.target) for leg in legs}) == len(legs)
    total, shares = sum(weights.values()), after(map, legs).shares()
    for shard in {*weights, *shares}:
        assert abs(shares.get(shard, 0) - BUCKETS * weights.get(shard, 0) / total) < 1
    assert plan_moves(map, weights, dict(reversed(sizes.items()))) == legs
    assert plan_moves(after(map, legs), weights, sizes) == ()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(maps(), WEIGHTS)
def test_who_leaves_gives_all_and_nobody_else_gives_any(map: BucketMap, weights: dict[str, int]) -> None:
    leaving = map.owners[0]
    weights = weights | {leaving: 0}
    if not sum(weights.values()):
        return
    legs = plan_moves(map, weights, {}, only=leaving)
    assert {leg.source for leg in legs} == {leaving}
    assert sum(len(leg.buckets) for leg in legs) == map.shares()[leaving]
    assert leaving not in after(map, legs).shares()
    assert all(weights.get(leg.target) for leg in legs)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.dictionaries(st.sampled_from(SHARDS), st.integers(1, 50), min_size=1))
def test_a_map_as_it_is_first_filled_needs_no_move(weights: dict[str, int]) -> None:
    assert plan_moves(BucketMap(1, first_fill(weights)), weights, {}) == ()


def test_one_more_shard_takes_its_share_from_all() -> None:
    three = BucketMap(1, first_fill({"a": 1, "b": 1, "c": 1}))
    legs = plan_moves(three, {"a": 1, "b": 1, "c": 1, "d": 1}, {})
    assert [(leg.source, leg.target, len(leg.buckets)) for leg in legs] == [
        ("a", "d", 341), ("b", "d", 342), ("c", "d", 341)
    ]  # fmt: skip


def test_several_new_shards_are_filled_at_once() -> None:
    legs = plan_moves(BucketMap(1, ("a",) * BUCKETS), {"a": 1, "b": 1, "c": 2}, {})
    assert [(leg.source, leg.target, len(leg.buckets)) for leg in legs] == [("a", "b", 1024), ("a", "c", 2048)]


def test_a_shard_that_is_drained_goes_to_the_others_by_weight() -> None:
    owners = ("a",) * 1024 + ("b",) * 1024 + ("c",) * 2048
    legs = plan_moves(BucketMap(1, owners), {"a": 1, "b": 1, "c": 0}, {}, only="c")
    assert [(leg.source, leg.target, len(leg.buckets)) for leg in legs] == [("c", "a", 1024), ("c", "b", 1024)]


@pytest.mark.parametrize("heavy", [range(0, 100), range(500, 2000, 7), range(0, 2048, 2)])
def test_among_equally_few_those_go_that_even_the_rows_out(heavy: range) -> None:
    # "b" holds little, "a" all that is heavy.
    sizes = {bucket: (100 if bucket in heavy else 1) for bucket in range(BUCKETS)}
    owners = ("a",) * 2048 + ("b",) * 2048
    legs = plan_moves(BucketMap(1, owners), {"a": 1, "b": 1, "c": 1}, sizes)
    held: dict[str, int] = dict.fromkeys("abc", 0)
    for bucket, owner in enumerate(after(BucketMap(1, owners), legs).owners):
        held[owner] += sizes[bucket]
    before = sum(sizes[bucket] for bucket in range(2048))
    fair = sum(sizes.values()) / 3
    assert sum(len(leg.buckets) for leg in legs) == fewest({"a": 2048, "b": 2048}, dict.fromkeys("abc", 1))
    # As even as so few buckets can make it, or nearly: what "a" has too much went as far as it fits into them.
    most = sum(sorted((sizes[bucket] for bucket in range(2048)), reverse=True)[: 2048 - 1365])
    assert held["a"] <= max(fair + 100, before - most + 100)


def test_what_is_known_of_rows_spreads_them_over_two_new_shards() -> None:
    sizes = {bucket: 1 + (bucket % 64) ** 2 for bucket in range(BUCKETS)}
    map = BucketMap(1, ("a",) * BUCKETS)
    held: dict[str, int] = dict.fromkeys("abc", 0)
    for bucket, owner in enumerate(after(map, plan_moves(map, dict.fromkeys("abc", 1), sizes)).owners):
        held[owner] += sizes[bucket]
    assert max(held.values()) / min(held.values()) < 1.01


def test_without_a_shard_to_take_them_nothing_is_planned() -> None:
    map = BucketMap(1, ("a",) * BUCKETS)
    with pytest.raises(MoveError, match="no shard is left"):
        plan_moves(map, {"a": 0}, {})
    with pytest.raises(MoveError, match="no shard is left"):
        plan_moves(map, {"a": 0, "b": 0}, {}, only="a")


def test_a_share_between_two_numbers_is_rounded_where_that_saves_a_move() -> None:
    assert target_shares({"a": 1366, "b": 1365, "c": 1365}, dict.fromkeys("abc", 1)) == {
        "a": 1366,
        "b": 1365,
        "c": 1365,
    }
    assert target_shares({"a": 1365, "b": 1365, "c": 1366}, dict.fromkeys("abc", 1)) == {
        "a": 1365,
        "b": 1365,
        "c": 1366,
    }
