"""One run from its plan to its verdict: starts the processes, does to them what the plan says, and counts. Edge."""

from __future__ import annotations

import heapq
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any

import pytest

from tenfold.sharding.keys import BUCKETS
from tests.faults.moving import mutants
from tests.faults.moving.board import Board
from tests.faults.moving.checker import Checker
from tests.faults.moving.clean import FROM_CLEAN
from tests.faults.moving.frozen import FrozenRouter
from tests.faults.moving.log import counts, wrongs
from tests.faults.moving.mover import move
from tests.faults.moving.plan import Attempt, Fault, Moment, Plan
from tests.faults.moving.router import CUT, JOIN, reading, writing
from tests.faults.moving.shards import Wire, hide_file, lock_file
from tests.faults.moving.world import GROUP, LASTING_POSTS, World, schema, world
from tests.mariadb import Server, fresh_databases
from tests.sharding.engine.sites import Site
from tests.support import free_port, wait_for

LONGEST_S = 90.0
"""A move that has not ended after so long will not; on a machine that does nothing else it takes 3 s."""
WARM_S, COOL_S = 0.25, 0.2


@dataclass(eq=False)
class MoverProcess:
    """One attempt. fate: what will become of it; answer: whether it waits for one."""

    process: Process
    line: Connection
    name: str
    fate: Attempt | None
    began_s: float
    waits: bool = False
    held: bool = False
    gone: bool = False


@dataclass
class Run:
    """A run of `plan` on a site that is made, with tables. servers: of its shards, in order, if it has any."""

    plan: Plan
    site: Site
    servers: Sequence[Server] = ()
    mutant: Callable[[], None] = mutants.none
    root: Path = field(init=False)
    world: World = field(init=False)
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    _timed: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: int = 0
    _seen: dict[str, int] = field(default_factory=dict)
    _movers: list[MoverProcess] = field(default_factory=list)
    _routers: list[Process | FrozenRouter] = field(default_factory=list)
    _others: list[Process] = field(default_factory=list)
    _wires: list[Wire] = field(default_factory=list)
    _repairs: list[Callable[[], None]] = field(default_factory=list)
    _killed: set[int] = field(default_factory=set)
    _turned: bool = False
    _ended: str = ""

    def __post_init__(self) -> None:
        self.root, self.world = self.site.root, world(self.plan)
        self._attempts, self._faults = list(self.plan.attempts), list(self.plan.faults)
        self._began_s = time.monotonic()

    def verdict(self) -> list[str]:
        """Run → what is wrong; nothing if nothing is."""
        try:
            self._fill()
            ledger = self.site.look("shard_0", "SELECT shard, object FROM tf_object")
            before = dict(self.site.look("shard_0", "SELECT bucket, shard FROM tf_bucket"))
            self._start_routers()
            self._go_on(WARM_S)
            if self.plan.goal == "none":
                self._go_on(1.5)
            else:
                self._move()
            self._go_on(COOL_S)  # for a router that still goes by what was
            self._mend()
            self._go_on(COOL_S)
            self._stop_routers()
            self.wrong += wrongs(self.root)
            self._say(f"{counts(self.root)}")
            self.site.sweep()
            checker = Checker(self.site, self.root, self.world, self._moved_in_the_end())
            self.wrong += checker.all(ledger, before)
        finally:
            self._end_all()
        return self.wrong

    def _say(self, what: str) -> None:
        self.told.append(f"{time.monotonic():.3f} {what}")

    def _fill(self) -> None:
        """Rows that are there from the beginning; the writers add the others."""
        board = Board(self.root / "board", self.world.size)
        self.board = board
        with self.site.connect() as db:
            db.executemany(
                "INSERT INTO pillars (user_id, weight, v) VALUES (?, ?, 0)", list(self.world.pillars.items())
            )
            db.executemany("INSERT INTO accounts (user_id, balance) VALUES (?, 0)", [(u,) for u in self.world.accounts])
            db.executemany(
                "INSERT INTO posts (id, slot, v) VALUES (?, ?, 0)", [(n + 1, n) for n in range(LASTING_POSTS)]
            )
        for own in self.world.own:
            for place, key in own.keys().items():
                if key.table == "pillars":
                    board.acknowledge(place, 0, present=True, home=True)

    def _moved_in_the_end(self) -> list[tuple[str, str, tuple[int, ...]]]:
        if self.plan.goal != "finish" or self._ended != "done":
            return []
        pinned = [b for (b,) in self.site.look("shard_0", "SELECT bucket FROM tf_bucket WHERE bucket > ?", (BUCKETS,))]
        return [(s, t, tuple(pinned[0] if b == BUCKETS else b for b in buckets)) for s, t, buckets in self.plan.legs]

    # --- routers ---

    def _start_routers(self) -> None:
        first = 0
        for interface, count in self.plan.writers:
            args = (self.mutant, self._file(), self.root, self.plan, self.world, first, interface, count)
            if first == 0 and self.plan.seed % 3 == 0 and self.mutant is mutants.none:
                self._routers.append(FrozenRouter(self.root, args))
            else:
                self._routers.append(self._started(writing, args))
            first += count
        args_ = (self.mutant, self._file(), self.root, self.plan, self.world, self.plan.readers)
        self._routers.append(self._started(reading, args_))
        logs = [f"writer_{number}.log" for number in range(first)]
        logs += [f"reader_{number}.log" for number in range(self.plan.readers)]
        wait_for(lambda: all((self.root / log).exists() for log in logs), "routers connect", 30)

    @staticmethod
    def _started(work: Callable[..., None], args: tuple[Any, ...]) -> Process:
        process = FROM_CLEAN.Process(target=work, args=args, daemon=True)
        process.start()
        return process

    def _file(self) -> Path:
        """The tenfold.toml of one router; of servers, with a line of its own to the catalog."""
        if not self.servers:
            return self.site.file
        wire = Wire(free_port(), self.servers[0].port)
        self._wires.append(wire)
        text = self.site.file.read_text().replace(f":{self.servers[0].port}/", f":{wire.port}/", 1)
        path = self.root / f"router_{len(self._wires)}.toml"
        path.write_text(text)
        return path

    def _stop_routers(self) -> None:
        self.board.stop()
        for number, router in enumerate(self._routers):
            router.join(12)
            if router.exitcode is None:
                os.kill(router.pid or 0, signal.SIGQUIT)  # says where its threads are
                time.sleep(0.3)
                self.wrong.append(f"router {number} does not end")
            elif router.exitcode and number not in self._killed:
                self.wrong.append(f"router {number} ended with {router.exitcode}: {self._errors()}")

    def _errors(self) -> str:
        return "\n".join(text[-3000:] for path in self.root.glob("*.err") if (text := path.read_text()))

    # --- time and faults ---

    def _at(self, after_s: float, act: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._timed, (time.monotonic() + after_s, self._numbers, act))

    def _due(self) -> float:
        """Do what is due → seconds until the next."""
        while self._timed and self._timed[0][0] <= time.monotonic():
            heapq.heappop(self._timed)[2]()
        return min(0.1, max(0.0, self._timed[0][0] - time.monotonic())) if self._timed else 0.1

    def _go_on(self, for_s: float) -> None:
        until_s = time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, self._due()))

    def _mend(self) -> None:
        """Everything that is to be mended later is mended now."""
        for repair in self._repairs:
            repair()
        self._timed.clear()

    def _strike(self, fault: Fault) -> None:
        self._say(f"{fault}")
        act, repair = self._acts(fault)
        act()
        if repair is not None:
            self._repairs.append(repair)
            self._at(fault.for_s, repair)

    def _acts(self, fault: Fault) -> tuple[Callable[[], None], Callable[[], None] | None]:
        router, path = self._routers[fault.target % len(self._routers)], None
        if not self.servers:
            path = self.site.path(f"shard_{fault.target % 3}")
        if fault.kind == "stop":
            return lambda: self._signal(router, signal.SIGSTOP), lambda: self._signal(router, signal.SIGCONT)
        if fault.kind == "cut" and self.servers:
            wire = self._wires[fault.target % len(self._wires)]
            return wire.hang if self.plan.seed % 2 else wire.cut, wire.join
        if fault.kind == "cut":
            return lambda: self._signal(router, CUT), lambda: self._signal(router, JOIN)
        if fault.kind == "kill":
            self._killed.add(self._routers.index(router))
            return router.kill, None
        if path is not None and fault.kind == "lock":
            return lambda: self._others.append(lock_file(path, fault.for_s)), None
        if path is not None:
            return self._hiding(path)
        server = self.servers[fault.target % 3]
        if fault.kind == "hang":
            return server.pause, server.resume

        def crash() -> None:
            server.kill()
            server.start()

        return crash, None

    @staticmethod
    def _hiding(path: Path) -> tuple[Callable[[], None], Callable[[], None]]:
        repairs: list[Callable[[], None]] = []

        def hide() -> None:
            if path.exists():
                repairs.append(hide_file(path))

        def bring_back() -> None:
            for repair in repairs:
                repair()

        return hide, bring_back

    @staticmethod
    def _signal(process: Process | FrozenRouter, number: int) -> None:
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, number)

    # --- the mover ---

    def _move(self) -> None:
        for fault in self._faults:
            if fault.when.name is None:
                self._at(fault.when.after_s, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self._next_mover()
        until_s = time.monotonic() + LONGEST_S
        while not self._ended:
            due_s = self._due()
            lines = [one.line for one in self._movers if not one.gone]
            if not lines:
                time.sleep(due_s)
            for ready in wait(lines, due_s) if lines else ():
                self._hear(next(one for one in self._movers if one.line is ready))
            if time.monotonic() > until_s:
                self.wrong.append(f"the move does not end: {self.told[-12:]} {self._errors()}")
                return
        self._say("the move has ended")

    def _next_mover(self) -> None:
        near, far = FROM_CLEAN.Pipe()
        name = f"mover_{len(self._movers)}"
        fate = self._attempts.pop(0) if self._attempts else None
        args = (self.site.file, self.root, name, far, self.plan.legs, self.plan.goal, self._turned, self.plan.ahead)
        process = self._started(move, args)
        far.close()
        mover = MoverProcess(process, near, name, fate, time.monotonic())
        self._movers.append(mover)
        if fate is not None and fate.when.name is None:
            self._at(fate.when.after_s, lambda: self._befall(mover))

    def _hear(self, mover: MoverProcess) -> None:
        try:
            kind, what = mover.line.recv()
        except (EOFError, OSError):
            mover.gone = True
            mover.process.join(5)
            if mover.process.exitcode not in (0, -signal.SIGKILL):
                self.wrong.append(f"{mover.name} ended with {mover.process.exitcode}: {self._errors()}")
            self._say(f"{mover.name} has gone ({mover.process.exitcode})")
            if mover is self._movers[-1] and not self._ended:
                self._at(0.02, self._next_mover_after(mover))
            return
        if kind == "step":
            self._step(mover, what)
        else:
            self._say(f"{mover.name} {kind} {what}")
        if kind == "ended" and what == "done":
            self._ended = what
        elif kind == "failed" and mover is self._movers[-1]:
            time.sleep(0.05)

    def _next_mover_after(self, mover: MoverProcess) -> Callable[[], None]:
        return lambda: self._next_mover() if mover is self._movers[-1] and not self._ended else None

    def _step(self, mover: MoverProcess, name: str) -> None:
        for seen in ("", name):
            self._seen[seen] = self._seen.get(seen, 0) + 1
        self._say(f"{mover.name} step {name}")
        mover.waits = True
        for fault in [fault for fault in self._faults if self._is_now(fault.when, name)]:
            self._faults.remove(fault)
            self._strike(fault)
        if self.plan.goal == "early" and not self._turned and self._is_now(self.plan.turn, name):
            self._turned = True
            self._kill(mover)
            return
        if mover.fate is not None and mover.fate.when.name is not None and self._is_now(mover.fate.when, name):
            self._befall(mover)
        if not mover.held and not mover.gone:
            if name == "serving":
                self._at(self.plan.dwell_s, lambda: self._answer(mover))
            else:
                self._answer(mover)

    def _is_now(self, when: Moment, name: str) -> bool:
        # Also once it has passed, so that what is planned for a step of an attempt before happens in this one.
        return when.name in ("", name) and self._seen[when.name or ""] >= when.nth

    @staticmethod
    def _answer(mover: MoverProcess) -> None:
        if mover.waits and not mover.gone:
            mover.waits = False
            with suppress(OSError):
                mover.line.send("go on")

    def _befall(self, mover: MoverProcess) -> None:
        fate, mover.fate = mover.fate, None
        if fate is None or mover.gone or self._ended:
            return
        self._say(f"{mover.name} meets its fate: {fate}")
        if fate.fate == "kill":
            self._kill(mover)
            return
        # A zombie: somebody else takes over, and then it goes on.
        mover.held = True
        if fate.fate == "stop":
            self._answer(mover)
            self._signal(mover.process, signal.SIGSTOP)
        self._at(fate.for_s, lambda: self._revive(mover))
        if mover is self._movers[-1]:
            self._next_mover()

    def _revive(self, mover: MoverProcess) -> None:
        mover.held = False
        self._say(f"{mover.name} goes on")
        self._signal(mover.process, signal.SIGCONT)
        self._answer(mover)

    def _kill(self, mover: MoverProcess) -> None:
        self._say(f"{mover.name} is killed")
        mover.process.kill()

    # --- the end ---

    def _end_all(self) -> None:
        self._mend()
        self.board.stop()
        for process in [*(one.process for one in self._movers), *self._routers, *self._others]:
            if process.pid is not None:
                process.kill()
                process.join(5)
        for one in self._movers:
            one.line.close()
        for wire in self._wires:
            wire.cut()


def prepared(root: Path, plan: Plan, databases: Sequence[str] = ()) -> Site:
    """A platform for a run: three shards, tables, nothing in them."""
    site = Site(root, databases=databases)
    waits = f"lock_wait_s = 1.0\nstatement_s = 4.0\nconnect_s = 1.0\npool_wait_s = 2.0\nlease_s = {plan.lease_s}\n"
    site.write(GROUP, settings=waits)
    site.set_up(schema(plan.engine))
    for shard in site.shards[:2]:  # a pinned table can only move to where its table is
        (posts,) = [text for text in schema(plan.engine) if "TABLE posts" in text]
        site.look(shard, posts)
    return site


def run_seed(plan: Plan, root: Path, servers: Sequence[Server] = ()) -> None:
    """Run a plan below `root`; fails with what is wrong, what went on, and how to repeat it."""
    root.mkdir(exist_ok=True)
    with fresh_databases(servers, len(servers)) as databases:
        run = Run(plan, prepared(root / "site", plan, databases), servers)
        wrong = run.verdict()
    if wrong:
        kept = os.environ.get("TENFOLD_FAULT_KEEP")
        if kept:
            shutil.copytree(root / "site", Path(kept) / f"{plan.engine}_{plan.seed}", dirs_exist_ok=True)
            (Path(kept) / f"{plan.engine}_{plan.seed}" / "told").write_text("\n".join([f"{plan}", *run.told, *wrong]))
        again = f"python -m tests.faults.moving {plan.seed} {plan.engine} {plan.lease_s}"
        pytest.fail("\n".join([again, *wrong[:20], "what went on:", *run.told[-60:]]), pytrace=False)
