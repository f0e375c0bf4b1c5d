"""What the model found wrong, said in our words: the value, and what to write instead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tenfold.topology import section, toml
from tenfold.topology.mistakes import Mistake, Path, is_secret, nearest, shown, walk
from tenfold.topology.schema import Node, json_schema, node_at, resolved

NOT_YET = ("dashboard",)

PATTERN_WORDS = {
    section.NAME: "a name of small letters, digits and _, a letter first, at most 40",
    section.IDENTIFIER: "a name of letters, digits, _ and $, no digit first, at most 64",
    section.VARIABLE: "the name of an environment variable: letters, digits and _, no digit first",
    section.RATE: 'a rate per second or minute, such as "30r/s" or "5r/m"',
    section.URL_PATH: 'a path that starts with /, without spaces, such as "/healthz" or "/api/"',
    section.METHOD: 'an HTTP method in capitals, such as "POST"',
    section.HOST_ADDRESS: 'a host name or IP address, such as "10.0.0.5"',
    section.ABSOLUTE_PATH: 'an absolute path without spaces, such as "/srv/ledger"',
    section.RELEASE_PATH: 'a path in the release, without . and .., such as "uploads"',
    section.RECIPIENT: 'the public key that `age-keygen` or `tenfold backup keygen` prints, such as "age1…"',
    section.ACCOUNT: 'the name of an account, such as "deploy"',
}

EMPTY: dict[str, object] = {"string": "", "array": [], "object": {}}


def from_model(error: ValidationError, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """One mistake for each place that the model refuses."""
    seen: set[Path] = set()
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        mistake = _mistake(detail["type"], detail["loc"], raw)
        # A choice between two types is refused once for each: the place is one, so is the mistake.
        if mistake and mistake.path not in seen:
            seen.add(mistake.path)
            yield mistake


def _mistake(kind: str, location: Path, raw: Mapping[str, Any]) -> Mistake | None:
    if kind == "missing":
        return Mistake(location, "is missing", f"write {_example(location)}")
    if location[-1:] == ("[key]",):
        path, _ = walk(location[:-1], raw)
        return Mistake(path, "is not a name that can stand here", f"write {_name_words(path)}")
    path, value = walk(location, raw)
    if kind == "too_short" and value:
        return None  # counted without the items that are wrong, each of which has its own mistake
    if kind == "extra_forbidden":
        return unknown_key(path)
    return Mistake(path, _found(path, value), f"write {_expected(path)}")


def unknown_key(path: Path) -> Mistake:
    """The mistake for a key that its table does not have, with the nearest one it has."""
    name, parent = str(path[-1]), path[:-1]
    what = f"[{toml.dotted(parent)}] has no such key" if parent else "there is no such section"
    if name in NOT_YET and len(parent) in (0, 2) and parent[:1] in ((), ("environments",)):
        return Mistake(
            path, "this section is not yet part of Tenfold", f"remove [{name}] until the version that has it"
        )
    known = [k for k in (resolved(node_at(parent)) or {}).get("properties", {})]
    near = nearest(name, known)
    if near:
        return Mistake(path, what, f"write {near}")
    home = next((section for section in _sections() if name in (node_at((section,)) or {}).get("properties", {})), None)
    if home and (home,) != parent:
        return Mistake(path, what, f"write it as {home}.{name}")
    return Mistake(path, what, f"remove it, or write one of: {', '.join(known)}")


def _sections() -> Iterable[str]:
    return [name for name in json_schema()["properties"] if name != "environments"]


def _found(path: Path, value: object) -> str:
    if value == EMPTY.get((resolved(node_at(path)) or {}).get("type", "")):
        return "is empty"
    kind = _kind(value)
    if is_secret(path):
        return f"is {kind or shown(value)}"
    return f"is {shown(value)}" + (f", {kind}" if kind and not _fits(kind, node_at(path)) else "")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a truth value"
        case str():
            return "a text"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case _:
            return ""  # `shown` says it already


def _fits(kind: str, node: Node | None) -> bool:
    wanted = (node or {}).get("type", "")
    return (kind, wanted) in {
        ("a text", "string"),
        ("a whole number", "integer"),
        ("a whole number", "number"),
        ("a number", "number"),
    }


def _name_words(path: Path) -> str:
    patterns = (resolved(node_at(path[:-1])) or {}).get("patternProperties", {})
    return next((PATTERN_WORDS[pattern] for pattern in patterns), "another name")


def _expected(path: Path) -> str:
    node = resolved(node_at(path)) or {}
    if node.get("type") == "object":
        return f"a table, [{toml.dotted(path)}]" + (f" with {_pairs(node)}" if "examples" in node else "")
    return words(node)


def words(node: Node) -> str:
    """What a place may hold, as a clause: "a whole number from 1 to 1000"."""
    node = resolved(node) or {}
    if "anyOf" in node:
        return " or ".join(words(choice) for choice in node["anyOf"])
    if "const" in node:
        return toml.text(node["const"])
    if "enum" in node:
        return " or ".join(toml.text(choice) for choice in node["enum"])
    match node.get("type"):
        case "integer":
            return f"a whole number from {node['minimum']} to {node['maximum']}"
        case "number":
            return f"a number above {node['exclusiveMinimum']}, at most {node['maximum']}"
        case "array":
            least = "at least one; " if node.get("minItems") else ""
            return f"an array in [ ] ({least}each {words(node['items'])})"
        case "object":
            return "a table in { }"
        case _:
            return PATTERN_WORDS.get(node.get("pattern", ""), "a text in quotes")


def _example(path: Path) -> str:
    node = resolved(node_at(path)) or {}
    if node.get("type") == "object":
        return f"[{toml.dotted(path)}] with {_pairs(node)}"
    return f"{toml.key(str(path[-1]))} = {toml.value(node['examples'][0])}" if "examples" in node else words(node)


def _pairs(node: Node) -> str:
    return ", ".join(f"{toml.key(k)} = {toml.value(v)}" for k, v in node["examples"][0].items())
