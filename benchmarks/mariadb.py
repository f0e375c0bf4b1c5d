"""Five MariaDB servers with the same rows: three shards, one that holds all, one Spider head over the three. Edge."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mariadb import PASSWORD, Server, pattern, server
from tests.support import SEARCH

from benchmarks import platforms
from benchmarks.platforms import SHARDS
from tenfold.sharding.buckets import first_fill, runs
from tenfold.sharding.engine.mysqloptions import MysqlOptions, session_pins

DATABASE = "bench"
BEHIND = "spider"  # on the shards: Spider places rows by a hash of its own, so it has its own copy of them
ROOM = ("--innodb-buffer-pool-size=192M", "--innodb-flush-log-at-trx-commit=1", "--max-connections=200")
# What Tenfold pins on each of its connections; the bare drivers get the same.
SESSION = session_pins("10.11-MariaDB", MysqlOptions("bench", "127.0.0.1", 3306, "bench", "bench"))
TABLES = {
    "users": "id BIGINT NOT NULL, name VARCHAR(60) NOT NULL, country CHAR(4) NOT NULL, balance BIGINT NOT NULL, "
    "PRIMARY KEY (id), KEY (country)",
    "deposits": "user_id BIGINT NOT NULL, id BIGINT NOT NULL, amount BIGINT NOT NULL, created_at BIGINT NOT NULL, "
    "PRIMARY KEY (user_id, id), KEY (created_at)",
    "probes": "id BIGINT NOT NULL, PRIMARY KEY (id)",
}
KEYS = {"users": "id", "deposits": "user_id", "probes": "id"}


@dataclass(frozen=True)
class Fleet:
    """file: tenfold.toml over the three shards; head is None where nobody asked for Spider."""

    file: Path
    shards: tuple[Server, ...]
    single: Server
    head: Server | None


def missing() -> str | None:
    """Why no server can be started here; None: it can."""
    found = shutil.which("mariadbd", path=SEARCH)
    return None if found else "MariaDB is not installed (make bench installs it where apt may)"


@contextmanager
def servers(count: int, room: Sequence[str] = ROOM) -> Iterator[tuple[Path, list[Server]]]:
    """A directory of one's own and so many running servers; all gone at the end. room: their options."""
    with tempfile.TemporaryDirectory(prefix="tf") as directory, ExitStack() as stack:
        root = Path(directory)
        fresh = pattern(root / "pattern")
        yield root, [stack.enter_context(server(fresh, room)) for _ in range(count)]


@contextmanager
def fleet(rows: dict[str, str], *, spider: bool) -> Iterator[Fleet]:
    """Start, create TABLES, and fill each with what its SELECT in `rows` gives, columns in the table's order."""
    with servers(5 if spider else 4) as (root, started):
        shards, single = tuple(started[:3]), started[3]
        head = started[4] if spider else None
        file = platform(root, shards, KEYS)
        for table, columns in TABLES.items():
            place(shards, table, columns, KEYS[table], rows[table])
        single.create(DATABASE)
        for table, columns in TABLES.items():
            single.sql(f"USE {DATABASE}", f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} {rows[table]}")
        if head is not None:
            spread(head, shards, rows)
        for one in (*shards, single):
            one.sql(*(f"ANALYZE TABLE {DATABASE}.{table}" for table in TABLES))
        yield Fleet(file, shards, single, head)


def platform(root: Path, shards: Sequence[Server], keys: dict[str, str]) -> Path:
    """A new Tenfold platform over these servers; → its file."""
    os.environ["BENCH_PASSWORD"] = PASSWORD
    addresses = {
        name: f'url = "{shard.create(DATABASE)}", password = "${{BENCH_PASSWORD}}"'
        for name, shard in zip(SHARDS, shards, strict=True)
    }
    return platforms.platform(root, keys, addresses, 'engine = "mysql"\npool_size = 32')


def place(shards: Sequence[Server], table: str, columns: str, key: str, rows: str) -> None:
    """Create a table on every shard, with those of `rows` whose bucket is the shard's: the database's own MD5 says."""
    for first, last, shard in runs(first_fill(dict.fromkeys(SHARDS, 1))):
        shards[SHARDS.index(shard)].sql(
            f"USE {DATABASE}",
            f"CREATE TABLE {table} ({columns})",
            f"INSERT INTO {table} SELECT * FROM ({rows}) AS made "
            f"WHERE CONV(LEFT(MD5({key}), 3), 16, 10) + 0 BETWEEN {first} AND {last}",
        )


def spread(head: Server, shards: Sequence[Server], rows: dict[str, str]) -> None:
    """The same tables behind a Spider head, partitioned by the shard key over the three servers."""
    head.sql("INSTALL SONAME 'ha_spider'")
    head.create(DATABASE)
    for number, shard in enumerate(shards):
        shard.create(BEHIND)
        shard.sql(
            "CREATE USER spider@'127.0.0.1' IDENTIFIED BY 'spider'", f"GRANT ALL ON {BEHIND}.* TO spider@'127.0.0.1'"
        )
        head.sql(
            f"CREATE SERVER b{number} FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1', PORT {shard.port}, "
            f"DATABASE '{BEHIND}', USER 'spider', PASSWORD 'spider')"
        )
        shard.sql(*(f"CREATE TABLE {BEHIND}.{table} ({columns})" for table, columns in TABLES.items()))
    parts = ", ".join(f"PARTITION p{number} COMMENT = 'srv \"b{number}\"'" for number in range(len(shards)))
    for table, columns in TABLES.items():
        head.sql(
            f"USE {DATABASE}",
            f"CREATE TABLE {table} ({columns}) ENGINE = SPIDER "
            f'COMMENT = \'wrapper "mysql", table "{table}"\' PARTITION BY KEY ({KEYS[table]}) ({parts})',
            f"INSERT INTO {table} {rows[table]}",
        )
