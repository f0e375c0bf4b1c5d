"""What each shard's server can do, seen over a connection of Tenfold's own; nothing is changed. Edge."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tenfold.errors import NodeDown, TenfoldError
from tenfold.sharding.engine.asking import ask_all
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.ports import Driver
from tenfold.sharding.requirements import (
    GALERA,
    FileFacts,
    Finding,
    ServerFacts,
    judge_file,
    judge_server,
    judge_together,
    rights_of,
)
from tenfold.topology.addresses import is_loopback, mysql_address
from tenfold.topology.model import Engine, Topology

LIMIT_S = 10.0
"""For one shard; a check asks more than a status."""
VARIABLES = (
    "binlog_format", "default_storage_engine", "innodb_flush_log_at_trx_commit", "log_bin",
    "log_bin_trust_function_creators", "max_allowed_packet", "max_connections", "max_user_connections",
    "performance_schema", "read_only", "super_read_only", "sync_binlog", "wsrep_on",
)  # fmt: skip
_SESSION = ("character_set_client", "character_set_database", "sql_mode", "time_zone")
_TRIED = {
    "temporary table": ("CREATE TEMPORARY TABLE tf_try (n INT)", "DROP TEMPORARY TABLE tf_try"),
    "xa": ("XA RECOVER",),
}


@dataclass(slots=True)
class Capabilities:
    """findings: shard → its features; unseen: shard → why nothing is known of it; mistakes: of shards together."""

    findings: dict[str, list[Finding]] = field(default_factory=dict)
    unseen: dict[str, TenfoldError] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)


def capabilities(topology: Topology, limit_s: float = LIMIT_S) -> Capabilities:
    """Look at every shard, side by side. A shard that does not answer is among `unseen`."""
    found = Capabilities()
    clusters: dict[str, str] = {}

    def look(shard: str, driver: Driver) -> tuple[list[Finding], str]:
        if topology.database.engine is Engine.SQLITE:
            return judge_file(_file_facts(topology, shard, driver)), ""
        cluster = "".join(_pairs(driver, GALERA).values())
        return judge_server(_server_facts(topology, shard, driver)), cluster

    for shard, answer in ask_all(topology, look, limit_s).items():
        if isinstance(answer, TenfoldError):
            found.unseen[shard] = answer
        else:
            found.findings[shard], clusters[shard] = answer
    found.mistakes = judge_together(clusters)
    return found


def _server_facts(topology: Topology, shard: str, driver: Driver) -> ServerFacts:
    host, _, _, database = mysql_address(topology.database.shards[shard].url)
    version, account, here, *session = driver.execute(
        f"SELECT VERSION(), CURRENT_USER(), DATABASE(), {', '.join(f'@@{name}' for name in _SESSION)}", ()
    ).rows[0]
    named = ", ".join(f"'{name}'" for name in VARIABLES)
    variables = _pairs(driver, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({named})")
    tls = _pairs(driver, "SHOW SESSION STATUS LIKE 'Ssl_version'").get("ssl_version", "")
    grants = [str(row[0]) for row in driver.execute("SHOW GRANTS", ()).rows]
    return ServerFacts(
        version=str(version),
        variables=variables,
        session=dict(zip(_SESSION, map(str, session), strict=True)),
        tls=tls,
        loopback=is_loopback(host),
        skew_s=_skew_s(driver),
        rights=rights_of(grants, str(here or database)),
        refused=frozenset(what for what, texts in _TRIED.items() if not _works(driver, texts)),
        account="@".join(f"'{part}'" for part in str(account).rsplit("@", 1)),
        database=str(here or database),
        connections=topology.database.pool_size * len(topology.app.backends),
    )


def _pairs(driver: Driver, sql: str) -> Mapping[str, str]:
    return {str(name).lower(): str(value) for name, value, *_ in driver.execute(sql, ()).rows}


def _works(driver: Driver, texts: tuple[str, ...]) -> bool:
    try:
        for text in texts:
            driver.execute(text, ())
    except NodeDown:
        raise
    except TenfoldError:
        return False
    return True


def _skew_s(driver: Driver) -> float:
    """The server's clock less ours; what half the way there explains is not counted. Median of three."""
    seen = []
    for _ in range(3):
        asked_s = time.time()
        answer = driver.execute("SELECT UNIX_TIMESTAMP(NOW(6))", ()).rows[0][0]
        answered_s = time.time()
        seen.append(float(answer) - (asked_s + answered_s) / 2)
    return median(seen)


def _file_facts(topology: Topology, shard: str, driver: Driver) -> FileFacts:
    path = sqlite_path(topology.database.shards[shard].url, topology.root)
    journal = str(driver.execute("PRAGMA journal_mode", ()).rows[0][0])
    return FileFacts(
        version=sqlite3.sqlite_version,
        journal=journal.lower(),
        file_system=file_system(path),
        free_bytes=psutil.disk_usage(str(path.parent)).free,
        unwritable=tuple(str(one) for one in (path, path.parent) if not os.access(one, os.W_OK)),
        open_to_all=bool(path.stat().st_mode & stat.S_IWOTH),
    )


def file_system(path: Path) -> str:
    """The kind of file system that holds a file: "ext4", "nfs4"; "" where the machine does not tell."""
    held = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((held[place] for place in path.resolve().parents if place in held), "")
