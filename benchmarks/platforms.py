"""A new platform of three shards and one group, for the benchmarks. Edge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load

SHARDS = ("shard_0", "shard_1", "shard_2")
FILES = {name: f'url = "sqlite:///var/{name}.db"' for name in SHARDS}
TEXT = """
[platform]
name = "bench"
[app]
command = "none"
[database]
{settings}
[database.shards]
{shards}
[database.groups.user]
key = "user_id"
tables = {{ {tables} }}
"""


def platform(root: Path, keys: Mapping[str, str], shards: Mapping[str, str] = FILES, settings: str = "") -> Path:
    """Make one in `root`; → its file. keys: of each table; shards: name → the rest of its inline table."""
    file = write(root, keys, shards, settings)
    initialise(load(file))
    return file


def write(root: Path, keys: Mapping[str, str], shards: Mapping[str, str], settings: str = "") -> Path:
    """Only the file."""
    file = root / "tenfold.toml"
    file.write_text(
        TEXT.format(
            settings=settings,
            shards="\n".join(f"{name} = {{ {rest} }}" for name, rest in shards.items()),
            tables=", ".join(f'{table} = "{key}"' for table, key in keys.items()),
        )
    )
    return file
