"""The job notify: tells the outcome of a workflow by the channels of the file. Edge."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenfold.cli import ci_place
from tenfold.cli.ci_job import Job
from tenfold.errors import ConfigError, NotifyError
from tenfold.notify.notice import Notice
from tenfold.notify.outbox import Outbox
from tenfold.notify.sender import deliver
from tenfold.topology import secrets
from tenfold.topology.model import Topology
from tenfold.topology.operations import Notify, Severity
from tenfold.topology.parse import config_error, examine
from tenfold.topology.references import references

RESULT = "RESULT_"
SEND_S = 120.0  # a receiver may be restarting
BAD = ("failure", "cancelled")


def notify(job: Job) -> None:
    """Send one notice, whatever notify.min_severity says: an outcome was asked for.

    A channel that does not take it fails the job.
    """
    results = {
        name.removeprefix(RESULT).lower(): value for name, value in os.environ.items() if name.startswith(RESULT)
    }
    if not results:
        raise ConfigError("there is no outcome to tell", hint="set RESULT_TEST=success, RESULT_QUALITY=failure, …")
    topology = only_notify(ci_place.raw_file(job.run), job.run.file.absolute(), os.environ)
    if topology.notify == Notify(min_severity=Severity.INFO):
        raise ConfigError("the file has no channel in [notify]", hint="docs/guides/notify.md")
    notice = outcome(topology.platform.name, results, os.environ, time.time())
    outbox = Outbox(job.workshop.own / "outbox.db")
    outbox.put(notice)
    counts = deliver(outbox, topology, SEND_S)
    left = counts["waiting"] + counts["dead"]
    job.told.append(f"{notice.title}: {'not taken by every channel' if left else 'told'}")
    listed = outbox.listed()
    for row in [*listed["waiting"], *listed["dead"]]:
        job.findings.append(f"{row['channel']}: {row.get('reason') or 'no answer in time'}")


def outcome(platform: str, results: Mapping[str, str], environ: Mapping[str, str], at_s: float) -> Notice:
    """The notice: critical when a deploy went wrong, a warning when a check did, else for information."""
    bad = [name for name, value in results.items() if value in BAD]
    deploys = [name for name in results if name.startswith("deploy")]
    done = [name.removeprefix("deploy_") for name in deploys if results[name] == "success"]
    severity = Severity.INFO if not bad else Severity.CRITICAL if set(bad) & set(deploys) else Severity.WARNING
    branch, commit = environ.get("GITHUB_REF_NAME", ""), environ.get("GITHUB_SHA", "")[:12]
    if bad:
        # A newer push cancels the checks of an older one: that is no failure, and what failed comes first.
        ended = [(word, [name.replace("_", "-") for name in sorted(bad) if results[name] == result])
                 for result, word in (("failure", "failed"), ("cancelled", "cancelled"))]  # fmt: skip
        title = f"{platform}: " + ", ".join(f"{', '.join(names)} {word}" for word, names in ended if names)
    elif done:
        title = f"{platform}: deployed to {', '.join(sorted(done))}"
    else:
        title = f"{platform}: all checks passed"
    server, repository, number = (environ.get(f"GITHUB_{x}", "") for x in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    facts = {name.replace("_", "-"): value for name, value in sorted(results.items())}
    return Notice(
        key=f"ci:{repository}:{number or at_s}:{environ.get('GITHUB_RUN_ATTEMPT', '1')}",
        severity=severity,
        title=title,
        text=" ".join(part for part in (branch and f"branch {branch}", commit and f"commit {commit}") if part),
        at_s=at_s,
        source="ci",
        link=f"{server}/{repository}/actions/runs/{number}" if number else None,
        facts=facts,
    )


def only_notify(raw: Mapping[str, Any], file: Path, environ: Mapping[str, str]) -> Topology:
    """The platform with the secrets of [notify] alone: this job is given no others. Raises ConfigError."""
    less = copy.deepcopy(dict(raw))
    for reference in list(references(less)):
        if reference.path[0] != "notify":
            place: Any = less
            for key in reference.path[:-1]:
                place = place[key]
            del place[reference.path[-1]]
    less["notify"] = {**less.get("notify", {}), "min_severity": Severity.INFO.value}
    found, missing = secrets.fetch(less, file.parent, environ)
    topology, wrong = examine(less, file=file, environment=None, secrets=found)
    lines = [mistake.line(file.name) for mistake in [*missing, *wrong]]
    if topology is None or lines:
        raise config_error(lines) if lines else NotifyError("the file cannot be read", hint="tenfold check")
    return topology
