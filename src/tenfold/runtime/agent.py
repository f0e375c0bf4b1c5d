"""The agent's process: `python -m tenfold.runtime.agent --file F [--env E]`, kept alive by `tenfold up`. Edge."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tenfold.errors import PlatformError, TenfoldError
from tenfold.runtime import agent_port
from tenfold.runtime.fleet import here
from tenfold.runtime.place import Place
from tenfold.runtime.programs import balancer_address
from tenfold.topology.load import load
from tenfold.topology.model import Topology


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        topology = here(as_it_runs(load(given.file, given.env), given.listen, given.ports), given.host).topology
        place = Place.of(given.file)
        try:
            place.make()
        except PlatformError as error:  # a full disk, say: it costs history, not the view of what goes on
            logging.warning("%s", error)
        # First of all, for a person waits for it: all else takes half a second to load.
        server, token = agent_port.announce(balancer_address(topology.balancer.listen).port, place.agent_state)
        from tenfold.runtime.agent_run import run

        return run(topology, place, server, token, given.host)
    except TenfoldError as error:
        sys.stderr.write(f"error: {error}\n" + (f"Try: {error.hint}\n" if error.hint else ""))
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'the agent'}: {error.strerror}\n")
    return 1


def as_it_runs(topology: Topology, listen: str | None, ports: str | None) -> Topology:
    """The file's platform with the addresses that `tenfold up` has given it.

    Raises PlatformError when the file has other backends by now than the platform that runs.
    """
    if listen is not None:
        topology = topology.model_copy(update={"balancer": topology.balancer.model_copy(update={"listen": listen})})
    if ports is None:
        return topology
    numbers, backends = [int(port) for port in ports.split(",")], topology.app.backends
    if len(numbers) != len(backends):
        raise PlatformError(
            f"{topology.file} has {len(backends)} backends by now, and {len(numbers)} run",
            hint="restart the platform, so that it runs what the file says",
        )
    placed = tuple(backend.model_copy(update={"port": n}) for backend, n in zip(backends, numbers, strict=True))
    return topology.model_copy(update={"app": topology.app.model_copy(update={"backends": placed})})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tenfold.runtime.agent", description="Started by `tenfold up`.")
    parser.add_argument("--file", type=Path, required=True, help="the platform's file")
    parser.add_argument("--env", help="environment of the file")
    parser.add_argument("--host", help="what this machine is called in the environment")
    parser.add_argument("--listen", help="where the balancer listens, if not where the file says")
    parser.add_argument("--ports", help="ports of the backends, with commas, if not the file's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
