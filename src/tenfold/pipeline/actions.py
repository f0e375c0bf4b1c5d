"""The actions that a rendered workflow uses, each with the commit it is pinned to and where that was read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SHA = re.compile(r"[0-9a-f]{40}")
# `uses: OWNER/NAME[/PATH]@REF` of a step, with the comment behind it.
USES = re.compile(r"^(?P<before>\s*(?:-\s+)?uses:\s*)(?P<quote>['\"]?)(?P<action>[\w.-]+/[\w./-]+)@(?P<ref>[^\s'\"#]+)"
                  r"(?P=quote)(?P<comment>[ \t]*#[^\r\n]*)?(?P<end>[ \t]*\r?)$", re.MULTILINE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """One release of an action.

    tag     the release, never a moving major
    sha     its commit; None where no source names it: then the workflow holds the tag until `tenfold ci pin`
    source  who else pins this tag to this commit, so that a reader can check it; "" without a sha
    """

    name: str
    tag: str
    sha: str | None = None
    source: str = ""

    @property
    def uses(self) -> str:
        """What stands behind `uses:`."""
        return f"{self.name}@{self.sha} # {self.tag}" if self.sha else f"{self.name}@{self.tag}"


# Every release here runs on node24; GitHub takes node20 away, and the linters refuse it. A commit is never written
# down from memory: change one only together with its source.
CHECKOUT = Action(
    "actions/checkout",
    "v6.0.2",
    "de0fac2e4500dabe0009e67214ff5f5447ce83dd",
    "astral-sh/uv .github/workflows/build-release-binaries.yml at 00309ed2e2af3339cbe48c37911b41636ec16b9b",
)
SETUP_PYTHON = Action(
    "actions/setup-python",
    "v6.2.0",
    "a309ff8b426b58ec0e2a45f0f869d46889d02405",
    "astral-sh/uv .github/workflows/build-release-binaries.yml at 00309ed2e2af3339cbe48c37911b41636ec16b9b",
)
SETUP_NODE = Action(
    "actions/setup-node",
    "v6.4.0",
    "48b55a011bda9f5d6aeb4c2d9c7362e8dae4041e",
    "ChrisCarini/jetbrains-auto-power-saver pull request 738, by dependabot (6.3.0 to 6.4.0)",
)
UPLOAD_ARTIFACT = Action(
    "actions/upload-artifact",
    "v7.0.1",
    "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a",
    "projectbluefin/bluefin pull request 13 (v7.0.1, Node 24)",
)
ACTIONS = {action.name: action for action in (CHECKOUT, SETUP_PYTHON, SETUP_NODE, UPLOAD_ARTIFACT)}


@dataclass(frozen=True, slots=True)
class Use:
    """An action as a workflow names it."""

    action: str
    ref: str
    line: int

    @property
    def pinned(self) -> bool:
        return bool(SHA.fullmatch(self.ref))


def uses(text: str) -> Iterator[Use]:
    """The actions that a workflow uses, in order; local ones (./…) and images are none."""
    for found in USES.finditer(text):
        yield Use(found["action"], found["ref"], text.count("\n", 0, found.start("action")) + 1)


def repository(action: str) -> str:
    """The repository of an action: "actions/cache/restore" is a directory of actions/cache."""
    return "/".join(action.split("/")[:2])


def pinned(text: str, commits: Mapping[tuple[str, str], str]) -> str:
    """The workflow with each tag of `commits` ((action, tag) → commit) replaced; all else stays, comments too."""

    def replaced(found: re.Match[str]) -> str:
        sha = commits.get((found["action"], found["ref"]))
        if sha is None:
            return found[0]
        comment = (found["comment"] or "").strip().removeprefix("#").strip()
        kept = f" {comment}" if comment and comment != found["ref"] else ""
        use = f"{found['quote']}{found['action']}@{sha}{found['quote']}"
        return f"{found['before']}{use} # {found['ref']}{kept}{found['end']}"

    return USES.sub(replaced, text)


def commit_of(listing: str, tag: str) -> str | None:
    """The commit of a tag in what `git ls-remote` printed; of an annotated tag what it points to (`^{}`)."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        sha, _, ref = line.partition("\t")
        if SHA.fullmatch(sha):
            found[ref] = sha
    return found.get(f"refs/tags/{tag}^{{}}") or found.get(f"refs/tags/{tag}")
