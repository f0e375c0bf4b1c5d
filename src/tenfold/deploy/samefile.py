"""Whether a host has the tenfold.toml that the deployer has, by what it means, not by its bytes. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from tenfold.deploy.fitness import Finding

_IN_ORDER = frozenset({"hosts", "shards"})
"""Tables of which the order counts: backends are given to hosts in turn, and the first shard may hold the catalog."""
LONGEST_NAME = 40


def meaning(content: bytes) -> dict[str, Any] | None:
    """Top-level name → what it holds, comparable; None for what is no TOML."""
    try:
        raw = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return {name: _comparable(value, name) for name, value in raw.items()}


def of_file(host: str, path: str, start: str, ours: Mapping[str, Any], theirs: bytes | None) -> Finding:
    """Whether the file at `path` of a host says what ours does. Values are not shown: some are nobody's business.

    start   the command that starts the platform there
    ours    the meaning of the deployer's
    theirs  its content; None: there is none
    """
    found = None if theirs is None else meaning(theirs)
    if theirs is None:
        measured = f"is missing at {path}"
    elif found is None:
        measured = "is no TOML"
    else:
        names = [name for name in {**ours, **found} if ours.get(name) != found.get(name)]
        measured = f"differs in {', '.join(_shown(name) for name in names)}" if names else "is the deployer's"
    return Finding(
        host, "tenfold.toml", found is not None and found == ours, measured, "the deployer's",
        f"copy the deployer's to {path} on {host}, then end what runs there, and start it anew to read it: {start}",
    )  # fmt: skip


def _comparable(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        found = [(key, _comparable(one, key)) for key, one in value.items()]
        return found if name in _IN_ORDER else sorted(found, key=lambda entry: entry[0])
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    # 1 is 1.0 for all that the file sets, but not `true`; a number that is none is what it says.
    return (isinstance(value, bool), repr(value) if value != value else value)


def _shown(name: str) -> str:
    return f"[{name}]" if name.isprintable() and len(name) <= LONGEST_NAME else "a section that tenfold.toml has not"
