"""The phases of a move: documented as they are, with a way on from each. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.errors import MoveError
from tenfold.sharding.moves.phases import COMMANDS, NEXT, Phase, after
from tenfold.sharding.moves.record import numbers, spans

DESIGN = Path(__file__).resolve().parents[3] / "docs" / "design" / "007-moves.md"


def test_the_design_draws_the_phases_as_they_are() -> None:
    block = DESIGN.read_text().split("a test compares):\n\n```\n")[1].split("```")[0]
    drawn: dict[str, dict[str, str]] = {}
    for line in block.splitlines():
        phase, *words = line.replace("→", " ").split()
        drawn[phase] = dict(zip(words[::2], words[1::2], strict=True))
    assert drawn == {phase.value: {e: p.value for e, p in events.items()} for phase, events in NEXT.items() if events}


def test_every_phase_has_a_way_to_the_end() -> None:
    for phase in Phase:
        reached, left = {phase}, [phase]
        while left:
            new = set(NEXT[left.pop()].values()) - reached
            reached |= new
            left += new
        assert Phase.DONE in reached


def test_a_move_is_cancelled_before_its_first_bucket_is_given_away_and_undone_after_it() -> None:
    cancelled = {phase for phase in Phase if "cancel" in NEXT[phase]}
    undone = {phase for phase in Phase if "undo" in NEXT[phase]}
    assert cancelled == {Phase.ANNOUNCED, Phase.CAPTURING, Phase.COPYING, Phase.FOLLOWING}
    assert undone == {Phase.CUTTING, Phase.SERVING} and not cancelled & undone


def test_what_a_phase_does_not_allow_is_refused_with_what_it_does() -> None:
    with pytest.raises(MoveError, match="serving cannot cancel") as caught:
        after(Phase.SERVING, "cancel")
    assert "`undo`" in caught.value.hint and "`finish`" in caught.value.hint
    for phase in (Phase.RETURNING, Phase.CLEANING):
        with pytest.raises(MoveError) as under_way:
            after(phase, "undo")
        assert under_way.value.hint == "what it can is `resume`"
    with pytest.raises(MoveError) as ended:
        after(Phase.DONE, "undo")
    assert "it has ended" in ended.value.hint
    assert {event for events in NEXT.values() for event in events} > COMMANDS


@pytest.mark.parametrize("text", ["", "0", "0-3,17", "5-5", "4095"])
def test_bucket_lists_are_read_and_written(text: str) -> None:
    assert numbers(spans(numbers(text))) == sorted(numbers(text))


@pytest.mark.parametrize("text", ["x", "3-1", "-1", "1,,2", "1-", "²", "1--2", "0x10"])
def test_what_is_no_bucket_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # it carries the part that is wrong
        numbers(text)
