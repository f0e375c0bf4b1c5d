"""Ids are unique, carry their bucket, and mind no clock. Pure."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.sharding.ids import (
    BASE_S,
    MAX_ID,
    SEQUENCES,
    WORKERS,
    IdSource,
    Window,
    id_bucket,
    id_clock,
    id_second,
)
from tenfold.sharding.keys import BUCKETS

NOW_S = BASE_S + 1000.0


def source(worker: int = 0, start: int = 0, end: int = 2000) -> IdSource:
    return IdSource(Window(worker, start, end))


def drawn(of: IdSource, bucket: int | None, now_s: float = NOW_S) -> int:
    found = of.draw(bucket, now_s)
    assert found is not None
    return found


def test_the_layout_of_an_id_never_changes() -> None:
    # If this fails, ids that are stored already would be looked for on the wrong shard.
    assert drawn(source(worker=5), 2589, BASE_S + 7.9) == 2589 << 51 | 7 << 20 | 5 << 10 | 0
    assert id_bucket(2589 << 51 | 7 << 20 | 5 << 10) == 2589
    assert id_second(2589 << 51 | 7 << 20 | 5 << 10) == BASE_S + 7


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, BUCKETS - 1), st.integers(0, WORKERS - 1), st.integers(0, 2**31 - 2))
def test_an_id_carries_its_bucket_and_second_in_63_bits(bucket: int, worker: int, second: int) -> None:
    found = drawn(source(worker, 0, 2**31), bucket, BASE_S + second)
    assert 0 <= found <= MAX_ID < 2**63
    assert id_bucket(found) == bucket
    assert id_second(found) == BASE_S + second


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, BUCKETS - 1, None]), st.floats(0, 60), st.integers(0, 1), st.integers(1, 1500)
        ),
        max_size=20,
    )
)
def test_no_id_is_drawn_twice_whatever_the_clock_does(draws: list[tuple[int | None, float, int, int]]) -> None:
    sources = [source(worker=0), source(worker=1)]
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    for bucket, now_s, which, count in draws:
        lane = bucket is None  # ids of the key table and of other tables are of different tables
        for _ in range(count):
            found = drawn(sources[which], bucket, BASE_S + now_s)
            assert found not in seen[lane]
            seen[lane].add(found)


def test_ids_of_one_bucket_grow_even_when_the_clock_goes_back() -> None:
    of = source()
    found = [drawn(of, 9, NOW_S + step) for step in (0, 5, -100, 3, 5.5)]
    assert found == sorted(found)


def test_a_second_that_is_full_runs_over_into_the_next() -> None:
    of = source()
    found = [drawn(of, 9) for _ in range(SEQUENCES + 1)]
    assert id_second(found[-2]) == NOW_S and id_second(found[-1]) == NOW_S + 1


def test_the_key_table_has_four_million_ids_a_second() -> None:
    of = source()
    of.last[-1] = (1000, SEQUENCES * BUCKETS - 2)
    assert id_second(drawn(of, None)) == NOW_S
    assert id_second(drawn(of, None)) == NOW_S + 1


def test_a_source_stops_at_the_end_of_its_window() -> None:
    of = source(end=1001)
    assert of.draw(9, NOW_S) is not None
    assert of.draw(9, NOW_S + 1) is None
    assert [of.draw(9, NOW_S) for _ in range(SEQUENCES)][-1] is None


def test_a_clock_that_is_behind_does_not_leave_the_window() -> None:
    assert id_second(drawn(source(start=1500), 9)) == BASE_S + 1500


def test_the_next_holder_of_a_worker_begins_after_the_last_id_of_the_one_before() -> None:
    of = source()
    assert of.used_up_to() == 0
    drawn(of, 9), drawn(of, 10, NOW_S + 70)
    assert of.used_up_to() == 1071


def test_time_before_2024_counts_as_its_first_second() -> None:
    assert id_clock(0) == 0
    assert id_clock(NOW_S + 0.9) == 1000
