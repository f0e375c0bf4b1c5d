"""tenfold shard: sets the shards up, looks at them, asks them. Edge."""

from __future__ import annotations

import click

from tenfold.cli.explain import explain
from tenfold.cli.options import Invocation, common
from tenfold.cli.shard_move import add, drain, move, rebalance
from tenfold.cli.shard_plan import plan
from tenfold.cli.shard_repair import repair_catalog
from tenfold.cli.shard_resume import cancel, finish, resume, undo
from tenfold.cli.shard_status import status
from tenfold.cli.shard_verify import verify
from tenfold.cli.sql import sql


@click.group()
def shard() -> None:
    """Set up and look after the shards, and ask them as one database."""


@shard.command()
@click.option("--restarted", is_flag=True, help="Every process of the application was started again since the upgrade.")
@common
def init(run: Invocation, restarted: bool) -> None:
    """Create the catalog, the bucket map and Tenfold's own tables. May be run again: what is there stays.

    A catalog of the release before is brought up to date. Processes of that release know no leases, so no bucket
    moves until --restarted says that none of them runs any more.
    """
    from tenfold.sharding.engine.initialise import initialise

    made = initialise(run.topology(), restarted=restarted)
    run.result({"cluster": made.cluster, "done": made.done, "notes": made.notes})
    for line in made.done or ["nothing to do"]:
        run.say(line)
    for note in made.notes:
        run.say(f"  {note}")


for command in (
    status,
    sql,
    explain,
    add,
    plan,
    rebalance,
    move,
    drain,
    resume,
    undo,
    finish,
    cancel,
    verify,
    repair_catalog,
):
    shard.add_command(command)
