"""Moves while routers write and read, and movers, shards and the catalog are killed, cut or paused: SQLite. Edge."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import LONG
from tests.faults.moving.mutants import RULES
from tests.faults.moving.plan import STEPS, plan, without_move
from tests.faults.moving.run import Run, prepared, run_seed

SOURCES = Path(__file__).parents[3] / "src/tenfold/sharding/moves"
KNOWN: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "seeds.toml").read_text()).get("seed", [])
pytestmark = pytest.mark.timeout(200)
BATCH = 5
PATIENT = 4
"""Batches in which the lease is as long as it is by default."""


def test_writers_and_readers_agree_while_nothing_moves(memory: Path) -> None:
    chosen = without_move(1, "sqlite")
    assert Run(chosen, prepared(memory / "site", chosen)).verdict() == []


@pytest.mark.skipif(bool(LONG), reason="`make faults` takes new seeds")
@pytest.mark.parametrize("seed", [101, 102, 103, 105])
def test_a_move_under_fire_loses_nothing(seed: int, memory: Path) -> None:
    run_seed(plan(seed, "sqlite"), memory)


def test_what_once_failed_does_not(memory: Path) -> None:
    for known in (entry for entry in KNOWN if entry["engine"] == "sqlite"):
        run_seed(plan(known["seed"], "sqlite", known.get("lease_s", 0.3)), memory / str(known["seed"]))


@pytest.mark.skipif(not LONG, reason="`make faults` runs them")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", range(60 * LONG))
def test_moves_from_new_seeds_lose_nothing(
    batch: int, memory: Path, record_property: Callable[[str, object], None]
) -> None:
    seeds = [random.SystemRandom().randrange(1, 10**8) for _ in range(BATCH)]
    record_property("shown", f"seeds {seeds}")
    for seed in seeds:
        run_seed(plan(seed, "sqlite", 2.0 if batch % 60 < PATIENT else 0.3), memory / str(seed))


@pytest.mark.skipif(not LONG, reason="takes minutes")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_router_without_a_rule_is_found_out(rule: Callable[[], None], memory: Path) -> None:
    for seed in range(1, 61):
        chosen = plan(seed, "sqlite")
        (memory / str(seed)).mkdir()
        if Run(chosen, prepared(memory / str(seed) / "site", chosen), mutant=rule).verdict():
            return
    pytest.fail(f"60 runs in which every router {rule.__doc__} found nothing")


def test_every_step_of_a_mover_is_one_to_be_killed_at() -> None:
    texts = [path.read_text() for path in SOURCES.glob("*.py") if path.name != "joining.py"]
    named = {name for text in texts for name in re.findall(r'\bstep\("([a-z._]+)"\)', text)}
    assert named <= set(STEPS)
