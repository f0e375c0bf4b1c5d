"""The pair of databases that the tests of this directory ask. Edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sharding.pairs import Pair, pair_in, seed


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One plain database and three shards with the same dozen users; for statements that leave no trace."""
    with pair_in(tmp_path_factory.mktemp("pair")) as pair:
        seed(pair)
        yield pair
