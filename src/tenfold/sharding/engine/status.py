"""How the shards are now: who answers, how fast, how full. Edge."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tenfold.errors import NodeDown, StatementError, TenfoldError
from tenfold.sharding.catalog import SETTINGS
from tenfold.sharding.dialects import SQLITE
from tenfold.sharding.engine.asking import LIMIT_S, ask_all
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.record import ACTIVE, move_of
from tenfold.sharding.moves.wording import sentence
from tenfold.sharding.ports import Driver, Reply
from tenfold.sharding.requirements import product
from tenfold.sharding.shapes import OWN_PREFIX
from tenfold.topology.addresses import is_loopback, mysql_address
from tenfold.topology.model import Engine, Topology

PINGS = 5
MOST_COUNTED = 1_000_000
"""Rows of a SQLite table that are counted; beyond it the answer is "at least"."""


@dataclass(slots=True)
class ShardStatus:
    """One shard; None is what cannot be seen.

    failure      why it did not answer; all else is then unknown
    latency_s    median of a few round trips
    used, most   connections to the whole server, and how many it allows; ours: those of Tenfold's account
    replication  in words: "primary of 2", "12 s behind", "stopped, error 1062"; "" without replicas
    lag_s        of a shard that is itself a replica
    rows         an estimate; rows_at_least: there are more
    buckets      how many it owns
    """

    shard: str
    address: str
    failure: TenfoldError | None = None
    server: str = ""
    latency_s: float | None = None
    used: int | None = None
    most: int | None = None
    ours: int | None = None
    replication: str | None = None
    lag_s: float | None = None
    size_bytes: int | None = None
    free_bytes: int | None = None
    rows: int | None = None
    rows_at_least: bool = False
    buckets: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        told = asdict(self) | {"up": self.failure is None}
        failure = self.failure
        return told | {"failure": str(failure) if failure else None, "hint": failure.hint if failure else None}


@dataclass(slots=True)
class Status:
    """All shards in the file's order. epoch None: no shard has a bucket map. skew: most buckets of a shard by its fair
    share; 1 is even. move: what is under way, in a sentence; "" for nothing, or where the catalog does not answer."""

    shards: list[ShardStatus] = field(default_factory=list)
    epoch: int | None = None
    skew: float | None = None
    move: str = ""


@dataclass(slots=True)
class _Copy:
    """A shard's copy of the bucket map: the epoch as the catalog has it (None elsewhere), shard → buckets."""

    epoch: int | None
    newest: int
    owned: Mapping[str, int]
    move: str = ""


def status(topology: Topology, limit_s: float = LIMIT_S) -> Status:
    """Ask all shards side by side; back within `limit_s` whatever they do. Changes nothing, creates no file."""

    def look(shard: str, driver: Driver) -> tuple[ShardStatus, _Copy | None]:
        seen = ShardStatus(shard, _address(topology, shard))
        on_file = topology.database.engine is Engine.SQLITE
        seen.latency_s = _latency_s(driver, "SELECT 1 FROM sqlite_master LIMIT 1" if on_file else "SELECT 1")
        if on_file:
            _look_at_file(driver, sqlite_path(topology.database.shards[shard].url, topology.root), seen)
        else:
            _look_at_server(driver, topology, seen)
        return seen, _copy(driver)

    found = Status()
    copies: dict[str, _Copy] = {}
    for shard, answer in ask_all(topology, look, limit_s).items():
        if isinstance(answer, TenfoldError):
            found.shards.append(ShardStatus(shard, _address(topology, shard), failure=answer))
            continue
        seen, copy = answer
        found.shards.append(seen)
        if copy is not None:
            copies[shard] = copy
    if topology.catalog_shard in copies:
        found.move = copies[topology.catalog_shard].move
    _share_out(found, topology, copies)
    return found


def _address(topology: Topology, shard: str) -> str:
    return topology.database.shards[shard].url.partition("://")[2].rpartition("@")[2]


def _share_out(found: Status, topology: Topology, copies: Mapping[str, _Copy]) -> None:
    """Buckets by the catalog's map; where it is away, by the newest copy that another shard keeps."""
    best = copies.get(topology.catalog_shard) or max(copies.values(), key=lambda copy: copy.newest, default=None)
    if best is None:
        return
    found.epoch = best.newest if best.epoch is None else best.epoch
    for one in found.shards:
        one.buckets = best.owned.get(one.shard, 0)
    weights = {name: shard.weight for name, shard in topology.database.shards.items()}
    total, whole = sum(best.owned.values()), sum(weights.values())
    fair = {name: total * weight / whole for name, weight in weights.items() if weight}
    found.skew = max((best.owned.get(name, 0) / share for name, share in fair.items()), default=None)


def _latency_s(driver: Driver, sql: str) -> float:
    seen = []
    for _ in range(PINGS):
        started_s = time.perf_counter()
        driver.execute(sql, ())
        seen.append(time.perf_counter() - started_s)
    return median(seen)


def _copy(driver: Driver) -> _Copy | None:
    try:
        # Numbers beyond are those of pinned tables.
        sql = "SELECT shard, COUNT(*), MAX(epoch) FROM tf_bucket WHERE bucket < ? GROUP BY shard"
        rows = driver.execute(sql, (BUCKETS,)).rows
    except StatementError:
        return None
    settings: dict[str, str] = {}
    with suppress(StatementError):
        settings = dict(driver.execute(SETTINGS, ()).rows)
    epoch = int(settings["epoch"]) if "epoch" in settings else None
    move = ""
    with suppress(StatementError):
        move = "; ".join(sentence(move_of(row)) for row in driver.execute(ACTIVE, ()).rows)
    return _Copy(epoch, max(int(row[2]) for row in rows), {row[0]: int(row[1]) for row in rows}, move) if rows else None


def _look_at_file(driver: Driver, path: Path, seen: ShardStatus) -> None:
    seen.server = f"SQLite {sqlite3.sqlite_version}"
    pages, page_bytes = (driver.execute(f"PRAGMA {name}", ()).rows[0][0] for name in ("page_count", "page_size"))
    seen.size_bytes = pages * page_bytes
    with suppress(OSError):
        seen.free_bytes = shutil.disk_usage(path.parent).free
    tables = [
        row[0]
        for row in driver.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'", ()
        ).rows
        if not row[0].startswith(OWN_PREFIX)
    ]
    seen.rows = 0
    for table in tables:
        limited = f"SELECT COUNT(*) FROM (SELECT 1 FROM {SQLITE.quoted(table)} LIMIT {MOST_COUNTED})"  # noqa: S608
        counted = driver.execute(limited, ()).rows[0][0]
        seen.rows += counted
        seen.rows_at_least |= counted == MOST_COUNTED


def _look_at_server(driver: Driver, topology: Topology, seen: ShardStatus) -> None:
    host = mysql_address(topology.database.shards[seen.shard].url)[0]
    version, seen.most, name, directory, seen.ours = driver.execute(
        "SELECT VERSION(), @@max_connections, @@hostname, @@datadir,"
        " (SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE USER = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND DB = DATABASE()) - 1", ()
    ).rows[0]  # fmt: skip
    seen.server = f"{product(version)[0]} {version.partition('-')[0]}"
    # Less this one, which goes when the question is answered.
    seen.used = int(driver.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'", ()).rows[0][1]) - 1
    size, rows = driver.execute(
        "SELECT SUM(data_length + index_length), SUM(IF(table_name LIKE 'tf\\_%', 0, table_rows))"
        " FROM information_schema.tables WHERE table_schema = DATABASE()", ()
    ).rows[0]  # fmt: skip
    seen.size_bytes, seen.rows = int(size or 0), int(rows or 0)
    # Through a tunnel or a container's port a loopback address ends on another machine: its name tells.
    if is_loopback(host) and name == socket.gethostname():
        with suppress(OSError):
            seen.free_bytes = shutil.disk_usage(directory).free
    _look_at_replication(driver, seen)


def _asked(driver: Driver, *texts: str) -> Reply | None:
    """The answer to the first of these spellings that the server takes and the account may ask; None: none."""
    for text in texts:
        try:
            return driver.execute(text, ())
        except NodeDown:
            raise
        except TenfoldError:
            continue
    return None


def _look_at_replication(driver: Driver, seen: ShardStatus) -> None:
    """A replica of somebody, somebody's primary, or nothing that this account may see."""
    own = _asked(driver, "SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
    if own is not None and own.rows:
        at = {name.lower(): value for name, value in zip(own.columns, own.rows[0], strict=True)}
        lag = at.get("seconds_behind_master", at.get("seconds_behind_source"))
        seen.lag_s = None if lag is None else float(lag)
        # The number alone: the text quotes the statement that failed, with all that is in it.
        code = at.get("last_sql_errno") or at.get("last_io_errno")
        stopped = f"stopped, error {code}" if code else "stopped"
        seen.replication = stopped if seen.lag_s is None else f"{seen.lag_s:g} s behind"
        return
    dumps = _asked(
        driver,
        "SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')",
    )
    replicas = _asked(driver, "SHOW REPLICA HOSTS", "SHOW SLAVE HOSTS", "SHOW REPLICAS")
    count = max(int(dumps.rows[0][0]) if dumps else 0, len(replicas.rows) if replicas else 0)
    seen.replication = f"primary of {count}" if count else ("" if own is not None and replicas is not None else None)
