"""tenfold ci init writes a workflow that two linters pass, and never over a change without asking. Edge."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.pipeline.github import Expression
from tests.pipeline.support import REPOSITORIES, WORKFLOW, ci, git

ROOT = Path(__file__).resolve().parent.parent.parent
BESIDE = Path(sys.executable).parent


@pytest.mark.parametrize("name", ["python", "node", "php"])
def test_both_linters_pass_what_is_rendered_without_a_finding_or_an_ignore(
    name: str, sample: Callable[[str], Path]
) -> None:
    place = sample(name)
    text = (place / WORKFLOW).read_text()
    assert "ignore" not in text.replace("if-no-files-found: ignore", "")
    zizmor = [str(BESIDE / "zizmor"), "--offline", "--no-config", "--format", "json", str(place / WORKFLOW)]
    assert json.loads(subprocess.run(zizmor, capture_output=True, timeout=60).stdout) == []
    actionlint = subprocess.run([BESIDE / "actionlint", place / WORKFLOW], capture_output=True, text=True, timeout=60)
    assert (actionlint.returncode, actionlint.stdout) == (0, "")
    done = ci(place, "check", "--json")
    assert json.loads(done.stdout) == {"ok": True, "findings": [], "unpinned": [], "hint": ""}


def test_what_is_rendered_gives_no_job_more_than_it_needs(sample: Callable[[str], Path]) -> None:
    tree = yaml.safe_load((sample("python") / WORKFLOW).read_text())
    assert tree["permissions"] == {}
    for name, job in tree["jobs"].items():
        assert job["permissions"] == {"contents": "read"} and job["timeout-minutes"] <= 90, name
        assert job["concurrency"]["cancel-in-progress"] is (name in ("test", "quality", "security")), name
        assert all("${{" not in step.get("run", "") for step in job["steps"]), name
    assert tree["jobs"]["deploy-staging"]["environment"] == "staging"
    production = tree["jobs"]["deploy-production"]
    assert production["environment"] == "production" and "refs/heads/main" in production["if"]
    given = production["steps"][-1]["env"]
    assert given["DB_PASSWORD"] == "${{ secrets.DB_PASSWORD }}" and "TENFOLD_SSH_KEY" in given
    # Staging runs on one machine with SQLite: it needs neither a key nor that password.
    assert {"DB_PASSWORD", "TENFOLD_SSH_KEY"}.isdisjoint(tree["jobs"]["deploy-staging"]["steps"][-1]["env"])
    assert {"database", "redis"} == set(tree["jobs"]["test"]["services"])
    assert "always()" in tree["jobs"]["notify"]["if"]
    assert set(tree["jobs"]["notify"]["needs"]) == set(tree["jobs"]) - {"notify"}


def test_a_second_init_changes_nothing(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    before = (place / WORKFLOW).read_bytes()
    done = ci(place, "init", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["changed"] is False
    assert (place / WORKFLOW).read_bytes() == before


def test_a_changed_file_is_shown_and_stays_without_a_yes(sample: Callable[[str], Path]) -> None:
    place = sample("python")
    file = place / WORKFLOW
    changed = file.read_text().replace("timeout-minutes: 30", "timeout-minutes: 99")
    file.write_text(changed)
    done = ci(place, "init", stdin="n\n")
    assert done.returncode == 1 and "left as it is" in done.stderr and "Try: tenfold ci init --yes" in done.stderr
    assert "-    timeout-minutes: 99" in done.stdout and "+    timeout-minutes: 30" in done.stdout
    assert ci(place, "init", "--json").returncode == 1
    assert file.read_text() == changed
    assert ci(place, "init", "--yes").returncode == 0
    assert "timeout-minutes: 99" not in file.read_text()


def test_options_stay_from_one_init_to_the_next(sample: Callable[[str], Path]) -> None:
    place = sample("node")
    options = ["--database", "mysql", "--deploy", "production=release/v1", "--test", "make test && echo 'it'"]
    assert ci(place, "init", "--yes", *options).returncode == 0
    text = (place / WORKFLOW).read_text()
    assert "image: mysql:8.4" in text and "refs/heads/release/v1" in text and "deploy-staging" not in text
    assert ci(place, "init", "--yes", "--quality", "true").returncode == 0
    assert (place / WORKFLOW).read_text() != text
    assert ci(place, "init", "--yes", "--quality", "").returncode == 0
    assert (place / WORKFLOW).read_text() == text, "an empty command takes one back"
    step = yaml.safe_load(text)["jobs"]["test"]["steps"][-2]
    assert step["run"] == "tenfold ci run test --command 'make test && echo '\"'\"'it'\"'\"''\n"
    assert json.loads(ci(place, "init", "--json").stdout)["changed"] is False
    assert json.loads(ci(place, "check", "--json").stdout)["ok"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deploy", "moon=main"], "has no environment 'moon'"),
        (["--deploy", "staging=main", "--deploy", "production=main"], "two environments would be deployed from one"),
        (["--deploy", "staging=a' || true || '"], "is no name of a branch"),
        (["--deploy", "staging=a}}"], "is no name of a branch"),
        (["--install", "${{ github.head_ref }}"], "holds a line break or ${{"),
        (["--test", "echo ${{ github.event.issue.title }}"], "holds a line break or ${{"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    options: list[str], said: str, sample: Callable[[str], Path]
) -> None:
    place = sample("python")
    before = (place / WORKFLOW).read_bytes()
    done = ci(place, "init", "--yes", *options)
    assert done.returncode == 1 and said in done.stderr and "Try: " in done.stderr
    assert (place / WORKFLOW).read_bytes() == before


ODD = "release/1.0+b#2='it\"s'&é"


def test_environments_and_branches_may_have_odd_names(sample: Callable[[str], Path]) -> None:
    place = sample("python")
    with (place / "tenfold.toml").open("a") as file:
        file.write("[environments.null]\n[environments.on]\n")
    git(place, "branch", ODD)  # git takes it
    done = ci(place, "init", "--yes", "--deploy", f"null={ODD}", "--deploy", "on=develop")
    assert done.returncode == 0, done.stderr
    jobs = yaml.safe_load((place / WORKFLOW).read_text())["jobs"]
    # As words of YAML they would be nothing and true: an environment without protection, and another one.
    assert (jobs["deploy-null"]["environment"], jobs["deploy-on"]["environment"]) == ("null", "on")
    context = {"github": {"event_name": "push", "ref": f"refs/heads/{ODD}"}}
    condition = jobs["deploy-null"]["if"].removeprefix("${{").removesuffix("}}")
    assert Expression(condition, context, {}).value() is True
    told = json.loads(ci(place, "check", "--json").stdout)
    assert (told["ok"], told["findings"]) == (True, [])
    assert json.loads(ci(place, "init", "--json").stdout)["changed"] is False


def test_where_tenfold_comes_from_may_be_said_and_stays_said(sample: Callable[[str], Path]) -> None:
    place, wheel = sample("php"), "./wheels/tenfold-0.1.0-py3-none-any.whl[ci]"
    assert ci(place, "init", "--yes", "--install", wheel).returncode == 0
    assert ci(place, "init", "--yes", "--database", "mysql").returncode == 0
    steps = yaml.safe_load((place / WORKFLOW).read_text())["jobs"]["notify"]["steps"]
    assert shlex.split(next(step["run"] for step in steps if step["name"] == "Install Tenfold"))[-1] == wheel
    assert ci(place, "init", "--yes", "--install", "a; touch b").returncode == 0
    assert "--quiet 'a; touch b'\n" in (place / WORKFLOW).read_text()


def test_the_ends_of_windows_lines_are_no_change(sample: Callable[[str], Path]) -> None:
    place = sample("node")
    file = place / WORKFLOW
    assert ci(place, "init", "--yes", "--database", "mysql").returncode == 0
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = file.read_bytes()
    assert json.loads(ci(place, "init", "--json").stdout)["changed"] is False and file.read_bytes() == before
    assert json.loads(ci(place, "check", "--json").stdout)["ok"] is True


def test_without_code_or_file_init_says_what_to_do(tmp_path: Path) -> None:
    done = ci(tmp_path, "init")
    assert done.returncode == 1 and "there is no such file" in done.stderr and "--library" in done.stderr
    shutil.copy(REPOSITORIES / "php" / "tenfold.toml", tmp_path)
    done = ci(tmp_path, "init")
    assert done.returncode == 1 and "there is no Python, Node or PHP here" in done.stderr
    assert not (tmp_path / ".github").exists()
    assert ci(tmp_path, "check").returncode == 1 and ci(tmp_path, "init", "--deploy", "x").returncode == 2


def test_a_workflow_below_the_root_is_written_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "requirements.txt").write_text("redis==8.1.0\n")
    git(tmp_path, "init", "--quiet")
    done = ci(tmp_path / "api", "init", "--library")
    assert done.returncode == 0 and f"warning: the repository begins at {tmp_path}" in done.stderr


def test_a_library_is_checked_and_deploys_nothing(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("redis==8.1.0\n")
    git(tmp_path, "init", "--quiet")
    assert ci(tmp_path, "init", "--library").returncode == 0
    jobs = yaml.safe_load((tmp_path / WORKFLOW).read_text())["jobs"]
    assert set(jobs) == {"test", "quality", "security"} and "services" not in jobs["test"]
    done = ci(tmp_path, "init", "--no-library")
    assert done.returncode == 1 and "there is no such file" in done.stderr


def test_tenfold_uses_what_it_renders() -> None:
    # If this fails: `tenfold ci init` in the root of the repository, and commit what it writes.
    done = ci(ROOT, "check", "--json")
    told = json.loads(done.stdout)
    assert (told["ok"], told["findings"]) == (True, []), done.stdout
