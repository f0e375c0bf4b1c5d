"""tenfold ci pin asks the actions' own repositories for commits, and never makes one up. Edge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.cli.ci_init import keep_pins
from tenfold.pipeline.actions import ACTIONS, SHA, commit_of, pinned
from tenfold.pipeline.lint import unpinned
from tests.pipeline.support import WORKFLOW, ci, git

TAGS = {"checkout": "v6.0.2", "setup-python": "v6.2.0", "setup-node": "v6.4.0", "upload-artifact": "v7.0.1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """(address of a server of actions, tag's commit by name); the tag of checkout is an annotated one."""
    base = tmp_path_factory.mktemp("server")
    commits = {}
    for name, tag in TAGS.items():
        place = base / "actions" / name
        place.mkdir(parents=True)
        git(place, "init", "--quiet")
        git(place, "commit", "--quiet", "--allow-empty", "--message", name)
        git(place, "tag", *(["--annotate", "--message", tag] if name == "checkout" else []), tag)
        commits[name] = git(place, "rev-parse", "HEAD")
    return base.as_uri(), commits


def loosened(text: str) -> str:
    return re.sub(r"(actions/[\w-]+)@[0-9a-f]{40} # (v\S+)", r"\1@\2", text)


def test_each_tag_becomes_the_commit_that_its_repository_names_and_comments_stay(
    server: tuple[str, dict[str, str]], sample: Callable[[str], Path]
) -> None:
    address, commits = server
    file = sample("node") / WORKFLOW
    file.write_text(loosened(file.read_text()).replace("actions/setup-node@v6.4.0", "actions/setup-node@v6.4.0 # LTS"))
    done = ci(file.parents[2], "pin", "--server", address)
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    for name, tag in TAGS.items():
        note = " LTS" if name == "setup-node" else ""
        assert f"uses: actions/{name}@{commits[name]} # {tag}{note}\n" in text
    assert "# A deploy is never cancelled" in text
    assert json.loads(ci(file.parents[2], "pin", "--server", address, "--json").stdout)["pinned"] == {}


def test_what_pin_found_stays_when_the_workflow_is_rendered_anew() -> None:
    old = f"    uses: a/b@{'c' * 40} # v1.2.3 why\n    uses: a/c@{'d' * 40} # v1.0.0\n"
    # Of another release the old commit says nothing.
    assert keep_pins("    uses: a/b@v1.2.3\n    uses: a/c@v2.0.0\n", old) == (
        f"    uses: a/b@{'c' * 40} # v1.2.3\n    uses: a/c@v2.0.0\n"
    )


@pytest.mark.parametrize(("tag", "said"), [("v9.9.9", "has no tag v9.9.9"), ("main", "has no tag main")])
def test_a_tag_that_is_not_there_changes_nothing(
    tag: str, said: str, server: tuple[str, dict[str, str]], sample: Callable[[str], Path]
) -> None:
    file = sample("php") / WORKFLOW
    text = loosened(file.read_text()).replace("actions/setup-python@v6.2.0", f"actions/setup-python@{tag}")
    file.write_text(text)
    done = ci(file.parents[2], "pin", "--server", server[0])
    assert done.returncode == 1 and said in done.stderr and "nothing was written" in done.stderr
    assert file.read_text() == text


def test_without_network_pin_says_so_and_changes_nothing(sample: Callable[[str], Path]) -> None:
    file = sample("php") / WORKFLOW
    text = loosened(file.read_text())
    file.write_text(text)
    done = ci(file.parents[2], "pin", "--server", "http://127.0.0.1:1")
    assert (
        done.returncode == 75 and "cannot be asked" in done.stderr and "Try: try again with the network" in done.stderr
    )
    assert file.read_text() == text


def test_every_commit_of_the_table_has_a_source_that_names_it() -> None:
    for action in ACTIONS.values():
        assert (action.sha is None) == (action.source == ""), action
        assert action.sha is None or SHA.fullmatch(action.sha)
        assert re.fullmatch(r"v\d+\.\d+\.\d+", action.tag), "a moving major is no release"


def test_an_annotated_tag_stands_for_the_commit_that_it_points_to() -> None:
    tag, commit = "a" * 40, "b" * 40
    assert commit_of(f"{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n", "v1") == commit
    assert commit_of(f"{tag}\trefs/tags/v1\n", "v1") == tag
    assert commit_of("fatal: no\n", "v1") is None


def test_pinning_touches_nothing_but_the_actions_it_was_given() -> None:
    text = 'steps:\n  - uses: "a/b@v1"  # why\n  - uses: a/b/sub@v1\n  - run: echo uses: a/b@v1\n  - uses: c/d@v1\n'
    # Windows' line ends and spaces behind are no other action.
    odd = text.replace("\n", "\r\n").replace("@v1\r", "@v1  \r")
    assert unpinned(odd) == unpinned(text) == ["a/b/sub@v1", "a/b@v1", "c/d@v1"]
    assert pinned(odd, {("c/d", "v1"): "d" * 40}) == odd.replace("c/d@v1 ", f"c/d@{'d' * 40} # v1 ")
    assert pinned(text, {("a/b", "v1"): "c" * 40}) == text.replace('"a/b@v1"  # why', f'"a/b@{"c" * 40}" # v1 why')
