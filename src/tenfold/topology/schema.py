"""The shape of the file as JSON Schema (draft 2020-12), made from the model. Pure."""

from __future__ import annotations

import copy
import functools
from collections.abc import Container, Mapping, Sequence
from typing import Any

from tenfold.topology.model import Topology

Node = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Set by the reader, never by the file.
NOT_IN_THE_FILE = ("file", "environment")
# Never overlaid: hosts belong to one environment, backends stand in an array, and arrays are replaced.
WRITTEN_IN_FULL = {"Environment", "Host", "Backend"}


@functools.cache
def _built() -> Node:
    schema = _tidy(Topology.model_json_schema())
    for name in NOT_IN_THE_FILE:
        del schema["properties"][name]
    definitions = schema["$defs"]
    sections = {n: d for n, d in definitions.items() if d["type"] == "object" and n not in WRITTEN_IN_FULL}
    overlays = {f"{name}Overlay": _overlay(node, sections) for name, node in sections.items()}
    environment = definitions["Environment"]["properties"]
    for name, node in schema["properties"].items():
        if name != "environments":
            environment[name] = _overlay(node, sections)
    return {"$schema": DIALECT, **schema, "title": "tenfold.toml", "$defs": {**definitions, **overlays}}


def json_schema() -> Node:
    """The schema of the whole file: titles, descriptions, defaults; what an environment overlays is optional there."""
    return copy.deepcopy(_built())


def node_at(path: Sequence[str | int]) -> Node | None:
    """What the schema says of a place in the file, references followed; None where the schema knows no such place."""
    schema = _built()
    here: Node | None = schema
    for step in path:
        if here is None:
            return None
        here = resolved(_below(here, step))
    return here


def resolved(node: Node | None) -> Node | None:
    """The node with its reference followed; its own words win over those of what it refers to."""
    if node is None or "$ref" not in node:
        return node
    target: Node = _built()["$defs"][node["$ref"].rpartition("/")[2]]
    return {**target, **{k: v for k, v in node.items() if k != "$ref"}}


def _below(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        return node.get("items")
    if step in node.get("properties", {}):
        return dict(node["properties"][step])
    # A name that does not match still has a value whose shape is known.
    return next(iter(node.get("patternProperties", {}).values()), None)


def _tidy(node: Any) -> Any:
    """The schema without null, which TOML does not have, and with names that match no pattern refused."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    tidy: Node = {k: _tidy(v) for k, v in node.items() if not (k == "default" and v is None)}
    if "anyOf" in tidy:
        choices = [c for c in tidy["anyOf"] if c.get("type") != "null"]
        plain = [c for c in choices if c.get("format") != "password"]
        # A text or a reference to a secret: to an editor both are text.
        choices = plain or choices
        if len(choices) == 1:
            tidy = {**choices[0], **{k: v for k, v in tidy.items() if k != "anyOf"}}
        else:
            tidy["anyOf"] = choices
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    if isinstance(tidy.get("default"), list):
        tidy["default"] = [_without_null(item) for item in tidy["default"]]
    elif "default" in tidy:
        tidy["default"] = _without_null(tidy["default"])
    return tidy


def _without_null(value: Any) -> Any:
    return {k: _without_null(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _overlay(node: Any, sections: Container[str]) -> Any:
    """The node with nothing required: an environment names only what differs. Arrays are replaced whole, so
    what stands in them stays as strict as it was; so do choices, which are no `sections`."""
    if isinstance(node, list):
        return [_overlay(item, sections) for item in node]
    if not isinstance(node, Mapping):
        return node
    kept = {k: v for k, v in node.items() if k not in {"required", "minProperties"}}
    loose = {k: v if k == "items" else _overlay(v, sections) for k, v in kept.items()}
    if isinstance(loose.get("$ref"), str) and loose["$ref"].rpartition("/")[2] in sections:
        loose["$ref"] += "Overlay"
    return loose
