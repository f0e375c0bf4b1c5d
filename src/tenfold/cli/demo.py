"""`tenfold demo`: the example platform in a directory of its own. Edge."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path

import click
from click.core import ParameterSource

from tenfold.cli.options import Invocation, common
from tenfold.cli.up import log_to, run_platform
from tenfold.errors import PlatformError

DIRECTORY = "tenfold-demo"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=DIRECTORY)
@click.option(
    "--port",
    type=click.IntRange(1, 65_000),
    help="Port of the balancer; the backends take the ones after it. Default: as the file says, 8080 and 8101.",
)
@log_to
@common
def demo(run: Invocation, directory: Path, port: int | None, log_to: str) -> int:
    """Run the example platform, a small bank with 10,000 users, in DIRECTORY (default: ./tenfold-demo).

    Its tenfold.toml is written there if there is none; then it is `tenfold up`. Change the file, or delete the
    directory, as you like.
    """
    if click.get_current_context().get_parameter_source("file") is ParameterSource.COMMANDLINE:
        raise click.UsageError("the example has a file of its own: name a DIRECTORY instead of --file")
    file = directory / "tenfold.toml"
    if write_example(file):
        run.say(f"wrote {file}")
    run = replace(run, file=file)
    topology = run.topology()
    if port is not None:
        # For this run only: the file stays as it is.
        host = topology.balancer.listen.rpartition(":")[0]
        backends = tuple(backend.model_copy(update={"port": None}) for backend in topology.app.backends)
        app = topology.app.model_copy(update={"base_port": port + 1, "backends": backends})
        balancer = topology.balancer.model_copy(update={"listen": f"{host}:{port}"})
        topology = topology.model_copy(update={"app": app, "balancer": balancer})
    last = len(topology.app.backends)
    return run_platform(run, topology, log_to, f"other ports: tenfold demo --port 9000 takes 9000 to {9000 + last}")


def write_example(file: Path) -> bool:
    """Write the example's file unless there is one; tell whether. Raises PlatformError where it cannot be written."""
    if file.exists():
        return False
    text = resources.files("tenfold.demo.ledger").joinpath("tenfold.toml").read_text(encoding="utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be written: {error.strerror} (running as user {os.geteuid()})",
            hint="name a directory of yours: tenfold demo DIRECTORY",
        ) from None
    return True
