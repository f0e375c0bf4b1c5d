"""Which packages a repository brings in, as its lock files pin them. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.pipeline import node_locks
from tenfold.pipeline.repository import NODE_LOCKS, NPM_LOCKS, PYTHON_LOCKS, Repository, is_lock, is_manifest

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
    """What a repository brings in.

    loose      what it asks for without saying which release, with the file
    unread     lock files that are there and tell nothing: broken, too large, or of an unknown form
    elsewhere  what comes from an address in place of an index, with the file: no service knows its holes
    """

    packages: tuple[Package, ...]
    loose: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


def inventory(repository: Repository) -> Inventory:
    """The packages that the lock files pin; a manifest counts as loose where no lock file stands beside it."""
    packages: set[Package] = set()
    loose: list[str] = []
    unread: list[str] = []
    elsewhere: list[str] = []
    for name in sorted(repository.files):
        base = name.rpartition("/")[2]
        if is_lock(name):
            pins = _locked(base, repository, name)
            packages.update(pins or ())
            unread += [name] if pins is None else []
        elif is_manifest(name) and _is_requirements(name):
            text = repository.texts.get(name)
            pinned, others, foreign = requirements(text or "")
            packages.update(pinned)
            loose += [f"{name}: {other}" for other in others]
            unread += [name] if text is None else []
            elsewhere += [f"{name}: {one}" for one in foreign]
    return Inventory(tuple(sorted(packages)), (*loose, *_unlocked(repository)), tuple(unread), tuple(elsewhere))


def _locked(base: str, repository: Repository, name: str) -> list[Package] | None:
    """What a lock file pins; None where it tells nothing."""
    text = repository.texts.get(name, "")
    try:
        if base in PYTHON_LOCKS:
            return list(_toml_lock(tomllib.loads(text))) if text else None
        if base == "composer.lock":
            return list(_composer_lock(json.loads(text)))
        if base in NPM_LOCKS:
            pins = node_locks.npm(json.loads(text))
        else:
            pins = node_locks.yarn(text) if base == "yarn.lock" else node_locks.pnpm(text)
        return None if pins is None else [Package("npm", package, version) for package, version in pins]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_requirements(name: str) -> bool:
    here = name.startswith("requirements") and name.endswith((".txt", ".lock"))
    return here or ("/" not in name and name.endswith("requirements.txt"))


def normal(name: str) -> str:
    """A Python package's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(text: str) -> tuple[list[Package], list[str], list[str]]:
    """(what a requirements file pins, what it asks for otherwise, what it takes from an address).

    Options and local paths are none of these.
    """
    pinned, others, foreign = [], [], []
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.split(r"\s#", line)[0].strip()
        line = re.sub(r"^(-e|--editable)[\s=]+(?=\S+://)", "", line)
        if not line or line.startswith(("#", "-", ".", "/")):
            continue
        if "://" in line.split(" ;")[0]:
            # What stands before an address, or the address itself, without what may be a password in it.
            foreign.append(re.sub(r"//[^/@\s]*@", "//", line.partition(" @ ")[0]).split()[0])
        elif "@" in line.split(";")[0]:
            continue
        elif found := PIN.match(line):
            pinned.append(Package("PyPI", normal(found[1]), found[2]))
        elif found := OTHER.match(line):
            others.append(found[1])
    return pinned, others, foreign


def _toml_lock(lock: Mapping[str, Any]) -> Iterator[Package]:
    for entry in lock.get("package", ()):
        local = isinstance(entry.get("source"), dict) and set(entry["source"]) & {"editable", "virtual", "directory"}
        if "version" in entry and not local:
            yield Package("PyPI", normal(str(entry["name"])), str(entry["version"]))


def _composer_lock(lock: Mapping[str, Any]) -> Iterator[Package]:
    for entry in [*lock["packages"], *lock.get("packages-dev", ())]:
        yield Package("Packagist", str(entry["name"]).lower(), str(entry["version"]).removeprefix("v"))


def _unlocked(repository: Repository) -> Iterator[str]:
    """What manifests ask for where nothing beside them says which release that is."""
    locked = repository.has(*PYTHON_LOCKS) or any(
        _is_requirements(name) and requirements(text)[0] for name, text in repository.texts.items()
    )
    if not locked:
        yield from _python_manifests(repository)
    if not repository.has(*NODE_LOCKS):
        for name in {**repository.table("package.json", "dependencies"),
                     **repository.table("package.json", "devDependencies")}:  # fmt: skip
            yield f"package.json: {name}"
        if "workspaces" in repository.json("package.json") or repository.has("pnpm-workspace.yaml"):
            yield "package.json: what the workspaces ask for"
    if not repository.has("composer.lock"):
        for name in (*repository.table("composer.json", "require"), *repository.table("composer.json", "require-dev")):
            if "/" in name:
                yield f"composer.json: {name}"


def _python_manifests(repository: Repository) -> Iterator[str]:
    project = repository.table("pyproject.toml", "project")
    asked = project.get("dependencies", ())
    for text in asked if isinstance(asked, list) else ():
        if not requirements(str(text))[0] and (found := OTHER.match(str(text))):
            yield f"pyproject.toml: {found[1]}"
    for name in repository.table("pyproject.toml", "tool", "poetry", "dependencies"):
        if name != "python":
            yield f"pyproject.toml: {name}"
    for name in ("setup.py", "setup.cfg"):
        if "install_requires" in repository.texts.get(name, ""):
            yield f"{name}: install_requires"
