"""The JSON Schema is complete, refers only to what it defines, and lets environments be partial. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenfold.topology.schema import json_schema, node_at


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_the_schema_says_what_it_is() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "tenfold.toml"
    assert schema["required"] == ["platform", "app", "database"]


def test_every_reference_leads_somewhere_and_every_definition_is_used() -> None:
    schema = json_schema()
    used = {node["$ref"].removeprefix("#/$defs/") for node in nodes(schema) if isinstance(node.get("$ref"), str)}
    assert used == set(schema["$defs"])


def test_every_key_is_described() -> None:
    for name, definition in json_schema()["$defs"].items():
        for key, node in definition.get("properties", {}).items():
            assert node.get("description") or "$ref" in node, f"{name}.{key}"


def test_the_file_cannot_say_where_it_was_read_from() -> None:
    assert {"file", "environment"}.isdisjoint(json_schema()["properties"])
    assert json_schema()["additionalProperties"] is False


def test_null_is_no_value_of_toml() -> None:
    for node in nodes(json_schema()):
        assert node.get("type") != "null"
        assert "default" not in node or node["default"] is not None


def test_an_environment_may_name_any_section_in_part() -> None:
    environment = node_at(("environments", "production"))
    assert environment is not None
    assert set(environment["properties"]) == {
        "hosts", "platform", "app", "balancer", "database", "cache", "monitor", "notify", "deploy", "backup",
    }  # fmt: skip
    assert "required" not in (node_at(("environments", "production", "app")) or {})
    assert "required" not in (node_at(("environments", "production", "database", "shards", "x")) or {})
    # A host is nobody's overlay: it is there in full.
    assert (node_at(("environments", "production", "hosts", "x")) or {})["required"] == ["address"]


def test_names_that_the_model_refuses_the_schema_refuses() -> None:
    for node in nodes(json_schema()):
        if "patternProperties" in node:
            assert node["additionalProperties"] is False


def test_what_is_given_out_is_a_copy() -> None:
    json_schema()["properties"].clear()
    assert json_schema()["properties"]
