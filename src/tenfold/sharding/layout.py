"""Which table lives where, as the file declares it and the schema allows. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from tenfold.errors import ConfigError, CrossShardError, RoutingError, ShardKeyError
from tenfold.sharding.dialects import MYSQL, SQLITE, Dialect, dialect_of
from tenfold.sharding.keys import KeyType
from tenfold.sharding.shapes import OWN_PREFIX, Column, TableShape
from tenfold.topology.model import Database


@dataclass(frozen=True, slots=True)
class Grouped:
    """A table of a group: its rows live with their shard key. Names of columns are lower-case."""

    table: str
    group: str
    key: str
    unique: tuple[str, ...] = ()
    takes_ids: bool | None = None  # None: if its primary key is one integer column

    def said(self) -> tuple[str, str]:
        """(kind, detail) as the catalog records it."""
        return "group", f"{self.group}.{self.key}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A table that lives whole on one shard."""

    table: str
    shard: str

    def said(self) -> tuple[str, str]:
        """(kind, detail) as the catalog records it."""
        return "pinned", self.shard


@dataclass(frozen=True, slots=True)
class Referenced:
    """A small table with a copy on every shard."""

    table: str

    def said(self) -> tuple[str, str]:
        """(kind, detail) as the catalog records it."""
        return "reference", ""


Placed = Grouped | Pinned | Referenced


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A table of a group whose shape is known.

    id_column  takes Tenfold's ids when an INSERT leaves it out; None: no column does
    reserved   column → type of the columns kept unique over all shards
    """

    name: str
    group: str
    key: str
    key_type: KeyType
    id_column: str | None
    reserved: dict[str, KeyType]
    shape: TableShape

    @property
    def id_is_key(self) -> bool:
        """Whether rows route by the hash of their id (the key table of the group)."""
        return self.id_column == self.key


@dataclass(frozen=True, slots=True)
class Layout:
    """Every declared table by lower-case name; the shards in the file's order; where the catalog is."""

    tables: dict[str, Placed]
    shards: tuple[str, ...]
    catalog: str
    dialect: Dialect = SQLITE

    def placed(self, table: str) -> Placed:
        """Where `table` lives. Raises RoutingError for one that nobody declared or that is Tenfold's own."""
        name = table.lower()
        if name in self.tables:
            return self.tables[name]
        if name.startswith(OWN_PREFIX):
            raise RoutingError(f"{table} is Tenfold's own table", hint="leave it to Tenfold")
        near = difflib.get_close_matches(name, self.tables, 1)
        raise RoutingError(
            f"no one declared the table {table}",
            hint=f"did you mean {self.tables[near[0]].table}?" if near else
            "name it in tenfold.toml: under [database.groups.…] tables, [database.pinned] or [database.reference]",
        )  # fmt: skip

    def shards_of(self, table: str) -> tuple[str, ...]:
        """The shards on which `table` exists."""
        placed = self.placed(table)
        return (placed.shard,) if isinstance(placed, Pinned) else self.shards


def layout_of(database: Database, catalog: str, shards: tuple[str, ...] | None = None) -> Layout:
    """The layout that the file declares; `shards` limits it to those that belong to the platform already."""
    tables: dict[str, Placed] = {}
    for group_name, group in database.groups.items():
        unique = {table.lower(): columns for table, columns in group.unique.items()}
        ids = None if group.ids == "auto" else {table.lower() for table in group.ids}
        for table, key in group.tables.items():
            name = table.lower()
            columns = tuple(column.lower() for column in unique.get(name, ()))
            tables[name] = Grouped(table, group_name, key.lower(), columns, None if ids is None else name in ids)
    for shard, pinned in database.pinned.items():
        tables |= {table.lower(): Pinned(table, shard) for table in pinned}
    tables |= {table.lower(): Referenced(table) for table in database.reference.tables}
    return Layout(tables, shards or tuple(database.shards), catalog, dialect_of(database.engine))


def group_table(placed: Grouped, shape: TableShape) -> GroupTable:
    """Join declaration and shape. Raises ConfigError, with every mistake a line, where they do not fit."""
    mistakes = group_mistakes(placed, shape)
    if mistakes:
        raise ConfigError("\n".join(mistakes), hint="change the table or the file; `tenfold check --live` tells all")
    key_type = shape.columns[placed.key].key_type
    assert key_type is not None  # noqa: S101  # group_mistakes refuses it
    reserved = {column: found for column in placed.unique if (found := shape.columns[column].key_type)}
    return GroupTable(
        placed.table, placed.group, placed.key, key_type, id_column(placed, shape), reserved, shape
    )  # fmt: skip


_LENGTH = re.compile(r"varchar\(([0-9]+)\)")


def refuse_cut(table: GroupTable, column: str, value: object) -> None:
    """Raises ShardKeyError for a text that MySQL would store without some of the spaces at its end.

    Strict mode refuses what is too long for a VARCHAR, except where the excess is spaces: these it drops (measured),
    and the row would hold another value than the one it was placed, or reserved, by.
    """
    held = table.shape.columns[column]
    if held.key_type is KeyType.VARCHAR and isinstance(value, str) and value.endswith(" "):
        length = _LENGTH.match(held.declared.lower())
        if length and len(value) > int(length[1]):
            raise ShardKeyError(
                f"a value for {table.name}.{column} is longer than {held.declared}, "
                "and the database would drop the spaces at its end",
                hint="strip the value, or make the column longer",
            )


def id_column(placed: Grouped, shape: TableShape) -> str | None:
    """The column that takes Tenfold's ids, if the table takes them."""
    column = shape.integer_primary_key
    return column if column is not None and placed.takes_ids is not False and holds_ids(shape, column) else None


def holds_ids(shape: TableShape, column: str) -> bool:
    """Whether an id of Tenfold, of 63 bits, fits into an integer column."""
    return shape.dialect is not MYSQL or shape.columns[column].declared.lower().startswith("bigint")


def group_mistakes(placed: Grouped, shape: TableShape) -> list[str]:
    """Why this table cannot live in its group: lines in the words of the file; empty when it can."""
    where = f"tenfold.toml: database.groups.{placed.group}"
    here = f"{where}.tables.{placed.table}"
    key = shape.columns.get(placed.key)
    if key is None:
        names = list(shape.columns)
        near = difflib.get_close_matches(placed.key, names, 1, cutoff=0.5)
        write = f'; write {placed.table} = "{near[0]}"' if near else "; name the column that holds the shard key"
        return [f'{here}: column "{placed.key}" is not in the table (has: {", ".join(names)}){write}']
    found: list[str] = []
    if key.key_type is None:
        types = "BIGINT, VARCHAR, VARBINARY or UUID" if shape.dialect is MYSQL else "INTEGER, TEXT, BLOB or UUID"
        found.append(
            f'{here}: column "{key.name}" is {key.declared or "without a type"}, which cannot be a shard key; '
            f"write it as {types}"
        )
    elif not key.by_bytes:
        found.append(
            f'{here}: column "{key.name}" has the collation {key.collation}: values that are equal there would fall '
            f"on different shards; {_without_collation(shape, key)}"
        )
    for column in placed.unique:
        found += _reserved_mistakes(f"{where}.unique.{placed.table}", column, shape)
    return found + _unique_mistakes(placed, shape, here) + _numbering_mistakes(placed, shape, where)


def _reserved_mistakes(here: str, column: str, shape: TableShape) -> list[str]:
    held = shape.columns.get(column)
    if held is None:
        return [f'{here}: column "{column}" is not in the table (has: {", ".join(shape.columns)}); write one of these']
    if held.key_type is None or not held.by_bytes:
        why = f"has the collation {held.collation}" if held.key_type else f"is {held.declared or 'without a type'}"
        types = "BIGINT, VARBINARY, UUID or VARCHAR" if shape.dialect is MYSQL else "TEXT, INTEGER, BLOB or UUID"
        collated = shape.dialect is MYSQL and held.key_type
        remedy = _without_collation(shape, held) if collated else f"write it as {types} without COLLATE"
        return [f'{here}: column "{column}" {why}, so equal values cannot be told by their bytes; {remedy}']
    if held.filled:
        return [
            f'{here}: column "{column}" is filled by the database when an INSERT leaves it out, and that value would '
            "not be reserved; write it without DEFAULT and not as a generated column"
        ]
    return []


def _without_collation(shape: TableShape, column: Column) -> str:
    """How to make a text column compare by its bytes."""
    if shape.dialect is not MYSQL:
        return "write it without COLLATE"
    charset = "ascii" if column.collation.startswith("ascii") else "utf8mb4"
    # utf8mb4_bin will not do: it takes 'bob' and 'bob ' for equal.
    binary = f"{column.declared} CHARACTER SET {charset} COLLATE {charset}_nopad_bin"
    null = "" if column.nullable else " NOT NULL"
    filled = "" if column.default is None else f" DEFAULT {column.default}"
    quoted = shape.dialect.quoted
    return (
        f"run ALTER TABLE {quoted(shape.name)} MODIFY {quoted(column.name)} {binary}{null}{filled} "
        "(on MySQL 8: CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin)"
    )


def _unique_mistakes(placed: Grouped, shape: TableShape, here: str) -> list[str]:
    own_id = id_column(placed, shape)
    found = []
    for index in shape.indexes:
        alone = index.columns[0] if len(index.columns) == 1 else None
        kept = placed.key in index.columns or (alone is not None and alone in (*placed.unique, own_id))
        if index.unique and not kept:
            odd = "the beginning of a column" if shape.dialect is MYSQL else "an expression or another collation"
            columns = ", ".join(column or odd for column in index.columns)
            remedy = (
                f'write unique = {{ {placed.table} = ["{alone}"] }}'
                if alone
                else f"write it as ({placed.key}, {columns})"
            )
            found.append(
                f"{here}: UNIQUE ({columns}) lacks the shard key, so no shard alone can keep it; {remedy}, "
                "or drop the index"
            )
    return found


def _numbering_mistakes(placed: Grouped, shape: TableShape, where: str) -> list[str]:
    column = shape.integer_primary_key
    wants_ids = placed.takes_ids or (placed.takes_ids is None and shape.self_numbering)
    if column is not None and wants_ids and not holds_ids(shape, column):
        held = shape.columns[column]
        quoted = shape.dialect.quoted
        return [
            f'{where}.ids: column "{held.name}" of {placed.table} is {held.declared}, too small for ids that are '
            f"unique over all shards; run ALTER TABLE {quoted(shape.name)} MODIFY {quoted(held.name)} BIGINT NOT NULL"
        ]
    if shape.self_numbering and id_column(placed, shape) is None and placed.key not in shape.primary_key:
        return [
            f"{where}.ids: {placed.table} numbers its own rows, so two shards would give the same number; "
            f'write ids = "auto", or "{placed.table}" in its list'
        ]
    return []


def same_shard(places: list[Placed]) -> str | None:
    """The shard of pinned tables named together; None when none is pinned. Raises CrossShardError for two."""
    shards = {placed.shard: placed.table for placed in places if isinstance(placed, Pinned)}
    if len(shards) > 1:
        listed = ", ".join(f"{table} on {shard}" for shard, table in sorted(shards.items()))
        raise CrossShardError(
            f"the statement joins tables of several shards: {listed}",
            hint="read them one by one, or pin them to one shard",
        )
    return next(iter(shards), None)
