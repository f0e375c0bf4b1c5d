"""Platforms whose shards are uneven, on either engine. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Command as Command
from tests.cli.conftest import tenfold as tenfold
from tests.mariadb import Server, fresh_databases
from tests.sharding.engine.sites import MARIADB_SCHEMA, SCHEMA, Site, mariadb_site

Indexed = (*SCHEMA, "CREATE INDEX deposits_user ON deposits (user_id)")
USERS = 60
LEASE = "lease_s = 0.1"


def filled(site: Site, weights: dict[str, int] | None = None) -> Site:
    """The site with users and deposits on all shards, posts on the last, two currencies everywhere."""
    shards = {name: f"{site.shard_line(name)}, weight = {(weights or {}).get(name, 1)}" for name in site.shards}
    site.write(shards=shards)
    with site.set_up(Indexed if site.engine == "sqlite" else MARIADB_SCHEMA).connect() as db:
        for user in range(1, USERS + 1):
            db.execute("INSERT INTO users (id, email) VALUES (?, ?)", (user, f"u{user}@example.org"))
            db.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 5), (?, 6)", (user, user))
        db.execute("INSERT INTO posts (title) VALUES ('one'), ('two')")
        db.execute("INSERT INTO currencies VALUES ('CHF', 2), ('JPY', 0)")
    # Only now: on a busy machine so short a lease lapses now and then, and the schema cannot be changed without one.
    site.write(shards=shards, settings=LEASE)
    site.look("shard_0", "UPDATE tf_catalog SET value = '0.1' WHERE name = 'lease_s'")
    return site


@pytest.fixture(scope="session")
def filled_pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a filled site of SQLite files, to be copied."""
    return filled(Site(tmp_path_factory.mktemp("filled") / "site")).root


@pytest.fixture
def on_files(filled_pattern: Path, tmp_path: Path) -> Site:
    """A filled site of SQLite files."""
    shutil.copytree(filled_pattern, tmp_path / "site")
    site = Site(tmp_path / "site")
    site.write(settings=LEASE)
    return site


@pytest.fixture
def on_servers(three_servers: list[Server], tmp_path: Path) -> Iterator[Site]:
    """A filled site of MariaDB databases."""
    with mariadb_site(tmp_path / "mariadb", three_servers) as site:
        yield filled(site)


@pytest.fixture(params=["sqlite", "mysql"])
def filled_site(request: pytest.FixtureRequest) -> Site:
    """A filled site of either engine."""
    found: Site = request.getfixturevalue("on_files" if request.param == "sqlite" else "on_servers")
    return found


@contextmanager
def widened(site: Site, servers: list[Server] | None = None) -> Iterator[Site]:
    """The site with a fourth shard in its file, an empty database."""
    with fresh_databases(servers or [], 1 if servers else 0) as urls:
        site.urls["shard_3"] = urls[0] if urls else "sqlite:///var/shard_3.db"
        site.shards = (*site.shards, "shard_3")
        site.write(settings=LEASE)
        yield site


@pytest.fixture
def four(filled_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Three shards with rows, and a fourth in the file that is empty."""
    servers = request.getfixturevalue("three_servers") if filled_site.engine == "mysql" else None
    with widened(filled_site, servers) as site:
        yield site


@pytest.fixture
def four_files(on_files: Site) -> Iterator[Site]:
    with widened(on_files) as site:
        yield site
