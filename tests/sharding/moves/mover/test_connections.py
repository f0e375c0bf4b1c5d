"""What a mover is told of a shard that is not where it was. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.errors import NodeDown
from tenfold.sharding.moves.connections import Shards
from tests.sharding.engine.sites import Site


def test_a_file_that_goes_away_while_it_is_opened_is_a_shard_that_is_down(tmp_path: Path) -> None:
    # Found under fire by seed 59968454: the mover ended with a FileNotFoundError, which nobody takes for "try again".
    site = Site(tmp_path / "site")
    site.set_up()
    shards = Shards(site.topology())
    try:
        assert shards.identity("shard_0") == shards.identity("shard_0")
        file = tmp_path / "site" / "var" / "shard_0.db"
        file.rename(file.with_suffix(".away"))
        with pytest.raises(NodeDown, match="has gone") as refused:
            shards.identity("shard_0")
        assert refused.value.retryable
    finally:
        shards.close()
