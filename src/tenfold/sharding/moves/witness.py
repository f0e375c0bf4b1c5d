"""Behind a fence: whether rows have gone from the giver past its triggers, as TRUNCATE makes them go. Edge."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tenfold.sharding.moves import rows
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.tables import Moved


def emptied(
    shards: Shards, move: int, giver: str, taker: str, tables: Sequence[Moved], buckets: Collection[int]
) -> list[Moved]:
    """The tables of which some row of buckets is on the taker alone, once all marks of them were carried.

    One row of each table is looked for: it costs next to nothing, and nothing that empties a table leaves it.
    """
    found = []
    for table in tables:
        if table.of(buckets):
            there = shards.rows(taker, rows.any_key(move, table, buckets))
            if there and not shards.rows(giver, rows.has_key(table, str(there[0][0]))):
                found.append(table)
    return found
