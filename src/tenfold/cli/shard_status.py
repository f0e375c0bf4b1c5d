"""`tenfold shard status`: how each shard is, and how even they are. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common
from tenfold.cli.status import table

if TYPE_CHECKING:
    from tenfold.sharding.engine.status import ShardStatus, Status

COLUMNS = ("SHARD", "SERVER", "ANSWERS IN", "CONNECTIONS", "REPLICATION", "SIZE", "FREE", "ROWS", "BUCKETS")
UNKNOWN = "–"
TRY_LATER = 75


@click.command()
@common
def status(run: Invocation) -> int:
    """Say how the shards are: who answers, how fast, how full. Exit code 75: one does not answer; 1: one refuses us.

    CONNECTIONS: to the whole server of how many it allows, and in brackets those of Tenfold's account to this
    database. ROWS is an estimate. FREE is known where the data lies on this machine. A dash is what the account
    may not see, or what there is not.
    """
    from tenfold.sharding.engine.status import status as look

    found = look(run.topology())
    run.result({"shards": [one.as_json() for one in found.shards], "epoch": found.epoch, "bucket_skew": found.skew,
                "move": found.move or None})  # fmt: skip
    for line in lines(found):
        run.say(line)
    failures = [one.failure for one in found.shards if one.failure is not None]
    if not failures:
        return 0
    return TRY_LATER if any(failure.retryable for failure in failures) else 1


def lines(found: Status) -> list[str]:
    """The table, the line of totals, and of each shard that does not answer why, and what to do."""
    rows = [COLUMNS, *(_cells(one) for one in found.shards)]
    # What nobody has (SQLite has no connections and no replicas) is left out.
    kept = [n for n in range(len(COLUMNS)) if any(row[n] != UNKNOWN for row in rows[1:])]
    told = [
        *table([tuple(row[n] for n in kept) for row in rows]),
        "",
        _totals(found),
        *([found.move] if found.move else []),
    ]
    for one in found.shards:
        if one.failure is not None:
            told += [f"error: {one.failure}", *([f"Try: {one.failure.hint}"] if one.failure.hint else [])]
    return told


def _cells(one: ShardStatus) -> tuple[str, ...]:
    buckets = UNKNOWN if one.buckets is None else f"{one.buckets:,}"
    if one.failure is not None:
        said = "does not answer" if one.failure.retryable else "refuses"
        return (one.shard, said, *[UNKNOWN] * (len(COLUMNS) - 3), buckets)
    used = UNKNOWN if one.used is None else f"{one.used}/{one.most} ({one.ours})"
    return (
        one.shard, one.server, _latency(one.latency_s), used, one.replication or UNKNOWN,
        size_of(one.size_bytes), size_of(one.free_bytes), _rows(one.rows, one.rows_at_least), buckets,
    )  # fmt: skip


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _rows(count: int | None, at_least: bool) -> str:
    if count is None:
        return UNKNOWN
    return f"{'≥' if at_least else ''}{count:,}"


def size_of(count_bytes: int | None) -> str:
    if count_bytes is None:
        return UNKNOWN
    for unit, name in ((2**40, "TB"), (2**30, "GB"), (2**20, "MB")):
        if count_bytes >= unit:
            return f"{count_bytes / unit:.1f} {name}"
    return f"{count_bytes / 2**10:.0f} kB"


def _totals(found: Status) -> str:
    up = [one for one in found.shards if one.failure is None]
    parts = [f"{len(up)} of {len(found.shards)} shards answer"]
    if up:
        rows = _rows(sum(one.rows or 0 for one in up), any(one.rows_at_least for one in up))
        parts.append(f"{size_of(sum(one.size_bytes or 0 for one in up))} in {rows} rows")
    if found.epoch is None:
        parts.append("no bucket map: run `tenfold shard init`" if up else "no bucket map to be seen")
    else:
        parts.append(f"epoch {found.epoch}")
        if found.skew is not None:
            even = found.skew < 1.01
            parts.append("buckets even" if even else f"the fullest has {found.skew:.2f}× its share of the buckets")
    return "; ".join(parts)
