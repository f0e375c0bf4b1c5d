"""Gives the machine of a name: this one, or one over SSH. Edge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Protocol

from tenfold.errors import HostError
from tenfold.hosts.dial import Login
from tenfold.hosts.local import LocalHost
from tenfold.hosts.port import Host
from tenfold.hosts.ssh import SshHost


class Machine(Protocol):
    """A host of an environment, as topology's Host."""

    @property
    def address(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def port(self) -> int: ...


class Keys(Protocol):
    """The part of [deploy] that says how to get in."""

    @property
    def ssh_key(self) -> str | None: ...
    @property
    def known_hosts(self) -> str | None: ...


class Platform(Protocol):
    """The part of Topology that this needs."""

    @property
    def hosts(self) -> Mapping[str, Machine]: ...
    @property
    def deploy(self) -> Keys: ...
    @property
    def root(self) -> PurePath: ...


def connect(topology: Platform, name: str | None) -> Host:
    """The host `name` of the environment; this machine for None, and where the environment has no hosts.

    Nothing is sent yet: it connects when it is first needed. Close it in the event loop that used it.
    Raises HostError for a name that is none of the environment's.
    """
    if name is None or not topology.hosts:
        return LocalHost(name or "local")
    machine = topology.hosts.get(name)
    if machine is None:
        raise HostError(
            f"there is no host {name!r} in this environment",
            hint=f"its hosts are {', '.join(topology.hosts)}",
            retryable=False,
        )
    root = Path(topology.root)
    key = topology.deploy.ssh_key
    known = topology.deploy.known_hosts or "~/.ssh/known_hosts"
    login = Login(
        machine.address, machine.user, machine.port,
        key=root / Path(key).expanduser() if key else None,
        known_hosts=root / Path(known).expanduser(),
    )  # fmt: skip
    return SshHost(name, login)
