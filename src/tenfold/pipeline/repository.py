"""What a repository is made of, as its files say: languages, package managers, tests. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

# Files whose text is read, by name or pattern; everything else counts by its name alone.
MANIFESTS = (
    "pyproject.toml", "setup.cfg", "setup.py", "mypy.ini", ".coveragerc", ".python-version", "uv.lock", "poetry.lock",
    "requirements*.txt", "*requirements.txt", "requirements/*.txt", "requirements/*.lock", "manage.py",
    "package.json", "package-lock.json", "npm-shrinkwrap.json", ".nvmrc", "tsconfig.json",
    "composer.json", "composer.lock", "phpunit.xml", "phpunit.xml.dist",
)  # fmt: skip
TEST_REQUIREMENTS = re.compile(r"^(requirements/)?(requirements[-_.])?(dev|test|tests|ci)([-_.]requirements)?\.txt$")
OLDEST_PYTHON, USUAL_PYTHON, USUAL_NODE = (3, 11), "3.12", "22"


class Language(StrEnum):
    """What a repository may be written in."""

    PYTHON = "python"
    NODE = "node"
    PHP = "php"


NAMES = {Language.PYTHON: "Python", Language.NODE: "Node", Language.PHP: "PHP"}
SUFFIXES = {
    Language.PYTHON: (".py",),
    Language.NODE: (".js", ".cjs", ".mjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"),
    Language.PHP: (".php",),
}


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository by the names of its files, relative with slashes, and the texts of its manifests."""

    files: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        return any(name in self.files for name in names)

    def matching(self, pattern: str) -> list[str]:
        """Files whose whole path matches, `*` not crossing a slash."""
        depth = pattern.count("/")
        return [f for f in self.files if f.count("/") == depth and PurePosixPath(f).match(pattern)]

    def toml(self, name: str) -> dict[str, Any]:
        """A TOML manifest; empty where it is missing or broken: its own tool says what is wrong with it."""
        try:
            return tomllib.loads(self.texts.get(name, ""))
        except (tomllib.TOMLDecodeError, RecursionError):
            return {}

    def json(self, name: str) -> dict[str, Any]:
        """A JSON manifest; empty where it is missing or broken."""
        try:
            found = json.loads(self.texts.get(name, "") or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages whose manifest is at the root; else those that files at the root or in src/ are written in."""
        found = [
            (Language.PYTHON, self.has("pyproject.toml", "setup.py", "setup.cfg", "manage.py") or self.requirements),
            (Language.NODE, self.has("package.json")),
            (Language.PHP, self.has("composer.json", "phpunit.xml", "phpunit.xml.dist")),
        ]
        manifest = tuple(language for language, there in found if there)
        near = [f for f in self.files if f.count("/") == 0 or f.startswith("src/")]
        return manifest or tuple(one for one in Language if any(f.endswith(SUFFIXES[one]) for f in near))

    @property
    def requirements(self) -> list[str]:
        """Requirements files to install for a test run: the app's first, then those for development and tests."""
        main = [f for f in ("requirements.txt", "requirements/base.txt", "requirements/main.txt") if f in self.files]
        return main[:1] + sorted(f for f in self.files if TEST_REQUIREMENTS.match(f))

    @property
    def python_version(self) -> str:
        """The Python that the workflow sets up: what the repository asks for, if Tenfold runs on it."""
        asked = self.texts.get(".python-version", "") or str(
            self.toml("pyproject.toml").get("project", {}).get("requires-python", "")
        )
        found = re.search(r"3\.(\d+)", asked)
        return f"3.{found[1]}" if found and (3, int(found[1])) >= OLDEST_PYTHON else USUAL_PYTHON

    @property
    def node_version(self) -> str:
        """The major of Node that the workflow sets up."""
        asked = self.texts.get(".nvmrc", "") or str(self.json("package.json").get("engines", {}).get("node", ""))
        found = re.search(r"\d+", asked)
        return found[0] if found else USUAL_NODE

    def sources(self, language: Language) -> list[str]:
        """Files of a language, without what others wrote."""
        foreign = {"node_modules", "vendor", "site-packages", ".venv", "venv", "dist", "build", ".tenfold"}
        return [f for f in self.files if f.endswith(SUFFIXES[language]) and not foreign.intersection(f.split("/"))]
