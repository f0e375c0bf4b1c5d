"""The steps from a platform's file to its first answer: check, set up the shards, start, probe. Edge."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.balancer.apply import Prepared, prepare
from tenfold.balancer.states import Wanted
from tenfold.errors import PlatformError
from tenfold.runtime import agent_balancer, agent_state, preflight, programs
from tenfold.runtime.aside import aside
from tenfold.runtime.fleet import Here
from tenfold.runtime.output import SHOWN_LINES
from tenfold.runtime.place import Place
from tenfold.runtime.probe import status_of
from tenfold.runtime.programs import Program
from tenfold.runtime.recipe import Recipe
from tenfold.runtime.supervisor import Supervisor
from tenfold.runtime.voice import Voice
from tenfold.runtime.wording import ending, quoted
from tenfold.topology.addresses import listen_address
from tenfold.topology.model import Topology

NOTE = "note: "
ANSWER_S = 10.0
# The agent tells where its page is before it loads all that it needs; nobody should wait for one that is ill.
PAGE_S = 10.0
WORDS = {Wanted.DRAIN: "drained", Wanted.DOWN: "down"}


@dataclass(frozen=True, slots=True)
class Running:
    """The platform once it is up: what the block at the end, or the JSON object, tells.

    url   where it answers; None on a host without the balancer
    page  the agent's page, with a link that opens it once; None when the agent has not come up
    host  what this machine is called in the environment; None: everything runs here
    """

    name: str
    url: str | None
    page: str | None
    backends: list[dict[str, Any]]
    shards: list[str]
    logs: str
    notes: list[str]
    host: str | None = None

    def as_json(self) -> dict[str, Any]:
        """One object, with our pid: SIGTERM to it stops the platform."""
        return {"platform": self.name, "url": self.url, "pid": os.getpid(), "backends": self.backends} | {
            "page": self.page,
            "shards": self.shards,
            "logs": self.logs,
            "notes": self.notes,
            "host": self.host,
        }


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a platform.

    recipe      makes the app's programs
    ports_hint  the remedy for taken ports
    environ     what the programs get besides their own variables
    secrets     values that are blotted out of shown lines
    """

    topology: Topology
    place: Place
    voice: Voice
    supervisor: Supervisor
    recipe: Recipe
    ports_hint: str
    environ: Mapping[str, str]
    secrets: Sequence[str]

    @property
    def address(self) -> programs.Address:
        """Where the balancer answers."""
        return programs.balancer_address(self.topology.balancer.listen)

    @property
    def here(self) -> Here:
        """This machine's part."""
        return self.recipe.here

    async def run(self) -> Running:
        """Everything from the first check to the first answer through the balancer, as far as this machine does it."""
        preflight.raise_file_limit()
        setup, backends = self.recipe.setup(self.address), self.recipe.backends()
        needed = {program.name: program.address for program in backends}
        if self.here.has_balancer:
            # The very address: on all of them is taken too when somebody has one.
            needed = {"balancer": programs.Address(*listen_address(self.topology.balancer.listen))} | needed
        preflight.check_ports(needed, self.ports_hint)
        # Before the app's set-up, which may take long: whoever has no nginx learns it at once.
        prepared = await self._prepared() if self.here.has_balancer else None
        begun_s = time.monotonic()
        if prepared:
            # Now already: it takes longer than the others to load, and none of them waits for it.
            socket = str(self.place.agent_socket)
            self.supervisor.begin(programs.agent(self.topology, self.environ, sys.executable, socket, self.here.host))
        shards = list(self.topology.database.shards)
        if self.here.sets_up:
            await aside(self._initialise)
            self.voice.step("shards", " ".join(shards), time.monotonic() - begun_s)
        notes = await self._set_up(setup) if setup else []
        await self.supervisor.start(backends, lambda p, took_s: self.voice.step(p.name, str(p.address), took_s))
        if prepared:
            await self._start_balancer(prepared)
        weights = [self.topology.app.backends[position].weight for position in self.here.backends]
        return Running(
            name=self.topology.platform.name,
            url=self.address.url if prepared else None,
            page=await self._page(begun_s) if prepared else None,
            backends=[
                {"name": program.name, "url": program.address.url, "weight": weight}
                for program, weight in zip(backends, weights, strict=True)
            ],
            shards=shards,
            logs=str(self.place.log),
            notes=notes,
            host=self.here.host,
        )

    async def _prepared(self) -> Prepared:
        states = agent_balancer.recorded(self.place.balancer_record, self.topology)
        prepared = await aside(lambda: prepare(self.topology, self.place.var, states))
        for warning in prepared.warnings:
            self.voice.warn(warning)
        for name, wanted in states.items():
            self.voice.warn(
                f"{name} is {WORDS[wanted]} since an earlier run; to have it back: tenfold balancer ready {name}"
            )
        return prepared

    async def _page(self, begun_s: float) -> str | None:
        """The link to the agent's page, which a platform can do without."""
        deadline_s = begun_s + PAGE_S
        while not self.supervisor.has_failed("agent"):
            about = agent_state.read(self.place.agent_state)
            # One that a killed agent has left tells of a page that is gone.
            if about and about.pid == self.supervisor.pid("agent"):
                self.voice.step("agent", f"{programs.NOWHERE.host}:{about.port}", time.monotonic() - begun_s)
                return about.link
            # Asked once at least: the app's set-up may have taken longer than the agent is waited for.
            if time.monotonic() >= deadline_s:
                break
            await asyncio.sleep(0.02)
        self.voice.warn("the agent has not come up, so nothing is watched; tenfold logs agent")
        return None

    def _initialise(self) -> None:
        # Here, not above: it brings the parser of SQL, which takes longer to import than all checks take to run.
        from tenfold.sharding.engine.initialise import initialise

        initialise(self.topology)

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

        where = program.release.directory if program.release else self.place.root
        by_hand = f"run it by hand in {where}: {shlex.join(program.argv)}"
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
        # On several hosts the backends may come up after the balancer.
        if (status is None or status >= 500) and self.here.host is None:
            what = f"answers {path} with {status}" if status else f"does not answer {path}"
            raise PlatformError(
                f"all backends are well, but the balancer {what}",
                hint=f"nginx's own words are in {prepared.error_log}",
            )
