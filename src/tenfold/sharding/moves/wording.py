"""A move in words: what it is doing, and what a person may do with it. Pure."""

from __future__ import annotations

from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import REFERENCE, Move

NEXT_STEP = {
    **dict.fromkeys(
        (Phase.ANNOUNCED, Phase.CAPTURING, Phase.COPYING, Phase.FOLLOWING),
        "nothing has moved yet; `tenfold shard resume` goes on, `tenfold shard cancel` deletes the copies",
    ),
    Phase.CUTTING: "some buckets have moved; `tenfold shard resume` goes on, `tenfold shard undo` carries them back",
    Phase.SERVING: "the rows are served from their new shards; `tenfold shard finish` deletes what is left on the old "
    "ones, `tenfold shard undo` carries them back",
    Phase.RETURNING: "it is on its way back; `tenfold shard resume` goes on",
    Phase.CLEANING: "remains are deleted; `tenfold shard resume` goes on",
}


def sentence(move: Move) -> str:
    """Of a move that is not done."""
    if move.detail.get("joins"):
        word = "leaving" if move.detail.get("leaves") else "joining"
        back = "" if "result" in move.detail else ", `tenfold shard cancel` takes it back"
        return f"{move.detail['joins']} is {word}: `tenfold shard resume` goes on{back}"
    numbers = [bucket for leg in move.legs for bucket in leg.buckets]
    buckets, tables = sum(n < BUCKETS for n in numbers), sum(n > REFERENCE for n in numbers)
    parts = [
        f"{count:,} {what}{'s' * (count != 1)}" for count, what in ((buckets, "bucket"), (tables, "table")) if count
    ]
    return f"move {move.id} of {' and '.join(parts)} is {move.phase}: {NEXT_STEP[move.phase]}"
