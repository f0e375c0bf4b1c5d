"""Projects set up in the ways of their worlds: which runner, which package manager, which figures count. Edge."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tenfold.cli import ci_place, ci_test
from tenfold.cli.ci_job import Job
from tenfold.cli.ci_project import prepare
from tenfold.cli.options import Invocation
from tenfold.errors import PlatformError
from tenfold.pipeline.repository import Repository
from tenfold.pipeline.tools import node_manager, quality
from tests.pipeline.support import ci
from tests.support import program

CASE = "from django.test import TestCase\n\n\nclass A(TestCase):\n    def test_a(self): ...\n"


def job_in(place: Path, **options: object) -> Job:
    return Job("test", Invocation(place / "tenfold.toml", quiet=True), place, dict(options))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tox.ini", "[pytest]\nDJANGO_SETTINGS_MODULE = a\n"),
        ("setup.cfg", "[metadata]\nname = a\n\n[tool:pytest]\naddopts = -q\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
        ("pytest.ini", ""),
        ("requirements-dev.txt", "pytest-django==4.9\n"),
        ("uv.lock", '[[package]]\nname = "pytest-django"\nversion = "4.9"\n'),
    ],
)
def test_pytest_runs_the_tests_of_a_django_project_that_has_set_it_up(file: str, text: str) -> None:
    assert Repository(("manage.py", file), {file: text}).uses_pytest
    assert not Repository(("manage.py", "tox.ini"), {"tox.ini": "[tox]\ndeps = pytest\n"}).uses_pytest


@pytest.mark.parametrize("text", [None, "def test_a():\n    assert False\n"])
def test_a_django_project_without_a_test_that_its_runner_sees_does_not_pass(text: str | None, tmp_path: Path) -> None:
    # manage.py test ends well when it finds nothing.
    (tmp_path / "manage.py").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/bin/true")
    if text:
        (tmp_path / "test_a.py").write_text(text)
    job = job_in(tmp_path)
    ci_test.test(job)
    assert job.findings == ["tests: manage.py test would find none; write a TestCase, or set up pytest-django"]
    (tmp_path / "test_a.py").write_text(CASE)
    job = job_in(tmp_path)
    ci_test.test(job)
    assert job.findings == []


@pytest.mark.parametrize(
    ("texts", "manager"),
    [
        ({"package.json": "{}"}, ("npm", "")),
        ({"package.json": '{"packageManager": "pnpm@9.15.0+sha512.ab"}'}, ("pnpm", "pnpm@9.15.0")),
        ({"package.json": '{"packageManager": "yarn@4.5.0"}', "yarn.lock": ""}, ("yarn", "@yarnpkg/cli-dist@4.5.0")),
        ({"package.json": '{"packageManager": "yarn@https://a.example/x"}'}, ("npm", "")),
        ({"package.json": "{}", "yarn.lock": "# yarn lockfile v1\n"}, ("yarn", "yarn@1.22.22")),
        ({"package.json": "{}", "yarn.lock": "__metadata:\n"}, ("yarn", "@yarnpkg/cli-dist@4.18.1")),
        ({"package.json": "{}", "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, ("pnpm", "pnpm@8.15.9")),
        ({"package.json": "{}", "pnpm-lock.yaml": "lockfileVersion: 5.4\n"}, ("pnpm", "pnpm@7.33.7")),
    ],
)
def test_a_node_project_is_set_up_by_the_package_manager_it_has_chosen(
    texts: dict[str, str], manager: tuple[str, str]
) -> None:
    assert node_manager(Repository(tuple(texts), texts)) == manager


@pytest.mark.parametrize("key", ["autoload", "autoload-dev"])
def test_composer_is_asked_for_where_php_loads_its_classes_by_it(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_CI_TOOLS", str(tmp_path / "tools"))
    composer = tmp_path / "tools" / "bin" / "composer"
    composer.parent.mkdir(parents=True)
    composer.write_text("#!/bin/sh\necho composer was asked >&2; exit 1\n")
    composer.chmod(0o755)
    (tmp_path / "composer.json").write_text(f'{{"{key}": {{"psr-4": {{"A": "src/"}}}}}}')
    with pytest.raises(PlatformError, match="composer was asked"):
        prepare(job_in(tmp_path).workshop, ci_place.repository(tmp_path))


def test_what_a_build_translates_is_not_judged_as_javascript() -> None:
    def checked(package: str) -> list[str]:
        return [one.argv[-1] for one in quality(Repository(("package.json", "src/App.js"), {"package.json": package}))]

    assert checked('{"dependencies": {"react": "^19"}}') == [] and checked("{}") == ["src/App.js"]


def test_flake8_of_tox_ini_is_the_lint_of_the_project() -> None:
    texts = {"setup.py": "", "tox.ini": "[tox]\n[flake8]\nmax-line-length = 100\n"}
    assert next(iter(quality(Repository(tuple(texts), texts)))).tool == "flake8"


def test_pytest_that_measures_itself_is_not_measured_twice(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --cov=shop\n")
    (tmp_path / "setup.py").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    python.chmod(0o755)
    ci_test.test(job_in(tmp_path))
    last = (tmp_path / "said").read_text().splitlines()[-1].split()
    assert last[:2] == ["-m", "pytest"] and last[-1] == f"--cov-report=xml:{tmp_path}/.tenfold/ci/reports/coverage.xml"


def test_php_without_tests_is_told_where_they_belong(tmp_path: Path) -> None:
    program("phpunit")
    (tmp_path / "index.php").write_text("<?php\n")
    for directory in (None, "tests"):  # phpunit ends well where it finds none
        if directory:
            (tmp_path / directory).mkdir()
            (tmp_path / directory / "NothingTest.php").write_text("<?php\n")
        job = job_in(tmp_path)
        ci_test.test(job)
        assert job.findings == ["tests: there are none; write one in tests/…Test.php"]


@pytest.mark.parametrize(
    ("address", "told", "findings"),
    [
        ("sqlite:///db.sqlite3", ["DATABASE_URL names no server, so none is waited for"],
         ["tests: there is no Python, Node or PHP here; is this the root of the repository?"]),
        ("mysql://root:pa/ss@127.0.0.1/test", [],
         ["DATABASE_URL: it is no address; what is special in a password is written %XX "
          "(try: DATABASE_URL=scheme://user@host:port/name)"]),
    ],
)  # fmt: skip
def test_an_address_without_a_server_is_waited_for_by_nobody(
    address: str, told: list[str], findings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    monkeypatch.delenv("REDIS_URL", raising=False)
    job = job_in(tmp_path)
    ci_test.test(job)
    assert [line for line in job.told if line.startswith("DATABASE")] == told and job.findings == findings


def test_a_report_that_another_run_left_is_no_coverage_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "coverage.xml").write_text('<coverage lines-valid="8" lines-covered="8">')
    job = job_in(tmp_path, min_coverage=50.0)
    ci_test.tell_coverage(job)
    assert "coverage: 100.0 % (8 of 8 lines), from coverage.xml" in job.told
    os.utime(tmp_path / "coverage.xml", (time.time() - 60,) * 2)
    job = job_in(tmp_path, min_coverage=50.0)
    ci_test.tell_coverage(job)
    assert job.findings == ["coverage: nothing measured it, so 50 % cannot be told"]
    # What Tenfold asked for itself counts before what lies elsewhere.
    (ci_place.own_directory(tmp_path) / "reports").mkdir()
    (tmp_path / ".tenfold/ci/reports/clover.xml").write_text(
        '<metrics files="1" statements="4" coveredstatements="1"/>'
    )
    (tmp_path / "coverage.xml").touch()
    job = job_in(tmp_path)
    ci_test.tell_coverage(job)
    assert job.facts["coverage"] == {"clover.xml": 25.0}


def test_a_job_that_stops_early_says_so_on_the_page_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "tenfold.toml").write_text("")
    page = tmp_path / "page"
    done = ci(tmp_path, "run", "notify", GITHUB_STEP_SUMMARY=str(page))
    assert done.returncode == 1 and "there is no outcome to tell" in done.stderr
    assert "### notify: failed" in page.read_text() and "there is no outcome to tell" in page.read_text()
