"""What a plan is: where a statement goes, and what is done to it on the way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tenfold.sharding.keys import KeyType
from tenfold.sharding.layout import GroupTable
from tenfold.sharding.rowcuts import RowCuts
from tenfold.sharding.statement import Kind, Source, Text


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
    """All shards. Of a SELECT the rows of each, merged as the plan says, are the answer; a write is committed
    when all have done it."""


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
class Copying:
    """The SELECT of an INSERT … SELECT.

    key      what all rows have as their key; None: each row has that of the row it is read from, on the same shard
    check    counts the rows whose id was not drawn above a number that is to be written behind it; None: no ids
    origin   the table that the ids were drawn for, lower-case
    """

    key: Source | None
    check: Text | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Inserting:
    """An INSERT into a group table.

    id_slots  where in the list of positional parameters the id of each row goes, once it is drawn;
              empty when the statement names the id column itself
    others    shard keys of its sub-queries: they must lie where the rows go
    cuts      its text around the rows, for rows of several shards; None: it cannot be cut
    verb      what becomes of a row that is in the way: insert (an error), ignore, update, replace, or fail
              (an error, and the rows before it stay)
    copying   an INSERT … SELECT; it has no rows
    """

    table: GroupTable
    rows: tuple[InsertRow, ...]
    id_slots: tuple[int, ...] = ()
    others: tuple[Source, ...] = ()
    cuts: RowCuts | None = None
    verb: str = "insert"
    copying: Copying | None = None


@dataclass(frozen=True, slots=True)
class Changing:
    """An UPDATE or DELETE that changes reserved values.

    probe        SELECT of the reserved columns of the rows it will change, in the order of `columns`
    claims       new values, by column; a DELETE has none
    """

    table: GroupTable
    columns: tuple[str, ...]
    probe: Text
    claims: dict[str, Source]


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column by which the shards' rows are merged.

    position    of the column in a shard's row that is compared
    descending  whether large ones come first
    order       how two values compare: "plain" as Python compares them, "nocase" and "rtrim" as SQLite's
                collations, "weight" as bytes of WEIGHT_STRING
    pad         for "weight" under a PAD SPACE collation: the weight of a space; empty otherwise
    """

    position: int
    descending: bool
    order: str = "plain"
    pad: bytes = b""


@dataclass(frozen=True, slots=True)
class Listed:
    """A text with the list of an IN over the shard key, so that each shard is asked for its own keys only.

    before, after  with the parameters that they take; items: between them, one for each source of the route
    """

    before: Text
    items: tuple[Text, ...]
    after: Text


@dataclass(frozen=True, slots=True)
class Merged:
    """A SELECT that every shard answers for its own rows, merged while they stream.

    text        what each shard is sent; with a limit, ` LIMIT n` is appended, n = limit + offset
    listed      the same, where it is cut for each shard
    keys        the order; empty: the rows of one shard after those of another
    hidden      how many columns at the end are only for comparing
    folds       of a SELECT that gives one row of aggregates: how each column is added up, "sum", "min" or "max"
    limit       of the caller; None: all rows
    """

    text: Text
    keys: tuple[SortKey, ...] = ()
    hidden: int = 0
    limit: Source | None = None
    offset: Source | None = None
    listed: Listed | None = None
    folds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Among:
    """Of a part only the rows are needed whose `column` is one of the values that `text` gives in the scratch
    database. key_type: of the column where it is the shard key, so that each shard is asked for its own."""

    column: str
    text: Text
    key_type: KeyType | None


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are brought together in a scratch table.

    table    name of the scratch table; that of the table itself where it stands in for it
    where    whose rows: Scatter, ByKeys, ByKey, OnShard or AnyShard
    text     the SELECT that each of these shards is sent; ends in a WHERE if `among` is set
    columns  (name, declared type and collation) of the scratch table; on MySQL partial results have none, as their
             types are those that the server gives to the SELECT
    """

    table: str
    where: Route
    text: Text
    columns: tuple[tuple[str, str], ...]
    among: Among | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """A SELECT that is finished in a scratch database, by the engine itself.

    parts  tables to fill first; together at most `database.pull_rows` rows
    final  the statement that then gives the answer
    home   the shard whose connection is the scratch database on MySQL; None: the first
    """

    parts: tuple[Part, ...]
    final: Text
    home: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """sql: as it is sent; gives_rows: whether the answer is rows (SELECT, RETURNING).

    merged, staged  how a SELECT on several shards is answered; at most one of the two
    locks           whether a SELECT locks what it reads (FOR UPDATE)
    positional      how many `?` a SELECT has; None where its parameters have names
    """

    kind: Kind
    sql: str
    route: Route
    gives_rows: bool
    tables: tuple[str, ...]
    inserting: Inserting | None = None
    changing: Changing | None = None
    merged: Merged | None = None
    staged: Staged | None = None
    locks: bool = False
    positional: int | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.kind is not Kind.SELECT
