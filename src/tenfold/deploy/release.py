"""The steps that make a release on a host, and those that take it away. Edge."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tenfold.deploy import onrelease
from tenfold.deploy.fleet import Fleet
from tenfold.deploy.installs import Install, asked_for, passed_over
from tenfold.deploy.order import Order
from tenfold.deploy.plan import LOCAL, Act, Item
from tenfold.deploy.source import Source
from tenfold.deploy.steps import Step
from tenfold.errors import DeployError, TenfoldError
from tenfold.hosts.port import Ran
from tenfold.hosts.shell import shown

UNPACK_S, ACT_S, WORK_S = 600.0, 300.0, 1800.0
REFUSED = 3
LAST_LINES = 20
_SCRIPT = Path(onrelease.__file__).read_text(encoding="utf-8")
# What the release has installed is found first, without a shell reading the command.
_WITH_PATH = 'PATH=$1:$PATH; export PATH; shift; exec "$@"'


class ReleaseStep:
    """What these steps have in common: they are done once the release is sealed, and only with what the order says."""

    def __init__(self, item: Item, fleet: Fleet, order: Order, source: Source | None = None) -> None:
        """source: None for who only takes back."""
        self.name, self.said, self.host, self.told = item.name, item.said, item.host, ""
        self._place, self._fleet, self._order = item.host or LOCAL, fleet, order
        self._given, self._settings = source, fleet.topology.deploy
        self._home = f"{fleet.path(self._place)}/releases/{order.release}"

    async def check(self) -> bool:
        """Whether the release is complete: its marker comes there whole, and last of all."""
        marker = f"{self._home}/{onrelease.MARKER}"
        return (await self._fleet.host(self._place).run(["test", "-f", marker])).code == 0

    async def undo(self) -> None:
        """Nothing of its own: the release goes as a whole, when its unpacking is taken back."""

    @property
    def _source(self) -> Source:
        if self._given is None:
            raise DeployError(f"{self.name}: a release is made by who deploys it", hint="tenfold deploy")
        return self._given

    @property
    def _python(self) -> str:
        return sys.executable if self._place == LOCAL else "python3"

    async def _act(self, what: str, payload: bytes | memoryview = b"", **order: Any) -> dict[str, Any]:
        """Do a piece of onrelease.py there. Raises DeployError with its words, HostError."""
        text = {"do": what, "path": self._fleet.path(self._place), "release": self._order.release, **order}
        ran = await self._fleet.host(self._place).run(
            [self._python, "-I", "-c", _SCRIPT, json.dumps(text)],
            input=payload,
            timeout_s=UNPACK_S if payload else ACT_S,
        )
        try:
            told = json.loads(ran.out)
        except ValueError:
            told = None
        if ran.code == 0 and isinstance(told, dict):
            return told
        why = told["refused"] if ran.code == REFUSED and isinstance(told, dict) else ran.last_lines(3)
        if payload:
            await self._make_room()
        raise DeployError(f"{self._place}: {self.name.rpartition('.')[2]}: {why}", hint=self._remedy(why))

    def _remedy(self, why: str) -> str:
        if "No space left" in why or "quota" in why:
            return f"free some space on {self._place}: df -h and df -i {self._fleet.path(self._place)}"
        if "Permission denied" in why or "not permitted" in why:
            return f"let the account on {self._place} have {self._fleet.path(self._place)} (chown -R)"
        if "not found" in why:
            return f"install python3 (3.8 or newer) on {self._place}"
        return f"look at {self._home} on {self._place}"

    async def _work(self, what: str, argv: Sequence[str]) -> None:
        """Run a command in the release. Raises DeployError with its last lines."""
        ran = await self._fleet.host(self._place).run(
            ["sh", "-c", _WITH_PATH, "sh", f"{self._home}/.venv/bin:{self._home}/node_modules/.bin", *argv],
            cwd=self._home,
            environment={"TENFOLD_RELEASE": self._order.release, "PIP_ROOT_USER_ACTION": "ignore"},
            timeout_s=WORK_S,
        )
        if ran.code:
            await self._make_room()
            command = shown([word.removeprefix(self._home + "/") for word in argv])
            raise DeployError(
                f"{self._place}: {what} failed: `{command}` ended with {ran.code}\n{_end(ran)}",
                hint="mend it in a new commit; by hand it runs in a clone of the repository",
            )

    async def _make_room(self) -> None:
        """Remove at once what is taken back anyway: where the disk is full, the journal and the databases beside the
        release could not even note down that it is."""
        with suppress(TenfoldError):
            await self._act("drop")

    async def _pythons(self) -> dict[str, str]:
        """What {python} stands for in the release, and the Python of the host."""
        own = f"{self._home}/.venv/bin/python"
        has = (await self._fleet.host(self._place).run(["test", "-x", own])).code == 0
        return {"python": own if has else self._python, "host_python": self._python}


def _end(ran: Ran) -> str:
    return "\n".join(f"    {line}" for line in ran.last_lines(LAST_LINES).splitlines())


class Unpack(ReleaseStep):
    """Sends the commit and unpacks it beside the others."""

    async def apply(self) -> None:
        """From the beginning, whatever a killed deployer has left of it."""
        archive = self._source.archive
        told = await self._act("unpack", archive, size=archive.nbytes)
        self.told = f"{told['files']} files, {archive.nbytes / 2**20:.1f} MiB"

    async def undo(self) -> None:
        """Remove the release. What was moved to shared/ stays there: it may have been written to since."""
        self.told = "removed" if (await self._act("drop"))["there"] else ""


class Shared(ReleaseStep):
    """Leads paths that all releases share to where they lie."""

    async def apply(self) -> None:
        """What the first release has there becomes what is shared."""
        moved = (await self._act("share", shared=list(self._settings.shared)))["moved"]
        self.told = f"first content of {', '.join(moved)}" if moved else ""


class Installing(ReleaseStep):
    """Installs dependencies: as the file says, else as the release's own files ask."""

    async def apply(self) -> None:
        """From nothing: half a virtual environment is of no use."""
        for install in self._installs():
            for program in install.programs:
                ran = await self._fleet.host(self._place).run(["sh", "-c", 'command -v -- "$1"', "sh", program])
                if ran.code:
                    raise DeployError(
                        f"{self._place}: {install.because} asks for {program}, which is not there",
                        hint=f"install {program} on {self._place}, or write deploy.install",
                    )
            for command in install.commands:
                if command[1:3] == ("-m", "venv"):
                    await self._work("clearing", ["rm", "-rf", ".venv"])
                pythons = await self._pythons()
                await self._work("installing", [_filled(word, pythons) for word in command])
        left = passed_over(self._source.content.top) if self._settings.install is None else ""
        said = ", ".join(one.because for one in self._installs()) or ("" if left else "no file asks for anything")
        self.told = "; ".join(filter(None, (said, left)))

    def _installs(self) -> list[Install]:
        if self._settings.install is None:
            return asked_for(self._source.content.top, self._source.content.project)
        words = shlex.split(self._settings.install)
        return [Install("deploy.install", (tuple(words),))] if words else []


class Build(ReleaseStep):
    """Runs the commands of deploy.build in the release."""

    async def apply(self) -> None:
        """In order; the first that fails ends it."""
        for command in self._settings.build:
            pythons = await self._pythons()
            await self._work("building", [_filled(word, pythons) for word in shlex.split(command)])


class Seal(ReleaseStep):
    """Takes the right to write away and marks the release as complete, last of all."""

    async def apply(self) -> None:
        """Only from here on it may be run."""
        source = self._source
        marker = {"id": source.release, "commit": source.commit, "ref": source.ref, "at": source.at, "by": source.by}
        await self._act("seal", writable=list(self._settings.writable), marker=marker)


class Cleanup(ReleaseStep):
    """Removes releases that nobody needs."""

    async def check(self) -> bool:
        """There may always be some."""
        return False

    async def apply(self) -> None:
        """The newest stay, what runs or ran before, and what a backend's link names."""
        protect = {self._order.release, *filter(None, self._order.before.values())}
        told = await self._act("clean", keep=self._settings.keep, protect=sorted(protect))
        self.told = f"{len(told['gone'])} removed, {len(told['stay'])} stay"


def _filled(word: str, pythons: Mapping[str, str]) -> str:
    for name, value in pythons.items():
        word = word.replace("{" + name + "}", value)
    return word


STEPS: Mapping[Act, type[ReleaseStep]] = {
    Act.UNPACK: Unpack,
    Act.SHARED: Shared,
    Act.INSTALL: Installing,
    Act.BUILD: Build,
    Act.SEAL: Seal,
    Act.CLEANUP: Cleanup,
}


def release_step(item: Item, fleet: Fleet, order: Order, source: Source | None) -> Step:
    """The step of an item that makes or cleans up releases. source: None for who only takes back."""
    made: Step = STEPS[item.act](item, fleet, order, source)  # type: ignore[assignment]  # each has an apply
    return made
