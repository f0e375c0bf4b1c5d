"""Platforms that end with their test, whatever it did. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.platforms import Platform

SECRETS = {"SECRET_OF_TEST": "open sesame", "CACHE_OF_TEST": "p@ss/word"}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """One backend behind the balancer; not started."""
    platform = Platform(tmp_path / "site")
    yield platform
    platform.close()


@pytest.fixture
def two_backends(tmp_path: Path) -> Iterator[Platform]:
    """Two backends behind the balancer; not started."""
    platform = Platform(tmp_path / "site", backends=2)
    yield platform
    platform.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Two backends behind the balancer, up, for tests that only look."""
    platform = Platform(tmp_path_factory.mktemp("running") / "site", backends=2)
    platform.write(
        app='setup = "{python} -c \\"print(\'note: log in as ada\')\\""\n'
        'environment = { APP_SECRET = "${SECRET_OF_TEST}", PLAIN = "plain" }',
        more='[cache]\nurl = "redis://127.0.0.1:6379/0"\npassword = "${CACHE_OF_TEST}"\n',
    )
    platform.up(environment=SECRETS)
    yield platform
    platform.close()
