"""What installs the dependencies of a release, by the files that it has. Pure."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

VENV = (("{host_python}", "-m", "venv", ".venv"),)
PIP = ("{python}", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--quiet")
_OPTION = re.compile(r"\s*-")


@dataclass(frozen=True, slots=True)
class Install:
    """Commands to run in the release, in order, and what they need of the host.

    because   the file that asks for them
    programs  that the host must have besides its Python
    """

    because: str
    commands: tuple[tuple[str, ...], ...]
    programs: tuple[str, ...] = ()


def asked_for(top: frozenset[str], project: str) -> list[Install]:
    """What the files ask for; nothing where there are none of these.

    top      names in the release's first directory
    project  text of its pyproject.toml
    """
    found = list[Install]()
    if "uv.lock" in top and "requirements.txt" not in top:
        sync = ("uv", "sync", "--frozen", "--no-dev", "--quiet", "--python", "{host_python}")
        found.append(Install("uv.lock", (sync,), ("uv",)))
    elif "requirements.txt" in top:
        found.append(Install("requirements.txt", (*VENV, (*PIP, "-r", "requirements.txt"))))
    elif wanted := _of_project(project, top):
        because = "pyproject.toml" if "pyproject.toml" in top else "setup.py"
        found.append(Install(because, (*VENV, (*PIP, *wanted))))
    if "package-lock.json" in top:
        found.append(Install("package-lock.json", (("npm", "ci", "--no-audit", "--no-fund"),), ("node", "npm")))
    if "composer.lock" in top:
        composer = ("composer", "install", "--no-dev", "--no-interaction", "--prefer-dist", "--optimize-autoloader")
        found.append(Install("composer.lock", (composer,), ("php", "composer")))
    return found


_NEEDS = (
    ("package.json", ("package-lock.json",)),
    ("composer.json", ("composer.lock",)),
    ("Pipfile", ("requirements.txt", "uv.lock", "pyproject.toml")),
    ("environment.yml", ("requirements.txt", "uv.lock", "pyproject.toml")),
    ("Gemfile", ()),
)


def passed_over(top: frozenset[str]) -> str:
    """What asks for dependencies in a way that nothing here installs, for the person who deploys; "": nothing does."""
    left = [(name, locks) for name, locks in _NEEDS if name in top and not top & {*locks}]
    return "; ".join(
        f"NOT installed: what {name} asks for; "
        + (f"commit {locks[0]}, or write deploy.install" if locks else "write deploy.install")
        for name, locks in left
    )


def _of_project(text: str, top: frozenset[str]) -> tuple[str, ...]:
    """What pip is given: the project itself where it can be built, else its dependencies; () for neither."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ()
    project, tool = table.get("project"), table.get("tool")
    old = bool(top & {"setup.py", "setup.cfg"}) and ("setup.py" in top or "build-system" in table)
    # Poetry before 2.0 knows no [project]; setuptools before that no pyproject.toml.
    if old or ("build-system" in table and isinstance(tool, dict) and "poetry" in tool):
        return (".",)
    if not isinstance(project, dict):
        return ()
    if "build-system" in table:
        return (".",)
    listed = project.get("dependencies", [])
    if not isinstance(listed, list):
        return ()
    # A dependency that begins with a dash would be an option of pip.
    return tuple(one for one in listed if isinstance(one, str) and one and not _OPTION.match(one))
