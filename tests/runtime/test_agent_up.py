"""`tenfold up` and its agent: started first, known to status, never needed. Edge."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tests.runtime.platforms import Platform, stop
from tests.support import wait_for

# Stands for a broken installation: the agent's interpreter ends before it has begun.
SABOTAGE = """
import sys
if "tenfold.runtime.agent" in sys.orig_argv:
    sys.exit("numpy is broken")
"""


def asked(platform: Platform, **command: str) -> dict[str, Any] | None:
    """What the agent answers to `balancer`; None while it is away."""
    with suppress(TenfoldError):
        return AgentLink(platform.root / "var/run/agent.sock").ask({"do": "balancer", **command})
    return None


def state(platform: Platform, backend: str) -> str:
    with suppress(TenfoldError):
        view = AgentLink(platform.root / "var/run/agent.sock").ask({"do": "view"})["view"]
        return str(next(one["state"] for one in view["backends"] if one["name"] == backend))
    return "nobody knows"


def test_the_block_shows_the_pages_link_and_status_gives_another(platform: Platform) -> None:
    run = platform.up()
    told = json.loads((platform.root / "var/run/agent.json").read_text())
    assert f"page      {told['url']}/enter?token={told['token']}  (opens once; for another: " in platform.said()
    assert "✓ agent" in platform.said()
    assert platform.get("/environment", platform.ports[0])["TENFOLD_AGENT_SOCKET"] == str(
        platform.root / "var/run/agent.sock"
    )

    def link() -> str:
        lines = platform.tenfold("status").stdout.splitlines()
        return next((line.split()[1] for line in lines if line.startswith("page")), "")

    first = wait_for(link, "a link")
    assert first.startswith(told["url"]) and first != link()
    row = next(line for line in platform.tenfold("status").stdout.splitlines() if line.startswith("agent "))
    assert str(told["pid"]) in row and "up" in row
    assert stop(run) == 0
    assert platform.remains() == []


@pytest.mark.skipif("TENFOLD_DRILLS" not in os.environ, reason="it waits for ten seconds; `make drills` does")
def test_after_a_set_up_that_takes_long_the_pages_link_is_shown_all_the_same(platform: Platform) -> None:
    platform.write(app='setup = "{python} -c \\"import time; time.sleep(10.5)\\""')
    run = platform.up()
    assert "page      http://" in platform.said()
    assert "not come up" not in platform.complained()
    assert stop(run) == 0


def test_without_its_agent_the_platform_is_up_all_the_same(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    run = platform.up(environment={"PYTHONPATH": str(tmp_path)})
    assert platform.get("/") == "backend_0"
    assert "the agent has not come up, so nothing is watched; tenfold logs agent" in platform.complained()
    assert "agent exited with code 1 while starting; back in 0.5 s" in platform.said()
    assert "page " not in platform.said()
    wait_for(lambda: platform.entry("agent")["restarts"] >= 1, "it is tried again")
    assert "numpy is broken" in (platform.root / "var/log/agent.log").read_text()
    assert platform.tenfold("status").returncode == 1
    assert stop(run) == 0
    assert platform.remains() == []


def test_a_killed_backend_is_seen_down_within_two_seconds_and_up_again(two_backends: Platform) -> None:
    two_backends.up()
    wait_for(lambda: state(two_backends, "backend_1") == "up", "it is up")
    begun_s = time.monotonic()
    os.kill(two_backends.pid("backend_1"), signal.SIGKILL)
    wait_for(lambda: state(two_backends, "backend_1") == "down", "it is seen down")
    assert time.monotonic() - begun_s < 2.5
    seen_s = time.monotonic()
    wait_for(lambda: state(two_backends, "backend_1") == "up", "it is seen up again")
    assert time.monotonic() - seen_s > 0.9  # who looks once a second must not miss it


def test_what_was_wanted_of_a_backend_holds_when_the_agent_is_killed_and_when_the_platform_restarts(
    two_backends: Platform,
) -> None:
    run = two_backends.up()
    wait_for(lambda: asked(two_backends, action="down", backend="backend_1"), "the agent has done it")
    assert {two_backends.get("/") for _ in range(6)} == {"backend_0"}
    killed = two_backends.pid("agent")
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: two_backends.entry("agent")["pid"] not in (None, killed), "the agent is started again")
    assert {two_backends.get("/") for _ in range(6)} == {"backend_0"}  # and nobody has noticed
    told = wait_for(lambda: asked(two_backends), "it answers again")
    assert [one["wanted"] for one in told["backends"]] == ["ready", "down"] and told["reloads"] == 0
    assert not told["settled"]  # it has not seen the clients of the last minute
    assert stop(run) == 0
    two_backends.up()
    warning = "backend_1 is down since an earlier run; to have it back: tenfold balancer ready backend_1"
    assert warning in two_backends.complained()
    assert {two_backends.get("/") for _ in range(6)} == {"backend_0"}
