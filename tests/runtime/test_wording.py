"""How durations, endings and lines of programs are said. Pure."""

from __future__ import annotations

import pytest

from tenfold.runtime import wording


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.2, "0.0 s"),
        (0.34, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, said: str) -> None:
    assert wording.duration(seconds) == said


def test_an_ending_names_the_code_or_the_signal() -> None:
    assert wording.ending(3) == "exited with code 3"
    assert wording.ending(-9) == "was killed by SIGKILL"
    assert wording.ending(-64) == "was killed by signal 64"


def test_control_characters_of_strangers_are_spelt_out() -> None:
    assert wording.visible("a\x1b]0;owned\x07\tb\x9b2J ü") == "a\\x1b]0;owned\\x07\tb\\x9b2J ü"


def test_quoted_lines_hold_no_secret() -> None:
    assert wording.quoted(["key=sesame!", "ok"], ["sesame"]) == "  key=***!\n  ok"
    assert wording.quoted([]) == "  (it wrote nothing)"
