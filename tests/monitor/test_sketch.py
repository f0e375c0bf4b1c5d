"""Quantiles are right to 1.1 %, whatever the data; merging is addition, whatever the order. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.monitor.sketch import ERROR, GAMMA, TINY, Floats, Sketch, bucket_of, merged, middle_of

LARGEST = float(np.finfo(np.float64).max)
ALLOWED = 0.011
QUANTILES = [0.0, 0.001, 0.01, 0.05, 0.07, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0]
SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "lognormal": lambda chance, size: chance.lognormal(math.log(0.08), 1.0, size),
    "pareto": lambda chance, size: 0.001 * (1 + chance.pareto(0.9, size)),
    "bimodal": lambda chance, size: np.where(
        chance.random(size) < 0.9, chance.normal(0.005, 0.0005, size), chance.normal(3.0, 0.2, size)
    ).clip(1e-6),
    "constant": lambda chance, size: np.full(size, 0.0123),
    "milliseconds of nginx": lambda chance, size: np.round(chance.lognormal(math.log(0.002), 1.0, size), 3),
    "all magnitudes": lambda chance, size: 2.0 ** chance.uniform(-1022, 1023, size),
}

durations = st.one_of(
    st.floats(0, LARGEST, allow_nan=False, allow_infinity=False),
    st.floats(1e-4, 10),
    st.sampled_from([0.0, 5e-324, TINY, math.nextafter(TINY, 0), 1.0, GAMMA, 0.001, 2.0**-20, LARGEST]),
)


def of(values: object) -> Sketch:
    sketch = Sketch()
    sketch.add(np.asarray(values, np.float64))
    return sketch


def state(sketch: Sketch) -> tuple[object, ...]:
    first, counts = sketch.buckets
    return first, counts.tolist(), sketch.zeros, sketch.count, sketch.min, sketch.max


def exact(values: Floats, q: float) -> float:
    """The order statistic itself, its rank in whole numbers."""
    rank = max(math.ceil(Fraction(str(q)) * values.size), 1)
    return float(np.sort(values)[rank - 1])


def assert_right(values: Floats, sketch: Sketch) -> None:
    for q, told in zip(QUANTILES, sketch.quantiles(QUANTILES), strict=True):
        true = exact(values, q)
        assert told is not None
        if 0 < q < 1:
            assert abs(told - true) <= ALLOWED * true + (TINY if true < TINY else 0), (q, true, told)
    assert sketch.min == values.min()
    assert sketch.max == values.max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 99, 100, 101, 100_000])
def test_every_quantile_is_right_to_a_hundredth(shape: str, size: int) -> None:
    values = SHAPES[shape](np.random.default_rng(size), size)
    assert_right(values, of(values))


@given(st.lists(durations, min_size=1, max_size=60))
def test_every_quantile_of_any_numbers_is_right_to_a_hundredth(values: list[float]) -> None:
    assert_right(np.array(values), of(values))


def test_quantiles_of_a_constant_are_exact() -> None:
    assert of(np.full(1000, 0.0123)).quantiles(QUANTILES) == [0.0123] * len(QUANTILES)


def test_the_seventh_hundredth_of_a_hundred_is_the_seventh_value() -> None:
    # 0.07 * 100 is a little more than 7 in floats.
    assert of(np.arange(1.0, 101.0)).quantile(0.07) == pytest.approx(7, rel=ALLOWED)


def test_the_extremes_are_exact() -> None:
    sketch = of([0.0123456, 7.654321, 0.3])
    assert (sketch.quantile(0), sketch.quantile(1)) == (0.0123456, 7.654321)
    assert sketch.mean == pytest.approx((0.0123456 + 7.654321 + 0.3) / 3)


def test_zero_and_denormal_numbers_are_counted_as_zero() -> None:
    sketch = of([0.0, 5e-324, math.nextafter(TINY, 0), TINY, 1.0])
    assert (sketch.zeros, sketch.count) == (3, 5)
    assert sketch.quantile(0.5) == 0.0
    assert sketch.quantile(0.8) == pytest.approx(TINY, rel=ALLOWED)


def test_the_largest_number_is_counted_and_its_sum_may_be_infinite() -> None:
    sketch = of([LARGEST, LARGEST])
    assert sketch.quantile(0.5) == LARGEST
    assert sketch.sum == math.inf


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, -math.inf])
def test_what_is_no_duration_is_refused_with_all_that_came_with_it(bad: float) -> None:
    sketch = of([1.0])
    with pytest.raises(ValueError, match="finite numbers from zero on"):
        sketch.add([0.5, bad, 0.7])
    assert (sketch.count, sketch.sum, sketch.max) == (1, 1.0, 1.0)


def test_nothing_has_no_quantile() -> None:
    empty = of([])
    assert (empty.count, empty.quantile(0.5), empty.min, empty.max, empty.mean) == (0, None, None, None, None)


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_share_beyond_all_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        of([1.0]).quantile(q)


def test_buckets_never_change_between_releases() -> None:
    # If this fails, sketches on disk are misread: do not mend the numbers, mend bucket_of.
    known = {1.0: 0, 2.0: 32, 0.5: -32, 0.001: -318, 0.25: -64, 1.5: 19, 10.0: 107, TINY: -32_704, LARGEST: 32_768}
    assert {value: int(bucket_of(np.array(value))) for value in known} == known


def test_a_power_of_two_closes_its_bucket() -> None:
    for power in (-1021, -20, -1, 0, 1, 10, 1023):
        edge = 2.0**power
        below, above = math.nextafter(edge, 0), math.nextafter(edge, math.inf)
        assert bucket_of(np.array([below, edge, above])).tolist() == [32 * power, 32 * power, 32 * power + 1]


def test_the_middle_of_a_bucket_is_equally_far_from_both_its_edges() -> None:
    for bucket in (-500, -1, 0, 1, 33, 500):
        low, high = GAMMA ** (bucket - 1), GAMMA**bucket
        middle = float(middle_of(np.array([bucket]))[0])
        assert middle / low - 1 == pytest.approx(ERROR, rel=1e-9)
        assert 1 - middle / high == pytest.approx(ERROR, rel=1e-9)


@given(st.lists(durations, max_size=40), st.lists(st.integers(0, 40), max_size=6), st.randoms(use_true_random=False))
def test_any_split_merged_in_any_order_gives_the_same_arrays(
    values: list[float], cuts: list[int], chance: object
) -> None:
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [of(values[start:end]) for start, end in pairwise(edges)]
    chance.shuffle(parts)  # type: ignore[attr-defined]
    while len(parts) > 1:  # a tree of merges, not only a row of them
        parts.append(merged(parts[:2]))
        del parts[:2]
    assert state(merged(parts)) == state(of(values))


def test_a_sketch_that_was_merged_does_not_change_with_its_source() -> None:
    source, total = of([1.0]), Sketch()
    total.merge(source)
    source.add([1.0])
    assert total.count == 1


@given(st.lists(durations, max_size=60))
def test_what_is_written_is_read_again(values: list[float]) -> None:
    sketch = of(values)
    again = Sketch.decode(sketch.encode())
    assert (state(again), again.sum) == (state(sketch), sketch.sum)


def test_large_counts_are_written_too() -> None:
    sketch = of([0.5, 2.0**-1000, 2.0**1000])
    for _ in range(40):
        sketch.merge(merged([sketch]))
    again = Sketch.decode(sketch.encode())
    assert state(again) == state(sketch)
    assert again.count == 3 << 40


def test_a_minute_of_requests_is_a_kilobyte() -> None:
    values = SHAPES["lognormal"](np.random.default_rng(1), 6_000)
    assert len(of(values).encode()) < 1_100


@given(st.binary(max_size=200))
def test_bytes_that_are_no_sketch_are_refused_or_read_as_one(data: bytes) -> None:
    for candidate in (data, of([0.1, 0.2, 0.0]).encode()[:-1], b"\x01" + data):
        try:
            sketch = Sketch.decode(candidate)
        except ValueError:
            continue
        assert sketch.encode()


HEADER = "<BqdddiIBB"


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(HEADER, 2, 0, 0.0, 1.0, 1.0, 0, 0, 1, 1),  # another version
        struct.pack(HEADER, 1, 0, 0.0, 1.0, 1.0, 0, 1, 3, 1) + bytes(4),  # a width that is none
        struct.pack(HEADER, 1, -1, 0.0, 1.0, 1.0, 0, 0, 1, 1),  # fewer than none
        struct.pack(HEADER, 1, 0, 0.0, 1.0, 1.0, 0, 1, 1, 1) + b"\x00\x00",  # a bucket that is empty
        struct.pack(HEADER, 1, 0, 0.0, 1.0, 1.0, 0, 2, 8, 1) + struct.pack("<QQ", 0, 1 << 62) + b"\x01\x01",  # far away
        struct.pack(HEADER, 1, 0, 0.0, 1.0, 1.0, 1 << 30, 1, 1, 1) + b"\x00\x01",  # beyond all numbers
        struct.pack(HEADER, 1, 0, 0.0, 2.0, 1.0, 0, 1, 1, 1) + b"\x00\x01",  # least above greatest
        struct.pack(HEADER, 1, 0, 0.0, math.nan, 1.0, 0, 1, 1, 1) + b"\x00\x01",
    ],
)
def test_a_broken_sketch_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Sketch.decode(data)
