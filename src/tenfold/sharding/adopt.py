"""Making a set of databases a platform: identity, bucket map, watermarks, reservations. Repeatable. Pure.

Order matters for a crash midway: every shard gets its identity first, the setting `initialised` comes
last; run again, it goes on with what is there. An existing database whose group tables hold rows on one
shard only is adopted as it is: that shard owns all buckets, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tenfold.errors import CatalogError, ConfigError, ConstraintError, StatementError
from tenfold.sharding.buckets import first_fill
from tenfold.sharding.catalog import (
    MAP,
    MEMBERS,
    NEXT_VERSION,
    SCHEMA_VERSION,
    TABLES,
    check_identity,
    check_members,
    check_version,
    moved_table,
    on_every_shard,
    on_the_catalog,
    read_identity,
    read_settings,
    reserved_setting,
    set_setting,
)
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.fences import lay_map, lay_number, next_number
from tenfold.sharding.keys import bucket_of
from tenfold.sharding.layout import Grouped, GroupTable, Layout, Pinned, Placed, group_table, layout_of
from tenfold.sharding.ports import Begin, Chance, Commit, Send, SendMany, Steps
from tenfold.sharding.requirements import GALERA, judge_together
from tenfold.sharding.reserve import KEPT, RESERVE, claim_of
from tenfold.sharding.schema import read_shape
from tenfold.sharding.schemarules import table_mistakes
from tenfold.sharding.shapes import TableShape
from tenfold.sharding.upgrade import OLDER_ROUTERS, change_lease, upgrade
from tenfold.topology.model import Topology

_CHUNK = 1000


@dataclass(slots=True)
class Adopted:
    """What an initialisation did, as lines for people; empty when there was nothing to do."""

    cluster: str
    done: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def adopt(topology: Topology, *, restarted: bool = False) -> Steps[Adopted]:
    """Bring all shards to what the file says. Raises ConfigError, with every mistake a line, CatalogError.

    restarted  every process of the application was started anew since the catalog was brought to this release's version
    """
    catalog = topology.catalog_shard
    settings = yield from read_settings(catalog)
    fresh = settings is None or "initialised" not in settings
    members = tuple(topology.database.shards)
    upgraded: list[str] = []
    if settings and not fresh:
        older = settings.get("schema_version") == "1"
        if not older:
            check_version(settings)
        members = yield from _members(topology)
        if older:
            upgraded = yield from upgrade(layout_of(topology.database, catalog, members), settings["cluster"])
            settings = yield from read_settings(catalog)
    layout = layout_of(topology.database, catalog, members)
    shapes = yield from _shapes(layout)
    _refuse(layout, shapes)
    if fresh:
        yield from _refuse_galera(layout)
    cluster = yield from _identify(layout, settings)
    result = Adopted(cluster, upgraded)
    if fresh or not settings:
        yield from _create(topology, layout, cluster, result)
    else:
        result.done += yield from change_lease(catalog, settings, topology.database.lease_s)
        yield from _note(topology, members, settings, restarted, result)
    yield from _record_tables(layout, shapes, result, fresh)
    yield from _reserve_columns(layout, shapes, result)
    if fresh:
        yield Send(catalog, "INSERT INTO tf_catalog (name, value) VALUES ('initialised', 'yes')")
    return result


def _members(topology: Topology) -> Steps[tuple[str, ...]]:
    """Raises ConfigError for one that the file lacks."""
    members = tuple(row[0] for row in (yield Send(topology.catalog_shard, MEMBERS)).rows)
    check_members(topology, members)
    return members


def _note(
    topology: Topology, members: Sequence[str], settings: dict[str, str], restarted: bool, result: Adopted
) -> Steps[None]:
    """What a person should know, or has told us."""
    result.notes += [
        f"{shard} is in the file and not yet part of the platform: `tenfold shard add {shard}` makes it so"
        for shard in topology.database.shards
        if shard not in members
    ]
    if OLDER_ROUTERS in settings and restarted:
        yield Send(topology.catalog_shard, "DELETE FROM tf_catalog WHERE name = ?", (OLDER_ROUTERS,))
        result.done.append("every process of the application knows leases: buckets may move")
    elif OLDER_ROUTERS in settings:
        result.notes.append(
            "processes of the release before may still run, for which no move would wait: start every process of the "
            "application again, then run `tenfold shard init --restarted`"
        )


def _shapes(layout: Layout) -> Steps[dict[tuple[str, str], TableShape]]:
    """(shard, lower-case table) → shape, for the declared tables that exist."""
    found: dict[tuple[str, str], TableShape] = {}
    for name, placed in layout.tables.items():
        for shard in layout.shards_of(name):
            shape = yield from read_shape(shard, placed.table, layout.dialect)
            if shape is not None:
                found[shard, name] = shape
    return found


def _refuse(layout: Layout, shapes: dict[tuple[str, str], TableShape]) -> None:
    mistakes = [
        line for (_, name), shape in shapes.items() for line in table_mistakes(layout, layout.tables[name], shape)
    ]
    if mistakes:
        raise ConfigError("\n".join(dict.fromkeys(mistakes)))


def _refuse_galera(layout: Layout) -> Steps[None]:
    clusters = {}
    if layout.dialect is MYSQL:
        for shard in layout.shards:
            rows = (yield Send(shard, GALERA)).rows
            clusters[shard] = rows[0][1] if rows else ""
    mistakes = judge_together(clusters)
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _identify(layout: Layout, settings: dict[str, str] | None) -> Steps[str]:
    """Give each shard its name in this cluster; → the cluster. Raises CatalogError for another platform's shard."""
    known: dict[str, dict[str, str]] = {}
    for shard in layout.shards:
        known[shard] = yield from read_identity(shard)
    if settings and "cluster" in settings:
        cluster = settings["cluster"]
    else:
        others = sorted({identity["cluster"] for identity in known.values() if "cluster" in identity})
        if len(others) > 1:
            raise CatalogError("the shards belong to different platforms", hint="correct their urls in tenfold.toml")
        cluster = others[0] if others else (yield Chance()).token
    yield from _refuse_lost(layout, known)
    for shard, identity in known.items():
        check_identity(shard, {"cluster": cluster, "shard": shard} | identity, cluster)
    for shard in layout.shards:
        for statement in on_every_shard(layout.dialect).values():
            yield Send(shard, statement)
        # Read anew: two addresses may lead to one database, which has just been given the other's name.
        identity = yield from read_identity(shard)
        check_identity(shard, {"cluster": cluster, "shard": shard} | identity, cluster)
        for name, value in (("cluster", cluster), ("shard", shard)):
            if name not in identity:
                yield Send(shard, "INSERT INTO tf_shard (name, value) VALUES (?, ?)", (name, value))
    return cluster


def _refuse_lost(layout: Layout, known: dict[str, dict[str, str]]) -> Steps[None]:
    """Every shard is named before the first gets a map: one without a name beside a map was another database
    once. To name it would hide the loss, and to make a new catalog would give its buckets away."""
    blank = [shard for shard, identity in known.items() if not identity]
    if not blank:
        return
    for shard in layout.shards:
        if (yield from _rows(shard, "SELECT 1 FROM tf_bucket LIMIT 1")):
            raise CatalogError(
                f"{' and '.join(blank)} held rows of this platform once, and the database is empty now",
                hint="put its file back, or restore it from a backup; nothing was changed",
            )


def _create(topology: Topology, layout: Layout, cluster: str, result: Adopted) -> Steps[None]:
    now_s = (yield Chance()).now_s
    catalog = layout.catalog
    owners = yield from _owners(topology, layout)
    for statement in on_the_catalog(layout.dialect).values():
        yield Send(catalog, statement)
    yield Send(catalog, "DELETE FROM tf_table")  # of an attempt that was cut short: the numbers go with the maps
    for position, shard in enumerate(layout.shards):
        yield from lay_map(shard, [(bucket, owner, 1) for bucket, owner in enumerate(owners)])
        yield Send(catalog, "DELETE FROM tf_member WHERE shard = ?", (shard,))
        yield Send(catalog, "INSERT INTO tf_member (shard, position) VALUES (?, ?)", (shard, position))
        objects = [*on_every_shard(layout.dialect), *(on_the_catalog(layout.dialect) if shard == catalog else ())]
        yield Send(catalog, "DELETE FROM tf_object WHERE shard = ?", (shard,))
        ledger = [(shard, name, now_s) for name in objects]
        yield SendMany(catalog, "INSERT INTO tf_object (shard, object, created_s) VALUES (?, ?, ?)", ledger)
    lease_s = f"{topology.database.lease_s:g}"
    for name, value in (
        ("cluster", cluster), ("epoch", "1"), ("version", "1"), ("lease_s", lease_s),
        ("schema_version", str(SCHEMA_VERSION)),
    ):  # fmt: skip
        yield from set_setting(catalog, name, value)
    counts = ", ".join(f"{shard} {owners.count(shard)}" for shard in layout.shards)
    result.done.append(f"catalog on {catalog}; buckets: {counts}")


def _owners(topology: Topology, layout: Layout) -> Steps[Sequence[str]]:
    """Who owns the buckets of a new platform: by weight, or the one shard that holds rows already."""
    holding = []
    for shard in layout.shards:
        for placed in layout.tables.values():
            if not isinstance(placed, Grouped) or shard in holding:
                continue
            if (yield from _rows(shard, f"SELECT 1 FROM {layout.dialect.quoted(placed.table)} LIMIT 1")):
                holding.append(shard)
    if len(holding) > 1:
        raise ConfigError(
            f"tables of groups hold rows on {' and '.join(holding)} before Tenfold placed any",
            hint="begin with all rows on one shard: Tenfold adopts it as it is, and spreads them later",
        )
    owners = first_fill({name: shard.weight for name, shard in topology.database.shards.items()})
    return holding * len(owners) if holding else owners


def _rows(shard: str, sql: str) -> Steps[Sequence[tuple[object, ...]]]:
    """Rows of a table that may not exist yet."""
    try:
        rows: Sequence[tuple[object, ...]] = (yield Send(shard, sql)).rows
    except StatementError:
        return []
    return rows


def _record_tables(
    layout: Layout, shapes: dict[tuple[str, str], TableShape], result: Adopted, fresh: bool
) -> Steps[None]:
    catalog = layout.catalog
    recorded = {row[0]: row for row in (yield Send(catalog, TABLES)).rows}
    mistakes = []
    for name, placed in layout.tables.items():
        kind, detail = placed.said()
        old = recorded.get(name)
        if old is not None and (old[1], old[2]) == (kind, detail):
            continue
        if old is not None:
            if (old[1], kind) == ("pinned", "pinned"):
                # It stays where it is until a move takes it, empty or not: somebody may be about to write to it.
                if (yield from read_shape(old[2], placed.table, layout.dialect)) is not None:
                    continue
            elif (yield from _holds_rows(layout, placed)):
                mistakes.append(moved_table(placed.table, (old[1], old[2])))
                continue
        watermark = None
        if isinstance(placed, Grouped):
            watermark = yield from _watermark(layout, placed, shapes)
        if not mistakes:
            number = None
            if isinstance(placed, Pinned):
                number = next_number(row[4] for row in recorded.values())
                yield from lay_number(layout.shards, number, placed.shard, old[4] if old else None)
            values = (name, kind, detail, watermark, number)
            yield Begin(catalog)
            yield Send(catalog, "DELETE FROM tf_table WHERE table_name = ?", (name,))
            yield Send(
                catalog,
                "INSERT INTO tf_table (table_name, kind, detail, watermark, bucket) VALUES (?, ?, ?, ?, ?)",
                values,
            )
            if not fresh:
                yield Send(catalog, NEXT_VERSION)
            yield Commit(catalog)
            recorded[name] = values
            result.done.append(f"{placed.table}: {kind} {detail}".rstrip())
    if mistakes:
        raise ConfigError("\n".join(dict.fromkeys(mistakes)))


def _holds_rows(layout: Layout, placed: Placed) -> Steps[bool]:
    for shard in layout.shards:
        if (yield from _rows(shard, f"SELECT 1 FROM {layout.dialect.quoted(placed.table)} LIMIT 1")):
            return True
    return False


def _watermark(layout: Layout, placed: Grouped, shapes: dict[tuple[str, str], TableShape]) -> Steps[int]:
    """The largest id that was there before Tenfold gave any: ids above it carry their bucket."""
    largest = 0
    for shard in layout.shards:
        shape = shapes.get((shard, placed.table.lower()))
        column = group_table(placed, shape).id_column if shape else None
        if column is not None:
            quoted = layout.dialect.quoted
            rows = (yield Send(shard, f"SELECT MAX({quoted(column)}) FROM {quoted(placed.table)}")).rows
            largest = max(largest, rows[0][0] or 0)
    return largest


def _reserve_columns(layout: Layout, shapes: dict[tuple[str, str], TableShape], result: Adopted) -> Steps[None]:
    """Reserve the values of rows that were there before their column was declared unique."""
    settings = (yield from read_settings(layout.catalog)) or {}
    bucket_owner = {row[0]: row[1] for row in (yield Send(layout.catalog, MAP)).rows}
    wanted = {
        reserved_setting(f"{name}.{column}")
        for name, placed in layout.tables.items()
        if isinstance(placed, Grouped)
        for column in placed.unique
    }
    for setting in settings:
        # No longer unique: values written from now on are not reserved, so the mark must not outlive this.
        if setting.startswith(reserved_setting("")) and setting not in wanted:
            yield Send(layout.catalog, "DELETE FROM tf_catalog WHERE name = ?", (setting,))
    for name, placed in layout.tables.items():
        for column in placed.unique if isinstance(placed, Grouped) else ():
            scope = f"{name}.{column}"
            if reserved_setting(scope) in settings or not isinstance(placed, Grouped):
                continue
            for shard in layout.shards:  # of an attempt that was cut short
                yield Send(shard, "DELETE FROM tf_reservation WHERE scope = ?", (scope,))
            count = 0
            for shard in layout.shards:
                shape = shapes.get((shard, name))
                if shape is not None:
                    count += yield from _reserve_rows(shard, group_table(placed, shape), column, bucket_owner)
            yield Send(
                layout.catalog, "INSERT INTO tf_catalog (name, value) VALUES (?, 'yes')", (reserved_setting(scope),)
            )
            result.done.append(f"{scope}: unique over all shards, {count} values reserved")


def _reserve_rows(shard: str, table: GroupTable, column: str, bucket_owner: dict[int, str]) -> Steps[int]:
    quoted = table.shape.dialect.quoted
    held_by, name = quoted(column), quoted(table.name)
    rows = (yield Send(shard, f"SELECT {quoted(table.key)}, {held_by} FROM {name} WHERE {held_by} IS NOT NULL")).rows
    now_s = (yield Chance()).now_s
    by_shard: dict[str, list[tuple[object, ...]]] = {}
    for key, held in rows:
        claim = claim_of(table.name, column, held, table.reserved[column], bucket_of(key, table.key_type))
        row = (claim.scope, claim.digest, claim.bucket, claim.owner_bucket, KEPT, "0" * 32, now_s)
        by_shard.setdefault(bucket_owner[claim.bucket], []).append(row)
    for target, values in by_shard.items():
        for start in range(0, len(values), _CHUNK):
            try:
                yield SendMany(target, RESERVE, values[start : start + _CHUNK])
            except ConstraintError:
                raise ConfigError(
                    f"tenfold.toml: database.groups.{table.group}.unique.{table.name}: {column} holds a value twice; "
                    f"write only columns whose values are unique",
                    hint=f"SELECT {held_by}, COUNT(*) FROM {name} GROUP BY 1 HAVING COUNT(*) > 1",
                ) from None
    return len(rows)
