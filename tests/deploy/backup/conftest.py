"""Platforms that are backed up, of either engine, and a key. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.envelope import Identities, read_identity, write_identity
from tenfold.deploy.backup.restore import Restored, Restoring
from tenfold.deploy.backup.shelf import Kept, Shelf
from tenfold.deploy.backup.verify import Verified, verify
from tenfold.topology.model import Topology
from tests.mariadb import ACCOUNT, Server, fresh_databases
from tests.sharding.engine.sites import Site, mariadb_site
from tests.sharding.moves.conftest import filled

SCRATCH = "ALL ON `tenfold\\_scratch\\_%`.* {} " + ACCOUNT + "@'127.0.0.1'"


@dataclass
class Key:
    """A key pair."""

    path: Path
    recipient: str

    @property
    def identity(self) -> Identities:
        return read_identity(self.path)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    path = tmp_path_factory.mktemp("key") / "key"
    return Key(path, write_identity(path, "for tests"))


class Vault:
    """A site with a [backup] section, and what is done to it. A scratch database needs no server of its own here."""

    def __init__(self, site: Site, key: Key, more: str = "") -> None:
        self.site, self.key, self.events = site, key, list[dict[str, Any]]()
        scratch = 'scratch = "shard_0"\n' if site.engine == "mysql" else ""
        site.file.write_text(
            f'{site.file.read_text()}\n[backup]\nrecipient = "{key.recipient}"\nbarrier_s = 5.0\n{scratch}{more}'
        )

    @property
    def topology(self) -> Topology:
        return self.site.topology()

    @property
    def shelf(self) -> Path:
        return Shelf(self.topology).path

    def create(self, *, consistent: bool = False) -> Kept:
        return Creation(self.topology, self.events.append).run(consistent=consistent)

    def verify(self, kept: Kept) -> Verified:
        return verify(self.topology, kept.id, self.key.identity)

    def restore(self, kept: Kept, target: Topology | None = None, meant: str | None = "tiny") -> Restored:
        found = Shelf(self.topology).find(kept.id)
        return Restoring(found, self.key.identity, target or self.topology, self.events.append).run(meant)

    def rows(self) -> dict[str, Any]:
        """All that the shards hold of the application's."""
        return {
            table: self.site.look_everywhere(f"SELECT * FROM {table} ORDER BY 1")
            for table in ("users", "deposits", "currencies")
        } | {"posts": self.site.look("shard_2", "SELECT * FROM posts ORDER BY 1")}

    def partial(self) -> list[str]:
        """What was begun and not finished."""
        return [path.name for path in self.shelf.glob("*.partial")]


@pytest.fixture(scope="session")
def pattern_of_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a filled site of SQLite files, to be copied."""
    return filled(Site(tmp_path_factory.mktemp("backup") / "site")).root


@pytest.fixture
def on_files(pattern_of_files: Path, tmp_path: Path, key: Key) -> Vault:
    """Three SQLite shards with rows."""
    shutil.copytree(pattern_of_files, tmp_path / "site")
    return Vault(Site(tmp_path / "site"), key)


@pytest.fixture(scope="session")
def servers(three_servers: list[Server]) -> Iterator[list[Server]]:
    """Three, whose account may make scratch databases."""
    for one in three_servers:
        one.sql(f"GRANT {SCRATCH.format('TO')}")
    yield three_servers
    for one in three_servers:
        one.sql(f"REVOKE {SCRATCH.format('FROM')}")


@pytest.fixture
def on_servers(servers: list[Server], tmp_path: Path, key: Key) -> Iterator[Vault]:
    """Three MariaDB shards with rows."""
    with mariadb_site(tmp_path / "mariadb", servers) as site:
        yield Vault(filled(site), key)


@pytest.fixture(params=["sqlite", "mysql"])
def vault(request: pytest.FixtureRequest) -> Vault:
    """A platform of either engine."""
    found: Vault = request.getfixturevalue("on_files" if request.param == "sqlite" else "on_servers")
    return found


@pytest.fixture
def elsewhere(vault: Vault, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Another file with three empty shards of its own."""
    if vault.site.engine == "sqlite":
        yield Site(tmp_path / "elsewhere")
        return
    with fresh_databases(request.getfixturevalue("servers"), 3) as urls:
        yield Site(tmp_path / "elsewhere", databases=urls)
