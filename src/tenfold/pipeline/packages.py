"""Which packages a repository brings in, as its lock files pin them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenfold.pipeline.repository import Repository

PIN = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*===?\s*([^\s;#\\,*]+)\s*(?:[;#\\].*|--hash.*)?$")
OTHER = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One release of a package. ecosystem: as OSV names it: PyPI, npm, Packagist."""

    ecosystem: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.ecosystem})"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a repository brings in. loose: what it asks for without saying which release, with the file."""

    packages: tuple[Package, ...]
    loose: tuple[str, ...]


def inventory(repository: Repository) -> Inventory:
    """The packages that the lock files pin; a manifest counts as loose where no lock file stands beside it."""
    packages: set[Package] = set()
    loose: list[str] = []
    for name in sorted(repository.files):
        text = repository.texts.get(name, "")
        base = name.rpartition("/")[2]
        if base in ("uv.lock", "poetry.lock"):
            packages.update(_toml_lock(repository, name))
        elif base in ("package-lock.json", "npm-shrinkwrap.json"):
            packages.update(_npm_lock(repository, name))
        elif base == "composer.lock":
            packages.update(_composer_lock(repository, name))
        elif name in repository.texts and (base.endswith("requirements.txt") or _is_requirements(name)):
            pinned, others = requirements(text)
            packages.update(pinned)
            loose += [f"{name}: {other}" for other in others]
    return Inventory(tuple(sorted(packages)), (*loose, *_unlocked(repository)))


def _is_requirements(name: str) -> bool:
    return name.startswith(("requirements/", "requirements")) and name.endswith((".txt", ".lock"))


def normal(name: str) -> str:
    """A Python package's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(text: str) -> tuple[list[Package], list[str]]:
    """(what a requirements file pins, what it asks for otherwise). Options, URLs and local paths are neither."""
    pinned, others = [], []
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = line.split(" #")[0].strip()
        if not line or line.startswith(("#", "-", ".", "/")) or "@" in line.split(";")[0]:
            continue
        if found := PIN.match(line):
            pinned.append(Package("PyPI", normal(found[1]), found[2]))
        elif found := OTHER.match(line):
            others.append(found[1])
    return pinned, others


def _toml_lock(repository: Repository, name: str) -> Iterator[Package]:
    for entry in repository.toml(name).get("package", ()):
        local = isinstance(entry.get("source"), dict) and set(entry["source"]) & {"editable", "virtual", "directory"}
        if "version" in entry and not local:
            yield Package("PyPI", normal(str(entry["name"])), str(entry["version"]))


def _npm_lock(repository: Repository, name: str) -> Iterator[Package]:
    for path, entry in repository.json(name).get("packages", {}).items():
        if path and isinstance(entry, dict) and "version" in entry and not entry.get("link"):
            yield Package("npm", str(entry.get("name") or path.rpartition("node_modules/")[2]), str(entry["version"]))


def _composer_lock(repository: Repository, name: str) -> Iterator[Package]:
    lock = repository.json(name)
    for entry in [*lock.get("packages", ()), *lock.get("packages-dev", ())]:
        yield Package("Packagist", str(entry["name"]).lower(), str(entry["version"]).removeprefix("v"))


def _unlocked(repository: Repository) -> Iterator[str]:
    """What manifests ask for where nothing beside them says which release that is."""
    project = repository.toml("pyproject.toml").get("project", {})
    locked = repository.has("uv.lock", "poetry.lock") or any(
        _is_requirements(name) and requirements(text)[0] for name, text in repository.texts.items()
    )
    if not locked:
        for text in project.get("dependencies", ()):
            if not requirements(str(text))[0] and (found := OTHER.match(str(text))):
                yield f"pyproject.toml: {found[1]}"
    if not repository.has("package-lock.json", "npm-shrinkwrap.json"):
        manifest = repository.json("package.json")
        for name in {**manifest.get("dependencies", {}), **manifest.get("devDependencies", {})}:
            yield f"package.json: {name}"
    if not repository.has("composer.lock"):
        for name in repository.json("composer.json").get("require", {}):
            if "/" in name:
                yield f"composer.json: {name}"
