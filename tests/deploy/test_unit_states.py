"""How units are read, and what is asked of systemd on a host; without a manager. Edge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tenfold.deploy import onsystemd
from tenfold.deploy.fitness import Needs, judged
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.keepers import Supervisor, Systemd, blotted
from tenfold.deploy.unit_states import MISSING, Unit, is_no_right, parsed, sudoers
from tenfold.topology.model import Topology
from tests.deploy.test_preflight import WELL

SCRIPT = Path(onsystemd.__file__).read_bytes()
# As systemd 252 prints them.
RUNS = """MainPID=799
NRestarts=0
ExecStart={ path=/opt/my python/bin/python3 ; argv[]=/opt/my python/bin/python3 -m tenfold.runtime.launch ; pid=799 }
LoadState=loaded
ActiveState=active
SubState=running"""
WAITS = "MainPID=0\nNRestarts=3\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart"
NOWHERE = "MainPID=0\nNRestarts=0\nLoadState=not-found\nActiveState=inactive\nSubState=dead"


@pytest.mark.parametrize(
    ("text", "unit", "is_kept", "has_ended"),
    [
        (RUNS, Unit("up", 799, 0, "/opt/my python/bin/python3"), True, False),
        (RUNS.replace("NRestarts=0", "NRestarts=1"), Unit("up", 799, 1, "/opt/my python/bin/python3"), True, False),
        (WAITS, Unit("backing off", None, 3), True, True),
        (WAITS.replace("auto-restart", "auto-restart-queued"), Unit("backing off", None, 3), True, True),
        (WAITS.replace("auto-restart", "start").replace("=3", "=0"), Unit("starting"), True, False),
        ("LoadState=loaded\nActiveState=deactivating\nMainPID=7", Unit("stopping", 7), True, True),
        ("LoadState=loaded\nActiveState=failed\nSubState=failed", Unit("failed"), False, True),
        ("LoadState=loaded\nActiveState=inactive\nSubState=dead", Unit("stopped"), False, True),
        (NOWHERE, Unit(MISSING), False, True),
        ("LoadState=masked\nActiveState=inactive", Unit(MISSING), False, True),
        ("LoadState=loaded\nActiveState=active\nNRestarts=[not set]\nMainPID=", Unit("up"), True, False),
        ("", Unit(MISSING), False, True),
    ],
)
def test_a_unit_is_read_from_what_systemctl_shows(text: str, unit: Unit, is_kept: bool, has_ended: bool) -> None:
    assert parsed(text) == unit
    assert (parsed(text).is_kept, parsed(text).has_ended(None)) == (is_kept, has_ended)


def test_what_runs_in_another_process_than_was_started_has_ended_meanwhile() -> None:
    assert not parsed(RUNS).has_ended(799)
    assert parsed(RUNS).has_ended(798)
    assert parsed(RUNS.replace("MainPID=799", "MainPID=0")).has_ended(799)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("sudo: a password is required", True),
        ("sudo: No such file or directory", True),
        ("Sorry, user tenfold is not allowed to execute '/usr/bin/systemctl restart x' as root", True),
        ("Failed to restart x.service: Interactive authentication required.", True),
        ("Failed to restart x.service: Access denied", True),
        ("Job for x.service failed because the control process exited with error code.", False),
        ("Failed to restart x.service: Unit x.service not found.", False),
        ("systemctl restart x.service did not end within 30 s", False),
    ],
)
def test_a_missing_right_is_told_from_a_unit_that_does_not_start(said: str, right: bool) -> None:
    assert is_no_right(said) is right


def test_the_line_for_sudoers_names_each_unit_and_nothing_else() -> None:
    assert sudoers("tenfold", ["a.service", "b.service"]) == (
        "tenfold ALL=(root) NOPASSWD: /usr/bin/systemctl restart a.service, /usr/bin/systemctl restart b.service"
    )


def topology(keeper: str, **hosts: Any) -> Topology:
    return Topology.model_validate(
        {
            "platform": {"name": "ledger"},
            "app": {"command": "uvicorn app:app", "environment": {"KEY": "s3cret-s3cret"}},
            "database": {"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}},
            "deploy": {"keeper": keeper},
            "environments": {"production": {"hosts": hosts}},
        }
    ).model_copy(update={"environment": "production"})


def test_without_hosts_there_are_no_units() -> None:
    web = {"address": "10.0.0.5", "roles": ["balancer", "app"]}
    assert isinstance(Fleet(topology("systemd", web_1=web)).keeper, Systemd)
    assert isinstance(Fleet(topology("systemd")).keeper, Supervisor)
    assert isinstance(Fleet(topology("tenfold", web_1=web)).keeper, Supervisor)


@pytest.mark.parametrize(
    ("seen", "what", "remedy"),
    [
        (
            {"programs": [{"name": "backend_0", "kind": "backend", "state": MISSING}]},
            "services",
            "`tenfold units` writes units",
        ),
        ({"rights": "a.service: sudo: a password is required"}, "rights", "in /etc/sudoers.d/tenfold: tenfold ALL="),
    ],
)
def test_a_host_whose_units_cannot_be_restarted_is_not_fit(seen: Any, what: str, remedy: str) -> None:
    needs = Needs("/srv/tenfold", 1024, 128, start="systemctl start x", rights=sudoers("tenfold", ["a.service"]))
    assert [one for one in judged("web_1", {**WELL, "rights": ""}, needs) if not one.well] == []
    (wrong,) = [one for one in judged("web_1", {**WELL, "rights": "", **seen}, needs) if not one.well]
    assert wrong.what == what and remedy in wrong.remedy


def do(what: str, **order: Any) -> Any:
    """As a deployer has it done: the text of the file, on a Python that knows nothing of Tenfold."""
    text = json.dumps({"do": what, "path": "/srv/tenfold", **order})
    done = subprocess.run([sys.executable, "-I", "-S", "-", text], input=SCRIPT, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_a_host_on_which_no_systemd_runs_says_so() -> None:
    told = do("show", units=["tenfold-nowhere-backend_0.service"])
    assert told["units"] == {} and told["said"]


def test_the_release_of_a_process_is_where_it_runs_else_what_its_environment_names(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "r1"
    (release / "src").mkdir(parents=True)
    sleep = [sys.executable, "-c", "print(flush=True); input()"]

    def of(place: Path, environment: dict[str, str]) -> str | None:
        with subprocess.Popen(
            sleep, cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            return onsystemd.release(str(tmp_path), f"LoadState=loaded\nMainPID={process.pid}")

    assert of(release, {}) == "r1"
    assert of(release / "src", {"TENFOLD_RELEASE": "r2"}) == "r1"
    assert of(tmp_path, {"TENFOLD_RELEASE": "r2"}) == "r2"
    assert of(tmp_path, {}) is None
    assert onsystemd.release(str(tmp_path), "MainPID=0") is None
    assert onsystemd.release(str(tmp_path), f"MainPID={2**22 + os.getpid()}") is None


def test_a_line_of_the_journal_shows_no_secret_and_no_control_characters() -> None:
    assert blotted("key \x1b[31ms3cret", topology("systemd")) == "key ?[31ms3cret"
    made = topology("systemd")
    app = made.app.model_copy(update={"environment": {"A": SecretStr("s3cret"), "B": SecretStr("s3cret-long")}})
    assert blotted("key=s3cret-long s3cret", made.model_copy(update={"app": app})) == "key=*** ***"


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/bin/python3").exists(), reason="needs another account")
@pytest.mark.parametrize(
    ("complaint", "code", "right"), [("", 0, False), ("sudo: a password is required", 1, True), (None, 127, True)]
)
def test_an_account_that_is_not_root_restarts_by_sudo_and_nothing_else(
    complaint: str | None, code: int, right: bool
) -> None:
    # sudo itself is not to be had here: this one notes what it was asked for.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        if complaint is not None:
            sudo = Path(place, "sudo")
            sudo.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" > {place}/asked\necho "{complaint}" >&2\nexit {code}\n')
            sudo.chmod(0o755)
        order = {"do": "restart", "unit": "a.service", "user": False, "within_s": 10}
        for what in (order, {**order, "do": "rights", "units": ["a.service"]}):
            done = subprocess.run(
                ["/usr/bin/python3", "-I", "-", json.dumps(what)], input=SCRIPT, capture_output=True, check=True,
                user=65534, group=65534, extra_groups=[], cwd="/", env={"PATH": place},
            )  # fmt: skip
            told = json.loads(done.stdout)
            if what is order:
                assert (told["by"], told["code"]) == ("sudo", code)
                assert is_no_right(told["said"]) is right
                wanted = "-n systemctl restart a.service\n"
            else:
                assert told["refused"] == (["a.service"] if code else [])
                wanted = "-n -l systemctl restart a.service\n"
            assert complaint is None or Path(place, "asked").read_text() == wanted
