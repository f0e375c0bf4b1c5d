"""tenfold ci init: writes the workflow for this platform, and never over a change without asking. Edge."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

import click

from tenfold.cli import ci_place
from tenfold.cli.options import Invocation, common
from tenfold.errors import ConfigError
from tenfold.pipeline.actions import USES, pinned
from tenfold.pipeline.lint import unpinned
from tenfold.pipeline.plan import DATABASES, Choices
from tenfold.pipeline.workflow import CHECKS, render


@click.command()
@click.option("--database", type=click.Choice(DATABASES), help="The server that tests run against.")
@click.option("--deploy", "deploys", multiple=True, metavar="ENV=BRANCH", help="Deploy ENV from BRANCH; repeat it.")
@click.option("--library/--no-library", default=None, help="No platform: tests, quality and security only.")
@click.option("--test", metavar="COMMAND", help="What the job test runs in place of Tenfold's own.")
@click.option("--quality", metavar="COMMAND", help="Likewise for quality.")
@click.option("--security", metavar="COMMAND", help="Likewise for security.")
@click.option(
    "--install", metavar="REQUIREMENT", help="What pip installs on the runner; default: this release, from its index."
)
@common
def init(
    run: Invocation,
    /,
    database: str | None,
    deploys: tuple[str, ...],
    library: bool | None,
    install: str | None,
    **commands: str | None,
) -> int | None:
    """Write .github/workflows/tenfold.yml for the platform of --file.

    Run again it renders with the same options, unless others are given. What would change is shown; a file that is
    there already is replaced only after a yes, or with --yes.
    """
    base = ci_place.root(run)
    path, old = ci_place.workflow(base)
    before = (ci_place.choices_in(old) if old is not None else None) or Choices()
    given = {job: commands[job] for job in CHECKS if commands.get(job) is not None}
    choices = Choices(
        database or before.database,
        _pairs(deploys) or before.deploy,
        {job: text for job, text in {**before.commands, **given}.items() if text},  # an empty one takes it back
        before.library if library is None else library,
        before.install if install is None else install,
    )
    plan = ci_place.planned(run, choices)
    text = keep_pins(render(plan), old or "")
    told = {"file": str(path), "languages": [str(one) for one in plan.languages], "unpinned": unpinned(text),
            "deploys": {target.environment: target.branch for target in plan.targets}}  # fmt: skip
    if old is not None and old.splitlines() == text.splitlines():  # git may have given it the ends of Windows' lines
        run.result({**told, "changed": False})
        run.say(f"{path} is as it would be written")
        return None
    if old is not None:
        difference = difflib.unified_diff(old.splitlines(), text.splitlines(), "is", "would be", lineterm="", n=2)
        run.say("\n".join(difference))
        if not run.yes and (run.json or not click.confirm(f"Replace {path}?", default=False, err=True)):
            raise ConfigError(f"{path} is another and was left as it is", hint="tenfold ci init --yes replaces it")
    write(path, text)
    run.result({**told, "changed": True})
    run.say(f"wrote {path}")
    if top := ci_place.above(base):
        run.warn(f"the repository begins at {top}, and GitHub reads workflows there alone: run it with a file there")
    _explain(run, told["deploys"], sorted({name for target in plan.targets for name in target.variables}),
             any(target.over_ssh for target in plan.targets), unpinned(text))  # fmt: skip
    return None


def keep_pins(text: str, old: str) -> str:
    """`text` with the commits that the old file has for the same tags: what `tenfold ci pin` found stays."""
    known = {}
    for found in USES.finditer(old):
        tag = (found["comment"] or "").strip().removeprefix("#").strip().partition(" ")[0]
        if tag and len(found["ref"]) == 40:
            known[found["action"], tag] = found["ref"]
    return pinned(text, known)


def write(path: Path, text: str) -> None:
    """Put a text in place in one step, with the directories above."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=".tenfold-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from None


def _pairs(deploys: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in deploys:
        name, separator, branch = text.partition("=")
        if not (name and separator and branch):
            raise click.UsageError(f"--deploy {text}: write ENV=BRANCH")
        pairs[name] = branch
    return pairs


def _explain(run: Invocation, deploys: object, variables: list[str], over_ssh: bool, loose: list[str]) -> None:
    if isinstance(deploys, dict) and deploys:
        run.say("In the repository's settings, under Environments, for each of: " + ", ".join(deploys))
        run.say("  protection: who must approve, and which branch may deploy to it")
        secrets = [*variables, *(["TENFOLD_SSH_KEY", "TENFOLD_KNOWN_HOSTS"] if over_ssh else [])]
        if secrets:
            run.say("  secrets: " + ", ".join(secrets))
        run.say("  variable: TENFOLD_HEALTH_URL, what must answer 200 after a deploy (default: from the file)")
    else:
        run.say(
            "nothing is deployed: the file has no environment staging or production; --deploy ENV=BRANCH names others"
        )
    if loose:
        run.say("held by a tag until `tenfold ci pin`: " + ", ".join(loose))
