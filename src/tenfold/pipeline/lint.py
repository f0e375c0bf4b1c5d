"""Tenfold's own rules for a workflow, beside zizmor's and actionlint's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tenfold.pipeline.actions import uses

FORBIDDEN = {"pull_request_target": "it runs with your secrets on code of strangers; write pull_request",
             "workflow_run": "it runs with your secrets on what strangers made; use jobs with needs"}  # fmt: skip
# Values that whoever opens a pull request writes; and every other expression is one too many in a script.
EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
IGNORES = re.compile(r"#\s*(?:zizmor:\s*ignore|actionlint:\s*ignore)", re.IGNORECASE)
BROAD = ("write-all", "read-all")


def mistakes(text: str, tree: Any) -> Iterator[str]:
    """Everything that is wrong with a workflow. tree: what its YAML holds (YAML 1.1 reads the key `on` as true)."""
    if not isinstance(tree, Mapping) or not isinstance(tree.get("jobs"), Mapping):
        yield "it is no workflow: it has no jobs; render it again: tenfold ci init"
        return
    for name in _events(tree.get("on", tree.get(True))):
        if name in FORBIDDEN:
            yield f"on: {name}: {FORBIDDEN[name]}"
    if tree.get("permissions") != {}:
        yield "permissions: at the top there must be none, so that a job has what it names; write permissions: {}"
    for name, job in tree["jobs"].items():
        yield from _job(str(name), job if isinstance(job, Mapping) else {})
    if IGNORES.search(text):
        yield "a comment tells a linter to look away; mend what it found and remove the comment"


def unpinned(text: str) -> list[str]:
    """Actions that are held by a tag, which their owner may move."""
    return sorted({f"{use.action}@{use.ref}" for use in uses(text) if not use.pinned})


def _events(on: object) -> list[str]:
    if isinstance(on, str):
        return [on]
    return [str(name) for name in on] if isinstance(on, (list, Mapping)) else []


def _job(name: str, job: Mapping[Any, Any]) -> Iterator[str]:
    where = f"jobs.{name}"
    permissions = job.get("permissions")
    if permissions is None:
        yield f"{where}: says no permissions; write permissions: with contents: read"
    elif permissions in BROAD:
        yield f"{where}: permissions: {permissions}: is more than it needs; name each one"
    elif isinstance(permissions, Mapping) and any(value == "write" for value in permissions.values()):
        writes = ", ".join(str(key) for key, value in permissions.items() if value == "write")
        yield f"{where}: may write {writes}; no job that Tenfold renders needs it"
    if "timeout-minutes" not in job and "uses" not in job:
        yield f"{where}: has no timeout-minutes, so a job that hangs runs for six hours"
    yield from _concurrency(name, job)
    if job.get("secrets") == "inherit":
        yield f"{where}: secrets: inherit hands all of them on; name each one"
    for position, step in enumerate(job.get("steps") or (), 1):
        yield from _step(f"{where}: step {position}", step if isinstance(step, Mapping) else {})


def _concurrency(name: str, job: Mapping[Any, Any]) -> Iterator[str]:
    given = job.get("concurrency")
    cancels = given.get("cancel-in-progress", False) if isinstance(given, Mapping) else False
    deploys = "environment" in job or name.startswith("deploy")
    if given is None:
        yield f"jobs.{name}: says no concurrency; name a group" + (" that is never cancelled" if deploys else "")
    elif deploys and cancels is not False:
        yield f"jobs.{name}: a deploy must never be cancelled; write cancel-in-progress: false"
    if deploys and not isinstance(job.get("environment"), (str, Mapping)):
        yield f"jobs.{name}: deploys without an environment, so nothing protects it; name one"


def _step(where: str, step: Mapping[Any, Any]) -> Iterator[str]:
    for found in EXPRESSION.findall(str(step.get("run", ""))):
        yield f"{where}: {found} stands in a script, where its value becomes code; pass it by env:"
    if "continue-on-error" in step:
        yield f"{where}: continue-on-error hides a failure; remove it"
    given = step.get("with")
    used = str(step.get("uses", ""))
    if used.startswith("actions/checkout@"):
        if not isinstance(given, Mapping) or given.get("persist-credentials") is not False:
            yield f"{where}: leaves the token in .git/config; write persist-credentials: false"
    elif used and not used.startswith(("./", "docker://")) and "@" not in used:
        yield f"{where}: {used} names no release; write one"
