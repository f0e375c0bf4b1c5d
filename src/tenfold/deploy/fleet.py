"""The hosts of a deploy: what is asked of them, of their supervisors and of the agent. Edge."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.balancer.upstreams import backend_name
from tenfold.deploy import onhost
from tenfold.deploy.keepers import keeper
from tenfold.deploy.plan import LOCAL, app_hosts, balancer_host, every_host
from tenfold.errors import DeployError, GateError, HostError, TenfoldError
from tenfold.hosts.connect import connect
from tenfold.hosts.port import Host
from tenfold.topology.model import Topology

# An agent or a supervisor that was killed is back within seconds; whoever waits goes on with it.
AWAY_S, AGAIN_S = 30.0, 0.5
# A reload waits for the one before it (2 s) and for new workers (10 s at most).
ANSWER_S = 30.0
SCRIPT_S = 60.0
_SCRIPT = Path(onhost.__file__).read_bytes()


@dataclass(frozen=True, slots=True)
class Standing:
    """How the hosts stand.

    links     backend → the release that its link names; None: it has none
    releases  host → its complete releases, by id: what their markers say
    """

    links: Mapping[str, str | None]
    releases: Mapping[str, Mapping[str, Mapping[str, str]]]

    def everywhere(self, hosts: Mapping[str, Any], release: str) -> list[str]:
        """The hosts that lack a release."""
        return [host for host in hosts if release not in self.releases.get(host, {})]


class Fleet:
    """Connections to the hosts, opened when they are first needed."""

    def __init__(self, topology: Topology, fence: int = 0) -> None:
        """fence: of the lock that this process holds; 0: of one that only looks."""
        self.topology, self.fence = topology, fence
        self.keeper = keeper(self)
        self._hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        """A host by its name."""
        if name not in self._hosts:
            self._hosts[name] = connect(self.topology, None if name == LOCAL else name)
        return self._hosts[name]

    def path(self, name: str) -> str:
        """The directory of the platform on a host."""
        return str(Path(self.topology.root).absolute()) if name == LOCAL else self.topology.hosts[name].path

    async def close(self) -> None:
        """Let go of all hosts."""
        await asyncio.gather(*(host.close() for host in self._hosts.values()), return_exceptions=True)
        self._hosts.clear()

    async def do(self, name: str, what: str, *, script: bytes = _SCRIPT, **order: Any) -> Any:
        """Run a piece of onhost.py, or of another script, on a host → its answer. Raises HostError."""
        python = sys.executable if name == LOCAL else "python3"
        text = json.dumps({"do": what, "path": self.path(name), "fence": self.fence, **order})
        ran = await self.host(name).run(
            [python, "-I", "-", text], input=script, timeout_s=SCRIPT_S + float(order.get("within_s", 0))
        )
        try:
            if ran.code == 0:
                return json.loads(ran.out)
        except ValueError:
            pass
        raise HostError(
            f"{name}: `{what}` ended with {ran.code}: {ran.last_lines(3)}",
            hint=f"see that python3 of {name} is 3.8 or newer, and that {self.path(name)} belongs to its account",
            retryable=False,
        )

    async def raise_fence(self) -> dict[str, HostError]:
        """Have every host refuse what deployers before us still want; → the hosts that could not be told."""
        names = every_host(self.topology)
        told = await asyncio.gather(*(self._raised(name) for name in names))
        return {name: error for name, error in zip(names, told, strict=True) if error is not None}

    async def _raised(self, name: str) -> HostError | None:
        try:
            self.fenced(await self.do(name, "fence"))
        except HostError as error:
            return error
        return None

    def fenced(self, answer: Mapping[str, Any]) -> Any:
        """What a fenced piece did. Raises DeployError where the host has seen a larger fence than ours."""
        if answer["fence"] > self.fence:
            raise DeployError(
                "another process has taken this deploy over, and this one has stopped",
                hint="`tenfold deploy --list` says how it stands",
            )
        return answer["did"]

    async def standing(self) -> Standing:
        """What the links name, and which releases are complete. Raises HostError."""
        hosts = app_hosts(self.topology)
        asked = [
            self.do(name, "look", backends=[backend_name(position) for position in positions])
            for name, positions in hosts.items()
        ]
        told = dict(zip(hosts, await asyncio.gather(*asked), strict=True))
        links = {backend: link for one in told.values() for backend, link in one["links"].items()}
        ordered = {backend_name(p): links[backend_name(p)] for p in range(len(self.topology.app.backends))}
        return Standing(ordered, {name: one["releases"] for name, one in told.items()})

    async def agent(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """What the balancer's agent answers; while it is away its supervisor brings it back."""
        name, until_s = balancer_host(self.topology), time.monotonic() + AWAY_S
        while True:
            try:
                return await self.host(name).ask(f"{self.path(name)}/var/run/agent.sock", command, ANSWER_S)
            except TenfoldError as error:
                if not error.retryable or time.monotonic() > until_s:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def program(self, position: int) -> dict[str, Any] | None:
        """What is said of a backend by what keeps it; None where it does not keep it."""
        told = await self.keeper.status(self.topology.backend_host(position) or LOCAL)
        return next((dict(one) for one in told["programs"] if one["name"] == backend_name(position)), None)


def gate(what: str, hint: str) -> GateError:
    """A gate that did not open."""
    return GateError(what, hint=hint)
