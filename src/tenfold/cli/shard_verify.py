"""`tenfold shard verify`: whether every row is where it belongs, and the same wherever it is twice. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import MoveError

if TYPE_CHECKING:
    from tenfold.sharding.moves.checking import Checked
    from tenfold.sharding.moves.placement import Strays


@click.command()
@click.option("--buckets", metavar="LIST", help="Only these buckets of the move that is under way, as 17,40-52.")
@click.option("--placement", is_flag=True, help="Find rows that lie on a shard which does not own their bucket.")
@click.option("--mend", is_flag=True, help="With --placement: bring them to the shard that does.")
@common
def verify(run: Invocation, buckets: str | None, placement: bool, mend: bool) -> int:
    """Compare reference tables, and the rows of a move that follows or serves. Exit code 1: something differs.

    With --placement every row of every group is looked at instead. It was written past Tenfold if it lies on a wrong
    shard; --mend moves it, unless another row with its primary key is there.
    """
    if mend and not placement:
        raise click.UsageError("--mend goes with --placement")
    if placement and buckets is not None:
        raise click.UsageError("--placement looks at all buckets: leave --buckets out")
    return _placement(run, mend) if placement else _copies(run, buckets)


def _copies(run: Invocation, buckets: str | None) -> int:
    from tenfold.sharding.moves.checking import check
    from tenfold.sharding.moves.record import numbers

    try:
        chosen = None if buckets is None else set(numbers(buckets))
    except ValueError as error:
        raise MoveError(f'"{error}" in the list of buckets is none', hint="write numbers and spans: 17,40-52") from None
    found = check(run.topology(), chosen)
    run.result(found.as_json())
    for line in copies(found):
        run.say(line)
    return 1 if found.tables or found.differences else 0


def copies(found: Checked) -> list[str]:
    """For people."""
    from tenfold.sharding.moves.checking import SHOWN

    words = {"missing": "is missing on the other side", "extra": "is only on the other side", "different": "differs"}
    told = [f"{one.table} {one.key} (bucket {one.bucket}) {words[one.kind]}" for one in found.differences[:SHOWN]]
    if len(found.differences) > SHOWN:
        told.append(f"and {len(found.differences) - SHOWN:,} rows more")
    told = [*found.tables, *told]
    tables = f"{found.reference} reference table{'s' * (found.reference != 1)}"
    if not told:
        return [f"the same on all shards: {tables}, both sides of {found.buckets:,} buckets that move"]
    return told


def _placement(run: Invocation, mend: bool) -> int:
    from tenfold.sharding.moves.placement import strays

    found = strays(run.topology(), mend=mend)
    run.result({"strays": [one.as_json() for one in found]})
    for line in places(found, mend):
        run.say(line)
    return 1 if any(one.count > one.mended for one in found) else 0


def places(found: list[Strays], mend: bool) -> list[str]:
    """For people."""
    if not found:
        return ["every row is on the shard that owns its bucket"]
    told = []
    for one in found:
        rows = "1 row that belongs" if one.count == 1 else f"{one.count:,} rows that belong"
        told.append(f"{one.table} on {one.shard}: {rows} elsewhere")
        if one.keyless:
            told.append(f"  {one.keyless:,} without a shard key, which belong nowhere")
        if mend:
            told.append(f"  {one.mended:,} brought to their shard")
            told += [f"  {key} stays: {owner} has another row like it" for key, owner in one.twice[:100]]
        else:
            told += [f"  {key} belongs on {owner}" for key, owner in one.named]
            more = one.count - one.keyless - len(one.named)
            told += [f"  and {more:,} more"] * (more > 0 and bool(one.named))
    if not mend:
        told.append("`tenfold shard verify --placement --mend` brings them to their shard")
    return told
