"""What the agent knows, as the page and the store are told it; also when the clock jumps. Pure."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tenfold.balancer.states import Wanted
from tenfold.dashboard.view import view
from tenfold.monitor.collect.access import Batch
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.machine import Machine, Usage
from tenfold.monitor.live import Live
from tenfold.monitor.series import Series
from tenfold.runtime.agent_history import KEPT, STEP_S, History
from tenfold.runtime.agent_view import Facts, inputs, sketch_name, tick
from tenfold.topology.operations import Monitor, Threshold
from tests.balancer.site import topology_of

NOW_S = 1_700_000_000.0
UP, DOWN = Health("up", NOW_S - 60, latency_s=0.002), Health("down", NOW_S - 5, reason="refuses connections")
MACHINE = Machine(0.25, 2.0, 2**30, 2**32, 10, 100, 0.5, {"backend_0": Usage(0.1, 2**26)})


def facts(now_s: float = NOW_S, history: History | None = None) -> Facts:
    return Facts(topology_of(), Live(now_s), history or History())


def requests(into: Facts, now_s: float, count: int, backend: str = "backend_0", status: int = 200) -> None:
    """Requests that ended just now."""
    batch = Batch(
        np.full(count, now_s), np.full(count, 0.1), np.full(count, status), np.zeros(count, np.int64), (backend, ""), {}
    )
    into.log_read = True
    into.tally.add(batch)
    into.live.request(now_s, [backend] * count, batch.status, batch.seconds, batch.time_s)


def backends(known: Facts) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in view(inputs(known, NOW_S))["backends"]}


def test_before_anything_is_known_nothing_is_nought() -> None:
    told = view(inputs(facts(), NOW_S))
    assert told["totals"]["requests"] is None and told["host"]["cpu"] is None
    assert [one["state"] for one in told["backends"]] == ["starting"] * 3
    assert {one["rate"] for one in told["backends"]} == {one["sessions"] for one in told["backends"]} == {None}
    assert [one["state"] for one in told["shards"]] == ["unknown"]
    assert {"totals", "host"} <= set(told["missing"])


def test_a_figure_is_marked_from_the_limits_of_the_file_on() -> None:
    monitor = Monitor(cpu_ratio=Threshold(warning=0.2, critical=0.24))
    known = Facts(topology_of().model_copy(update={"monitor": monitor}), Live(NOW_S), History(), machine=MACHINE)
    assert view(inputs(known, NOW_S))["status"]["marks"] == {"cpu": "critical"}


def test_once_the_log_is_read_a_silent_backend_has_served_nobody() -> None:
    known = facts()
    known.log_read = True
    assert backends(known)["backend_2"]["rate"] == 0 and backends(known)["backend_2"]["sessions"] == 0
    assert backends(known)["backend_2"]["p95_s"] is None


@pytest.mark.parametrize(
    ("health", "wanted", "state"),
    [
        (UP, Wanted.READY, "up"),
        (UP, Wanted.DRAIN, "drain"),
        (UP, Wanted.DOWN, "down"),
        (DOWN, Wanted.READY, "down"),
        (DOWN, Wanted.DRAIN, "down"),
        (Health(), Wanted.READY, "starting"),
    ],
)
def test_a_backend_is_what_its_probes_say_and_what_is_wanted_of_it(health: Health, wanted: Wanted, state: str) -> None:
    known = facts()
    known.backends, known.wanted = {"backend_0": health}, {"backend_0": wanted}
    told = backends(known)["backend_0"]
    assert (told["state"], told["wanted"]) == (state, wanted.value)
    assert (told["reason"] is None) == (state in ("up", "drain", "starting"))


def test_figures_stand_beside_what_they_are_of() -> None:
    known = facts()
    requests(known, NOW_S, 30)
    requests(known, NOW_S, 10, "backend_1", 500)
    known.machine, known.sessions = MACHINE, {"backend_0": 7}
    known.services, known.shards = {"nginx": UP}, {"shard_0": DOWN}
    told = view(inputs(known, NOW_S + 3))
    assert (told["totals"]["requests"], told["totals"]["errors"]) == (40, 10)
    first = told["backends"][0]
    assert (first["sessions"], first["cpu"], first["memory_bytes"], first["p95_s"]) == (7, 0.1, 2**26, 0.1)
    assert told["shards"][0]["statements"] is None  # nobody counts them
    assert told["host"]["cpu"] == 0.25
    json.dumps(told, allow_nan=False)


def test_what_is_kept_has_prometheus_names_and_leaves_out_what_is_not_known() -> None:
    known = facts()
    assert tick(known, NOW_S) == {}
    requests(known, NOW_S, 5)
    known.machine, known.shards, known.backends = MACHINE, {"shard_0": DOWN}, {"backend_0": UP, "backend_1": Health()}
    number = known.live.register("http", ["GET", '/a"b/{id}', "200"])
    known.live.observations(NOW_S, np.array([number]), np.array([0.1]))
    kept = tick(known, NOW_S + 3)
    assert kept["tenfold_requests_total"] == kept['tenfold_requests_total{backend="backend_0"}'] == 5
    assert kept['tenfold_route_requests_total{method="GET",route="/a\\"b/{id}"}'] == 1
    assert kept['tenfold_up{shard="shard_0"}'] == 0 and kept['tenfold_up{backend="backend_0"}'] == 1
    assert 'tenfold_up{backend="backend_1"}' not in kept
    assert kept["tenfold_cpu_ratio"] == 0.25 and kept['tenfold_process_cpu_cores{process="backend_0"}'] == 0.1
    assert sketch_name(("route", "GET", "/x")) == 'tenfold_route_seconds{method="GET",route="/x"}'
    assert sketch_name(("total",)) == "tenfold_request_seconds"
    assert all(np.isfinite(value) for value in kept.values())


@pytest.mark.parametrize("jump_s", [-86_400.0, -30.0, 86_400.0])
def test_a_clock_that_jumps_loses_no_count_and_breaks_no_view(jump_s: float) -> None:
    known = facts()
    now_s, count = NOW_S, 0
    for step in range(20):
        now_s += 1.0 + (jump_s if step == 10 else 0)
        requests(known, now_s, 3)
        count += 3
        known.history.saw(MACHINE, now_s)
        kept = tick(known, now_s)
        assert kept["tenfold_requests_total"] == count
        json.dumps(view(inputs(known, now_s)), allow_nan=False)
    told = view(inputs(known, now_s + 3))
    assert 0 < told["totals"]["requests"] <= count
    assert told["history"]["t"] == sorted(told["history"]["t"])


def test_charts_go_on_where_an_earlier_agent_ended() -> None:
    begun_s = NOW_S // STEP_S * STEP_S
    t = np.arange(int(begun_s) - 900, int(begun_s), STEP_S)
    past = Series(t, {name: np.full(t.size, 7.0) for name in KEPT.values()}, STEP_S)
    known = facts(begun_s, History(past))
    for second in range(20):
        requests(known, begun_s + second, 10)
        known.history.saw(MACHINE, begun_s + second)
    history = view(inputs(known, begun_s + 20))["history"]
    rates = dict(zip(history["t"], history["rate"], strict=True))
    assert rates[begun_s - 5] == 7.0 and rates[begun_s + 5] == 10.0
    memory = dict(zip(history["t"], history["memory_bytes"], strict=True))
    assert memory[begun_s - 5] == 7 and memory[begun_s + 5] == 2**30


def test_charts_are_made_once_a_step() -> None:
    known = facts(NOW_S)
    first = known.history.of(known.live, NOW_S + 100)
    assert known.history.of(known.live, NOW_S + 100 + STEP_S - 1) is first
    assert known.history.of(known.live, NOW_S + 100 + STEP_S) is not first
