"""tenfold shard status beside a replica that follows its primary, lags, and stops. Edge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.mariadb import ACCOUNT, Server, fresh_databases, server
from tests.sharding.engine.sites import Site
from tests.support import wait_for

LOGGED = ("--log-bin=bin", "--binlog-format=ROW")


@pytest.fixture
def pair(mariadb_pattern: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica."""
    with (
        server(mariadb_pattern, ("--server-id=1", *LOGGED)) as primary,
        server(mariadb_pattern, ("--server-id=2", "--report-host=127.0.0.1", *LOGGED)) as replica,
    ):
        primary.sql(
            f"GRANT REPLICATION SLAVE, REPLICA MONITOR, REPLICATION MASTER ADMIN ON *.* TO {ACCOUNT}@'127.0.0.1'"
        )
        replica.sql(f"GRANT REPLICA MONITOR, REPLICATION MASTER ADMIN ON *.* TO {ACCOUNT}@'127.0.0.1'")
        # From here on: both have made their own accounts.
        ((file, position, *_),) = primary.sql("SHOW MASTER STATUS")
        secret = primary.password.replace("\\", "\\\\").replace("'", "''")
        replica.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='{ACCOUNT}', "
            f"MASTER_PASSWORD='{secret}', MASTER_LOG_FILE='{file}', MASTER_LOG_POS={position}",
            "START SLAVE",
        )
        yield primary, replica


def test_a_primary_counts_its_replicas_and_a_replica_tells_how_far_it_is_behind(
    pair: tuple[Server, Server], tmp_path: Path, tenfold: Command
) -> None:
    primary, replica = pair
    with fresh_databases([primary], 3) as databases:
        names = [address.rpartition("/")[2] for address in databases]
        first = Site(tmp_path / "primary", databases=databases)
        second = Site(tmp_path / "replica", databases=[replica.url(name) for name in names])
        wait_for(lambda: names[-1] in str(replica.sql("SHOW DATABASES")), "the databases have come over", 20)

        def told(site: Site) -> dict[str, Any]:
            code, out, err = tenfold(site, "shard", "status", "--json")
            assert code == 0, (out, err)
            one: dict[str, Any] = json.loads(out)["shards"][0]
            return one

        wait_for(lambda: told(first)["replication"] == "primary of 1", "the primary sees its replica", 20)
        wait_for(lambda: told(second)["lag_s"] == 0.0, "the replica has caught up", 20)
        assert told(second)["replication"] == "0 s behind" and told(first)["lag_s"] is None

        replica.sql("STOP SLAVE SQL_THREAD")
        assert told(second)["replication"] == "stopped" and told(second)["lag_s"] is None
        replica.sql("START SLAVE")
        wait_for(lambda: told(second)["replication"] == "0 s behind", "it follows again", 20)
        _, out, _ = tenfold(second, "shard", "status")
        assert "0 s behind" in out
