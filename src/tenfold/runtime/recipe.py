"""Makes the app's programs anew at each start, in the release that their link leads to then. Edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tenfold.balancer.upstreams import backend_name
from tenfold.runtime import preflight, programs
from tenfold.runtime.fleet import Here
from tenfold.runtime.programs import Address, Kind, Program
from tenfold.runtime.releases import release_of
from tenfold.topology.commands import arguments
from tenfold.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the app's programs are made of.

    here     which of them are this machine's
    root     directory of the file
    environ  what they get besides their own variables
    python   the Python that runs Tenfold
    socket   the agent's
    """

    here: Here
    root: Path
    environ: Mapping[str, str]
    python: str
    socket: str | None = None

    @property
    def topology(self) -> Topology:
        return self.here.topology

    def backends(self) -> list[Program]:
        """Those of this machine, in the order of the file. Raises PlatformError."""
        return [self._backend(position) for position in self.here.backends]

    def again(self, program: Program) -> Program:
        """The program as it is to be started now. Raises PlatformError where its release or its command is gone."""
        if program.kind is not Kind.BACKEND:
            return program
        return self._backend(int(program.name.rpartition("_")[2]))

    def setup(self, address: Address) -> Program | None:
        """The app's set-up, in the first backend's release; None where that is elsewhere, or the file has none.

        Raises PlatformError.
        """
        command = self.topology.app.setup
        if command is None or not self.here.sets_up:
            return None
        release = release_of(self.root, backend_name(0))
        return self._found(
            Program(
                name="setup",
                kind=Kind.SETUP,
                argv=tuple(arguments(command, python=(release and release.python) or self.python)),
                address=address,
                health="/",
                host="",
                environment=programs.app_environment(self.topology, self.environ, self.python, release),
                release=release,
            ),
            "app.setup",
        )

    def _backend(self, position: int) -> Program:
        release = release_of(self.root, backend_name(position))
        made = programs.backend(self.topology, position, self.environ, self.python, self.socket, release)
        return self._found(made, "app.command")

    def _found(self, program: Program, where: str) -> Program:
        directory = Path(program.release.directory) if program.release else self.root
        path = preflight.find_program(program.argv[0], program.environment, directory, where)
        return replace(program, argv=(path, *program.argv[1:]))
