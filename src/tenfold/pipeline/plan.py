"""What a workflow is rendered from: the platform, the repository, and what the user chose. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.errors import ConfigError
from tenfold.pipeline.repository import Language, Repository
from tenfold.topology import overlay
from tenfold.topology.references import references

# What git takes as the name of a branch (git-check-ref-format), less what would end an expression of GitHub's.
NO_BRANCH = re.compile(r"[\s~^:?*\[\\]|\.\.|@\{|//|^[-/]|/$|\.$|(^|/)\.|\.lock(/|$)|^@$|\}\}|\$\{\{")
USUAL_BRANCHES = {"staging": "develop", "production": "main"}
# Set on every runner: a secret of that name would take the place of what the commands need.
NEVER_SECRETS = {"GITHUB_TOKEN", "PATH", "HOME", "USER", "SHELL", "LANG", "TMPDIR", "CI"}
DATABASES = ("mariadb", "mysql")


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user may choose; kept in the first lines of the workflow, so that it can be rendered again.

    database  "mariadb" or "mysql": the server that tests run against
    deploy    environment → branch that it is deployed from; empty: staging from develop, production from main
    commands  job → the command that is run in place of Tenfold's own
    library   no platform: no services, nothing to deploy
    install   what pip installs to have Tenfold on the runner; "": this release, from the index
    """

    database: str = "mariadb"
    deploy: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    library: bool = False
    install: str = ""

    def options(self) -> list[str]:
        """As options of `tenfold ci init`."""
        given = ["--library"] if self.library else []
        given += ["--database", self.database] if self.database != "mariadb" else []
        for name, branch in self.deploy.items():
            given += ["--deploy", f"{name}={branch}"]
        for job, command in self.commands.items():
            given += [f"--{job}", command]
        given += ["--install", self.install] if self.install else []
        return given

    def line(self) -> str:
        return shlex.join(self.options())


@dataclass(frozen=True, slots=True)
class Target:
    """An environment that the workflow deploys. variables: secrets that its part of the file refers to."""

    environment: str
    branch: str
    variables: tuple[str, ...]
    over_ssh: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the text of the workflow.

    install    what pip installs to have Tenfold on the runner
    notified   secrets that [notify] refers to; None where there is no [notify]
    """

    name: str
    version: str
    choices: Choices
    languages: tuple[Language, ...]
    python: str
    node: str
    install: str
    targets: tuple[Target, ...] = ()
    notified: tuple[str, ...] | None = None


def plan(raw: Mapping[str, Any] | None, repository: Repository, choices: Choices, version: str) -> Plan:
    """Decide the workflow. raw: the file as TOML holds it, right already; None with `library`.

    Raises ConfigError for a branch that is none, an environment that is not in the file, a repository without code,
    and for choices that a line of a workflow cannot hold.
    """
    if not repository.languages:
        raise ConfigError(
            "there is no Python, Node or PHP here: no pyproject.toml, requirements.txt, package.json, composer.json or "
            "phpunit.xml at the top, and no source file there or in src/",
            hint="run it in the root of the repository",
        )
    for job, command in {**choices.commands, "install": choices.install}.items():
        if not command.isprintable() or "${{" in command:
            raise ConfigError(f"--{job}: the command holds a line break or ${{{{", hint="put it into a script")
    if choices.database not in DATABASES:
        raise ConfigError(
            f"--database {choices.database}: that is none", hint=f"tenfold ci init --database {DATABASES[0]}"
        )
    own = repository.table("pyproject.toml", "project").get("name") == "tenfold"
    raw = dict(raw or {})
    return Plan(
        name=str(raw.get("platform", {}).get("name", "")),
        version=version,
        choices=choices,
        languages=repository.languages,
        python=repository.python_version,
        node=repository.node_version,
        install=choices.install or ("-e .[ci]" if own else f"tenfold[ci]=={version}"),
        targets=tuple(_targets(raw, choices)),
        notified=_variables(raw, None, ("notify",)) if raw.get("notify") else None,
    )


def _targets(raw: dict[str, Any], choices: Choices) -> Sequence[Target]:
    known = overlay.names(raw)
    wanted = dict(choices.deploy) or {name: USUAL_BRANCHES[name] for name in USUAL_BRANCHES if name in known}
    targets = []
    for name, branch in wanted.items():
        if name not in known:
            raise ConfigError(
                f"--deploy {name}={branch}: the file has no environment {name!r} (has: {', '.join(known) or 'none'})",
                hint=f"add [environments.{name}] to the file",
            )
        if not branch.isprintable() or not branch or NO_BRANCH.search(branch):
            raise ConfigError(f"--deploy {name}={branch}: that is no name of a branch", hint="write NAME=BRANCH")
        hosts = bool(raw["environments"][name].get("hosts"))
        targets.append(Target(name, branch, _variables(raw, name), hosts))
    if len({target.branch for target in targets}) < len(targets):
        raise ConfigError("two environments would be deployed from one branch", hint="--deploy NAME=BRANCH for each")
    return targets


def _variables(raw: dict[str, Any], environment: str | None, within: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of the variables that hold the secrets of the file, as the environment sees it."""
    seen = overlay.seen_by(raw, environment)
    found = {one.variable for one in references(seen) if one.variable and one.path[: len(within)] == within}
    return tuple(sorted(found - NEVER_SECRETS))
