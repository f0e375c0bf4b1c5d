"""The catalog: Tenfold's own tables, and what a router reads from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tenfold.errors import CatalogError, ConfigError, StatementError
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.execute import Catalog
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Layout, layout_of
from tenfold.sharding.ports import Send, Steps
from tenfold.topology.model import Topology

SCHEMA_VERSION = 1
"""Raised by every change of these tables; a router refuses a version it does not know."""


@dataclass(frozen=True, slots=True)
class _Table:
    """columns: as both engines take them; indexes: name → columns."""

    name: str
    columns: str
    indexes: dict[str, str] = field(default_factory=dict)


# On every shard. tf_shard: who this is; tf_bucket: a copy of the map, so that a lost catalog can be rebuilt.
_ON_EVERY_SHARD = (
    _Table("tf_shard", "name VARCHAR(40) PRIMARY KEY, value VARCHAR(200) NOT NULL"),
    _Table("tf_bucket", "bucket INTEGER PRIMARY KEY, shard VARCHAR(40) NOT NULL, epoch BIGINT NOT NULL"),
    _Table(
        "tf_reservation",
        "scope VARCHAR(130) NOT NULL, digest CHAR(64) NOT NULL,"
        " bucket INTEGER NOT NULL, owner_bucket INTEGER NOT NULL, state VARCHAR(10) NOT NULL,"
        " token CHAR(32) NOT NULL, at_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (scope, digest)",
        {"tf_reservation_token": "token", "tf_reservation_state": "state, at_s"},
    ),
    _Table(
        "tf_verdict",
        "token CHAR(32) PRIMARY KEY, verdict VARCHAR(10) NOT NULL, at_s DOUBLE PRECISION NOT NULL",
        {"tf_verdict_at": "at_s"},
    ),
)
# On the catalog's shard. tf_table: where each table was when it was first seen; tf_object: the ledger of
# what Tenfold created, to clean up by.
_ON_THE_CATALOG = (
    _Table("tf_catalog", "name VARCHAR(130) PRIMARY KEY, value VARCHAR(200) NOT NULL"),
    _Table("tf_member", "shard VARCHAR(40) PRIMARY KEY, position INTEGER NOT NULL"),
    _Table(
        "tf_table",
        "table_name VARCHAR(64) PRIMARY KEY, kind VARCHAR(10) NOT NULL, detail VARCHAR(130) NOT NULL, watermark BIGINT",
    ),
    _Table("tf_worker", "worker INTEGER PRIMARY KEY, token CHAR(32) NOT NULL, until_s BIGINT NOT NULL"),
    _Table(
        "tf_object",
        "shard VARCHAR(40) NOT NULL, object VARCHAR(130) NOT NULL,"
        " created_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (shard, object)",
    ),
)


def on_every_shard(dialect: Dialect) -> dict[str, str]:
    """What Tenfold keeps on every shard: name of the object → the statement that creates it where it is not there."""
    return _creating(_ON_EVERY_SHARD, dialect)


def on_the_catalog(dialect: Dialect) -> dict[str, str]:
    """What the catalog's shard holds besides, likewise."""
    return _creating(_ON_THE_CATALOG, dialect)


def _creating(tables: Sequence[_Table], dialect: Dialect) -> dict[str, str]:
    found = {}
    for table in tables:
        head = f"CREATE TABLE IF NOT EXISTS {table.name} ({table.columns}"
        if dialect is MYSQL:
            # Inside, as MySQL has no CREATE INDEX IF NOT EXISTS. All that is kept in these tables is ASCII that
            # never ends in a space, so that a collation which both servers have compares it by its bytes.
            inside = "".join(f", INDEX {name} ({columns})" for name, columns in table.indexes.items())
            found[table.name] = f"{head}{inside}) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin"
            continue
        found[table.name] = head + ")"
        for name, columns in table.indexes.items():
            found[name] = f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({columns})"
    return found


IDENTITY = "SELECT name, value FROM tf_shard"
SETTINGS = "SELECT name, value FROM tf_catalog"
MEMBERS = "SELECT shard FROM tf_member ORDER BY position"
TABLES = "SELECT table_name, kind, detail, watermark FROM tf_table"
MAP = "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket"
_START = "run `tenfold shard init` (`tenfold up` does it)"


def reserved_setting(scope: str) -> str:
    """Name of the setting which says that the values of a reserved column ("table.column") were all reserved."""
    return f"reserved:{scope}"


def load(topology: Topology) -> Steps[Catalog]:
    """Read the catalog for a router. Raises CatalogError, ConfigError where it and the file do not agree."""
    shard = topology.catalog_shard
    settings = yield from read_settings(shard)
    if settings is None or "cluster" not in settings or "initialised" not in settings:
        identity = yield from read_identity(shard)
        check_identity(shard, {"shard": shard} | identity | {"cluster": ""}, "")
        raise CatalogError(f"{shard} holds no catalog", hint=_START)
    check_version(settings)
    check_identity(shard, (yield from read_identity(shard)), settings["cluster"])
    members = tuple(row[0] for row in (yield Send(shard, MEMBERS)).rows)
    missing = [name for name in members if name not in topology.database.shards]
    if missing:
        raise ConfigError(
            f"tenfold.toml: database.shards: {', '.join(missing)} belongs to the platform and is not in the file; "
            f"write it back",
        )
    layout = layout_of(topology.database, shard, members)
    rows = (yield Send(shard, TABLES)).rows
    _compare(layout, {name: (kind, detail) for name, kind, detail, _ in rows}, settings, topology)
    watermarks = {name: mark for name, _, _, mark in rows if mark is not None}
    return Catalog(settings["cluster"], (yield from read_map(shard, settings)), layout, watermarks)


def read_settings(shard: str) -> Steps[dict[str, str] | None]:
    """The settings of the catalog on `shard`; None where there is none."""
    try:
        return dict((yield Send(shard, SETTINGS)).rows)
    except StatementError:
        return None


def read_map(shard: str, settings: dict[str, str]) -> Steps[BucketMap]:
    """The bucket map as `shard` has it. Raises CatalogError for one with holes."""
    rows = (yield Send(shard, MAP)).rows
    if [row[0] for row in rows] != list(range(BUCKETS)):
        raise CatalogError(
            f"the bucket map on {shard} has {len(rows)} entries, not {BUCKETS}",
            hint="restore the catalog from a backup; every shard holds a copy of tf_bucket",
        )
    return BucketMap(int(settings["epoch"]), tuple(row[1] for row in rows))


def check_identity(shard: str, identity: dict[str, str], cluster: str) -> None:
    """Raises CatalogError when a database does not say that it is this shard of this platform."""
    if "cluster" not in identity or "shard" not in identity:
        raise CatalogError(
            f"the database of {shard} is not part of the platform: it holds nothing of Tenfold's",
            hint="correct its url in tenfold.toml, or restore it from a backup",
        )
    if identity["cluster"] != cluster:
        raise CatalogError(f"{shard} belongs to another platform", hint="correct its url in tenfold.toml")
    if identity["shard"] != shard:
        raise CatalogError(f"the database of {shard} is {identity['shard']}", hint="correct the urls in tenfold.toml")


def read_identity(shard: str) -> Steps[dict[str, str]]:
    """What a database says that it is; empty for one that Tenfold does not know."""
    try:
        return dict((yield Send(shard, IDENTITY)).rows)
    except StatementError:
        return {}


def check_version(settings: dict[str, str]) -> None:
    """Raises CatalogError for a catalog that this release does not know."""
    version = settings.get("schema_version", "")
    if version != str(SCHEMA_VERSION):
        newer = version.isdigit() and int(version) > SCHEMA_VERSION
        raise CatalogError(
            f"the catalog has schema_version {version or 'none'}; this Tenfold knows {SCHEMA_VERSION}",
            hint="upgrade Tenfold in this application" if newer else "restore the catalog from a backup",
        )


def _compare(
    layout: Layout, recorded: dict[str, tuple[str, str]], settings: dict[str, str], topology: Topology
) -> None:
    """The file must say of each table what was true when its rows were written."""
    for name, placed in layout.tables.items():
        said = recorded.get(name)
        if said is None:
            raise CatalogError(f"the table {placed.table} is new in {topology.file.name}", hint=_START)
        if said != placed.said():
            raise ConfigError(moved_table(placed.table, said))
        for column in getattr(placed, "unique", ()):
            if reserved_setting(f"{name}.{column}") not in settings:
                raise CatalogError(f"{placed.table}.{column} is newly unique in {topology.file.name}", hint=_START)


def moved_table(table: str, said: tuple[str, str]) -> str:
    """The mistake of a file that puts a table elsewhere than its rows are."""
    kind, detail = said
    was = {
        "group": f"in the group {detail.partition('.')[0]} with the key {detail.partition('.')[2]}",
        "pinned": f"pinned to {detail}",
        "reference": "a reference table",
    }[kind]
    return (
        f"tenfold.toml: database: {table} was {was} when its rows were written, and they are still there; "
        f"write it back (tables do not move yet)"
    )
