"""Reference tables, which every member holds in full: copied, compared, and kept from being written. Edge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenfold.errors import MoveError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Layout, Referenced
from tenfold.sharding.moves.codec import row_text
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.moves.work import Work
from tenfold.sharding.schema import read_shape

_ROWS, _LENGTH = 500, 1_000_000
_WRITES = {"i": "INSERT", "u": "UPDATE", "d": "DELETE"}


def reference_tables(shards: Shards, layout: Layout, shard: str) -> list[Moved]:
    """The reference tables that a shard has, with the number under which REFERENCE is fenced."""
    names = sorted(name for name, placed in layout.tables.items() if isinstance(placed, Referenced))
    found = []
    for number, name in enumerate(names):
        shape = shards.ask(read_shape(shard, layout.tables[name].table, layout.dialect))
        if shape is not None:
            found.append(Moved(number, shape, "", pinned=REFERENCE))
    return found


def copy_rows(work: Work, table: Moved, source: str, target: str) -> None:
    """Give `target` the rows that `source` has, instead of any of its own, and compare them."""
    rows = [str(text) for (text,) in work.shards.rows(source, f"SELECT {row_text(table)} FROM {table.name}")]
    columns = ", ".join(map(table.quoted, table.stored))
    with work.shards.transaction(target) as driver:
        driver.execute(f"DELETE FROM {table.name}", ())
        for some in _in_turn(rows):
            driver.execute(f"INSERT INTO {table.name} ({columns}) VALUES {','.join(some)}", ())
    work.say("reference", table=table.shape.name, rows=len(rows))
    compare_rows(work.shards, table, [source, target])


def _in_turn(rows: list[str]) -> Iterator[list[str]]:
    """As many rows at a time as make a statement that is not too long."""
    some: list[str] = []
    length = 0
    for row in rows:
        if some and (len(some) == _ROWS or length + len(row) > _LENGTH):
            yield some
            some, length = [], 0
        some.append(row)
        length += len(row)
    if some:
        yield some


def compare_rows(shards: Shards, table: Moved, names: list[str]) -> None:
    """Raises MoveError unless a table holds the same rows on all these shards."""
    first, *others = names
    sql = f"SELECT {row_text(table)} FROM {table.name}"
    rows = sorted(str(text) for (text,) in shards.rows(first, sql))
    for shard in others:
        theirs = sorted(str(text) for (text,) in shards.rows(shard, sql))
        if theirs != rows:
            raise MoveError(
                f"{table.shape.name} does not hold the same rows on {first} ({len(rows)}) and {shard} ({len(theirs)})",
                hint="a writer died between two commits: make them the same, then `tenfold shard resume`",
            )


def reference_entry(rows: list[tuple[Any, ...]]) -> tuple[int, str, int]:
    """The entry of REFERENCE in a map; one that no shard ever joined has none."""
    return next(((REFERENCE, "", int(row[2])) for row in rows[BUCKETS:] if row[0] == REFERENCE), (REFERENCE, "", 1))


def refusal(table: Moved, name: str, event: str) -> str:
    """CREATE TRIGGER that refuses writes to a reference table unless the fence is open."""
    head = f"CREATE TRIGGER {name} BEFORE {_WRITES[event[1]]} ON {table.name} FOR EACH ROW"
    if table.dialect is not MYSQL:
        return (
            f"{head} WHEN tf_mover() = 0 BEGIN SELECT RAISE(ABORT, 'tf_fence') FROM tf_fence"
            f" WHERE bucket = {REFERENCE} AND state <> 'open'; END"
        )
    return f"""{head}
BEGIN
  DECLARE tf_s VARCHAR(10);
  IF @tf_mover IS NULL THEN
    SELECT state INTO tf_s FROM tf_fence WHERE bucket = {REFERENCE} LOCK IN SHARE MODE;
    IF COALESCE(tf_s, 'absent') <> 'open' THEN
      SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'tf_fence {REFERENCE} fenced';
    END IF;
  END IF;
END"""
