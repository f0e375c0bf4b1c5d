"""After the checks: a release goes out and must answer, or goes back; and people are told. Edge."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tenfold.cli.ci_deploy import health_address, ssh_files
from tenfold.cli.ci_job import Job
from tenfold.cli.ci_notify import outcome
from tenfold.cli.options import Invocation
from tenfold.errors import ConfigError
from tenfold.pipeline.workflow import MINUTES
from tenfold.topology.load import load
from tenfold.topology.operations import Severity
from tests.notify.receivers import receiver
from tests.pipeline.support import REPOSITORIES, ci, git
from tests.support import free_port, wait_for

SECRETS = {"SESSION_SECRET": "only for this test", "DB_PASSWORD": "likewise", "SLACK_URL": "http://127.0.0.1:9/hook"}
SAMPLE = REPOSITORIES / "python" / "tenfold.toml"
DRILLS = pytest.mark.skipif(os.environ.get("TENFOLD_DRILLS") != "1", reason="TENFOLD_DRILLS=1 runs it")


@contextmanager
def site(*statuses: int, location: str = "") -> Iterator[tuple[str, list[str]]]:
    """(address of a site that answers with these, the last for ever; the paths it was asked for)."""
    left, asked = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/healthz", asked
        server.shutdown()
        thread.join()


def test_health_wants_three_good_answers_in_a_row(sample: Callable[[str], Path]) -> None:
    place = sample("node")
    with site(200, 200, 500, 200) as (address, asked):
        done = ci(place, "run", "health", "--env", "staging", TENFOLD_HEALTH_URL=address, **SECRETS)
        assert done.returncode == 0, done.stderr
        assert len(asked) == 6


def test_a_platform_that_is_not_well_fails_the_job_health(
    sample: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.cli import ci_deploy

    monkeypatch.setattr(ci_deploy, "APART_S", 0.01)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    place = sample("node")

    def findings(address: str) -> list[str]:
        job = Job("health", Invocation(place / "tenfold.toml", "staging", quiet=True), place, {"url": address})
        ci_deploy.health(job)
        return job.findings

    with site(503) as (address, asked):
        assert f"{address} answers 503" in findings(address)[0] and len(asked) == ci_deploy.LOOKS
    assert "answers nothing" in findings(address)[0]
    assert "is no address of HTTP" in findings("file:///etc/passwd")[0]


def test_an_answer_that_is_no_http_or_leads_elsewhere_is_not_well() -> None:
    # After a deploy each of these must end in a roll-back, never in an error of our own.
    from tenfold.cli.ci_deploy import _answer

    with socket.create_server(("127.0.0.1", 0)) as server:

        def garble() -> None:
            with server.accept()[0] as line:
                line.recv(4096)
                line.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = Thread(target=garble)
        thread.start()
        assert _answer(f"http://127.0.0.1:{server.getsockname()[1]}/healthz").startswith("nothing (")
        thread.join()
    with site(302, 200, location="/login") as (address, asked):
        assert _answer(address) == "a redirect to /login" and asked == ["/healthz", "/login"]


def test_an_address_that_is_none_is_refused_before_anything_is_deployed(sample: Callable[[str], Path]) -> None:
    done = ci(sample("node"), "run", "deploy", "--env", "staging", TENFOLD_HEALTH_URL="shop.example/healthz", **SECRETS)
    assert done.returncode == 1 and "error: shop.example/healthz is no address of HTTP" in done.stderr


def test_a_deploy_job_lasts_longer_than_a_deploy_with_its_roll_back() -> None:
    from tenfold.cli import ci_deploy as job

    health_s = job.LOOKS * (job.APART_S + job.ANSWER_S)
    assert MINUTES["deploy"] * 60 >= job.DEPLOY_S + health_s + job.ROLLBACK_S + 300


def test_the_platform_is_asked_where_its_balancer_answers() -> None:
    def address(environment: str | None, **changes: str) -> str:
        topology = load(SAMPLE, environment, SECRETS)
        balancer = topology.balancer.model_copy(update={"listen": changes.get("listen", topology.balancer.listen)})
        domains = (changes["domain"],) if "domain" in changes else ()
        platform = topology.platform.model_copy(update={"domains": domains})
        return health_address(topology.model_copy(update={"balancer": balancer, "platform": platform}))

    assert address("staging") == "http://127.0.0.1:8081/healthz"
    assert address("production", listen="0.0.0.0:80") == "http://192.0.2.10/healthz"
    assert address("production", listen="0.0.0.0:8080", domain="books.example") == "http://books.example:8080/healthz"
    assert address(None, listen="0.0.0.0:8080") == "http://127.0.0.1:8080/healthz"


def test_the_key_lies_on_disk_for_the_deploy_alone_and_nobody_else_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TENFOLD_SSH_KEY", "a key\r\nof two lines")
    monkeypatch.setenv("TENFOLD_KNOWN_HOSTS", "192.0.2.10 ssh-ed25519 AAAA\n")
    key, hosts = tmp_path / ".ssh" / "id_ed25519", tmp_path / ".ssh" / "known_hosts"
    topology = load(SAMPLE, "production", SECRETS)
    job = Job("deploy", Invocation(SAMPLE, "production", quiet=True), tmp_path, {})
    with pytest.raises(ZeroDivisionError), ssh_files(job, topology):  # noqa: PT012  what is inside is the point
        assert key.read_text() == "a key\nof two lines\n" and stat.S_IMODE(key.stat().st_mode) == 0o600
        assert hosts.read_text() == "192.0.2.10 ssh-ed25519 AAAA\n"
        raise ZeroDivisionError  # however it ends
    assert not key.exists() and not hosts.exists()
    key.write_text("the developer's own")
    with ssh_files(job, topology):
        assert key.read_text() == "the developer's own"
    assert key.read_text() == "the developer's own"


def test_a_runner_without_the_key_says_which_secret_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    job = Job("deploy", Invocation(SAMPLE, "production", quiet=True), tmp_path, {})
    with pytest.raises(ConfigError, match="TENFOLD_SSH_KEY is not set for the environment production"):  # noqa: SIM117
        with ssh_files(job, load(SAMPLE, "production", SECRETS)):
            pass


def test_a_deploy_that_cannot_be_made_fails_its_job_with_the_reason(sample: Callable[[str], Path]) -> None:
    place = sample("node")
    done = ci(place, "run", "deploy", "--env", "staging", "--dry-run", **SECRETS)  # its shards were never made
    assert (
        done.returncode == 1 and "deploy to staging ended with" in done.stderr and "tenfold shard init" in done.stderr
    )
    assert ci(place, "run", "deploy", **SECRETS).returncode == 2


def test_the_outcome_is_told_once_by_slack_with_the_link_of_the_run(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    run = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "example/cheese", "GITHUB_RUN_ID": "77",
           "GITHUB_REF_NAME": "main", "GITHUB_SHA": "f" * 40, "RESULT_TEST": "success",
           "RESULT_DEPLOY_PRODUCTION": "success"}  # fmt: skip
    with receiver(None) as slack:
        run["SLACK_URL"] = slack.url(host="127.0.0.1")
        # The secrets of the app and the database are not given to this job, and it does without.
        for _ in range(2):
            done = ci(place, "run", "notify", **run)
            assert done.returncode == 0, done.stderr
        assert len(slack.received) == 1, "it was told twice"
    told = json.loads(slack.received[0].body)
    text = json.dumps(told)
    assert "cheeseshop: deployed to production" in text
    assert "https://github.com/example/cheese/actions/runs/77" in text


def test_a_channel_that_does_not_take_the_outcome_fails_the_job(
    sample: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.cli import ci_notify

    place = sample("php")
    monkeypatch.setattr(ci_notify, "SEND_S", 0.5)
    monkeypatch.setenv("RESULT_TEST", "failure")
    job = Job("notify", Invocation(place / "tenfold.toml", quiet=True), place, {})
    with receiver(None, 404) as slack:
        monkeypatch.setenv("SLACK_URL", slack.url(host="127.0.0.1"))
        ci_notify.notify(job)
    assert job.findings[0].startswith("slack: ") and "not taken by every channel" in job.told[0]
    assert "S3CRET" not in str(job.findings + job.told), "the address of a webhook is a secret"


def test_an_outcome_that_cannot_be_told_says_why(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    assert "there is no outcome to tell" in ci(place, "run", "notify", SLACK_URL="http://127.0.0.1:9/x").stderr
    assert "SLACK_URL is not set" in ci(place, "run", "notify", RESULT_TEST="failure").stderr


@pytest.mark.parametrize(
    ("results", "severity", "title"),
    [
        ({"test": "success"}, Severity.INFO, "shop: all checks passed"),
        ({"test": "success", "deploy_staging": "success"}, Severity.INFO, "shop: deployed to staging"),
        ({"test": "failure", "deploy_staging": "skipped"}, Severity.WARNING, "shop: test failed"),
        ({"test": "success", "deploy_production": "failure"}, Severity.CRITICAL, "shop: deploy-production failed"),
        ({"test": "cancelled"}, Severity.WARNING, "shop: test cancelled"),
        ({"test": "cancelled", "security": "failure", "quality": "failure"}, Severity.WARNING,
         "shop: quality, security failed, test cancelled"),
    ],
)  # fmt: skip
def test_how_bad_an_outcome_is(results: dict[str, str], severity: Severity, title: str) -> None:
    notice = outcome("shop", results, {}, 1.0)
    assert (notice.severity, notice.title) == (severity, title)


@DRILLS
@pytest.mark.timeout(400)
def test_a_deploy_that_the_world_does_not_see_well_is_rolled_back(sample: Callable[[str], Path], project: str) -> None:
    place, port = sample("python"), free_port()
    text = re.sub(r"\[cache\]\n.*\n", "", (place / "tenfold.toml").read_text()).replace(
        "127.0.0.1:8081", f"127.0.0.1:{port}"
    )
    text = text.replace("environment = {", f"base_port = {free_port()}\nenvironment = {{")
    (place / "tenfold.toml").write_text(text)
    (place / ".gitignore").write_text("var/\nreleases/\nbackends/\nshared/\n")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "ports")
    environment = {**os.environ, **SECRETS}
    tenfold = [sys.executable, "-m", "tenfold.cli.main"]
    subprocess.run([*tenfold, "shard", "init", "--env", "staging"], cwd=place, env=environment, check=True, timeout=60)
    up = subprocess.Popen([*tenfold, "up", "--env", "staging"], cwd=place, env=environment, stdout=subprocess.DEVNULL)
    try:
        status = [*tenfold, "status", "--env", "staging"]
        wait_for(lambda: not subprocess.run(status, cwd=place, env=environment, capture_output=True).returncode,
                 "the platform is up", 60)  # fmt: skip
        link = place / "backends" / "backend_0"
        assert ci(place, "run", "deploy", "--env", "staging", **SECRETS).returncode == 0
        good = link.resolve()
        git(place, "commit", "--quiet", "--allow-empty", "--message", "the next")
        with site(503) as (address, _):
            done = ci(place, "run", "deploy", "--env", "staging", TENFOLD_HEALTH_URL=address, **SECRETS)
        assert done.returncode == 1, done.stdout
        assert "is not well after the deploy" in done.stderr and "it was rolled back" in done.stderr
        assert link.resolve() == good
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(30)
