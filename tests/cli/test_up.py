"""How status and logs lay out what they tell. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.cli.logs import choose
from tenfold.cli.status import COLUMNS, cells, table
from tenfold.errors import PlatformError
from tenfold.runtime.status import Row, Status

WELL = Row("backend_0", "up", True, 4711, 8101, 3725.0, 2, 48 * 2**20, 12.4)


def test_figures_stand_below_each_other() -> None:
    lines = table([COLUMNS, cells(WELL), cells(Row("up", "up", None, 7, None, 2.0, 0, 2**20, 0.0))])
    assert lines == [
        "NAME       STATE   PID  PORT     UP FOR  RESTARTS  MEMORY   CPU",
        "backend_0  up     4711  8101  1 h 2 min         2   48 MB  12 %",
        "up         up        7     -      2.0 s         0    1 MB   0 %",
    ]


def test_a_process_that_is_not_there_shows_dashes() -> None:
    assert cells(Row("backend_0", "backing off", False, None, 8101, None, 3, None, None)) == (
        ("backend_0", "backing off", "-", "8101", "-", "3", "-", "-")
    )


def test_a_process_that_runs_and_does_not_answer_is_not_well() -> None:
    hung = Row("backend_0", "up", False, 4711, 8101, 3725.0, 2, 1, 1.0)
    assert cells(hung)[1] == "up, not well"
    assert not hung.is_well and WELL.is_well


def test_a_platform_of_which_only_the_supervisor_runs_is_not_well() -> None:
    up = Row("up", "up", None, 7, None, 2.0, 0, 2**20, 0.0)
    assert not Status("tiny", "http://x", [up]).is_well
    assert not Status("tiny", "", [up, WELL], "web_1", ("backend_0", "backend_1")).is_well
    assert Status("tiny", "", [up, WELL], "web_1", ("backend_0",)).is_well


def test_logs_are_chosen_by_name_once_each_and_all_by_default() -> None:
    known = {"backend_0": Path("a"), "balancer": Path("b")}
    assert choose([], known, Path("log")) == ["backend_0", "balancer"]
    assert choose(["balancer", "balancer"], known, Path("log")) == ["balancer"]
    with pytest.raises(PlatformError, match="no logs"):
        choose([], {}, Path("log"))
