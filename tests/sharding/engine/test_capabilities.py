"""What a server can do is seen on the server, and nothing is left behind there. Edge."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tenfold.errors import NodeDown
from tenfold.sharding.engine.asking import ask_all
from tenfold.sharding.engine.capabilities import Capabilities, capabilities
from tenfold.sharding.requirements import Level
from tests.mariadb import ACCOUNT, Server
from tests.sharding.engine.sites import Site
from tests.support import wait_for


def told(found: Capabilities, shard: str) -> dict[str, tuple[str, str, str]]:
    return {one.feature: (one.level.value, one.said, one.remedy) for one in found.findings[shard]}


def test_files_are_looked_at_where_they_lie(site: Site) -> None:
    found = capabilities(site.topology())
    assert list(found.findings) == list(site.shards) and not found.unseen and not found.mistakes
    assert told(found, "shard_0")["journal"][:2] == ("ok", "WAL")
    assert told(found, "shard_0")["file system"][1]
    site.path("shard_1").chmod(0o666)
    assert told(capabilities(site.topology()), "shard_1")["permissions"][0] == "note"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_a_mistake(site: Site) -> None:
    site.path("shard_1").chmod(0o444)
    assert told(capabilities(site.topology()), "shard_1")["writable"][0] == "mistake"


def test_a_file_that_is_not_there_is_not_made(bare: Site) -> None:
    found = capabilities(bare.topology())
    assert list(found.unseen) == list(bare.shards) and not found.findings
    assert not bare.path("shard_0").exists()


def test_a_server_tells_every_feature(bare_mariadb: Site) -> None:
    found = capabilities(bare_mariadb.topology())
    features = told(found, "shard_0")
    assert not [one for one in found.findings["shard_0"] if one.level is Level.MISTAKE]
    assert features["version"][1].startswith("MariaDB 10.")
    for feature in ("text", "session", "clock", "joins over shards", "two-phase commit", "moves"):
        assert features[feature][0] == "ok", feature
    # The tests' servers run without a binary log, without statement figures, and do not wait for the disk.
    for feature, parameter in (
        ("point in time", "log_bin"), ("statement figures", "performance_schema = ON"),
        ("power cut", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"), ("backup barrier", "GRANT RELOAD ON *.*"),
    ):  # fmt: skip
        assert features[feature][0] == "note" and parameter in features[feature][2], feature
    assert bare_mariadb.look("shard_0", "SHOW TABLES") == []


def test_a_change_on_the_server_is_seen_in_its_feature(bare_mariadb: Site, three_servers: Sequence[Server]) -> None:
    server = three_servers[1]
    changes = {"max_connections": (151, 40), "default_storage_engine": ("InnoDB", "Aria"), "read_only": (0, 1)}
    try:
        for name, (_, value) in changes.items():
            server.sql(f"SET GLOBAL {name} = {value}")
        bare_mariadb.write(settings="pool_size = 25")
        text = bare_mariadb.file.read_text()
        bare_mariadb.file.write_text(text.replace("[database]\n", "backends = [{}, {}]\n[database]\n", 1))
        topology = bare_mariadb.topology()
        features, other = (told(capabilities(topology), shard) for shard in ("shard_1", "shard_0"))
    finally:
        for name, (usual, _) in changes.items():
            server.sql(f"SET GLOBAL {name} = {usual}")
    assert features["connections"][0] == "mistake" and "max_connections = 60" in features["connections"][2]
    assert features["transactions"][:2] == ("mistake", "new tables are Aria")
    assert features["writable"][:2] == ("mistake", "read_only is ON")
    assert {other[feature][0] for feature in ("connections", "transactions", "writable")} == {"ok"}


def test_an_account_that_may_little_is_told_what_to_be_granted(
    bare_mariadb: Site, three_servers: Sequence[Server]
) -> None:
    database = bare_mariadb.urls["shard_0"].rpartition("/")[2]
    pattern = database.replace("_", "\\_")
    three_servers[0].sql(
        f"REVOKE ALL ON `{pattern}`.* FROM {ACCOUNT}@'127.0.0.1'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `{pattern}`.* TO {ACCOUNT}@'127.0.0.1'",
    )
    features = told(capabilities(bare_mariadb.topology()), "shard_0")
    assert features["joins over shards"][0] == features["moves"][0] == "note"
    whom = f"`{database}`.* TO '{ACCOUNT}'@'127.0.0.1'"
    assert features["joins over shards"][2] == f"GRANT CREATE TEMPORARY TABLES ON {whom}"
    assert features["moves"][2] == f"GRANT TRIGGER, DROP ON {whom}"


def test_what_takes_too_long_is_stopped_on_the_server(bare_mariadb: Site) -> None:
    def running() -> list[object]:
        return bare_mariadb.look(
            "shard_0", "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        )

    found = ask_all(bare_mariadb.topology(), lambda shard, driver: driver.execute("SELECT SLEEP(30)", ()), limit_s=0.5)
    assert all(isinstance(answer, NodeDown) for answer in found.values()) and list(found) == list(bare_mariadb.shards)
    wait_for(lambda: not running(), "the statement has ended")


def test_a_server_that_hangs_is_not_waited_for(bare_mariadb: Site, three_servers: Sequence[Server]) -> None:
    three_servers[2].pause()
    try:
        found = capabilities(bare_mariadb.topology(), limit_s=1.0)
    finally:
        three_servers[2].resume()
    assert list(found.unseen) == ["shard_2"] and "did not answer within 1 s" in str(found.unseen["shard_2"])
    assert list(found.findings) == ["shard_0", "shard_1"]
