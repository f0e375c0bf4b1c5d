"""`tenfold alerts`: what it says in 80 columns and as JSON, and with which exit code it ends. Edge."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tenfold.cli.alerts import Length
from tenfold.cli.main import main
from tenfold.monitor.alerts.rules import NAMES
from tenfold.monitor.runbooks import PLACES
from tests.runtime.agents import LoneAgent
from tests.support import wait_for

SHORT = "[monitor]\ndown_for_s = 0.0\nkeep_firing_s = 1.0\ncpu_ratio = { warning = 1.0 }\n"
LONG_S = 40.0
ALERT = "shard_down:shard_0"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    """An agent whose only shard is missing."""
    alone = LoneAgent(tmp_path_factory.mktemp("agent") / "site", more=SHORT)
    alone.start()
    wait_for(lambda: any(one["id"] == ALERT for one in alone.view()["alerts"]["items"]), "it fires", LONG_S)
    yield alone
    alone.close()


Said = tuple[int, str, str]


@pytest.fixture
def run(agent: LoneAgent, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command: its exit code, and what it says."""

    def run(*words: str) -> Said:
        code = main(["alerts", *words, "--file", str(agent.root / "tenfold.toml")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def item(run: Any) -> dict[str, Any]:
    return next(one for one in json.loads(run("list", "--json")[1])["items"] if one["id"] == ALERT)


def test_what_alerts_is_listed_in_80_columns_and_its_severity_is_a_word(run: Any) -> None:
    code, out, _ = run()
    assert code == 0 and out.startswith("1 critical")
    assert f"CRITICAL  {ALERT}  firing for " in out and "tenfold alerts runbook shard_down" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert run("list")[1].splitlines()[0] == out.splitlines()[0]
    assert run("list", "--quiet")[1] == ""
    told = json.loads(run("--json")[1])
    assert told["counts"]["critical"] == 1 and told.keys() == {"counts", "items", "silences", "undelivered"}


def test_one_who_takes_it_on_is_shown_with_the_note(run: Any) -> None:
    code, out, _ = run("ack", ALERT, "--note", "the disk \x1b[2J is on its way")
    assert code == 0 and out == f"{ALERT} is yours until it is over; it is not told again before\n"
    assert item(run)["ack_note"] == "the disk [2J is on its way" and "@" in item(run)["acked_by"]
    assert "the disk [2J is on its way" in run()[1]


def test_what_does_not_fire_cannot_be_taken_on_and_the_remedy_is_named(run: Any) -> None:
    code, out, err = run("ack", "cpu:host")
    assert (code, out) == (1, "") and "error: cpu:host does not fire" in err and "Try: " in err
    told = json.loads(run("ack", "cpu:host", "--json")[1])
    assert told["error"] == "cpu:host does not fire" and told["retryable"] is False


def test_a_silence_says_what_it_fits_until_when_and_can_be_ended(run: Any) -> None:
    code, out, _ = run("silence", "rule=shard_down", "target=shard_*", "--for", "2h", "--comment", "we know")
    assert code == 0
    name = out.partition(":")[0]
    assert out.startswith(f"{name}: rule=shard_down target=shard_* is not told until 2")
    assert "1 of the alerts of now" in out
    assert "silenced until" in run()[1] and "(we know)" in run()[1] and "SILENCES" in run()[1]
    assert item(run)["silenced_until_s"] is not None
    assert run("unsilence", name)[0] == 0 and item(run)["silenced_until_s"] is None
    assert run("unsilence", name)[0] == 1
    out = run("silence", "disk", "--for", "1m")[1]
    assert "nothing alerts now that it fits" in out
    assert run("unsilence", out.partition(":")[0])[0] == 0


def test_the_runbook_of_every_rule_is_at_hand_without_an_agent(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in NAMES:
        assert main(["alerts", "runbook", f"{rule}:anything", "--file", "/nowhere/tenfold.toml"]) == 0
        assert capsys.readouterr().out.startswith(f"# {rule}\n")
    assert main(["alerts", "runbook", "shard_dwon"]) == 1
    assert 'did you mean "shard_down"?' in capsys.readouterr().err


def test_the_runbooks_are_in_the_wheel_where_they_are_looked_for() -> None:
    root = Path(__file__).parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    (source, target), *_ = wheel["force-include"].items()
    assert (root / "src" / target, root / source) == PLACES


def test_a_misspelt_silence_is_refused_with_the_nearest(run: Any) -> None:
    code, _, err = run("silence", "shard_dwon", "--for", "2h")
    assert code == 1 and 'did you mean "shard_down"?' in err


@pytest.mark.parametrize(
    "words",
    [("silence", "cpu"), ("silence", "--for", "2h"), ("silence", "cpu", "--for", "soon"), ("ack",), ("nonsense",),
     ("--json", "list")],
)  # fmt: skip
def test_wrong_usage_ends_with_2(run: Any, words: tuple[str, ...]) -> None:
    assert main(["alerts", *words]) == 2


def test_explain_says_why_with_what_was_seen(run: Any) -> None:
    code, out, _ = run("explain", ALERT)
    assert code == 0
    assert out.startswith("shard_down: alerts when it is not well for 0 s")
    assert f"{ALERT} fires" in out and "firing" in out and "down" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "response_time:platform does not fire: " in run("explain", "response_time")[1]
    told = json.loads(run("explain", "cpu", "--json")[1])["explained"]
    assert told[0]["id"] == "cpu:host" and told[0]["why"].startswith("does not fire: ")
    assert len(told[0]["samples"]) > 0 and told[0]["samples"][-1].keys() == {"at_s", "value", "count", "blind", "phase"}
    code, _, err = run("explain", "shard_dow")
    assert code == 1 and "did you mean" in err


def test_without_an_agent_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tenfold.toml").write_text("")
    assert main(["alerts", "--file", str(tmp_path / "tenfold.toml")]) == 75
    said = capsys.readouterr().err
    assert "no agent runs here" in said and "Try: start it with tenfold up" in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("3d", 259_200), ("5min", 300)]
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert Length().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-1h", "1e3s", "٣h", "99999999999999h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Length().convert(text, None, None)


def test_when_all_is_well_it_says_so(agent: LoneAgent, run: Any) -> None:
    sqlite3.connect(agent.root / "var/shard_0.db").executescript("CREATE TABLE t (a)")
    wait_for(lambda: run()[1].startswith("nothing alerts") or None, "it is over", LONG_S)
    assert json.loads(run("--json")[1])["counts"] == {"critical": 0, "warning": 0, "info": 0}
