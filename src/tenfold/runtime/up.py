"""`tenfold up`: the steps from a file to a platform that runs, until it is told to stop. Edge."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tenfold.balancer.upstreams import backend_name
from tenfold.errors import PlatformError
from tenfold.runtime import logs, programs
from tenfold.runtime.fleet import Here
from tenfold.runtime.output import FileOutput, Output, StreamOutput
from tenfold.runtime.place import Lock, Place
from tenfold.runtime.processes import Identity
from tenfold.runtime.recipe import Recipe
from tenfold.runtime.record import Record, end_left_over, read
from tenfold.runtime.start import Running, Start
from tenfold.runtime.supervisor import Supervisor
from tenfold.runtime.up_socket import serve
from tenfold.runtime.voice import Voice
from tenfold.runtime.wording import duration
from tenfold.topology.model import Topology

T = TypeVar("T")
NOTE = "note: "
PORTS_HINT = "end what has the port, or write another in balancer.listen or app.base_port"
HOUSEKEEPING_S = 1.0
# With --log-to stdout nginx still writes its own files; they are passed on as they grow.
FOLLOW_S = 0.25


@dataclass(slots=True)
class Wish:
    """What the outside asked of us by signals: to stop, and to make haste."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0

    def listen(self) -> None:
        """Ctrl-C, SIGTERM and the closing of the terminal stop; a second Ctrl-C kills."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup the user asked that the closing of the terminal be ignored.
            if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):
                loop.add_signal_handler(number, self._heard, number)

    def _heard(self, number: int) -> None:
        if self.stop.is_set() and number == signal.SIGINT:
            self.hurry.set()
        self.number = self.number or number
        self.stop.set()


def up(
    here: Here,
    voice: Voice,
    *,
    ready: Callable[[Running], None],
    log_to_stdout: bool = False,
    ports_hint: str = PORTS_HINT,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run this machine's part of the platform in the foreground until a signal stops it; returns the exit code.

    ready       called once all is well
    ports_hint  the remedy for taken ports
    Returns 0 for a stop that was asked for; 128 and the signal's number when that was before all was well.
    Raises PlatformError, BalancerError, ConfigError; then nothing of it is left running.
    """
    return asyncio.run(_Up(here, voice, ready, log_to_stdout, ports_hint, environ).run())


@dataclass(slots=True)
class _Up:
    here: Here
    voice: Voice
    ready: Callable[[Running], None]
    log_to_stdout: bool
    ports_hint: str
    environ: Mapping[str, str]

    @property
    def topology(self) -> Topology:
        return self.here.topology

    @property
    def place(self) -> Place:
        return Place.of(Path(self.topology.file))

    @property
    def address(self) -> programs.Address:
        return programs.balancer_address(self.topology.balancer.listen)

    async def run(self) -> int:
        wish = Wish()
        wish.listen()
        self.place.make()
        lock = Lock(self.place.lock)
        if not lock.take():
            raise already_running(self.place)
        try:
            self._clear()
            return await self._supervised(wish)
        finally:
            lock.release()

    def _clear(self) -> None:
        left = read(self.place.state)
        names = end_left_over(left) if left else []
        if names:
            self.voice.say(f"ended what a killed `tenfold up` had left: {', '.join(names)}")
        self.place.forget()

    async def _supervised(self, wish: Wish) -> int:
        output: Output = StreamOutput(self.voice.line) if self.log_to_stdout else FileOutput(self.place)
        me = Identity.of(os.getpid())
        about = Record(
            platform=self.topology.platform.name,
            file=str(self.topology.file),
            pid=os.getpid(),
            started=me.started if me else 0.0,
            url=self.address.url if self.here.has_balancer else "",
            host=self.here.host,
            expected=(
                *(backend_name(position) for position in self.here.backends),
                *(["balancer"] if self.here.has_balancer else []),
            ),
        )
        secrets = programs.secrets(self.topology.app, self.topology.cache, self.topology.database)
        socket = str(self.place.agent_socket)
        recipe = Recipe(self.here, self.place.root, self.environ, sys.executable, socket)
        supervisor = Supervisor(self.place, about, output, self.voice, secrets, recipe.again)
        begun_s, asked = time.monotonic(), asyncio.ensure_future(wish.stop.wait())
        start = Start(self.topology, self.place, self.voice, supervisor, recipe, self.ports_hint, self.environ, secrets)
        starting = asyncio.create_task(start.run())
        door = asyncio.create_task(self._serve(supervisor))
        try:
            if not await _first(starting, asked):
                return 128 + wish.number
            self.ready(starting.result())
            await self._until_asked(supervisor, asked)
            return 0
        finally:
            starting.cancel()
            asked.cancel()
            if wish.stop.is_set():
                self.voice.say("\nstopping (Ctrl-C again kills at once)")
                begun_s = time.monotonic()
            await supervisor.stop(wish.hurry)
            door.cancel()
            await asyncio.gather(door, return_exceptions=True)
            if wish.stop.is_set():
                self.voice.say(f"stopped in {duration(time.monotonic() - begun_s)}")

    async def _serve(self, supervisor: Supervisor) -> None:
        try:
            await serve(self.place.up_socket, supervisor, self.here.host)
        except OSError as error:  # a full disk: the platform goes on
            self.voice.warn(f"no restarts can be asked for: {self.place.up_socket}: {error.strerror}")

    async def _until_asked(self, supervisor: Supervisor, asked: asyncio.Future[Any]) -> None:
        work = [asyncio.create_task(supervisor.broken()), asyncio.create_task(self._keep_house(supervisor))]
        if self.log_to_stdout:
            work.append(asyncio.create_task(self._pass_on_nginx()))
        watched: set[asyncio.Future[Any]] = {asked, *work}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
        finally:
            for task in work:
                task.cancel()

    async def _keep_house(self, supervisor: Supervisor) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            supervisor.collect_orphans()
            ours = [self.place.log / f"{name}.log" for name in supervisor.names()]
            for path in [*ours, *self.place.nginx_logs()]:  # an app's own logs are the app's to rotate
                with suppress(OSError):  # a full disk: the log grows on, the platform goes on
                    logs.rotate(path)

    async def _pass_on_nginx(self) -> None:
        followers = {path.stem: logs.Follower(path) for path in self.place.nginx_logs()}
        while True:
            for name, follower in followers.items():
                for line in follower.new_lines():
                    self.voice.line(name, line)
            await asyncio.sleep(FOLLOW_S)


def already_running(place: Place) -> PlatformError:
    """What a second `up` is told."""
    other = read(place.state)
    who = (
        f"{other.platform} is already up: pid {other.pid}{other.url and f', {other.url}'}"
        if other
        else "another `tenfold up` is starting"
    )
    file = other.file if other else place.root / "tenfold.toml"
    return PlatformError(f"{who} ({place.root})", hint=f"tenfold down -f {file}")


async def _first(wanted: asyncio.Task[T], instead: asyncio.Future[Any]) -> bool:
    """Wait for either; tell whether `wanted` is done. Its error is raised."""
    watched: set[asyncio.Future[Any]] = {wanted, instead}
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    if wanted.done():
        wanted.result()
        return True
    wanted.cancel()
    with suppress(asyncio.CancelledError):
        await wanted
    return False
