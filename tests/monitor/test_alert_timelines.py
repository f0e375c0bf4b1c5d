"""Golden timelines of alerts: what is seen over time, and the state after each look. Pure."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tenfold.monitor.alerts.book import Book
from tenfold.monitor.alerts.machine import Alert, Phase
from tenfold.monitor.alerts.rules import NAMES, Reading, rules_of
from tenfold.topology.operations import Monitor, Severity

CASES = sorted((Path(__file__).parent.parent / "cases" / "alerts").glob("*.toml"))
START_S = 1_700_000_000.0
LETTERS = {Phase.PENDING: "p", Phase.FIRING: "f", Phase.RECOVERING: "r"}


def cases() -> list[Any]:
    found = []
    for file in CASES:
        case = tomllib.loads(file.read_text())
        for number, timeline in enumerate(case["timeline"]):
            found.append(pytest.param(case, timeline, id=f"{file.stem}-{number}-{timeline['why']}"))
    return found


def reading(text: str) -> Reading:
    value, _, count = text.partition("/")
    if value == "!":
        return Reading(trouble="it cannot be judged")
    return Reading(None if value == "-" else float(value), int(count) if count else None)


def letter(alert: Alert | None) -> str:
    if alert is None:
        return "."
    return LETTERS[alert.phase].upper() if alert.severity is Severity.CRITICAL else LETTERS[alert.phase]


def test_every_rule_has_timelines() -> None:
    assert {file.stem for file in CASES} == set(NAMES)


@pytest.mark.parametrize(("case", "timeline"), cases())
def test_what_is_seen_leads_to_these_states(case: dict[str, Any], timeline: dict[str, Any]) -> None:
    key = (case["rule"], "target")
    assert len(timeline["reading"]) == len(timeline["state"])
    every_s, readings = case["every_s"], [reading(text) for text in timeline["reading"]]
    book, seen = Book(rules_of(Monitor()), 3), []
    book.step(START_S, {key: readings[0]})
    for number, then in enumerate(readings):
        # In between, second by second, as it was before.
        for second in range(1, every_s if number else 1):
            book.step(START_S + every_s * (number - 1) + second, {key: readings[number - 1]})
        book.step(START_S + every_s * number, {key: then})
        seen.append(letter(book.alert(key)))
    assert seen == timeline["state"]
