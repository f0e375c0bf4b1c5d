"""`tenfold shard resume`, `undo`, `finish` and `cancel`: what goes on with a move, or ends it. Edge."""

from __future__ import annotations

import click

from tenfold.cli import moving
from tenfold.cli.options import Invocation, common


@click.command()
@click.option("--accept", is_flag=True, help="After a failover: the servers that answer now are the right ones.")
@moving.limits
@common
def resume(
    run: Invocation, accept: bool, rows_per_second: float | None, max_latency_ms: float | None, max_lag_s: float | None
) -> None:
    """Go on with a move, or a shard that joins, whatever stopped it."""
    moving.moving(run, lambda moves: moves.resume(accept=accept), rows_per_second, max_latency_ms, max_lag_s)


@click.command()
@moving.limits
@common
def undo(run: Invocation, rows_per_second: float | None, max_latency_ms: float | None, max_lag_s: float | None) -> None:
    """Carry everything back, with all that was written since. Possible until `finish`."""
    moving.moving(run, lambda moves: moves.undo(), rows_per_second, max_latency_ms, max_lag_s)


@click.command()
@moving.limits
@common
def finish(
    run: Invocation, rows_per_second: float | None, max_latency_ms: float | None, max_lag_s: float | None
) -> None:
    """End a move that serves: what is left on the old shards is deleted. There is no way back after it."""
    if not run.yes:
        click.confirm("delete what is left on the old shards? there is no undo after it", abort=True, err=True)
    moving.moving(run, lambda moves: moves.finish(), rows_per_second, max_latency_ms, max_lag_s)


@click.command()
@common
def cancel(run: Invocation) -> None:
    """Give a move up of which no bucket was cut over, or a shard that joins: its copies are deleted."""
    moving.moving(run, lambda moves: moves.cancel())
