"""A wheel built from a copy of this tree, and the ledger run from it. Edge."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mariadb import Server, fresh_databases
from tests.system.ledger import Ledger

TREE = Path(__file__).resolve().parents[2]
USERS = 200


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH that holds what the wheel of this tree holds, and nothing of the checkout."""
    clone = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=TREE, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (TREE / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, clone / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=clone, check=True, capture_output=True
    )
    site = tmp_path_factory.mktemp("site")
    (wheel,) = (clone / "dist").glob("tenfold-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Ledger]:
    """The example platform, up, with 200 seeded users."""
    platform = Ledger(tmp_path_factory.mktemp("ledger"), installed, USERS)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="module")
def ledger_on_mariadb(
    tmp_path_factory: pytest.TempPathFactory, installed: Path, three_servers: list[Server]
) -> Iterator[Ledger]:
    """The same on three MariaDB servers: its file is the shipped one, with other addresses."""
    with fresh_databases(three_servers, 3) as databases:
        platform = Ledger(tmp_path_factory.mktemp("mariadb"), installed, USERS, databases)
        try:
            platform.start()
            yield platform
        finally:
            platform.stop()
