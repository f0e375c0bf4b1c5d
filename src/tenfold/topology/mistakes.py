"""A mistake in the file: where it is, what is wrong, what to write. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.topology import toml

Path = tuple[str | int, ...]

SECRET_KEY = re.compile(r"(?i)pass(word|wd|phrase)")
LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Mistake:
    """One line for the user. `remedy` is a clause that says what to do: "write weight = 1"."""

    path: Path
    problem: str
    remedy: str

    def line(self, file: str) -> str:
        """`tenfold.toml: app.backends[0].weight: is 0, …; write …`, always a single line."""
        where = toml.dotted(self.path)
        return ": ".join(part for part in (file, where, f"{self.problem}; {self.remedy}") if part)


def shown(value: object) -> str:
    """A value as it may stand in a message: short, on one line, escaped, the account of an address left out."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            value = _without_account(value)
            return toml.text(value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…")
        case int():
            # Python refuses to write an int of thousands of digits, and nobody wants to read one.
            return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
        case float():
            return repr(value)
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def is_secret(path: Path) -> bool:
    """Tell whether the value at `path` may hold a secret, so that no message may show it."""
    return path[:2] == ("app", "environment") or bool(path and SECRET_KEY.search(str(path[-1])))


def _without_account(value: str) -> str:
    # A password may itself hold "/" or "@": all up to the last "@" goes, and so does a query.
    if "://" not in value:
        return value
    return re.sub(r"(?s)\?.*", "?…", re.sub(r"(?s)://.*@", "://…@", value))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    found = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.7)
    return found[0] if found else None


def table(raw: object, *path: str) -> dict[str, Any]:
    """The table at `path`, or an empty one where there is none: checks look past what is broken elsewhere."""
    for step in path:
        raw = raw.get(step) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def texts(raw: object) -> Iterator[tuple[int, str]]:
    """(position, text) of each text in an array; none where it is no array."""
    for position, item in enumerate(raw if isinstance(raw, list) else ()):
        if isinstance(item, str):
            yield position, item


def walk(path: Path, raw: object) -> tuple[Path, object]:
    """How far `path` leads into the file, and the value there."""
    for depth, step in enumerate(path):
        match raw:
            case dict() if step in raw:
                raw = raw[step]
            case list() if isinstance(step, int) and step < len(raw):
                raw = raw[step]
            case _:
                return path[:depth], raw
    return path, raw


def in_order(mistakes: Iterable[Mistake], raw: Mapping[str, Any]) -> list[Mistake]:
    """The mistakes in the order of the file, each once."""

    def position(mistake: Mistake) -> tuple[int, ...]:
        places: list[int] = []
        for depth, step in enumerate(mistake.path):
            reached, here = walk(mistake.path[:depth], raw)
            if len(reached) < depth:
                break
            keys = list(here) if isinstance(here, dict) else []
            # What is missing comes after what is there.
            places.append(step if isinstance(step, int) else keys.index(step) if step in keys else len(keys))
        return tuple(places)

    return sorted(dict.fromkeys(mistakes), key=position)
