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

from tenfold.topology.mistakes import table

# Files whose text is read, by name or pattern; everything else counts by its name alone.
PYTEST_FILES = ("tox.ini", "pytest.ini", ".pytest.ini")
MANIFESTS = (
    "pyproject.toml", "setup.cfg", "setup.py", *PYTEST_FILES, "mypy.ini", ".coveragerc", ".python-version",
    "requirements*.txt", "requirements*.lock", "*requirements.txt", "requirements/*.txt", "requirements/*.lock",
    "package.json", ".nvmrc", ".node-version", "composer.json",
)  # fmt: skip
PYTHON_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock")
NPM_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
NODE_LOCKS = (*NPM_LOCKS, "yarn.lock", "pnpm-lock.yaml")
LOCKS = (*PYTHON_LOCKS, *NODE_LOCKS, "composer.lock")
# Directories of what others wrote, and of samples for tests.
FOREIGN = {"node_modules", "vendor", "site-packages", ".venv", "venv", "dist", "build", ".tenfold"}
SAMPLES = {"test", "tests", "__tests__", "spec", "fixtures"}
FOR_TESTS = "(?:dev|develop|development|local|test|tests|testing|ci)"
TEST_REQUIREMENTS = re.compile(
    rf"(requirements/(requirements[-_.])?{FOR_TESTS}|requirements[-_.]{FOR_TESTS}|{FOR_TESTS}[-_.]requirements)\.txt"
)
# Minors of Python 3 that Tenfold runs on, and what is set up where the repository does not say.
PYTHONS, USUAL_PYTHON, USUAL_NODE = range(11, 15), 12, "22"
BOUND = re.compile(r"(>=|<=|==|!=|~=|\^|~|<|>)?\s*3\.(\d+)(\.\d+)?")


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


def _allows(minor: int, sign: str, bound: str, patch: str) -> bool:
    """Whether a bound of PEP 440 or Poetry leaves a release of 3.`minor`, `patch` being what follows its own minor."""
    at = int(bound)
    if sign in (">=", "^") or (sign == "~=" and not patch) or (sign == ">" and patch):
        return minor >= at
    if sign in ("<", "<="):
        return minor <= at if patch else minor < at
    if sign == "!=":
        return bool(patch) or minor != at
    return minor > at if sign == ">" else minor == at


def is_lock(name: str) -> bool:
    """Whether a file pins what the project brings in: a lock file, at the root or below, that is no sample."""
    *directories, base = name.split("/")
    return base in LOCKS and not (FOREIGN | SAMPLES).intersection(directories)


def is_manifest(name: str) -> bool:
    """Whether the text of a file is read."""
    path = PurePosixPath(name)
    return is_lock(name) or any(path.match(one) and name.count("/") == one.count("/") for one in MANIFESTS)


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

    def table(self, name: str, *path: str) -> dict[str, Any]:
        """A table of a manifest; empty where there is none of that name, or something else in its place."""
        return table(self.json(name) if name.endswith(".json") else self.toml(name), *path)

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
        return main[:1] + sorted(f for f in self.files if TEST_REQUIREMENTS.fullmatch(f))

    def configures(self, tool: str) -> bool:
        """Whether pyproject.toml, setup.cfg or tox.ini holds a section of a tool: coverage, mypy, flake8 …"""
        ini = self.texts.get("setup.cfg", "") + "\n" + self.texts.get("tox.ini", "")
        section = re.search(rf"^\[(tool:)?{re.escape(tool)}[\]:-]", ini, re.MULTILINE)
        return tool in self.table("pyproject.toml", "tool") or section is not None

    @property
    def uses_pytest(self) -> bool:
        """Whether the project has chosen pytest to run its tests."""
        named = any(re.search(r"\bpytest[-_]django\b", text) for name, text in self.texts.items() if name != "tox.ini")
        return self.configures("pytest") or self.has("pytest.ini", ".pytest.ini", "conftest.py") or named

    @property
    def measures_itself(self) -> bool:
        """Whether pytest's own options start pytest-cov."""
        return any("--cov" in self.texts.get(name, "") for name in ("pyproject.toml", "setup.cfg", *PYTEST_FILES))

    @property
    def is_package(self) -> bool:
        """Whether pip can install the repository itself.

        A pyproject.toml without [build-system] only lists what an app depends on, unless the code lies in src/: then
        tests find it installed alone.
        """
        settings = self.toml("pyproject.toml")
        built = "build-system" in settings or bool(self.table("pyproject.toml", "tool", "poetry"))
        in_src = "project" in settings and any(f.startswith("src/") for f in self.files)
        return built or in_src or self.has("setup.py")

    @property
    def python_version(self) -> str:
        """The Python that the workflow sets up: what the repository asks for, if Tenfold runs on it."""
        said = (
            self.texts.get(".python-version", ""),
            self.table("pyproject.toml", "project").get("requires-python", ""),
            self.table("pyproject.toml", "tool", "poetry", "dependencies").get("python", ""),
            *(found[1] for name in ("setup.cfg", "setup.py")
              if (found := re.search(r"python_requires\s*=\s*['\"]?([^'\"\n]+)", self.texts.get(name, "")))),
        )  # fmt: skip
        bounds = BOUND.findall(next((str(one) for one in said if one), ""))
        # The oldest that is asked for by name, else the usual one, else any.
        named = [int(minor) for sign, minor, _ in bounds if not sign.startswith(("<", "!")) and int(minor) in PYTHONS]
        fitting = [minor for minor in (*sorted(named), USUAL_PYTHON, *PYTHONS)
                   if all(_allows(minor, *bound) for bound in bounds)]  # fmt: skip
        return f"3.{(*fitting, USUAL_PYTHON)[0]}"

    @property
    def node_version(self) -> str:
        """The major of Node that the workflow sets up."""
        asked = (
            self.texts.get(".nvmrc")
            or self.texts.get(".node-version")
            or str(self.table("package.json", "engines").get("node", ""))
        )
        found = re.search(r"\d+", re.sub(r"<=?\s*v?[\d.]+", "", asked))  # an upper bound names none to use
        return found[0] if found else USUAL_NODE

    def sources(self, language: Language) -> list[str]:
        """Files of a language, without what others wrote."""
        return [f for f in self.files if f.endswith(SUFFIXES[language]) and not FOREIGN.intersection(f.split("/"))]
