"""Where a pipeline works: the repository, its workflow, and the directory of Tenfold's own. Edge."""

from __future__ import annotations

import codecs
import importlib.metadata
import os
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from tenfold.cli.options import Invocation
from tenfold.errors import ConfigError
from tenfold.pipeline.plan import Choices, Plan, plan
from tenfold.pipeline.repository import Repository, is_manifest
from tenfold.pipeline.workflow import PATH, choices_of, drawn
from tenfold.topology import files

LARGEST_MANIFEST = 32 * 1024 * 1024  # a lock file of thousands of packages
MOST_FILES = 200_000
GIT_S = 60
PASSED_OVER = {".git", ".tenfold", "node_modules", ".venv", "venv", "vendor", "var", "__pycache__"}


def root(run: Invocation) -> Path:
    """The directory of the file: the repository's root, where a workflow is of use."""
    return run.file.absolute().parent


def version() -> str:
    """Of the Tenfold that runs."""
    return importlib.metadata.version("tenfold")


def own_directory(base: Path) -> Path:
    """`.tenfold/ci` of a repository: tools, the project's environment, reports. Git does not see it."""
    made = base / ".tenfold" / "ci"
    try:
        made.mkdir(parents=True, exist_ok=True)
        ignore = made.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ConfigError(f"{made} cannot be made: {error.strerror}", hint=f"ls -ld {base}") from None
    return made


def repository(base: Path) -> Repository:
    """The files that git knows or would take, else all there are; with the texts of the manifests."""
    names = _tracked(base)
    if names is None:
        names = _walked(base)
    texts = {}
    for name in names:
        if is_manifest(name):
            text = text_of(base / name)
            if text is not None:
                texts[name] = text
    return Repository(tuple(sorted(names)), texts)


def text_of(path: Path, at_most: int = LARGEST_MANIFEST) -> str | None:
    """The text of a small regular file; None where it is none, or too large."""
    try:
        content, _ = files.read(path, at_most)
        # PowerShell writes `pip freeze > requirements.txt` in UTF-16, and pip reads it.
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig") if len(content) <= at_most else None
    except (OSError, ValueError):
        return None


def _tracked(base: Path) -> list[str] | None:
    """Files that git knows, or would take if asked to add all; None where there is no git or no repository.

    Of those that it does not know, what tools have put there (.venv, node_modules …) is left out.
    """
    try:
        listed = subprocess.run(
            ["git", "-C", str(base), "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard", "--", "."],
            capture_output=True, timeout=GIT_S, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    entries = [os.fsdecode(entry).split(" ", 1) for entry in listed.split(b"\0") if entry]
    names = {name for tag, name in entries if tag != "?" or not PASSED_OVER.intersection(name.split("/")[:-1])}
    return sorted(name for name in names if (base / name).is_file())  # deleted, and not yet committed as such


def _walked(base: Path) -> list[str]:
    found: list[str] = []
    for directory, inside, here in os.walk(base):
        inside[:] = sorted(name for name in inside if name not in PASSED_OVER)
        found += [str((Path(directory) / name).relative_to(base)) for name in here]
        if len(found) > MOST_FILES:
            raise ConfigError(
                f"{base} holds more than {MOST_FILES} files", hint="git init, so that it says which count"
            )
    return sorted(found)


def above(base: Path) -> Path | None:
    """The repository's root where that is another directory: GitHub reads workflows there alone."""
    try:
        told = subprocess.run(
            ["git", "-C", str(base), "rev-parse", "--show-toplevel"], capture_output=True, timeout=GIT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    top = Path(os.fsdecode(told.rstrip(b"\n")))
    return None if top == base.resolve() else top


def raw_file(run: Invocation) -> dict[str, Any]:
    """What the file holds. Raises ConfigError with every mistake in it; secrets are not asked for."""
    from tenfold.topology.parse import config_error, everywhere

    file = run.file.absolute()
    text = text_of(file)
    if text is None:
        raise ConfigError(
            f"{file.name}: there is no such file in {file.parent}", hint="tenfold init, or ci init --library"
        )
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file.name}: {error}", hint="tenfold check") from None
    mistakes = list(everywhere(raw, file=file))
    if mistakes:
        raise config_error([mistake.line(file.name) for mistake in mistakes])
    return raw


def planned(run: Invocation, choices: Choices) -> Plan:
    """What the workflow of this repository would be rendered from."""
    raw = None if choices.library else raw_file(run)
    return plan(raw, repository(root(run)), choices, version())


def workflow(base: Path) -> tuple[Path, str | None]:
    """Where the workflow is, and its text; None where there is none. Raises ConfigError where it cannot be read."""
    path = base / PATH
    if not path.exists() and not path.is_symlink():
        return path, None
    text = text_of(path, 1024 * 1024)
    if text is None:
        raise ConfigError(f"{path} is no text file of ordinary size", hint=f"ls -l {path}")
    return path, text


def choices_in(text: str) -> Choices | None:
    """The choices that a workflow was rendered with; None: Tenfold did not render it."""
    found = drawn(text)
    if found is None:
        return None
    try:
        return choices_of(shlex.split(found[1]))
    except ValueError:
        raise ConfigError(
            "the first line of the workflow is damaged", hint="tenfold ci init --yes, with options"
        ) from None
