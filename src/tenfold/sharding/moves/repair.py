"""Makes the catalog anew, or mends its map, out of what the shards and the file know. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenfold.errors import CatalogError, ConfigError, MoveError, StatementError
from tenfold.sharding.bucketsql import bucket_sql
from tenfold.sharding.catalog import SCHEMA_VERSION, on_every_shard, on_the_catalog, read_identity
from tenfold.sharding.fences import COPY
from tenfold.sharding.idlease import WINDOW_S
from tenfold.sharding.ids import id_clock
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Grouped, Layout, Pinned, group_table, layout_of
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.creating import has_table, is_empty
from tenfold.sharding.moves.rebuilding import Rebuilt, Told, members_of, rebuild
from tenfold.sharding.moves.record import ACTIVE, REFERENCE, move_of
from tenfold.sharding.schema import read_shape
from tenfold.topology.model import Topology

_BUCKET_SHIFT = 51
_HELD_WORKERS = 256
"""Numbers of processes that may draw ids under a window that the lost catalog granted."""


@dataclass(slots=True)
class Diagnosis:
    """What is wrong with the catalog, and what it would be made of.

    wrong      sentences; none: the catalog is whole
    conflicts  what nobody can decide but a person; with any, nothing is written
    notes      what to do after it
    """

    wrong: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rebuilt: Rebuilt = field(default_factory=Rebuilt)
    members: list[str] = field(default_factory=list)
    tables: list[tuple[str, str, str, int | None, int | None]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    identities: dict[str, dict[str, str]] = field(default_factory=dict)
    workers_lost: bool = False

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        shares: dict[str, int] = {}
        for bucket, (owner, _) in self.rebuilt.map.items():
            if bucket < BUCKETS:
                shares[owner] = shares.get(owner, 0) + 1
        return {
            "wrong": self.wrong, "conflicts": self.conflicts, "notes": self.notes, "members": self.members,
            "epoch": self.rebuilt.epoch, "buckets": shares,
        }  # fmt: skip


class Repair:
    """The catalog of a platform, looked at and mended."""

    def __init__(self, topology: Topology, now: Callable[[], float] = time.time) -> None:
        self.topology, self._now = topology, now
        self.catalog = topology.catalog_shard
        self._shards = Shards(topology)

    def close(self) -> None:
        """Close the connections."""
        self._shards.close()

    def diagnose(self) -> Diagnosis:
        """Read all shards. Raises NodeError where one does not answer: it may know more than the others."""
        found = Diagnosis()
        told = {shard: self._told(shard) for shard in self.topology.database.shards}
        found.identities = {shard: self._shards.ask(read_identity(shard)) for shard in told}
        cluster = self._cluster(found)
        found.rebuilt = rebuild({shard: one for shard, one in told.items() if found.identities[shard]} | {
            self.catalog: told[self.catalog]
        })  # fmt: skip
        found.conflicts += found.rebuilt.conflicts
        self._compare_map(found, told[self.catalog])
        self._members(found, told)
        self._settings(found, cluster)
        self._tables(found)
        self._move(found)
        return found

    def write(self, found: Diagnosis) -> None:
        """Make the catalog what was found. Raises MoveError where a person must decide first."""
        if found.conflicts:
            raise MoveError("\n".join(found.conflicts), hint="restore the catalog's shard from a backup")
        dialect = self._shards.dialect
        for statement in (on_every_shard(dialect) | on_the_catalog(dialect)).values():
            self._shards.execute(self.catalog, statement)
        rows = [(bucket, owner, epoch) for bucket, (owner, epoch) in sorted(found.rebuilt.map.items())]
        with self._shards.transaction(self.catalog, token=False) as driver:
            for name in ("cluster", "shard"):
                if name not in found.identities[self.catalog]:
                    value = found.settings["cluster"] if name == "cluster" else self.catalog
                    driver.execute("INSERT INTO tf_shard (name, value) VALUES (?, ?)", (name, value))
            for table in ("tf_bucket", "tf_member", "tf_table"):
                driver.execute(f"DELETE FROM {table}", ())
            driver.execute_many(COPY, rows)
            members = [(shard, position) for position, shard in enumerate(found.members)]
            driver.execute_many("INSERT INTO tf_member (shard, position) VALUES (?, ?)", members)
            if found.tables:
                driver.execute_many(
                    "INSERT INTO tf_table (table_name, kind, detail, watermark, bucket) VALUES (?, ?, ?, ?, ?)",
                    found.tables,
                )
            for name, value in found.settings.items():
                driver.execute("DELETE FROM tf_catalog WHERE name = ?", (name,))
                driver.execute("INSERT INTO tf_catalog (name, value) VALUES (?, ?)", (name, value))
            if found.workers_lost:
                # Processes go on drawing ids under windows that nobody knows any more: new ones get other numbers.
                until_s = id_clock(self._now()) + 3 * WINDOW_S
                held = [(worker, "0" * 32, until_s) for worker in range(_HELD_WORKERS)]
                driver.execute_many("INSERT INTO tf_worker (worker, token, until_s) VALUES (?, ?, ?)", held)
            self._note_objects(driver, found)
        for shard in found.members:
            if shard != self.catalog:
                with self._shards.transaction(shard, token=False) as driver:
                    driver.execute("DELETE FROM tf_bucket", ())
                    driver.execute_many(COPY, rows)

    def _note_objects(self, driver: Any, found: Diagnosis) -> None:
        dialect = self._shards.dialect
        for shard in found.members:
            objects = [*on_every_shard(dialect), *(on_the_catalog(dialect) if shard == self.catalog else ())]
            known = {row[0] for row in driver.execute("SELECT object FROM tf_object WHERE shard = ?", (shard,)).rows}
            for name in objects:
                if name not in known:
                    driver.execute("INSERT INTO tf_object (shard, object, created_s) VALUES (?, ?, ?)",
                                   (shard, name, self._now()))  # fmt: skip

    # ---------------------------------------------------------------- what is known

    def _told(self, shard: str) -> Told:
        copy = self._rows(shard, "SELECT bucket, shard, epoch FROM tf_bucket")
        fences = self._rows(shard, "SELECT bucket, state, epoch, to_shard FROM tf_fence")
        return Told(copy or (), fences or ())

    def _rows(self, shard: str, sql: str) -> list[tuple[Any, ...]] | None:
        """None where there is no such table."""
        try:
            return self._shards.rows(shard, sql)
        except StatementError:
            return None

    def _cluster(self, found: Diagnosis) -> str:
        clusters = {identity["cluster"] for identity in found.identities.values() if "cluster" in identity}
        if len(clusters) != 1:
            what = "belong to different platforms" if clusters else "hold nothing of Tenfold's"
            raise CatalogError(f"the shards {what}", hint="correct their urls in tenfold.toml")
        for shard, identity in found.identities.items():
            if identity.get("shard", shard) != shard:
                raise CatalogError(
                    f"the database of {shard} is {identity['shard']}", hint="correct the urls in tenfold.toml"
                )
        return clusters.pop()

    def _compare_map(self, found: Diagnosis, here: Told) -> None:
        held = {bucket: (owner, epoch) for bucket, owner, epoch in here.copy}
        missing = [bucket for bucket in found.rebuilt.map if bucket not in held]
        older = [bucket for bucket, said in held.items() if found.rebuilt.map.get(bucket, said) != said]
        # REFERENCE has an entry only once a shard has joined.
        missing = [bucket for bucket in missing if bucket != REFERENCE or found.rebuilt.map[bucket][1] > 1]
        if REFERENCE in found.rebuilt.map and found.rebuilt.map[REFERENCE][1] <= 1:
            del found.rebuilt.map[REFERENCE]
        if missing:
            found.wrong.append(f"the map on {self.catalog} lacks {len(missing):,} entries that other shards have")
        if older:
            found.wrong.append(f"the map on {self.catalog} is older than what shards say of {len(older):,} entries")
        owned = any(owner == self.catalog for owner, _ in found.rebuilt.map.values())
        if not found.identities[self.catalog]:
            found.wrong.append(f"{self.catalog} does not know who it is")
            layout = layout_of(self.topology.database, self.catalog)
            if owned and not any(has_table(self._shards, self.catalog, one.table) for one in layout.tables.values()):
                found.conflicts.append(
                    f"{self.catalog} owns buckets and its database is empty: their rows are gone with it"
                )

    def _members(self, found: Diagnosis, told: dict[str, Told]) -> None:
        order = list(self.topology.database.shards)
        known = self._rows(self.catalog, "SELECT shard FROM tf_member ORDER BY position")
        found.members = [row[0] for row in known or ()]
        seen = members_of(found.rebuilt, told, order)
        if not found.members:
            found.wrong.append("the catalog lists no members")
            found.members = seen
        owners = {owner for owner, _ in found.rebuilt.map.values() if owner}
        for shard in sorted(owners - set(found.members)):
            if shard in order:
                found.wrong.append(f"{shard} owns buckets and is not listed as a member")
                found.members.append(shard)
        for shard in sorted({*owners, *found.members} - set(order)):
            found.conflicts.append(f"{shard} owns buckets, or is a member, and is not in the file: write it back")
        found.members = [shard for shard in found.members if shard in order]

    def _settings(self, found: Diagnosis, cluster: str) -> None:
        settings = dict(self._rows(self.catalog, "SELECT name, value FROM tf_catalog") or ())
        wanted = {
            "cluster": cluster, "initialised": "yes", "schema_version": str(SCHEMA_VERSION),
            "lease_s": f"{self.topology.database.lease_s:g}",
        }  # fmt: skip
        lacking = [name for name in (*wanted, "epoch", "version") if name not in settings]
        if lacking:
            found.wrong.append(f"the catalog lacks the settings {', '.join(lacking)}")
        if settings.get("cluster", cluster) != cluster:
            raise CatalogError(f"{self.catalog} belongs to another platform", hint="correct its url in tenfold.toml")
        epoch = max(found.rebuilt.epoch, int(settings.get("epoch", 0)))
        # No version that a router may hold can come again: where it is lost, the time is beyond all of them.
        version = int(settings["version"]) + 1 if "version" in settings else int(self._now())
        found.settings = {name: settings.get(name, value) for name, value in wanted.items()}
        found.settings |= {"epoch": str(epoch), "version": str(version)}
        if int(settings.get("epoch", epoch)) < found.rebuilt.epoch:
            found.wrong.append(f"the catalog's epoch {settings['epoch']} is older than {found.rebuilt.epoch}")
        if not any(name.startswith("reserved:") for name in settings) and any(
            group.unique for group in self.topology.database.groups.values()
        ):
            found.notes.append("`tenfold shard init` reserves the values of unique columns again: run it next")
        workers = self._rows(self.catalog, "SELECT COUNT(*) FROM tf_worker")
        found.workers_lost = workers is None
        for name in on_the_catalog(self._shards.dialect):
            if name.startswith("tf_") and self._missing(name):
                found.wrong.append(f"{self.catalog} lacks the table {name}")

    def _missing(self, name: str) -> bool:
        return not has_table(self._shards, self.catalog, name)

    def _tables(self, found: Diagnosis) -> None:
        rows = self._rows(self.catalog, "SELECT table_name, kind, detail, watermark, bucket FROM tf_table") or []
        recorded = {row[0]: row for row in rows}
        layout = layout_of(self.topology.database, self.catalog, tuple(found.members))
        numbers = {number: owner for number, (owner, _) in found.rebuilt.map.items() if number > REFERENCE}
        free = dict(numbers)
        for row in rows:
            free.pop(row[4], None)
        lost = [name for name in layout.tables if name not in recorded]
        if lost:
            found.wrong.append(f"the catalog does not say where {', '.join(sorted(lost))} lie")
        for row in rows:
            if row[1] == "pinned" and row[4] in numbers and numbers[row[4]] != row[2]:
                found.wrong.append(f"the catalog has {row[0]} on {row[2]}, and it is on {numbers[row[4]]}")
                row = (row[0], row[1], numbers[row[4]], row[3], row[4])
            found.tables.append(row)
        for name in sorted(lost):
            placed = layout.tables[name]
            kind, detail = placed.said()
            if isinstance(placed, Grouped):
                found.tables.append((name, kind, detail, self._watermark(layout, placed), None))
            elif isinstance(placed, Pinned):
                self._place(found, placed, free)
            else:
                found.tables.append((name, kind, detail, None, None))

    def _place(self, found: Diagnosis, placed: Pinned, free: dict[int, str]) -> None:
        """Find the shard of a pinned table, and a number that this shard is said to own."""
        table = placed.table
        there = [shard for shard in found.members if has_table(self._shards, shard, table)]
        full = [shard for shard in there if not is_empty(self._shards, shard, table)]
        homes = full or there or [placed.shard]
        if len(homes) > 1 and placed.shard in homes and not full:
            homes = [placed.shard]
        if len(homes) > 1:
            found.conflicts.append(f"{table} is on {' and '.join(homes)}: drop it where it does not belong")
            return
        number = next((number for number, owner in sorted(free.items()) if owner == homes[0]), None)
        if number is None:
            found.notes.append(f"`tenfold shard init` gives {table} a number: run it next")
            return
        del free[number]
        found.tables.append((table.lower(), "pinned", homes[0], None, number))

    def _watermark(self, layout: Layout, placed: Grouped) -> int:
        """The largest id that does not carry the bucket of its row: it was there before Tenfold gave any."""
        largest = 0
        for shard in layout.shards:
            shape = self._shards.ask(read_shape(shard, placed.table, layout.dialect))
            if shape is None:
                continue
            try:
                table = group_table(placed, shape)
            except ConfigError:
                continue
            if table.id_column is None or table.id_is_key:
                continue
            quoted = layout.dialect.quoted
            column = quoted(shape.columns[table.id_column].name)
            bucket = bucket_sql(quoted(shape.columns[placed.key].name), table.key_type, layout.dialect)
            sql = f"SELECT MAX({column}) FROM {quoted(shape.name)} WHERE {column} >> {_BUCKET_SHIFT} <> {bucket}"
            largest = max(largest, int(self._shards.rows(shard, sql)[0][0] or 0))
        return largest

    def _move(self, found: Diagnosis) -> None:
        """A record of a move that is older than its mover, or that is gone while its traces are there."""
        rows = self._rows(self.catalog, ACTIVE)
        moves = [move_of(row) for row in rows or ()]
        tokens = [
            int(row[0])
            for shard in found.members
            for row in self._rows(shard, "SELECT value FROM tf_shard WHERE name = 'mover'") or ()
        ]
        for move in moves:
            if tokens and max(tokens) > move.token:
                found.conflicts.append(
                    f"the catalog has move {move.id} as {move.phase}, and a later mover has been at work since"
                )
        if not moves:
            traces = "SELECT 1 FROM tf_fence WHERE state IN ('fenced', 'incoming') OR captured > 0 LIMIT 1"
            busy = [shard for shard in found.members if self._rows(shard, traces)]
            if busy:
                are = "are" if len(busy) > 1 else "is"
                found.conflicts.append(f"the catalog knows of no move, and {' and '.join(busy)} {are} amid one")
