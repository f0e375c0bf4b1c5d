"""Puts capture onto a shard: tables for marks, fences that say what is captured, and triggers. Repeatable. Edge."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from tenfold.errors import MoveError, NodeDown, NodeError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.books import defining
from tenfold.sharding.moves.capture import drop_trigger, mark_indexes, mark_tables, triggers
from tenfold.sharding.moves.codec import unwritable
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.moves.tables import Moved, listed, ours, positions_table
from tenfold.sharding.moves.work import Work
from tenfold.sharding.ports import Driver
from tenfold.sharding.schemarules import drift

BARRIER_S = 120.0
"""How long to try for a trigger while transactions are open on its table."""
_PATIENCE_S = 0.05
_CHUNK = 500
_TRIGGERS = {
    True: "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    False: "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}


def check(work: Work, leg: Leg) -> None:
    """Raises MoveError where a table of a leg cannot move, or is another on its target."""
    mistakes = []
    for table in work.tables(leg):
        shape = table.shape
        if shape.triggers:
            first = shape.triggers[0]
            mistakes.append(f"{shape.name} has the trigger {first}, which would fire for rows that are copied")
        mistakes += _without_key(work, leg.source, table)
        mistakes += [f"{shape.name}.{column} is of a type that cannot be moved" for column in unwritable(table)]
        there = work.shape(leg.target, shape.name)
        if there is None:
            mistakes.append(f"{shape.name} is not on {leg.target}")
        else:
            found = drift(shape.name, {leg.source: shape, leg.target: there})
            mistakes += [line.partition("database: ")[2].partition("; make")[0] for line in found]
    if mistakes:
        raise MoveError(
            "\n".join(dict.fromkeys(mistakes)),
            hint="mend the schema and `tenfold shard resume`, or `tenfold shard cancel`",
        )


def _without_key(work: Work, shard: str, table: Moved) -> list[str]:
    """SQLite takes NULL for a primary key, and such rows cannot be told apart."""
    if table.dialect is MYSQL:
        return []
    null = " OR ".join(f"{column} IS NULL" for column in table.primary_key)
    found = work.shards.rows(shard, f"SELECT 1 FROM {table.name} WHERE {null} LIMIT 1")
    return [f"{table.shape.name} holds rows whose primary key is NULL"] if found else []


def create_tables(work: Work, shard: str, tables: Collection[Moved], *, positions: bool) -> None:
    """The tables of marks and keys, and on a target that of positions; on the ledger before they are there."""
    move = work.move.id
    created = dict(chain.from_iterable(mark_tables(move, table) for table in tables))
    if positions:
        end = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4" if work.shards.dialect is MYSQL else ""
        created[positions_table(move)] = (
            f"CREATE TABLE IF NOT EXISTS {positions_table(move)} (source VARCHAR(40) NOT NULL, number INTEGER NOT NULL,"
            " position TEXT NOT NULL, copied BIGINT NOT NULL, ended INTEGER NOT NULL,"
            f" PRIMARY KEY (source, number)){end}"
        )
    indexes = chain.from_iterable(mark_indexes(move, table) for table in tables)
    work.books.note(work.move, shard, created)
    work.progress.step("capture.tables")
    with defining(work.shards, shard) as driver:
        for statement in [*created.values(), *indexes]:
            driver.execute(statement, ())


def set_fences(work: Work, shard: str, buckets: Collection[int], changes: str, where: str = "1 = 1") -> int:
    """Change the fence rows of buckets that are not contended; → how many it were. changes: SET of the UPDATE."""
    changed = 0
    listing = sorted(buckets)
    for start in range(0, len(listing), _CHUNK):
        chosen = listed(listing[start : start + _CHUNK])
        sql = f"UPDATE tf_fence SET {changes}, token = {work.move.token:d} WHERE bucket IN ({chosen}) AND {where}"

        def change(sql: str = sql) -> int:
            with work.shards.transaction(shard) as driver:
                return driver.execute(sql, ()).rowcount

        changed += work.again(change)
    return changed


def create_triggers(work: Work, shard: str, tables: Collection[Moved]) -> None:
    """The triggers that mark and refuse, where they are not there already."""
    there = installed(work, shard)
    for table in tables:
        for event, name, statement in triggers(work.move.id, table, work.move.token):
            if (table.number, event) not in {(number, at) for _, number, at in there.values()}:
                work.books.note(work.move, shard, [name])
                work.progress.step("capture.trigger")
                define(work, shard, statement)
    missing = {(table.number, event) for table in tables for event, _, _ in triggers(0, table, 0)}
    missing -= {(number, event) for _, number, event in installed(work, shard).values()}
    if missing:
        raise MoveError(f"{shard} has lost triggers of the move", hint="`tenfold shard resume`")


def installed(work: Work, shard: str) -> dict[str, tuple[int, int, str]]:
    """Triggers of movers that are on a shard: name → (token, number of the table, event)."""
    rows = work.shards.rows(shard, _TRIGGERS[work.shards.dialect is MYSQL])
    return {name: found for (name,) in rows if (found := ours(name)) is not None}


def drop_triggers(work: Work, shard: str) -> None:
    """Drop those of this move, whichever attempt made them; none of a larger token can be there."""
    for name, (token, _, _) in installed(work, shard).items():
        if token <= work.move.token:
            work.progress.step("clean.trigger")
            define(work, shard, drop_trigger(name, work.shards.dialect))


def define(work: Work, shard: str, statement: str) -> None:
    """DDL that waits for open transactions: in short turns, as all who come after it wait behind it."""
    until_s = work.clock() + BARRIER_S
    for patience_s in _turns():
        try:
            with defining(work.shards, shard) as driver:
                if work.shards.dialect is MYSQL:
                    driver.execute("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1", ())
                driver.execute(statement, ())
            return
        except NodeDown:
            raise
        except NodeError as error:
            if work.clock() > until_s:
                raise MoveError(
                    f"transactions on {shard} stay open, and a trigger has to wait for them: {error}",
                    hint="end what has been open for long (SHOW PROCESSLIST, KILL), then `tenfold shard resume`",
                ) from error
        work.sleep(patience_s)


def _turns() -> Iterator[float]:
    pause_s = _PATIENCE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, 2.0)


def refuse_remains(work: Work, leg: Leg) -> None:
    """Raises MoveError where rows of the leg's buckets lie on its target already."""
    for table in work.tables(leg):
        found = next(_lying(work.shards.at(leg.target), table, leg.buckets), None)
        if found is not None:
            raise MoveError(
                f"{leg.target} holds rows of {table.shape.name} that are not its own: {found}",
                hint="`tenfold shard verify --placement` mends it; then `tenfold shard resume`, or cancel",
            )


def _lying(driver: Driver, table: Moved, buckets: Collection[int]) -> Iterator[str]:
    """Of rows that belong to buckets: what names them."""
    if table.pinned is not None:
        if driver.execute(f"SELECT 1 FROM {table.name} LIMIT 1", ()).rows:
            yield "it is not empty"
        return
    key = table.quoted(table.key)
    sql = (
        f"SELECT {table.bucket()} FROM (SELECT DISTINCT {key} FROM {table.name}) AS d"
        f" WHERE {table.within(buckets)} ORDER BY 1 LIMIT 5"
    )
    for (bucket,) in driver.execute(sql, ()).rows:
        yield f"of bucket {bucket}"
