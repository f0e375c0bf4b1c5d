"""Deploys onto hosts whose backends are units: through systemctl, on a real manager. Edge."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.deploy.fleet import Clients
from tests.deploy.systemd import MANAGER, Kept, kept

DRILLS = os.environ.get("TENFOLD_DRILLS") == "1"
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not DRILLS, reason="takes minutes: make drills"),
    pytest.mark.skipif(not MANAGER.exists() or os.geteuid() != 0, reason="a manager of our own needs systemd and root"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A fleet of two hosts with a good release, which every test leaves good."""
    with kept(tmp_path_factory.mktemp("kept"), 2) as made:
        made.repository.commit("good")
        before = made.unit(0, "MainPID")
        with Clients(made) as clients:
            done = made.tenfold("deploy")
            assert done.returncode == 0, done.stdout + done.stderr
        clients.check()
        assert made.unit(0, "MainPID") not in ("0", before)
        yield made


def test_a_first_deploy_restarts_the_units_and_fails_no_request(shop: Kept) -> None:
    (release,) = set(shop.links())
    shop.is_whole(release)
    assert shop.deploys()[0]["state"] == "good"
    assert [shop.unit(position, "ActiveState") for position in (0, 1)] == ["active"] * 2
    assert not (shop.machines[0].path / "var/run/up.sock").exists()
    report = json.loads((shop.desk / "var/deploys/1.json").read_text())
    measured = {step["step"]: step["said"] for step in report["steps"]}
    assert "3 programs are up" in measured["web_1.preflight"]
    assert "1 programs are up" in measured["web_2.preflight"]
    assert "well after" in measured["backend_1.restart"]


@pytest.mark.parametrize(
    ("mode", "said", "line"),
    [
        ("dead", "backend_0 ended while starting", "  the app cannot go on"),
        ("mute", "backend_0 was not well at /healthz within 15 s", ""),
    ],
)
def test_a_release_that_does_not_start_is_taken_back(shop: Kept, mode: str, said: str, line: str) -> None:
    (before,) = set(shop.links())
    shop.repository.commit(mode)
    try:
        with Clients(shop) as clients:
            done = shop.tenfold("deploy")
        clients.check()
        assert done.returncode == 1, done.stdout + done.stderr
        assert said in done.stderr and line in done.stderr
        assert "journalctl -u tenfold-shop-backend_0.service on web_1" in done.stderr
        assert f"every backend runs again what it ran before: {before}" in done.stderr
        shop.is_whole(before)
        assert shop.deploys()[0]["state"] == "undone"
        assert [shop.unit(position, "ActiveState") for position in (0, 1)] == ["active"] * 2
    finally:
        shop.repository.git("reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize("by", ["command", "agent"])
def test_a_deployer_that_is_killed_in_a_restart_leaves_nothing_but_the_release_before(shop: Kept, by: str) -> None:
    (before,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        process = shop.begin("deploy", "--json")
        shop.reaches(process, "backend_1.restart")
        assert process.stdout is not None
        process.kill()
        process.stdout.close()
        process.wait()
        if by == "command":
            shop.tenfold("rollback", "--unfinished")
        assert shop.settled()["state"] == "undone"
    clients.check()
    shop.is_whole(before)
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


def test_a_roll_back_goes_to_the_release_before(shop: Kept) -> None:
    (first,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        assert shop.tenfold("deploy").returncode == 0
        assert shop.links() != [first] * 2
        done = shop.tenfold("rollback")
        assert done.returncode == 0, done.stdout + done.stderr
    clients.check()
    shop.is_whole(first)
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


def test_a_backend_that_was_stopped_by_hand_is_brought_up_again(shop: Kept) -> None:
    shop.manager.say("stop", "tenfold-shop-backend_0.service")
    (before,) = set(shop.links())
    shop.repository.commit("good")
    done = shop.tenfold("deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    (after,) = set(shop.links())
    assert after != before
    shop.is_whole(after)


def test_a_host_that_runs_nothing_stops_a_deploy_before_anything_is_changed(shop: Kept) -> None:
    (before,) = set(shop.links())
    unit = shop.manager.units / "tenfold-shop-backend_1.service"
    text = unit.read_text()
    shop.repository.commit("good")
    shop.manager.say("stop", unit.name)
    unit.unlink()
    shop.manager.say("daemon-reload")
    try:
        done = shop.tenfold("deploy")
        assert done.returncode == 1
        assert "the platform does not run on web_2" in done.stderr
        assert "systemctl enable --now tenfold-shop.target on web_2" in done.stderr
    finally:
        unit.write_text(text)
        shop.manager.say("daemon-reload")
        assert shop.manager.say("start", unit.name).returncode == 0
    assert shop.links() == [before] * 2
