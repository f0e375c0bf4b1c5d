"""Writers at a pace and readers beside them, each in processes of their own, as `bench_moves` needs them. Edge."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import tenfold
from tenfold.errors import TenfoldError

PROCESSES, THREADS = 2, 4
WRITES_S = 1000.0
READS_S, SCATTERS_S = 50.0, 1.0
POINT = "SELECT id, name, balance FROM users WHERE id = ?"
SCATTER = "SELECT id, user_id, amount FROM deposits ORDER BY created_at DESC LIMIT 10"
UPDATE = "UPDATE users SET balance = balance + 1 WHERE id = ?"
_CHANGE = "UPDATE deposits SET amount = ? WHERE id = ? AND user_id = ?"
_INSERT = "INSERT INTO deposits (user_id, note, amount, created_at) VALUES (?, ?, ?, '2030-01-01 00:00:00')"
_DELETE = "DELETE FROM deposits WHERE id = ? AND user_id = ?"
Acts = list[tuple[str, Callable[[], int], float]]
"""Kind, what does it once and tells whose user's rows it wrote, and seconds between two of them."""


class Sample(NamedTuple):
    """One statement: "write", "point read" or "scatter"; times by the monotonic clock; user: whose rows it wrote."""

    kind: str
    begun_s: float
    ended_s: float
    user: int


class Load:
    """What runs beside, until it is asked for what it saw."""

    def __init__(self) -> None:
        self._pipes: list[Connection] = []

    def add(self, pipe: Connection) -> None:
        """One process more, once it is ready."""
        assert pipe.recv() == "ready"
        self._pipes.append(pipe)

    def end(self) -> list[Sample]:
        """Stop, → all that was done. Raises SystemExit for a statement that failed."""
        for pipe in self._pipes:
            pipe.send("stop")
        found: list[Sample] = []
        for pipe in self._pipes:
            samples, errors = pipe.recv()
            found += [Sample(*each) for each in samples]
            if errors:
                raise SystemExit(f"{len(errors)} statements failed beside the move: {errors[:3]}")
        self._pipes = []
        return found


@contextmanager
def beside(file: Path, rows: int) -> Iterator[Load]:
    """1,000 writes a second, point reads and scatters, from processes that run from here on."""
    load, spawn = Load(), multiprocessing.get_context("spawn")
    started = []
    for number in range(PROCESSES + 1):
        ours, theirs = spawn.Pipe()
        target = _write if number < PROCESSES else _read
        process = spawn.Process(target=target, args=(str(file), rows, number, theirs), daemon=True)
        process.start()
        started.append(process)
        load.add(ours)
    try:
        yield load
    finally:
        for process in started:
            process.terminate()
            process.join()


def _write(file: str, rows: int, number: int, pipe: Connection) -> None:
    pace_s = PROCESSES * THREADS / WRITES_S
    with tenfold.connect(file) as db:
        acts: Acts = [("write", Writer(db, rows, number * THREADS + nth), pace_s) for nth in range(THREADS)]
        _run(acts, pipe)


def _read(file: str, rows: int, number: int, pipe: Connection) -> None:
    chance, users = random.Random(number), rows // 5

    def point() -> int:
        user = chance.randint(1, users)
        assert len(db.execute(POINT, (user,)).rows) == 1
        return user

    def scatter() -> int:
        assert len(db.execute(SCATTER).rows) == 10
        return 0

    with tenfold.connect(file) as db:
        _run([("point read", point, 1 / READS_S), ("scatter", scatter, 1 / SCATTERS_S)], pipe)


class Writer:
    """Calls write once, → the user whose rows they wrote: new deposits, changed and deleted ones, and balances."""

    def __init__(self, db: Any, rows: int, number: int) -> None:
        self._db, self._users, self._deposits = db, rows // 5, rows - rows // 5
        self._chance = random.Random(number)
        self._mine: list[tuple[int, int]] = []

    def __call__(self) -> int:
        chance = self._chance
        user, act = chance.randint(1, self._users), chance.random()
        if act < 0.45:
            deposit = chance.randint(1, self._deposits)
            user = 1 + (deposit - 1) % self._users
            self._db.execute(_CHANGE, (chance.randint(1, 10**6), deposit, user))
        elif act < 0.7:
            reply = self._db.execute(_INSERT, (user, "a deposit that came while all was moving", 7))
            self._mine.append((reply.lastrowid, user))
        elif act < 0.75 and self._mine:
            row = self._mine.pop(chance.randrange(len(self._mine)))
            user = row[1]
            assert self._db.execute(_DELETE, row).rowcount == 1
        else:
            self._db.execute(UPDATE, (user,))
        return user


def _run(acts: Acts, pipe: Connection) -> None:
    """Each act on a thread of its own, at its pace, until somebody says stop."""
    stop, samples, errors = threading.Event(), list[tuple[str, float, float, int]](), list[str]()

    def work(kind: str, act: Callable[[], int], pace_s: float, due_s: float) -> None:
        while not stop.is_set():
            now_s = time.monotonic()
            if now_s < due_s:
                time.sleep(due_s - now_s)
            # What was not done in time is made up for, but not for ever: nobody drives faster than the servers can.
            due_s = max(due_s + pace_s, now_s - 1)
            begun_s = time.monotonic()
            try:
                user = act()
            except (TenfoldError, AssertionError) as error:
                errors.append(f"{kind}: {error!r}")
            else:
                samples.append((kind, begun_s, time.monotonic(), user))

    now_s = time.monotonic()
    threads = [
        threading.Thread(target=work, args=(*act, now_s + act[2] * nth / len(acts))) for nth, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    pipe.send("ready")
    pipe.recv()
    stop.set()
    for thread in threads:
        thread.join()
    pipe.send((samples, errors))
