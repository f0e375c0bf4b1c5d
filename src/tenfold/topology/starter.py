"""The first tenfold.toml of a platform, from a few answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.topology import toml
from tenfold.topology.section import NAME

HEAD = """\
# The platform, in one file. tenfold check says what is wrong with it, tenfold up runs it,
# tenfold schema describes every other key.
"""
NO_TABLES = """
# Name the tables that the app reaches through Tenfold. Rows of one user live together on one shard:
# [database.groups.user]
# key = "user_id"
# tables = { users = "id", orders = "user_id" }
# A table that is not spread lives whole on one shard:
# [database.pinned]
# shard_0 = ["posts"]
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """What `tenfold init` asks for."""

    name: str
    command: str
    health: str = "/"
    backends: int = 2
    shards: int = 1
    key: str = "user_id"
    tables: Mapping[str, str] = field(default_factory=dict)  # of one group: table -> its shard key column
    pinned: Mapping[str, Sequence[str]] = field(default_factory=dict)  # shard -> tables


def render(starter: Starter) -> str:
    """The text of the file. It is TOML whatever the answers hold; whether they make sense, parse() says."""
    backends = [{"weight": 1}] * starter.backends
    shards = [f"{name} = {toml.value({'url': f'sqlite:///var/{name}.db'})}" for name in shard_names(starter.shards)]
    lines = [
        HEAD,
        "[platform]",
        f"name = {toml.text(starter.name)}",
        "",
        "[app]",
        "# {port} is the port of each backend; the variable PORT holds it too.",
        f"command = {toml.text(starter.command)}",
        "# The balancer sends requests to backends that answer 200 here.",
        f"health = {toml.text(starter.health)}",
        f"backends = {toml.value(backends)}",
        "",
        "[balancer]",
        'listen = "127.0.0.1:8080"',
        "",
        "# A file for each shard, relative to this one.",
        "[database.shards]",
        *shards,
    ]
    if starter.tables:
        lines += [
            "",
            "# Each table with the column that decides its shard: rows with one key live together.",
            f"[database.groups.{_group_name(starter.key)}]",
            f"key = {toml.text(starter.key)}",
            f"tables = {toml.value(dict(starter.tables))}",
        ]
    if starter.pinned:
        lines += ["", "# Tables that live whole on one shard.", "[database.pinned]"]
        lines += [f"{toml.key(shard)} = {toml.value(list(tables))}" for shard, tables in starter.pinned.items()]
    return "\n".join(lines) + "\n" + ("" if starter.tables or starter.pinned else NO_TABLES)


def shard_names(count: int) -> list[str]:
    """shard_0, shard_1, …"""
    return [f"shard_{i}" for i in range(count)]


def name_from(text: str) -> str:
    """The name of a platform, made from that of a directory."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40].rstrip("_")
    return name if re.fullmatch(NAME, name) else f"app_{name}"[:40].rstrip("_")


def tables_from(text: str, key: str) -> dict[str, str]:
    """Tables with their columns from "users=id, orders": where no column stands it is the shard key."""
    pairs = [part.partition("=") for part in re.split(r"[,\s]+", text) if part]
    return {table: column or key for table, _, column in pairs}


def names_from(text: str) -> list[str]:
    """Names from a list with commas or spaces."""
    return [part for part in re.split(r"[,\s]+", text) if part]


def _group_name(key: str) -> str:
    name = key.lower().removesuffix("_id")
    return name if re.fullmatch(NAME, name) else "main"
