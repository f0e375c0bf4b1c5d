"""Environments: what one lays over the file, and to which of both a mistake belongs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tenfold.topology.mistakes import Mistake, table, walk
from tenfold.topology.schema import json_schema
from tenfold.topology.wording import unknown_key

Raw = dict[str, Any]
HOSTS = "hosts"
ENVIRONMENTS = "environments"


def sections() -> set[str]:
    """Names of the sections that an environment may lay over."""
    return set(json_schema()["properties"]) - {ENVIRONMENTS}


def names(raw: Raw) -> list[str]:
    """The environments of the file, in its order."""
    return list(table(raw, ENVIRONMENTS))


def seen_by(raw: Raw, environment: str | None) -> Raw:
    """The file as one environment sees it: tables merged, all else replaced; `environments` keeps the hosts alone."""
    base = {key: value for key, value in raw.items() if key != ENVIRONMENTS}
    merged = merge(base, _overlay(raw, environment)) if environment else base
    if ENVIRONMENTS not in raw:
        return merged
    given = raw[ENVIRONMENTS]
    hosts = {name: _hosts_only(env) for name, env in given.items()} if isinstance(given, dict) else given
    return {**merged, ENVIRONMENTS: hosts}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Raw:
    """`over` laid over `base`: tables key by key; arrays and values are replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def check(raw: Raw) -> Iterator[Mistake]:
    """Keys of environments that are neither hosts nor a section."""
    for name in names(raw):
        for key in table(raw, ENVIRONMENTS, name):
            if key != HOSTS and key not in sections():
                yield unknown_key((ENVIRONMENTS, name, key))


def attributed(mistake: Mistake, raw: Raw, environment: str) -> Mistake:
    """The mistake as made by the environment, if its own lines made it; else unchanged."""
    over = _overlay(raw, environment)
    base = {key: value for key, value in raw.items() if key != ENVIRONMENTS}
    in_over, in_base = len(walk(mistake.path, over)[0]), len(walk(mistake.path, base)[0])
    # What is missing in both stays with the file: there it can be mended for every environment.
    theirs = in_over == len(mistake.path) or in_over > in_base
    return replace(mistake, path=(ENVIRONMENTS, environment, *mistake.path)) if theirs else mistake


def _overlay(raw: Raw, environment: str | None) -> Raw:
    known = sections()
    return {k: v for k, v in table(raw, ENVIRONMENTS, environment or "").items() if k in known}


def _hosts_only(environment: object) -> object:
    return {k: v for k, v in environment.items() if k == HOSTS} if isinstance(environment, dict) else environment
