"""The agent as a process: what it counts, keeps, tells and refuses. Edge."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tenfold.errors import NodeDown, TenfoldError
from tenfold.monitor.recorder import Recorder
from tests.runtime.agents import LoneAgent, log_line, state_of
from tests.support import wait_for


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    """One that runs, for tests that look."""
    alone = LoneAgent(tmp_path_factory.mktemp("agent") / "site")
    sqlite3.connect(alone.root / "var/shard_0.db").executescript("CREATE TABLE t (a)")
    alone.start()
    yield alone
    alone.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LoneAgent]:
    """One that does not run yet."""
    alone = LoneAgent(tmp_path / "site")
    yield alone
    alone.close()


def test_requests_of_the_log_are_counted_by_backend_and_health_probes_are_not(agent: LoneAgent) -> None:
    agent.write(*[log_line(agent.ports[0]) for _ in range(30)], *[log_line(agent.ports[1], 503) for _ in range(10)])
    agent.write(log_line(agent.ports[0], path="/healthz"), log_line(0, 429), "broken\n")
    wait_for(lambda: agent.view()["totals"]["requests"] == 41, "all are counted")
    view = agent.view()
    assert view["totals"]["errors"] == 10
    assert view["agent"]["broken_lines"] == 1
    by_name = {backend["name"]: backend for backend in view["backends"]}
    assert by_name["backend_0"]["error_rate"] == 0 and by_name["backend_1"]["error_rate"] == 1
    assert by_name["backend_0"]["sessions"] == 1
    told = {name: agent.ask("timings", backend=name, window_s=45) for name in (None, "backend_0", "backend_1")}
    assert [(told[name]["requests"], told[name]["errors"]) for name in told] == [(41, 10), (30, 0), (10, 10)]
    assert told["backend_0"]["window_s"] == 60 and abs(told["backend_0"]["p95_s"] - 0.01) < 0.001
    assert view["missing"] == []


def test_timings_of_what_is_not_there_are_refused(agent: LoneAgent) -> None:
    for wrong, said in (
        ({"backend": "backend_9"}, "no backend"),
        ({"window_s": 301}, "up to 300"),
        ({"window_s": 0}, "up to 300"),
    ):
        with pytest.raises(TenfoldError, match=said):
            agent.ask("timings", **wrong)
    nobody = agent.ask("timings", backend="backend_1", window_s=1)
    assert nobody["requests"] >= 0 and set(nobody) >= {"errors", "p50_s", "p95_s", "p99_s"}


def test_routes_and_statements_come_from_recorders_and_are_never_added_to_the_log(agent: LoneAgent) -> None:
    before = agent.view()["totals"]["requests"]
    recorder = Recorder(agent.socket, "backend_0")
    for _ in range(25):
        recorder.http("GET", "/users/{id}", 200, 0.02)
        recorder.http("GET", "/healthz", 200, 0.001)
        recorder.sql("SELECT", "users", "shard_0", True, 0.001)
    recorder.http("GET", "/<script>\x1b[2J", 500, 0.02)
    recorder.close()
    wait_for(lambda: agent.view()["routes"], "the routes")
    routes = {(r["method"], r["route"]): r["count"] for r in agent.view()["routes"]}
    assert routes.pop(("GET", "/users/{id}")) == 25
    (hostile,) = routes
    assert "\x1b" not in hostile[1]
    wait_for(lambda: agent.view()["shards"][0]["statements"] == 25, "the statements")
    assert agent.view()["totals"]["requests"] == before


def test_shards_and_services_are_asked(agent: LoneAgent) -> None:
    wait_for(lambda: state_of(agent.view(), "shards", "shard_0") == "up", "the shard answers")
    shard = agent.view()["shards"][0]
    assert shard["size_bytes"] == 8192 and 0 < shard["latency_s"] < 1
    assert state_of(agent.view(), "services", "nginx") == "unknown"  # no supervisor has started one


def test_its_own_cost_and_its_collectors_are_told(agent: LoneAgent) -> None:
    wait_for(lambda: agent.view()["agent"]["cpu"], "a second has passed")
    told = agent.view()["agent"]
    assert 0 < told["cpu"] < 1 and 30e6 < told["memory_bytes"] < 200e6
    assert told["store"]["trouble"] is None and told["store"]["bytes"] > 0
    assert {one["name"] for one in told["collectors"]} == {
        "nginx's log", "host", "backends", "shards", "services", "disks"
    }  # fmt: skip
    assert all(one["ok"] for one in told["collectors"])


def test_socket_link_key_and_record_are_closed_to_others(agent: LoneAgent) -> None:
    var = agent.root / "var"
    closed = [agent.socket, *(p for p in (var / "agent").iterdir() if "-shm" not in p.name), var / "run/agent.json"]
    assert [path for path in closed if path.stat().st_mode & stat.S_IRWXO] == []
    assert stat.S_IMODE(agent.socket.stat().st_mode) == 0o600


def test_the_page_opens_by_its_link_once(agent: LoneAgent) -> None:
    told = json.loads((agent.root / "var/run/agent.json").read_text())
    assert told["url"] == agent.ask("status")["page"]

    def status(url: str) -> int:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=5)
        connection.request("GET", f"{place.path or '/'}?{place.query}")
        code = connection.getresponse().status
        connection.close()
        return code

    link = f"{told['url']}/enter?token={told['token']}"
    assert [status(told["url"]), status(link), status(link)] == [401, 303, 401]
    assert status(agent.ask("link")["link"]) == 303


def raw(agent: LoneAgent, data: bytes) -> bytes:
    """What the agent answers to bytes, until it hangs up."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(agent.socket))
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"", b"X", b"GET / HTTP/1.1\r\n\r\n", b"C" + struct.pack(">I", 2**31) + b"x",
        b"R" + struct.pack(">I", 3) + b"\x09ab",
        b"R" + struct.pack(">I", 9) + b"\x02" + struct.pack("<d", 4096.0), b"C" + struct.pack(">I", 100) + b"half",
    ],
)  # fmt: skip
def test_a_stranger_on_the_socket_is_shown_out(agent: LoneAgent, data: bytes) -> None:
    assert raw(agent, data) == b""
    assert agent.ask("status")


@pytest.mark.parametrize("payload", [b"[]", b"{", b'{"do": 5}', b'{"do": "rm"}', b"\xff", b"[" * 100_000])
def test_a_command_that_is_none_is_refused(agent: LoneAgent, payload: bytes) -> None:
    answer = json.loads(raw(agent, b"C" + struct.pack(">I", len(payload)) + payload)[4:])
    assert answer["ok"] is False and answer["error"] and answer["hint"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"action": "drain", "backend": "backend1"}, "did you mean 'backend_1'"),
        ({"action": "sideways", "backend": "backend_1"}, "no action 'sideways'"),
        ({"idle_s": "x"}, "number of seconds"),
        ({"idle_s": -1}, "number of seconds"),
    ],
)
def test_a_wish_that_must_not_be_is_refused(agent: LoneAgent, command: dict[str, object], said: str) -> None:
    with pytest.raises(TenfoldError, match=said) as refused:
        agent.ask("balancer", **command)
    assert refused.value.hint


def test_killed_and_started_again_while_the_log_is_rotated_it_loses_and_doubles_no_request(fresh: LoneAgent) -> None:
    fresh.start()
    written, stop = [0], threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            fresh.write(*[log_line(fresh.ports[0]) for _ in range(10)])
            written[0] += 10
            time.sleep(0.02)

    def flushed(after_s: float) -> None:
        """Wait for a flush that comes so much later."""
        place, since_s = fresh.root / "var/agent/nginx-access.place", time.time() + after_s
        wait_for(lambda: place.exists() and place.stat().st_mtime > since_s, "a flush")

    writer = threading.Thread(target=traffic)
    writer.start()
    try:
        flushed(0.3)
        url = fresh.ask("status")["page"]
        assert fresh.end(signal.SIGKILL) == -signal.SIGKILL
        fresh.log.rename(fresh.log.with_name(f"{fresh.log.name}.1"))  # and the log is rotated while it is away
        time.sleep(0.3)
        fresh.start()
        assert fresh.ask("status")["page"] == url  # open pages find it again
        flushed(0.3)
    finally:
        stop.set()
        writer.join()
    time.sleep(0.6)
    assert fresh.end() == 0
    assert not fresh.socket.exists()
    kept = fresh.kept("tenfold_requests_total")
    assert kept == written[0]
    assert fresh.kept('tenfold_requests_total{backend="backend_0"}') == kept


def test_where_its_port_is_taken_the_page_has_the_next(fresh: LoneAgent) -> None:
    with socket.create_server(("127.0.0.1", fresh.port + 100)):
        fresh.start()
        assert int(fresh.ask("status")["page"].rpartition(":")[2]) > fresh.port + 100


def test_a_disk_that_is_full_or_a_store_that_is_none_costs_history_only(fresh: LoneAgent) -> None:
    directory = fresh.root / "var/agent"
    directory.mkdir(mode=0o700)
    (directory / "history.db").write_bytes(os.urandom(5000))
    (directory / "nginx-access.place").write_bytes(b"\0" * 50)
    (directory / "balancer.json").write_bytes(b"\xff")
    fresh.start()
    fresh.write(*[log_line(fresh.ports[0]) for _ in range(7)])
    wait_for(lambda: fresh.view()["totals"]["requests"] == 7, "it counts")
    assert "damaged" in fresh.view()["agent"]["store"]["trouble"]


def test_a_file_that_is_wrong_is_told_with_its_remedy(fresh: LoneAgent) -> None:
    assert fresh.spawn("--ports", "1,2,3").wait(10) == 1
    assert "has 2 backends by now, and 3 run" in fresh.said() and "Try: restart the platform" in fresh.said()
    (fresh.root / "tenfold.toml").write_text("nonsense")
    assert fresh.spawn().wait(10) == 1
    assert "error: " in fresh.said() and "Traceback" not in fresh.said()
    with pytest.raises(NodeDown):
        fresh.ask("status")
