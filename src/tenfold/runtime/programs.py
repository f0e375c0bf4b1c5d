"""The programs of a platform: their commands, environment, addresses, and the order of start and stop. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr

from tenfold.balancer.render import HEALTH_PATH
from tenfold.balancer.upstreams import backend_name
from tenfold.topology.addresses import listen_address
from tenfold.topology.commands import arguments
from tenfold.topology.model import App, Cache, Database, Topology

USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
# Time to end by itself, before it is killed. Balancer, then backends, then what they left: below 10 s in total.
BALANCER_GRACE_S = 3.0
BACKEND_GRACE_S = 4.0
# nginx cut short still writes its log, if it is told to.
CUT_GRACE_S = 0.5
# After SIGKILL only a process stuck in the kernel stays; nobody is helped by waiting longer.
KILLED_GRACE_S = 0.5


class Kind(StrEnum):
    """What a program is for."""

    BALANCER = "balancer"
    BACKEND = "backend"
    AGENT = "agent"
    SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Address:
    """Where something answers HTTP, as one connects to it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its root, without the port where it is HTTP's own."""
        return f"http://{self}".removesuffix(":80")


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the app on this machine.

    id         what it is called: the name of its directory
    directory  where it is, without links in it
    python     of its own virtual environment, `.venv/bin/python`; None where it has none
    """

    id: str
    directory: str
    python: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """One program to keep alive.

    argv         the command, split; no shell sees it
    release      what it runs in; None: in the directory of the file
    environment  all of it, secrets revealed: never shown, never written
    address      where it answers
    health       path that answers with one of the statuses `well` when it is well
    host         the Host header of the health request
    socket       the Unix socket on which it answers instead of over HTTP; then `address` is where nobody is
    essential    whether `up` gives up when it does not start
    start_s      how long it may take until it is well
    grace_s      how long it may take to end by itself
    """

    name: str
    kind: Kind
    argv: tuple[str, ...]
    address: Address
    health: str
    host: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    well: tuple[int, ...] = (200,)
    start_s: float = 30.0
    grace_s: float = BACKEND_GRACE_S
    socket: str | None = None
    essential: bool = True
    release: Release | None = None


NOWHERE = Address("127.0.0.1", 0)


def balancer_address(listen: str) -> Address:
    """Where to reach the balancer that listens on `listen`, "ADDRESS:PORT"; on every address means on loopback too.

    Raises ValueError where it is no address; the reader of the file has refused that before.
    """
    host, port = listen_address(listen)
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104  read, not listened on


def backends(
    topology: Topology, environ: Mapping[str, str], python: str, agent_socket: str | None = None
) -> list[Program]:
    """The instances of the app, in the order of the file.

    python        path of the running interpreter
    agent_socket  where they tell their timings; None: nowhere
    """
    positions = range(len(topology.app.backends))
    return [backend(topology, position, environ, python, agent_socket) for position in positions]


def backend(
    topology: Topology,
    position: int,
    environ: Mapping[str, str],
    python: str,
    agent_socket: str | None = None,
    release: Release | None = None,
) -> Program:
    """The instance of the app at `position` (from 0), as it runs in `release`; the rest as in `backends`."""
    name, port = backend_name(position), topology.backend_port(position)
    address = Address(topology.backend_listens(position), port)
    own = (release and release.python) or python
    return Program(
        name=name,
        kind=Kind.BACKEND,
        argv=tuple(arguments(topology.app.command, python=own, port=port, host=address.host)),
        environment=app_environment(topology, environ, python, release)
        | {"TENFOLD_BACKEND": name, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        | ({"TENFOLD_AGENT_SOCKET": agent_socket} if agent_socket else {}),
        address=address,
        health=topology.app.health,
        host=str(address),
        start_s=topology.app.start_timeout_s,
        release=release,
    )


def balancer(topology: Topology, argv: Sequence[str], environ: Mapping[str, str]) -> Program:
    """nginx, well when it answers for itself."""
    domains = topology.platform.domains
    address = balancer_address(topology.balancer.listen)
    return Program(
        name="balancer",
        kind=Kind.BALANCER,
        argv=tuple(argv),
        environment=dict(environ),
        address=address,
        health=HEALTH_PATH,
        # Where domains are named, nginx answers for those only.
        host=domains[0].replace("*", "www") if domains else str(address),
        # It tells its health to loopback alone; where it listens elsewhere, its own refusal is the sign of life.
        well=(204, 404),
        start_s=15.0,
        grace_s=BALANCER_GRACE_S,
    )


def agent(topology: Topology, environ: Mapping[str, str], python: str, socket: str, host: str | None = None) -> Program:
    """Tenfold's own agent: it watches, shows the page, and tells nginx of changes. The platform goes on without it."""
    # The ports may be others than the file's (`tenfold demo --port`).
    ports = ",".join(str(topology.backend_port(position)) for position in range(len(topology.app.backends)))
    where = ["--file", str(topology.file), "--listen", topology.balancer.listen, "--ports", ports]
    where += ["--host", host] if host else []
    return Program(
        name="agent",
        kind=Kind.AGENT,
        argv=(python, "-m", "tenfold.runtime.agent", *where, *(["--env", e] if (e := topology.environment) else [])),
        address=NOWHERE,
        health="",
        host="",
        environment=dict(environ) | {"PYTHONUNBUFFERED": "1"},
        socket=socket,
        essential=False,
    )


def app_environment(
    topology: Topology, environ: Mapping[str, str], python: str, release: Release | None = None
) -> dict[str, str]:
    """What the app's own programs get: `environ`, the file's variables with secrets revealed, and Tenfold's."""
    result = dict(environ) | {name: _reveal(value) for name, value in topology.app.environment.items()}
    # What the release brought comes first. At the end: the platform's own programs win; uvicorn beside the Python that
    # runs Tenfold is still found.
    brought = _directory(release.python) if release and release.python else ""
    result["PATH"] = ":".join(filter(None, [brought, result.get("PATH", USUAL_PATH), _directory(python)]))
    result["TENFOLD_FILE"] = str(topology.file)
    for name, value in (("TENFOLD_ENV", topology.environment), ("TENFOLD_RELEASE", release and release.id)):
        result.pop(name, None)
        if value:
            result[name] = value
    if topology.cache:
        result["TENFOLD_CACHE_URL"] = cache_url(topology.cache)
    return result


def cache_url(cache: Cache) -> str:
    """Address of the cache with its password, if it has one: for an environment, not for eyes."""
    if cache.password is None:
        return cache.url
    parts = urlsplit(cache.url)
    user, _, place = parts.netloc.rpartition("@")
    secret = quote(cache.password.get_secret_value(), safe="")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{secret}@{place}"))


def secrets(app: App, cache: Cache | None, database: Database | None = None) -> list[str]:
    """The values that must not be shown, whatever a program prints; longest first, so that none is cut in two."""
    values = [value for value in app.environment.values() if isinstance(value, SecretStr)]
    if cache and cache.password:
        values.append(cache.password)
    values += [shard.password for shard in database.shards.values() if shard.password] if database else []
    return sorted({secret for value in values if (secret := value.get_secret_value())}, key=len, reverse=True)


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _reveal(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def stop_order(programs: Sequence[Program]) -> list[list[Program]]:
    """What is stopped together, stage by stage: the balancer first, so that no request meets a backend that is gone."""
    # The agent goes with the backends: by then nginx has written the last lines of its log.
    kinds = ({Kind.BALANCER}, {Kind.BACKEND, Kind.AGENT}, {Kind.SETUP})
    stages = [[p for p in programs if p.kind in stage] for stage in kinds]
    return [stage for stage in stages if stage]
