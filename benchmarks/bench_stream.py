"""What memory does a scatter of a million rows take while it is streamed, and how fast is it? Edge.

Each side is a process of its own: it connects, asks once for a few rows, notes its memory (the resting process), reads
all rows as they come, keeping none, and notes the largest memory it ever had meanwhile, as the kernel counted it.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
from tests.mariadb import ACCOUNT, PASSWORD

import tenfold
from benchmarks import mariadb
from benchmarks.platforms import SHARDS, platform
from benchmarks.report import heading
from benchmarks.sqlpeers import owner

ROWS, QUICK_ROWS, TARGET_MB = 1_000_000, 100_000, 50
COLUMNS = "user_id BIGINT NOT NULL, id BIGINT NOT NULL, amount BIGINT NOT NULL, note VARCHAR(40) NOT NULL"
KEY = ", PRIMARY KEY (user_id, id)"
ALL = "SELECT user_id, id, amount, note FROM ticks"
SORTED = f"{ALL} ORDER BY amount, id"
FEW = "SELECT user_id, id, amount, note FROM ticks WHERE user_id = 7"
KEYS = {"ticks": "user_id"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, and less to be trusted")
    parser.add_argument("--as", dest="side", nargs=3, metavar=("SIDE", "WHERE", "SQL"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(read(*asked.side)))
        return
    rows = QUICK_ROWS if asked.quick else ROWS
    heading(f"What memory does a scatter of {rows:,} rows take while it is streamed?")
    reached = True
    with tempfile.TemporaryDirectory() as directory:
        file = on_sqlite(Path(directory), rows)
        show("sqlite3, shard after shard", "bare-sqlite", str(file.parent), ALL)
        for sql in (ALL, SORTED):
            reached &= show("Tenfold on SQLite", "tenfold", str(file), sql)
    if why := mariadb.missing():
        print(why)
    else:
        with mariadb.servers(4) as (root, (*shards, single)):
            file = mariadb.platform(root, shards, KEYS)
            made = "SELECT seq AS user_id, seq AS id, (seq * 7919) MOD 1000003 AS amount, "
            made += f"CONCAT('the note of tick ', seq) AS note FROM seq_1_to_{rows}"
            mariadb.place(shards, "ticks", COLUMNS + KEY, "user_id", made)
            single.create(mariadb.DATABASE)
            single.sql(f"USE {mariadb.DATABASE}", f"CREATE TABLE ticks ({COLUMNS}{KEY})", f"INSERT INTO ticks {made}")
            for sql in (ALL, SORTED):
                show("PyMySQL SSCursor, one server", "bare-mysql", str(single.port), sql)
                reached &= show("Tenfold on MariaDB", "tenfold", str(file), sql)
    print(f"a scatter streamed in < {TARGET_MB} MB over the resting process: {'OK' if reached else 'MISSED'}")


def on_sqlite(root: Path, rows: int) -> Path:
    """Three SQLite shards with their rows; → tenfold.toml."""
    file = platform(root, KEYS)
    for shard in SHARDS:
        with closing(sqlite3.connect(root / "var" / f"{shard}.db", isolation_level=None)) as one:
            one.execute(f"CREATE TABLE ticks ({COLUMNS}{KEY}) WITHOUT ROWID")
            one.execute("BEGIN")
            one.executemany(
                "INSERT INTO ticks VALUES (?, ?, ?, ?)",
                ((n, n, n * 7919 % 1000003, f"the note of tick {n}") for n in range(1, rows + 1) if owner(n) == shard),
            )
            one.execute("COMMIT")
    return file


def show(name: str, side: str, where: str, sql: str) -> bool:
    """Measure one side in a process of its own and print it; → whether it kept to the target."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_stream", "--as", side, where, sql],
        check=True, stdout=subprocess.PIPE, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    how = "sorted" if sql == SORTED else "as it comes"
    print(
        f"{name:30s} {how:12s} {found['rows']:9,} rows  {found['rows'] / found['seconds']:9,.0f} rows/s  "
        f"resting {found['resting_mb']:5.1f} MB, {found['over_mb']:+6.1f} MB",
        flush=True,
    )
    return bool(found["over_mb"] < TARGET_MB)


def read(side: str, where: str, sql: str) -> dict[str, float]:
    """In the child: read everything."""
    return {"tenfold": by_tenfold, "bare-mysql": by_pymysql, "bare-sqlite": by_sqlite}[side](where, sql)


def by_tenfold(where: str, sql: str) -> dict[str, float]:
    with tenfold.connect(where) as db:
        return measured(lambda asked: db.stream(asked), sql)


def by_pymysql(where: str, sql: str) -> dict[str, float]:
    with pymysql.connect(
        host="127.0.0.1", port=int(where), user=ACCOUNT, password=PASSWORD, database=mariadb.DATABASE,
        charset="utf8mb4", ssl_disabled=True, cursorclass=pymysql.cursors.SSCursor,
    ) as connection:  # fmt: skip
        return measured(lambda asked: _executed(connection.cursor(), asked), sql)


def by_sqlite(where: str, sql: str) -> dict[str, float]:
    files = [sqlite3.connect(Path(where) / "var" / f"{shard}.db") for shard in SHARDS]
    found = measured(lambda asked: (row for file in files for row in file.execute(asked)), sql)
    for file in files:
        file.close()
    return found


def _executed(cursor: Any, sql: str) -> Any:
    cursor.execute(sql)
    return cursor


def measured(ask: Callable[[str], Iterable[object]], sql: str) -> dict[str, float]:
    """Read all rows of a statement; rows, seconds and memory in MB."""
    for _ in ask(FEW):
        pass
    gc.collect()
    resting = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    started, rows = time.perf_counter(), 0
    for _ in ask(sql):
        rows += 1
    seconds = time.perf_counter() - started
    return {"rows": rows, "seconds": seconds, "resting_mb": resting, "over_mb": memory_mb("VmHWM") - resting}


def memory_mb(field: str) -> float:
    """A line of /proc/self/status in MB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
