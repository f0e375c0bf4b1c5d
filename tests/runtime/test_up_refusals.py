"""What keeps `tenfold up` from starting: named, with the remedy, and nothing left behind. Edge."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from tests.runtime.platforms import Platform
from tests.support import wait_for


def refusal(platform: Platform) -> str:
    """What a refused `up` says on stderr."""
    done = platform.tenfold("up")
    assert done.returncode == 1, done
    assert platform.remains() == []
    assert "Traceback" not in done.stderr
    return done.stderr


def test_every_taken_port_is_named_with_the_process_that_has_it(two_backends: Platform) -> None:
    with (
        socket.create_server(("127.0.0.1", two_backends.ports[1])),
        socket.create_server(("0.0.0.0", two_backends.port)),
    ):
        said = refusal(two_backends)
    assert f"backend_1: port {two_backends.ports[1]} is taken by" in said and f"(pid {os.getpid()})" in said
    assert f"balancer: port {two_backends.port} is taken by" in said
    assert "Try: end what has the port, or write another in balancer.listen or app.base_port" in said


def test_an_app_that_ends_at_once_shows_its_last_lines_without_secrets(platform: Platform) -> None:
    platform.write(app='environment = { APP_SECRET = "file:secret" }')
    secret = platform.root / "secret"
    secret.write_text("open sesame")
    secret.chmod(0o600)
    (platform.root / "refuse").touch()
    said = refusal(platform)
    assert "backend_0 exited with code 7; its last lines:" in said
    assert "cannot go on:\\x1b[2J the password is ***" in said
    assert f"run it by hand in {platform.root}: PORT={platform.ports[0]}" in said


def test_an_app_that_ends_at_once_shows_its_last_lines_with_log_to_stdout_too(platform: Platform) -> None:
    (platform.root / "refuse").touch()
    done = platform.tenfold("up", "--log-to", "stdout")
    assert done.returncode == 1
    assert "  cannot go on" in done.stderr.partition("its last lines:")[2]


def test_only_the_lines_of_this_start_are_shown(platform: Platform) -> None:
    (platform.root / "refuse").touch()
    refusal(platform)
    assert refusal(platform).count("cannot go on") == 1


def test_an_app_that_never_gets_well_is_given_up_after_its_time(platform: Platform) -> None:
    platform.write(command="{python} -m http.server --bind 127.0.0.1 {port}", app="start_timeout_s = 1.0")
    said = refusal(platform)
    assert "backend_0 was not well at /healthz within 1 s (the last answer: 404)" in said
    assert "it must answer /healthz with 200" in said


def test_an_app_that_fails_behind_the_balancer_is_found_out(platform: Platform) -> None:
    (platform.root / "shy").touch()
    assert "all backends are well, but the balancer answers /healthz with 500" in refusal(platform)


def test_an_app_that_answers_503_at_first_is_waited_for(platform: Platform) -> None:
    (platform.root / "warming_up").touch()
    platform.start()
    wait_for(lambda: (platform.root / "var/log/backend_0.log").exists() and platform.entry("backend_0"), "a start")
    time.sleep(0.5)
    assert platform.entry("backend_0")["state"] == "starting"
    (platform.root / "warming_up").unlink()
    wait_for(lambda: "is up" in platform.said(), "the platform is up")


@pytest.mark.parametrize("key", ["command", "setup"])
def test_a_program_that_does_not_exist_is_named(platform: Platform, key: str) -> None:
    if key == "command":
        platform.write(command="no-such-server {port}")
    else:
        platform.write(app='setup = "no-such-server"')
    said = refusal(platform)
    assert f"app.{key}: there is no program 'no-such-server' on PATH" in said and "Try: install it" in said


def test_a_program_that_may_not_be_run_is_named(platform: Platform) -> None:
    (platform.root / "serve").write_text("#!/bin/sh\n")
    platform.write(command="./serve {port}")
    said = refusal(platform)
    assert f"app.command: {platform.root}/serve may not be run" in said and "chmod u+x" in said


def test_a_file_that_is_no_program_is_refused(platform: Platform) -> None:
    (platform.root / "serve").write_text("no shebang")
    (platform.root / "serve").chmod(0o755)
    platform.write(command="./serve {port}")
    assert "backend_0 cannot be started (Exec format error)" in refusal(platform)


def test_a_set_up_that_fails_shows_its_last_lines(platform: Platform) -> None:
    code = "import sys; print('to stdout'); print('no disk', file=sys.stderr); sys.exit(5)"
    platform.write(app=f"setup = {json.dumps(f'{{python}} -c {json.dumps(code)}')}")
    said = refusal(platform)
    assert "the app's set-up exited with code 5; its last lines:" in said
    assert "to stdout" in said and "no disk" in said


def test_a_var_that_is_a_file_is_named(platform: Platform) -> None:
    (platform.root / "var").touch()
    assert f"Try: move {platform.root / 'var'} out of the way" in refusal(platform)


def test_too_few_open_files_are_refused_with_the_limit_to_raise(platform: Platform) -> None:
    platform.wrapper = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh"]
    said = refusal(platform)
    assert "may open only 100 files" in said and "ulimit -Hn" in said


def test_a_refusal_in_json_is_one_object(platform: Platform) -> None:
    platform.write(command="no-such-server {port}")
    done = platform.tenfold("up", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert "no-such-server" in told["error"] and told["hint"] and told["retryable"] is False


def test_the_demo_writes_its_file_once_and_names_the_remedy_for_taken_ports(tmp_path: Path) -> None:
    demo = Platform(tmp_path / "demo")
    (demo.root / "tenfold.toml").unlink()
    with socket.create_server(("127.0.0.1", demo.port)):
        done = demo.tenfold("demo", ".", "--port", str(demo.port))
        assert done.returncode == 1
        assert f"balancer: port {demo.port} is taken" in done.stderr and "tenfold demo --port" in done.stderr
        file = demo.root / "tenfold.toml"
        assert 'name = "ledger"' in file.read_text()
        file.write_text(file.read_text() + "# mine\n")
        assert demo.tenfold("demo", str(demo.root), "--port", str(demo.port)).returncode == 1
        assert file.read_text().endswith("# mine\n")
