"""`tenfold shard repair-catalog`: a lost or damaged catalog, out of what the shards know. Edge."""

from __future__ import annotations

from contextlib import closing

import click

from tenfold.cli.options import Invocation, common


@click.command("repair-catalog")
@common
def repair_catalog(run: Invocation) -> int:
    """Make the bucket map and the catalog anew from the copies and fences that every shard keeps.

    Of every bucket the highest epoch counts. What two shards say otherwise, or nobody knows, is named, and then nothing
    is written. Every shard of the file must answer.
    """
    from tenfold.sharding.moves.repair import Repair

    with closing(Repair(run.topology())) as repair:
        found = repair.diagnose()
        run.result(found.as_json())
        if not found.wrong and not found.conflicts:
            run.say("the catalog is whole: nothing to repair")
            return 0
        for line in [*found.wrong, *(f"cannot be decided: {one}" for one in found.conflicts)]:
            run.say(line)
        if found.conflicts:
            return 1
        shares = ", ".join(f"{shard} {count:,}" for shard, count in sorted(found.as_json()["buckets"].items()))
        members = ", ".join(found.members)
        run.say(f"the shards know of: {shares} buckets; epoch {found.rebuilt.epoch}; members {members}")
        if not run.yes:
            click.confirm(f"write this to {repair.catalog}?", default=True, abort=True, err=True)
        repair.write(found)
        run.say(f"the catalog on {repair.catalog} is whole again")
        for note in found.notes:
            run.say(f"  {note}")
    return 0
