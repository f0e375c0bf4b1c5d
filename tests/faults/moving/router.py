"""A router process: threads or tasks that write or read, and a way to cut it off the catalog. Edge."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenfold.errors import NodeDown
from tenfold.sharding.engine.sqlite import SqliteDriver
from tests.faults.moving.handle import handles
from tests.faults.moving.plan import Plan
from tests.faults.moving.reader import read
from tests.faults.moving.world import World
from tests.faults.moving.writer import write

CUT, JOIN = signal.SIGUSR1, signal.SIGUSR2


def may_be_cut(shard: str) -> None:
    """From now on signals cut this process off the SQLite file of a shard, and join it again. A server is cut off
    by the line to it; a file has none."""
    cut: list[int] = []
    # No Event: a handler that interrupts the other would wait for its lock for ever.
    signal.signal(CUT, lambda *_: cut.append(1))
    signal.signal(JOIN, lambda *_: cut.clear())

    def cutting(act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(driver: SqliteDriver, *values: Any, **more: Any) -> Any:
            if cut and driver._shard == shard:
                raise NodeDown(f"{shard} cannot be reached")
            return act(driver, *values, **more)

        return acting

    for name in ("execute", "execute_many", "begin", "commit"):
        setattr(SqliteDriver, name, cutting(getattr(SqliteDriver, name)))


def processed(root: Path, name: str, work: Callable[[], None]) -> None:
    """Run a process of ours to its end; what goes wrong is written down, and ends it with 1."""
    with (root / f"{name}.err").open("w") as errors:
        os.dup2(errors.fileno(), 2)
        faulthandler.register(signal.SIGQUIT, file=errors, all_threads=True, chain=False)
        code = 0
        try:
            work()
        except BaseException:
            traceback.print_exc(file=errors)
            code = 1
        errors.flush()
        sys.stderr.flush()
        # Without what a test run leaves to do at the end of a process.
        os._exit(code)


def writing(
    mutant: Callable[[], None], file: Path, root: Path, plan: Plan, world: World, first: int, interface: str, count: int
) -> None:
    """Be a router with `count` writers, of which the first has the number `first`."""

    def work() -> None:
        mutant()
        if plan.engine == "sqlite":
            may_be_cut("shard_0")
        give = handles(file, interface)

        def be(number: int) -> Callable[[], None]:
            return lambda: write(number, plan.engine, world, root, give(), f"{plan.seed} writer {number}")

        _together([be(first + position) for position in range(count)])

    processed(root, f"writers_{first}", work)


def reading(mutant: Callable[[], None], file: Path, root: Path, plan: Plan, world: World, count: int) -> None:
    """Be a router with `count` readers: the first blocking, the second of tasks."""

    def work() -> None:
        mutant()
        if plan.engine == "sqlite":
            may_be_cut("shard_0")
        interfaces = ("threads", "tasks") if plan.seed % 2 else ("dbapi", "tasks")
        gives = [handles(file, interface) for interface in interfaces[:count]]

        def be(number: int) -> Callable[[], None]:
            return lambda: read(number, world, root, gives[number](), f"{plan.seed} reader {number}")

        _together([be(number) for number in range(count)])

    processed(root, "readers", work)


def _together(works: list[Callable[[], None]]) -> None:
    """In threads; raises the first error of any."""
    failed: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # in turns, so that signals are taken
            thread.join(0.05)
    if failed:
        raise failed[0]
