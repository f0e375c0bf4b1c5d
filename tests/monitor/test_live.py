"""What the page shows of the last minutes is what happened in them. Pure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenfold.monitor.live import Live
from tenfold.monitor.windows import LAG_S

START = 1_700_000_000.0


def of_second(live: Live, second: float, took: list[float], status: int = 200, backend: str = "10.0.0.1:80") -> None:
    live.request(second + 0.5, backend, status, took)


def later(second: float) -> float:
    """When the second is complete."""
    return second + 1 + LAG_S


def test_rates_errors_and_percentiles_are_those_of_the_window() -> None:
    chance = np.random.default_rng(3)
    live, took, failed = Live(START), np.round(chance.lognormal(-3, 1, (90, 200)), 3), chance.random((90, 200)) < 0.05
    for second in range(90):
        status = np.where(failed[second], 502, 200)
        live.request(START + second + 1, "b", status, took[second], START + second + chance.random(200))
    now = later(START + 89)
    for window in (10, 60):
        figures, there = live.totals(now, window), took[-window:].ravel()
        assert (figures.requests, figures.errors) == (200 * window, int(failed[-window:].sum()))
        assert figures.rate == 200
        assert figures.error_rate == pytest.approx(failed[-window:].mean())
        assert (figures.min_s, figures.max_s) == (there.min(), there.max())
        assert figures.mean_s == pytest.approx(there.mean())
        assert figures.total_s == pytest.approx(there.sum())
        for q, told in ((0.5, figures.p50_s), (0.95, figures.p95_s), (0.99, figures.p99_s)):
            assert told == pytest.approx(np.quantile(there, q, method="inverted_cdf"), rel=0.011)


def test_a_second_is_shown_once_its_log_has_been_written() -> None:
    live = Live(START)
    of_second(live, START, [0.1])
    assert live.totals(START + 1).requests == 0
    of_second(live, START, [0.2])  # later, of the same second
    assert live.totals(later(START)).requests == 2


def test_a_line_that_comes_late_is_counted_in_its_own_second() -> None:
    live = Live(START)
    live.request(START + 30, "b", 200, [0.1], [START + 25])
    assert live.totals(START + 30, 10).requests == 1
    live.request(START + 30, "b", 200, [0.1], [START + 15.5])
    assert (live.totals(START + 30, 10).requests, live.totals(START + 30, 60).requests) == (1, 2)


def test_what_has_passed_is_shown_no_more_but_stays_counted() -> None:
    live = Live(START)
    of_second(live, START, [0.1] * 7)
    assert [live.totals(START + age).requests for age in (2, 3, 62, 63)] == [0, 7, 7, 0]
    assert live.totals(START + 100).p95_s is None
    assert live.counters(START + 1e3)[("total",)].requests == 7


def test_a_young_agent_does_not_water_down_its_rate() -> None:
    live = Live(START)
    for second in range(5):
        of_second(live, START + second, [0.1] * 100)
    figures = live.totals(later(START + 4))
    assert (figures.window_s, figures.rate) == (5, 100)


def test_backends_are_told_apart_and_what_nginx_answered_itself_is_of_none() -> None:
    live = Live(START)
    live.request(START, ["a", "b", "-", "b", ""], [200, 500, 429, 200, 502], [0.1, 0.2, 0.0, 0.4, 0.0])
    now = later(START)
    backends = live.backends(now)
    assert {name: (f.requests, f.errors) for name, f in backends.items()} == {"a": (1, 0), "b": (2, 1)}
    assert (live.totals(now).requests, live.totals(now).errors) == (5, 2)
    assert live.backends(now + 100)["a"].requests == 0


def test_the_log_and_the_recorders_are_never_added_together() -> None:
    live = Live(START)
    of_second(live, START, [0.1] * 3)
    route = live.register("http", ["GET", "/users/{id}", "200"])
    live.observations(START, [route] * 5, [0.05] * 5)
    now = later(START)
    assert live.totals(now).requests == 3
    assert [f.requests for f in live.backends(now).values()] == [3]
    assert {name: f.requests for name, f in live.routes(now).items()} == {("GET", "/users/{id}"): 5}


def test_routes_and_shards_have_their_errors_and_times() -> None:
    live = Live(START)
    good = live.register("http", ["GET", "/", "200"])
    bad = live.register("http", ["GET", "/", "503"])
    missing = live.register("http", ["GET", "/", "404"])
    statement = live.register("sql", ["select", "users", "shard_0", "ok"])
    failed = live.register("sql", ["insert", "users", "shard_1", "error"])
    live.observations(START, [good, bad, missing, statement, failed, statement], [0.1, 0.2, 0.3, 0.004, 0.005, 0.006])
    now = later(START)
    (route,) = live.routes(now).values()
    assert (route.requests, route.errors, route.max_s) == (3, 1, 0.3)
    assert {n: (f.requests, f.errors) for n, f in live.shards(now).items()} == {"shard_0": (2, 0), "shard_1": (1, 1)}


def test_a_million_hostile_routes_share_one_row_and_it_is_said() -> None:
    live = Live(START)
    before = live.routes_capped
    real = live.register("http", ["GET", "/", "200"])
    ids = np.array([live.register("http", ["GET", f"/{number}", "200"]) for number in range(1_000_000)])
    live.observations(START, ids, np.full(ids.size, 0.01))
    live.observations(START, [real], [0.01])
    routes = live.routes(later(START))
    assert (before, live.routes_capped) == (False, True)
    assert len(routes) == 501
    assert routes[("*", "__other__")].requests == 1_000_000 - 499
    assert routes[("GET", "/")].requests == 1
    assert len(np.unique(ids)) == 500


def test_a_route_as_long_as_a_book_is_cut() -> None:
    live = Live(START)
    live.observations(START, [live.register("http", ["GET", "/" + "x" * 10_000, "200"])], [0.1])
    ((_, route),) = live.routes(later(START))
    assert len(route) == 200 and route.endswith("…")


def test_what_is_no_duration_is_left_out_and_counted() -> None:
    live = Live(START)
    live.request(START, "b", 200, [0.1, -1.0, math.nan, math.inf, 0.2])
    live.request(START, "b", 200, [0.1, 0.1], [math.nan, START])
    route = live.register("http", ["GET", "/", "200"])
    live.observations(START, [route, route, 9_999, -7], [0.1, math.nan, 0.1, 0.1])
    assert live.broken == 7
    assert live.totals(later(START)).requests == 3
    assert [f.requests for f in live.routes(later(START)).values()] == [1]


def test_times_that_no_clock_told_cost_neither_memory_nor_the_window() -> None:
    live = Live(START)
    live.request(START, "b", 200, np.full(10_000, 0.1), np.linspace(-1e300, 1e300, 10_000))
    assert live.totals(later(START)).requests == 5_000  # what claims to be later than now is now
    assert live.counters(later(START))[("total",)].requests == 10_000


@pytest.mark.parametrize("labels", [["GET", "/"], ["select", "users", "shard_0", "ok", "more"]])
def test_an_observation_of_another_shape_is_refused(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="no observation has the kind"):
        Live(START).register("http", labels)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="a backend for each"):
        Live(START).request(START, ["a"], 200, [0.1, 0.2])


def test_a_clock_that_goes_back_begins_the_view_anew_and_loses_no_count() -> None:
    live = Live(START)
    of_second(live, START, [0.1] * 5)
    of_second(live, START - 3_600, [0.1] * 3)
    figures = live.totals(later(START - 3_600))
    assert (figures.requests, figures.window_s) == (3, 1)
    now = later(START - 3_600)
    assert live.counters(now)[("total",)].requests == 8
    assert sum(s.count for s in live.take_sketches(now).values()) == 2 * 8  # the total, and the one backend


def test_a_clock_that_goes_forward_shows_an_empty_window_and_goes_on() -> None:
    live = Live(START)
    of_second(live, START, [0.1] * 5)
    assert live.totals(START + 1e7).requests == 0
    of_second(live, START + 1e7, [0.1] * 2)
    assert live.totals(later(START + 1e7)).requests == 2


def test_the_history_is_of_fifteen_minutes_and_knows_nothing_of_the_time_before() -> None:
    live = Live(START)
    for second in range(100):
        if second < 50:
            of_second(live, START + second, [0.1, 0.4], 500 if second >= 40 else 200)
        else:
            live.totals(START + second)
    history = live.history(later(START + 99), step_s=10)
    assert history.t.size == 90
    assert np.all(np.diff(history.t) == 10)
    at = {int(t - START): i for i, t in enumerate(history.t)}
    assert (history.rate[at[0]], history.rate[at[40]], history.rate[at[60]]) == (2, 2, 0)
    assert (history.error_rate[at[0]], history.error_rate[at[40]]) == (0, 1)
    assert history.p99_s[at[10]] == pytest.approx(0.4, rel=0.011)
    assert math.isnan(history.p99_s[at[60]]) and math.isnan(history.error_rate[at[60]])
    assert np.isnan(history.rate[history.t < START]).all()


def test_sketches_for_the_store_are_handed_over_once_and_hold_all() -> None:
    live, chance = Live(START), np.random.default_rng(5)
    took = np.round(chance.lognormal(-3, 1, (200, 20)), 3)
    for second in range(200):
        live.request(START + second, ["a", "b"] * 10, 200, took[second])
    taken = live.take_sketches(later(START + 200))
    assert {name: sketch.count for name, sketch in taken.items()} == {
        ("total",): 4_000, ("backend", "a"): 2_000, ("backend", "b"): 2_000,
    }  # fmt: skip
    total = taken[("total",)]
    assert (total.min, total.max) == (took.min(), took.max())
    assert total.sum == pytest.approx(took.sum())
    assert total.quantile(0.95) == pytest.approx(np.quantile(took, 0.95, method="inverted_cdf"), rel=0.011)
    assert live.take_sketches(later(START + 300)) == {}


def test_an_idle_agent_has_figures_for_nothing() -> None:
    live = Live(START)
    assert (live.backends(START), live.routes(START), live.shards(START), live.take_sketches(START)) == ({}, {}, {}, {})
    assert live.totals(START).rate == 0.0
    assert live.totals(START).error_rate is None
    with pytest.raises(ValueError, match="10, 60"):
        live.totals(START, 42)
