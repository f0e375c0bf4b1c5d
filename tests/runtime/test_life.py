"""When a process comes back, and when `up` gives up: the table of lives. Pure."""

from __future__ import annotations

import pytest

from tenfold.runtime.life import FIRST_DELAY_S, FORGIVEN_AFTER_S, NEXT, Life, State, after, is_overdue


def lived(*events: tuple[str, float]) -> Life:
    """The life after events at times."""
    life = Life()
    for event, now_s in events:
        life = after(life, event, now_s)
    return life


def test_a_process_that_ends_before_it_was_ever_well_ends_up() -> None:
    assert lived(("spawned", 0), ("ended", 1)).state is State.FAILED


def test_a_process_that_was_well_once_comes_back_however_its_next_starts_end() -> None:
    life = lived(("spawned", 0), ("well", 1), ("ended", 2), ("spawned", 2.5), ("ended", 3))
    assert life.state is State.BACKING_OFF
    assert life.restarts == 1


def test_each_ending_doubles_the_wait_up_to_half_a_minute() -> None:
    life, now_s, waits = lived(("spawned", 0), ("well", 1)), 1.0, []
    for _ in range(9):
        life = after(life, "ended", now_s)
        waits.append(life.delay_s)
        assert life.back_at_s == now_s + life.delay_s
        now_s = life.back_at_s
        life = after(after(life, "spawned", now_s), "well", now_s)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_in_good_health_is_forgiven_and_less_is_not() -> None:
    crashed = lived(("spawned", 0), ("well", 0), ("ended", 1), ("spawned", 2), ("well", 2), ("ended", 3))
    assert crashed.delay_s == 1.0
    back = after(after(crashed, "spawned", 4), "well", 4)
    assert after(back, "ended", 4 + FORGIVEN_AFTER_S - 0.1).delay_s == 2.0
    assert after(back, "ended", 4 + FORGIVEN_AFTER_S).delay_s == 0.5


def test_a_long_start_is_no_good_health() -> None:
    crashed = lived(("spawned", 0), ("well", 0), ("ended", 1), ("spawned", 2))
    assert after(crashed, "ended", 100).delay_s == 1.0


@pytest.mark.parametrize("state", list(State))
def test_every_state_can_be_stopped(state: State) -> None:
    assert NEXT[state]["stop"] in (State.STOPPING, State.STOPPED)


def test_what_was_told_to_stop_does_not_come_back() -> None:
    life = lived(("spawned", 0), ("well", 1), ("stop", 2), ("ended", 3))
    assert life.state is State.STOPPED
    with pytest.raises(ValueError, match="cannot be spawned"):
        after(life, "spawned", 4)


def test_a_restart_that_was_asked_for_is_another_story_than_the_crashes_before() -> None:
    life = lived(
        ("spawned", 0), ("well", 1), ("ended", 2), ("spawned", 3), ("ended", 4), ("restart", 5), ("spawned", 6)
    )
    assert (life.state, life.restarts, life.delay_s) == (State.STARTING, 1, 0.0)
    assert after(life, "ended", 7).delay_s == FIRST_DELAY_S


def test_what_is_being_stopped_is_not_restarted() -> None:
    with pytest.raises(ValueError, match="cannot be restart"):
        after(lived(("spawned", 0), ("well", 1), ("stop", 2)), "restart", 3)


def test_a_process_is_overdue_once_its_time_to_start_is_over_and_only_while_it_starts() -> None:
    life = lived(("spawned", 10))
    assert not is_overdue(life, 39.9, 30)
    assert is_overdue(life, 40, 30)
    assert not is_overdue(after(life, "well", 11), 100, 30)
