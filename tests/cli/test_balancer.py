"""`tenfold balancer` and `tenfold top`: what they say, and with which exit code they end. Edge."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tenfold.cli.main import main
from tenfold.cli.top import number, screen, seconds, share, size
from tenfold.dashboard.view import Backend, Inputs, Route, Shard, Traffic, view
from tests.runtime.agents import LoneAgent, log_line
from tests.support import wait_for


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    """An agent without a platform: nobody is nginx, and no backend runs."""
    alone = LoneAgent(tmp_path_factory.mktemp("agent") / "site")
    alone.start()
    yield alone
    alone.close()


def run(agent: LoneAgent, *words: str) -> int:
    return main([*words, "--file", str(agent.root / "tenfold.toml")])


def test_drain_says_what_it_means_and_status_shows_it(agent: LoneAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(agent, "balancer", "drain", "backend_1") == 0
    assert "backend_1 takes no new clients; those that are bound to it stay" in capsys.readouterr().out
    assert run(agent, "balancer", "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "WANTED", "CLIENTS", "CONNECTIONS"]
    assert lines[2].split() == ["backend_1", "drain", "0", "?"]  # no nginx: nobody knows its connections
    assert run(agent, "balancer", "ready", "backend_1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["wanted"]) == ("backend_1", "ready")


def test_the_last_backend_stays_and_the_remedy_is_named(agent: LoneAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(agent, "balancer", "down", "backend_0") == 0
    assert run(agent, "balancer", "drain", "backend_1") == 1
    said = capsys.readouterr().err
    assert "the only backend that takes new clients" in said and "Try: tenfold balancer ready backend_0" in said
    assert run(agent, "balancer", "ready", "backend_0") == 0


def test_an_unknown_backend_is_refused_with_the_nearest(agent: LoneAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(agent, "balancer", "drain", "backend1") == 1
    assert "did you mean 'backend_1'?" in capsys.readouterr().err


def test_waiting_ends_with_its_time_and_can_be_gone_on_with(
    agent: LoneAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.write(log_line(agent.ports[0]))
    wait_for(lambda: agent.ask("balancer")["backends"][0]["sessions"] == 1, "a client is on it")
    assert run(agent, "balancer", "drain", "backend_0", "--wait", "--timeout", "0.6") == 75
    said = capsys.readouterr()
    assert "  1 client within 60 s, ? open connections" in said.out
    assert "the time is up: backend_0 still has 1 client within" in said.err
    assert run(agent, "balancer", "ready", "backend_0", "--wait", "--timeout", "0.1") == 75
    assert "does not answer well yet" in capsys.readouterr().err


def test_without_an_agent_one_is_told_to_try_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["balancer", "status"], ["balancer", "drain", "backend_0"], ["top", "--once"]):
        assert main([*words, "--file", str(tmp_path / "tenfold.toml")]) == 75
        assert "Try: start the platform" in capsys.readouterr().err


def test_top_shows_one_view_and_as_json_the_whole_of_it(agent: LoneAgent, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(agent, "top", "--once") == 0
    said = capsys.readouterr().out
    assert "alone" in said and "backend_1" in said and "shard_0" in said and "\x1b" not in said
    assert run(agent, "top", "--json") == 0
    assert json.loads(capsys.readouterr().out)["platform"] == "alone"


def shown(inputs: Inputs, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, color_system="truecolor", force_terminal=True)
    console.print(screen(view(inputs)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def test_what_a_stranger_named_cannot_colour_or_move_the_terminal() -> None:
    traffic = Traffic(60, 120, 6, 0.001, 1.5, 12.0, 0.0, 12.0, 30.0)
    text = shown(
        Inputs(
            "ledger",
            "staging",
            0.0,
            totals=traffic,
            backends=[Backend("backend_0", "x", 1, "down", "drain", traffic, 3, 0.5, 2**26, "[red]gone[/red]\x1b[2J")],
            routes=[Route("GET", "/[bold]x[/bold]\x1b]0;title\x07", traffic)],
            shards=[Shard("shard_0", "down", reason="no such file")],
        )
    )
    assert "[red]gone[/red]\\x1b[2J" in text and "/[bold]x[/bold]\\x1b]0;title\\x07" in text
    assert "\x1b[2J" not in text and "\x07" not in text
    for figure in (
        "ledger (staging)",
        "2.0 requests/s",
        "5.0 %",
        "1 ms",
        "1.50 s",
        "down, to drain",
        "64 MB",
        "50.0 %",
    ):
        assert figure in text
    assert "no such file" in text


def test_many_routes_are_cut_and_told() -> None:
    routes = [Route("GET", f"/{n}", Traffic(60, 1, 0, sum_s=float(n))) for n in range(20)]
    text = shown(Inputs("ledger", None, 0.0, routes=routes))
    assert "/19" in text and "GET /7 " not in text and "and 8 more routes on the page" in text


def test_what_is_not_known_is_a_dash() -> None:
    assert [form(None) for form in (number, share, seconds, size)] == ["-"] * 4
    assert [number(0.25), number(1234.5), seconds(0.0), seconds(2.0)] == ["0.2", "1,234", "0 ms", "2.00 s"]
    assert "requests/s" in shown(Inputs("ledger", None, 0.0))
