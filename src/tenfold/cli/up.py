"""`tenfold up`: run the platform on this machine until Ctrl-C. Edge."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common

if TYPE_CHECKING:
    from tenfold.runtime.start import Running
    from tenfold.topology.model import Topology

log_to = click.option(
    "--log-to",
    type=click.Choice(["files", "stdout"]),
    default="files",
    show_default=True,
    help="Where the output of the app and the balancer goes: files in var/log/, or here (in a container, say).",
)


@click.command()
@log_to
@click.option("--host", metavar="NAME", help="Which machine of the environment this one is; with --env.")
@common
def up(run: Invocation, log_to: str, host: str | None) -> int:
    """Run the platform on this machine: the backends, and the balancer in front of them. Of an environment with hosts,
    what is this host's.

    Stays in the foreground; Ctrl-C, SIGTERM or `tenfold down` stop everything in order. What crashes comes back.
    """
    return run_platform(run, run.topology(), log_to, host=host)


def run_platform(
    run: Invocation, topology: Topology, log_to: str, ports_hint: str | None = None, host: str | None = None
) -> int:
    """Run `topology` as `tenfold up` does; returns the exit code. `ports_hint`: the remedy for taken ports."""
    # Here, not above: `tenfold up --help` needs neither pydantic nor psutil.
    from tenfold.runtime.fleet import here
    from tenfold.runtime.up import PORTS_HINT
    from tenfold.runtime.up import up as supervise
    from tenfold.runtime.voice import Voice

    voice = Voice(quiet=run.quiet, as_json=run.json)

    def ready(running: Running) -> None:
        run.result(running.as_json())
        on = f" on {running.host}" if running.host else ""
        voice.block(f"{running.name} is up{on}" + (f": {running.url}" if running.url else ""), block(running, run.file))

    return supervise(
        here(topology, host), voice, ready=ready, log_to_stdout=log_to == "stdout", ports_hint=ports_hint or PORTS_HINT
    )


def block(running: Running, file: Path) -> list[tuple[str, str]]:
    """The rows that tell where everything is, with commands that work as they stand in another terminal here."""
    rows = [("balancer", running.url)] if running.url else []
    for position, backend in enumerate(running.backends):
        rows.append(("" if position else "backends", f"{backend['url']}  weight {backend['weight']}"))
    rows.append(("shards", "  ".join(running.shards)))
    if running.page:
        rows.append(("page", f"{running.page}  (opens once; for another: {_command('status', file)})"))
    rows.append(("logs", f"{running.logs}  ({_command('logs', file)})"))
    rows += [("note", note) for note in running.notes]
    rows.append(("stop", f"Ctrl-C, or {_command('down', file)}"))
    return rows


def _command(name: str, file: Path) -> str:
    # From a checkout, Tenfold is in a directory that no PATH names.
    tenfold = "tenfold" if shutil.which("tenfold") else sys.argv[0]
    return f"{tenfold} {name}" + ("" if file == Path("tenfold.toml") else f" --file {shlex.quote(str(file))}")
