"""Which packages the lock files of npm, Yarn and pnpm pin, each in its forms. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# (name, version) of each package of the registry; what comes from elsewhere, or is the project's own, is left out.
Pins = Iterator[tuple[str, str]]

SPEC = re.compile(r"(?P<name>@?[^@\s]+)@(?P<wanted>.+)")
LOCAL = ("file:", "link:", "portal:", "workspace:")


def npm(lock: Mapping[str, Any]) -> Pins | None:
    """package-lock.json: `packages` from npm 7 on, a tree of `dependencies` before; None where it has neither form."""
    packages = lock.get("packages")
    if isinstance(packages, dict):
        return _flat(packages)
    return _tree(lock.get("dependencies", {})) if "lockfileVersion" in lock else None


def _flat(packages: Mapping[str, Any]) -> Pins:
    for path, entry in packages.items():
        # A path without node_modules is a workspace: the project itself.
        if "node_modules/" in path and isinstance(entry, dict) and "version" in entry and not entry.get("link"):
            yield str(entry.get("name") or path.rpartition("node_modules/")[2]), str(entry["version"])


def _tree(dependencies: object) -> Pins:
    for name, entry in dependencies.items() if isinstance(dependencies, dict) else ():
        if not isinstance(entry, dict):
            continue
        version = str(entry.get("version", ""))
        if alias := SPEC.fullmatch(version.removeprefix("npm:")):
            name, version = alias["name"], alias["wanted"]
        if version[:1].isdigit():
            yield name, version
        yield from _tree(entry.get("dependencies", {}))


def yarn(text: str) -> Pins | None:
    """yarn.lock: of Yarn 1, and the YAML of later ones; None where it is neither."""
    if "# yarn lockfile v1" in text:
        return _yarn_1(text)
    return _berry(text) if re.search(r"^__metadata:", text, re.MULTILINE) else None


def _yarn_1(text: str) -> Pins:
    entry = re.compile(r'^"?(?P<key>[^\s#"][^,"\n]*).*:\r?\n  version "(?P<version>[^"]+)"', re.MULTILINE)
    for found in entry.finditer(text):
        spec = SPEC.fullmatch(found["key"].rstrip(":"))
        if spec is None or spec["wanted"].startswith(LOCAL):
            continue
        alias = SPEC.fullmatch(spec["wanted"].removeprefix("npm:")) if spec["wanted"].startswith("npm:") else None
        yield (alias or spec)["name"], found["version"]


def _berry(text: str) -> Pins:
    # NAME@npm:VERSION; a patched package is still the one that was patched.
    for found in re.finditer(r'^  resolution: "?(?P<name>@?[^@\s]+)@(?P<rest>[^"\n]+?)"?\r?$', text, re.MULTILINE):
        release = re.match(r"(?:patch:.*@)?npm(?::|%3A)(?P<version>[\w.+-]+)", found["rest"])
        if release:
            yield found["name"], release["version"]


def pnpm(text: str) -> Pins | None:
    """pnpm-lock.yaml: the keys below `packages:`, whose form has changed twice; None where it is none."""
    form = re.search(r"^lockfileVersion: *'?(\d+)", text, re.MULTILINE)
    return _pnpm(text, int(form[1])) if form else None


def _pnpm(text: str, form: int) -> Pins:
    section = re.search(r"^packages:\r?\n((?: .*\n?|\r?\n)*)", text, re.MULTILINE)
    for key in re.findall(r"^  '?([^\s'].*?)'?:(?: \{.*\})?\r?$", section[1] if section else "", re.MULTILINE):
        plain = key.lstrip("/").partition("(")[0]  # in brackets: for which peers
        if form < 6:  # /NAME/VERSION_PEERS
            name, _, version = plain.partition("_")[0].rpartition("/")
        else:
            name, _, version = plain.rpartition("@")
        if name and version[:1].isdigit():
            yield name, version
