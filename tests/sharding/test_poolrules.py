"""When a connection is checked, renewed or refused: decided without a clock. Pure."""

from __future__ import annotations

import pytest

from tenfold.errors import NodeDown, NodeError, PlatformError, StatementError
from tenfold.sharding.poolrules import BACK_OFF_MAX_S, Rules, Shelf

RULES = Rules("shard_1", size=2, wait_s=1.0, idle_s=100.0, age_s=1000.0, check_after_s=10.0, back_off_s=0.1)
DOWN = NodeDown("shard_1 does not answer", hint="start it")


def shelf() -> Shelf[str]:
    return Shelf(RULES)


def test_after_a_failed_attempt_nobody_tries_until_the_back_off_is_over_and_then_one_at_a_time() -> None:
    pool = shelf()
    pool.may_open(0.0)
    pool.may_open(0.0)  # before anything failed, any number
    pool.not_made(DOWN, 1.0, chance=1.0)
    with pytest.raises(NodeDown, match="does not answer") as refused:
        pool.may_open(1.05)
    assert refused.value.retryable and refused.value.hint == "start it; the shard is tried again in 0.1 s"
    pool.may_open(1.11)
    with pytest.raises(NodeDown) as while_tried:
        pool.may_open(1.12)
    assert "tried again right now" in while_tried.value.hint
    pool.made("link", 1.2, 0.0)
    pool.may_open(1.2)
    pool.may_open(1.2)
    counted = pool.counters(0)
    assert (counted.failed, counted.refused, counted.opened) == (1, 2, 1)


def test_the_back_off_doubles_up_to_a_bound_and_chance_only_shortens_it() -> None:
    pool, now_s, waits = shelf(), 0.0, []
    for _ in range(9):
        pool.may_open(now_s)
        pool.not_made(DOWN, now_s, chance=1.0)
        soonest = next(wait for wait in range(1, 6000) if _opens(pool, now_s + wait / 1000))
        waits.append(soonest / 1000)
        now_s += soonest / 1000
        pool.not_made(StatementError("given up"), now_s, 0.0)  # that was only asking
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0], abs=0.002)
    assert max(waits) <= BACK_OFF_MAX_S + 0.001
    early = shelf()
    early.not_made(DOWN, 0.0, chance=0.0)
    early.may_open(0.051)


def _opens(pool: Shelf[str], at_s: float) -> bool:
    try:
        pool.may_open(at_s)
    except NodeError:
        return False
    return True


def test_attempts_that_failed_side_by_side_count_as_one() -> None:
    pool = shelf()
    for _ in range(5):
        pool.not_made(DOWN, 1.0, chance=1.0)
    pool.may_open(1.11)


def test_a_refusal_keeps_what_the_error_says_of_waiting() -> None:
    pool = shelf()
    pool.not_made(NodeError("denied", retryable=False), 0.0, 1.0)
    with pytest.raises(NodeError, match="denied") as refused:
        pool.may_open(0.01)
    assert not refused.value.retryable and not isinstance(refused.value, NodeDown)


def test_a_probe_that_was_given_up_lets_the_next_one_try() -> None:
    pool = shelf()
    pool.not_made(DOWN, 0.0, 1.0)
    pool.may_open(1.0)
    pool.not_made(KeyboardInterrupt(), 1.0, 1.0)
    pool.may_open(1.0)


def test_a_connection_is_asked_after_idleness_and_after_the_shard_has_failed() -> None:
    pool = shelf()
    first, second = pool.made("first", 0.0, 0.0), pool.made("second", 0.0, 0.0)
    assert pool.returned(first, 5.0) is None
    assert pool.is_fresh(first, 14.9) and not pool.is_fresh(first, 15.1)
    pool.lost(second, down=True)
    assert not pool.is_fresh(first, 5.0)
    pool.answered(first)
    assert pool.is_fresh(first, 5.0)
    pool.lost(second, down=False)
    assert pool.is_fresh(first, 5.0)


def test_a_connection_is_closed_for_idleness_age_or_what_was_left_on_it() -> None:
    pool = shelf()
    link = pool.made("link", 0.0, chance=0.0)
    assert pool.too_old(link, 99.9) is None and pool.too_old(link, 100.1) == "idle"
    for minute in range(1, 17):
        assert pool.returned(link, minute * 60.0) is None
    assert pool.returned(link, 1000.0) == "age"
    early = pool.made("early", 0.0, chance=0.9)
    assert pool.too_old(early, 821.0) == "age"  # renewals are spread over a fifth of the age
    spoiled = pool.made("spoiled", 1000.0, 0.0)
    spoiled.spoiled = True
    assert pool.returned(spoiled, 1001.0) == "cut"


def test_only_what_lay_too_long_is_cleared_away() -> None:
    pool = shelf()
    for name, at_s in (("old", 0.0), ("new", 60.0)):
        link = pool.made(name, at_s, 0.0)
        pool.returned(link, at_s)
        pool.idle.append(link)
    assert [link.driver for link in pool.unused(120.0)] == ["old"]
    assert [link.driver for link in pool.idle] == ["new"]


def test_a_closed_pool_opens_nothing() -> None:
    pool = shelf()
    link = pool.made("link", 0.0, 0.0)
    pool.closed = True
    with pytest.raises(PlatformError, match="closed"):
        pool.may_open(1.0)
    assert pool.returned(link, 1.0) == "end"
