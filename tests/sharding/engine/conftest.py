"""Platforms with three shards, and handles that are closed whatever a test did. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenfold
from tests.mariadb import Server
from tests.sharding.engine.sites import Site, mariadb_site


@pytest.fixture
def bare(tmp_path: Path) -> Site:
    """A file that names three shards; nothing exists yet."""
    return Site(tmp_path / "bare")


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a site that was set up, to be copied."""
    return Site(tmp_path_factory.mktemp("pattern") / "site").set_up().root


@pytest.fixture
def site(pattern: Path, tmp_path: Path) -> Site:
    """Three shards with empty tables."""
    shutil.copytree(pattern, tmp_path / "site")
    return Site(tmp_path / "site")


@pytest.fixture
def db(site: Site) -> Iterator[tenfold.Database]:
    """A handle on the three shards."""
    with site.connect() as handle:
        yield handle


@pytest.fixture(params=["pymysql", "mysqlclient"])
def library(request: pytest.FixtureRequest) -> str:
    """What speaks to a server: each of the two where both are installed."""
    name: str = request.param
    if name == "mysqlclient":
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    return name


@pytest.fixture
def bare_mariadb(three_servers: list[Server], tmp_path: Path) -> Iterator[Site]:
    """A file that names three empty MariaDB databases, each on a server of its own."""
    with mariadb_site(tmp_path / "mariadb", three_servers) as found:
        yield found


@pytest.fixture
def on_mariadb(bare_mariadb: Site) -> Site:
    """Three MariaDB shards with empty tables."""
    return bare_mariadb.set_up()
