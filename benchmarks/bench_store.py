"""What does a day of history cost? Tenfold's store beside plain SQLite rows, 200 series. Edge."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.report import alternate, heading, spread
from tenfold.monitor.rollup import DAY_S
from tenfold.monitor.sketch import Sketch
from tenfold.monitor.store import Store

SERIES, STEP_S, ROUNDS, APPENDS = 200, 10, 5, 200
# One tick in ten seconds for both sides, for a row for each sample and second would take minutes to write.
TICKS = DAY_S // STEP_S
START = 1_700_006_400  # a midnight
NAMES = [f'tenfold_example{{place="{number}"}}' for number in range(SERIES)]


class Rows:
    """The usual table, as good as it can be: WAL, clustered by series, one transaction a tick."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = NORMAL"):
            self.file.execute(f"PRAGMA {setting}")
        self.file.execute("CREATE TABLE sample (series, t, value REAL, PRIMARY KEY (series, t)) WITHOUT ROWID")

    def append(self, second: int, values: dict[str, float]) -> None:
        self.file.execute("BEGIN")
        rows = [(place, second, value) for place, value in enumerate(values.values())]
        self.file.executemany("INSERT INTO sample VALUES (?, ?, ?)", rows)
        self.file.execute("COMMIT")

    def day(self) -> int:
        sql = "SELECT series, t / 300, AVG(value) FROM sample WHERE t >= ? AND t < ? GROUP BY 1, 2"
        return len(self.file.execute(sql, (START, START + DAY_S)).fetchall())

    def raw(self) -> int:
        sql = "SELECT t, value FROM sample WHERE series = 7 AND t >= ? AND t < ?"
        return len(self.file.execute(sql, (START, START + DAY_S)).fetchall())


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def show(what: str, figures: dict[str, list[float]], unit: str) -> None:
    base = statistics.median(figures["SQLite rows"])
    for name, values in figures.items():
        print(f"{what:44s} {name:16s} {spread(values, unit, 2):34s} × {statistics.median(values) / base:.3f}")


def main() -> None:
    heading(f"What does a day of history cost? {SERIES} series")
    chance = np.random.default_rng(1)
    table = chance.lognormal(3, 1, (1_000, SERIES)).tolist()
    ticks = [dict(zip(NAMES, row, strict=True)) for row in table]
    with tempfile.TemporaryDirectory() as directory:
        store, rows = Store(Path(directory) / "store.db", time.time), Rows(Path(directory) / "rows.db")
        for number in range(TICKS):
            store.append(START + number * STEP_S, ticks[number % 1_000])
            rows.append(START + number * STEP_S, ticks[number % 1_000])
        next_s = dict.fromkeys(("rows", "store"), START + DAY_S)

        def append(side: str, write: Callable[[int, dict[str, float]], None]) -> float:
            started = time.perf_counter()
            for number in range(APPENDS):
                write(next_s[side] + number * STEP_S, ticks[number])
            next_s[side] += APPENDS * STEP_S
            return (time.perf_counter() - started) / APPENDS * 1e6

        end = START + DAY_S
        show("24 h of all series, in steps of 5 min", alternate(ROUNDS, {
            "SQLite rows": lambda: milliseconds(rows.day),
            "tenfold": lambda: milliseconds(lambda: store.read(NAMES, START, end, 288)),
        }), "ms")  # fmt: skip
        show(f"24 h of one series, each of {TICKS} ticks", alternate(ROUNDS, {
            "SQLite rows": lambda: milliseconds(rows.raw),
            "tenfold": lambda: milliseconds(lambda: store.read(NAMES[7:8], START, end, DAY_S)),
        }), "ms")  # fmt: skip
        show("one tick written, roll-ups included", alternate(ROUNDS, {
            "SQLite rows": lambda: append("rows", rows.append),
            "tenfold": lambda: append("store", store.append),
        }), "µs")  # fmt: skip
        size = {"SQLite rows": [rows.path.stat().st_size / 2**20], "tenfold": [store.bytes / 2**20]}
        show("on disk", size, "MiB")
        assert store.trouble is None and store.lost == 0
        store.close()
        rows.file.close()
        percentiles(Path(directory) / "sketches.db", chance)


def percentiles(path: Path, chance: np.random.Generator) -> None:
    """A day of sketches of 20 names; the rows of single requests that would answer the same are not even tried."""
    store, sketch = Store(path, time.time), Sketch()
    sketch.add(chance.lognormal(-3, 1, 1_000))
    for end in range(START + 10, START + DAY_S + 1, 10):
        store.append_sketches(end, dict.fromkeys(NAMES[:20], sketch))
    figures = [milliseconds(lambda: store.sketch(NAMES[3], START + 1_230, START + DAY_S - 70).quantile(0.95))
               for _ in range(ROUNDS + 1)]  # fmt: skip
    print(f"{'p95 of 23.6 h, 8.5 million requests':44s} {'tenfold':16s} {spread(figures[1:], 'ms', 2)}")
    assert store.trouble is None
    store.close()


if __name__ == "__main__":
    main()
