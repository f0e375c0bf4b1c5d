"""tenfold ci run: what a job finds fails it, and so does what it cannot look at. Edge."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.cli import ci_advisories, ci_place, ci_security
from tenfold.cli.ci_job import Job
from tenfold.cli.ci_project import wanted
from tenfold.cli.options import Invocation
from tenfold.errors import ConfigError, NodeDown
from tenfold.pipeline.repository import Repository
from tests.pipeline.conftest import Osv
from tests.pipeline.support import REPOSITORIES, ci, git
from tests.support import program

# As a cloud's key looks; nobody's.
CLOUD_KEY = base64.b64decode("QUtJQVZCU0ZHSVZNTkdPUDdIVEg=").decode()
ADVISORIES = str(REPOSITORIES.parent / "advisories.json")


@pytest.fixture
def python(sample: Callable[[str], Path], project: str) -> Path:
    """The Python sample, with an environment of its own as a developer has one."""
    place = sample("python")
    (place / ".venv").symlink_to(project)
    (place / ".git" / "info" / "exclude").write_text(".venv\n")
    return place


def run(
    place: Path, job: str, *options: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, object], str]:
    """(the process, what --json told, its findings as one text)"""
    done = ci(place, "run", job, "--json", *options, **environment)
    told = json.loads(done.stdout)
    return done, told, "\n".join(told.get("findings", [told.get("error", "")]))


def test_a_failing_unit_test_fails_the_job_test(python: Path) -> None:
    (python / "tests" / "test_orders.py").unlink()
    (python / "tests" / "test_sums.py").write_text("def test_sums():\n    assert 1 + 1 == 3\n")
    done, told, findings = run(python, "test")
    assert done.returncode == 1 and told["ok"] is False and "tests: ended with 1" in findings
    (python / "tests" / "test_sums.py").unlink()
    assert "tests: there are none" in run(python, "test")[2]


def test_too_little_coverage_fails_the_job_and_the_figure_is_told(python: Path, tmp_path: Path) -> None:
    (python / "tests" / "test_orders.py").unlink()
    (python / "tests" / "test_serve.py").write_text("from shop.serve import app\n\ndef test_app():\n    assert app\n")
    page = tmp_path / "summary"
    done, told, findings = run(python, "test", "--min-coverage", "90", GITHUB_STEP_SUMMARY=str(page))
    figures = told["coverage"]
    assert isinstance(figures, dict) and 0 < figures["coverage.xml"] < 90
    assert done.returncode == 1 and "is less than 90 %" in findings
    assert "### test: failed" in page.read_text() and f"{figures['coverage.xml']} %" in page.read_text()
    assert run(python, "test", "--min-coverage", "1")[0].returncode == 0


def test_a_service_that_is_named_and_does_not_answer_is_said(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ci(python, "run", "test", "--command", "true", DATABASE_URL="mysql://root@127.0.0.1:1/test")
    assert done.returncode == 0, "a command of one's own looks after its services itself"
    from tenfold.cli import ci_test

    monkeypatch.setattr(ci_test, "SERVICE_S", 0.2)
    monkeypatch.setenv("DATABASE_URL", "mysql://root@127.0.0.1:1/test")
    job = Job("test", Invocation(python / "tenfold.toml", quiet=True), python, {})
    ci_test.test(job)
    assert "nothing answers at 127.0.0.1:1" in job.findings[0] and "start the service" in job.findings[0]


def test_lint_style_and_types_each_fail_the_job_quality(python: Path) -> None:
    (python / "shop" / "unused.py").write_text('"""Lint."""\n\nimport os\n')
    (python / "shop" / "askew.py").write_text('"""Style."""\n\nX = {  "a":1 }\n')
    (python / "shop" / "typed.py").write_text('"""Types."""\n\nX: int = "a"\n')
    tools = Path(sys.executable).parent
    done, _, findings = run(python, "quality", PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 1
    assert [line.partition(" ended")[0] for line in findings.splitlines()] == [
        "lint (ruff)",
        "style (ruff)",
        "types (mypy)",
    ]
    assert "try: ruff check --fix .\n" in findings
    # Where the tool is Tenfold's own and on no PATH, the remedy says where it lies.
    assert f"try: {tools}/ruff check --fix .\n" in run(python, "quality", PATH="/usr/bin:/bin")[2]


def test_broken_syntax_fails_the_job_quality_of_node_and_php(sample: Callable[[str], Path]) -> None:
    program("node")
    place = sample("node")
    (place / "lib" / "broken.js").write_text("const = 1;\n")
    done, _, findings = run(place, "quality")
    assert done.returncode == 1 and "syntax: lib/broken.js" in findings
    program("php")
    place = sample("php")
    (place / "src" / "Broken.php").write_text("<?php function {\n")
    done, _, findings = run(place, "quality")
    assert done.returncode == 1 and "syntax: src/Broken.php" in findings


def test_a_tool_that_the_project_wants_and_has_not_fails_the_job_with_the_remedy(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    (place / "phpstan.neon").write_text("parameters:\n")
    done, _, findings = run(place, "quality")
    assert done.returncode == 1 and "types: phpstan is not installed (try: add phpstan to what" in findings


def security_of(place: Path, *parts: str, advisories: str | None = None) -> list[str]:
    """What these parts of the job security find in a repository."""
    options = {"advisories": advisories} if advisories else {"offline_advisories": Path(ADVISORIES)}
    job = Job("security", Invocation(place / "tenfold.toml", quiet=True), place, options)
    for part in parts:
        getattr(ci_security, f"look_at_{part}")(job, ci_place.repository(place))
    return job.findings


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "requirements.txt",
            "redis==4.5.1\npymysql==1.2.4\n",
            "redis 4.5.1 (PyPI): TEST-2026-1: A request may read another one's answer; fixed in 4.5.4",
        ),
        (
            "package-lock.json",
            '{"packages": {"node_modules/left-tea": {"version": "1.4.1"}}}',
            "left-tea 1.4.1 (npm): TEST-2026-2: A pattern that takes for ever; fixed in 1.4.2",
        ),
        (
            "composer.lock",
            '{"packages": [{"name": "Acme/Cheese", "version": "v2.3.1"}]}',
            "acme/cheese 2.3.1 (Packagist): TEST-2026-3: Cheese escapes its box; no release without it is known",
        ),
        (
            "package.json",
            '{"dependencies": {"tea": "^1"}}',
            "package.json: tea is not pinned, so it cannot be looked up",
        ),
    ],
    ids=["Python", "Node", "PHP", "no lock file"],
)
def test_a_vulnerable_or_unknown_pin_is_found(file: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    assert security_of(tmp_path, "dependencies")[0].startswith(f"dependencies: {said}")


def test_a_lock_file_that_cannot_be_read_and_one_in_wide_letters_are_not_no_packages(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"left-tea": "1"}}')
    (tmp_path / "package-lock.json").write_text("<<<<<<< HEAD\n")
    assert security_of(tmp_path, "dependencies") == [
        "dependencies: package-lock.json cannot be read, so what it pins cannot be looked up; write it anew"
    ]
    (tmp_path / "package-lock.json").unlink()
    (tmp_path / "package.json").unlink()
    (tmp_path / "requirements.txt").write_text("redis==4.5.1\r\n", encoding="utf-16")  # as PowerShell's > writes
    assert security_of(tmp_path, "dependencies")[0].startswith("dependencies: redis 4.5.1 (PyPI): TEST-2026-1")


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        ({"setup.py": ""}, ["-e", "."]),
        ({"pyproject.toml": "[build-system]\nrequires = []", "setup.cfg": ""}, ["-e", "."]),
        ({"pyproject.toml": '[tool.poetry]\nname = "a"'}, ["-e", "."]),
        ({"pyproject.toml": '[project]\nname = "a"', "src/a.py": ""}, ["-e", "."]),
        # Only a list: pip would refuse to build an app of several directories.
        ({"pyproject.toml": '[project]\ndependencies = ["a>1"]\noptional-dependencies = {dev = ["b"], x = ["c"]}'},
         ["a>1", "b"]),
        ({"pyproject.toml": '[dependency-groups]\ndev = ["a", {include-group = "x"}]\n'
          'x = ["b", {include-group = "dev"}]'}, ["a", "b"]),
        ({"requirements/base.txt": "", "requirements/local.txt": "", "requirements/production.txt": ""},
         ["-r", "requirements/base.txt", "-r", "requirements/local.txt"]),
        ({"requirements.txt": "", "requirements-dev.txt": "", "test.txt": "notes", "test-requirements.txt": ""},
         ["-r", "requirements.txt", "-r", "requirements-dev.txt", "-r", "test-requirements.txt"]),
        ({"pyproject.toml": "project = 1\ndependency-groups = 2"}, []),
    ],
)  # fmt: skip
def test_pip_is_asked_for_what_the_project_needs(texts: dict[str, str], asked: list[str]) -> None:
    assert list(wanted(Repository(tuple(texts), texts))) == asked


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("lib/extra.js", "module.exports = (db, id) => db.query(`SELECT ${id}`);\n", "code: lib/extra.js:1: sql"),
        ("src/Extra.php", "<?php\nsystem('ls ' . $_GET['d']);\n", "code: src/Extra.php:2: shell"),
        ("src/Extra.php", "<?php\nsystem('ls ' . $a); // tenfold: allow shell $a is a constant\n", None),
        ("src/extra.py", "import subprocess\nsubprocess.run('ls ' + input(), shell=True)\n", "code: ruff's S rules"),
        ("src/extra.py", "assert True\n", None),
    ],
)
def test_dangerous_code_is_found(file: str, text: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    (tmp_path / {"js": "package.json", "php": "composer.json", "py": "setup.py"}[file.rpartition(".")[2]]).touch()
    found = security_of(tmp_path, "code")
    assert found == [] if said is None else found[0].startswith(said)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("shop/extra.py", f'KEY = "{CLOUD_KEY}"\n', "AWS Access Key"),
        ("tests/test_extra.py", f'KEY = "{CLOUD_KEY}"\n', "AWS Access Key"),
        ("shop/extra.py", 'PASSWORD = "kd83hdKW93"\n', "Secret Keyword"),
        ("tests/test_extra.py", 'PASSWORD = "kd83hdKW93"\n', None),
        ("id_rsa", "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n", "Private Key"),
    ],
)
def test_a_planted_secret_is_found_and_never_shown(
    file: str, text: str, said: str | None, tmp_path: Path, tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_CI_TOOLS", tools)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    found = security_of(tmp_path, "secrets")
    assert found == [] if said is None else found[0].startswith(f"secrets: {file}:1: {said}")
    assert not any(CLOUD_KEY in line or "kd83" in line for line in found)


def test_what_was_looked_at_may_move_within_its_file(
    tmp_path: Path, tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_CI_TOOLS", tools)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "sample.py").write_text('PASSWORD = "kd83hdKW93"\n')
    git(tmp_path, "add", "--all")
    scan = [str(Path(tools) / "bin" / "detect-secrets"), "scan"]
    known = subprocess.run(scan, cwd=tmp_path, check=True, capture_output=True, timeout=60).stdout
    (tmp_path / ".secrets.baseline").write_bytes(known)
    (tmp_path / "sample.py").write_text('\n\nPASSWORD = "kd83hdKW93"\n')
    assert security_of(tmp_path, "secrets") == []
    assert (tmp_path / ".secrets.baseline").read_bytes() == known, "a job of checks changes no file of the user's"


def test_the_name_of_a_file_is_no_option_of_the_scanner(
    tmp_path: Path, tools: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_CI_TOOLS", tools)
    (tmp_path / "--exclude-files=.*").touch()
    (tmp_path / "sample.py").write_text('PASSWORD = "kd83hdKW93"\n')
    assert security_of(tmp_path, "secrets")[0].startswith("secrets: sample.py:1: Secret Keyword")


def test_files_of_an_environment_that_git_was_not_told_to_ignore_are_not_the_projects(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for name in (".venv/lib/a.py", "web/node_modules/b.js", "vendor/c.php", "own.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    git(tmp_path, "add", "--force", "vendor/c.php")
    assert ci_place.repository(tmp_path).files == ("own.py", "vendor/c.php")


def test_every_workflow_of_the_repository_is_looked_at(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    assert security_of(place, "workflows") == []
    (place / ".github/workflows/other.yml").write_text("on: pull_request_target\njobs: {}\n")
    found = security_of(place, "workflows")
    assert found and all(line.startswith("workflow: .github/workflows/other.yml: ") for line in found)


RELEASE = """\
name: release
on:
  push:
    tags: ["v*"]
permissions: {}
jobs:
  release:
    runs-on: ubuntu-24.04
    permissions:
      contents: write # the release itself
    steps:
      - run: gh release create "$GITHUB_REF_NAME"
        env:
          GH_TOKEN: ${{ github.token }}
"""


def test_a_workflow_of_the_users_own_may_write_and_a_broken_one_hides_no_other(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    workflows = place / ".github" / "workflows"
    (workflows / "release.yml").write_text(RELEASE)
    assert security_of(place, "workflows") == []
    (workflows / "broken.yml").write_text("a: [\n")
    (workflows / "release.yml").write_text(RELEASE.replace('"$GITHUB_REF_NAME"', "${{ github.ref_name }}"))
    found = security_of(place, "workflows")
    assert found[0].startswith("workflow: .github/workflows/broken.yml: the workflow is no YAML")
    assert any("release.yml: zizmor: " in line and "template-injection" in line for line in found)


def test_a_service_that_cannot_be_asked_is_a_failure_and_never_no_holes(
    sample: Callable[[str], Path], osv: Osv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci_advisories, "TRIES", 1)
    place = sample("python")
    assert security_of(place, "dependencies", advisories=osv.url) == []
    osv.broken = True
    with pytest.raises(NodeDown, match="could not be looked up") as caught:
        security_of(place, "dependencies", advisories=osv.url)
    assert "--offline-advisories" in caught.value.hint
    with pytest.raises(ConfigError, match="plain addresses are for loopback only"):
        security_of(place, "dependencies", advisories="http://osv.example")


def test_a_part_that_cannot_be_looked_at_fails_the_job_and_the_others_are_looked_at(
    sample: Callable[[str], Path], tools: str
) -> None:
    here = {"TENFOLD_CI_TOOLS": tools, "TENFOLD_ADVISORIES": "http://osv.example"}
    done = ci(sample("python"), "run", "security", **here)
    assert done.returncode == 1 and "found: dependencies: --advisories http://osv.example" in done.stderr
    assert "secrets: looked at" in done.stdout and "workflow: looked at 1 files" in done.stdout


def test_an_accepted_advisory_passes_with_its_reason_and_without_one_not(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("redis==4.5.1\n")
    (tmp_path / ".tenfold-accepted").write_text("# looked at\nTEST-2026-1\n")
    assert len(security_of(tmp_path, "dependencies")) == 1
    (tmp_path / ".tenfold-accepted").write_text("TEST-2026-1 we use no pipelines\n")
    assert security_of(tmp_path, "dependencies") == []


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "not json", '[{"no": "id"}]'])
def test_a_list_of_advisories_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    from tenfold.cli.ci_advisories import offline

    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ConfigError, match="holds no OSV records"):
        offline(tmp_path / "list.json", [])


def test_a_command_of_ones_own_is_run_without_a_shell_and_its_failure_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "tenfold.toml").write_text("")
    done, _, findings = run(tmp_path, "quality", "--command", "ls '$HOME; true'")
    assert done.returncode == 1 and "ended with 2" in findings
    assert ci(tmp_path, "run", "quality", "--command", "'").returncode == 2
    assert ci(tmp_path, "run", "quality", "--command", "no-such-program").returncode == 1
    assert ci(tmp_path, "run", "nothing").returncode == 2


def test_names_of_files_cannot_write_on_the_page_of_the_run() -> None:
    from tenfold.cli.ci_run import _escaped

    assert _escaped("a\n<b> [x](y) `z`") == "a \\<b\\> \\[x\\](y) \\`z\\`"
