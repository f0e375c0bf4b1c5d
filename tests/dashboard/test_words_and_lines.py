"""Figures in words, rows of tables, lines of charts, frames of the stream. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenfold.dashboard.drawing import latest, minutes, path, thinned, top_of
from tenfold.dashboard.frames import as_json, event, newest
from tenfold.dashboard.tables import BY_NAME, rows
from tenfold.dashboard.view import view
from tenfold.dashboard.wording import said
from tests.dashboard.sample import sample


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("rate", 0, "0"), ("rate", 0.001, "<0.01"), ("rate", 0.42, "0.42"), ("rate", 3.14159, "3.1"),
        ("rate", 312.4, "312"), ("rate", 12_345, "12.3k"),
        ("count", 1234, "1,234"), ("count", 999_999, "1.0M"), ("count", 123_456, "123k"), ("count", 2.5e9, "2.5G"),
        ("number", 2.0, "2"), ("number", 1.5, "1.5"), ("number", 0.834, "0.83"),
        ("ratio", 0, "0 %"), ("ratio", 0.0001, "<0.1 %"), ("ratio", 0.0123, "1.2 %"), ("ratio", 1.5, "150 %"),
        ("seconds", 0.00042, "420 µs"), ("seconds", 0.0042, "4.2 ms"), ("seconds", 0.123, "123 ms"),
        ("seconds", 0.9996, "1.00 s"), ("seconds", 12.34, "12.3 s"), ("seconds", 200, "3 min"),
        ("milliseconds", 1.9, "1.9 ms"),
        ("duration", 42, "42 s"), ("duration", 7500, "2 h 5 min"), ("duration", 7200, "2 h"),
        ("duration", 540_000, "6 d 6 h"), ("duration", -3, "0 s"),
        ("bytes", 512, "512 B"), ("bytes", 1536, "1.5 KiB"), ("bytes", 74 * 2**20, "74 MiB"),
        ("bytes", 5e12, "4.5 TiB"),
        ("text", "as it is", "as it is"), ("rate", None, "–"), ("text", None, "–"),
    ],
)  # fmt: skip
def test_a_figure_is_said_in_the_unit_that_fits(kind: str, value: object, words: str) -> None:
    assert said(kind, value).replace("\u00a0", " ") == words


def test_a_word_where_a_number_belongs_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(TypeError, match="rate is a number"):
        said("rate", "fast")


def test_routes_are_sorted_and_what_is_not_known_comes_last_either_way() -> None:
    facts: list[dict[str, Any]] = view(sample())["routes"]
    facts[3]["p95_s"] = None
    for descending in (True, False):
        made = rows(BY_NAME["routes"], facts, "p95_s", descending)
        known = [fact["p95_s"] for fact in facts if fact["p95_s"] is not None]
        best = facts[[fact["p95_s"] for fact in facts].index(max(known) if descending else min(known))]
        assert made[0].key == f"{best['method']} {best['route']}"
        assert made[-1].key == f"{facts[3]['method']} {facts[3]['route']}"
    by_time = rows(BY_NAME["routes"], facts)
    assert by_time[0].cells[-1].bar == 100.0 and by_time[0].key == "GET /history"


def test_a_line_has_gaps_where_nothing_is_known_and_a_dot_for_a_lone_point() -> None:
    assert path([0, 1, None, 2, None], 40, 10, 2) == "M0.0 10.0h0L10.0 5.0M30.0 0.0h0"
    assert path([], 40, 10, 2) == ""


def test_thinning_keeps_the_peaks() -> None:
    values: list[float | None] = [1.0] * 1000
    values[517] = 9.0
    values[600:700] = [None] * 100
    few = thinned(values, 100)
    assert len(few) == 100 and max(v for v in few if v is not None) == 9.0 and None in few


def test_a_scale_has_air_above_and_never_magnifies_noise() -> None:
    assert top_of([[1.0, 10.0], [None]], 5.0) == 11.0
    assert top_of([[0.1], []], 5.0) == 5.0


def test_the_table_of_a_chart_has_each_minutes_largest_newest_first() -> None:
    history: dict[str, list[float | None]] = {"t": [60, 61, 119, 120, 121], "cpu": [0.1, 0.9, None, None, 0.2]}
    assert minutes(history, ["cpu"]) == [(120, [0.2]), (60, [0.9])]
    assert latest([1.0, None]) == 1.0 and latest([None]) is None


def test_a_page_that_has_all_gets_only_new_points() -> None:
    made = view(sample())
    last = made["history"]["t"][-1]
    little = newest(made, last - 2)
    assert little["history"]["t"] == [last - 1, last]
    assert {len(values) for values in little["history"].values()} == {2}
    assert newest(made, last)["history"]["t"] == []
    assert len(made["history"]["t"]) == 900, "the view itself is not cut"


def test_an_event_is_one_line_of_json_whatever_it_holds() -> None:
    made = event("new", {"route": "/a\n\ndata: forged\r\u2028"})
    assert made.count(b"\n") == 3 and made.endswith(b"\n\n") and b"\r" not in made
    assert json.loads(made.split(b"data: ", 1)[1])["route"].startswith("/a\n\n")
    with pytest.raises(ValueError, match="JSON"):
        as_json(float("nan"))
