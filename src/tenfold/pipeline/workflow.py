"""The workflow for GitHub Actions, from a plan to its text. Pure.

What holds for every text that comes out of here: no permission at the top, each job with the least it needs and a
time-out; no value of GitHub's in a script; each job's work is one command, `tenfold ci run JOB`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from textwrap import indent

from tenfold.pipeline.actions import CHECKOUT, SETUP_NODE, SETUP_PYTHON, UPLOAD_ARTIFACT, Action
from tenfold.pipeline.plan import Choices, Plan, Target
from tenfold.pipeline.repository import NAMES, Language

PATH = ".github/workflows/tenfold.yml"
REPORTS = ".tenfold/ci/reports"
RUNNER = "ubuntu-24.04"
MARK = re.compile(r"^# Rendered by Tenfold (?P<version>\S+)(?: with: (?P<options>.*?))?\r?$", re.MULTILINE)
CHECKS = ("test", "quality", "security")
# A deploy has more than it, the health checks and a roll-back may take together: what is cut off rolls nothing back.
MINUTES = {"test": 30, "quality": 15, "security": 15, "deploy": 90, "notify": 10}

# Health checks: GitHub starts the job's steps when all services say that they are well. The database is empty, is
# reached from the runner alone and goes with it, so its account has no password: none stands in the file.
SERVICES = {
    "mariadb": """\
database:
  image: mariadb:11.4
  env:
    MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: "1"
    MARIADB_DATABASE: test
  ports: ["3306"]
  options: >-
    --health-cmd "healthcheck.sh --connect --innodb_initialized"
    --health-interval 5s --health-timeout 5s --health-retries 24
""",
    "mysql": """\
database:
  image: mysql:8.4
  env:
    MYSQL_ALLOW_EMPTY_PASSWORD: "1"
    MYSQL_DATABASE: test
  ports: ["3306"]
  options: >-
    --health-cmd "mysqladmin ping --protocol tcp --host 127.0.0.1"
    --health-interval 5s --health-timeout 5s --health-retries 24
""",
    "redis": """\
redis:
  image: redis:7.4
  ports: ["6379"]
  options: >-
    --health-cmd "redis-cli ping"
    --health-interval 5s --health-timeout 5s --health-retries 24
""",
}
PORT = "${{ job.services.%s.ports['%d'] }}"
WHERE_SERVICES_ARE = {
    "DATABASE_URL": f"mysql://root@127.0.0.1:{PORT % ('database', 3306)}/test",
    "DATABASE_HOST": "127.0.0.1",
    "DATABASE_PORT": PORT % ("database", 3306),
    "DATABASE_USER": "root",
    "DATABASE_NAME": "test",
    "REDIS_URL": f"redis://127.0.0.1:{PORT % ('redis', 6379)}/0",
}


def render(plan: Plan) -> str:
    """The text of .github/workflows/tenfold.yml; the same plan gives the same bytes."""
    jobs = [_check(plan, job) for job in CHECKS]
    jobs += [_deploy(plan, target) for target in plan.targets]
    if plan.notified is not None:
        jobs.append(_notify(plan))
    return _head(plan) + "jobs:\n" + "\n".join(indent(job, "  ") for job in jobs)


def drawn(text: str) -> tuple[str, str] | None:
    """(version, options) of the Tenfold that rendered the text; None: it was not Tenfold."""
    found = MARK.search(text)
    return (found["version"], found["options"] or "") if found else None


def _head(plan: Plan) -> str:
    options = plan.choices.line()
    languages = ", ".join(NAMES[one] for one in plan.languages)
    what = f"{plan.name} ({languages})" if plan.name else languages
    return f"""\
# Rendered by Tenfold {plan.version}{f" with: {options}" if options else ""}
# for {what}. Do not edit: change tenfold.toml or the options and run `tenfold ci init`,
# which shows what would change and asks. `tenfold ci check` compares and lints.
name: tenfold

on:
  push:
  pull_request:

permissions: {{}}

"""


def _check(plan: Plan, job: str) -> str:
    services = job == "test" and not plan.choices.library
    command = plan.choices.commands.get(job)
    run = f"tenfold ci run {job}" + (f" --command {shlex.quote(command)}" if command else "")
    text = f"""\
{job}:
  runs-on: {RUNNER}
  timeout-minutes: {MINUTES[job]}
  permissions:
    contents: read
  concurrency:
    group: {job}-${{{{ github.ref }}}}
    cancel-in-progress: true
"""
    if services:
        text += "  services:\n" + indent(SERVICES[plan.choices.database] + SERVICES["redis"], "    ")
    text += "  steps:\n" + _checkout() + _setup(plan, code=True)
    text += _step(job.capitalize(), run, WHERE_SERVICES_ARE if services else {})
    if job == "test":
        text += f"""\
    - name: Keep the reports
      if: ${{{{ !cancelled() }}}}
{_uses(UPLOAD_ARTIFACT)}      with:
        name: reports
        path: {REPORTS}
        include-hidden-files: true
        if-no-files-found: ignore
        retention-days: 14
"""
    return text


def _deploy(plan: Plan, target: Target) -> str:
    secrets = {name: f"${{{{ secrets.{name} }}}}" for name in target.variables}
    if target.over_ssh:
        secrets |= {name: f"${{{{ secrets.{name} }}}}" for name in ("TENFOLD_SSH_KEY", "TENFOLD_KNOWN_HOSTS")}
    secrets["TENFOLD_HEALTH_URL"] = "${{ vars.TENFOLD_HEALTH_URL }}"
    return f"""\
deploy-{target.environment}:
  needs: [{", ".join(CHECKS)}]
  if: ${{{{ github.event_name == 'push' && {_on(target.branch)} }}}}
  runs-on: {RUNNER}
  timeout-minutes: {MINUTES["deploy"]}
  permissions:
    contents: read
  # Its protection (who approves, which branches, its secrets) is set in the repository's settings.
  environment: {_word(target.environment)}
  # A deploy is never cancelled: half of one is worse than none. The next waits.
  concurrency:
    group: deploy-{target.environment}
    cancel-in-progress: false
  steps:
{_checkout(history=True)}{_setup(plan, code=False)}{
        _step(
            "Deploy, check health, roll back if it fails", f"tenfold ci run deploy --env {target.environment}", secrets
        )
    }"""


def _notify(plan: Plan) -> str:
    jobs = [*CHECKS, *(f"deploy-{target.environment}" for target in plan.targets)]
    branches = [target.branch for target in plan.targets]
    here = " || ".join(map(_on, branches))
    when = "always() && github.event_name == 'push'" + (f" && ({here})" if here else "")
    results = {f"RESULT_{job.upper().replace('-', '_')}": f"${{{{ needs.{job}.result }}}}" for job in jobs}
    secrets = {name: f"${{{{ secrets.{name} }}}}" for name in plan.notified or ()}
    return f"""\
notify:
  needs: [{", ".join(jobs)}]
  if: ${{{{ {when} }}}}
  runs-on: {RUNNER}
  timeout-minutes: {MINUTES["notify"]}
  permissions:
    contents: read
  concurrency:
    group: notify-${{{{ github.run_id }}}}
    cancel-in-progress: false
  steps:
{_checkout()}{_setup(plan, code=False)}{_step("Tell the outcome", "tenfold ci run notify", results | secrets)}"""


def _checkout(*, history: bool = False) -> str:
    # A release is a commit of the repository, wherever in its history: a deploy needs all of it.
    depth = "        fetch-depth: 0\n" if history else ""
    return f"    - name: Check out\n{_uses(CHECKOUT)}      with:\n        persist-credentials: false\n{depth}"


def _setup(plan: Plan, *, code: bool) -> str:
    text = f"""\
    - name: Set up Python
{_uses(SETUP_PYTHON)}      with:
        python-version: "{plan.python}"
"""
    if code and Language.NODE in plan.languages:
        text += f"""\
    - name: Set up Node
{_uses(SETUP_NODE)}      with:
        node-version: "{plan.node}"
"""
    return text + _step("Install Tenfold", f"python -m pip install --quiet {_argument(plan.install)}", {})


def _uses(action: Action) -> str:
    return f"      uses: {action.uses}\n"


def _step(name: str, run: str, environment: Mapping[str, str]) -> str:
    """A step that runs a command; what comes from GitHub comes by its environment, never by its text."""
    text = f"    - name: {name}\n      run: |\n        {run}\n"
    if environment:
        text += "      env:\n" + "".join(f"        {key}: {_quoted(value)}\n" for key, value in environment.items())
    return text


def _on(branch: str) -> str:
    """The expression that is true on a branch; a quote in a text of GitHub's is written twice."""
    return "github.ref == 'refs/heads/" + branch.replace("'", "''") + "'"


def _word(name: str) -> str:
    """A name as YAML takes it for a text, be it `on` or `null`."""
    return json.dumps(name) if name in ("null", "true", "false", "yes", "no", "on", "off", "y", "n") else name


def _argument(text: str) -> str:
    return f'"{text}"' if re.fullmatch(r"[\w .\[\]=+,-]+", text) else shlex.quote(text)


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"\$\{\{ [\w.]+ \}\}", value) else json.dumps(value)


def choices_of(options: list[str]) -> Choices:
    """The choices that the first line of a workflow names; what it does not know is left out."""
    deploy, commands, database, library, install = {}, {}, "mariadb", False, ""
    words = iter(options)
    for word in words:
        if word == "--library":
            library = True
        elif word == "--database":
            database = next(words, "mariadb")
        elif word == "--install":
            install = next(words, "")
        elif word == "--deploy":
            name, _, branch = next(words, "").partition("=")
            deploy[name] = branch
        elif word.removeprefix("--") in CHECKS:
            commands[word.removeprefix("--")] = next(words, "")
    return Choices(database, deploy, commands, library, install)
