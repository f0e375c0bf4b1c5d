"""Values written as TOML, so that no text can break out of its quotes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

BARE = re.compile(r"[A-Za-z0-9_-]+")
# JSON escapes quotes, backslashes and control characters as TOML does, save these: TOML wants DEL escaped too,
# and the C1 controls and line separators would play with the terminal of whoever reads a message.
STILL_RAW = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Value = str | int | float | bool | Sequence["Value"] | Mapping[str, "Value"]


def text(value: str) -> str:
    """A TOML basic string, on one line."""
    return STILL_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def key(name: str) -> str:
    """A key, in quotes only where it needs them."""
    return name if BARE.fullmatch(name) else text(name)


def value(given: Value) -> str:
    """A value on one line: strings, numbers, true and false, arrays, inline tables."""
    match given:
        case bool():
            return "true" if given else "false"
        case str():
            return text(given)
        case int() | float():
            return repr(given)
        case Mapping():
            return "{ " + ", ".join(f"{key(k)} = {value(v)}" for k, v in given.items()) + " }" if given else "{}"
        case _:
            return "[" + ", ".join(value(item) for item in given) + "]"


def dotted(path: Sequence[str | int]) -> str:
    """A place in the file: `app.backends[1].weight`; positions count from 0."""
    parts = "".join(f"[{step}]" if isinstance(step, int) else f".{key(step)}" for step in path)
    return parts.removeprefix(".")
