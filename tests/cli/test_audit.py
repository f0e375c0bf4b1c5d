"""`tenfold audit`: the trail as a person reads it. Edge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.audit.trail import Trail
from tenfold.cli.main import main

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    (tmp_path / "tenfold.toml").touch()

    def ask(*words: str) -> tuple[int, str, str]:
        code = main(["audit", *words, "--file", str(tmp_path / "tenfold.toml")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path / "var/audit.jsonl", who="ann@web-1", clock=lambda: 1_700_000_000.0)


def test_before_anything_was_done_it_says_so_and_makes_nothing(ask: Ask, tmp_path: Path) -> None:
    assert ask() == (0, "no act yet\n", "") and not (tmp_path / "var").exists()


def test_where_there_is_no_platform_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--file", str(tmp_path / "tenfold.toml")]) == 1
    assert "tenfold.toml" in capsys.readouterr().err


def test_who_did_what_is_read_without_tricks_of_who_wrote_it(ask: Ask, trail: Trail) -> None:
    for number in range(3):
        trail.write("alerts.ack", id="disk:var", note=f"on \x1b[2J it {number}", empty="")
    code, out, _ = ask("--last", "2")
    assert code == 0 and out.splitlines()[0].endswith("ann@web-1  alerts.ack  id=disk:var note=on \\x1b[2J it 1")
    assert out.splitlines()[-1] == "1 earlier: --last 3"
    told = json.loads(ask("--json")[1])
    assert (told["count"], told["faults"], told["entries"][0]["did"]) == (3, [], "alerts.ack")


def test_a_trail_that_somebody_changed_is_not_whole(ask: Ask, trail: Trail) -> None:
    for release in ("r1", "r2"):
        trail.write("deploy", release=release)
    trail.path.write_text(trail.path.read_text().replace("r1", "r9"))
    code, out, _ = ask()
    assert code == 1 and "NOT WHOLE: line 1 does not fit its digest" in out
    assert json.loads(ask("--json")[1])["faults"]


def test_a_trail_that_cannot_be_read_is_said_with_a_way_out(ask: Ask, trail: Trail) -> None:
    trail.path.mkdir(parents=True)
    code, _, err = ask()
    assert code == 1 and "cannot be read" in err and "Try: see who owns" in err
