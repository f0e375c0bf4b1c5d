"""What keeps the backends running on a host, and is told to restart them: `tenfold up`, or systemd. Edge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from tenfold.balancer.upstreams import backend_address, backend_name
from tenfold.deploy import gates, onsystemd
from tenfold.deploy.plan import app_hosts, balancer_host
from tenfold.deploy.unit_states import Unit, is_no_right, parsed, sudoers
from tenfold.errors import DeployError, GateError, HostError, TenfoldError
from tenfold.hosts.port import Host
from tenfold.topology.fleet import target_name, unit_name
from tenfold.topology.model import Topology
from tenfold.topology.operations import Keeper as Kept

ASK_S, PAUSE_S = 5.0, 0.2
# What runs has TimeoutStopSec (15 s) to end, before what comes is started.
END_S = 30.0
_SCRIPT = Path(onsystemd.__file__).read_bytes()


class Reach(Protocol):
    """How the hosts are reached: the part of a Fleet that is needed here."""

    topology: Topology

    def host(self, name: str) -> Host: ...
    def path(self, name: str) -> str: ...
    async def do(self, name: str, what: str, *, script: bytes = ..., **order: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Restarted:
    """What runs after a restart, and how long that took until it was well."""

    release: str | None
    took_s: float


@dataclass(frozen=True, slots=True)
class Right:
    """To restart units. refused: "" or what is said against it; line: the one for sudoers that gives it."""

    refused: str
    line: str


class Keeper(Protocol):
    """Asks and tells what keeps the programs of a host. All raise HostError where the host cannot be reached."""

    async def is_up(self, host: str) -> bool:
        """Whether it runs there, and keeps something."""
        ...

    async def status(self, host: str) -> dict[str, Any]:
        """{"pid", "programs": [{"name", "kind", "state", "pid", "release"}], …}. Raises TenfoldError: no answer."""
        ...

    async def right(self, host: str) -> Right | None:
        """Whether the account may restart the backends of a host; None: that needs no right."""
        ...

    async def restart(self, host: str, position: int) -> Restarted:
        """Have a backend run what its link names. Raises GateError, with its last lines, where that is not well."""
        ...

    def logs(self, position: int) -> str:
        """The command that shows what a backend has written."""
        ...

    def start(self, host: str) -> str:
        """The command that starts it on a host."""
        ...


def keeper(reach: Reach) -> Keeper:
    """What keeps the backends, as the file says; without hosts there are no units."""
    topology = reach.topology
    return Systemd(reach) if topology.deploy.keeper is Kept.SYSTEMD and topology.hosts else Supervisor(reach)


class Supervisor:
    """`tenfold up`, by its socket."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def _socket(self, host: str) -> str:
        return f"{self._reach.path(host)}/var/run/up.sock"

    async def is_up(self, host: str) -> bool:
        """Whether it answers."""
        there = await self._reach.host(host).run(["test", "-S", self._socket(host)])
        if there.code != 0:
            return False
        try:
            await self.status(host)
        except HostError:
            return False
        return True

    async def status(self, host: str) -> dict[str, Any]:
        """What it says of its programs."""
        return await self._reach.host(host).ask(self._socket(host), {"do": "status"})

    async def right(self, host: str) -> Right | None:
        """Whoever reaches the socket may."""
        return None

    async def restart(self, host: str, position: int) -> Restarted:
        """It answers once the backend is well."""
        limit_s = self._reach.topology.app.start_timeout_s
        command = {"do": "restart", "program": backend_name(position), "timeout_s": limit_s + 10.0}
        try:
            told = await self._reach.host(host).ask(self._socket(host), command, limit_s + 20.0)
        except HostError:
            raise
        except TenfoldError as error:
            raise GateError(str(error), hint=error.hint or self.logs(position)) from None
        return Restarted(told["release"], float(told["took_s"]))

    def logs(self, position: int) -> str:
        """Its own."""
        return f"tenfold logs {backend_name(position)}"

    def start(self, host: str) -> str:
        """By hand."""
        return f"tenfold up --env {self._reach.topology.environment} --host {host}"


class Systemd:
    """The units of `tenfold units`, by systemctl on the host."""

    def __init__(self, reach: Reach) -> None:
        self._reach, self._topology = reach, reach.topology

    def _unit(self, program: str) -> str:
        return unit_name(self._topology.platform.name, program)

    def _programs(self, host: str) -> dict[str, str]:
        """The programs of a host and their kinds."""
        found = {backend_name(position): "backend" for position in app_hosts(self._topology).get(host, ())}
        return found | ({"balancer": "balancer", "agent": "agent"} if host == balancer_host(self._topology) else {})

    async def _do(self, host: str, what: str, **order: Any) -> Any:
        return await self._reach.do(host, what, script=_SCRIPT, **order)

    async def _show(self, host: str, programs: Sequence[str]) -> tuple[bool, dict[str, tuple[Unit, str | None]]]:
        """(whether the account's own manager keeps them, program → (its unit, the release that runs))."""
        units = [self._unit(program) for program in programs]
        told = await self._do(host, "show", units=units)
        if told["said"]:
            raise HostError(
                f"{host}: systemd does not answer: {told['said']}",
                hint=f'deploy.keeper = "systemd" needs one that runs on {host}; else take it out of tenfold.toml',
                retryable=False,
            )
        found = {
            program: (parsed(told["units"].get(unit, "")), told["releases"].get(unit))
            for program, unit in zip(programs, units, strict=True)
        }
        return bool(told["user"]), found

    async def is_up(self, host: str) -> bool:
        """Whether any of its units was started."""
        _, shown = await self._show(host, list(self._programs(host)))
        return any(unit.is_kept for unit, _ in shown.values())

    async def status(self, host: str) -> dict[str, Any]:
        """Of every unit."""
        kinds = self._programs(host)
        _, shown = await self._show(host, list(kinds))
        backends = [shown[name][0] for name, kind in kinds.items() if kind == "backend"]
        return {
            # Its limits are those that the next one gets.
            "pid": next((unit.pid for unit in backends if unit.pid), None),
            "python": next((unit.program for unit, _ in shown.values() if unit.program), None),
            "programs": [
                {
                    "name": name, "kind": kinds[name], "state": unit.state, "pid": unit.pid, "release": release,
                    "restarts": unit.restarts,
                }
                for name, (unit, release) in shown.items()
            ],
        }  # fmt: skip

    async def right(self, host: str) -> Right | None:
        """As root and for units of its own the account needs none."""
        user, _ = await self._show(host, list(self._programs(host)))
        told = await self._do(host, "rights", units=self._backends(host), user=user)
        refused = f"{', '.join(told['refused'])}: {told['said']}" if told["refused"] else ""
        return Right(refused, self._line(host)) if told["asked"] else None

    def _backends(self, host: str) -> list[str]:
        """The units of the backends of a host."""
        return [self._unit(backend_name(position)) for position in app_hosts(self._topology).get(host, ())]

    def _line(self, host: str) -> str:
        return sudoers(self._topology.hosts[host].user, self._backends(host))

    async def restart(self, host: str, position: int) -> Restarted:
        """`systemctl restart`, then ask until it is well, it has ended, or its time is over."""
        name, began_s = backend_name(position), time.monotonic()
        user, _ = await self._show(host, [name])
        told = await self._do(host, "restart", unit=self._unit(name), user=user, within_s=END_S)
        if told["code"]:
            raise await self._refused(host, position, user, told)
        limit_s, answers, first = self._topology.app.start_timeout_s, list[gates.Answer](), None
        until_s = time.monotonic() + limit_s
        while (left_s := until_s - time.monotonic()) > 0:
            unit, release = (await self._show(host, [name]))[1][name]
            if unit.has_ended(first):
                raise await self._ended(host, position, user, told, f"ended while starting (it is {unit.state})")
            first = unit.pid
            # What has answered is this one: what ran before had ended by then, and this one has not.
            if answers and answers[-1][0] == 200:
                return Restarted(release, time.monotonic() - began_s)
            answers = await self._ask(host, position, min(ASK_S, left_s)) or answers
        why = f"was not well at {self._topology.app.health} within {limit_s:g} s ({gates.last(answers)})"
        raise await self._ended(host, position, user, told, why)

    async def _ask(self, host: str, position: int, within_s: float) -> list[gates.Answer]:
        address = backend_address(self._topology, position)
        there, _, port = address.rpartition(":")
        answers = await self._reach.do(
            host, "ask", host=there.strip("[]"), port=int(port), target=self._topology.app.health,
            headers=gates.plain(gates.domain_of(self._topology, address)), count=1000, passes=1, within_s=within_s,
            each_s=ASK_S, pause_s=PAUSE_S, well=[200],
        )  # fmt: skip
        return [(int(status), float(seconds), str(wrong)) for status, seconds, wrong in answers]

    async def _refused(self, host: str, position: int, user: bool, told: dict[str, Any]) -> TenfoldError:
        """What is raised where systemctl did not restart the unit."""
        if not is_no_right(told["said"]):
            return await self._ended(host, position, user, told, f"was not started: {told['said']}")
        account = self._topology.hosts[host].user
        return DeployError(
            f"{host}: {account} may not restart {self._unit(backend_name(position))}: {told['said']}",
            hint=f"on {host}, in /etc/sudoers.d/tenfold: {self._line(host)}",
        )

    async def _ended(self, host: str, position: int, user: bool, told: dict[str, Any], why: str) -> GateError:
        unit = self._unit(backend_name(position))
        lines = await self._do(host, "lines", unit=unit, user=user, since_s=told["began_s"])
        text = "\n".join(f"  {blotted(line, self._topology)}" for line in lines)
        shown = f"; its last lines:\n{text}" if text else f"; {self._topology.hosts[host].user} reads none of its lines"
        return GateError(f"{backend_name(position)} {blotted(why, self._topology)}{shown}", hint=self.logs(position))

    def logs(self, position: int) -> str:
        """The journal's."""
        name = backend_name(position)
        return f"journalctl -u {self._unit(name)} on {self._topology.backend_host(position)}"

    def start(self, host: str) -> str:
        """The target."""
        return f"systemctl enable --now {target_name(self._topology.platform.name)} on {host}"


def blotted(line: str, topology: Topology) -> str:
    """A line of a program without secrets and control characters."""
    values: list[Any] = [*topology.app.environment.values(), topology.cache and topology.cache.password]
    values += [shard.password for shard in topology.database.shards.values()]
    secrets = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        line = line.replace(secret, "***")
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)
