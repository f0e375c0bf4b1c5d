"""The tables of a move, and the names of what the mover puts beside them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tenfold.errors import MoveError
from tenfold.sharding.bucketsql import bucket_sql
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.keys import BUCKETS, KeyType
from tenfold.sharding.layout import Grouped, Layout, Pinned
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.shapes import OWN_TRIGGER, TableShape

BY_BUCKET = ("tf_reservation", "tf_verdict")
"""Tenfold's own tables that move with the buckets; their column `bucket` says of which each row is."""
EVENTS = ("bi", "bu", "bd", "ai", "au", "ad")
"""Before and after insert, update and delete: the last word of a trigger's name."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A table whose rows move, on one shard.

    number    its place in the move's list of tables, part of the names of what the mover makes for it
    key       lower-case column that says of which bucket a row is; "" for a pinned table
    key_type  how the key is hashed; None: it is the number of the bucket
    pinned    the number by which a pinned table is fenced; None for other tables
    """

    number: int
    shape: TableShape
    key: str
    key_type: KeyType | None = None
    pinned: int | None = None

    @property
    def dialect(self) -> Dialect:
        """Of its shard."""
        return self.shape.dialect

    @property
    def name(self) -> str:
        """Quoted."""
        return self.dialect.quoted(self.shape.name)

    @property
    def primary_key(self) -> list[str]:
        """Its columns, quoted."""
        return [self.quoted(column) for column in self.shape.primary_key]

    @property
    def stored(self) -> list[str]:
        """Lower-case names of the columns that hold what was written; the others are computed."""
        return [name for name, column in self.shape.columns.items() if not column.generated]

    def quoted(self, column: str) -> str:
        """A column by its lower-case name, as it was declared."""
        return self.dialect.quoted(self.shape.columns[column].name)

    def bucket(self, row: str = "") -> str:
        """SQL for the bucket of a row. row: "NEW." or an alias with its dot."""
        if self.pinned is not None:
            return str(self.pinned)
        held = row + self.quoted(self.key)
        return held if self.key_type is None else bucket_sql(held, self.key_type, self.dialect)

    def of(self, buckets: Collection[int]) -> tuple[int, ...]:
        """Those of `buckets` that rows of this table can be of."""
        if self.pinned is not None:
            return (self.pinned,) if self.pinned in buckets else ()
        return tuple(sorted(bucket for bucket in buckets if bucket < BUCKETS))

    def within(self, buckets: Collection[int], row: str = "") -> str:
        """A condition: the row is of one of `buckets`."""
        if self.pinned is not None:
            return "1 = 1" if self.pinned in buckets else "1 = 0"
        chosen = self.of(buckets)
        if self.dialect is MYSQL and self.key_type is not None and len(chosen) == BUCKETS:
            # All there are, as when a platform leaves its only server: no row needs to be hashed to be told.
            return f"{row}{self.quoted(self.key)} IS NOT NULL"
        return one_of(self.bucket(row), chosen)


def dirty_table(move: int, table: Moved) -> str:
    """Name of the table that marks what changed."""
    return f"tf_d{move}_{table.number}"


def keys_table(move: int, table: Moved) -> str:
    """Name of the table that lists the shard keys of the buckets."""
    return f"tf_k{move}_{table.number}"


def positions_table(move: int) -> str:
    """Name of the table on a target that says how far the copy is."""
    return f"tf_p{move}"


def trigger_name(token: int, number: int, event: str) -> str:
    """Name of a trigger of ours."""
    return f"tf_{token}_{number}_{event}"


def ours(trigger: str) -> tuple[int, int, str] | None:
    """(token, number of the table, event) of a trigger that a mover made; None for others."""
    found = OWN_TRIGGER.fullmatch(trigger)
    return (int(found["token"]), int(found["number"]), found["event"]) if found else None


def listed(numbers: Iterable[int]) -> str:
    """For IN (…); of none, NULL, which nothing is in."""
    return ",".join(map(str, numbers)) or "NULL"


def one_of(expression: str, numbers: Sequence[int]) -> str:
    """A condition: the expression is one of some numbers, which are sorted; of none, never."""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        # One run, as of whole shards: a list of thousands of numbers is slow to read and to look through.
        return f"{expression} BETWEEN {numbers[0]:d} AND {numbers[-1]:d}"
    return f"{expression} IN ({listed(numbers)})"


def table_names(layout: Layout, numbers: dict[str, int], legs: Sequence[Leg]) -> list[str]:
    """Lower-case names of all tables that `legs` touch, in an order that stays.

    numbers  pinned table → its number, as the catalog has it
    Raises   MoveError for a number that no table has
    """
    moving = {bucket for leg in legs for bucket in leg.buckets}
    found = [name for name, placed in layout.tables.items() if isinstance(placed, Grouped)]
    found = sorted(found) + list(BY_BUCKET) if any(bucket < BUCKETS for bucket in moving) else []
    known = {numbers[name]: name for name, placed in layout.tables.items() if isinstance(placed, Pinned)}
    for bucket in sorted(moving):
        if bucket >= BUCKETS:
            if bucket not in known:
                raise MoveError(f"no pinned table has the number {bucket}", hint="name the table: --table posts")
            found.append(known[bucket])
    return found


def moved(layout: Layout, numbers: dict[str, int], number: int, name: str, shape: TableShape) -> Moved:
    """A table of the list, with the shape that it has on a shard. Raises MoveError for one that cannot move."""
    if not shape.primary_key or "" in shape.primary_key:
        raise MoveError(
            f"{name} has no primary key over whole columns, so its rows cannot be told apart while they move",
            hint="give the table a primary key, and cancel this move",
        )
    placed = layout.tables.get(name)
    if isinstance(placed, Pinned):
        return Moved(number, shape, "", pinned=numbers[name])
    if isinstance(placed, Grouped):
        return Moved(number, shape, placed.key, shape.columns[placed.key].key_type)
    return Moved(number, shape, "bucket")


def column_type(table: Moved, column: str) -> str:
    """The type of a column as CREATE TABLE takes it, with its collation."""
    held = table.shape.columns[column]
    if table.dialect is MYSQL:
        if not held.collation:
            return held.declared
        return f"{held.declared} CHARACTER SET {held.collation.partition('_')[0]} COLLATE {held.collation}"
    # In a STRICT table ANY keeps 1 and '1' apart; in one of ours it would make them one.
    declared = "" if held.kind == "any" else held.declared
    return f"{declared} COLLATE {held.collation}"
