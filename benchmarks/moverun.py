"""A move in a process of its own that remembers when it did what, and its peer: mariadb-dump | mariadb. Edge."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from tests.mariadb import ACCOUNT, PASSWORD, Server
from tests.support import program

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.mover import Limits, Mover
from tenfold.sharding.moves.record import Leg
from tenfold.topology.load import load

GRACE_S = 2.0
STEPS = ("fence", "drain", "compare", "bump", "moved", "open")
"""Of a cutover, in their order: each lasts until the next begins."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One set of buckets behind its fence. parts: seconds of each of STEPS; given: the taker serves them now, else the
    fence was lifted again, of buckets that are not told."""

    began_s: float
    ended_s: float
    buckets: frozenset[int]
    given: bool
    parts: Mapping[str, float]

    @property
    def lasted_ms(self) -> float:
        return (self.ended_s - self.began_s) * 1000


@dataclass
class Run:
    """What a mover has told. phases: name → (began, ended); cpu: phase → process → seconds of CPU; times: monotonic."""

    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    pauses: list[Pause] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def seconds(self, *phases: str) -> float:
        return sum(self.phases[name][1] - self.phases[name][0] for name in phases)


class Recording:
    """A `Progress` that writes down when it was told what."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.run = Run()
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._phase: tuple[str, float, dict[str, float]] | None = None
        self._steps: list[tuple[str, float]] = []
        self._left = list(range(BUCKETS))

    def step(self, name: str) -> None:
        stage, _, what = name.partition(".")
        if stage == "cutover":
            self._steps.append((what, time.monotonic()))

    def rows(self, done: int, total: int) -> None:
        pass

    def say(self, event: dict[str, Any]) -> None:
        now_s = time.monotonic()
        if event["event"] == "phase":
            self._ends(now_s)
            self._phase = (event["phase"], now_s, self._cpu())
        elif event["event"] in ("cut over", "busy", "differs"):
            self._paused(now_s, event.get("buckets", 0))
        if event["event"] not in ("phase", "cut over"):
            self.run.told.append(event)

    def _ends(self, now_s: float) -> None:
        if self._phase:
            name, began_s, before = self._phase
            self.run.phases[name] = (began_s, now_s)
            self.run.cpu[name] = {who: spent - before[who] for who, spent in self._cpu().items()}

    def _paused(self, now_s: float, given: int) -> None:
        """given: so many buckets; 0: none, as the fence was lifted."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        parts = dict.fromkeys(STEPS, 0.0)
        for (what, at_s), (_, next_s) in zip(steps, [*steps[1:], ("", now_s)], strict=True):
            parts[what] += next_s - at_s
        # Buckets are given in order.
        buckets, self._left = frozenset(self._left[:given]), self._left[given:]
        self.run.pauses.append(Pause(steps[0][1], now_s, buckets, bool(given), parts))

    def _cpu(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: spent.user + spent.system for name, spent in times.items()}


def moved(file: Path, servers: Mapping[str, Server]) -> Run:
    """Move all buckets of the first server to the second, until they are served there."""
    return _in_a_process(_move, file, servers)


def finished(file: Path, servers: Mapping[str, Server]) -> Run:
    """Delete what is left on the first."""
    return _in_a_process(_finish, file, servers)


def _in_a_process(target: Any, file: Path, servers: Mapping[str, Server]) -> Run:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(
        target=target, args=(str(file), {name: server.pid for name, server in servers.items()}, theirs)
    )
    process.start()
    theirs.close()
    try:
        run: Run = ours.recv()
    except EOFError:
        raise SystemExit("the mover has failed") from None
    process.join()
    return run


def _move(file: str, pids: dict[str, int], pipe: Connection) -> None:
    source, target = pids
    recording = Recording(pids | {"mover": os.getpid()})
    mover = Mover(load(Path(file)), recording)
    mover.begin([Leg(source, target, tuple(range(BUCKETS)))])
    mover.run()
    pipe.send(recording.run)


def _finish(file: str, pids: dict[str, int], pipe: Connection) -> None:
    recording = Recording(pids | {"mover": os.getpid()})
    Mover(load(Path(file)), recording, Limits(grace_s=GRACE_S)).finish()
    pipe.send(recording.run)


def dumped(servers: Sequence[Server], database: str, tables: tuple[str, ...]) -> tuple[float, float]:
    """`mariadb-dump | mariadb` from the first server to a database of its own on the second → its begin and end."""
    source, target = servers
    target.create("peer")
    login = f"--no-defaults --host=127.0.0.1 --user={ACCOUNT} --skip-ssl"
    dump = f"{program('mariadb-dump')} {login} --port={source.port} --single-transaction --no-tablespaces"
    line = f"{dump} {database} {' '.join(tables)} | {program('mariadb')} {login} --port={target.port} peer"
    began_s = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, env=os.environ | {"MYSQL_PWD": PASSWORD})
    ended_s = time.monotonic()
    for table in tables:
        ((there,),) = target.sql(f"SELECT COUNT(*) FROM peer.{table}")
        assert there, f"the dump has brought no {table}"
    target.drop("peer")
    return began_s, ended_s
