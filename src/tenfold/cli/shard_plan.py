"""`tenfold shard plan`: what a rebalance would do, and what stands in its way. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common
from tenfold.cli.shard_status import size_of
from tenfold.cli.status import table

if TYPE_CHECKING:
    from tenfold.sharding.moves.proposal import Proposal

COLUMNS = ("FROM", "TO", "BUCKETS", "ROWS", "BYTES")
EVEN = "every shard has its share: nothing has to move"


@click.command()
@click.option("--rows-per-second", type=click.FloatRange(min=1), help="The rate that the copy would be limited to.")
@common
def plan(run: Invocation, rows_per_second: float | None) -> int:
    """Show which buckets `rebalance` would move, and what stands in the way. Changes nothing.

    The fewest buckets that give every shard its share by weight. Rows are counted, bytes and time are estimates.
    Exit code 1: something stands in the way.
    """
    from tenfold.sharding.moves.proposal import propose

    found = propose(run.topology(), rows_per_second)
    run.result(found.as_json())
    for line in lines(found):
        run.say(line)
    return 1 if found.obstacles else 0


def lines(found: Proposal) -> list[str]:
    """The legs as a table, the sum of them, and each obstacle with its remedy."""
    told: list[str] = []
    if found.legs:
        rows = [
            (
                one.leg.source, one.leg.target, ", ".join([*[f"{one.buckets:,}"] * bool(one.buckets), *one.tables]),
                f"{one.rows:,}", size_of(one.bytes),
            )
            for one in found.legs
        ]  # fmt: skip
        told += [*table([COLUMNS, *rows]), "", _sum(found)]
    else:
        told.append(EVEN)
    told += [f"  {note}" for note in found.notes]
    for obstacle in found.obstacles:
        told += [f"in the way: {obstacle.said}", f"       Try: {obstacle.remedy}"]
    return told


def _sum(found: Proposal) -> str:
    buckets, rows = (sum(getattr(one, what) for one in found.legs) for what in ("buckets", "rows"))
    parts = [f"{buckets:,} bucket{'s' * (buckets != 1)}"] if buckets else []
    parts += [table for one in found.legs for table in one.tables]
    return f"{', '.join(parts)}; {rows:,} rows; about {duration(found.seconds)}"


def duration(seconds: float) -> str:
    """For people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
