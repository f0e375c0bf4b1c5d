"""Which machine of the environment this one is, and what it runs. Edge."""

from __future__ import annotations

import difflib
import ipaddress
import socket
from dataclasses import dataclass
from functools import cached_property

from tenfold.errors import HostError, PlatformError
from tenfold.topology.model import Host, Role, Topology


@dataclass(frozen=True)
class Here:
    """This machine's part of the platform.

    host  its name in the environment; None: everything runs here
    """

    topology: Topology
    host: str | None = None

    @cached_property
    def backends(self) -> list[int]:
        """Positions of the backends that run here, in the order of the file."""
        topology = self.topology
        return [p for p in range(len(topology.app.backends)) if self.host == topology.backend_host(p)]

    @property
    def has_balancer(self) -> bool:
        """Tell whether nginx and the agent run here."""
        return self.host == self.topology.balancer_host

    @property
    def sets_up(self) -> bool:
        """Tell whether the databases are set up from here: where the first backend is, for the app's own set-up
        needs both its code and what Tenfold has made in the databases."""
        return self.host == self.topology.backend_host(0)


def here(topology: Topology, host: str | None) -> Here:
    """This machine as `--host` names it. Raises PlatformError where the environment has no such one."""
    if host is None and not topology.hosts:
        return Here(topology)
    name = placed(topology, host)
    found = Here(resolved(topology), name)
    if not found.backends and not found.has_balancer:
        raise PlatformError(_idle(name, topology.hosts[name]), hint="give it a backend, with host = in app.backends")
    return found


def placed(topology: Topology, host: str | None) -> str:
    """The name of a machine of the environment. Raises PlatformError for None, and where there is no such one."""
    hosts, environment = topology.hosts, topology.environment
    if not hosts:
        with_hosts = [name for name, one in topology.environments.items() if one.hosts]
        raise PlatformError(
            f"environment {environment} has no hosts"
            if environment
            else "hosts belong to an environment; none is named",
            hint=f"tenfold up --env {with_hosts[0]} --host {host}" if with_hosts else "leave --host away",
        )
    one_of = "one of: " + " ".join(hosts)
    if host is None:
        raise PlatformError(
            f"environment {environment} has several machines; say which one this is",
            hint=f"tenfold up --env {environment} --host NAME; {one_of}",
        )
    if host not in hosts:
        near = difflib.get_close_matches(host, hosts, n=1)
        raise PlatformError(
            f"there is no host {host!r} in environment {environment}"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=one_of,
        )
    return host


def _idle(host: str, about: Host) -> str:
    roles = ", ".join(about.roles)
    if Role.APP in about.roles:
        return f"nothing runs on {host}: no backend is placed there"
    return f"Tenfold runs nothing on {host}, whose roles are {roles}"


def resolved(topology: Topology) -> Topology:
    """The platform with the IP addresses of its hosts in place of names: nginx's log and the kernel know only those.

    Raises HostError for a name that nobody knows.
    """
    environment = topology.environments.get(topology.environment or "")
    if environment is None or not environment.hosts:
        return topology
    hosts = {
        name: host.model_copy(update={"address": _address(name, host.address)})
        for name, host in environment.hosts.items()
    }
    known = environment.model_copy(update={"hosts": hosts})
    return topology.model_copy(update={"environments": {**topology.environments, str(topology.environment): known}})


def _address(host: str, name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostError(
            f"the address of {host} is not known: {name}: {error.strerror}",
            hint=f"write its IP address in hosts.{host}.address, or see to the name",
        ) from None
    return str(found[0][4][0])
