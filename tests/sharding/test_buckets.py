"""Which shard owns which bucket. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.sharding.buckets import BucketMap, first_fill, runs
from tenfold.sharding.keys import BUCKETS

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(1, 1000), min_size=1, max_size=40)


def test_three_equal_shards_share_the_buckets_in_three_runs() -> None:
    owners = first_fill({"a": 1, "b": 1, "c": 1})
    assert runs(owners) == [(0, 1364, "a"), (1365, 2730, "b"), (2731, 4095, "c")]
    assert BucketMap(1, owners).shares() == {"a": 1365, "b": 1366, "c": 1365}


def test_one_shard_owns_everything() -> None:
    assert runs(first_fill({"only": 7})) == [(0, BUCKETS - 1, "only")]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(WEIGHTS)
def test_every_bucket_has_an_owner_and_every_share_is_within_a_bucket_of_exact(weights: dict[str, int]) -> None:
    owners = first_fill(weights)
    shares = BucketMap(1, owners).shares()
    assert sum(shares.values()) == BUCKETS
    for shard, weight in weights.items():
        assert abs(shares.get(shard, 0) - BUCKETS * weight / sum(weights.values())) <= 1
    assert [shard for *_, shard in runs(owners)] == [shard for shard in weights if shard in shares]


def test_a_shard_of_weight_zero_owns_nothing() -> None:
    assert BucketMap(1, first_fill({"a": 1, "b": 0})).shares() == {"a": BUCKETS}


@pytest.mark.parametrize("weights", [{}, {"a": 0}])
def test_a_map_without_owners_cannot_be_made(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="weight above zero"):
        first_fill(weights)


def test_a_map_with_holes_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="4096 entries, not 3"):
        BucketMap(1, ("a", "b", "c"))


def test_the_owner_of_a_bucket_is_the_entry_at_its_place() -> None:
    owners = ("a",) * 4000 + ("b",) * 96
    assert [BucketMap(3, owners).shard_of(bucket) for bucket in (0, 3999, 4000, 4095)] == ["a", "a", "b", "b"]


def test_runs_tell_of_scattered_owners() -> None:
    assert runs(["a", "a", "b", "a"]) == [(0, 1, "a"), (2, 2, "b"), (3, 3, "a")]
    assert runs([]) == []
