"""Every file in tests/cases/plans is planned, or refused, just as it says. Edge."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tenfold.errors import TenfoldError
from tenfold.sharding.explain import told
from tests.sharding.plans import plan_of

CASES = sorted((Path(__file__).parent.parent / "cases" / "plans").glob("*.toml"))


def decided(case: dict[str, str]) -> dict[str, str]:
    """What a case should say: the plan, or the refusal with its rewrite."""
    try:
        return {"plan": told(plan_of(case["sql"], case.get("layout", "by user")))}
    except TenfoldError as error:
        return {"refusal": f"{type(error).__name__}: {error}", "rewrite": error.hint}


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_statement_is_planned_as_its_case_says(file: Path) -> None:
    case = tomllib.loads(file.read_text())
    assert case.pop("why")
    expected = {key: text.strip("\n") for key, text in case.items() if key in ("plan", "refusal", "rewrite")}
    assert decided(case) == expected


def test_plans_and_refusals_are_both_among_the_cases() -> None:
    cases = [tomllib.loads(file.read_text()) for file in CASES]
    assert len([case for case in cases if "plan" in case]) >= 25
    assert len([case for case in cases if "refusal" in case]) >= 25
    assert {case.get("layout") for case in cases} == {None, "literal"}


@pytest.mark.parametrize("file", [f for f in CASES if "refusal" in tomllib.loads(f.read_text())], ids=lambda f: f.stem)
def test_every_refusal_says_what_to_do(file: Path) -> None:
    assert tomllib.loads(file.read_text())["rewrite"]
