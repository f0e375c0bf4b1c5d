"""A platform that is up: what its programs get, and what status, logs and a second `up` say. Edge."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import psutil

from tests.runtime.conftest import SECRETS
from tests.runtime.platforms import Platform, _working_in, stop
from tests.support import wait_for


def test_the_block_tells_where_everything_is_and_how_to_stop(running: Platform) -> None:
    said = running.said()
    for text in (
        f"http://127.0.0.1:{running.port}",
        f"http://127.0.0.1:{running.ports[1]}  weight 2",
        "shard_0",
        str(running.root / "var/log"),
        "log in as ada",
        "Ctrl-C",
    ):
        assert text in said.partition("is up")[2], said
    assert "note:" not in said
    assert "\x1b" not in said  # not a terminal: no colour


def test_the_balancer_passes_requests_to_the_backends(running: Platform) -> None:
    assert {running.get("/") for _ in range(12)} == {"backend_0", "backend_1"}


def test_a_program_gets_what_the_file_and_the_contract_say(running: Platform) -> None:
    got = running.get("/environment", running.ports[1])
    assert got["TENFOLD_FILE"] == str(running.root / "tenfold.toml")
    assert got["TENFOLD_BACKEND"] == "backend_1"
    assert got["PORT"] == str(running.ports[1])
    assert got["_argv"][1:] == ["--port", str(running.ports[1])]
    assert got["_cwd"] == str(running.root)
    assert got["APP_SECRET"] == "open sesame"
    assert got["PLAIN"] == "plain"
    assert got["TENFOLD_CACHE_URL"] == "redis://:p%40ss%2Fword@127.0.0.1:6379/0"
    assert got["PATH"].split(":")[-1] == str(Path(sys.executable).parent)
    assert "TENFOLD_ENV" not in got
    soft, hard = got["_files"]
    assert soft >= min(4096, hard)


def test_no_secret_is_in_a_command_line_a_file_or_what_is_said(running: Platform) -> None:
    running.tenfold("status")
    for secret in ("open sesame", "p@ss", "p%40ss"):
        assert secret not in running.said() + running.complained()
        assert all(secret not in " ".join(process.cmdline()) for process in _working_in(running.root))
        for path in (running.root / "var").rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path


def test_state_and_logs_are_closed_to_others(running: Platform) -> None:
    var = running.root / "var"
    assert stat.S_IMODE((var / "run/state.json").stat().st_mode) == 0o600
    for directory in (var / "run", var / "log"):
        assert not directory.stat().st_mode & stat.S_IRWXO
    assert not var.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)


def test_each_program_leads_a_session_of_its_own_with_nothing_on_stdin(running: Platform) -> None:
    for name in ("backend_0", "backend_1", "balancer"):
        pid = running.pid(name)
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")


def test_status_tells_every_process_and_that_all_is_well(running: Platform) -> None:
    done = running.tenfold("status")
    assert done.returncode == 0, done
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert {"up", "backend_0", "backend_1", "balancer"} <= set(rows)
    assert str(running.ports[0]) in rows["backend_0"] and str(running.pid("backend_0")) in rows["backend_0"]


def test_status_as_json_has_figures_with_their_units(running: Platform) -> None:
    told = json.loads(running.tenfold("status", "--json").stdout)
    assert told["running"] and told["well"]
    backend = next(p for p in told["processes"] if p["name"] == "backend_0")
    assert backend["healthy"] is True
    assert backend["port"] == running.ports[0]
    assert 1e6 < backend["memory_bytes"] < 1e9
    assert 0 <= backend["up_s"] < 120 and backend["restarts"] == 0 and backend["cpu_percent"] >= 0


def test_a_backend_that_hangs_is_seen_by_status(running: Platform) -> None:
    process = psutil.Process(running.pid("backend_1"))
    process.suspend()
    try:
        done = running.tenfold("status")
    finally:
        process.resume()
    assert done.returncode == 1
    assert any("backend_1" in line and "not well" in line for line in done.stdout.splitlines())


def test_a_second_up_names_the_first(running: Platform) -> None:
    done = running.tenfold("up", environment=SECRETS)
    assert done.returncode == 1
    pid = json.loads((running.root / "var/run/state.json").read_text())["pid"]
    assert f"pid {pid}" in done.stderr and f"http://127.0.0.1:{running.port}" in done.stderr
    assert "tenfold down" in done.stderr
    assert running.get("/")  # and the first goes on


def test_logs_show_the_last_lines_after_the_name(running: Platform) -> None:
    running.get("/write?one", running.ports[0])
    running.get("/write?two", running.ports[0])
    done = running.tenfold("logs", "backend_0", "-n", "1")
    assert done.stdout == "backend_0 | two\n"
    everything = running.tenfold("logs").stdout
    assert "backend_0    | two" in everything and "backend_1    | listening" in everything


def test_logs_as_json_are_an_object_a_line(running: Platform) -> None:
    lines = running.tenfold("logs", "backend_1", "--json", "-n", "1").stdout.splitlines()
    assert json.loads(lines[0])["name"] == "backend_1"


def test_a_log_that_does_not_exist_is_refused_with_the_nearest(running: Platform) -> None:
    done = running.tenfold("logs", "backend0")
    assert done.returncode == 1 and "did you mean 'backend_0'" in done.stderr


def test_another_platform_is_told_which_one_has_its_port(running: Platform, tmp_path: Path) -> None:
    other = Platform(tmp_path / "other")
    other.port = running.port
    other.write()
    done = other.tenfold("up")
    assert done.returncode == 1
    assert f"port {running.port} is taken by nginx" in done.stderr
    assert f"tenfold down -f {running.root / 'tenfold.toml'}" in done.stderr


def test_up_in_json_prints_one_object_when_it_is_ready(platform: Platform) -> None:
    run = platform.start("--json")
    told = json.loads(wait_for(platform.said, "the object"))
    assert told["url"] == f"http://127.0.0.1:{platform.port}" and told["pid"] == run.pid
    assert told["backends"] == [{"name": "backend_0", "url": f"http://127.0.0.1:{platform.ports[0]}", "weight": 1}]
    assert platform.get("/") == "backend_0"
    assert stop(run) == 0
    assert platform.said().count("\n") == 1
