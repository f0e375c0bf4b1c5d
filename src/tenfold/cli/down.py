"""`tenfold down`: stop the platform. Edge."""

from __future__ import annotations

import click

from tenfold.cli.options import Invocation, common


@click.command()
@common
def down(run: Invocation) -> int:
    """Stop the platform that `tenfold up` runs in another terminal; nothing running is fine too."""
    from tenfold.runtime.down import down as stop
    from tenfold.runtime.place import Place
    from tenfold.runtime.wording import duration

    stopped = stop(Place.of(run.file))
    if stopped is None:
        run.say("nothing is running")
        run.result({"stopped": False, "processes": []})
        return 0
    names, took = ", ".join(stopped.processes), duration(stopped.seconds)
    if stopped.pid is None:
        run.say(f"ended what a killed `tenfold up` had left: {names} ({took})")
    else:
        run.say(f"stopped {stopped.platform} (pid {stopped.pid}): {names or 'it was starting'} ({took})")
    run.result({"stopped": True, "pid": stopped.pid, "processes": stopped.processes})
    return 0
