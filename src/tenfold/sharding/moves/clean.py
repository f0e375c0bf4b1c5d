"""Leaves nothing behind: triggers, rows where they do not belong, marks, the ledger. Repeatable. Edge."""

from __future__ import annotations

import re
from collections.abc import Collection

from tenfold.errors import StatementError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves import rows
from tenfold.sharding.moves.books import defining
from tenfold.sharding.moves.installing import drop_triggers, installed, set_fences
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.moves.tables import Moved, keys_table, ours, positions_table
from tenfold.sharding.moves.throttle import Throttle
from tenfold.sharding.moves.work import Work

KEYS, ROWS = 200, 1000
MARKER = "marker"
"""The purpose of the connections that are opened before routers are told to renew theirs."""
_OLDER = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND user = ? AND id < ? ORDER BY id"
_POLL_S = 0.05


def markers(work: Work) -> dict[str, int]:
    """Of each shard the number of a connection that is opened now: what is older may not know how the move ends."""
    if work.shards.dialect is not MYSQL:
        return {}
    found = {}
    for shard in sorted(work.move.shards):
        found[shard] = _newest(work, shard)
    return found


def _newest(work: Work, shard: str) -> int:
    """The number of a connection that is opened now."""
    work.shards.forget(shard, MARKER)
    number = _number(work, shard, MARKER)
    work.shards.forget(shard, MARKER)
    return number


def _number(work: Work, shard: str, purpose: str) -> int:
    return int(work.shards.at(shard, purpose).execute("SELECT CONNECTION_ID()", ()).rows[0][0])


def end_older(work: Work) -> None:
    """End the connections that were opened before the markers, once their statements had time to end."""
    marked: dict[str, int] = work.move.detail.get("markers", {})
    until_s = work.clock() + work.limits.grace_s
    for shard, number in marked.items():
        if _newest(work, shard) < number:
            continue  # it was started again, and counts from the beginning: nobody from before is left
        killed: set[int] = set()
        while older := _older(work, shard, number):
            if work.clock() >= until_s:
                for each in older:
                    if each not in killed:
                        killed.add(each)
                        work.say("ended", shard=shard, connection=each)
                        try:
                            work.shards.execute(shard, f"KILL {each:d}")
                        except StatementError:
                            continue  # it has just gone
            work.sleep(_POLL_S)


def _older(work: Work, shard: str, number: int) -> list[int]:
    own = {_number(work, *place) for place in work.shards.living(shard)}
    user = str(work.shards.rows(shard, "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)")[0][0])
    return [int(row[0]) for row in work.shards.rows(shard, _OLDER, (user, number)) if int(row[0]) not in own]


def clean(work: Work, throttle: Throttle) -> None:
    """All of it, for a move whose routers know that it has ended."""
    work.progress.step("clean.connections")
    end_older(work)
    for shard in sorted(work.move.shards):
        drop_triggers(work, shard)
    for leg in work.move.legs:
        _delete_rows(work, leg, throttle)
    for leg in work.move.legs:
        _rest(work, leg)
    for shard in sorted(work.move.shards):
        _drop_tables(work, shard)


def _delete_rows(work: Work, leg: Leg, throttle: Throttle) -> None:
    """What lies on the shard that does not own it, by the keys that were noted."""
    at_source, at_target = work.owned(leg)
    for shard, buckets in ((leg.target, at_source), (leg.source, at_target)):
        there = _tables(work, shard)
        for table in work.tables(leg):
            if table.pinned is not None:
                if table.pinned in buckets and (shard == leg.source or _begun(work, leg, table, there)):
                    _delete(work, shard, table, (), throttle)
            elif keys_table(work.move.id, table) in there:
                _delete_buckets(work, shard, table, table.of(buckets), throttle)


def _begun(work: Work, leg: Leg, table: Moved, there: set[str]) -> bool:
    """Whether the rows on the target are copies: where the move stopped because there were some, they are not ours."""
    name = positions_table(work.move.id)
    sql = f"SELECT 1 FROM {name} WHERE source = ? AND number = ?"
    return name in there and bool(work.shards.rows(leg.target, sql, (leg.source, table.number)))


def _delete_buckets(work: Work, shard: str, table: Moved, buckets: Collection[int], throttle: Throttle) -> None:
    position: tuple[int, str] | None = None
    while buckets:
        found = work.shards.rows(shard, rows.keys_of(work.move.id, table, buckets, position, KEYS))
        if found:
            _delete(work, shard, table, [str(key) for _, key in found], throttle)
            position = (int(found[-1][0]), str(found[-1][1]))
        if len(found) < KEYS:
            return


def _delete(work: Work, shard: str, table: Moved, keys: Collection[str], throttle: Throttle) -> None:
    sql = rows.delete_some(table, list(keys), ROWS)
    while True:
        work.progress.step("clean.rows")

        def delete() -> int:
            with work.shards.transaction(shard) as driver:
                return driver.execute(sql, ()).rowcount

        deleted = work.again(delete)
        throttle.wait(deleted, (shard,))
        if deleted < ROWS:
            return


def _rest(work: Work, leg: Leg) -> None:
    """The fences of a leg's buckets as they stand between moves."""
    work.progress.step("clean.fences")
    owners = work.books.owners(work.move, leg.buckets)
    for bucket_owner in (leg.source, leg.target):
        other = leg.target if bucket_owner == leg.source else leg.source
        epochs: dict[int, list[int]] = {}
        for bucket, (shard, epoch) in owners.items():
            if shard == bucket_owner:
                epochs.setdefault(epoch, []).append(bucket)
        for epoch, some in epochs.items():
            moved = f"state = 'moved', epoch = {epoch:d}, to_shard = '{bucket_owner}', captured = 0"
            set_fences(work, other, some, moved)
            set_fences(work, bucket_owner, some, f"state = 'open', epoch = {epoch:d}, to_shard = '', captured = 0")


def _tables(work: Work, shard: str) -> set[str]:
    sql = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        if work.shards.dialect is MYSQL
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    return {row[0] for row in work.shards.rows(shard, sql)}


def _drop_tables(work: Work, shard: str) -> None:
    """What the ledger says of this move; struck off once it has gone."""
    noted = work.books.noted(shard)
    tables = [name for name in noted if re.fullmatch(rf"tf_(p{work.move.id:d}|[dk]{work.move.id:d}_[0-9]+)", name)]
    work.progress.step("clean.tables")
    if tables:
        with defining(work.shards, shard) as driver:
            for name in tables:
                driver.execute(f"DROP TABLE IF EXISTS {work.shards.dialect.quoted(name)}", ())
    left = installed(work, shard)
    work.books.strike(work.move, shard, [*tables, *(name for name in noted if ours(name) and name not in left)])
