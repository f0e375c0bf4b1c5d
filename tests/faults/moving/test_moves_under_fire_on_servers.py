"""Moves while routers write and read, and movers, servers and lines are killed, cut or paused: MariaDB. Edge."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.conftest import LONG
from tests.faults.moving.plan import plan, without_move
from tests.faults.moving.run import Run, prepared, run_seed
from tests.faults.moving.shards import SERVER
from tests.faults.moving.test_moves_under_fire import KNOWN
from tests.mariadb import Server, fresh_databases, server

pytestmark = pytest.mark.timeout(200)
BATCH, PATIENT = 4, 2


@pytest.fixture(scope="module")
def servers(mariadb_pattern: Path) -> Iterator[list[Server]]:
    """Three that may be killed."""
    with ExitStack() as stack:
        yield [stack.enter_context(server(mariadb_pattern, SERVER)) for _ in range(3)]


def test_writers_and_readers_agree_while_nothing_moves(memory: Path, servers: list[Server]) -> None:
    chosen = without_move(1, "mariadb")
    with fresh_databases(servers, 3) as databases:
        assert Run(chosen, prepared(memory / "site", chosen, databases), servers).verdict() == []


@pytest.mark.skipif(bool(LONG), reason="`make faults` takes new seeds")
@pytest.mark.parametrize("seed", [101])
def test_a_move_under_fire_loses_nothing(seed: int, memory: Path, servers: list[Server]) -> None:
    run_seed(plan(seed, "mariadb"), memory, servers)


def test_what_once_failed_does_not(memory: Path, servers: list[Server]) -> None:
    for known in (entry for entry in KNOWN if entry["engine"] == "mariadb"):
        run_seed(plan(known["seed"], "mariadb", known.get("lease_s", 0.3)), memory / str(known["seed"]), servers)


@pytest.mark.skipif(not LONG, reason="`make faults` runs them")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", range(25 * LONG))
def test_moves_from_new_seeds_lose_nothing(
    batch: int, memory: Path, servers: list[Server], record_property: Callable[[str, object], None]
) -> None:
    seeds = [random.SystemRandom().randrange(1, 10**8) for _ in range(BATCH)]
    record_property("shown", f"seeds {seeds}")
    for seed in seeds:
        run_seed(plan(seed, "mariadb", 2.0 if batch % 25 < PATIENT else 0.3), memory / str(seed), servers)
