"""Which backups stay. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deploy.backup.retention import Held, kept

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
backups = st.lists(
    st.builds(
        Held,
        id=st.uuids().map(str),
        made_s=st.integers(1_000_000_000, 2_000_000_000).map(float),
        verified=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda one: one.id,
)
counts = st.integers(0, 12)


def made(days_ago: float, verified: bool = False) -> Held:
    return Held(f"{days_ago:g}", (NOON - timedelta(days=days_ago)).timestamp(), verified)


def test_the_last_of_each_day_week_and_month_stays() -> None:
    found = kept([made(n / 2) for n in range(200)], days=3, weeks=2, months=2)
    # NOON is a Monday in March: the week before ends on Sunday, and February with the 28th.
    assert found == {
        "0": ["day", "week", "month", "newest"], "1": ["day", "week"], "2": ["day", "month"],
    }  # fmt: skip


def test_a_day_without_a_backup_does_not_count() -> None:
    assert set(kept([made(0), made(10), made(50), made(51)], days=3, weeks=0, months=0)) == {"0", "10", "50"}


def test_with_nothing_to_keep_the_newest_and_the_last_verified_stay() -> None:
    found = kept([made(0), made(1), made(2, True), made(3, True)], days=0, weeks=0, months=0)
    assert found == {"0": ["newest"], "2": ["last verified"]}


@given(backups, counts, counts, counts)
def test_the_newest_and_the_last_verified_always_stay(held: list[Held], days: int, weeks: int, months: int) -> None:
    found = kept(held, days, weeks, months)
    assert set(found) <= {one.id for one in held}
    if held:
        assert max(held, key=lambda one: (one.made_s, one.id)).id in found
    proved = [one for one in held if one.verified]
    if proved:
        assert max(proved, key=lambda one: (one.made_s, one.id)).id in found
    assert len(found) <= days + weeks + months + 2


@given(backups, counts, counts, counts)
def test_to_prune_twice_is_to_prune_once(held: list[Held], days: int, weeks: int, months: int) -> None:
    once = kept(held, days, weeks, months)
    left = [one for one in held if one.id in once]
    assert kept(left, days, weeks, months) == once


@given(backups, counts, counts, counts)
def test_who_keeps_more_keeps_the_same_and_more(held: list[Held], days: int, weeks: int, months: int) -> None:
    assert set(kept(held, days, weeks, months)) <= set(kept(held, days + 1, weeks + 1, months + 1))


@given(backups, counts)
def test_of_each_of_the_last_days_the_last_stays(held: list[Held], days: int) -> None:
    found = kept(held, days, 0, 0)
    by_day: dict[object, Held] = {}
    for one in sorted(held, key=lambda one: (one.made_s, one.id)):
        by_day[datetime.fromtimestamp(one.made_s, UTC).date()] = one
    last = sorted(by_day.values(), key=lambda one: one.made_s, reverse=True)[:days]
    assert {one.id for one in last} == {name for name, why in found.items() if "day" in why}
