"""What stands in the way of a move, each by name, with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.sharding.catalog import SCHEMA_VERSION
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.layout import Grouped, Layout, Pinned, Placed, Referenced
from tenfold.sharding.moves.codec import unwritable
from tenfold.sharding.moves.record import Move
from tenfold.sharding.moves.tables import Moved
from tenfold.sharding.requirements import Finding, Level
from tenfold.sharding.schemarules import drift, table_mistakes
from tenfold.sharding.shapes import TableShape
from tenfold.sharding.upgrade import LEASE_WAS, OLDER_ROUTERS

ROUTER_S = 600.0
"""A process that has not renewed its lease for so long is gone."""
ROOM = 2
"""Times the bytes that go to a SQLite file: they lie in its WAL too before they are in the file."""
_HARMLESS = {"NO ACTION", "RESTRICT"}
_NEEDED = ("version", "writable", "transactions", "session", "moves")
"""Features of a server (see requirements.py) without which nothing moves from it or to it."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """said: what stands in the way, and where; remedy: what to run, or to do."""

    said: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key as the database lists it; names of tables are lower-case, actions upper-case."""

    child: str
    parent: str
    on_delete: str
    on_update: str

    @property
    def cascades(self) -> bool:
        """Whether it changes rows of the child by itself."""
        return not {self.on_delete, self.on_update} <= _HARMLESS


@dataclass(frozen=True, slots=True)
class Router:
    """A process that holds, or held, a lease."""

    host: str
    pid: int
    schema_version: int
    shards: frozenset[str]
    seen_s: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(slots=True)
class ShardFacts:
    """What was seen of one shard.

    shapes      lower-case table → its shape
    unindexed   names of indexes that do not hold every row
    versioned   tables of MariaDB that keep what their rows were before
    nulls       tables with a row that has NULL in its primary key
    references  all foreign keys of the database
    strangers   bucket that it does not own → how many rows of it lie there, by table
    pinned_rows tables that are pinned elsewhere and hold rows here
    findings    what its server can do
    free_bytes  None where it is not known; disk: what tells one disk from another
    prepared    XA branches that stay prepared
    """

    shapes: dict[str, TableShape] = field(default_factory=dict)
    unindexed: frozenset[str] = frozenset()
    versioned: frozenset[str] = frozenset()
    nulls: frozenset[str] = frozenset()
    references: tuple[Reference, ...] = ()
    strangers: dict[str, dict[int, int]] = field(default_factory=dict)
    pinned_rows: frozenset[str] = frozenset()
    findings: Sequence[Finding] = ()
    free_bytes: int | None = None
    disk: str = ""
    prepared: tuple[str, ...] = ()


def platform_obstacles(
    settings: Mapping[str, str],
    active: Iterable[Move],
    routers: Iterable[Router],
    shards: Collection[str],
    now_s: float,
) -> Iterator[Obstacle]:
    """Of the platform as a whole. shards: those that will take part, a shard that joins too."""  # fmt: skip
    for move in active:
        what = f"{move.detail['joins']} joins" if move.detail.get("joins") else f"move {move.id} is {move.phase}"
        yield Obstacle(f"another move is not done: {what}", "`tenfold shard resume`, `finish`, `undo` or `cancel` it")
    if OLDER_ROUTERS in settings:
        yield Obstacle(
            "processes of the release before may still run; they know no leases, and no move would wait for them",
            "start every process of the application again, then run `tenfold shard init --restarted`",
        )
    if LEASE_WAS in settings:
        yield Obstacle("database.lease_s is being changed", "`tenfold shard init` waits for the longer leases to end")
    for router in routers:
        if now_s - router.seen_s > ROUTER_S:
            continue
        if router.schema_version < SCHEMA_VERSION:
            yield Obstacle(f"{router} runs an older release of Tenfold", "upgrade it, and start it again")
        lacking = sorted(set(shards) - router.shards)
        if lacking:
            yield Obstacle(
                f"{router} does not know {', '.join(lacking)}",
                "start it again with the tenfold.toml that names every shard; one that is gone is forgotten after "
                f"{ROUTER_S / 60:.0f} minutes",
            )


def table_obstacles(
    layout: Layout, numbers: Mapping[str, int], moving: Collection[str], shard: str, facts: ShardFacts
) -> Iterator[Obstacle]:
    """Of the tables that move from `shard`. moving: lower-case names."""
    for name in sorted(moving):
        placed, shape = layout.tables[name], facts.shapes.get(name)
        if shape is None:
            continue
        for line in table_mistakes(layout, placed, shape):
            what, _, remedy = line.rpartition("; ")
            yield Obstacle(what, remedy)
        yield from _rows_apart(placed, shape, shard, facts)
        if name in facts.versioned:
            table = shape.dialect.quoted(shape.name)
            yield Obstacle(
                f"{shape.name} is WITH SYSTEM VERSIONING on {shard}: its rows would arrive without their history",
                f"ALTER TABLE {table} DROP SYSTEM VERSIONING deletes the history; or leave the table where it is",
            )
        for trigger in shape.triggers:
            yield Obstacle(
                f"{shape.name} has the trigger {trigger} on {shard}: it would fire again for every row that is copied",
                f"DROP TRIGGER {shape.dialect.quoted(trigger)}, and create it again after `tenfold shard finish`",
            )
        for index in shape.indexes:
            # What a REPLACE deletes because of it, SQLite tells no trigger; moves/sqlitecapture.py looks for it itself.
            if shape.dialect is not MYSQL and index.unique and not any(index.columns):
                yield Obstacle(
                    f"{shape.name} has the unique index {index.name} over an expression or with a collation: what a "
                    "REPLACE deletes because of it would be lost",
                    f"DROP INDEX {shape.dialect.quoted(index.name)}, or write the column's collation as BINARY",
                )
        unknown = unwritable(Moved(0, shape, "", pinned=numbers.get(name, 0)))
        if unknown:
            yield Obstacle(
                f"{shape.name}: Tenfold cannot copy the type of {', '.join(unknown)}", "change the type of the column"
            )
    yield from _reference_obstacles(layout, moving, shard, facts)


def _rows_apart(placed: Placed, shape: TableShape, shard: str, facts: ShardFacts) -> Iterator[Obstacle]:
    """Rows must be told apart, and found by their shard key."""
    quoted = shape.dialect.quoted
    name = quoted(shape.name)
    if not shape.primary_key or "" in shape.primary_key:
        remedy = (
            f"ALTER TABLE {name} ADD COLUMN row_id BIGINT PRIMARY KEY, or name one of its own columns"
            if shape.dialect is MYSQL
            else "create the table anew with a PRIMARY KEY, and copy its rows"
        )
        yield Obstacle(f"{shape.name} has no primary key, so its rows cannot be told apart while they move", remedy)
    elif shape.name.lower() in facts.nulls:
        columns = " OR ".join(f"{quoted(shape.columns[column].name)} IS NULL" for column in shape.primary_key)
        yield Obstacle(
            f"{shape.name} has rows on {shard} whose primary key is NULL",
            f"look at SELECT * FROM {name} WHERE {columns}",
        )
    if isinstance(placed, Grouped) and placed.key in shape.columns:
        usable = [index.columns for index in shape.indexes if index.name not in facts.unindexed]
        if not any(columns and columns[0] == placed.key for columns in [*usable, shape.primary_key]):
            key = quoted(shape.columns[placed.key].name)
            yield Obstacle(
                f"{shape.name} has no index that begins with its shard key {placed.key}; each bucket would read all",
                f"CREATE INDEX {quoted(f'{shape.name}_{placed.key}')} ON {name} ({key})",
            )


def _reference_obstacles(
    layout: Layout, moving: Collection[str], shard: str, facts: ShardFacts
) -> Iterator[Obstacle]:  # fmt: skip
    for key in facts.references:
        if key.child not in moving and key.parent not in moving:
            continue
        names = f"the foreign key of {key.child} to {key.parent} on {shard}"
        if layout.dialect is MYSQL and key.cascades:
            actions = " and ".join(
                f"ON {event} {action}"
                for event, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
                if action not in _HARMLESS
            )
            yield Obstacle(
                f"{names} is {actions}: the server changes rows by it without telling any trigger, and the move would "
                "not see it",
                "write it without, and delete or update those rows yourself",
            )
        stays = key.child if key.child not in moving else key.parent
        if stays not in moving and not isinstance(layout.tables.get(stays), Referenced):
            declared = stays in layout.tables
            yield Obstacle(
                f"{names} would cross shards: {stays} stays" + ("" if declared else ", as no one declared it"),
                f"move {stays} too, or drop the foreign key" if declared else
                f"name {stays} in tenfold.toml, or drop the foreign key",
            )  # fmt: skip


def target_obstacles(
    layout: Layout,
    moving: Collection[str],
    buckets: Collection[int],
    source: str,
    target: str,
    facts: Mapping[str, ShardFacts],
) -> Iterator[Obstacle]:
    """Of the shard that the rows go to: another schema, and rows that lie there already."""  # fmt: skip
    here, there = facts[source], facts[target]
    for name in sorted(moving):
        shape, other = here.shapes.get(name), there.shapes.get(name)
        if isinstance(layout.tables[name], Pinned):
            if name in there.pinned_rows:
                yield Obstacle(
                    f"{name} holds rows on {target} already, which Tenfold never wrote there",
                    f"see what they are, and DROP TABLE {layout.dialect.quoted(name)} on {target}",
                )
            continue
        if shape is not None and other is None:
            yield Obstacle(f"{name} is on {source} and not on {target}", "create it there, through Tenfold")
        elif shape is not None and other is not None:
            for line in drift(name, {source: shape, target: other}):
                what, _, remedy = line.removeprefix("tenfold.toml: database: ").rpartition("; ")
                yield Obstacle(what, remedy)
    for name, found in sorted(there.strangers.items()):
        lying = {bucket: count for bucket, count in found.items() if bucket in buckets}
        if lying:
            yield Obstacle(
                f"{sum(lying.values()):,} rows of {name} lie on {target} already, of {len(lying)} buckets that are to "
                "go there: something wrote them past Tenfold",
                "`tenfold shard verify --placement` names them, and with --mend brings them to their shard",
            )


def server_obstacles(shard: str, facts: ShardFacts) -> Iterator[Obstacle]:
    """Of the server that a shard lies on, as source or target."""
    for found in facts.findings:
        if found.feature == "Galera":
            yield Obstacle(
                f"{shard} is a node of a Galera cluster, whose nodes do not see each other's locks: a write at another "
                "node would pass the fence",
                "move while it is the only node, or keep this shard as it is",
            )
        elif found.feature in _NEEDED and found.level is not Level.OK:
            yield Obstacle(f"{shard}: {found.feature}: {found.said}", found.remedy)
    if facts.prepared:
        many = len(facts.prepared) > 1
        yield Obstacle(
            f"{shard} has {len(facts.prepared)} prepared XA transaction{'s' * many} that nobody ends: "
            f"{', '.join(facts.prepared[:3])}{', …' * (len(facts.prepared) > 3)}",
            "XA COMMIT or XA ROLLBACK, as the program that prepared it would have",
        )


def space_obstacles(incoming: Mapping[str, int], facts: Mapping[str, ShardFacts]) -> Iterator[Obstacle]:
    """Too little room. incoming: shard → bytes that go there; shards on one disk share what is free."""
    by_disk: dict[str, list[str]] = {}
    for shard in incoming:
        if facts[shard].free_bytes is not None:
            by_disk.setdefault(facts[shard].disk or shard, []).append(shard)
    for shards in by_disk.values():
        needed = sum(incoming[shard] for shard in shards) * ROOM
        free = min(facts[shard].free_bytes or 0 for shard in shards)
        if needed > free:
            yield Obstacle(
                f"{', '.join(shards)}: {free / 2**20:,.0f} MB are free, and the move may take {needed / 2**20:,.0f} MB",
                "make room on the disk, or move fewer buckets at a time: `tenfold shard move --buckets`",
            )


def leaving_obstacle(shard: str) -> Obstacle:
    """A shard that is being drained is no place to move to."""
    return Obstacle(
        f"{shard} is going away: it is being drained",
        f"name another shard; `tenfold shard add {shard}` takes it in again once it has left",
    )


def unknown_shard(shard: str, members: Sequence[str], declared: Collection[str]) -> Obstacle:
    """A shard that is no member."""
    if shard in declared:
        return Obstacle(f"{shard} is in the file and not yet part of the platform", f"`tenfold shard add {shard}`")
    return Obstacle(f"there is no shard {shard}", f"name one of {', '.join(members)}")
