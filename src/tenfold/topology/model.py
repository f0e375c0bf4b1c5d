"""The platform as tenfold.toml describes it: typed, frozen, its defaults here and nowhere else. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from tenfold.topology.operations import Backup, Deploy, Monitor, Notify
from tenfold.topology.section import (
    ABSOLUTE_PATH,
    ACCOUNT,
    HOST_ADDRESS,
    Identifier,
    Method,
    Name,
    Port,
    RateText,
    Seconds,
    Section,
    UrlPath,
    Variable,
    Whole,
)


class Platform(Section):
    """[platform]: what it is called and where it answers."""

    name: Name = Field(description="Name of the platform; part of file names and of messages.", examples=["ledger"])
    domains: tuple[str, ...] = Field((), description="Host names that the balancer answers for; none means any.")


class Backend(Section):
    """One running instance of the app."""

    weight: Whole = Field(1, ge=1, le=1000, description="Share of the requests, relative to the other backends.")
    port: Port | None = Field(None, description="Its port; default: app.base_port plus its position.")
    host: Name | None = Field(
        None, description="Host of the environment that runs it; default: the hosts with role app, in turn."
    )


class App(Section):
    """[app]: any program that speaks HTTP on a port."""

    command: str = Field(
        min_length=1,
        description="Starts one backend. {port} and {host} are where it listens, {python} the Python of its release "
        "or else Tenfold's. No shell.",
        examples=["uvicorn --port {port} ledger.app:app"],
    )
    setup: str | None = Field(
        None, min_length=1, description="Runs once before the backends start, each time; must be repeatable. No shell."
    )
    health: UrlPath = Field("/healthz", description="Path that answers 200 when a backend is well.")
    start_timeout_s: Seconds = Field(30.0, gt=0, le=600, description="How long a backend may take until it is well.")
    base_port: Port = Field(8101, description="Port of the first backend that names none.")
    backends: tuple[Backend, ...] = Field((Backend(),), min_length=1, description="The instances, with weights.")
    environment: dict[Variable, str | SecretStr] = Field(
        default_factory=dict, description="Environment variables of the app; secrets as references."
    )


class Limit(Section):
    """A rate limit per client address; beyond `burst` the answer is 429."""

    rate: RateText = Field(
        description='Requests per second or minute and address: "30r/s", "5r/m".', examples=["30r/s"]
    )
    burst: Whole = Field(0, ge=0, le=100_000, description="Requests served at once above the rate.")
    paths: tuple[UrlPath, ...] = Field((), description="Path prefixes it applies to; none means all.")
    methods: tuple[Method, ...] = Field((), description="HTTP methods it applies to; none means all.")


class Sticky(StrEnum):
    """How a client comes back to the backend that knows it."""

    COOKIE = "cookie"
    IP = "ip"
    NONE = "none"


SHIPPED_LIMITS: dict[str, dict[str, Any]] = {
    "general": {"rate": "30r/s", "burst": 50},
    "api": {"rate": "10r/s", "burst": 20, "paths": ["/api/"]},
    "login": {"rate": "5r/m", "burst": 5, "paths": ["/login"], "methods": ["POST"]},
}


class Balancer(Section):
    """[balancer]: nginx in front of the backends."""

    listen: str = Field("127.0.0.1:8080", description="Address and port on which the platform answers.")
    sticky: Sticky = Field(Sticky.COOKIE, description="cookie | ip | none.")
    limits: dict[Name, Limit] = Field(
        default_factory=lambda: {name: Limit.model_validate(limit) for name, limit in SHIPPED_LIMITS.items()},
        description="Rate limits by name; naming one replaces it, the others stay.",
    )
    max_fails: Whole = Field(3, ge=0, le=1000, description="Failures within fail_timeout_s that take a backend out.")
    fail_timeout_s: Whole = Field(30, ge=1, le=3600, description="Seconds for max_fails, and how long it stays out.")
    keepalive: Whole = Field(32, ge=0, le=10_000, description="Idle connections kept open to the backends, a worker.")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Networks whose X-Forwarded-For is believed; none: the client is who connects."
    )
    max_body_mb: Whole = Field(10, ge=1, le=10_240, description="Largest request body, in MiB.")
    nginx: str | None = Field(None, min_length=1, description="Path of the nginx to use; default: the best one found.")

    @field_validator("limits", mode="before")
    @classmethod
    def _shipped_limits_stay(cls, given: Any) -> Any:
        # A platform that adds a limit of its own must not lose the one on log-ins by that.
        return {**SHIPPED_LIMITS, **given} if isinstance(given, dict) else given


class Engine(StrEnum):
    """What the shards are."""

    SQLITE = "sqlite"
    MYSQL = "mysql"


class Tls(StrEnum):
    """Whether connections to the servers are encrypted, and the servers' certificates verified."""

    REQUIRE = "require"
    OFF = "off"


class Shard(Section):
    """One database server or SQLite file."""

    url: str = Field(
        description="sqlite:///relative/to/this/file.db, or four slashes for an absolute path; "
        "mysql://app@db0:3306/ledger.",
        examples=["sqlite:///var/shard_0.db"],
    )
    weight: Whole = Field(1, ge=1, le=1000, description="Share of the buckets when the map is first filled.")
    password: SecretStr | None = Field(None, description='Of the account in the URL: "${NAME}" or "file:PATH".')


class Group(Section):
    """Tables with one shard key, whose rows live together."""

    key: Identifier = Field(
        description="What the shard key is called, for messages and for new tables.", examples=["user_id"]
    )
    tables: dict[Identifier, Identifier] = Field(
        min_length=1,
        description="Each table with its shard key column.",
        examples=[{"users": "id", "deposits": "user_id"}],
    )
    unique: dict[Identifier, tuple[Identifier, ...]] = Field(
        default_factory=dict, description="Columns unique over all shards, kept by reservations: table = [columns]."
    )
    ids: Literal["auto"] | tuple[Identifier, ...] = Field(
        "auto",
        description='Tables whose INSERT takes its primary key from Tenfold; "auto": all that number themselves.',
    )


class Reference(Section):
    """[database.reference]: small tables with a copy on every shard."""

    tables: tuple[Identifier, ...] = Field((), description="Tables that every shard holds in full.")


class Database(Section):
    """[database]: the shards, and which rows live where."""

    engine: Engine = Field(Engine.SQLITE, description="sqlite | mysql, which is MariaDB too.")
    shards: dict[Name, Shard] = Field(
        min_length=1,
        description="The shards by name, in order.",
        examples=[{"shard_0": {"url": "sqlite:///var/shard_0.db"}}],
    )
    catalog: Name | None = Field(None, description="Shard that holds the catalog; default: the first.")
    groups: dict[Name, Group] = Field(default_factory=dict, description="Groups of tables, spread by shard key.")
    pinned: dict[Name, tuple[Identifier, ...]] = Field(
        default_factory=dict, description="Tables that live whole on one shard: shard = [tables]."
    )
    reference: Reference = Field(Reference(), description="Tables with a copy on every shard.")
    pool_size: Whole = Field(8, ge=1, le=1000, description="Connections a process may hold open to one shard.")
    pool_wait_s: Seconds = Field(5.0, gt=0, le=300, description="How long a statement waits for a free connection.")
    pool_idle_s: Seconds = Field(300.0, gt=0, le=86_400, description="How long a connection may lie unused.")
    pool_age_s: Seconds = Field(1800.0, gt=0, le=86_400, description="How old a connection may become.")
    connect_s: Seconds = Field(5.0, gt=0, le=60, description="How long a server may take to accept a connection.")
    lock_wait_s: Seconds = Field(5.0, gt=0, le=300, description="How long a statement waits for a row or file lock.")
    statement_s: Seconds = Field(60.0, gt=0, le=86_400, description="How long a statement on a server may run.")
    lease_s: Seconds = Field(2.0, ge=0.1, le=60, description="How long a process may trust its copy of the bucket map.")
    pull_rows: Whole = Field(
        100_000, ge=0, le=10_000_000, description="Rows that one statement may bring together from several shards."
    )
    tls: Tls | None = Field(None, description="require | off; default: require, off for servers on this machine.")
    tls_ca: str | None = Field(
        None, min_length=1, description="File with the certificates of the CA to trust; default: the system's."
    )


class Cache(Section):
    """[cache]: Redis, optional."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis:// or rediss:// address, without password.")
    password: SecretStr | None = Field(None, description='Of the server: "${NAME}" or "file:PATH".')


class Role(StrEnum):
    """What a host is for."""

    BALANCER = "balancer"
    APP = "app"
    DATABASE = "database"
    CACHE = "cache"


class Host(Section):
    """A machine of an environment."""

    address: str = Field(
        pattern=HOST_ADDRESS, description="Name or address that SSH connects to.", examples=["10.0.0.5"]
    )
    user: str = Field("tenfold", pattern=ACCOUNT, description="Account on the host.")
    port: Port = Field(22, description="Port of its SSH server.")
    roles: tuple[Role, ...] = Field((Role.APP,), min_length=1, description="balancer | app | database | cache.")
    path: str = Field(
        "/srv/tenfold", pattern=ABSOLUTE_PATH, description="Directory of the platform there: releases, var, the file."
    )


class Environment(Section):
    """[environments.NAME]: its hosts; every other key overlays the same key of the file."""

    hosts: dict[Name, Host] = Field(default_factory=dict, description="The machines, by name.")


LOOPBACK = "127.0.0.1"


class Topology(Section):
    """The whole file, as one environment sees it."""

    platform: Platform = Field(examples=[{"name": "ledger"}])
    app: App = Field(examples=[{"command": "uvicorn --port {port} ledger.app:app"}])
    balancer: Balancer = Balancer()
    database: Database = Field(examples=[{"shards": {"shard_0": {"url": "sqlite:///var/shard_0.db"}}}])
    cache: Cache | None = None
    monitor: Monitor = Monitor()
    notify: Notify = Notify()
    deploy: Deploy = Deploy()
    backup: Backup = Backup()
    environments: dict[Name, Environment] = Field(
        default_factory=dict, description="Instances of the platform: their hosts, and what differs."
    )

    # Where it was read from and for which environment: set by the reader, never by the file.
    file: PurePath = Field(PurePath("tenfold.toml"), exclude=True)
    environment: str | None = Field(None, exclude=True)

    @property
    def root(self) -> PurePath:
        """The directory of the file; relative paths and `var/` start here."""
        return self.file.parent

    @property
    def catalog_shard(self) -> str:
        """Name of the shard that holds the catalog."""
        return self.database.catalog or next(iter(self.database.shards))

    @property
    def hosts(self) -> dict[str, Host]:
        """The machines of this environment by name; none where everything runs on this one."""
        environment = self.environments.get(self.environment or "")
        return dict(environment.hosts) if environment else {}

    def backend_host(self, position: int) -> str | None:
        """Name of the host that runs the backend at `position` (from 0); None: this machine."""
        turns, named = [name for name, host in self.hosts.items() if Role.APP in host.roles], self.app.backends
        return (named[position].host or turns[position % len(turns)]) if turns else None

    def backend_listens(self, position: int) -> str:
        """Address that the backend at `position` (from 0) listens on: its host's, and loopback without hosts."""
        name = self.backend_host(position)
        return LOOPBACK if name is None else self.hosts[name].address

    @property
    def balancer_host(self) -> str | None:
        """Name of the host that runs nginx and the agent; None: this machine."""
        return next((name for name, host in self.hosts.items() if Role.BALANCER in host.roles), None)

    def backend_port(self, position: int) -> int:
        """Port of the backend at `position` (from 0)."""
        return self.app.backends[position].port or self.app.base_port + position


def per_second(rate: str) -> float:
    """Requests per second of a rate such as "30r/s" or "5r/m"."""
    found = re.fullmatch(r"([0-9]+)r/([sm])", rate)
    if not found:
        raise ValueError(f"not a rate: {rate!r}")
    return int(found[1]) / (60 if found[2] == "m" else 1)
