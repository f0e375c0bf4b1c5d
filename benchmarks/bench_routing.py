"""What does routing cost? A statement through Tenfold beside bare sqlite3 on the same file. Edge."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import tenfold
from benchmarks.platforms import platform
from benchmarks.report import alternate, heading, per_call_us, spread

USERS, READS, WRITES, ROUNDS = 10_000, 5_000, 300, 7
READ = "SELECT id, name, balance FROM users WHERE id = ?"
WRITE = "UPDATE users SET balance = balance + 1 WHERE id = ?"


def main() -> None:
    heading("What does routing cost beside bare sqlite3?")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with tenfold.connect(platform(root, {"users": "id"})) as db:
            db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance INTEGER NOT NULL)")
            db.executemany("INSERT INTO users (name, balance) VALUES (?, 0)", [(f"user {n}",) for n in range(USERS)])
            ids = [row["id"] for row in db.execute("SELECT id FROM users")]
            # The bare side knows where each row is, and pays no lookup for it.
            shards = [root / "var" / f"shard_{n}.db" for n in range(3)]
            mine = []
            with closing(sqlite3.connect(shards[0], isolation_level=None)) as file:
                mine = [row[0] for row in file.execute("SELECT id FROM users")]
                file.execute("PRAGMA synchronous = FULL")
                compare("point read, sync", READS, {
                    "bare sqlite3": lambda n: file.execute(READ, (mine[n % len(mine)],)).fetchall(),
                    "tenfold": lambda n: db.execute(READ, (ids[n % len(ids)],)).rows,
                })  # fmt: skip
                compare("point write, sync (one fsync each)", WRITES, {
                    "bare sqlite3": lambda n: file.execute(WRITE, (mine[n % len(mine)],)),
                    "tenfold": lambda n: db.execute(WRITE, (ids[n % len(ids)],)),
                })  # fmt: skip
        asyncio.run(asynchronous(root, ids, mine))


def compare(what: str, count: int, sides: dict[str, Callable[[int], object]]) -> None:
    show(what, alternate(ROUNDS, {name: partial(per_call_us, call, count) for name, call in sides.items()}))


def fetch(file: sqlite3.Connection, key: int) -> list[tuple[object, ...]]:
    return file.execute(READ, (key,)).fetchall()


def show(what: str, figures: dict[str, list[float]]) -> None:
    first = next(iter(figures))
    for name, values in figures.items():
        ratio = statistics.median(values) / statistics.median(figures[first])
        print(f"{what:36s} {name:24s} {spread(values, 'µs'):34s} × {ratio:.2f}")


async def asynchronous(root: Path, ids: list[int], mine: list[int]) -> None:
    """The blocking sqlite3 on a thread for each call is what an asyncio application would do without Tenfold."""
    figures: dict[str, list[float]] = {"sqlite3 on a thread": [], "tenfold": []}
    with closing(sqlite3.connect(root / "var" / "shard_0.db", check_same_thread=False)) as file:
        async with await tenfold.connect_async(root / "tenfold.toml") as db:
            for round_ in range(ROUNDS + 1):
                started = time.perf_counter()
                for n in range(READS):
                    await asyncio.to_thread(fetch, file, mine[n % len(mine)])
                between = time.perf_counter()
                for n in range(READS):
                    await db.execute(READ, (ids[n % len(ids)],))
                ended = time.perf_counter()
                if round_:  # the first is the warm-up
                    figures["sqlite3 on a thread"].append((between - started) / READS * 1e6)
                    figures["tenfold"].append((ended - between) / READS * 1e6)
    show("point read, asyncio", figures)


if __name__ == "__main__":
    main()
