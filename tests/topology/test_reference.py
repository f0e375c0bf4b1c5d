"""reference.toml names every key, its values are the defaults, and it has no mistake. Edge."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tenfold.topology
from tenfold.topology.load import survey
from tenfold.topology.schema import json_schema, node_at

FILE = Path(tenfold.topology.__file__).parent / "reference.toml"
TEXT = FILE.read_text()
RAW = tomllib.loads(TEXT)
# A named table of the reference stands for every table of that kind.
NAMED = {"Limit": "balancer.limits.general", "Shard": "database.shards.shard_0", "Group": "database.groups.user",
         "Environment": "environments.production", "Host": "environments.production.hosts.web_1",
         "Backend": "app.backends", "Reference": "database.reference",
         "Threshold": "monitor.response_time_s", "Slack": "notify.slack", "Email": "notify.email",
         "Webhook": "notify.webhook"}  # fmt: skip


def fields() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(table of the reference, key, what the schema says) of every key of the model."""
    schema = json_schema()
    for name in schema["properties"]:
        yield "", name, schema["properties"][name]
    for kind, definition in schema["$defs"].items():
        if kind.endswith("Overlay") or "properties" not in definition:
            continue
        for key, node in definition["properties"].items():
            if kind != "Environment" or key == "hosts":  # its other keys are the sections themselves
                yield NAMED.get(kind, kind.lower()), key, node


FIELDS = list(fields())


def value_at(table: str) -> Any:
    here: Any = RAW
    for step in [step for step in table.split(".") if step]:
        here = here.get(step, {})  # what is shown behind "# " is not there
    return here[0] if isinstance(here, list) else here


def block(table: str) -> str:
    """The lines of a [table], up to the next header."""
    found = re.search(rf"^(?:# )?\[+{re.escape(table)}\]+.*?(?=^(?:# )?\[|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def test_the_model_has_keys_to_document() -> None:
    assert len(FIELDS) > 45


@pytest.mark.parametrize(("table", "key", "node"), FIELDS, ids=[f"{t}.{k}" for t, k, _ in FIELDS])
def test_the_reference_names_every_key(table: str, key: str, node: dict[str, Any]) -> None:
    commented = re.search(rf"^# {key} = ", block(table), re.MULTILINE)
    shown = f"\n# [{table}.{key}]" in TEXT
    assert key in value_at(table) or commented or shown, f"[{table}] {key} is not in reference.toml"


@pytest.mark.parametrize(
    ("table", "key", "node"), [f for f in FIELDS if "default" in f[2] and f[1] in value_at(f[0])],
    ids=[f"{t}.{k}" for t, k, n in FIELDS if "default" in n and k in value_at(t)],
)  # fmt: skip
def test_the_values_of_the_reference_are_the_defaults(table: str, key: str, node: dict[str, Any]) -> None:
    if table in ("balancer.limits.general", "monitor.response_time_s") or not table:
        # The limits' own values are the default of what holds them; sections are compared key by key.
        return
    assert value_at(table)[key] == node["default"]


def test_the_limits_of_the_reference_are_the_shipped_ones() -> None:
    from tenfold.topology.parse import parse

    without = {**RAW, "balancer": {}}
    assert parse(RAW).balancer.limits == parse(without).balancer.limits


def test_the_thresholds_of_the_reference_are_the_shipped_ones() -> None:
    from tenfold.topology.parse import parse

    assert parse(RAW).monitor == parse({**RAW, "monitor": {}}).monitor


def test_a_threshold_of_which_one_limit_is_written_keeps_the_other() -> None:
    from tenfold.topology.parse import parse

    written = parse({**RAW, "monitor": {"response_time_s": {"warning": 1.0}}}).monitor.response_time_s
    assert (written.warning, written.critical, written.for_s) == (1.0, 5.0, 120.0)


@pytest.mark.parametrize(("table", "key", "node"), FIELDS, ids=[f"{t}.{k}" for t, k, _ in FIELDS])
def test_required_keys_are_marked_so(table: str, key: str, node: dict[str, Any]) -> None:
    line = re.search(rf"^{key} = .*$", block(table), re.MULTILINE)
    owner = node_at(tuple(part for part in table.split(".") if part) + ((0,) if table == "app.backends" else ()))
    if line and owner:
        assert ("(required)" in line[0]) == (key in owner.get("required", []))


def test_the_reference_has_no_mistake() -> None:
    found = survey(FILE, "production", {})
    assert found.mistakes == ()
    assert found.warnings == ()


def test_the_documentation_shows_the_reference_as_it_is() -> None:
    page = FILE.parents[3] / "docs" / "reference" / "tenfold-toml.md"
    assert f"```toml\n{TEXT}```\n" in page.read_text()
