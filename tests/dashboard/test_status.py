"""The sentence at the top. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenfold.dashboard.status import judge, shown
from tenfold.dashboard.view import (
    Agent,
    Alerts,
    Backend,
    BackendState,
    Collector,
    Host,
    Inputs,
    Service,
    Shard,
    Traffic,
)
from tenfold.topology.operations import Monitor, Threshold
from tests.dashboard.sample import NOW_S, sample


def with_backends(*states: BackendState) -> Inputs:
    backends = [Backend(f"backend_{n}", "127.0.0.1:1", 1, state) for n, state in enumerate(states)]
    return replace(sample(), backends=backends)


def sentence(inputs: Inputs) -> str:
    return str(judge(inputs)["sentence"])


def test_all_well_says_what_answers() -> None:
    assert judge(sample())["state"] == "healthy"
    assert sentence(sample()) == "Healthy: 3 backends, 3 shards and 2 services answer."


def test_a_dead_backend_is_named_with_its_reason_and_how_long() -> None:
    sick = Backend("backend_1", "127.0.0.1:1", 3, "down", reason="connection refused", since_s=NOW_S - 200)
    inputs = replace(sample(), backends=[*(sample().backends or ())[:1], sick])
    assert judge(inputs)["state"] == "degraded"
    assert sentence(inputs) == "Degraded: backend_1 has been down for 3 min (connection refused)."


def test_no_backend_at_all_is_down() -> None:
    assert judge(with_backends("down", "down"))["state"] == "down"
    assert sentence(with_backends("down", "down")).startswith("Down: no backend answers; and 2 more")
    assert "they are starting" in sentence(with_backends("starting", "down"))
    assert judge(with_backends("down", "drain"))["state"] == "degraded"


def test_no_shard_is_down_and_one_of_three_is_degraded() -> None:
    down = [Shard(f"shard_{n}", "down") for n in range(3)]
    assert judge(replace(sample(), shards=down))["state"] == "down"
    assert judge(replace(sample(), shards=[Shard("a", "up"), *down[:1]]))["state"] == "degraded"
    assert judge(replace(sample(), shards=[Shard("a", "unknown")]))["state"] == "healthy"


def test_without_nginx_nobody_is_served_and_without_redis_it_is_only_slower() -> None:
    nginx, redis = Service("nginx", "down", essential=True), Service("redis", "down")
    assert judge(replace(sample(), services=[nginx]))["state"] == "down"
    assert judge(replace(sample(), services=[redis]))["state"] == "degraded"


def test_what_the_operator_wants_is_no_problem() -> None:
    out = Backend("backend_0", "127.0.0.1:1", 1, "down", wanted="down")
    drained = Backend("backend_1", "127.0.0.1:1", 1, "drain", wanted="drain", sessions=4)
    inputs = replace(sample(), backends=[out, drained, Backend("backend_2", "127.0.0.1:1", 1, "up")])
    assert judge(inputs)["state"] == "healthy"
    assert sentence(inputs).endswith("answer; backend_0 is taken out; backend_1 is draining.")


@pytest.mark.parametrize(
    ("traffic", "state"),
    [
        (Traffic(60, 1000, 50), "healthy"),
        (Traffic(60, 1000, 51), "degraded"),
        (Traffic(60, 1000, 0, p95_s=2.0), "healthy"),
        (Traffic(60, 1000, 0, p95_s=2.01), "degraded"),
        (Traffic(60, 19, 19, p95_s=9.0), "healthy"),  # a handful of requests proves nothing
        (Traffic(60, 0, 0), "healthy"),
    ],
)
def test_errors_and_slowness_count_above_their_limits(traffic: Traffic, state: str) -> None:
    assert judge(replace(sample(), totals=traffic))["state"] == state


def test_a_moment_of_high_cpu_is_marked_but_alarms_nobody() -> None:
    busy = replace(sample(), host=Host(cpu=0.95, memory_used_bytes=85, memory_limit_bytes=100))
    assert judge(busy)["marks"] == {"cpu": "warning", "memory": "warning"}
    assert judge(busy)["state"] == "healthy"


def test_the_limits_are_those_of_the_file() -> None:
    monitor = Monitor(
        response_time_s=Threshold(warning=0.3, critical=0.5),
        cpu_ratio=Threshold(warning=0.5, critical=0.9),
        memory_ratio=Threshold(warning=0.97),
        min_requests=100,
    )
    slow = Traffic(60, 100, 0, p95_s=0.4)
    host = Host(cpu=0.95, memory_used_bytes=95, memory_limit_bytes=100)
    told = judge(replace(sample(), monitor=monitor, totals=slow, host=host))
    assert told["marks"] == {"p95_s": "warning", "cpu": "critical"} and told["state"] == "degraded"
    few = replace(sample(), monitor=monitor, totals=replace(slow, requests=99))
    assert judge(few)["marks"] == {}


def test_a_channel_that_takes_nothing_is_no_healthy_platform_and_letters_that_were_given_up_are() -> None:
    failing = {"channel": "slack", "waiting": 2, "dead": 0, "since_s": NOW_S - 60, "reason": "it answered 503"}
    assert sentence(replace(sample(), alerts=Alerts(undelivered=[failing]))) == (
        "Degraded: slack does not take its notices.")  # fmt: skip
    given_up = {**failing, "waiting": 0, "dead": 2}
    assert judge(replace(sample(), alerts=Alerts(undelivered=[given_up])))["state"] == "healthy"


def test_a_blind_agent_does_not_call_the_platform_healthy() -> None:
    blind = Agent(collectors=[Collector("probes", False), Collector("host", True)], store_trouble="disk full")
    assert judge(replace(sample(), agent=blind))["state"] == "degraded"
    assert "no word from the agent's collector probes" in sentence(replace(sample(), agent=blind))
    assert sentence(Inputs("p", None, 0.0)).startswith("Degraded: nothing is known yet")


def test_many_problems_are_counted_in_the_sentence_and_listed_with_the_gravest_first() -> None:
    inputs = replace(with_backends("down", "down", "down"), services=[Service("redis", "down")])
    judged = judge(inputs)
    assert judged["sentence"] == "Down: no backend answers; and 4 more."
    assert [problem.split()[0] for problem in judged["problems"]] == [
        "no",
        "backend_0",
        "backend_1",
        "backend_2",
        "redis",
    ]


def test_each_state_has_a_word_and_a_tone() -> None:
    backend = Backend("b", "a", 1, "up", since_s=0.0, reason=None)
    assert shown(backend, 60.0) == {"tone": "ok", "word": "up", "note": ""}
    down = replace(backend, state="down", reason="refused")
    assert shown(down, 60.0) == {"tone": "bad", "word": "down", "note": "refused, for 1 min"}
    draining = replace(backend, wanted="drain", sessions=2)
    assert shown(draining, 1.0)["word"] == "draining"
    assert shown(replace(draining, sessions=0), 1.0)["word"] == "drained"
    assert shown(replace(down, wanted="drain"), 1.0)["word"] == "down"
    assert shown(replace(backend, wanted="down"), 1.0)["word"] == "taken out"
