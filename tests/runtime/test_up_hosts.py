"""A platform on several hosts: each runs its own part, and the balancer's host reaches all of it. Edge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.hosts.agent_link import AgentLink
from tests.runtime.agents import state_of
from tests.runtime.fleets import ENVIRONMENT, Fleet
from tests.runtime.platforms import Platform
from tests.support import wait_for


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path / "fleet")
    yield fleet
    fleet.close()


def names(platform: Platform) -> list[str]:
    state = json.loads((platform.root / "var/run/state.json").read_text())
    return sorted(entry["name"] for entry in state["processes"])


def test_each_host_runs_its_own_part_and_the_balancer_reaches_all(fleet: Fleet) -> None:
    fleet.up()
    lb, web_1, web_2 = fleet.hosts.values()
    assert [names(host) for host in (lb, web_1, web_2)] == [
        ["agent", "balancer"], ["backend_0", "backend_2"], ["backend_1"],
    ]  # fmt: skip
    # The app's set-up was where the first backend is, and nowhere else.
    assert [(host.root / "set_up").exists() for host in (lb, web_1, web_2)] == [False, True, False]
    assert {lb.get("/", fleet.port) for _ in range(12)} == {"backend_0", "backend_1", "backend_2"}
    got = lb.get("/environment", fleet.port)
    assert got["_argv"][1:3] == ["--host", "127.0.0.2"] or got["_argv"][1:3] == ["--host", "127.0.0.3"]

    agent = AgentLink(lb.root / "var/run/agent.sock")
    wait_for(agent.path.exists, "the agent has loaded")
    wait_for(
        lambda: {b["state"] for b in agent.ask({"do": "view"})["view"]["backends"]} == {"up"},
        "the agent sees the backends of other hosts",
    )
    view = agent.ask({"do": "view"})["view"]
    assert [b["address"] for b in view["backends"]] == [f"{host}:{port}" for host, port in fleet.places]

    # Requests and connections are told by the right backend, and its host can be stopped by itself.
    wait_for(
        lambda: agent.ask({"do": "timings", "backend": "backend_1", "window_s": 60})["requests"] >= 3, "the log is read"
    )
    told = agent.ask({"do": "balancer", "action": "down", "backend": "backend_1"})
    assert told["old_workers"] is not None and {b["name"]: b["wanted"] for b in told["backends"]}["backend_1"] == "down"
    down = web_2.tenfold("down")
    assert down.returncode == 0 and "backend_1" in down.stdout
    assert {lb.get("/", fleet.port) for _ in range(6)} == {"backend_0", "backend_2"}
    wait_for(
        lambda: state_of(agent.ask({"do": "view"})["view"], "backends", "backend_1") == "down", "it is seen to be down"
    )
    for host, well in ((lb, True), (web_1, True), (web_2, False)):
        status = host.tenfold("status", "--json")
        assert (json.loads(status.stdout)["well"], status.returncode) == (well, 0 if well else 1), status.stdout
    assert json.loads(web_1.tenfold("status", "--json").stdout)["host"] == "web_1"
    assert "tiny  web_1\n" in web_1.tenfold("status").stdout


def test_a_host_that_is_not_named_or_not_known_is_refused_with_those_there_are(fleet: Fleet) -> None:
    web = fleet.hosts["web_1"]
    for options, said, hint in (
        ([*ENVIRONMENT], "production has several machines", "one of: lb web_1 web_2"),
        ([*ENVIRONMENT, "--host", "web1"], "did you mean 'web_1'?", "one of: lb web_1 web_2"),
        (["--host", "web_1"], "hosts belong to an environment", "tenfold up --env production --host web_1"),
    ):
        done = web.tenfold("up", *options)
        assert done.returncode == 1 and said in done.stderr and hint in done.stderr, done.stderr
    assert not (web.root / "var").exists()


def test_an_address_that_is_not_this_machines_is_said_before_anything_starts(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    web = fleet.hosts["web_1"]
    file = web.root / "tenfold.toml"
    text = file.read_text()
    file.write_text(text.replace('"127.0.0.2"', '"192.0.2.7"'))
    done = web.tenfold("up", *ENVIRONMENT, "--host", "web_1")
    assert done.returncode == 1 and "cannot listen on 192.0.2.7" in done.stderr
    file.write_text(text.replace('"127.0.0.2"', '"web-1.nowhere.invalid"'))
    done = web.tenfold("up", *ENVIRONMENT, "--host", "web_1")
    assert done.returncode == 75 and "the address of web_1 is not known" in done.stderr
