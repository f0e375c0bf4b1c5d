"""A backend changes its release under load, between `down` and `ready`, and no client notices. Edge."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from typing import Any

from tenfold.errors import NodeDown
from tenfold.hosts.agent_link import AgentLink
from tests.http import Client
from tests.runtime.agents import state_of
from tests.runtime.platforms import Platform
from tests.runtime.test_up_restarts import ask, link, release
from tests.support import wait_for

CLIENTS = 4
DRILL = os.environ.get("TENFOLD_DRILLS") == "1"


class Load:
    """Clients that keep their connections and ask all the time; what they were answered, and by which release."""

    def __init__(self, port: int) -> None:
        self.port, self.answers, self.failures = port, Counter[tuple[int, str]](), list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with Client(self.port) as client:
            while not self._stop.wait(0.05):  # below the shipped limit of 30 a second
                try:
                    answer = client.ask("/environment")
                    self.answers[answer.status, json.loads(answer.body)["TENFOLD_RELEASE"]] += 1
                except (OSError, http.client.HTTPException, ValueError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    client.connection.close()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def empty(agent: AgentLink, name: str) -> bool:
    """Tell whether nothing can reach a backend that is down: no old worker, no connection."""
    told: dict[str, Any] = agent.ask({"do": "balancer"})
    connections = next(b["connections"] for b in told["backends"] if b["name"] == name)
    return told["old_workers"] == 0 and connections == 0 and not told["pending"]


def test_an_old_worker_is_told_as_long_as_a_request_holds_it(two_backends: Platform) -> None:
    run = two_backends
    run.up()
    agent = AgentLink(run.root / "var/run/agent.sock", 30.0)
    wait_for(agent.path.exists, "the agent has loaded", 30)
    assert agent.ask({"do": "balancer"})["old_workers"] == 0
    asking = threading.Thread(target=lambda: run.get("/slow?4", timeout_s=20))
    asking.start()
    wait_for(
        lambda: sum(b["connections"] for b in agent.ask({"do": "balancer"})["backends"]), "the request has arrived"
    )
    told = agent.ask({"do": "balancer", "action": "down", "backend": "backend_1"})
    assert told["old_workers"] >= 1
    asking.join()
    wait_for(lambda: empty(agent, "backend_1"), "the old workers have gone", 30)


def switch(platform: Platform, agent: AgentLink, name: str, to: str) -> None:
    agent.ask({"do": "balancer", "action": "down", "backend": name})
    wait_for(lambda: empty(agent, name), f"nobody is on {name}", 40)
    link(platform, to, name)
    assert ask(platform, program=name)["release"] == to
    agent.ask({"do": "balancer", "action": "ready", "backend": name})
    wait_for(lambda: state_of(agent.ask({"do": "view"})["view"], "backends", name) == "up", f"{name} is back", 40)


def test_a_release_is_switched_under_load_without_a_failed_request(two_backends: Platform) -> None:
    platform = two_backends
    names = ["backend_0", "backend_1"]
    for name in names:
        release(platform, "r1", name)
    release(platform, "r2", "next")
    platform.up()
    agent = AgentLink(platform.root / "var/run/agent.sock", 30.0)

    def loaded() -> bool:
        try:
            return bool(agent.ask({"do": "status"}))
        except NodeDown:
            return False

    wait_for(loaded, "the agent has loaded", 30)
    load = Load(platform.port)
    try:
        turns = itertools.chain(["r2"], ["r1", "r2"] * 3 if DRILL else [])
        for to in turns:
            for name in names if DRILL else names[:1]:
                switch(platform, agent, name, to)
        seen = load.answers[200, "r2"]
        wait_for(lambda: load.answers[200, "r2"] > seen + 20, "the new release serves", 40)
        time.sleep(0.2)
    finally:
        load.end()
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}, load.answers
    assert {name for _, name in load.answers} == {"r1", "r2"}
