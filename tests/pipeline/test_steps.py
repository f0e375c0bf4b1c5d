"""The steps of rendered workflows, executed in order in clean clones, with real services. Edge."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Osv
from tests.pipeline.github import GitHub
from tests.pipeline.support import WORKFLOW, ci, git
from tests.support import program

CHECKS = {"test", "quality", "security"}
SECRETS = {"SESSION_SECRET": "only for this test", "SLACK_URL": "http://127.0.0.1:9/hook"}
DRILLS = pytest.mark.skipif(os.environ.get("TENFOLD_DRILLS") != "1", reason="TENFOLD_DRILLS=1 runs it")
SAMPLES = ["python", pytest.param("node", marks=DRILLS), pytest.param("php", marks=DRILLS)]
COVERED = {"python": "coverage.xml", "node": "node.json", "php": "clover.xml"}


@pytest.mark.parametrize("job", ["test", "quality", "security"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_job_of_a_sample_repository_passes_when_its_steps_are_run(
    name: str, job: str, sample: Callable[[str], Path], tmp_path: Path, services: dict[str, dict[str, int]],
    machine: dict[str, str], osv: Osv,
) -> None:  # fmt: skip
    for needed in {"node": ["node", "npm"], "php": ["php", "phpunit"]}.get(name, []):
        program(needed)
    origin = sample(name)
    hub = GitHub(origin, tmp_path / "run", services, machine, event="pull_request", branch="develop", secrets=SECRETS)
    done = hub.run((origin / WORKFLOW).read_text(), only={job, "deploy-staging", "deploy-production", "notify"})
    told = done[job].output
    if "NewConnectionError" in told and os.environ.get("CI") != "true":
        pytest.skip("no package index can be reached, so the sample's dependencies cannot be installed")
    assert done[job].result == "success", told
    assert f"### {job}: passed" in done[job].summary
    # A pull request deploys nothing and tells nobody.
    assert {done[other].result for other in done if other not in CHECKS} == {"skipped"}
    if job == "test":
        assert "coverage: " in done[job].summary
        assert (hub.artifacts / "reports" / COVERED[name]).stat().st_size > 0
        assert {"python": "4 passed", "node": "# pass 4", "php": "OK (4 tests"}[name] in told, "the services were asked"
    if (name, job) == ("python", "security"):
        assert "4 packages compared with " + osv.url in told
        assert {query["package"]["name"] for query in osv.asked} == {"pymysql", "redis", "pytest", "coverage"}


def test_a_check_that_fails_stops_every_deploy(
    sample: Callable[[str], Path], tmp_path: Path, services: dict[str, dict[str, int]], machine: dict[str, str]
) -> None:
    origin = sample("python")
    assert ci(origin, "init", "--yes", "--test", "false").returncode == 0
    git(origin, "commit", "--quiet", "--all", "--message", "a test that fails")
    hub = GitHub(origin, tmp_path / "run", services, machine, branch="main", secrets=SECRETS)
    done = hub.run((origin / WORKFLOW).read_text(), only={"test", "deploy-staging", "deploy-production"})
    assert done["test"].result == "failure" and "found: false: ended with 1" in done["test"].output
    assert "### test: failed" in done["test"].summary
    assert done["deploy-production"].result == "skipped" and done["deploy-staging"].result == "skipped"


@pytest.mark.parametrize(("branch", "deployed"), [("develop", "staging"), ("main", "production"), ("topic", None)])
def test_a_push_deploys_to_the_environment_of_its_branch_alone(
    branch: str, deployed: str | None, sample: Callable[[str], Path], tmp_path: Path
) -> None:
    origin = sample("node")
    git(origin, "branch", "topic")
    # What the steps would do is left out: which jobs would be run is what is asked.
    text = re.sub(r"(run: \|\n +)[^\n]+", r"\1true", (origin / WORKFLOW).read_text())
    services = {"mariadb": {"3306": 1}, "redis": {"6379": 2}}
    done = GitHub(origin, tmp_path / "run", services, {}, branch=branch, secrets=SECRETS).run(text)
    ran = {name for name, job in done.items() if job.result == "success" and name.startswith(("deploy", "notify"))}
    assert ran == ({f"deploy-{deployed}", "notify"} if deployed else set())
