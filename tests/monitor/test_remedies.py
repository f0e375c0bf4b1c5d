"""When an instance is restarted, when not, and when a person is called. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from tenfold.monitor.remedies import Act, Case, Condition, Decision, Policy, Seen, step

W, I, A, U = Condition.WELL, Condition.ILL, Condition.AWAY, Condition.UNKNOWN  # noqa: E741
POLICY = Policy()


@dataclass
class Story:
    """A pool, looked at once a second."""

    chance: float = 0.0
    cases: dict[str, Case] = field(default_factory=dict)
    now_s: float = 1000.0
    told: list[tuple[float, Act, str]] = field(default_factory=list)

    def look(self, *conditions: Condition, seconds: int = 1, cause: str | None = None, reach: bool = True) -> None:
        for _ in range(seconds):
            pool = [Seen(f"b{i}", c, "no answer" if c is I else "", reach) for i, c in enumerate(conditions)]
            self.cases, decided = step(self.cases, pool, self.now_s, self.chance, POLICY, cause)
            self.told += [(self.now_s - 1000, d.act, d.name) for d in decided]
            assert sum(d.act is Act.RESTART for d in decided) <= 1
            self.now_s += 1

    def acts(self, *wanted: Act) -> list[tuple[float, Act, str]]:
        return [one for one in self.told if one[1] in wanted]


def test_one_that_is_ill_for_long_is_restarted_once_and_counts_as_cured_when_it_stays_well() -> None:
    story = Story()
    story.look(I, W, W, W, seconds=20)
    assert story.told == []  # 19 seconds are not long
    story.look(I, W, W, W)
    assert story.told == [(20, Act.RESTART, "b0")]
    story.look(A, W, W, W, seconds=3)
    story.look(W, W, W, W, seconds=60)
    assert story.told[1:] == [(45, Act.CURED, "b0")]  # settled after 15 s, and well for 10


def test_an_illness_with_breaks_is_none() -> None:
    story = Story()
    for _ in range(20):
        story.look(I, W, seconds=15)
        story.look(W, W)
    assert story.told == []


@pytest.mark.parametrize("condition", [U, A])
def test_nothing_is_done_about_what_is_not_known_or_meant_to_be_away(condition: Condition) -> None:
    story = Story()
    story.look(condition, W, W, W, seconds=500)
    story.look(I, W, W, W, seconds=15)
    story.look(condition, W, W, W)  # and who was not seen ill has not been ill
    story.look(I, W, W, W, seconds=15)
    assert story.told == []


@pytest.mark.parametrize(
    ("pool", "restarts"),
    [
        ((I,), True),  # the only one, and it serves nobody
        ((I, W), True),
        ((I, I), False),
        ((I, A), False),  # the other one is being deployed: nothing would be left
        ((I, U), False),
        ((I, I, W, W), False),
        ((I, I, W, W, W, W, W, W), True),  # a quarter
        ((I, I, I, W, W, W, W, W), False),
    ],
)
def test_where_much_is_ill_the_cause_is_elsewhere(pool: tuple[Condition, ...], restarts: bool) -> None:
    story = Story()
    story.look(*pool, seconds=30)
    assert bool(story.acts(Act.RESTART)) is restarts
    assert bool(story.acts(Act.LEAVE)) is not restarts


def test_a_likelier_cause_keeps_it_from_being_restarted() -> None:
    story = Story()
    story.look(I, W, W, W, seconds=300, cause="shard_0 is down")
    assert story.acts(Act.RESTART) == []
    story.look(I, W, W, W)
    assert story.told[-1][1] is Act.RESTART


def test_two_are_restarted_one_after_the_other_has_been_judged() -> None:
    story = Story()
    story.look(I, I, W, W, W, W, W, W, seconds=21)
    story.look(W, I, W, W, W, W, W, W, seconds=62)
    assert [one[1:] for one in story.told][:4] == [
        (Act.RESTART, "b0"), (Act.CURED, "b0"), (Act.RESTART, "b1"), (Act.FAILED, "b1"),
    ]  # fmt: skip


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_restarts_that_do_not_help_come_later_each_time_and_then_a_person_is_called_once(chance: float) -> None:
    story = Story(chance)
    story.look(I, W, W, W, seconds=1500)
    restarts = [at_s for at_s, _, _ in story.acts(Act.RESTART)]
    gaps = [b - a for a, b in itertools.pairwise(restarts)]
    assert len(restarts) == POLICY.budget and gaps == sorted(gaps) and gaps[-1] >= 60 * (1 + chance / 2)
    assert len(story.acts(Act.FAILED)) == 3
    assert len(story.acts(Act.CALL)) == 1 and story.told[-1][1] is Act.CALL
    story.look(W, W, W, W, seconds=30)
    assert [one[1] for one in story.told[-1:]] == [Act.WELL]


def test_the_budget_is_of_an_hour() -> None:
    story = Story()
    story.look(I, W, W, W, seconds=1500)
    story.look(W, W, W, W, seconds=3700)
    story.look(I, W, W, W, seconds=30)
    assert len(story.acts(Act.RESTART)) == POLICY.budget + 1


def test_what_runs_elsewhere_is_counted_and_not_touched() -> None:
    story = Story()
    story.look(I, W, W, W, seconds=300, reach=False)
    assert story.told == []


def test_a_decision_says_why() -> None:
    _, decided = step({"b": Case(ill_since_s=0.0)}, [Seen("b", I, "answers /healthz with 500")], 20, 0, POLICY)
    assert decided == [Decision(Act.RESTART, "b", "answers /healthz with 500")]
