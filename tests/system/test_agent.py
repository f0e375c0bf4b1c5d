"""The agent beside a running platform: what it sees, what it does, and that nothing hangs on it. Edge."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from tenfold.errors import TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tests.http import Client
from tests.support import wait_for
from tests.system.ledger import Ledger

pytestmark = pytest.mark.system


def view(ledger: Ledger) -> dict[str, Any]:
    told: dict[str, Any] = AgentLink(ledger.root / "var/run/agent.sock").ask({"do": "view"})["view"]
    return told


def state(ledger: Ledger, backend: str) -> str:
    with suppress(TenfoldError):
        return str(next(one["state"] for one in view(ledger)["backends"] if one["name"] == backend))
    return "nobody knows"


class Visitors:
    """Clients with kept connections and without cookies, and some that are bound to a backend by theirs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.served: Counter[str] = Counter()
        self.failed: list[object] = []
        self._stop, self._let_go = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._strangers) for _ in range(2)]

    def _strangers(self) -> None:
        while not self._stop.is_set():
            try:
                with Client(self.ledger.port) as client:
                    for _ in range(8):
                        answer = client.ask("/healthz?visit")
                        self.served[answer.backend] += 1
                        self._judge(answer.status)
            except (OSError, ValueError) as error:
                self.failed.append(error)

    def _bound(self, cookie: str, moved: list[str], backend: str) -> None:
        with Client(self.ledger.port) as client:
            while not self._let_go.is_set():
                answer = client.ask("/healthz", headers={"Cookie": cookie})
                self._judge(answer.status)
                if answer.backend != backend:
                    moved.append(answer.backend)
                time.sleep(0.1)

    def _judge(self, status: int) -> None:
        if status != 200:
            self.failed.append(status)

    def bind(self, backend: str) -> list[str]:
        """A client that stays with a backend until `let_go`; where it was sent instead."""
        moved: list[str] = []
        for _ in range(60):
            answer = self.ledger.ask("/healthz")
            if answer.backend == backend:
                thread = threading.Thread(target=self._bound, args=(answer.cookie, moved, backend))
                self._threads.append(thread)
                thread.start()
                return moved
        pytest.fail(f"nobody came to {backend}")

    def let_go(self) -> None:
        self._let_go.set()

    @contextmanager
    def walking(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._let_go.set()
            for thread in self._threads:
                thread.join()


def test_figures_of_requests_routes_statements_and_processes_are_there(ledger: Ledger) -> None:
    member = ledger.member("watched@example.com")
    for _ in range(5):
        ledger.get("/api/transactions", member)

    def seen() -> dict[str, Any] | None:
        told = view(ledger)
        routes = {(route["method"], route["route"]) for route in told["routes"]}
        return told if {("POST", "/api/users"), ("GET", "/api/transactions")} <= routes else None

    told = wait_for(seen, "the routes are seen by their templates")
    assert told["totals"]["requests"] >= 6
    assert not any(route["route"] == "/healthz" for route in told["routes"])
    assert all(backend["state"] == "up" and backend["memory_bytes"] > 2e7 for backend in told["backends"])
    assert all(shard["state"] == "up" and shard["size_bytes"] > 0 for shard in told["shards"])
    assert [(one["name"], one["state"]) for one in told["services"]] == [("nginx", "up")]
    assert told["status"]["state"] == "healthy", told["status"]
    shown = ledger.tenfold("top", "--once").stdout
    assert "Healthy" in shown and "backend_2" in shown and "GET /api/transactions" in shown


def test_a_drained_backend_loses_no_request_keeps_its_clients_and_is_empty_when_the_command_comes_back(
    ledger: Ledger,
) -> None:
    visitors = Visitors(ledger)
    with visitors.walking():
        moved = visitors.bind("backend_1")
        wait_for(lambda: visitors.served["backend_1"] > 5, "traffic flows")
        results: list[Any] = []
        drain = ("balancer", "drain", "backend_1", "--wait", "--idle", "2")
        draining = threading.Thread(target=lambda: results.append(ledger.tenfold(*drain)))
        draining.start()
        wait_for(lambda: state(ledger, "backend_1") == "drain", "it drains")
        time.sleep(5.5)  # a connection that was kept open may know the old configuration for 5 s
        before = visitors.served["backend_1"]
        others = sum(visitors.served.values())
        time.sleep(1.5)
        assert draining.is_alive()  # somebody is still bound to it
        assert visitors.served["backend_1"] == before
        assert sum(visitors.served.values()) > others + 10
        visitors.let_go()
        draining.join(20)
        assert results and results[0].returncode == 0, results
        assert "nobody is on backend_1 any more" in results[0].stdout
        assert moved == []
        assert ledger.tenfold("balancer", "ready", "backend_1", "--wait").returncode == 0
        wait_for(lambda: visitors.served["backend_1"] > before, "it is back")
    assert visitors.failed == []


def test_stopping_leaves_no_agent(ledger: Ledger) -> None:
    pid = int(AgentLink(ledger.root / "var/run/agent.sock").ask({"do": "status"})["pid"])
    assert ledger.stop() == 0
    assert not psutil.pid_exists(pid)
    assert not (ledger.root / "var/run/agent.sock").exists() and not (ledger.root / "var/run/agent.json").exists()
    gone = ledger.tenfold("balancer", "status")
    assert gone.returncode == 75 and "Try: start the platform" in gone.stderr
