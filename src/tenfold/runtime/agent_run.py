"""The agent: collectors, figures, page, socket and balancer put together. Edge."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tenfold.balancer.render import ACCESS_LOG, ACCESS_LOG_COLUMNS
from tenfold.balancer.upstreams import backend_address, backend_name
from tenfold.dashboard import inputs as page
from tenfold.dashboard.view import view
from tenfold.monitor.collect.certificates import ROUND_S, Certificates
from tenfold.monitor.collect.disks import Disks
from tenfold.monitor.collect.health import Health
from tenfold.monitor.collect.host import HostFigures
from tenfold.monitor.collect.machine import Machine
from tenfold.monitor.collect.nginx_log import NginxLog, Read
from tenfold.monitor.collect.probes import Probes, Question
from tenfold.monitor.collect.sessions import Sessions
from tenfold.monitor.live import HISTORY_S, Live
from tenfold.monitor.receive import Batch, Name
from tenfold.monitor.store import Store
from tenfold.monitor.wire import HTTP
from tenfold.runtime import agent_place, agent_questions, agent_readings, agent_socket, agent_view, programs
from tenfold.runtime.agent_alerts import AgentAlerts, directories
from tenfold.runtime.agent_balancer import BalancerOwner
from tenfold.runtime.agent_collectors import Collecting
from tenfold.runtime.agent_commands import Commands
from tenfold.runtime.agent_deploys import DeployWatch
from tenfold.runtime.agent_history import KEPT, STEP_S, History
from tenfold.runtime.agent_keeper import Flush, Keeper
from tenfold.runtime.agent_notify import Notifier
from tenfold.runtime.agent_page import Page
from tenfold.runtime.agent_place import Counted
from tenfold.runtime.agent_remedy import FRESH_S as SEEN_S
from tenfold.runtime.agent_remedy import Remedy
from tenfold.runtime.agent_sight import RecordSight
from tenfold.runtime.fleet import Here
from tenfold.runtime.place import Place
from tenfold.topology.model import Topology
from tenfold.topology.operations import Keeper as DeployKeeper

FLUSH_S, SKETCHES_EVERY = 1.0, 10
LOG_S, HOST_S, PROBES_S = 0.5, 1.0, 0.25
# Whoever asks more often gets the same view again.
FRESH_S = 0.4
STOP_S = 1.0
# The number of what is not counted; Live gives others.
PROBE = 1 << 40
log = logging.getLogger(__name__)


def run(topology: Topology, place: Place, server: socket.socket, token: str, host: str | None = None) -> int:
    """Be the agent of `host` until SIGTERM or SIGINT; returns the exit code. `server`, `token`: of the page."""
    door = agent_socket.listen(place.agent_socket)
    try:
        asyncio.run(Agent(topology, place, server, token, host).run(door))
    finally:
        door.close()
        with suppress(FileNotFoundError):
            place.agent_socket.unlink()
    return 0


class Agent:
    """Everything here happens in one event loop; only collectors and the keeper have threads."""

    def __init__(
        self, topology: Topology, place: Place, server: socket.socket, token: str, host: str | None = None
    ) -> None:
        now_s = time.time()
        self._place, self._here = place, Here(topology, host)
        store = Store(place.agent / "history.db", time.time)
        past = store.read(list(KEPT.values()), now_s - HISTORY_S, now_s, HISTORY_S // STEP_S)
        self._cursor, tally = agent_place.load(self._place_file)
        self.facts = agent_view.Facts(topology, Live(now_s), History(past), tally)
        self.sessions = Sessions()
        self.record = RecordSight(place.state)
        self.owner = BalancerOwner(topology, place.var, place.balancer_record)
        self.notifier = Notifier(topology, place)
        self.alerts = AgentAlerts(self.facts, place, self.notifier)
        self.page = Page(self.view, server, token, place.agent / "page.key", self._act)
        commands = Commands(topology, self.page, self.owner, self.sessions, self.record, self.view, self.facts.live)
        words = {**commands.by_name, "notify": self.notifier.command, "alerts": self.alerts.command}
        self.door = agent_socket.Door(words, self._register, self._observed)
        self.keeper = Keeper(lambda: store, self._place_file)
        self._health = topology.app.health.partition("?")[0]
        self._gaps = 0
        self.since_s, self._me, self._cpu = now_s, psutil.Process(), (time.monotonic(), 0.0)
        self._viewed: tuple[float, dict[str, Any]] | None = None
        self._collectors = self._make_collectors()
        self.remedy = Remedy(
            self._here,
            place,
            self.facts,
            self.record,
            lambda: self.owner.wanted,
            lambda: self._is_fresh("backends"),
            self.notifier.outbox,
        )

    @property
    def topology(self) -> Topology:
        return self.facts.topology

    @property
    def _place_file(self) -> Path:
        return self._place.agent / "nginx-access.place"

    async def run(self, door: socket.socket) -> None:
        """Until a signal asks for the end."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        for collector in self._collectors:
            collector.start()
        self.notifier.start()
        work = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("page", self.page.serve()),
                ("socket", self.door.serve(door)),
                ("balancer", self.owner.run()),
                ("flush", self._flush_for_ever()),
                ("remedies", self.remedy.run()),
                ("deploys", DeployWatch(self.topology, self._place, os.environ).run()),
            )
        ]
        # What is loaded by now stays: the collector of garbage need not look at it again and again.
        gc.freeze()
        log.info("the agent is up: %s", self.page.url)
        ended, _ = await asyncio.wait({*work, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        await self._end(work)
        for task in ended & set(work):
            task.result()  # a part that ended by itself is a bug of ours: the supervisor starts us anew

    async def _end(self, work: list[asyncio.Task[None]]) -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await asyncio.gather(*(collector.stop(STOP_S) for collector in self._collectors))
        self._flush(with_sketches=True)
        self.keeper.close(STOP_S)
        self.alerts.close(STOP_S)
        self.notifier.stop(STOP_S)

    # --- what comes in ---

    def _make_collectors(self) -> list[Collecting[Any]]:
        topology, place = self.topology, self._place
        backends = programs.backends(topology, {}, sys.executable)
        balancer = programs.balancer(topology, [], {})
        services: dict[str, Question] = {agent_view.NGINX: self._question(balancer)}
        if topology.cache is not None:
            services[agent_questions.CACHE] = agent_questions.cache(topology.cache)
        tail = NginxLog(
            place.var / ACCESS_LOG,
            list(ACCESS_LOG_COLUMNS),
            {backend_address(topology, position): backend_name(position) for position in range(len(backends))},
            topology.app.health,
            self._cursor,
        )
        host = HostFigures(place.var, self.record.leaders)
        return [
            Collecting(
                "nginx's log",
                tail.collect,
                self._requests,
                interval_s=LOG_S,
                clock=time.monotonic,
                again=lambda read: read.behind,
            ),
            Collecting("host", host.collect, self._machine, interval_s=HOST_S),
            self._probing("backends", {p.name: self._of_backend(position, p) for position, p in enumerate(backends)}),
            self._probing("shards", agent_questions.shards(topology)),
            self._probing("services", services),
            *self._looking_around(),
        ]

    def _looking_around(self) -> list[Collecting[Any]]:
        disks = Disks(directories(self.topology, self._place))
        certificates = Certificates(self.topology.monitor.certificates, self._place.root)

        async def look(now_s: float) -> Any:
            self.alerts.look()
            return await disks.collect(now_s)

        found: list[Collecting[Any]] = [
            Collecting("disks", look, self._saw("disks"), interval_s=agent_readings.DISKS_S)
        ]
        if self.topology.monitor.certificates:
            found.append(
                Collecting(
                    "certificates",
                    certificates.collect,
                    self._saw("certificates"),
                    interval_s=agent_readings.CERTIFICATES_S,
                    timeout_s=ROUND_S,
                )
            )
        return found

    def _saw(self, fact: str) -> Callable[[Any], None]:
        return lambda found: setattr(self.facts, fact, found)

    def _question(self, program: programs.Program) -> Question:
        if self._here.host and self.topology.deploy.keeper is DeployKeeper.SYSTEMD:  # there is no supervisor of ours
            return agent_questions.of_elsewhere(program)
        return agent_questions.of_program(program, lambda: self.record.entry(program.name))

    def _is_fresh(self, name: str) -> bool:
        seen = next(collector.seen() for collector in self._collectors if collector.name == name)
        return seen.ok and seen.age_s is not None and seen.age_s < SEEN_S

    def _of_backend(self, position: int, program: programs.Program) -> Question:
        return self._question(program) if position in self._here.backends else agent_questions.of_elsewhere(program)

    def _probing(self, name: str, questions: Mapping[str, Question]) -> Collecting[Mapping[str, Health]]:
        return Collecting(name, Probes(questions).collect, self._saw(name), interval_s=PROBES_S)

    def _requests(self, read: Read) -> None:
        facts, batch = self.facts, read.batch
        facts.log_read, self._cursor = True, read.cursor
        if read.gaps > self._gaps:
            log.warning("nginx's log was emptied and its copy is nowhere to be found: some requests are not counted")
            self._gaps = read.gaps
        facts.tally.add(batch)
        if len(batch):
            served = [batch.backends[position] for position in batch.backend.tolist()]
            facts.live.request(time.time(), served, batch.status, batch.seconds, batch.time_s)
            for backend, clients in batch.clients.items():
                self.sessions.seen(backend, clients, time.monotonic())

    def _machine(self, machine: Machine) -> None:
        self.facts.machine = machine
        self.facts.history.saw(machine, time.time())

    def _register(self, name: Name) -> int:
        # Our own questions are no traffic; neither are the supervisor's.
        if name.kind == HTTP and name.labels[1] == self._health:
            return PROBE
        return self.facts.live.register(name.kind, name.labels)

    def _observed(self, batch: Batch) -> None:
        asked = batch.ids != PROBE
        self.facts.live.observations(time.time(), batch.ids[asked], batch.seconds[asked])

    # --- what goes out ---

    def view(self) -> dict[str, Any]:
        """All there is to see, made anew when the last one is older than FRESH_S."""
        clock_s = time.monotonic()
        if self._viewed is None or clock_s - self._viewed[0] >= FRESH_S:
            facts = self.facts
            facts.wanted, facts.agent = self.owner.wanted, self._self()
            names = [backend_name(position) for position in range(len(self.topology.app.backends))]
            facts.sessions = {name: self.sessions.count(name, clock_s) for name in names}
            self._viewed = (clock_s, view(agent_view.inputs(facts, time.time())))
        return self._viewed[1]

    async def _act(self, action: str, fields: Mapping[str, str], who: str) -> None:
        await self.alerts.act(action, fields, who)
        self._viewed = None  # whoever has acted sees what has come of it

    def _self(self) -> page.Agent:
        return page.Agent(
            since_s=self.since_s,
            cpu=self._cpu[1],
            memory_bytes=self._me.memory_info().rss,
            dropped=self.door.dropped,
            broken_lines=self.facts.tally.broken + self.facts.live.broken,
            store_trouble=self.keeper.trouble,
            store_bytes=self.keeper.bytes,
            collectors=[collector.seen() for collector in self._collectors],
        )

    async def _flush_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        due_s, spent_s, number = loop.time(), self._spent_s(), 0
        while True:
            due_s = max(due_s + FLUSH_S, loop.time())
            await asyncio.sleep(due_s - loop.time())
            before_s, (since_s, _) = spent_s, self._cpu
            spent_s, now_s = self._spent_s(), time.monotonic()
            self._cpu = (now_s, (spent_s - before_s) / max(1e-3, now_s - since_s))
            number += 1
            self._judge(time.time())
            self._flush(with_sketches=number % SKETCHES_EVERY == 0)

    def _judge(self, now_s: float) -> None:
        self.facts.wanted, self.facts.agent = self.owner.wanted, self._self()
        self.alerts.evaluate(now_s)

    def _flush(self, *, with_sketches: bool) -> None:
        now_s = time.time()
        self.facts.agent = self._self()
        taken = self.facts.live.take_sketches(now_s) if with_sketches else {}
        sketches = {agent_view.sketch_name(name): sketch for name, sketch in taken.items()}
        counted = Counted(self._cursor, self.facts.tally.as_json())
        self.keeper.keep(Flush(now_s, agent_view.tick(self.facts, now_s), counted, sketches))

    def _spent_s(self) -> float:
        times = self._me.cpu_times()
        return times.user + times.system
