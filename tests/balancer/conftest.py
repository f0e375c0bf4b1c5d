"""Platforms that tests of the balancer share. Edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.balancer.site import KINDS, Site, site


@pytest.fixture(scope="session", params=KINDS)
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The defaults, on a new nginx and on an old one. Tests must leave its backends alive and well."""
    with site(request.param, tmp_path_factory.mktemp("shipped") / "var") as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which nginx: "packaged" (new) or "debian" (old)."""
    return str(request.param)
