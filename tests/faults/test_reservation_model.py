"""At every moment of every order of steps: one user an address, and a reservation that leads to it. Edge."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.sharding.dialects import MYSQL, SQLITE
from tenfold.sharding.execute import Executor
from tests.faults.cases import A2, B2, CASES, A, B, X, Y, Z
from tests.faults.conftest import LONG
from tests.faults.mutants import MUTANTS, PROTOCOL
from tests.faults.schedules import Exhaustive, Random
from tests.faults.world import (
    LEAVE,
    RENAME,
    SIGN_UP,
    SIGN_UP_TWO,
    Program,
    World,
    on_files,
    on_servers,
    statements,
    transaction,
)
from tests.mariadb import Server, fresh_databases

# (switches between writers that could both go on, faults): every schedule within these bounds is run.
BOUNDS = [[], [(3, 0), (1, 1), (0, 2)], [(3, 0), (2, 1), (1, 2)]][min(LONG, 2)]


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    """Two shards and room for four writers."""
    made = World(on_files(memory), SQLITE, 4)
    yield made
    made.close()


@pytest.fixture
def servers(three_servers: list[Server]) -> Iterator[World]:
    """The same on two MariaDB servers."""
    with fresh_databases(three_servers, 2) as databases:
        made = World(on_servers(databases), MYSQL, 4)
        yield made
        made.close()


@pytest.mark.timeout(3600 if LONG else 60)
@pytest.mark.parametrize("name", CASES)
def test_every_order_of_two_writers_with_one_dying_anywhere(world: World, name: str) -> None:
    case, executor = CASES[name], world.executor(PROTOCOL, 0.0)
    outcomes = set()
    for switches, faults in BOUNDS or [(case.switches, 0), (0, 1)]:
        for schedule in Exhaustive(switches).runs():
            broken = world.run(executor, case.users, case.programs, schedule, faults)
            outcomes.add(tuple(actor.outcome for actor in world.actors))
            assert broken == [], (name, schedule, [actor.outcome for actor in world.actors])
    # That the test tests something: writers died, and some order let each of them have its way.
    assert any("dead" in outcome for outcome in outcomes)
    for writer in range(2):
        assert any("ok" in outcome[writer] for outcome in outcomes) is case.works, outcomes


@pytest.mark.timeout(3600 if LONG else 60)
@pytest.mark.parametrize("wait_s", [0.0, 0.04])
def test_many_writers_in_random_order_with_losses(world: World, wait_s: float) -> None:
    executor = world.executor(PROTOCOL, wait_s)
    first = random.randrange(10**9) if LONG else 0
    for seed in range(first, first + (5000 * LONG or 150)):
        assert _at_random(world, executor, seed) == [], (seed, [actor.outcome for actor in world.actors])


@pytest.mark.timeout(3600 if LONG else 60)
def test_many_writers_in_random_order_with_losses_on_mariadb(servers: World) -> None:
    executor = servers.executor(PROTOCOL, 0.0)
    first = random.randrange(10**9) if LONG else 0
    for seed in range(first, first + (3000 * LONG or 100)):
        assert _at_random(servers, executor, seed) == [], (seed, [actor.outcome for actor in servers.actors])


def _at_random(world: World, executor: Executor, seed: int) -> list[str]:
    """Some writers, in an order drawn from `seed`; → broken rules."""
    drawn = random.Random(seed)
    users = {
        user: email for user, email in zip((A, B), drawn.sample([X, Y, Z], 2), strict=True) if drawn.random() < 0.7
    }
    programs = [_program(drawn) for _ in range(drawn.randint(2, 4))]
    return world.run(executor, users, programs, Random(seed, fault=0.05), faults=drawn.choice([0, 1, 3]))


def _program(drawn: random.Random) -> Program:
    def one() -> tuple[str, tuple[object, ...]]:
        sql = drawn.choice([SIGN_UP, SIGN_UP_TWO, RENAME, RENAME, LEAVE])
        (user, other), (email, another) = drawn.sample([A, A2, B, B2], 2), drawn.sample([X, Y, Z, Z, None], 2)
        two = (user, email, other, another)
        return sql, {SIGN_UP: two[:2], SIGN_UP_TWO: two, RENAME: (email, user), LEAVE: (user,)}[sql]

    each = [one() for _ in range(drawn.randint(1, 3))]
    return transaction(*each, commits=drawn.random() < 0.7) if drawn.random() < 0.3 else statements(*each)


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if LONG or not mutant.slow])
def test_without_any_one_rule_the_invariant_breaks(world: World, name: str) -> None:
    mutant = MUTANTS[name]
    executor, case = world.executor(mutant, 0.0), CASES[mutant.case]
    runs = Exhaustive(mutant.switches).runs()
    broken = (world.run(executor, case.users, case.programs, schedule, mutant.faults) for schedule in runs)
    assert any(broken), f"{name}: as good as the protocol"
