"""The move protocol explored whole: nothing breaks with all its rules, and something without any one. Pure."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from tests.faults.conftest import LONG
from tests.faults.move_model import Model
from tests.faults.move_mutants import AHEAD, MASK, MUTANTS, Mutant
from tests.faults.move_rules import PROTOCOL, Rules
from tests.faults.move_scenarios import CUT, LARGE, SMALL
from tests.faults.move_search import Found, search

# Searches that were cut, so that `make faults` takes minutes.
STATES = 200_000 * max(LONG, 1)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """States hold no circles: the collector would go through hundreds of thousands of them in vain."""
    gc.disable()
    yield
    gc.enable()


def story(found: Found) -> str:
    return "\n".join([f"{found.broken}, after {found.states} states:", *found.trace])


def without(*rules: str) -> Rules:
    return replace(PROTOCOL, **dict.fromkeys(rules, False))


@pytest.mark.parametrize("name", SMALL)
def test_nothing_breaks_in(name: str) -> None:
    found = search(Model(SMALL[name], PROTOCOL), forward=SMALL[name].finish)
    assert found.complete, story(found)


@pytest.mark.skipif(not LONG, reason="takes minutes: make faults")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", LARGE)
def test_nothing_breaks_in_larger_sizes(name: str) -> None:
    found = search(Model(LARGE[name], PROTOCOL), forward=LARGE[name].finish)
    assert found.complete, story(found)


@pytest.mark.skipif(not LONG, reason="takes minutes: make faults")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CUT)
def test_nothing_breaks_early_in_sizes_without_end(name: str) -> None:
    found = search(Model(CUT[name], PROTOCOL), limit=STATES)
    assert found.broken is None, story(found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{'+'.join(mutant.without)}-{mutant.breaks[:2]}")
def test_it_breaks_without(mutant: Mutant) -> None:
    scenario = SMALL[mutant.where]
    found = search(Model(scenario, without(*mutant.without)), mutant.breaks, forward=mutant.breaks == "P5")
    assert found.broken, f"as good as the protocol, in all {found.states} states"


def test_every_rule_is_missed() -> None:
    # The verification is there for what nobody thought of.
    missed = {rule for mutant in MUTANTS for rule in mutant.without}
    assert missed == {field.name for field in fields(Rules)}
    alone = {mutant.without[0] for mutant in MUTANTS if len(mutant.without) == 1}
    assert missed - alone - AHEAD - {MASK} == {
        "moved_before_open", "open_only", "trigger_names", "capture_first", "position_with_rows", "conditional_forget",
        "row_after_version", "reverse_before_open",
    }  # fmt: skip


@pytest.mark.parametrize(
    "mutant",
    [one for one in MUTANTS if {MASK, *AHEAD}.intersection(one.without)],
    ids=lambda mutant: "+".join(mutant.without),
)
def test_the_verification_stops_what_it_masks(mutant: Mutant) -> None:
    rules = without(*(rule for rule in mutant.without if rule not in {MASK, *AHEAD}))
    scenario = SMALL[mutant.where]
    assert search(Model(scenario, rules), "V").broken
    assert search(Model(scenario, rules), "P").complete


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("moved_before_open", "a reader, and a move that is undone"),
        ("open_only", "a reader, and a move that is undone"),
        ("trigger_names", "two moves by two movers"),
        (MASK, "two moves by two movers"),
        *((rule, name) for rule in sorted(AHEAD) for name in SMALL if name.endswith("compared ahead")),
    ],
)
def test_another_rule_is_enough_without(rule: str, name: str) -> None:
    # If this fails, the rule has become one of its own: `move_mutants` can take it out alone.
    assert search(Model(SMALL[name], without(rule))).complete
