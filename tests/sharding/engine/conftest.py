"""Platforms with three shards, and handles that are closed whatever a test did. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import tenfold
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tests.mariadb import Server, fresh_databases, options_of
from tests.sharding.engine.driving import SHORT
from tests.sharding.engine.sites import Site, mariadb_site
from tests.sharding.engine.writing import World, world_in


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
def options(three_servers: list[Server], library: str) -> Iterator[MysqlOptions]:
    """An empty database with the table `notes`."""
    with fresh_databases(three_servers[:1], 1) as (url,):
        options = options_of(url, driver=library, **SHORT)
        with closing(MysqlDriver(options)) as driver:
            driver.execute(
                "CREATE TABLE notes (id BIGINT PRIMARY KEY AUTO_INCREMENT, body LONGTEXT, rank INT NOT NULL)", ()
            )
        yield options


@pytest.fixture
def driver(options: MysqlOptions) -> Iterator[MysqlDriver]:
    with closing(MysqlDriver(options)) as driver:
        yield driver


@pytest.fixture
def bare_mariadb(three_servers: list[Server], tmp_path: Path) -> Iterator[Site]:
    """A file that names three empty MariaDB databases, each on a server of its own."""
    with mariadb_site(tmp_path / "mariadb", three_servers) as found:
        yield found


@pytest.fixture
def on_mariadb(bare_mariadb: Site) -> Site:
    """Three MariaDB shards with empty tables."""
    return bare_mariadb.set_up()


@pytest.fixture(scope="module")
def kept(three_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three MariaDB shards, for all tests of a file: to make them takes longer than the tests."""
    with mariadb_site(tmp_path_factory.mktemp("kept") / "site", three_servers) as found:
        yield found.set_up()


@pytest.fixture
def emptied(kept: Site) -> Site:
    """Three MariaDB shards with empty tables; for users without an address, as reservations stay."""
    for table in ("users", "deposits"):
        kept.look_everywhere(f"DELETE FROM {table}")
    return kept


@pytest.fixture(params=["sqlite", "mysql"])
def home(request: pytest.FixtureRequest) -> Site:
    """Three shards with empty tables, on either engine."""
    found: Site = request.getfixturevalue("site" if request.param == "sqlite" else "emptied")
    return found


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def kept_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three shards of each engine with tables to write to, for all tests of a file."""
    with world_in(tmp_path_factory.mktemp("writes") / "site", request) as found:
        yield found


@pytest.fixture
def world(kept_world: World) -> World:
    """The shards with empty tables; `keys` are three users a shard, in turn."""
    kept_world.empty()
    return kept_world
