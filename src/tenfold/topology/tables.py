"""Which table lives where: each in one place, on a shard that exists, under a name that is free. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tenfold.topology import toml
from tenfold.topology.mistakes import Mistake, Path, nearest, shown, table, texts

OURS, SQLITES_OWN = "tf_", "sqlite_"


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between groups, pinned and reference tables, and shards."""
    database = table(raw, "database")
    yield from _one_place_each(database)
    for name, group in table(database, "groups").items():
        if isinstance(group, dict):
            yield from _within_group(("database", "groups", name), group)
    shards = table(database, "shards")
    for shard in table(database, "pinned"):
        if shards and shard not in shards:
            yield _unknown_shard(("database", "pinned", shard), shard, shards)
    catalog = database.get("catalog")
    if isinstance(catalog, str) and shards and catalog not in shards:
        yield _unknown_shard(("database", "catalog"), catalog, shards)


def _placements(database: dict[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """(path, table, what it is there) of every table that the file names."""
    for name, group in table(database, "groups").items():
        for entry in table(group, "tables"):
            yield ("database", "groups", name, "tables", entry), entry, f"in group {toml.key(name)}"
    for shard, tables in table(database, "pinned").items():
        for i, entry in texts(tables):
            yield ("database", "pinned", shard, i), entry, f"pinned to {toml.key(shard)}"
    for i, entry in texts(table(database, "reference").get("tables")):
        yield ("database", "reference", "tables", i), entry, "a reference table"


def _one_place_each(database: dict[str, Any]) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for path, entry, where in _placements(database):
        # Databases do not tell Users from users (MySQL on some systems does; the router must not depend on it).
        folded = entry.lower()
        if folded in seen:
            problem = f"table {shown(entry)} is {seen[folded]} already"
            yield Mistake(path, problem, "write each table in one place only")
        seen.setdefault(folded, where)
        for prefix, owner in ((OURS, "Tenfold"), (SQLITES_OWN, "SQLite")):
            if folded.startswith(prefix):
                problem = f"names that start with {prefix} are {owner}'s own"
                yield Mistake(path, problem, "write the name of a table of the app")


def _within_group(path: Path, group: dict[str, Any]) -> Iterator[Mistake]:
    tables = table(group, "tables")
    named = [((*path, "unique", entry), entry) for entry in table(group, "unique")]
    named += [((*path, "ids", i), entry) for i, entry in texts(group.get("ids"))]
    known = {entry.lower(): entry for entry in tables}
    for where, entry in named:
        if tables and entry.lower() not in known:
            near = nearest(entry, known)
            remedy = f"write {toml.key(known[near])}" if near else f'write "{entry}" into its tables too, or remove it'
            yield Mistake(where, f"is not a table of this group (has: {_list(tables)})", remedy)


def _unknown_shard(path: Path, shard: str, shards: Iterable[str]) -> Mistake:
    remedy = f"write one of these, or add [{toml.dotted(('database', 'shards', shard))}]"
    return Mistake(path, f"{shown(shard)} is not a shard (there are: {_list(shards)})", remedy)


def _list(names: Iterable[str]) -> str:
    return ", ".join(toml.key(name) for name in names)
