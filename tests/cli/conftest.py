"""Platforms that commands are run on: shards of SQLite files, and of MariaDB servers. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenfold.cli.main import main
from tests.mariadb import Server
from tests.sharding.engine.sites import Site, mariadb_site

ROWS = (
    "INSERT INTO users (id, email, name) VALUES (?, ?, ?)",
    [(1, "ann@example.org", "Ann"), (2, "bob@example.org", None), (7, "cy@example.org", "Cy")],
)
Command = Callable[..., tuple[int, str, str]]


def filled(site: Site) -> Site:
    """The site with three users and two posts."""
    with site.set_up().connect() as db:
        for row in ROWS[1]:
            db.execute(ROWS[0], row)
        db.execute("INSERT INTO posts (title) VALUES ('one'), ('two')")
        db.execute("INSERT INTO currencies VALUES ('CHF', 2)")
    return site


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Three SQLite shards with rows, for commands that leave no trace."""
    return filled(Site(tmp_path_factory.mktemp("ledger") / "site"))


@pytest.fixture
def own_ledger(ledger: Site, tmp_path: Path) -> Site:
    """A copy, for a test that changes it."""
    shutil.copytree(ledger.root, tmp_path / "site")
    return Site(tmp_path / "site")


@pytest.fixture
def mariadb_ledger(three_servers: list[Server], tmp_path: Path) -> Iterator[Site]:
    """The same on three MariaDB servers."""
    with mariadb_site(tmp_path / "mariadb", three_servers) as site:
        yield filled(site)


@pytest.fixture
def tenfold(capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls a command on a site, in this process: (exit code, stdout, stderr)."""

    def call(site: Site, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--file", str(site.file)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call
