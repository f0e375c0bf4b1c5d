"""The job quality: lint, style and types. Edge."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tenfold.cli import ci_place
from tenfold.cli.ci_job import Job
from tenfold.cli.ci_project import prepare
from tenfold.cli.ci_tools import Workshop
from tenfold.errors import PlatformError
from tenfold.pipeline.repository import Language
from tenfold.pipeline.tools import Check
from tenfold.pipeline.tools import quality as checks

CHECK_S, FILE_S = 900.0, 60.0


def quality(job: Job) -> None:
    """Run every check; one that fails does not keep the others from being run."""
    repository, workshop = ci_place.repository(job.base), job.workshop
    job.attempt("dependencies", lambda: prepare(workshop, repository))
    planned = list(checks(repository))
    for check in [check for check in planned if check.name != "syntax"]:
        job.attempt(check.name, partial(_one, job, workshop, check))
    syntax = [check for check in planned if check.name == "syntax"]
    if syntax:
        job.attempt("syntax", partial(_files, job, workshop, syntax))
    if not planned:
        job.findings.append(
            "there is nothing here that could be checked; add a linter to the project (to package.json: a script "
            '"lint"), or name a command: tenfold ci init --quality COMMAND'
        )
    for language in repository.languages:
        names = {check.name for check in planned}
        if language is not Language.PYTHON and "types" not in names:
            job.told.append(f"types: the project has no tool for {language}")


def _one(job: Job, workshop: Workshop, check: Check) -> None:
    command = [workshop.find(check.tool), *check.argv[1:]]
    extra: dict[str, str] = {}
    if check.tool == "mypy" and (workshop.python / "bin" / "python").exists():
        command[1:1] = ["--python-executable", str(workshop.python / "bin" / "python"), "--cache-dir",
                        str(workshop.own / "mypy")]  # fmt: skip
    code = workshop.show(command, extra, CHECK_S)
    if code:
        # A tool that Tenfold brought is on nobody's PATH: the remedy names it where it lies.
        program, _, rest = check.hint.partition(" ")
        brought = program == check.tool and not shutil.which(program)
        hint = f"{command[0].removeprefix(f'{job.base}/')} {rest}" if brought else check.hint
        job.findings.append(f"{check.name} ({check.tool}) ended with {code}; try: {hint}")
    else:
        job.told.append(f"{check.name}: {check.tool} found nothing")


def _files(job: Job, workshop: Workshop, planned: list[Check]) -> None:
    """Check the syntax of single files: too many to show each command."""
    programs = {tool: workshop.find(tool) for tool in {check.tool for check in planned}}

    def wrong(check: Check) -> str | None:
        try:
            done = subprocess.run(
                [programs[check.tool], *check.argv[1:]], cwd=job.base, capture_output=True, text=True, timeout=FILE_S,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformError(f"{check.tool} could not be run: {error}") from None
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        return f"syntax: {check.argv[-1]}: {' '.join(said)[:400]}" if done.returncode else None

    with ThreadPoolExecutor(2) as pool:
        found = [line for line in pool.map(wrong, planned) if line]
    job.findings += found
    if not found:
        job.told.append(f"syntax: {len(planned)} files are right")
