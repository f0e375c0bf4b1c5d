"""What systemd starts: `python -m tenfold.runtime.launch --file F --env E --host H PROGRAM` becomes that program. Edge.

The same commands, environments and releases as under `tenfold up`, without a supervisor of ours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tenfold.balancer.apply import prepare
from tenfold.balancer.upstreams import backend_name
from tenfold.errors import PlatformError, TenfoldError
from tenfold.runtime import agent_balancer, preflight
from tenfold.runtime.fleet import Here, here
from tenfold.runtime.place import Place
from tenfold.runtime.programs import NOWHERE, Program
from tenfold.runtime.recipe import Recipe
from tenfold.topology.load import load

TRY_LATER = 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the program; returns only where that cannot be, or for the set-up."""
    given = _parser().parse_args(arguments)
    try:
        ours = here(load(given.file, given.env), given.host)
        place = Place.of(given.file)
        place.make()
        preflight.raise_file_limit()
        if given.program == "setup":
            return _set_up(ours, place)
        if given.program == "balancer":
            _become_nginx(ours, place)
        _become(_backend(ours, place, given.program), place)
    except TenfoldError as error:
        sys.stderr.write(f"error: {error}\n" + (f"Try: {error.hint}\n" if error.hint else ""))
        return TRY_LATER if error.retryable else 1
    return 1


def _recipe(ours: Here, place: Place) -> Recipe:
    return Recipe(ours, place.root, os.environ, sys.executable, str(place.agent_socket))


def _backend(ours: Here, place: Place, name: str) -> Program:
    names = {backend_name(position): position for position in ours.backends}
    if name not in names:
        raise PlatformError(
            f"{name!r} does not run on {ours.host or 'this machine'}", hint="one of: " + " ".join(names)
        )
    return next(program for program in _recipe(ours, place).backends() if program.name == name)


def _become(program: Program, place: Place) -> None:
    os.chdir(program.release.directory if program.release else place.root)
    os.execve(program.argv[0], program.argv, dict(program.environment))  # noqa: S606  the user's own command


def _become_nginx(ours: Here, place: Place) -> None:
    if not ours.has_balancer:
        raise PlatformError("the balancer runs elsewhere", hint=f"start it on {ours.topology.balancer_host}")
    states = agent_balancer.recorded(place.balancer_record, ours.topology)
    prepared = prepare(ours.topology, place.var, states)
    for warning in prepared.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    os.execv(prepared.command[0], prepared.command)  # noqa: S606  nginx, as it was found and checked


def _set_up(ours: Here, place: Place) -> int:
    """What `tenfold up` does before the first backend: Tenfold's own tables, then the app's set-up."""
    from tenfold.sharding.engine.initialise import initialise

    if not ours.sets_up:
        raise PlatformError("the databases are set up elsewhere", hint="start it where the first backend runs")
    initialise(ours.topology)
    program = _recipe(ours, place).setup(NOWHERE)
    if program is None:
        return 0
    directory = program.release.directory if program.release else place.root
    return subprocess.run(program.argv, env=dict(program.environment), cwd=directory, check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tenfold.runtime.launch", description="Started by systemd.")
    parser.add_argument("--file", type=Path, required=True, help="the platform's file")
    parser.add_argument("--env", help="environment of the file")
    parser.add_argument("--host", help="what this machine is called in the environment")
    parser.add_argument("program", help="backend_0 …, balancer or setup")
    return parser


if __name__ == "__main__":
    sys.exit(main())
