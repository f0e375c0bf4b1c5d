"""Deploys onto three hosts behind real sshd, under clients that never pause: no request fails. Edge."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.deploy.fleet import ENVIRONMENT, TENFOLD, Clients, Fleet, fleet

DRILLS = os.environ.get("TENFOLD_DRILLS") == "1"
drill = pytest.mark.skipif(not DRILLS, reason="takes minutes: make drills")
pytestmark = pytest.mark.timeout(400)  # on an idle machine a deploy takes 15 s; others may be at work
KILLS = 24 if DRILLS else 3
SEED = int(os.environ.get("TENFOLD_SEED", "20261123"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with a good release, which every test leaves good."""
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        # The first one ever, from an app that lies in the platform's own directory; with a migration.
        made.repository.commit("good", {"0001_note.sql": "ALTER TABLE orders ADD COLUMN note TEXT;\n"})
        assert made.running() == ["none"] * 3
        with Clients(made) as clients:
            done = made.tenfold("deploy")
            assert done.returncode == 0, done.stdout + done.stderr
        clients.check()
        assert clients.releases["none"] > 0
        yield made


def columns(shop: Fleet) -> list[list[str]]:
    """The columns of orders on every shard."""
    found = []
    for shard in shop.shards:
        with closing(sqlite3.connect(shard)) as database:
            found.append([row[1] for row in database.execute("PRAGMA table_info(orders)")])
    return found


def test_a_first_deploy_with_a_migration_fails_no_request(shop: Fleet) -> None:
    (first,) = [one for one in shop.deploys() if one["deploy"] == 1]
    assert first["state"] == "good"
    shop.is_whole(shop.links()[0])
    assert columns(shop) == [["id", "user_id", "item", "note"]] * 3
    report = json.loads((shop.desk / "var/deploys/1.json").read_text())
    measured = {step["step"]: step["said"] for step in report["steps"]}
    assert "p95" in measured["backend_0.timing"]
    assert "3 good answers in a row" in measured["backend_2.health"]
    assert "10 of 10 requests" in measured["verification"]
    trail = (shop.desk / "var/audit.jsonl").read_text()
    assert first["release"] in trail


@drill
def test_a_commit_that_runs_already_is_not_deployed_again(shop: Fleet) -> None:
    shop.repository.git("reset", "-q", "--hard", shop.deploys()[0]["commit"])
    done = shop.tenfold("deploy")
    assert done.returncode == 0
    assert "already" in done.stdout
    assert len(shop.deploys()) == 1


GATES = {
    "slow": "response-time gate of backend_0",
    "dead": "the app cannot go on",
    "sick": "the last answer: 500",
    "mute": "no answer",
    "shy": "response-time gate of backend_0: /: 10 of 10 requests failed",
    "unverified": "final verification: 10 of 10 requests to / through the balancer failed",
    "unbuildable": "the build fails",
    "migration": "0002_wrong.sql: statement 2 failed on shard_0",
}


@pytest.mark.parametrize("mode", [mode if mode == "dead" else pytest.param(mode, marks=drill) for mode in GATES])
def test_what_does_not_come_through_a_gate_is_taken_back_from_the_whole_fleet(shop: Fleet, mode: str) -> None:
    (before,) = set(shop.links())
    wrong = {"0002_wrong.sql": "ALTER TABLE orders ADD COLUMN a TEXT;\nUPDATE orders SET b = 1;\n"}
    commit = shop.repository.commit("good" if mode == "migration" else mode, wrong if mode == "migration" else None)
    try:
        with Clients(shop) as clients:
            done = shop.tenfold("deploy")
        clients.check()
        assert done.returncode == 1, done.stdout + done.stderr
        assert GATES[mode] in done.stderr
        assert f"every backend runs again what it ran before: {before}" in done.stderr
        shop.is_whole(before)
        last = shop.deploys()[0]
        assert (last["state"], last["commit"]) == ("undone", commit)
        refused = shop.tenfold("deploy")
        assert refused.returncode == 1
        assert "is marked as bad" in refused.stderr
        assert "--retry-bad" in refused.stderr
    finally:
        shop.repository.git("reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize("seed", range(SEED, SEED + KILLS))
def test_wherever_a_deployer_is_killed_the_fleet_is_back_on_one_good_release(shop: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    (before,) = set(shop.links())
    assert before is not None
    mode = chance.choice(["good", "good", "good", "slow"])
    shop.repository.commit(mode)
    steps, begun = chance.randrange(1, 34), 0
    by_agent = chance.random() < 0.4
    with Clients(shop) as clients:
        process = shop.begin("deploy", "--json")
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "step" and json.loads(line)["state"] in ("begun", "undoing"):
                begun += 1
                if begun == steps:
                    time.sleep(chance.random() * 0.8)
                    break
        process.kill()
        process.stdout.close()
        process.wait()
        if not by_agent:
            shop.tenfold("rollback", "--unfinished")
        last = shop.settled()
        (release,) = set(shop.links())
        shop.is_whole(release)
        time.sleep(0.5)
    clients.check()
    what = f"seed {seed}: {mode}, killed in step {steps}, {'agent' if by_agent else 'command'}: {last['state']}"
    print(what)
    # Killed before it was good: as before. Only who is killed while he cleans up has brought the new one.
    assert release == (last["release"] if last["state"] == "good" else before), what
    shop.repository.git("reset", "-q", "--hard", "HEAD~1" if last["state"] != "good" else "HEAD")


@drill
def test_an_interrupted_deploy_takes_itself_back(shop: Fleet) -> None:
    (before,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        process = shop.begin("deploy", "--json")
        shop.reaches(process, "backend_0.restart")
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait() == 1, rest
    clients.check()
    shop.is_whole(before)
    assert shop.deploys()[0]["state"] == "undone"
    assert "every backend runs again what it ran before" in rest
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


@drill
def test_a_deployer_that_was_stopped_for_too_long_changes_nothing_when_it_wakes_up(shop: Fleet) -> None:
    (before,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        process = shop.begin("deploy", "--json")
        shop.reaches(process, "backend_1.down")
        assert process.stdout is not None
        process.send_signal(signal.SIGSTOP)
        try:
            last = shop.settled()  # the agent has taken it back
            shop.is_whole(before)
        finally:
            process.send_signal(signal.SIGCONT)
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait() == 1
        assert "taken this deploy over" in rest
        shop.is_whole(before)
    clients.check()
    assert last["state"] == "undone"
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


@drill
def test_a_roll_back_goes_to_the_release_before_and_forward_again_by_name(shop: Fleet) -> None:
    (first,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        assert shop.tenfold("deploy").returncode == 0
        (second,) = set(shop.links())
        done = shop.tenfold("rollback")
        assert done.returncode == 0, done.stdout + done.stderr
        shop.is_whole(first)
    clients.check()
    refused = shop.tenfold("rollback", "--to", "20200101T000000Z-000000000000")
    assert refused.returncode == 1
    assert "was never deployed" in refused.stderr
    bad = next((one["release"] for one in shop.deploys() if one["state"] == "undone"), None)
    if bad:
        assert "marked as bad" in shop.tenfold("rollback", "--to", bad).stderr
    assert second != first


@drill
def test_two_deploys_at_once_are_one(shop: Fleet) -> None:
    shop.repository.commit("good")
    process = shop.begin("deploy", "--json")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if json.loads(line)["event"] == "begin":
                break
        second = shop.tenfold("deploy")
        assert second.returncode == 75
        assert "deploys, or rolls back, since" in second.stderr
        listed = shop.tenfold("deploy", "--list")
        assert "deploys, or rolls back, since" in listed.stdout
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
    assert shop.deploys()[0]["state"] in ("undone", "refused"), rest
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


def test_a_plan_changes_nothing(shop: Fleet) -> None:
    before, count = shop.links(), len(shop.deploys())
    shop.repository.commit("good", {"0002_more.sql": "ALTER TABLE orders ADD COLUMN more TEXT;\n"})
    done = shop.tenfold("deploy", "--dry-run")
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")
    assert done.returncode == 0, done.stderr
    assert "backend_2.switch" in done.stdout
    assert "on shard_0, shard_1, shard_2: ALTER TABLE orders ADD COLUMN more TEXT" in done.stdout
    assert (shop.links(), len(shop.deploys())) == (before, count)


def test_a_host_that_is_away_stops_a_deploy_before_it_changes_anything(shop: Fleet) -> None:
    before = shop.links()
    shop.repository.commit("good")
    shop.machines[2].stop()
    try:
        done = shop.tenfold("deploy")
    finally:
        shop.machines[2].start()
        shop.repository.git("reset", "-q", "--hard", "HEAD~1")
    assert done.returncode == 75
    assert "web_3" in done.stderr
    assert shop.links() == before


@drill
def test_a_host_with_another_key_is_not_believed(shop: Fleet) -> None:
    machine, before = shop.machines[1], shop.links()
    known = (shop.root / "deployer/known_hosts").read_text()
    machine.stop()
    machine.change_key()
    machine.start()
    shop.repository.commit("good")
    try:
        done = shop.tenfold("deploy")
        assert done.returncode != 0
        assert "web_2" in done.stderr
        assert shop.links() == before
    finally:
        (shop.root / "deployer/known_hosts").write_text(known + machine.known_line + "\n")
        shop.repository.git("reset", "-q", "--hard", "HEAD~1")


def test_what_is_not_committed_is_not_deployed(shop: Fleet) -> None:
    (shop.repository.root / "shop.py").write_text("other\n")
    done = shop.tenfold("deploy")
    shop.repository.git("checkout", "-q", "--", ".")
    assert done.returncode == 1
    assert "shop.py" in done.stderr


@drill
def test_what_cannot_be_taken_back_is_named_and_the_next_command_finishes_it(shop: Fleet) -> None:
    (before,) = set(shop.links())
    shop.repository.commit("good")
    with Clients(shop) as clients:
        process = shop.begin("deploy", "--json")
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step" and (event["step"], event["state"]) == ("backend_1.restart", "begun"):
                shop.machines[1].stop()  # in the middle of it the host vanishes
                break
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait() == 1, rest
        assert "could not be taken back whole; left: " in rest
        assert "backend_1.switch" in rest
        last = shop.deploys()[0]
        assert last["state"] == "stuck"
        assert shop.links()[0] == shop.links()[2] == before  # the others are back
        assert shop.wanted() == ["ready", "down", "ready"]
        refused = shop.tenfold("deploy")
        assert refused.returncode == 1
        assert "left: " in refused.stderr
        shop.machines[1].start()
        done = shop.tenfold("rollback")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "was taken back" in done.stdout
        shop.is_whole(before)
    clients.check()
    assert shop.deploys()[0]["state"] == "undone"
    shop.repository.git("reset", "-q", "--hard", "HEAD~1")


@drill
def test_what_takes_away_runs_at_the_next_deploy_and_no_roll_back_goes_behind_it(shop: Fleet) -> None:
    (first,) = set(shop.links())
    shop.repository.commit("good", {"0002_no_note.contract.sql": "ALTER TABLE orders DROP COLUMN note;\n"})
    with Clients(shop) as clients:
        assert shop.tenfold("deploy").returncode == 0
        assert "note" in columns(shop)[0]
        (second,) = set(shop.links())
        shop.repository.commit("good")
        done = shop.tenfold("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        assert columns(shop) == [["id", "user_id", "item"]] * 3
        refused = shop.tenfold("rollback", "--to", str(first))
        assert refused.returncode == 1
        assert "is older than 0002_no_note.contract.sql" in refused.stderr
        assert shop.tenfold("rollback").returncode == 0
        shop.is_whole(second)
    clients.check()


@drill
def test_a_backend_that_somebody_has_taken_out_is_not_put_in_by_a_deploy(shop: Fleet) -> None:
    before = shop.links()
    shop.repository.commit("good")
    subprocess.run(
        [*TENFOLD, "balancer", "down", "backend_2"], cwd=shop.machines[0].path, env=ENVIRONMENT, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        done = shop.tenfold("deploy")
    finally:
        subprocess.run(
            [*TENFOLD, "balancer", "ready", "backend_2"], cwd=shop.machines[0].path, env=ENVIRONMENT, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        shop.repository.git("reset", "-q", "--hard", "HEAD~1")
    assert done.returncode == 1
    assert "backend_2 takes no clients: somebody has taken it out" in done.stderr
    assert shop.links() == before
    assert shop.deploys()[0]["state"] == "refused"


@drill
def test_what_is_under_way_on_a_backend_is_answered_before_it_ends(shop: Fleet) -> None:
    shop.repository.commit("good")
    with Clients(shop) as clients, Clients(shop, count=9, page="/long") as patient:
        time.sleep(3)
        done = shop.tenfold("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
    clients.check()
    assert not patient.failed, patient.failed[:3]
    assert patient.requests > 9
