"""Platforms of both engines for the tests of deploys. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.sharding.moves.connections import Shards
from tenfold.topology.model import Topology
from tests.deploy.places import place
from tests.mariadb import Server, fresh_databases


@pytest.fixture(params=["sqlite", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Topology]:
    """A platform of three shards, set up, on either engine."""
    if request.param == "sqlite":
        yield place(tmp_path / "shop")
        return
    servers: list[Server] = request.getfixturevalue("three_servers")
    with fresh_databases(servers, 3) as urls:
        yield place(tmp_path / "shop", urls)


@pytest.fixture
def shards(shop: Topology) -> Iterator[Shards]:
    """Direct connections to its shards."""
    found = Shards(shop)
    yield found
    found.close()
