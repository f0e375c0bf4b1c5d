"""The catalog: Tenfold's own tables, and what a router reads from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from tenfold.errors import CatalogError, ConfigError, NodeError, StatementError
from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Layout, Pinned, layout_of
from tenfold.sharding.moves.record import ACTIVE, move_of
from tenfold.sharding.ports import Send, Steps
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

SCHEMA_VERSION = 2
"""Raised by every change of these tables; a router refuses a version it does not know. 2: leases and moves."""


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
        {
            "tf_reservation_token": "token, owner_bucket",
            "tf_reservation_state": "state, at_s",
            "tf_reservation_bucket": "bucket",
        },
    ),
    _Table(
        "tf_verdict",
        "token CHAR(32) NOT NULL, bucket INTEGER NOT NULL, verdict VARCHAR(10) NOT NULL,"
        " at_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (token, bucket)",
        {"tf_verdict_at": "at_s", "tf_verdict_bucket": "bucket"},
    ),
    # Whether a bucket is here (open), is about to go (fenced), is on its way to here (incoming) or elsewhere (moved);
    # since which epoch this shard owns it, or `to_shard` does; the mover that wrote it; whether changes are marked.
    _Table(
        "tf_fence",
        "bucket INTEGER PRIMARY KEY, state VARCHAR(10) NOT NULL, epoch BIGINT NOT NULL,"
        " to_shard VARCHAR(40) NOT NULL, token BIGINT NOT NULL, captured INTEGER NOT NULL",
    ),
)
# On the catalog's shard. tf_table: where each table is, and of a pinned one the number by which it is fenced;
# tf_move: what moves, and what has moved; tf_router: the processes that hold a lease; tf_object: the ledger of what
# Tenfold created, to clean up by.
_ON_THE_CATALOG = (
    _Table("tf_catalog", "name VARCHAR(130) PRIMARY KEY, value VARCHAR(200) NOT NULL"),
    _Table("tf_member", "shard VARCHAR(40) PRIMARY KEY, position INTEGER NOT NULL"),
    _Table(
        "tf_table",
        "table_name VARCHAR(64) PRIMARY KEY, kind VARCHAR(10) NOT NULL, detail VARCHAR(130) NOT NULL, watermark BIGINT,"
        " bucket INTEGER",
    ),
    _Table(
        "tf_move",
        "id INTEGER PRIMARY KEY, phase VARCHAR(10) NOT NULL, token BIGINT NOT NULL, legs TEXT NOT NULL,"
        " detail TEXT NOT NULL, created_s DOUBLE PRECISION NOT NULL, changed_s DOUBLE PRECISION NOT NULL",
    ),
    _Table(
        "tf_router",
        "id CHAR(32) PRIMARY KEY, schema_version INTEGER NOT NULL, host VARCHAR(100) NOT NULL, pid BIGINT NOT NULL,"
        " shards TEXT NOT NULL, started_s DOUBLE PRECISION NOT NULL, seen_s DOUBLE PRECISION NOT NULL",
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
TABLES = "SELECT table_name, kind, detail, watermark, bucket FROM tf_table"
MAP = "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket"
CHANGES = "SELECT bucket, shard, epoch FROM tf_bucket WHERE epoch > ? ORDER BY epoch"
VERSION = "SELECT value FROM tf_catalog WHERE name = 'version'"
NEXT_VERSION = "UPDATE tf_catalog SET value = value + 1 WHERE name = 'version'"
"""In the transaction of every change to moves, map, members and tables, so that routers read all of it anew."""
LEAP = 1_000
"""Beyond so many changes of the version the map is read anew."""
MOVER = "mover"
"""Name of the row of tf_shard that holds the token of the last mover; see moves/token.py."""
RESTORING = "restoring"
"""Name of the row of tf_shard that is there from before a backup is restored until all shards have all of it."""
MIGRATING = "migrating"
"""Name of the setting that is there while a deploy's migrations run: "FENCE RELEASE". Whoever writes it, or announces a
move, holds the row of the version and looks for the other."""
MIGRATES = f"SELECT value FROM tf_catalog WHERE name = '{MIGRATING}'"  # noqa: S608  a constant
_START = "run `tenfold shard init` (`tenfold up` does it)"


def reserved_setting(scope: str) -> str:
    """Name of the setting which says that the values of a reserved column ("table.column") were all reserved."""
    return f"reserved:{scope}"


_READINGS = 20


def load(topology: Topology) -> Steps[Catalog]:
    """Read the catalog for a router. Raises CatalogError, ConfigError where it and the file do not agree."""
    for _ in range(_READINGS):
        found = yield from load_once(topology)
        # It takes several statements, and nothing keeps others from changing it in between.
        if (yield from read_version(topology.catalog_shard)) == found.version:
            return found
    raise NodeError("the catalog keeps changing", hint="try again")


def read_version(shard: str) -> Steps[int]:
    """The version that the catalog on `shard` has now."""
    rows = (yield Send(shard, VERSION)).rows
    return int(rows[0][0]) if rows else 0


def load_once(topology: Topology, known: Catalog | None = None, by: str = "") -> Steps[Catalog]:
    """As `load`, by several statements in between which others may change it: its version is to be read again.

    known  an earlier view: of the map only what has changed since is read
    by     the name to ask the catalog's shard by, if not its own
    """
    shard = topology.catalog_shard
    by = by or shard
    settings = yield from read_settings(by)
    if settings is None or "cluster" not in settings or "initialised" not in settings:
        identity = yield from read_identity(by)
        check_identity(shard, {"shard": shard} | identity | {"cluster": ""}, "")
        raise CatalogError(f"{shard} holds no catalog", hint=_START)
    check_version(settings)
    check_identity(shard, (yield from read_identity(by)), settings["cluster"])
    members = tuple(row[0] for row in (yield Send(by, MEMBERS)).rows)
    check_members(topology, members)
    rows = (yield Send(by, TABLES)).rows
    recorded = {name: (kind, detail) for name, kind, detail, _, _ in rows}
    layout = placed_as(layout_of(topology.database, shard, members), recorded)
    _compare(layout, recorded, settings, topology)
    return Catalog(
        settings["cluster"],
        (yield from (_read_changes(by, known.map) if _continues(known, settings) else read_map(by, settings))),
        layout,
        {name: mark for name, _, _, mark, _ in rows if mark is not None},
        int(settings["version"]),
        tuple(move_of(row) for row in (yield Send(by, ACTIVE)).rows),
        {name: number for name, _, _, _, number in rows if number is not None},
        float(settings["lease_s"]),
    )


def check_members(topology: Topology, members: Sequence[str]) -> None:
    """Raises ConfigError for a shard of the platform that the file lacks."""
    missing = [name for name in members if name not in topology.database.shards]
    if missing:
        raise ConfigError(
            f"tenfold.toml: database.shards: {', '.join(missing)} belongs to the platform and is not in the file; "
            f"write it back",
        )


def placed_as(layout: Layout, recorded: Mapping[str, tuple[str, str]]) -> Layout:
    """The layout with pinned tables where the catalog has them: the file says where they are wanted, and a move
    takes them there."""
    tables = dict(layout.tables)
    for name, placed in layout.tables.items():
        kind, detail = recorded.get(name, ("", ""))
        if isinstance(placed, Pinned) and kind == "pinned":
            tables[name] = Pinned(placed.table, detail)
    return replace(layout, tables=tables)


def read_settings(shard: str) -> Steps[dict[str, str] | None]:
    """The settings of the catalog on `shard`; None where there is none."""
    try:
        return dict((yield Send(shard, SETTINGS)).rows)
    except StatementError:
        return None


def set_setting(shard: str, name: str, value: str) -> Steps[None]:
    """Write a setting of the catalog on `shard`, whether it was there or not."""
    yield Send(shard, "DELETE FROM tf_catalog WHERE name = ?", (name,))
    yield Send(shard, "INSERT INTO tf_catalog (name, value) VALUES (?, ?)", (name, value))


def read_map(shard: str, settings: dict[str, str]) -> Steps[BucketMap]:
    """The bucket map as `shard` has it. Raises CatalogError for one with holes."""
    every = (yield Send(shard, MAP)).rows
    rows = [row for row in every if row[0] < BUCKETS]
    if [row[0] for row in rows] != list(range(BUCKETS)):
        raise CatalogError(
            f"the bucket map on {shard} has {len(rows)} entries, not {BUCKETS}",
            hint="every shard holds a copy: `tenfold shard repair-catalog` takes the newest",
        )
    pinned = {number: (owner, epoch) for number, owner, epoch in every[len(rows) :]}
    return BucketMap(int(settings["epoch"]), tuple(row[1] for row in rows), tuple(row[2] for row in rows), pinned)


def _continues(known: Catalog | None, settings: dict[str, str]) -> TypeGuard[Catalog]:
    """Whether the map is `known` and what has changed since: not if shards led on, nor after a repair or a restore,
    which may come to the same epoch by other moves, and leaps ahead with the version."""
    if known is None or known.version < 0 or int(settings["epoch"]) < known.map.epoch:
        return False
    return int(settings["version"]) - known.version < LEAP


def _read_changes(shard: str, known: BucketMap) -> Steps[BucketMap]:
    found = known
    changes: dict[tuple[str, int], list[int]] = {}
    for bucket, owner, epoch in (yield Send(shard, CHANGES, (known.epoch,))).rows:
        changes.setdefault((owner, epoch), []).append(bucket)
    for (owner, epoch), buckets in changes.items():
        found = found.moved(buckets, owner, epoch)
    return found


def check_identity(shard: str, identity: dict[str, str], cluster: str) -> None:
    """Raises CatalogError when a database does not say that it is this shard of this platform, whole."""
    refuse_half(shard, identity)
    if "cluster" not in identity or "shard" not in identity:
        raise CatalogError(
            f"the database of {shard} is not part of the platform: it holds nothing of Tenfold's",
            hint="correct its url in tenfold.toml, or restore it from a backup",
        )
    if identity["cluster"] != cluster:
        raise CatalogError(f"{shard} belongs to another platform", hint="correct its url in tenfold.toml")
    if identity["shard"] != shard:
        raise CatalogError(f"the database of {shard} is {identity['shard']}", hint="correct the urls in tenfold.toml")


def refuse_half(shard: str, identity: dict[str, str]) -> None:
    """Raises CatalogError for a shard of which a backup was not restored to the end."""
    if RESTORING in identity:
        raise CatalogError(
            f"{shard} holds half a platform: the backup {identity[RESTORING]} was not restored to the end",
            hint=f"`tenfold backup restore {identity[RESTORING]}` begins again",
        )


def read_identity(shard: str) -> Steps[dict[str, str]]:
    """What a database says that it is; empty for one that Tenfold does not know. CatalogError: it holds half of one."""
    try:
        identity = dict((yield Send(shard, IDENTITY)).rows)
    except StatementError:
        return {}
    refuse_half(shard, identity)
    return identity


def check_version(settings: dict[str, str]) -> None:
    """Raises CatalogError for a catalog that this release does not know."""
    version = settings.get("schema_version", "")
    if version != str(SCHEMA_VERSION):
        older = version.isdigit() and int(version) < SCHEMA_VERSION
        raise CatalogError(
            f"the catalog has schema_version {version or 'none'}; this Tenfold knows {SCHEMA_VERSION}",
            hint="`tenfold shard init` brings it up to date" if older else "upgrade Tenfold in this application",
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
        f"tenfold.toml: database: {table} was {was} when its rows were written, and they are still there; write it back"
    )
