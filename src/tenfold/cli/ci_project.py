"""Gets a project ready for its own tests: an environment, and what its lock files name. Edge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from tenfold.cli.ci_tools import Workshop
from tenfold.pipeline.repository import NODE_LOCKS, Language, Repository
from tenfold.pipeline.tools import IN_PROJECT, node_manager
from tenfold.topology.mistakes import texts

EXTRAS = ("dev", "test", "tests", "testing")
ASK_S = 60


def prepare(workshop: Workshop, repository: Repository) -> None:
    """Install what the project depends on, from its lock file where it has one. Raises PlatformError."""
    for language in repository.languages:
        {Language.PYTHON: _python, Language.NODE: _node, Language.PHP: _php}[language](workshop, repository)


def _python(workshop: Workshop, repository: Repository) -> None:
    place = workshop.python
    if place == workshop.base / ".venv":
        workshop.run.say("the project's own .venv is used as it is")
    elif repository.has("uv.lock"):
        workshop.must([workshop.find("uv"), "sync", "--locked", "--all-extras"], "uv sync failed")
    elif repository.has("poetry.lock"):
        workshop.make_environment(place)
        workshop.must([workshop.find("poetry"), "install", "--no-interaction"], "poetry install failed")
    else:
        asked = list(wanted(repository))
        if asked:
            workshop.install(place, asked)
        else:
            workshop.make_environment(place)


def wanted(repository: Repository) -> Iterator[str]:
    """What pip is asked to install for a test run: requirements files, the project itself, its groups."""
    for file in repository.requirements:
        yield from ("-r", file)
    project = repository.table("pyproject.toml", "project")
    optional = repository.table("pyproject.toml", "project", "optional-dependencies")
    extras = [name for name in EXTRAS if name in optional]
    if repository.is_package:
        yield from ("-e", ".[" + ",".join(extras) + "]" if extras else ".")
    else:
        for listed in (project.get("dependencies"), *(optional[name] for name in extras)):
            yield from (text for _, text in texts(listed))
    groups = repository.table("pyproject.toml", "dependency-groups")
    for name in EXTRAS:
        yield from _group(groups, name)


def _group(groups: Mapping[str, Any], name: str, within: tuple[str, ...] = ()) -> Iterator[str]:
    """What a dependency group asks for, with the groups that it includes."""
    for line in groups.get(name, ()) if name not in within else ():
        if isinstance(line, str):
            yield line
        elif isinstance(line, dict):
            yield from _group(groups, str(line.get("include-group", "")), (*within, name))


def test_tools(workshop: Workshop) -> None:
    """See to it that the project's Python has pytest and coverage: its own, or else pinned ones."""
    python = str(workshop.python / "bin" / "python")
    missing = []
    for name, pin in IN_PROJECT.items():
        there = subprocess.run(
            [python, "-c", f"import {name}"], cwd=workshop.own, capture_output=True, timeout=ASK_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if there.returncode:
            missing.append(pin)
    if missing:
        workshop.install(workshop.python, missing)


def _node(workshop: Workshop, repository: Repository) -> None:
    name, package = node_manager(repository)
    program = workshop.bring_with_npm(name, package) if package else workshop.find(name)
    manifest = repository.json("package.json")
    wanted = any(manifest.get(key) for key in ("dependencies", "devDependencies", "workspaces"))
    if (workshop.base / "node_modules").is_dir():
        workshop.run.say("the project's own node_modules is used as it is")
    elif name != "npm":
        locked = "--immutable" if "cli-dist" in package else "--frozen-lockfile"
        workshop.must(
            [program, "install", *([locked] if repository.has(*NODE_LOCKS) else [])], f"{name} install failed"
        )
    elif repository.has("package-lock.json", "npm-shrinkwrap.json"):
        workshop.must([workshop.find("npm"), "ci", "--no-audit", "--no-fund"], "npm ci failed")
    elif wanted:
        workshop.must([workshop.find("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock"],
                      "npm install failed")  # fmt: skip


def _php(workshop: Workshop, repository: Repository) -> None:
    manifest = repository.json("composer.json")
    asked = [*repository.table("composer.json", "require"), *repository.table("composer.json", "require-dev")]
    # Names without a slash are PHP itself and its extensions. vendor/autoload.php is composer's work, too.
    wanted = any("/" in name for name in asked) or not {"autoload", "autoload-dev"}.isdisjoint(manifest)
    if wanted and not (workshop.base / "vendor").is_dir():
        workshop.must([workshop.find("composer"), "install", "--no-interaction", "--no-progress", "--prefer-dist"],
                      "composer install failed")  # fmt: skip
