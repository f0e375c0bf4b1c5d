"""Platforms without processes, on which the journal and migrations are tested: three shards, initialised. Edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tenfold.sharding.engine.initialise import initialise
from tenfold.topology.load import load
from tenfold.topology.model import Topology
from tests.mariadb import on_mariadb

FILE = """
[platform]
name = "shop"
[app]
command = "{python} app.py --port {port}"
backends = [{}, {}, {}]
[deploy]
lock_s = 2.0
[database]
engine = "sqlite"
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
shard_1 = { url = "sqlite:///var/shard_1.db" }
shard_2 = { url = "sqlite:///var/shard_2.db" }
[database.groups.user]
key = "user_id"
tables = { users = "id", orders = "user_id" }
[database.pinned]
shard_2 = ["posts"]
[database.reference]
tables = ["currencies"]
"""


def place(root: Path, urls: Sequence[str] = ()) -> Topology:
    """A platform in `root` whose shards are set up; on servers where `urls` are given."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "tenfold.toml").write_text(on_mariadb(root, FILE, urls) if urls else FILE)
    topology = load(root / "tenfold.toml")
    initialise(topology)
    return topology
