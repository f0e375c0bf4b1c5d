"""tenfold ci run: does what a job of the workflow does, on this machine. Edge."""

from __future__ import annotations

import importlib
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tenfold.cli import ci_place
from tenfold.cli.ci_job import Job
from tenfold.cli.options import Invocation, common
from tenfold.errors import TenfoldError

COMMAND_S = 3000.0
# Each takes a Job and adds to its findings; imported when it is run.
JOBS = {
    "test": "tenfold.cli.ci_test:test",
    "quality": "tenfold.cli.ci_quality:quality",
    "security": "tenfold.cli.ci_security:security",
    "deploy": "tenfold.cli.ci_deploy:deploy",
    "health": "tenfold.cli.ci_deploy:health",
    "notify": "tenfold.cli.ci_notify:notify",
}


@click.command()
@click.argument("name", metavar="JOB", type=click.Choice(list(JOBS)))
@click.option("--command", metavar="COMMAND", help="Run this in place of what Tenfold would run.")
@click.option("--min-coverage", type=click.FloatRange(0, 100), help="Fail below so many percent of the lines.")
@click.option(
    "--offline-advisories", envvar="TENFOLD_OFFLINE_ADVISORIES", metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="OSV records (JSON) to compare the packages with, in place of the service.",
)  # fmt: skip
@click.option("--advisories", metavar="URL", envvar="TENFOLD_ADVISORIES", help="The OSV service; default: api.osv.dev.")
@click.option("--url", envvar="TENFOLD_HEALTH_URL", help="What must answer 200 after a deploy; default: from the file.")
@click.option("--dry-run", is_flag=True, envvar="TENFOLD_DRY_RUN", help="Of deploy: show the plan, change nothing.")
@common
def run(run: Invocation, /, name: str, **options: Any) -> int:
    """Run one job: test, quality, security, deploy, health or notify.

    It prints each command that it runs. Tools are the project's own where it has them, else pinned ones in
    .tenfold/ci. Exit code 1: something was found, or could not be looked at.
    """
    job = Job(name, run, ci_place.root(run), options)
    module, _, attribute = JOBS[name].partition(":")
    act: Callable[[Job], None] = getattr(importlib.import_module(module), attribute)
    try:
        if options["command"] is not None:
            _command(job, options["command"])
        else:
            act(job)
    except TenfoldError as error:
        # It ends the job, with its own exit code; the page of the run says so as well.
        job.findings.append(f"{error}" + (f" (try: {error.hint})" if error.hint else ""))
        _summary(job)
        raise
    _summary(job)
    run.result({"job": name, "ok": not job.findings, "findings": job.findings, **job.facts})
    for line in job.told:
        run.say(line)
    for line in job.findings:
        if not run.json:
            click.echo(f"found: {line}", err=True)
    run.say(f"{name}: {'passed' if not job.findings else f'failed, {len(job.findings)} findings'}")
    return 1 if job.findings else 0


def _command(job: Job, text: str) -> None:
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"--command: {error}") from None
    if not argv:
        raise click.UsageError("--command: it is empty")
    code = job.workshop.show(argv, {}, COMMAND_S)
    if code:
        job.findings.append(f"{text}: ended with {code}")
    if job.name == "test":
        from tenfold.cli.ci_test import tell_coverage

        tell_coverage(job)


def _summary(job: Job) -> None:
    """Add to the page of the run, where GitHub shows one."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return
    lines = [f"### {job.name}: {'passed' if not job.findings else 'failed'}", ""]
    lines += [f"- {_escaped(line)}" for line in [*job.told, *job.findings[:50]]]
    if len(job.findings) > 50:
        lines.append(f"- and {len(job.findings) - 50} more")
    with suppress(OSError), Path(page).open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n\n")


def _escaped(line: str) -> str:
    """A line of plain text as Markdown that shows it: file names are other people's."""
    shown = line.replace("\n", " ")[:500]
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in shown)
