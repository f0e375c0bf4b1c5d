"""What a plan is: where a statement goes, and what is done to it on the way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tenfold.sharding.keys import KeyType
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.statement import Kind, Source


@dataclass(frozen=True, slots=True)
class AnyShard:
    """No table, or reference tables only: every shard has the answer."""


@dataclass(frozen=True, slots=True)
class OnShard:
    """Pinned tables of one shard."""

    shard: str


@dataclass(frozen=True, slots=True)
class ByKey:
    """The shard of one key. All sources must fall into one bucket."""

    sources: tuple[Source, ...]
    key_type: KeyType


@dataclass(frozen=True, slots=True)
class ByKeys:
    """The shards of a list of keys: a scatter to some."""

    sources: tuple[Source, ...]
    key_type: KeyType


@dataclass(frozen=True, slots=True)
class ById:
    """The shard of the bucket that an id carries, if Tenfold drew it; else all shards, where `scatters`."""

    source: Source
    table: GroupTable
    scatters: bool


@dataclass(frozen=True, slots=True)
class ByUnique:
    """The shard of whoever holds the reservation of a value."""

    source: Source
    table: GroupTable
    column: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """All shards; the rows of each, one after the other, are the answer."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A write to every one of these shards, committed when all have taken it.

    drops  the table goes, and with it the reservations of its values
    """

    shards: tuple[str, ...]
    ddl: bool
    drops: bool = False


Route = AnyShard | OnShard | ByKey | ByKeys | ById | ByUnique | Scatter | Everywhere


@dataclass(frozen=True, slots=True)
class InsertRow:
    """Where one row of VALUES has its key, its id and its reserved values; None: the column is left out."""

    key: Source | None
    id: Source | None
    claims: dict[str, Source]


@dataclass(frozen=True, slots=True)
class Inserting:
    """An INSERT into a group table.

    id_slots  where in the list of positional parameters the id of each row goes, once it is drawn;
              empty when the statement names the id column itself
    others    shard keys of its sub-queries: they must lie where the rows go
    """

    table: GroupTable
    rows: tuple[InsertRow, ...]
    id_slots: tuple[int, ...] = ()
    others: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Changing:
    """An UPDATE or DELETE that changes reserved values.

    probe        SELECT of the reserved columns of the rows it will change, in the order of `columns`
    probe_slots  which positional parameters the probe takes; None: it takes the mapping as it is
    claims       new values, by column; a DELETE has none
    """

    table: GroupTable
    columns: tuple[str, ...]
    probe: str
    probe_slots: tuple[int, ...] | None
    claims: dict[str, Source]


@dataclass(frozen=True, slots=True)
class Plan:
    """sql: as it is sent; gives_rows: whether the answer is rows (SELECT, RETURNING)."""

    kind: Kind
    sql: str
    route: Route
    gives_rows: bool
    tables: tuple[str, ...]
    inserting: Inserting | None = None
    changing: Changing | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.kind is not Kind.SELECT
