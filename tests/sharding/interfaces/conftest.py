"""One platform on each engine, with empty tables for every test, and connections that are closed. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenfold import dbapi
from tests.mariadb import Server
from tests.sharding.engine.sites import Site, mariadb_site

Connect = Callable[..., dbapi.Connection]


@pytest.fixture(scope="session")
def sqlite_pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a site on SQLite that was set up, to be copied."""
    return Site(tmp_path_factory.mktemp("dbapi") / "site").set_up().root


@pytest.fixture
def on_sqlite(sqlite_pattern: Path, tmp_path: Path) -> Site:
    """Three SQLite shards with empty tables."""
    shutil.copytree(sqlite_pattern, tmp_path / "site")
    return Site(tmp_path / "site")


@pytest.fixture(scope="module")
def mariadb_pattern_site(three_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three MariaDB shards, set up once for the tests of a file: their tables take a second."""
    with mariadb_site(tmp_path_factory.mktemp("dbapi_mariadb"), three_servers) as found:
        yield found.set_up()


@pytest.fixture
def on_mariadb(mariadb_pattern_site: Site) -> Site:
    """Three MariaDB shards with empty tables."""
    site = mariadb_pattern_site
    site.write()
    for shard in site.shards:
        with site.client(shard) as client, client.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            for (table,) in cursor.fetchall():
                if table in {"users", "deposits", "posts", "currencies", "tf_reservation", "tf_verdict"}:
                    cursor.execute(f"DELETE FROM {table}")
    return site


@pytest.fixture(params=["sqlite", "mariadb"])
def site(request: pytest.FixtureRequest) -> Site:
    """Three shards with empty tables, of each engine in turn."""
    found: Site = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture
def connect(site: Site) -> Iterator[Connect]:
    """Opens connections to the site, and closes them after the test."""
    made: list[dbapi.Connection] = []

    def open_one(*, autocommit: bool = False) -> dbapi.Connection:
        made.append(dbapi.connect(site.file, autocommit=autocommit))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


@pytest.fixture
def connection(connect: Connect) -> dbapi.Connection:
    """A connection to the site."""
    return connect()
