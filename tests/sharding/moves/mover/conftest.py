"""Places to move buckets about on, of either engine. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.sharding.engine.sites import Site, mariadb_site
from tests.sharding.moves.mover.places import Place


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def kept_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Three shards of each engine, for all tests of a file."""
    root = tmp_path_factory.mktemp("moves") / "site"
    with ExitStack() as stack:
        if request.param == "mysql":
            yield Place(stack.enter_context(mariadb_site(root, request.getfixturevalue("three_servers"))))
        else:
            yield Place(Site(root))


@pytest.fixture
def place(kept_place: Place) -> Iterator[Place]:
    """The same without rows; a move that a test left is ended."""
    kept_place.empty()
    yield kept_place
    move = kept_place.active()
    if move is not None:
        mover = kept_place.mover()
        {"serving": mover.finish, "cutting": mover.undo, "returning": mover.run, "cleaning": mover.run}.get(
            move.phase, mover.cancel
        )()
