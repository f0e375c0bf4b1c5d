"""Hosts for the tests of how hosts are reached. Edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tenfold.hosts.dial import Login
from tenfold.hosts.local import LocalHost
from tenfold.hosts.port import Host
from tenfold.hosts.ssh import SshHost
from tests.hosts.sshd import Keyring, Sshd, hosts

T = TypeVar("T")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keyring, list[Sshd]]]:
    """One host that runs, shared by the tests of a file; they leave it as it was."""
    with hosts(tmp_path_factory.mktemp("hosts"), 1) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Keyring, Sshd]]:
    """A host that the test may stop, cut and change."""
    with hosts(tmp_path, 1) as (keyring, (machine,)):
        yield keyring, machine


def login(keyring: Keyring, machine: Sshd, **other: Any) -> Login:
    """How the deployer gets into `machine`."""
    given = {"address": machine.address, "user": machine.user, "port": machine.port, "key": keyring.key}
    return Login(**{**given, "known_hosts": keyring.known_hosts, **other})


@asynccontextmanager
async def reached(keyring: Keyring, machine: Sshd, **other: Any) -> AsyncIterator[SshHost]:
    """The machine over SSH, closed afterwards."""
    host = SshHost("web_1", login(keyring, machine, **other))
    try:
        yield host
    finally:
        await host.close()


@pytest.fixture(params=["local", "ssh"])
def on(request: pytest.FixtureRequest) -> Callable[[Callable[[Host], Awaitable[T]]], T]:
    """Does something on this machine, and again on one over SSH: whoever uses the port cannot tell them apart."""

    def do(what: Callable[[Host], Awaitable[T]]) -> T:
        async def there() -> T:
            if request.param == "local":
                return await what(LocalHost())
            keyring, (machine,) = request.getfixturevalue("machines")
            async with reached(keyring, machine) as host:
                return await what(host)

        return asyncio.run(there())

    return do
