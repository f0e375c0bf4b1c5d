"""The one dict of page and JSON. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tenfold.dashboard.view import Agent, Backend, History, Inputs, Route, Service, Shard, Traffic, view
from tests.dashboard.sample import sample


def shape(value: Any) -> Any:
    """The keys of a view all the way down; of a list, the keys of its rows."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return ""


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_nothing_known_has_the_same_shape_as_everything_known_and_is_null_never_nought() -> None:
    nothing, everything = view(Inputs("ledger", None, 1000.0)), view(sample())
    assert json.loads(json.dumps(nothing, allow_nan=False)) == nothing
    assert nothing.keys() == everything.keys()
    for part in ("totals", "host", "agent", "history"):
        assert nothing[part].keys() == everything[part].keys(), part
    for part in ("totals", "host"):
        assert set(leaves(nothing[part])) == {None}, part
    assert set(leaves(nothing["agent"])) == {None}
    assert [nothing[part] for part in ("backends", "routes", "shards", "services")] == [[], [], [], []]
    parts = "totals history backends routes shards services host agent alerts"
    assert nothing["missing"] == parts.split()
    assert everything["missing"] == []


def test_every_single_absent_input_leaves_the_rest_as_it_was() -> None:
    whole = view(sample())
    absences: dict[str, Any] = dict.fromkeys(view(Inputs("ledger", None, 0.0))["missing"])
    assert len(absences) == 9
    for part in absences:
        without = view(replace(sample(), **{part: absences[part]}))
        json.dumps(without, allow_nan=False)
        assert without["missing"] == [part]
        kept = whole.keys() - {part, "missing", "status"}
        assert {key: without[key] for key in kept} == {key: whole[key] for key in kept}


def test_alerts_are_in_the_view_as_the_book_of_alerts_tells_them() -> None:
    given = sample()
    told = view(given)["alerts"]
    assert given.alerts is not None and told.pop("shown")  # the same in words: test_alerts.py
    assert told == {
        "counts": given.alerts.counts, "items": given.alerts.items, "silences": given.alerts.silences,
        "undelivered": [],
    }  # fmt: skip
    assert view(replace(given, alerts=None))["alerts"]["counts"] == {"critical": 0, "warning": 0, "info": 0}


def test_the_view_holds_what_the_contract_names() -> None:
    rates = {"rate", "error_rate", "p50_s", "p95_s", "p99_s"}
    made = view(sample())
    assert made.keys() >= {"platform", "environment", "now_s", "status", "totals", "history", "backends", "routes"}
    assert made.keys() >= {"routes_capped", "shards", "services", "host", "agent"}
    assert made["status"].keys() >= {"state", "sentence"}
    extremes = {"window_s", "mean_s", "min_s", "max_s", "requests", "errors"}
    assert made["totals"].keys() == rates | extremes
    assert made["history"].keys() == rates | {"t", "cpu", "memory_bytes"}
    backend = {"name", "address", "weight", "state", "wanted", "sessions", "cpu", "memory_bytes", "reason"}
    assert made["backends"][0].keys() >= rates | backend
    assert made["routes"][0].keys() == rates | {"method", "route", "count", "total_s"}
    shard = {"name", "state", "latency_s", "size_bytes", "statements", "error_rate", "p95_s", "reason"}
    assert made["shards"][0].keys() >= shard
    assert made["services"][0].keys() >= {"name", "state", "latency_s", "reason"}
    memory_and_disk = {"memory_used_bytes", "memory_limit_bytes", "disk_used_bytes", "disk_total_bytes"}
    assert made["host"].keys() == {"cpu", "cpu_count", "load1"} | memory_and_disk
    agent = {"since_s", "cpu", "memory_bytes", "dropped", "broken_lines", "store", "collectors"}
    assert made["agent"].keys() == agent
    assert made["agent"]["store"].keys() == {"trouble", "bytes"}
    assert made["agent"]["collectors"][0].keys() == {"name", "ok", "age_s", "cost_ms", "error"}


def test_rows_without_any_figure_are_still_rows() -> None:
    bare = Inputs(
        "ledger",
        None,
        1000.0,
        totals=Traffic(60, 0, 0),
        backends=[Backend("backend_0", "127.0.0.1:8101", 1, "starting")],
        routes=[Route("GET", "/", Traffic(60, 0, 0))],
        shards=[Shard("shard_0", "unknown")],
        services=[Service("nginx", "unknown")],
        agent=Agent(),
    )
    made, whole = view(bare), view(sample())
    json.dumps(made, allow_nan=False)
    for part in ("backends", "routes", "shards", "services"):
        assert shape(made[part]) == shape(whole[part]), part
    assert made["totals"]["rate"] == 0 and made["totals"]["requests"] == 0
    assert made["totals"]["error_rate"] is None and made["totals"]["mean_s"] is None
    assert made["backends"][0]["rate"] is None and made["shards"][0]["statements"] is None


def test_rates_and_means_are_made_from_counts() -> None:
    totals = view(Inputs("p", None, 0.0, totals=Traffic(60, 1200, 6, sum_s=24.0)))["totals"]
    assert (totals["rate"], totals["error_rate"], totals["mean_s"]) == (20.0, 0.005, 0.02)
    assert (totals["requests"], totals["errors"]) == (1200, 6)


def test_what_is_not_a_number_is_not_known() -> None:
    history = History(t=[1.0, 2.0], rate=[math.nan, 5.0], p95_s=[math.inf, None])
    made = view(Inputs("p", None, math.pi, totals=Traffic(60, 1, 0, p95_s=math.nan), history=history))
    assert made["totals"]["p95_s"] is None
    assert made["history"]["rate"] == [None, 5.0] and made["history"]["p95_s"] == [None, None]


def test_a_series_that_began_later_ends_where_the_others_end() -> None:
    made = view(Inputs("p", None, 9.0, history=History(t=[1.0, 2.0, 3.0], rate=[1.0, 2.0, 3.0], cpu=[0.5])))
    assert made["history"]["cpu"] == [None, None, 0.5]
    assert made["history"]["p50_s"] == [None, None, None]


def test_the_lists_keep_the_order_of_the_file() -> None:
    backends = [Backend(name, "127.0.0.1:1", 1, "up") for name in ("zeta", "alpha", "mid")]
    assert [row["name"] for row in view(Inputs("p", None, 0.0, backends=backends))["backends"]] == [
        "zeta",
        "alpha",
        "mid",
    ]


def test_figures_have_six_digits_and_whole_numbers_stay_whole() -> None:
    made = view(Inputs("p", None, 0.0, totals=Traffic(60, 123_456_789, 0, p95_s=0.123456789)))
    assert made["totals"]["p95_s"] == 0.123457 and made["totals"]["requests"] == 123_456_789
