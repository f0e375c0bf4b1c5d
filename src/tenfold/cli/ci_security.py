"""The job security: dependencies, code, secrets, and the workflows themselves. Edge."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from tenfold.cli import ci_place
from tenfold.cli.ci_advisories import Service, offline, resolved
from tenfold.cli.ci_check import lint
from tenfold.cli.ci_job import Job
from tenfold.errors import ConfigError, PlatformError
from tenfold.pipeline.dangers import dangers
from tenfold.pipeline.packages import inventory
from tenfold.pipeline.repository import Language, Repository
from tenfold.pipeline.tools import code_scan, secret_scans
from tenfold.pipeline.workflow import PATH

SCAN_S = 900.0
AT_ONCE = 500  # files that one call of the secret scanner gets: a command line has an end
# Lock files are full of checksums, which look like secrets and are none.
NO_SECRETS = (".lock", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", ".secrets.baseline",
              ".png", ".jpg", ".gif", ".ico", ".svg", ".woff2", ".pdf", ".zip", ".gz", ".whl")  # fmt: skip
ACCEPTED = ".tenfold-accepted"


def security(job: Job) -> None:
    """Look at all four; one that cannot be looked at is a finding, and the others are done as well."""
    repository = ci_place.repository(job.base)
    job.attempt("dependencies", lambda: look_at_dependencies(job, repository))
    job.attempt("code", lambda: look_at_code(job, repository))
    job.attempt("secrets", lambda: look_at_secrets(job, repository))
    job.attempt("workflow", lambda: look_at_workflows(job, repository))


def look_at_dependencies(job: Job, repository: Repository) -> None:
    """Known holes in what the lock files pin; what is pinned nowhere is resolved, or is a finding."""
    found = inventory(repository)
    packages, loose = set(found.packages), list(found.loose)
    others = [line for line in loose if line.startswith(("package.json:", "composer.json:"))]
    if pythons := sorted({line.partition(":")[0] for line in loose if line not in others}):
        # What is not pinned is what pip would install today.
        packages |= set(resolved(job.workshop, repository, pythons))
    for name in found.unread:
        job.findings.append(f"dependencies: {name} cannot be read, so what it pins cannot be looked up; write it anew")
    if found.elsewhere:
        job.told.append("dependencies: from an address, so nobody knows their holes: " + ", ".join(found.elsewhere))
    for line in others:
        job.findings.append(f"dependencies: {line} is not pinned, so it cannot be looked up; commit a lock file")
    records = job.options.get("offline_advisories")
    if records is not None:
        hits = offline(records, sorted(packages))
        source = f"{records.name}, a list of your own"
    else:
        service = Service(job.options.get("advisories"))  # with no packages it is not asked
        hits, source = service.ask(sorted(packages)), service.address
    accepted = _accepted(job.base)
    for hit in hits:
        if hit.id in accepted:
            job.told.append(f"dependencies: accepted: {hit}; {accepted[hit.id]}")
        else:
            job.findings.append(f"dependencies: {hit}")
    compared = f"{len(packages)} packages compared with {source}" if packages else "nothing is pinned or asked for"
    job.told.append(f"dependencies: {compared}")
    job.facts["packages"] = len(packages)


def _accepted(base: Path) -> dict[str, str]:
    """Advisories that a person has decided to live with: a line each, `ID reason`. One without a reason counts not."""
    text = ci_place.text_of(base / ACCEPTED) or ""
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}


def look_at_code(job: Job, repository: Repository) -> None:
    """Code that is dangerous whatever it is given."""
    workshop = job.workshop
    if Language.PYTHON in repository.languages:
        check = code_scan()
        code = workshop.show([workshop.find(check.tool), *check.argv[1:]], {}, SCAN_S)
        if code:
            job.findings.append(f"code: ruff's S rules ended with {code}; {check.hint}")
    for language in set(repository.languages) - {Language.PYTHON}:
        for name in repository.sources(language):
            job.findings += [
                f"code: {line}" for line in dangers(language, name, ci_place.text_of(job.base / name) or "")
            ]
    job.told.append("code: looked at " + ", ".join(str(one) for one in repository.languages))


def look_at_secrets(job: Job, repository: Repository) -> None:
    """Keys, tokens and passwords in the files; where they are is told, what they are is not."""
    names = [name for name in repository.files if not name.endswith(NO_SECRETS) and (job.base / name).is_file()]
    program = job.workshop.find("detect-secrets-hook")
    known = job.base / ".secrets.baseline"
    copy = job.workshop.own / "secrets.baseline"  # the scanner writes lines that have moved into it
    if known.is_file():
        shutil.copyfile(known, copy)
    job.run.say(f"$ detect-secrets-hook --json (on {len(names)} files)")
    for start in range(0, len(names), AT_ONCE):
        for check in secret_scans(tuple(names[start : start + AT_ONCE]), str(copy) if known.is_file() else None):
            for name, entry in _found([program, *check.argv[1:]], job.base):
                line = f"secrets: {name}:{entry.get('line_number')}: {entry.get('type')}; {check.hint}"
                job.findings.append(line)
    job.told.append(
        f"secrets: looked at {len(names)} files" + (", less those of .secrets.baseline" if known.is_file() else "")
    )


def _found(command: list[str], base: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        done = subprocess.run(
            command, cwd=base, capture_output=True, text=True, timeout=SCAN_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"detect-secrets could not be run: {error}") from None
    if done.returncode in (0, 3):  # 3: the baseline's lines have moved
        return []
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["results"]
    except (ValueError, KeyError, TypeError):
        why = (done.stderr + done.stdout).strip()[-500:]
        raise PlatformError(f"detect-secrets ended with {done.returncode}: {why}") from None
    found = [(name, entry) for name, entries in results.items() for entry in entries]
    if not found:
        raise PlatformError(
            f"detect-secrets ended with {done.returncode} and found nothing: {done.stderr.strip()[-500:]}"
        )
    return found


def look_at_workflows(job: Job, repository: Repository) -> None:
    """Every workflow of the repository, not only ours."""
    paths = [n for n in repository.matching(".github/workflows/*.y*ml") if n.endswith((".yml", ".yaml"))]
    for name in paths:
        job.attempt(f"workflow: {name}", partial(_workflow, job, name))
    job.told.append(f"workflow: looked at {len(paths)} files")


def _workflow(job: Job, name: str) -> None:
    text = ci_place.text_of(job.base / name)
    if text is None:
        raise ConfigError("it cannot be read", hint=f"ls -l {name}")
    found, loose = lint(job.base / name, text, job.workshop, rendered=name == PATH)
    job.findings += [f"workflow: {name}: {line}" for line in found]
    if loose:
        job.told.append(f"workflow: {name}: {len(loose)} actions held by a tag: {', '.join(loose)}; tenfold ci pin")
