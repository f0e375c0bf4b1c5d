"""The steps of a deploy in their order, from what is wanted and what runs now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tenfold.balancer.upstreams import backend_name
from tenfold.deploy.order import NOTHING_TO_UNDO, Kind, Mark, Order
from tenfold.topology.model import Role, Sticky, Topology

LOCAL = "local"
"""What this machine is called where the environment has no hosts."""


class Act(StrEnum):
    """What a step does; the last part of its name where it stands for a host or a backend."""

    PREFLIGHT = "preflight"
    UNPACK = "unpack"
    SHARED = "shared"
    INSTALL = "install"
    BUILD = "build"
    SEAL = "seal"
    MIGRATE = "migrate"
    TABLES = "tables"
    BASELINE = "baseline"
    DRAIN = "drain"
    DOWN = "down"
    SWITCH = "switch"
    RESTART = "restart"
    HEALTH = "health"
    TIMING = "timing"
    READY = "ready"
    CACHE = "cache"
    VERIFY = "verify"
    CONTRACT = "contract"
    CLEANUP = "cleanup"
    PRUNE = "prune"


RELEASE = (Act.UNPACK, Act.SHARED, Act.INSTALL, Act.BUILD, Act.SEAL)
"""What makes a release on a host, in this order."""


@dataclass(frozen=True, slots=True)
class Item:
    """One step, before it is made into something that can be done.

    name     the journal's key
    lane     what it belongs to: where one step of a lane could not be taken back, those before it are left, too
    host     None: none
    backend  position; None: none
    about    a file of migrations, else ""
    """

    name: str
    act: Act
    lane: str
    said: str
    host: str | None = None
    backend: int | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps of one purpose. Lanes go side by side, the steps of a lane one after the other.

    changes  whether a failure in it is taken back; of those before it nothing is to be taken back
    after    whether the deploy is good already: a failure in it is told, and takes nothing back
    """

    name: str
    lanes: tuple[tuple[Item, ...], ...]
    changes: bool = True
    after: bool = False

    @property
    def items(self) -> tuple[Item, ...]:
        """All its steps."""
        return tuple(item for lane in self.lanes for item in lane)


Plan = tuple[Phase, ...]


def app_hosts(topology: Topology) -> dict[str, list[int]]:
    """Host → positions of the backends that it runs; hosts without any are left out."""
    found: dict[str, list[int]] = {}
    for position in range(len(topology.app.backends)):
        found.setdefault(topology.backend_host(position) or LOCAL, []).append(position)
    return found


def balancer_host(topology: Topology) -> str:
    """The host whose agent writes nginx's configuration."""
    return next((name for name, host in topology.hosts.items() if Role.BALANCER in host.roles), LOCAL)


def every_host(topology: Topology) -> list[str]:
    """The hosts that a deploy reaches, in the order of the file."""
    wanted = {*app_hosts(topology), balancer_host(topology)}
    return [name for name in topology.hosts if name in wanted] or [LOCAL]


def is_alone(topology: Topology) -> bool:
    """Whether there is one backend only, which cannot be replaced without a pause."""
    return len(topology.app.backends) == 1


def planned(topology: Topology, order: Order) -> Plan:
    """The plan; the same for the same order, so that whoever takes a deploy back knows its steps."""
    phases = [
        _of_hosts("preflight", topology, (Act.PREFLIGHT,), changes=False),
        Phase("baseline", () if order.cold else (tuple(_each(topology, Act.BASELINE)),), changes=False),
    ]
    if order.kind is Kind.DEPLOY:
        phases.append(_release(topology, order))
        phases.append(Phase("migrations", (tuple(_migrations(order)),)))
    phases += [
        Phase(backend_name(position), (tuple(_backend(topology, order, position)),))
        for position in range(len(topology.app.backends))
        if order.before.get(backend_name(position)) != order.release
    ]
    if not order.cold:
        phases.append(Phase("cache", (tuple(_cache(topology)),)))
        phases.append(Phase("verification", ((_verify(topology),),)))
    phases.append(Phase("contract", (tuple(_contracts(order)),)))
    if order.kind is Kind.DEPLOY:
        phases.append(_of_hosts("cleanup", topology, (Act.CLEANUP,), after=True))
        phases.append(Phase("backups", (tuple(_prune(topology)),), after=True))
    return tuple(phase for phase in phases if phase.items)


def backwards(plan: Plan, marks: Mapping[str, Mark]) -> Iterator[tuple[tuple[Item, ...], ...]]:
    """What is to be taken back, the last first: for each phase its lanes, which may go side by side.

    marks  what the journal says of each step that was begun
    """
    for phase in reversed(plan):
        if phase.after or not phase.changes:
            continue
        lanes = tuple(
            tuple(item for item in reversed(lane) if item.name in marks and marks[item.name] not in NOTHING_TO_UNDO)
            for lane in phase.lanes
        )
        lanes = tuple(lane for lane in lanes if lane)
        if lanes:
            yield lanes


_SAID = {
    Act.PREFLIGHT: "disk, memory, descriptors, programs, services",
    Act.UNPACK: "unpack the release beside the others",
    Act.SHARED: "link what all releases share",
    Act.INSTALL: "install dependencies",
    Act.BUILD: "build",
    Act.SEAL: "set permissions, mark the release as complete",
    Act.CLEANUP: "remove releases that nobody needs",
    Act.BASELINE: "measure response times before",
    Act.DRAIN: "no new clients",
    Act.DOWN: "no requests at all, and nobody left on it",
    Act.SWITCH: "lead its link to the release",
    Act.RESTART: "restart",
    Act.HEALTH: "health gate",
    Act.TIMING: "response-time gate",
    Act.READY: "take clients again",
}


def _of_hosts(
    name: str, topology: Topology, acts: tuple[Act, ...], *, changes: bool = True, after: bool = False
) -> Phase:
    hosts = every_host(topology) if Act.PREFLIGHT in acts else app_hosts(topology)
    lanes = tuple(tuple(Item(f"{host}.{act.value}", act, host, _SAID[act], host) for act in acts) for host in hosts)
    return Phase(name, lanes, changes, after)


def _release(topology: Topology, order: Order) -> Phase:
    """The release on every host that runs a backend, side by side."""
    settings = topology.deploy
    acts = [
        act
        for act in RELEASE
        if not (
            (act is Act.SHARED and not settings.shared)
            or (act is Act.INSTALL and settings.install == "")
            or (act is Act.BUILD and not settings.build)
        )
    ]
    lanes = tuple(
        tuple(Item(f"{host}.release.{act.value}", act, host, _SAID[act], host, about=order.release) for act in acts)
        for host in app_hosts(topology)
    )
    return Phase("release", lanes)


def _migrations(order: Order) -> Iterator[Item]:
    for file in order.migrations:
        yield Item(f"migrations.{file}", Act.MIGRATE, "migrations", f"run {file} on the shards", about=file)
    if order.migrations:
        yield Item("migrations.tables", Act.TABLES, "migrations", "enter new tables into the catalog")


def _contracts(order: Order) -> Iterator[Item]:
    for file in order.contracts:
        said = f"run {file} on the shards: every release that needs what it takes away has gone"
        yield Item(f"contract.{file}", Act.CONTRACT, "contract", said, about=file)


def _each(topology: Topology, act: Act) -> Iterator[Item]:
    for position in range(len(topology.app.backends)):
        yield _of_backend(topology, position, act)


def _backend(topology: Topology, order: Order, position: int) -> Iterator[Item]:
    if order.cold:
        yield _of_backend(topology, position, Act.SWITCH)
        return
    alone = is_alone(topology)
    drains = topology.deploy.drain_s > 0 and topology.balancer.sticky is not Sticky.NONE
    for act in (Act.DRAIN, Act.DOWN, Act.SWITCH, Act.RESTART, Act.HEALTH, Act.TIMING, Act.READY):
        if (alone and act in (Act.DRAIN, Act.DOWN, Act.READY)) or (act is Act.DRAIN and not drains):
            continue
        yield _of_backend(topology, position, act)


def _of_backend(topology: Topology, position: int, act: Act) -> Item:
    name, settings = backend_name(position), topology.deploy
    said = _SAID[act]
    if act is Act.DRAIN:
        said += f", and {settings.drain_s:g} s for those it has"
    elif act is Act.HEALTH:
        said += f": {settings.health_passes} good answers in a row of {topology.app.health}"
    elif act is Act.TIMING:
        said += (
            f": p95 of {settings.gate_requests} requests to {gate_path(topology)} at most"
            f" {settings.gate_slower:g} times what it was, or {settings.gate_floor_s:g} s"
        )
    elif act is Act.RESTART and is_alone(topology):
        said += "; the only backend, so that requests fail meanwhile"
    return Item(f"{name}.{act.value}", act, name, said, topology.backend_host(position) or LOCAL, position)


def gate_path(topology: Topology) -> str:
    """What the gates ask for besides the health check."""
    return topology.deploy.gate_path or topology.app.health


def _cache(topology: Topology) -> Iterator[Item]:
    if topology.cache is not None and topology.deploy.clear_cache:
        patterns = ", ".join(topology.deploy.clear_cache)
        yield Item("cache.clear", Act.CACHE, "cache", f"clear {patterns} in Redis")


def _prune(topology: Topology) -> Iterator[Item]:
    if topology.backup.recipient is not None:
        yield Item("backups.prune", Act.PRUNE, "backups", "remove backups that [backup] does not keep")


def _verify(topology: Topology) -> Item:
    host = balancer_host(topology)
    said = f"all have run for {topology.deploy.settle_s:g} s; ask {gate_path(topology)} through the balancer"
    return Item("verification", Act.VERIFY, "verification", said, host)


def lines(plan: Plan, order: Order) -> list[str]:
    """The plan for a person."""
    verb = "deploy" if order.kind is Kind.DEPLOY else "roll back to"
    made_of = f" ({order.ref}, {order.commit[:12]})" if order.commit else ""
    found = [f"{verb} {order.release}{made_of}"]
    for backend, release in sorted(order.before.items()):
        found.append(f"  {backend} runs {release or 'no release yet: what lies in its directory'}")
    for phase in plan:
        found.append(f"{phase.name}:")
        found += [f"  {item.name:<28} {item.said}" for item in phase.items]
    return found
