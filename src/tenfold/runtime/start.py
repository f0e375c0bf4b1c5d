"""The steps from a platform's file to its first answer: check, set up the shards, start, probe. Edge."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tenfold.balancer.apply import Prepared, prepare
from tenfold.errors import PlatformError
from tenfold.runtime import preflight, programs
from tenfold.runtime.output import SHOWN_LINES
from tenfold.runtime.place import Place
from tenfold.runtime.probe import status_of
from tenfold.runtime.programs import Kind, Program
from tenfold.runtime.supervisor import Supervisor
from tenfold.runtime.voice import Voice
from tenfold.runtime.wording import ending, quoted
from tenfold.topology.addresses import listen_address
from tenfold.topology.commands import arguments
from tenfold.topology.model import Topology

T = TypeVar("T")
NOTE = "note: "
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """The platform once it is up: what the block at the end, or the JSON object, tells."""

    name: str
    url: str
    backends: list[dict[str, Any]]
    shards: list[str]
    logs: str
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """One object, with our pid: SIGTERM to it stops the platform."""
        return {"platform": self.name, "url": self.url, "pid": os.getpid(), "backends": self.backends} | {
            "shards": self.shards,
            "logs": self.logs,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a platform.

    ports_hint  the remedy for taken ports
    environ     what the programs get besides their own variables
    secrets     values that are blotted out of shown lines
    """

    topology: Topology
    place: Place
    voice: Voice
    supervisor: Supervisor
    ports_hint: str
    environ: Mapping[str, str]
    secrets: Sequence[str]

    @property
    def address(self) -> programs.Address:
        """Where the balancer answers."""
        return programs.balancer_address(self.topology.balancer.listen)

    async def run(self) -> Running:
        """Everything from the first check to the first answer through the balancer."""
        preflight.raise_file_limit()
        backends = programs.backends(self.topology, self.environ, sys.executable)
        setup = self._setup_program()
        backends = [self._found(program, "app.command") for program in backends]
        # The very address: on all of them is taken too when somebody has one.
        listen = programs.Address(*listen_address(self.topology.balancer.listen))
        needed = {program.name: program.address for program in backends}
        preflight.check_ports({"balancer": listen} | needed, self.ports_hint)
        # Before the app's set-up, which may take long: whoever has no nginx learns it at once.
        prepared = await _aside(lambda: prepare(self.topology, self.place.var))
        for warning in prepared.warnings:
            self.voice.warn(warning)
        begun_s = time.monotonic()
        await _aside(self._initialise)
        shards = list(self.topology.database.shards)
        self.voice.step("shards", " ".join(shards), time.monotonic() - begun_s)
        notes = await self._set_up(setup) if setup else []
        weights = [backend.weight for backend in self.topology.app.backends]
        await self.supervisor.start(backends, lambda p, took_s: self.voice.step(p.name, str(p.address), took_s))
        await self._start_balancer(prepared)
        return Running(
            name=self.topology.platform.name,
            url=self.address.url,
            backends=[
                {"name": program.name, "url": program.address.url, "weight": weight}
                for program, weight in zip(backends, weights, strict=True)
            ],
            shards=shards,
            logs=str(self.place.log),
            notes=notes,
        )

    def _initialise(self) -> None:
        # Here, not above: it brings the parser of SQL, which takes longer to import than all checks take to run.
        from tenfold.sharding.engine.initialise import initialise

        initialise(self.topology)

    def _found(self, program: Program, where: str) -> Program:
        path = preflight.find_program(program.argv[0], program.environment, self.place.root, where)
        return replace(program, argv=(path, *program.argv[1:]))

    def _setup_program(self) -> Program | None:
        if self.topology.app.setup is None:
            return None
        program = Program(
            name="setup",
            kind=Kind.SETUP,
            argv=tuple(arguments(self.topology.app.setup, python=sys.executable)),
            address=self.address,
            health="/",
            host="",
            environment=programs.app_environment(self.topology, self.environ, sys.executable),
        )
        return self._found(program, "app.setup")

    async def _set_up(self, program: Program) -> list[str]:
        """Run the app's set-up command; returns its notes. Raises PlatformError with its last lines."""
        begun_s, notes, said = time.monotonic(), list[str](), list[str]()

        def on_line(line: str) -> None:
            if line.startswith(NOTE):
                notes.append(line.removeprefix(NOTE).strip())
            else:
                on_error(line)

        def on_error(line: str) -> None:
            said.append(line)
            del said[:-SHOWN_LINES]
            self.voice.passed_on(line)

        by_hand = f"run it by hand in {self.place.root}: {shlex.join(program.argv)}"
        try:
            code = await self.supervisor.run_once(program, on_line, on_error)
        except OSError as error:
            raise PlatformError(f"app.setup cannot be started: {error.strerror}", hint=by_hand) from None
        if code:
            lines = quoted(said, self.secrets)
            raise PlatformError(f"the app's set-up {ending(code)}; its last lines:\n{lines}", hint=by_hand)
        self.voice.step("setup", "done", time.monotonic() - begun_s)
        return notes

    async def _start_balancer(self, prepared: Prepared) -> None:
        program = programs.balancer(self.topology, prepared.command, self.environ)
        said = f"{program.address} nginx {'.'.join(map(str, prepared.nginx.version))}"
        await self.supervisor.start([program], lambda p, took_s: self.voice.step(p.name, said, took_s))
        path = self.topology.app.health
        status = await status_of(program.address, path, program.host, timeout_s=ANSWER_S)
        if status is None or status >= 500:
            what = f"answers {path} with {status}" if status else f"does not answer {path}"
            raise PlatformError(
                f"all backends are well, but the balancer {what}",
                hint=f"nginx's own words are in {prepared.error_log}",
            )


async def _aside(work: Callable[[], T]) -> T:
    """Do blocking work in a thread that nobody waits for at the end: a stop must not hang on it."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name="aside").start()
    return await asyncio.wrap_future(outcome)
