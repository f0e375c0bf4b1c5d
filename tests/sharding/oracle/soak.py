"""A run of the oracle: cases of old first, then worlds from new seeds until enough was asked. Edge."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.sharding.oracle.asking import check
from tests.sharding.oracle.asks import Ask, Value, marker
from tests.sharding.oracle.run import AGAIN, PARTS, play
from tests.sharding.oracle.shapes import shapes_of
from tests.sharding.oracle.sides import Pair
from tests.sharding.oracle.tally import Tally

CASES = sorted((Path(__file__).parent.parent.parent / "cases" / "oracle").glob("*.toml"))
# Of both engines together; `make oracle` asks more, from another seed.
STATEMENTS = int(os.environ.get("TENFOLD_ORACLE_STATEMENTS", "5000"))
SEED = int(os.environ.get("TENFOLD_ORACLE_SEED", "4"))
ENGINES = os.environ.get("TENFOLD_ORACLE_ENGINE", "both")
MOST_REFUSED = 0.10
MOST_SHOWN = 12


def cases_for(engine: str) -> list[Path]:
    """The files of mismatches of old that this engine can be asked."""
    return [file for file in CASES if engine in tomllib.loads(file.read_text()).get("engines", ["sqlite", "mysql"])]


def ask_again(pair: Pair, file: Path) -> None:
    """Ask what was once answered wrongly; it must be answered, and rightly."""
    case: dict[str, Any] = tomllib.loads(file.read_text())
    assert case["why"]
    pair.fill({})
    for statement in case.get("rows", ()):
        pair.many.execute(statement)
        pair.one.run(statement)
    for statement in case.get("before", ()):  # so that its plan is known
        pair.many.execute(statement)
    sql, values = case["sql"], [Value(item, False) for item in case.get("params", ())]
    for number in range(len(values)):
        sql = sql.replace("?", marker(number), 1)
    ask = Ask(
        sql,
        tuple(values),
        whole=case.get("whole", ""),
        ranks=case.get("ranks", False),
        limit=tuple(case["limit"]) if "limit" in case else None,
        loose={int(place): kind for place, kind in case.get("loose", {}).items()},
        shape=file.stem,
    )
    if "inside" in case:  # of a transaction that has written this already
        ask = Ask(script=(Ask(case["inside"]), ask), kept=False, anywhere=True, shape=file.stem)
    tally = Tally()
    wrong = check(pair, ask, tally)
    assert not wrong, f"{case['why']}\n{wrong}"
    assert not tally.refused or case.get("refused"), f"{case['why']}\nrefused: {list(tally.why)}"


def soak(pair: Pair, show: Callable[[str, object], None]) -> None:
    """Ask this engine's share of the statements, and fail for what must not be.

    show  `record_property`: the table is shown at the end of the run (tests/conftest.py)
    """
    engine = pair.engine
    share = STATEMENTS // (2 if ENGINES == "both" else 1)
    each = len(shapes_of(engine)) / PARTS * (1 + AGAIN)
    tally = Tally()
    numbers = iter(range(10**9))

    @hypothesis.seed(SEED)
    @settings(
        max_examples=ceil(share / each),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**63))
    def worlds(seed: int) -> None:
        if len(tally.mismatches) < MOST_SHOWN:
            play(pair, str(seed), next(numbers), tally)

    worlds()
    show("shown", f"oracle on {engine}, seed {SEED}\n{tally.table(whole='TENFOLD_ORACLE_STATEMENTS' in os.environ)}")
    if tally.mismatches:
        pytest.fail("answered wrongly:\n" + "\n".join(tally.mismatches), pytrace=False)
    assert not tally.core_refused(), "shapes of the core were refused"
    assert tally.refused_share() <= MOST_REFUSED
    asked = sum(tally.asked.values())
    assert asked >= share * 0.9, f"{asked} statements were asked, and {share} were wanted"
    missed = [shape.name for shape in shapes_of(engine) if not tally.asked[shape.name]]
    assert not missed, (
        f"{len(missed)} of {len(shapes_of(engine))} shapes were never asked, as {share} statements are too few for each"
        f" to come up: ask {engine} for {ceil(PARTS * each)} or more (TENFOLD_ORACLE_STATEMENTS is that of both engines"
        f" together); not asked: {', '.join(missed)}"
    )
