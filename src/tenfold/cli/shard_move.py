"""`tenfold shard rebalance`, `move`, `drain` and `add`: what begins a move. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli import moving
from tenfold.cli.options import Invocation, common

if TYPE_CHECKING:
    from tenfold.sharding.moves.proposal import Proposal


@click.command()
@moving.limits
@common
def rebalance(
    run: Invocation, rows_per_second: float | None, max_latency_ms: float | None, max_lag_s: float | None
) -> int:
    """Move the fewest buckets that give every shard its share by weight, while the platform serves.

    Copies, follows, compares and cuts over; then `finish` deletes what is left on the old shards, or `undo` carries
    everything back. Ctrl-C is safe: `resume` goes on.
    """
    from tenfold.sharding.moves.proposal import propose

    return _move(run, propose(run.topology(), rows_per_second), (rows_per_second, max_latency_ms, max_lag_s))


@click.command()
@click.option("--buckets", metavar="LIST", help="Buckets, as 17,40-52.")
@click.option("--table", "tables", multiple=True, metavar="NAME", help="A pinned table; may be given several times.")
@click.option("--to", required=True, metavar="SHARD", help="The shard that they go to.")
@moving.limits
@common
def move(
    run: Invocation,
    buckets: str | None,
    tables: tuple[str, ...],
    to: str,
    rows_per_second: float | None,
    max_latency_ms: float | None,
    max_lag_s: float | None,
) -> int:
    """Move chosen buckets, or pinned tables, to a shard; else as `rebalance`."""  # fmt: skip
    from tenfold.sharding.moves.proposal import propose_buckets, propose_table

    if (buckets is None) == (not tables):
        raise click.UsageError("name --buckets or --table, and not both")
    topology = run.topology()
    found = (
        propose_buckets(topology, buckets, to, rows_per_second)
        if buckets is not None
        else propose_table(topology, tables, to, rows_per_second)
    )
    return _move(run, found, (rows_per_second, max_latency_ms, max_lag_s))


@click.command()
@click.argument("shard")
@moving.limits
@common
def drain(
    run: Invocation, shard: str, rows_per_second: float | None, max_latency_ms: float | None, max_lag_s: float | None
) -> int:
    """Move all that a shard has to the others; after `finish` it has left, and the file may drop it."""
    from tenfold.sharding.moves.proposal import propose_drain

    found = propose_drain(run.topology(), shard, rows_per_second)
    limits = (rows_per_second, max_latency_ms, max_lag_s)
    if not found.legs and not found.obstacles:
        moving.moving(run, lambda moves: moves.let_go(shard), *limits)
        return 0
    return _move(run, found, limits)


@click.command()
@click.argument("shard")
@common
def add(run: Invocation, shard: str) -> None:
    """Take a shard of the file in: checked, given its schema and the reference tables. It owns no bucket yet.

    Reference tables are not written while their rows are copied: those statements wait.
    """
    moving.moving(run, lambda moves: moves.add(shard))


def _move(run: Invocation, found: Proposal, limits: tuple[float | None, float | None, float | None]) -> int:
    from tenfold.cli.shard_plan import lines

    for line in lines(found):
        run.say(line)
    run.result({"event": "plan"} | found.as_json())
    if found.obstacles:
        return 1
    if not found.legs:
        return 0
    if not run.yes:
        click.confirm("move them?", default=True, abort=True, err=True)
    moving.moving(run, lambda moves: moves.begin(found), *limits)
    return 0
