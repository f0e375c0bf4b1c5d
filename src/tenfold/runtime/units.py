"""systemd's units for one host: backends, nginx, agent, set-up, and the target that holds them. Pure.

They hold on systemd 252 (Debian 12), which knows no RestartSteps. What starts is `tenfold.runtime.launch`, which takes
the command from tenfold.toml and the release from the backend's link: so no unit changes with a deploy, and none holds
a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tenfold.balancer.upstreams import backend_name
from tenfold.errors import PlatformError
from tenfold.topology.addresses import listen_address
from tenfold.topology.fleet import target_name, unit_name
from tenfold.topology.model import Host, Topology

ENVIRONMENT_FILE = "environment"
"""Below the host's directory: NAME=value lines, mode 0600, for the references of tenfold.toml."""
RESTART_S = 2
STOP_S = 15
# Of ReadWritePaths: one that is not there (yet) is no error.
WRITABLE = ("var", "shared")
# Words of ExecStart that need no quotes.
_BARE = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_REFUSED = re.compile(r"[\\'\"]")
ENV = "/usr/bin/env"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

HARDENED = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "read-only"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("UMask", "0027"),
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the units are for.

    host    its name, and `about` what the file says of it
    python  of Tenfold, there
    """

    topology: Topology
    host: str
    about: Host
    python: str

    def path(self, *parts: str) -> str:
        return "/".join([self.about.path.rstrip("/"), *parts])

    def launch(self, program: str) -> list[str]:
        return [self.python, "-m", "tenfold.runtime.launch", *self.where, program]

    @property
    def where(self) -> list[str]:
        return ["--file", self.path("tenfold.toml"), "--env", str(self.topology.environment), "--host", self.host]


def units(topology: Topology, host: str, python: str) -> dict[str, str]:
    """The text of each unit of `host`, by file name.

    python  path of the Python that runs Tenfold on that host
    Raises  PlatformError for a path that no unit can hold
    """
    site = Site(topology, host, topology.hosts[host], python)
    name, positions = topology.platform.name, range(len(topology.app.backends))
    ours = [backend_name(p) for p in positions if topology.backend_host(p) == host]
    sets_up, balances = topology.backend_host(0) == host, topology.balancer_host == host
    made: dict[str, str] = {}
    if sets_up:
        made[unit_name(name, "setup")] = _setup(site)
    for backend in ours:
        made[unit_name(name, backend)] = _backend(site, backend, after_setup=sets_up)
    if balances:
        made[unit_name(name, "balancer")] = _balancer(site)
        made[unit_name(name, "agent")] = _agent(site)
    made[target_name(name)] = _text(
        ("Unit", [("Description", f"{name} on {host}"), ("Wants", " ".join(made))]),
        ("Install", [("WantedBy", "multi-user.target")]),
    )
    return made


def _setup(site: Site) -> str:
    # With a set-up that is not done nothing is served; it is tried again, as the databases may come up later.
    body = [
        ("Type", "oneshot"), ("RemainAfterExit", "yes"), *_account(site), ("ExecStart", command(site.launch("setup"))),
        ("Restart", "on-failure"), ("RestartSec", str(RESTART_S)), ("TimeoutStartSec", "900"), *_bounds(site),
    ]  # fmt: skip
    return _service(site, "set-up of the databases", body)


def _backend(site: Site, backend: str, *, after_setup: bool) -> str:
    link = site.path("backends", backend)
    body = [
        ("Type", "exec"), *_account(site, link), ("ExecStart", command(site.launch(backend))),
        *_kept(), ("KillMode", "mixed"), ("TimeoutStopSec", str(STOP_S)), ("CapabilityBoundingSet", ""),
        *_bounds(site, [f"{link}/{path}" for path in site.topology.deploy.writable]),
    ]  # fmt: skip
    return _service(site, backend, body, after=[unit_name(site.topology.platform.name, "setup")] if after_setup else [])


def _balancer(site: Site) -> str:
    # Its master needs no more than the right to a port below 1024, where it listens on one.
    low = listen_address(site.topology.balancer.listen)[1] < 1024
    port = "CAP_NET_BIND_SERVICE" if low else ""
    body = [
        ("Type", "exec"), *_account(site), ("ExecStart", command(site.launch("balancer"))), *_kept(),
        # SIGQUIT: open requests are answered; then SIGKILL to all of them.
        ("KillSignal", "SIGQUIT"), ("KillMode", "mixed"), ("TimeoutStopSec", str(STOP_S)),
        ("CapabilityBoundingSet", port), ("AmbientCapabilities", port), ("LimitNOFILE", "65536"), *_bounds(site),
    ]  # fmt: skip
    return _service(site, "nginx", body)


def _agent(site: Site) -> str:
    argv = [site.python, "-m", "tenfold.runtime.agent", *site.where]
    body = [
        ("Type", "exec"), *_account(site), ("ExecStart", command(argv)), *_kept(), ("KillMode", "mixed"),
        ("TimeoutStopSec", str(STOP_S)), ("CapabilityBoundingSet", ""), *_bounds(site),
    ]  # fmt: skip
    return _service(site, "the agent", body)


Lines = Iterable[tuple[str, str]]


def _service(site: Site, what: str, body: Lines, after: Sequence[str] = ()) -> str:
    target = target_name(site.topology.platform.name)
    unit = [
        ("Description", f"{site.topology.platform.name}: {what}"),
        ("PartOf", target),
        ("Wants", " ".join(["network-online.target", *after])),
        ("After", " ".join(["network-online.target", *after])),
        # By default a service that ends five times in ten seconds is never started again: an outage of a database.
        ("StartLimitIntervalSec", "0"),
    ]
    return _text(("Unit", unit), ("Service", body), ("Install", [("WantedBy", target)]))


def _account(site: Site, directory: str | None = None) -> Iterator[tuple[str, str]]:
    yield "User", site.about.user
    yield "WorkingDirectory", "-" + specifiers(directory or site.path())
    yield "EnvironmentFile", "-" + specifiers(site.path(ENVIRONMENT_FILE))


def _kept() -> Lines:
    return [("Restart", "always"), ("RestartSec", str(RESTART_S))]


def _bounds(site: Site, more: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    yield from HARDENED
    paths = [site.path(name) for name in WRITABLE] + list(more)
    yield "ReadWritePaths", " ".join(word("-" + path) for path in paths)


def _text(*sections: tuple[str, Lines]) -> str:
    lines = ["# Written by `tenfold units`; what you want otherwise goes into a drop-in (systemctl edit)."]
    for name, pairs in sections:
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in pairs)]
    return "\n".join(lines) + "\n"


def command(argv: Sequence[str]) -> str:
    """Arguments as ExecStart takes them: quoted, and neither variables nor specifiers in them. Raises PlatformError."""
    # systemd takes neither quotes nor backslashes in the path of a program, and expands variables in arguments only.
    program, *arguments = argv if not _REFUSED.search(argv[0]) else [ENV, *argv]
    return " ".join([word(program), *(word(argument.replace("$", "$$")) for argument in arguments)])


def word(text: str) -> str:
    """One word of a list, quoted where it must be, without specifiers. Raises PlatformError."""
    text = specifiers(text)
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def specifiers(text: str) -> str:
    """Text as it stands, where systemd would look for specifiers (%n). Raises PlatformError for control characters."""
    if _CONTROL.search(text):
        raise PlatformError(f"no unit can hold {text!r}", hint="choose a path without line breaks")
    return text.replace("%", "%%")
