"""What does it cost to plan a statement, one that is known and one that is not? For both dialects. Edge.

Measured is all that passes until a shard is asked: finding or making the plan, and hashing the keys. "same text"
runs one text with parameters again and again; "new literal" writes the values into the text, so that only its
normalised form is known; "fresh text" was never seen in any form. Shapes of tables are known.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import mariadb
from benchmarks.platforms import platform
from benchmarks.report import heading, percentile
from tenfold.sharding.catalog import load as load_catalog
from tenfold.sharding.engine.router import new_executor, one_off_runner
from tenfold.sharding.execute import Executor
from tenfold.sharding.ports import Params
from tenfold.topology.load import load

HIT_US, MISS_US, JOIN_MISS_US = 10.0, 300.0, 1_500.0
NAME = "created_at"


@dataclass(frozen=True)
class Asked:
    """text: {a} is a name, in letters of either size, which makes a text fresh; each {v} a value, `?` or a literal."""

    name: str
    text: str
    values: int
    miss_us: float

    def same(self, number: int) -> tuple[str, Params]:
        return self._written(NAME, ["?"] * self.values), self._numbers(number)

    def literal(self, number: int) -> tuple[str, Params]:
        return self._written(NAME, [str(value) for value in self._numbers(number)]), ()

    def fresh(self, number: int) -> tuple[str, Params]:
        return self._written(spelt(number), ["?"] * self.values), self._numbers(number)

    def _numbers(self, number: int) -> tuple[int, ...]:
        return tuple(range(self.values * number, self.values * (number + 1)))

    def _written(self, name: str, values: list[str]) -> str:
        return self.text.replace("{a}", name).replace("{v}", "%s") % tuple(values)


def spelt(number: int) -> str:
    """NAME with another choice of capitals for each number below 512."""
    bits = (number >> place & 1 for place in range(len(NAME)))
    return "".join(letter.upper() if letter.isalpha() and next(bits) else letter for letter in NAME)


TEN = ", ".join(["{v}"] * 10)
ASKED = (
    Asked("point read", "SELECT id, name, balance AS {a} FROM users WHERE id = {v}", 1, MISS_US),
    Asked("IN(10)", f"SELECT id, name, balance AS {{a}} FROM users WHERE id IN ({TEN})", 10, MISS_US),
    Asked(
        "INSERT",
        "INSERT INTO deposits (user_id, id, amount, {a}) VALUES ({v}, {v}, {v}, {v})",
        4,
        MISS_US,
    ),
    Asked("UPDATE", "UPDATE users AS {a} SET balance = {v} WHERE id = {v}", 2, MISS_US),
    Asked(
        "join, GROUP BY",
        "SELECT u.id, u.name, COUNT(*) AS {a}, SUM(d.amount) FROM users u JOIN deposits d ON d.user_id = u.id "
        "WHERE u.balance > {v} GROUP BY u.id, u.name ORDER BY u.id LIMIT 20",
        1,
        JOIN_MISS_US,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls, and less to be trusted")
    hits, misses = (300, 60) if parser.parse_args().quick else (2_000, 400)
    heading("What does it cost to plan a statement?")
    print(f"{'median (99 %) in µs':28s} {'same text':>17s} {'new literal':>17s} {'fresh text':>17s}")
    missed = []
    for dialect, opened in (("SQLite", on_sqlite), ("MariaDB", on_mariadb)):
        if opened is on_mariadb and (why := mariadb.missing()):
            print(why)
            continue
        with opened() as executor:
            for asked in ASKED:
                missed += measure(f"{dialect}: {asked.name}", executor, asked, hits, misses)
    print(f"\nknown ≤ {HIT_US:.0f} µs, fresh ≤ {MISS_US:.0f} µs, joins with GROUP BY ≤ {JOIN_MISS_US:.0f} µs: ", end="")
    print("\n  ".join(["MISSED by", *missed]) if missed else "OK")


def measure(name: str, executor: Executor, asked: Asked, hits: int, misses: int) -> list[str]:
    """Print one line; → what was not reached."""
    for number in range(3):  # a plan is shared between texts only once a second one of a kind was met
        ask(executor, *asked.literal(number))
    figures = {
        "same text": calls_us(executor, asked.same, hits),
        "new literal": calls_us(executor, asked.literal, hits),
        "fresh text": calls_us(executor, asked.fresh, misses),
    }
    limits = {"same text": HIT_US, "new literal": HIT_US, "fresh text": asked.miss_us}
    told = (f"{statistics.median(values):8.1f} ({percentile(values, 0.99):6.1f})" for values in figures.values())
    print(f"{name:28s}", *told)
    return [f"{name}, {kind}" for kind, values in figures.items() if statistics.median(values) > limits[kind]]


def calls_us(executor: Executor, text: Callable[[int], tuple[str, Params]], count: int) -> list[float]:
    """Microseconds of each of `count` calls, after one that is not counted."""
    texts = [text(number + 1) for number in range(count + 1)]
    found = []
    for sql, params in texts:
        started = time.perf_counter()
        ask(executor, sql, params)
        found.append((time.perf_counter() - started) * 1e6)
    return found[1:]


def ask(executor: Executor, sql: str, params: Params) -> None:
    """All that is done before a shard is asked, and no more."""
    steps = executor.execute(sql, params, None)
    next(steps)
    steps.close()


@contextmanager
def on_sqlite() -> Iterator[Executor]:
    """An executor over three SQLite shards."""
    with tempfile.TemporaryDirectory() as directory, knowing(platform(Path(directory), mariadb.KEYS)) as executor:
        yield executor


@contextmanager
def on_mariadb() -> Iterator[Executor]:
    """An executor over three MariaDB shards."""
    with mariadb.servers(3) as (root, shards), knowing(mariadb.platform(root, shards, mariadb.KEYS)) as executor:
        yield executor


@contextmanager
def knowing(file: Path) -> Iterator[Executor]:
    """An executor that has read the shapes of all tables."""
    topology = load(file)
    with one_off_runner(topology) as runner:
        executor = new_executor(runner.run(load_catalog(topology)), topology)
        for table, columns in mariadb.TABLES.items():
            portable = columns.partition(", KEY")[0]  # SQLite has no word for an index here
            runner.run(executor.execute(f"CREATE TABLE {table} ({portable})", (), None))
        for table in mariadb.TABLES:
            runner.run(executor.planned(f"SELECT * FROM {table} WHERE {mariadb.KEYS[table]} = 1"))
        yield executor


if __name__ == "__main__":
    main()
