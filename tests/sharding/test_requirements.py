"""What Tenfold needs of a server is told feature by feature, with the parameter to change. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenfold.sharding.requirements import (
    FileFacts,
    Finding,
    Level,
    Rights,
    ServerFacts,
    judge_file,
    judge_server,
    judge_together,
    product,
    rights_of,
)

GIB = 2**30
VARIABLES = {
    "default_storage_engine": "InnoDB", "innodb_flush_log_at_trx_commit": "1", "log_bin": "ON", "binlog_format": "ROW",
    "log_bin_trust_function_creators": "ON", "max_allowed_packet": str(64 * 2**20), "max_connections": "151",
    "max_user_connections": "0", "performance_schema": "ON", "read_only": "OFF", "sync_binlog": "1", "wsrep_on": "OFF",
}  # fmt: skip
SESSION = {
    "character_set_client": "utf8mb4", "character_set_database": "utf8mb4", "sql_mode": "STRICT_TRANS_TABLES",
    "time_zone": "+00:00",
}  # fmt: skip
GOOD = ServerFacts(
    version="10.11.6-MariaDB-log", variables=VARIABLES, session=SESSION, tls="TLSv1.3", loopback=False, skew_s=0.2,
    rights=Rights(frozenset({"RELOAD"}), frozenset({"ALL PRIVILEGES"})), refused=frozenset(), account="'app'@'%'",
    database="ledger", connections=64,
)  # fmt: skip
FILE = FileFacts("3.40.1", "wal", "ext4", 50 * GIB)


def wrong(facts: ServerFacts | FileFacts) -> list[Finding]:
    """What is not well."""
    found = judge_file(facts) if isinstance(facts, FileFacts) else judge_server(facts)
    return [one for one in found if one.level is not Level.OK]


def with_variables(**of: str) -> ServerFacts:
    return replace(GOOD, variables=VARIABLES | of)


def with_session(**of: str) -> ServerFacts:
    return replace(GOOD, session=SESSION | of)


def test_a_server_as_it_should_be_has_nothing_to_change() -> None:
    assert wrong(GOOD) == []
    assert wrong(replace(GOOD, version="8.0.36")) == []
    assert all(one.said and not one.remedy for one in judge_server(GOOD))


@pytest.mark.parametrize(
    ("facts", "feature", "level", "remedy"),
    [
        (replace(GOOD, version="10.5.9-MariaDB"), "version", "mistake", "MariaDB 10.6"),
        (replace(GOOD, version="5.7.44-log"), "version", "mistake", "MySQL 8.0"),
        (with_variables(read_only="ON"), "writable", "mistake", "SET GLOBAL read_only = OFF"),
        (with_variables(super_read_only="1"), "writable", "mistake", "primary"),
        (replace(GOOD, tls=""), "TLS", "mistake", 'tls = "require"'),
        (with_session(character_set_client="latin1"), "text", "mistake", "proxy"),
        (with_session(character_set_database="latin1"), "new tables", "note",
         "ALTER DATABASE `ledger` CHARACTER SET utf8mb4"),
        (with_variables(default_storage_engine="Aria"), "transactions", "mistake", "default_storage_engine = InnoDB"),
        (with_session(time_zone="SYSTEM"), "session", "mistake", "proxy"),
        (with_session(sql_mode=""), "session", "mistake", "proxy"),
        (with_session(sql_mode="STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES"), "session", "mistake", "proxy"),
        (replace(GOOD, skew_s=-7.4), "clock", "note", "chrony"),
        (replace(GOOD, connections=200), "connections", "mistake", "max_connections = 210"),
        (with_variables(max_user_connections="70"), "connections", "mistake", "max_user_connections = 74"),
        (with_variables(max_allowed_packet="1048576"), "large values", "note", "SET GLOBAL max_allowed_packet"),
        (replace(GOOD, refused=frozenset({"temporary table"})), "joins over shards", "note",
         "GRANT CREATE TEMPORARY TABLES ON `ledger`.* TO 'app'@'%'"),
        (with_variables(log_bin_trust_function_creators="OFF"), "moves", "note",
         "SET GLOBAL log_bin_trust_function_creators = ON"),
        (replace(GOOD, rights=Rights(frozenset({"RELOAD"}), frozenset({"SELECT"}))), "moves", "note",
         "GRANT TRIGGER, CREATE, DROP ON `ledger`.* TO 'app'@'%'"),
        (replace(GOOD, refused=frozenset({"xa"})), "two-phase commit", "note", "GRANT XA_RECOVER_ADMIN ON *.*"),
        (replace(GOOD, rights=Rights(frozenset(), frozenset({"ALL PRIVILEGES"}))), "backup barrier", "note",
         "GRANT RELOAD ON *.* TO 'app'@'%'"),
        (with_variables(log_bin="OFF"), "point in time", "note", "log_bin = binlog"),
        (with_variables(binlog_format="MIXED"), "point in time", "note", "binlog_format = ROW"),
        (with_variables(performance_schema="OFF"), "statement figures", "note", "performance_schema = ON"),
        (with_variables(innodb_flush_log_at_trx_commit="2"), "power cut", "note",
         "SET GLOBAL innodb_flush_log_at_trx_commit = 1"),
        (with_variables(sync_binlog="0"), "power cut", "note", "SET GLOBAL sync_binlog = 1"),
        (with_variables(wsrep_on="ON"), "Galera", "note", "one node"),
        (replace(FILE, version="3.34.1"), "version", "mistake", "3.35"),
        (replace(FILE, unwritable=("/var/x.db",)), "writable", "mistake", "directory too"),
        (replace(FILE, journal="delete"), "journal", "note", "PRAGMA journal_mode = WAL"),
        (replace(FILE, file_system="nfs4"), "file system", "note", "local disk"),
        (replace(FILE, free_bytes=GIB // 2), "disk", "note", "make room"),
        (replace(FILE, open_to_all=True), "permissions", "note", "chmod o-w"),
    ],
)  # fmt: skip
def test_one_thing_that_is_not_so_is_told_with_what_to_change(
    facts: Any, feature: str, level: str, remedy: str
) -> None:
    (found,) = wrong(facts)
    assert (found.feature, found.level) == (feature, level)
    assert remedy in found.remedy and found.said


def test_without_tls_a_connection_that_leaves_no_machine_is_well() -> None:
    assert wrong(replace(GOOD, tls="", loopback=True)) == []


def test_without_a_binary_log_triggers_need_no_trust_and_its_sync_does_not_matter() -> None:
    quiet = with_variables(log_bin="OFF", log_bin_trust_function_creators="OFF", sync_binlog="0")
    assert [one.feature for one in wrong(quiet)] == ["point in time"]


@pytest.mark.parametrize(
    ("grant", "database", "privilege", "here"),
    [
        ("GRANT ALL PRIVILEGES ON `ledger`.* TO `app`@`%`", "ledger", "TRIGGER", True),
        ("GRANT ALL PRIVILEGES ON `ledger`.* TO `app`@`%`", "ledge", "TRIGGER", False),
        (r"GRANT SELECT, TRIGGER ON `led\_ger`.* TO `app`@`%`", "led_ger", "TRIGGER", True),
        (r"GRANT SELECT, TRIGGER ON `led\_ger`.* TO `app`@`%`", "ledxger", "TRIGGER", False),
        ("GRANT TRIGGER ON `led%`.* TO `app`@`%`", "ledger", "TRIGGER", True),
        ("GRANT TRIGGER ON `led_er`.* TO `app`@`%`", "ledger", "TRIGGER", True),
        ("GRANT SELECT (id), UPDATE (a, b) ON `ledger`.`users` TO `app`@`%`", "ledger", "SELECT", False),
        ("GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*96DB'", "ledger", "TRIGGER", False),
        ("GRANT RELOAD, TRIGGER ON *.* TO `app`@`%` WITH GRANT OPTION", "ledger", "TRIGGER", True),
        ("GRANT `reader` TO `app`@`%`", "ledger", "TRIGGER", False),
    ],
)
def test_grants_are_read_as_the_server_means_them(grant: str, database: str, privilege: str, here: bool) -> None:
    assert rights_of([grant], database).may(privilege) is here


def test_what_is_granted_on_one_database_is_not_granted_on_the_server() -> None:
    assert not rights_of(["GRANT ALL PRIVILEGES ON `ledger`.* TO `app`@`%`"], "ledger").may_everywhere("RELOAD")
    assert rights_of(["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"], "ledger").may_everywhere("RELOAD")


def test_two_shards_in_one_galera_cluster_would_hold_the_same_rows() -> None:
    (line,) = judge_together({"shard_0": "uuid", "shard_1": "", "shard_2": "uuid"})
    assert "shard_0, shard_2 are nodes of one Galera cluster" in line
    assert judge_together({"shard_0": "a", "shard_1": "b", "shard_2": ""}) == []


def test_the_product_is_known_by_what_the_server_calls_itself() -> None:
    assert product("10.11.6-MariaDB-0+deb12u1") == ("MariaDB", (10, 11))
    assert product("8.0.36-0ubuntu0.22.04.1") == ("MySQL", (8, 0))
