"""Looks at the shards before a move: schema, rows of each bucket, servers, processes. Changes nothing. Edge."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.errors import StatementError, TenfoldError
from tenfold.sharding.catalog import SETTINGS, load
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.capabilities import capabilities
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.sharding.engine.status import status
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Grouped, Pinned
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.obstacles import Reference, Router, ShardFacts
from tenfold.sharding.moves.tables import BY_BUCKET, Moved
from tenfold.sharding.schema import read_shape
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Engine, Topology

MOST_COUNTED = 3_000_000
"""Rows of a table whose buckets are counted on a shard; beyond it they are taken to lie evenly, as their hash does."""
XA_WAIT_S = 2.0
"""A prepared branch that is still there after so long is not about to end."""
_MYSQL_REFERENCES = (
    "SELECT LOWER(table_name), LOWER(referenced_table_name), delete_rule, update_rule"
    " FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()"
)
_VERSIONED = (
    "SELECT LOWER(table_name) FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_type = 'SYSTEM VERSIONED'"
)
_SQLITE_REFERENCES = (
    'SELECT DISTINCT lower(m.name), lower(f."table"), f.on_delete, f.on_update'
    " FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'"
)


@dataclass(slots=True)
class Survey:
    """What was seen.

    facts    of each shard that was looked at
    rows     bucket, or number of a pinned table → its rows; bytes: likewise, an estimate
    leaving  shards that a drain has emptied, or is emptying
    """

    catalog: Catalog
    settings: Mapping[str, str]
    routers: list[Router]
    leaving: frozenset[str]
    now_s: float
    facts: dict[str, ShardFacts] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)

    @property
    def weighed(self) -> frozenset[str]:
        """Members that may take buckets."""
        return frozenset(self.catalog.layout.shards) - self.leaving


def survey(topology: Topology, *, joins: Iterable[str] = ()) -> Survey:
    """Look at every member, and at shards that are to join. Raises NodeError for one that does not answer."""
    shards = Shards(topology)
    try:
        home = topology.catalog_shard
        catalog = shards.ask(load(topology))
        found = Survey(
            catalog, dict(shards.rows(home, SETTINGS)), _routers(shards, home), leaving(shards, home), time.time()
        )
        for shard in (*catalog.layout.shards, *joins):
            found.facts[shard] = _shapes(shards, catalog, shard)
        for shard in catalog.layout.shards:
            _count(shards, found, shard)
        _look_at_servers(topology, found)
        _see_prepared(shards, found)
        return found
    finally:
        shards.close()


def leaving(shards: Shards, home: str) -> frozenset[str]:
    """Shards of which the last that was said is that they are drained."""
    found: set[str] = set()
    for phase, text in shards.rows(home, "SELECT phase, detail FROM tf_move ORDER BY id"):
        detail = json.loads(text)
        if detail.get("drains") and (phase != "done" or detail.get("result") == "moved"):
            found.add(detail["drains"])
        if detail.get("joins") and detail.get("result") == "joined":
            found.discard(detail["joins"])
    return frozenset(found)


def _routers(shards: Shards, home: str) -> list[Router]:
    rows = shards.rows(home, "SELECT host, pid, schema_version, shards, seen_s FROM tf_router ORDER BY host, pid")
    return [
        Router(host, int(pid), int(version), frozenset(known.split(",")), float(seen_s))
        for host, pid, version, known, seen_s in rows
    ]


def _shapes(shards: Shards, catalog: Catalog, shard: str) -> ShardFacts:
    found, layout = ShardFacts(), catalog.layout
    nulls, elsewhere = set(), set()
    for name, placed in layout.tables.items():
        shape = shards.ask(read_shape(shard, placed.table, layout.dialect))
        if shape is None:
            continue
        found.shapes[name] = shape
        quoted = layout.dialect.quoted
        table = quoted(shape.name)
        if (
            isinstance(placed, Pinned)
            and placed.shard != shard
            and shards.rows(shard, f"SELECT 1 FROM {table} LIMIT 1")
        ):
            elsewhere.add(name)
        nullable = [quoted(shape.columns[one].name) for one in shape.primary_key if one and shape.columns[one].nullable]
        if nullable and layout.dialect is not MYSQL:
            empty = " OR ".join(f"{column} IS NULL" for column in nullable)
            if shards.rows(shard, f"SELECT 1 FROM {table} WHERE {empty} LIMIT 1"):
                nulls.add(name)
    found.nulls, found.pinned_rows = frozenset(nulls), frozenset(elsewhere)
    on_mysql = layout.dialect is MYSQL
    rows = shards.rows(shard, _MYSQL_REFERENCES if on_mysql else _SQLITE_REFERENCES)
    found.references = tuple(Reference(*(str(word) for word in row)) for row in rows)
    if on_mysql:
        found.versioned = frozenset(str(row[0]) for row in shards.rows(shard, _VERSIONED))
    else:
        partial = "SELECT i.name FROM sqlite_master AS m JOIN pragma_index_list(m.name) AS i WHERE i.partial"
        found.unindexed = frozenset(row[0] for row in shards.rows(shard, partial))
    return found


def _count(shards: Shards, found: Survey, shard: str) -> None:
    """Rows of each bucket on a shard: of those it owns to `rows` and `bytes`, of others to its `strangers`."""
    catalog, facts = found.catalog, found.facts[shard]
    row_bytes = _row_bytes(shards, shard)
    owned = [bucket for bucket in range(BUCKETS) if catalog.map.shard_of(bucket) == shard]
    for name, placed in catalog.layout.tables.items():
        shape = facts.shapes.get(name)
        if shape is None or not isinstance(placed, Grouped | Pinned):
            continue
        each = row_bytes.get(name, row_bytes[""])
        if isinstance(placed, Pinned):
            if placed.shard == shard:
                counted = {catalog.numbers[name]: _rows_of(shards, shard, shape.name)}
            else:
                continue
        else:
            table = Moved(0, shape, placed.key, shape.columns[placed.key].key_type)
            counted = _by_bucket(shards, shard, table, owned)
        for bucket, count in counted.items():
            if bucket >= BUCKETS or catalog.map.shard_of(bucket) == shard:
                found.rows[bucket] = found.rows.get(bucket, 0) + count
                found.bytes[bucket] = found.bytes.get(bucket, 0) + int(count * each)
            else:
                facts.strangers.setdefault(name, {})[bucket] = count
    for name in BY_BUCKET:
        for bucket, count in shards.rows(shard, f"SELECT bucket, COUNT(*) FROM {name} GROUP BY bucket"):
            if 0 <= bucket < BUCKETS and catalog.map.shard_of(bucket) != shard:
                facts.strangers.setdefault(name, {})[bucket] = count


def _by_bucket(shards: Shards, shard: str, table: Moved, owned: list[int]) -> dict[int, int]:
    count = _rows_of(shards, shard, table.shape.name)
    if count > MOST_COUNTED:
        return dict.fromkeys(owned, count // max(len(owned), 1))
    sql = f"SELECT {table.bucket()}, COUNT(*) FROM {table.name} GROUP BY 1"
    return {int(bucket): int(rows) for bucket, rows in shards.rows(shard, sql) if bucket is not None}


def _rows_of(shards: Shards, shard: str, table: str) -> int:
    """Of a large table of MySQL an estimate, which costs nothing."""
    if shards.dialect is MYSQL:
        sql = "SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        estimate = shards.rows(shard, sql, (table,))
        if estimate and int(estimate[0][0] or 0) > MOST_COUNTED:
            return int(estimate[0][0])
    return int(shards.rows(shard, f"SELECT COUNT(*) FROM {shards.dialect.quoted(table)}")[0][0])


def _row_bytes(shards: Shards, shard: str) -> dict[str, float]:
    """Lower-case table → bytes a row, indexes too; "" for those that are not listed."""
    if shards.dialect is MYSQL:
        rows = shards.rows(
            shard,
            "SELECT LOWER(table_name), (data_length + index_length) / GREATEST(table_rows, 1)"
            " FROM information_schema.tables WHERE table_schema = DATABASE() AND table_rows > 100",
        )
        return {"": 150.0} | {str(name): float(size) for name, size in rows}
    pages, size = (shards.rows(shard, f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
    rows = shards.rows(shard, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
    total = sum(_rows_of(shards, shard, name) for (name,) in rows)
    return {"": pages * size / max(total, 1)}


def _look_at_servers(topology: Topology, found: Survey) -> None:
    able = capabilities(topology)
    for shard, failure in able.unseen.items():
        if shard in found.facts:
            raise failure
    free = {one.shard: one.free_bytes for one in status(topology).shards}
    for shard, facts in found.facts.items():
        facts.findings, facts.free_bytes = able.findings[shard], free.get(shard)
        if topology.database.engine is Engine.SQLITE:
            path = sqlite_path(topology.database.shards[shard].url, topology.root)
            facts.disk = str(Path(path).parent.stat().st_dev)


def _see_prepared(shards: Shards, found: Survey) -> None:
    """XA branches that are there twice, some time apart."""
    if shards.dialect is not MYSQL:
        return
    first = {shard: _prepared(shards, shard) for shard in found.facts}
    if any(first.values()):
        time.sleep(XA_WAIT_S)
        for shard, names in first.items():
            found.facts[shard].prepared = tuple(sorted(names & _prepared(shards, shard)))


def _prepared(shards: Shards, shard: str) -> set[str]:
    try:
        rows = shards.rows(shard, "XA RECOVER")
    except StatementError:
        return set()
    except TenfoldError:  # the account may not ask; `tenfold check --live` says so
        return set()
    return {row[3].decode(errors="replace") if isinstance(row[3], bytes) else str(row[3]) for row in rows}
