"""tenfold ci check finds what makes a workflow dangerous, and what is no longer as it was rendered. Edge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tenfold.pipeline.lint import mistakes, unpinned
from tests.pipeline.support import WORKFLOW, ci

Change = Callable[[str], str]


def replaced(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def found(text: str) -> list[str]:
    return list(mistakes(text, yaml.safe_load(text)))


MUTATIONS: dict[str, tuple[Change, str]] = {
    "a trigger with secrets for strangers": (
        replaced("  pull_request:", "  pull_request_target:"), "on: pull_request_target"),
    "the same, in a list": (
        replaced("on:\n  push:\n  pull_request:", "on: [push, pull_request_target]"), "on: pull_request_target"),
    "no permissions at the top": (replaced("permissions: {}\n", ""), "permissions: at the top"),
    "permissions at the top": (replaced("permissions: {}", "permissions: write-all"), "permissions: at the top"),
    "a job without permissions": (
        replaced("    permissions:\n      contents: read\n", ""), "jobs.test: says no permissions"),
    "a job that may write": (replaced("contents: read", "contents: write"), "jobs.test: may write contents"),
    "a job that may do all": (
        replaced("    permissions:\n      contents: read\n", "    permissions: write-all\n"), "more than it needs"),
    "a job without an end": (replaced("    timeout-minutes: 30\n", ""), "jobs.test: has no timeout-minutes"),
    "an expression in a script": (
        replaced("tenfold ci run quality", "echo ${{ github.event.pull_request.title }}"), "stands in a script"),
    "a deploy that is cancelled": (
        replaced("      cancel-in-progress: false", "      cancel-in-progress: true"), "must never be cancelled"),
    "a deploy that nothing protects": (replaced("    environment: production\n", ""), "deploys without an environment"),
    "a deploy in the environment null": (
        replaced("    environment: production\n", "    environment: null\n"), "deploys without an environment"),
    "jobs side by side": (
        lambda text: re.sub(r"    concurrency:\n.*\n.*\n", "", text, count=1), "jobs.test: says no concurrency"),
    "a token on disk": (
        replaced("persist-credentials: false", "persist-credentials: true"), "leaves the token in .git/config"),
    "a failure that is hidden": (
        replaced("      - name: Test\n", "      - name: Test\n        continue-on-error: true\n"), "hides a failure"),
    "a linter that is told to look away": (
        replaced("  pull_request:\n", "  pull_request: # zizmor: ignore[dangerous-triggers]\n"), "look away"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_workflow_that_was_made_worse_is_found_by_tenfolds_own_rules(name: str, rendered: str) -> None:
    change, said = MUTATIONS[name]
    assert found(rendered) == []
    assert any(said in line for line in found(change(rendered))), found(change(rendered))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (MUTATIONS["a trigger with secrets for strangers"][0], "zizmor"),
        (MUTATIONS["an expression in a script"][0], "zizmor"),
        (replaced("runs-on: ubuntu-24.04", "runs-on: ubuntu-3"), "actionlint"),
        (replaced("timeout-minutes: 30", "timeout-minutes: 31"), "it is not what would be rendered now"),
        (replaced("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "actions/checkout@v4"),
         "actionlint"),
        (lambda text: text.replace("\n", " with: --database oracle\n", 1), "oracle: that is none"),
        (lambda text: text.partition("\n")[2], "it was not rendered by Tenfold"),
        (replaced("image: redis:7.4", "image: redis"), "zizmor"),
    ],
)  # fmt: skip
def test_check_fails_and_names_who_found_it(change: Change, said: str, sample: Callable[[str], Path]) -> None:
    place = sample("python")
    file = place / WORKFLOW
    file.write_text(change(file.read_text()))
    done = ci(place, "check")
    assert done.returncode == 1 and said in done.stderr and "Try: tenfold ci init" in done.stderr


def test_an_action_held_by_a_tag_is_counted_and_listed_and_nothing_else_passes(sample: Callable[[str], Path]) -> None:
    place = sample("node")
    file = place / WORKFLOW
    text = re.sub(r"(actions/[\w-]+)@[0-9a-f]{40} # (v\S+)", r"\1@\2", file.read_text())
    assert unpinned(text) == ["actions/checkout@v6.0.2", "actions/setup-node@v6.4.0", "actions/setup-python@v6.2.0",
                              "actions/upload-artifact@v7.0.1"]  # fmt: skip
    file.write_text(text)
    told = json.loads(ci(place, "check", "--json").stdout)
    # Only the drift is left: the table has a commit for each of them.
    assert (
        told["ok"] is False
        and len(told["unpinned"]) == 4
        and [line.partition(":")[2] for line in told["findings"]]
        == [" it is not what would be rendered now; tenfold ci init shows the difference"]
    )


@pytest.mark.parametrize("text", ["", "jobs: []\n", "[]", "jobs: 1\n", "jobs: {a: 1}\n"])
def test_what_is_no_workflow_is_said_to_be_none(text: str) -> None:
    assert found(text)


def test_what_is_no_yaml_is_said_to_be_none(sample: Callable[[str], Path]) -> None:
    place = sample("php")
    (place / WORKFLOW).write_text("a: [\n")
    done = ci(place, "check")
    assert done.returncode == 1 and "is no YAML" in done.stderr and "Traceback" not in done.stderr
