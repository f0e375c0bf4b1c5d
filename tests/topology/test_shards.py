"""Addresses of MySQL and MariaDB servers: what they name, and where TLS may be off. Edge."""

from __future__ import annotations

from typing import Any

import pytest

from tenfold.errors import ConfigError
from tenfold.topology.addresses import is_loopback, mysql_address
from tenfold.topology.parse import parse


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://app@db0:3307/ledger", ("db0", 3307, "app", "ledger")),
        ("mariadb://app@db0/ledger", ("db0", 3306, "app", "ledger")),
        ("mysql://app@[fd00::1]/ledger", ("fd00::1", 3306, "app", "ledger")),
        ("mysql://app%40site@DB0.example./a%2Db%20c", ("db0.example.", 3306, "app@site", "a-b c")),
    ],
)
def test_an_address_names_server_account_and_database(url: str, named: tuple[str, int, str, str]) -> None:
    assert mysql_address(url) == named


@pytest.mark.parametrize(
    "url",
    ["", "db0", "mysql://", "mysql://app@db0", "mysql://db0/ledger", "mysql://app@/ledger", "mysql://app@db0/a/b",
     "mysql://app@db0/a%2Fb", "mysql://app@db0/a%00", "mysql://a%00@db0/a", "mysql://app@db0:0/a", "mysql://app@db0:x/a",
     "mysql://app@db0/a?ssl=0", "mysql://app@db0/a#b", "mysql://app@db0/a?", "mysql://app@[::1/a", "mysql://app@[x]/a",
     "mysql://app@[fe80::1%25eth0]/a", "mysql://app:@db0/a", "mysql://app@" + "x" * 300 + "/a",
     "mysql://app@db0/" + "x" * 65, "sqlite:///a.db", "postgres://app@db0/a"],
)  # fmt: skip
def test_what_is_no_such_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        mysql_address(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError) as refused:
        mysql_address("mysql://app:hunter2@db0/ledger")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("LOCALHOST.", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
     ("0.0.0.0", False), ("10.0.0.5", False), ("localhost.example", False),
     ("127.0.0.1.example", False), ("db0", False)],
)  # fmt: skip
def test_only_what_is_this_machine_for_certain_counts_as_it(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def written(**database: Any) -> dict[str, Any]:
    shards = {"shard_0": {"url": "mysql://app@127.0.0.1/a"}, "shard_1": {"url": "mysql://app@db1/a"}}
    return {
        "platform": {"name": "ledger"},
        "app": {"command": "app"},
        "database": {"engine": "mysql", "shards": shards, **database},
        "environments": {"local": {"database": {"tls": "off"}}, "production": {}},
    }


def test_tls_may_be_off_for_servers_elsewhere_in_the_environment_that_is_named_local() -> None:
    assert parse(written(), environment="local").database.tls == "off"
    assert parse(written(), environment="production").database.tls is None
    for environment in (None, "production"):
        with pytest.raises(ConfigError, match=r"database\.tls: .*shard_1 over a network in the clear"):
            parse(written(tls="off"), environment=environment)


@pytest.mark.parametrize(
    ("key", "value"),
    [("statement_s", 0), ("statement_s", 86_401), ("connect_s", 0), ("pull_rows", -1), ("pull_rows", 10_000_001),
     ("pull_rows", 1.5), ("pool_idle_s", 0), ("pool_age_s", "1"), ("tls", "prefer"), ("tls_ca", "")],
)  # fmt: skip
def test_limits_are_bounded(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"database\.{key}: "):
        parse(written(**{key: value}))
