"""Platforms with three shards, and handles that are closed whatever a test did. Edge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenfold
from tests.sharding.engine.sites import Site


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
