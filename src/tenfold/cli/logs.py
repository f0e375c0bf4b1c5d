"""`tenfold logs`: what the balancer and the backends wrote. Edge."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import PlatformError

POLL_S = 0.2


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="How many old lines of each."
)
@common
def logs(run: Invocation, names: tuple[str, ...], follow: bool, lines: int) -> int:
    """Show what was written to var/log/, each line after the name of its file; NAMEs choose (backend_0, …)."""
    from tenfold.runtime.logs import Follower, last_lines
    from tenfold.runtime.place import Place

    place = Place.of(run.file)
    known = place.logs()
    chosen = choose(names, known, place.log)
    # Before the old lines are read: what is written in between is then shown, not lost.
    followers = {name: Follower(known[name]) for name in chosen}
    width = max((len(name) for name in chosen), default=0)
    for name in chosen:
        show(run, name, last_lines(known[name], lines), width)
    while follow:
        time.sleep(POLL_S)
        for name, follower in followers.items():
            show(run, name, follower.new_lines(), width)
        for name, path in place.logs().items() if not names else ():
            if name not in followers:
                followers[name] = Follower(path, from_start=True)
    return 0


# Everywhere else -f is --file. Here everybody's fingers know it as --follow, as in tail, journalctl and docker.
for _option in logs.params:
    if _option.name == "file":
        _option.opts.remove("-f")


def choose(names: Sequence[str], known: dict[str, Path], directory: Path) -> list[str]:
    """The logs to show, in order. Raises PlatformError for a name that is none, and where there are none at all."""
    if not known:
        raise PlatformError(f"there are no logs in {directory}", hint="tenfold up; with --log-to stdout it writes none")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise PlatformError(
                f"there is no log {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                hint="one of: " + " ".join(known),
            )
    return list(dict.fromkeys(names)) or list(known)


def show(run: Invocation, name: str, lines: Sequence[str], width: int) -> None:
    """Print lines after their name; with --json each as an object."""
    from tenfold.runtime.wording import visible

    for line in lines:
        if run.json:
            click.echo(json.dumps({"name": name, "line": line}, ensure_ascii=False))
        else:
            click.echo(f"{name:<{width}} | {visible(line)}")
