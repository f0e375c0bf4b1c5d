"""tenfold shard: sets the shards up. Edge."""

from __future__ import annotations

import click

from tenfold.cli.options import Invocation, common


@click.group()
def shard() -> None:
    """Set up and look after the shards."""


@shard.command()
@common
def init(run: Invocation) -> None:
    """Create the catalog, the bucket map and Tenfold's own tables. May be run again: what is there stays."""
    from tenfold.sharding.engine.initialise import initialise

    made = initialise(run.topology())
    run.result({"cluster": made.cluster, "done": made.done, "notes": made.notes})
    for line in made.done or ["nothing to do"]:
        run.say(line)
    for note in made.notes:
        run.say(f"  {note}")
