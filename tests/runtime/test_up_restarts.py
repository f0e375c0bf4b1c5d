"""One backend is restarted over the supervisor's socket, in the release that its link says then. Edge."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import NodeDown, TenfoldError
from tenfold.hosts.agent_link import AgentLink
from tests.runtime.platforms import APP, Platform, as_nobody, runs, stop
from tests.support import wait_for

SECRETS = {"SECRET_OF_TEST": "open sesame"}


def ask(platform: Platform, word: str = "restart", program: str = "backend_0", **more: Any) -> dict[str, Any]:
    command = {"do": word, **({"program": program, "timeout_s": 30} if word == "restart" else {}), **more}
    return AgentLink(platform.root / "var/run/up.sock", 60.0).ask(command)


def refused(platform: Platform, **more: Any) -> TenfoldError:
    with pytest.raises(TenfoldError) as error:
        ask(platform, **more)
    return error.value


def release(platform: Platform, name: str, backend: str = "backend_0") -> Path:
    """A release with the app, and the link of a backend that leads to it."""
    directory = platform.root / "releases" / name
    if not directory.exists():
        directory.mkdir(parents=True)
        (directory / "app.py").write_text(APP.read_text())
    link(platform, name, backend)
    return directory


def link(platform: Platform, name: str, backend: str = "backend_0") -> None:
    links = platform.root / "backends"
    links.mkdir(exist_ok=True)
    (links / ".next").symlink_to(f"../releases/{name}")
    (links / ".next").rename(links / backend)


def test_a_backend_is_started_anew_in_the_release_that_its_link_leads_to_then(two_backends: Platform) -> None:
    platform = two_backends
    first = release(platform, "r1")
    release(platform, "r1", "backend_1")
    platform.up()
    assert platform.get("/environment", platform.ports[0])["TENFOLD_RELEASE"] == "r1"
    assert platform.entry("backend_0")["release"] == "r1"
    second = release(platform, "r2")
    assert platform.get("/environment", platform.ports[0])["_cwd"] == str(first)  # a link alone changes nothing
    old, other = platform.pid("backend_0"), platform.pid("backend_1")
    answer = ask(platform)
    assert answer["release"] == "r2" and answer["pid"] == platform.pid("backend_0") != old and answer["took_s"] > 0
    got = platform.get("/environment", platform.ports[0])
    assert got["_cwd"] == str(second) and got["TENFOLD_RELEASE"] == "r2"
    assert got["TENFOLD_FILE"] == str(platform.root / "tenfold.toml")
    assert not runs(old) and platform.pid("backend_1") == other
    told = {program["name"]: program for program in ask(platform, "status")["programs"]}
    assert {name: told[name]["release"] for name in ("backend_0", "backend_1")} == {
        "backend_0": "r2",
        "backend_1": "r1",
    }
    assert told["backend_0"]["state"] == "up" and told["backend_0"]["restarts"] == 0  # nothing has crashed
    assert (told["balancer"]["kind"], told["balancer"]["release"]) == ("balancer", None)


def test_a_release_with_a_python_of_its_own_runs_by_it_and_finds_its_programs_first(platform: Platform) -> None:
    directory = release(platform, "r1")
    (directory / ".venv/bin").mkdir(parents=True)
    (directory / ".venv/bin/python").symlink_to(sys.executable)
    platform.write(app='setup = "{python} -c \\"import os, sys; print(sys.executable, os.getcwd())\\""')
    platform.up()
    got = platform.get("/environment", platform.ports[0])
    assert got["PATH"].startswith(f"{directory}/.venv/bin:")
    argv = Path(f"/proc/{platform.pid('backend_0')}/cmdline").read_bytes().split(b"\0")
    assert argv[0].decode() == f"{directory}/.venv/bin/python"
    assert f"{directory}/.venv/bin/python {directory}\n" in platform.said()  # the set-up likewise


def test_a_release_that_does_not_start_is_refused_with_its_last_lines_and_the_next_restart_need_not_wait(
    platform: Platform,
) -> None:
    platform.write(app='environment = { APP_SECRET = "${SECRET_OF_TEST}" }')
    release(platform, "r1")
    platform.up(environment=SECRETS)
    bad = release(platform, "r2")
    (bad / "refuse").touch()
    error = refused(platform)
    assert "backend_0 exited with code 7; its last lines" in str(error) and "cannot go on" in str(error)
    assert "open sesame" not in str(error) and "the password is ***" in str(error)
    assert str(bad) in error.hint
    wait_for(lambda: platform.entry("backend_0")["state"] == "backing off", "the supervisor goes on trying")
    link(platform, "r1")
    assert ask(platform)["release"] == "r1"
    assert platform.get("/environment", platform.ports[0])["TENFOLD_RELEASE"] == "r1"


def test_a_release_that_is_not_well_in_time_is_refused_and_a_restart_in_between_is_carried_out(
    platform: Platform,
) -> None:
    release(platform, "r1")
    platform.up()
    mute = release(platform, "r2")
    (mute / "mute").touch()
    assert "was not well within 1 s" in str(refused(platform, timeout_s=1))
    assert platform.entry("backend_0")["state"] == "starting"  # it is still waited for
    link(platform, "r1")
    assert ask(platform)["release"] == "r1"


@pytest.mark.parametrize("target", ["../releases/gone", "backend_0", "../tenfold.toml"])
def test_a_link_that_leads_nowhere_is_said_with_the_way_out(platform: Platform, target: str) -> None:
    release(platform, "r1")
    platform.up()
    path = platform.root / "backends/backend_0"
    path.unlink()
    path.symlink_to(target)
    error = refused(platform)
    assert "backend_0 cannot be started: the release of backend_0 is" in str(error)
    assert "tenfold deploy" in error.hint and "last lines" not in str(error)
    path.unlink()
    path.symlink_to("../releases/r1")
    assert ask(platform)["release"] == "r1"
    assert stop(platform.running_up()) == 0
    assert platform.remains() == []


def test_a_platform_does_not_start_in_a_release_that_is_not_there(platform: Platform) -> None:
    (platform.root / "backends").mkdir()
    (platform.root / "backends/backend_0").symlink_to("../releases/gone")
    done = platform.tenfold("up")
    assert done.returncode == 1
    assert "the release of backend_0 is not there" in done.stderr and "Try: tenfold deploy" in done.stderr


def test_a_second_restart_waits_for_the_first_and_no_longer_than_it_may(platform: Platform) -> None:
    platform.up()
    (platform.root / "mute").touch()
    old = platform.pid("backend_0")
    answers: list[dict[str, Any]] = []
    first = threading.Thread(target=lambda: answers.append(ask(platform)))
    first.start()
    wait_for(lambda: not runs(old), "the first is under way")
    error = refused(platform, timeout_s=0.2)
    assert "another restart of backend_0 goes on" in str(error) and error.retryable
    second = threading.Thread(target=lambda: answers.append(ask(platform)))
    second.start()
    (platform.root / "mute").unlink()
    first.join()
    second.join()
    assert len({answer["pid"] for answer in answers}) == 2  # each has its own
    assert platform.get("/") == "backend_0"


def test_what_cannot_be_restarted_by_itself_is_named(platform: Platform) -> None:
    platform.up()
    for program in ("balancer", "backend_7"):
        error = refused(platform, program=program)
        assert "cannot be restarted by itself" in str(error) and "backend_0" in error.hint
    for wrong in (0, -1, "soon", True, 1e9):
        assert "timeout_s is a number of seconds" in str(refused(platform, timeout_s=wrong))
    assert "there is no command 'stop'" in str(refused(platform, word="stop"))


def test_a_crash_after_a_restart_is_seen_to_as_ever(platform: Platform) -> None:
    platform.up()
    pid = ask(platform)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: platform.entry("backend_0")["state"] == "up" and platform.pid("backend_0") != pid, "it is back")
    assert platform.entry("backend_0")["restarts"] == 1
    assert ask(platform)["pid"] == platform.pid("backend_0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_up_in_the_middle_of_a_restart_nothing_is_left(platform: Platform, number: int) -> None:
    run = platform.up()
    (platform.root / "mute").touch()
    old, errors = platform.pid("backend_0"), list[TenfoldError]()

    def restart() -> None:
        with pytest.raises(TenfoldError) as error:
            ask(platform)
        errors.append(error.value)

    asking = threading.Thread(target=restart)
    asking.start()
    wait_for(lambda: not runs(old) and platform.entry("backend_0")["state"] == "starting", "a restart")
    assert stop(run, number) == (-9 if number == signal.SIGKILL else 0)
    asking.join()
    wait_for(lambda: not platform.running(), "all have ended")
    if number == signal.SIGKILL:
        assert isinstance(errors[0], NodeDown)
        (platform.root / "mute").unlink()
        platform.up()  # what it left behind does not stand in the way
        assert ask(platform)["pid"] == platform.pid("backend_0")
    else:
        assert "is being stopped with the platform" in str(errors[0])
        assert platform.remains() == []


def test_only_the_account_that_runs_the_platform_may_ask(platform: Platform) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    platform.up()
    path = platform.root / "var/run/up.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
    # Even where modes let them, others are not heard.
    path.chmod(0o666)
    path.parent.chmod(0o711)
    code = (
        "import socket, struct; s = socket.socket(1); s.connect('up.sock'); s.settimeout(20)\n"
        'question = b\'{"do": "status"}\'\n'
        "s.sendall(b'C' + struct.pack('>I', len(question)) + question); print(s.recv(1))"
    )
    command = [*as_nobody(), "/usr/bin/python3", "-I", "-c", code]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr or "BrokenPipe" in done.stderr, done
    assert ask(platform, "status")["pid"] == platform.running_up().pid
