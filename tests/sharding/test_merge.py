"""Rows of several shards come out in the order of the engine, however they arrive. Edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.sharding.merge import Merge, sort_value
from tenfold.sharding.plan import SortKey

COLLATIONS = {"plain": "BINARY", "nocase": "NOCASE", "rtrim": "RTRIM"}
ANY = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.sampled_from("aAbB zÄä😀"), max_size=4),
    st.binary(max_size=3),
)


def sorted_by_sqlite(values: Sequence[Any], collation: str, descending: bool) -> list[Any]:
    """What ORDER BY gives."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (v)")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    way = "DESC" if descending else "ASC"
    rows = connection.execute(f"SELECT v FROM t ORDER BY v COLLATE {collation} {way}").fetchall()
    connection.close()
    return [row[0] for row in rows]


@pytest.mark.parametrize("order", COLLATIONS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sources=st.lists(st.lists(ANY, max_size=6), min_size=1, max_size=4),
    descending=st.booleans(),
    batch=st.integers(1, 3),
)
def test_merged_rows_are_in_the_order_that_sqlite_gives_all_of_them(
    order: str, sources: list[list[Any]], descending: bool, batch: int
) -> None:
    keys = [SortKey(0, descending, order)]
    each = [sorted_by_sqlite(values, COLLATIONS[order], descending) for values in sources]
    merged = merge_in_batches([[(value,) for value in values] for values in each], Merge(len(each), keys), batch)
    expected = sorted_by_sqlite([value for values in sources for value in values], COLLATIONS[order], descending)
    value = sort_value(keys)
    assert [value(row) for row in merged] == [value((item,)) for item in expected]


def merge_in_batches(sources: list[list[tuple[Any, ...]]], merge: Merge, batch: int) -> list[tuple[Any, ...]]:
    """Feed each source in small batches, as it is wanted."""
    found: list[tuple[Any, ...]] = []
    at = [0] * len(sources)
    while not merge.done:
        for source in merge.wants():
            merge.feed(source, sources[source][at[source] : at[source] + batch])
            at[source] += batch
        found += merge.take()
    return found


def test_the_limit_is_of_all_shards_together_and_what_is_skipped_too() -> None:
    sources = [[(1,), (4,), (7,)], [(2,), (5,), (8,)], [(3,), (6,), (9,)]]
    assert merge_in_batches(sources, Merge(3, [SortKey(0, False)], skip=2, limit=4), 2) == [(3,), (4,), (5,), (6,)]


def test_a_limit_that_is_reached_asks_no_shard_for_more() -> None:
    merge = Merge(2, [SortKey(0, False)], limit=1)
    merge.feed(0, [(1,)])
    merge.feed(1, [(2,)])
    assert merge.take() == [(1,)] and merge.done


def test_columns_that_are_only_compared_are_cut_off() -> None:
    merge = Merge(1, [SortKey(-1, True)], hidden=1)
    merge.feed(0, [("b", 2), ("a", 1)])
    merge.feed(0, [])
    assert merge.take() == [("b",), ("a",)]


def test_without_an_order_the_rows_of_one_shard_follow_those_of_another() -> None:
    assert merge_in_batches([[(1,), (9,)], [], [(2,)]], Merge(3, []), 1) == [(1,), (9,), (2,)]


def test_under_a_collation_that_pads_the_shorter_text_ends_in_spaces() -> None:
    # In utf8mb4_general_ci 'a' = 'a ', and 'a\t' sorts before both: measured on MariaDB 10.11.
    value = sort_value([SortKey(0, False, "weight", b"\x00\x20")])
    a, a_space, a_tab = (b"\x00A",), (b"\x00A\x00\x20",), (b"\x00A\x00\x09",)
    assert value(a) == value(a_space)
    assert value(a_tab) < value(a) and value(a_tab) < value(a_space) and not value(a) < value(a_tab)
