"""What does SQL over three shards cost, beside one server, Spider and SQLAlchemy's sharded session? Edge.

All sides run the same statements on the same rows with the same session settings, in turn, in one run. "bare" is the
driver on one server that holds everything; "bare ×3" has the rows where Tenfold has them, and an application that
hashes the key itself. Client and servers share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import tenfold
from benchmarks.mariadb import Fleet, fleet, missing
from benchmarks.platforms import SHARDS
from benchmarks.report import alternate, heading, spread
from benchmarks.sqlpeers import (
    AsyncCall,
    Call,
    Operation,
    bare,
    bare_async,
    connected,
    connected_async,
    on_tasks,
    on_threads,
    owner,
    routed,
    through,
    through_async,
)
from benchmarks.sqlsharded import Sharded

USERS, THREADS, TASKS, SLEEP_S = 100_000, 8, 32, 0.02
NEW_IDS = itertools.count(10_000_000)
PROBES = [next(key for key in itertools.count(1) if owner(key) == shard) for shard in SHARDS]
Figures = dict[str, list[float]]


def key(number: int) -> int:
    """The user of the nth call: all of them, in an order that no cache foresees."""
    return 1 + number * 7919 % USERS


OPERATIONS = (
    Operation("point read", "SELECT id, name, balance FROM users WHERE id = ?", lambda n: (key(n),), asyncio=True),
    Operation(
        "update", "UPDATE users SET balance = balance + 1 WHERE id = ?", lambda n: (key(n),), asyncio=True, reads=False
    ),
    Operation(
        "insert",
        "INSERT INTO deposits (user_id, id, amount, created_at) VALUES (?, ?, ?, ?)",
        lambda n: (key(n), next(NEW_IDS), 7, -n),
        reads=False,
    ),
    Operation(
        "in of 10",
        f"SELECT id, name, balance FROM users WHERE id IN ({', '.join('?' * 10)})",
        lambda n: tuple(key(10 * n + i) for i in range(10)),
        asyncio=True,
    ),
    Operation(
        "ordered limit 10",
        "SELECT id, user_id, amount, created_at FROM deposits WHERE amount >= ? ORDER BY created_at DESC LIMIT 10",
        lambda n: (n % 50,),
        asyncio=True,
    ),
    Operation("group by country", "SELECT country, COUNT(*), SUM(balance) FROM users GROUP BY country", lambda n: ()),
    Operation("count", "SELECT COUNT(*) FROM users", lambda n: ()),
    Operation(
        "join grouped by key",
        "SELECT u.id, u.name, COUNT(*), SUM(d.amount) FROM users u JOIN deposits d ON d.user_id = u.id "
        "WHERE u.country = ? GROUP BY u.id, u.name",
        lambda n: (f"c{n % 100}",),
    ),
)
POINT, IN = OPERATIONS[0], OPERATIONS[3]
SLEEP = f"SELECT id, SLEEP({SLEEP_S}) AS waited FROM probes"


def rows() -> dict[str, str]:
    """What each table holds, as a SELECT that any MariaDB server answers by itself."""
    return {
        "users": "SELECT seq AS id, CONCAT('user ', seq) AS name, CONCAT('c', seq MOD 100) AS country, "
        f"(seq * 7919) MOD 1000 AS balance FROM seq_1_to_{USERS}",
        "deposits": f"SELECT 1 + (seq - 1) MOD {USERS} AS user_id, seq AS id, (seq * 31) MOD 500 AS amount, "
        f"(seq * 7919) MOD 1000003 AS created_at FROM seq_1_to_{2 * USERS}",
        "probes": " UNION ALL ".join(f"SELECT {probe} AS id" for probe in PROBES),
    }


class Board:
    """Prints figures as they come and remembers which targets were reached.

    A ratio is the median of the rounds' ratios: the two figures of one round were made within the same second.
    """

    def __init__(self) -> None:
        self.verdicts: list[str] = []

    def show(self, what: str, figures: Figures, unit: str = "/s", digits: int = 0) -> None:
        base = next(iter(figures))
        for name, values in figures.items():
            ratio = ratio_of(figures, name, base)
            print(f"{what:22s} {name:28s} {spread(values, unit, digits):30s} × {ratio:.2f}", flush=True)
        print()

    def at_least(self, what: str, figures: Figures, side: str, beside: str, limit: float) -> None:
        ratio = ratio_of(figures, side, beside)
        self._verdict(f"{what}: {side} is × {ratio:.2f} of {beside}, to reach ≥ {limit}", ratio >= limit)

    def at_most(self, what: str, figures: Figures, side: str, beside: str, limit: float) -> None:
        ratio = ratio_of(figures, side, beside)
        self._verdict(f"{what}: {side} is × {ratio:.2f} of {beside}, to reach ≤ {limit}", ratio <= limit)

    def _verdict(self, told: str, reached: bool) -> None:
        self.verdicts.append(f"{told}: {'OK' if reached else 'MISSED'}")

    def end(self) -> None:
        print("\n".join(self.verdicts))


def ratio_of(figures: Figures, side: str, beside: str) -> float:
    return statistics.median(ours / theirs for ours, theirs in zip(figures[side], figures[beside], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the rounds, and less to be trusted")
    parser.add_argument("--without-spider", action="store_true")
    asked = parser.parse_args()
    heading("What does SQL over three shards cost, beside one server, Spider and SQLAlchemy's sharded session?")
    if why := missing():
        print(why)
        return
    slice_s, rounds = (0.04, 7) if asked.quick else (0.06, 21)
    board = Board()
    with fleet(rows(), spider=not asked.without_spider) as servers, tenfold.connect(servers.file) as db:
        with ExitStack() as stack:
            Blocking(servers, db, stack, board).measure(slice_s, rounds)
        with asyncio.Runner() as runner:
            runner.run(asynchronous(servers, board, slice_s, rounds))
            waiting(servers, db, board, 10 if asked.quick else 20)
    board.end()


class Blocking:
    """The sides without asyncio."""

    def __init__(self, servers: Fleet, db: tenfold.Database, stack: ExitStack, board: Board) -> None:
        self.servers, self.db, self.board, self._stack = servers, db, board, stack
        self.single = stack.enter_context(closing(connected(servers.single)))
        self.each = {
            name: stack.enter_context(closing(connected(server)))
            for name, server in zip(SHARDS, servers.shards, strict=True)
        }
        self.spider = servers.head and stack.enter_context(closing(connected(servers.head)))
        self.sharded = stack.enter_context(closing(Sharded(servers)))
        self.compiled = mysqlclient()
        self.fast = self.compiled and stack.enter_context(closing(connected(servers.single, self.compiled)))

    def sides(self, operation: Operation) -> dict[str, Call]:
        found = {"bare PyMySQL": bare(self.single, operation)}
        if operation.name in ("point read", "update", "insert"):
            found["bare PyMySQL ×3"] = routed(self.each, operation)
        if self.fast:
            found["bare mysqlclient"] = bare(self.fast, operation)
        if self.spider:
            found["Spider"] = bare(self.spider, operation)
        found["horizontal_shard"] = self.sharded.call(operation)
        return found | {"Tenfold": through(self.db, operation)}

    def measure(self, slice_s: float, rounds: int) -> None:
        # Reads first: the writes of the sides go to different copies of the rows.
        for operation in sorted(OPERATIONS, key=lambda one: not one.reads):
            sides = self.sides(operation)
            if operation.reads:
                agree(operation.name, {name: call(7) for name, call in sides.items()})
            figures = alternate(rounds, {name: rate_of(call, slice_s) for name, call in sides.items()})
            self.board.show(operation.name, figures)
            self._targets(operation, figures)
        threads = {
            f"bare PyMySQL, {THREADS} threads": [bare(self._more(), POINT) for _ in range(THREADS)],
            f"Tenfold, {THREADS} threads": [through(self.db, POINT)] * THREADS,
        }
        figures = alternate(rounds, {name: partial(on_threads, calls, slice_s) for name, calls in threads.items()})
        self.board.show(POINT.name, figures)

    def _more(self) -> Any:
        return self._stack.enter_context(closing(connected(self.servers.single)))

    def _targets(self, operation: Operation, figures: Figures) -> None:
        if operation is POINT:
            self.board.at_least("point read", figures, "Tenfold", "bare PyMySQL", 0.85)
        for of, limit in ((POINT, 5.0), (IN, 10.0)):
            if operation is of and "Spider" in figures:
                self.board.at_least(of.name, figures, "Tenfold", "Spider", limit)


def agree(what: str, answers: dict[str, Any]) -> None:
    """See that all sides give the same rows. Speed of wrong answers is of no interest."""
    first, *others = [(name, sorted(tuple(row) for row in answer)) for name, answer in answers.items()]
    for name, rows in others:
        if rows != first[1]:
            raise SystemExit(f"{what}: {name} answers otherwise than {first[0]}: {len(rows)} and {len(first[1])} rows")


def mysqlclient() -> Any:
    """The module, where it was built."""
    try:
        import MySQLdb
    except ImportError:
        return None
    return MySQLdb


def rate_of(call: Call, seconds: float) -> Callable[[], float]:
    """Measures calls a second over about so many seconds, going on with fresh numbers each time."""
    numbers = itertools.count()

    def measure() -> float:
        done, passed, started = 0, 0.0, time.perf_counter()
        while passed < seconds:
            call(next(numbers))
            done += 1
            passed = time.perf_counter() - started
        return done / passed

    return measure


async def asynchronous(servers: Fleet, board: Board, slice_s: float, rounds: int) -> None:
    """asyncmy on one server beside Tenfold, one after the other and by many tasks."""
    connections = [await connected_async(servers.single) for _ in range(TASKS)]
    async with await tenfold.connect_async(servers.file) as db:
        for operation in (one for one in OPERATIONS if one.asyncio):
            sides = {
                "bare asyncmy": bare_async(connections[0], operation),
                "Tenfold asyncio": through_async(db, operation),
            }
            figures = await together({name: [call] for name, call in sides.items()}, slice_s, rounds)
            board.show(operation.name, figures)
            if operation is POINT:
                board.at_least("point read", figures, "Tenfold asyncio", "bare asyncmy", 0.85)
        many: dict[str, list[AsyncCall]] = {
            f"bare asyncmy, {TASKS} tasks": [bare_async(one, POINT) for one in connections],
            f"Tenfold asyncio, {TASKS} tasks": [through_async(db, POINT)] * TASKS,
        }
        board.show(POINT.name, await together(many, slice_s, rounds))
    for connection in connections:
        connection.close()


async def together(sides: dict[str, list[AsyncCall]], slice_s: float, rounds: int) -> Figures:
    """`alternate` within the loop to which the connections belong."""
    figures: Figures = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name, calls in sides.items():
            figure = await on_tasks(calls, slice_s)
            if round_:
                figures[name].append(figure)
    return figures


def waiting(servers: Fleet, db: tenfold.Database, board: Board, rounds: int) -> None:
    """A statement that waits on each of three shards, beside the slowest of them alone."""
    with ExitStack() as stack:
        alone = [stack.enter_context(closing(connected(server))) for server in servers.shards]
        sleep = Operation("sleep", SLEEP, lambda n: ())
        sides: dict[str, Call] = {f"{shard} alone": bare(one, sleep) for shard, one in zip(SHARDS, alone, strict=True)}
        sides["Tenfold"] = through(db, sleep)
        figures = alternate(rounds, {name: partial(milliseconds, call) for name, call in sides.items()})
    slowest = max(SHARDS, key=lambda shard: statistics.median(figures[f"{shard} alone"]))
    board.show(f"{SLEEP_S * 1e3:.0f} ms on each shard", figures, "ms", 1)
    board.at_most("scatter of waits", figures, "Tenfold", f"{slowest} alone", 1.3)


def milliseconds(call: Call) -> float:
    started = time.perf_counter()
    call(0)
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
