"""How long a router may go by what it knows, on a clock that the test moves. Pure."""

from __future__ import annotations

from tenfold.sharding.lease import Lease


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_lease_runs_from_the_start_of_the_reading_and_ends() -> None:
    clock = Clock()
    lease = Lease(clock)
    assert not lease.holds(7)
    lease.renew(7, clock.now_s - 0.5, 2.0)
    clock.now_s = 101.49
    assert lease.holds(7)
    clock.now_s = 101.5
    assert not lease.holds(7)


def test_a_lease_is_for_one_version() -> None:
    lease = Lease(Clock())
    lease.renew(7, 100.0, 2.0)
    assert not lease.holds(6) and not lease.holds(8)
    lease.renew(8, 100.0, 2.0)
    assert not lease.holds(7) and lease.holds(8)


def test_a_reading_that_took_long_takes_nothing_back() -> None:
    clock = Clock()
    lease = Lease(clock)
    lease.renew(8, 100.0, 2.0)
    lease.renew(7, 100.5, 2.0)  # began later, but says what was true before
    lease.renew(8, 99.0, 2.0)
    clock.now_s = 101.9
    assert lease.holds(8) and not lease.holds(7)


def test_a_lease_that_is_lost_comes_back_with_the_next_reading() -> None:
    lease = Lease(Clock())
    lease.renew(8, 100.0, 2.0)
    lease.lose()
    assert not lease.holds(8)
    lease.renew(8, 100.0, 2.0)
    assert lease.holds(8)
