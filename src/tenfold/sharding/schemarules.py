"""What a table may not have where it lives, and how its copies on the shards may not differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.layout import Grouped, Layout, Pinned, Placed, group_mistakes
from tenfold.sharding.shapes import Column, ForeignKey, Index, TableShape

_HARMLESS = {"NO ACTION", "RESTRICT"}


def table_mistakes(layout: Layout, placed: Placed, shape: TableShape) -> list[str]:
    """Why a table cannot live where the file puts it: lines in the words of the file."""
    here = _where(placed)
    found = group_mistakes(placed, shape) if isinstance(placed, Grouped) else []
    found += [line for key in shape.foreign_keys for line in _foreign_mistakes(layout, placed, key, here)]
    if shape.dialect is MYSQL and shape.storage.lower() not in ("innodb", ""):
        found.append(
            f"{here}: its storage engine is {shape.storage}, which has no transactions; "
            f"run ALTER TABLE {shape.dialect.quoted(shape.name)} ENGINE = InnoDB"
        )
    if isinstance(placed, Grouped) and placed.unique and shape.triggers:
        found.append(
            f"{here}: the trigger {shape.triggers[0]} may change {placed.unique[0]} where Tenfold does not see it, "
            f"and the value would not be unique over all shards; drop the trigger, or the column from unique"
        )
    return found


def drift(table: str, shapes: Mapping[str, TableShape]) -> Iterator[str]:
    """How the same table differs from shard to shard: a line for each thing that does. shapes: by shard."""
    (first_shard, first), *others = shapes.items()
    for shard, shape in others:
        here = f"tenfold.toml: database: {table} differs between {first_shard} and {shard}"
        for what in _differences(first_shard, first, shard, shape):
            yield f"{here}: {what}; make the schema the same on all shards"


def _where(placed: Placed) -> str:
    if isinstance(placed, Grouped):
        return f"tenfold.toml: database.groups.{placed.group}.tables.{placed.table}"
    if isinstance(placed, Pinned):
        return f"tenfold.toml: database.pinned.{placed.shard}: {placed.table}"
    return f"tenfold.toml: database.reference.tables: {placed.table}"


def _foreign_mistakes(layout: Layout, placed: Placed, key: ForeignKey, here: str) -> Iterator[str]:
    names = f"its foreign key ({', '.join(key.columns)}) to {key.target}"
    target = layout.tables.get(key.target)
    if target is None:
        yield f"{here}: {names}, which no one declared; name {key.target} in the file, or drop the foreign key"
    elif len(layout.shards) > 1 and not _together(placed, target, key):
        yield f"{here}: {names} would cross shards, where no database can keep it; drop the foreign key"
    unseen = [action for action in (key.on_delete, key.on_update) if action.upper() not in _HARMLESS]
    if unseen and isinstance(placed, Grouped) and placed.unique:
        yield (
            f"{here}: {names} has {unseen[0]}: the database would change rows whose {placed.unique[0]} is reserved, "
            "and Tenfold does not see it; write it without, and delete the rows yourself"
        )


def _together(placed: Placed, target: Placed, key: ForeignKey) -> bool:
    """Whether the row that a foreign key names is always on the shard of the row that has it."""
    if isinstance(placed, Grouped) and isinstance(target, Grouped):
        # A foreign key that names no columns means the primary key; of one column, it can only be the shard key.
        pairs = dict(zip(key.columns, key.target_columns or (target.key,), strict=False))
        return placed.group == target.group and pairs.get(placed.key) == target.key
    if isinstance(placed, Pinned) and isinstance(target, Pinned):
        return placed.shard == target.shard
    return not isinstance(target, Grouped | Pinned)


def _differences(first_shard: str, first: TableShape, shard: str, shape: TableShape) -> Iterator[str]:
    for one, other, where in ((first, shape, first_shard), (shape, first, shard)):
        yield from (f"{name} is only on {where}" for name in one.columns if name not in other.columns)
    for name, column in first.columns.items():
        if name in shape.columns:
            yield from _column_differences(name, column, shape.columns[name])
    shared = [
        [name for name in one.columns if name in other.columns] for one, other in ((first, shape), (shape, first))
    ]
    if shared[0] != shared[1]:
        yield f"the order of its columns ({', '.join(shared[0])} and {', '.join(shared[1])})"
    if shape.primary_key != first.primary_key:
        yield f"the primary key ({', '.join(first.primary_key)} and {', '.join(shape.primary_key)})"
    yield from _on_one_side(first_shard, first, shard, shape)
    if shape.storage != first.storage:
        yield f"its storage engine ({first.storage} and {shape.storage})"


def _on_one_side(first_shard: str, first: TableShape, shard: str, shape: TableShape) -> Iterator[str]:
    for what, here, there in (
        ("index", _indexes(first.indexes), _indexes(shape.indexes)),
        ("foreign key", [*map(_told, first.foreign_keys)], [*map(_told, shape.foreign_keys)]),
        ("trigger", list(first.triggers), list(shape.triggers)),
    ):
        for found, lacking, where in ((here, there, first_shard), (there, here, shard)):
            for item in found:
                if item not in lacking:
                    yield f"the {what} {item} is only on {where}"


def _column_differences(name: str, one: Column, other: Column) -> Iterator[str]:
    for what, here, there in (
        ("the type", one.declared.lower(), other.declared.lower()),
        ("the collation", one.collation, other.collation),
        ("the default", one.default or "none", other.default or "none"),
        ("whether it may be NULL", _yes(one.nullable), _yes(other.nullable)),
        ("whether it is computed", _yes(one.generated), _yes(other.generated)),
    ):
        if here != there:
            yield f"{what} of {name} ({here or 'none'} and {there or 'none'})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _indexes(indexes: Sequence[Index]) -> list[str]:
    """In words; without names, which do not matter to any statement."""
    return [
        f"{'UNIQUE ' * index.unique}({', '.join(column or 'an expression' for column in index.columns)})"
        for index in indexes
        if index.name not in ("PRIMARY", "PRIMARY KEY")  # told as such
    ]


def _told(key: ForeignKey) -> str:
    actions = "".join(
        f" ON {event} {action}"
        for event, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
        if action.upper() not in _HARMLESS
    )
    return f"({', '.join(key.columns)}) to {key.target}{actions}"
