"""A catalog of the release before, brought to what this one knows; and a lease of another length. Repeatable. Pure.

schema_version 1 knew neither leases nor moves. What is new is created first, the version is written last: cut short,
`tenfold shard init` goes on. Routers of that release go on serving, but they hold no lease: a move would not wait for
them. So the time of the upgrade is kept as the setting `older_routers`, and moves are refused until somebody says that
every application process was started again since.

Their verdicts on reservations had no bucket. The old table is put aside under another name in one step: a writer whose
transaction has not ended then cannot give its verdict any more, and all of it is rolled back. So what the old table
says is final, and what it does not say never was.
"""

from __future__ import annotations

from collections.abc import Mapping

from tenfold.errors import StatementError
from tenfold.sharding.catalog import (
    MAP,
    NEXT_VERSION,
    SCHEMA_VERSION,
    check_identity,
    on_every_shard,
    on_the_catalog,
    read_identity,
    set_setting,
)
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.fences import has_all, lay_map, lay_number, next_number, record_objects
from tenfold.sharding.layout import Layout
from tenfold.sharding.moves.record import ACTIVE
from tenfold.sharding.ports import Begin, Chance, Commit, Pause, Send, SendMany, Steps

OLDER_ROUTERS = "older_routers"
"""Setting: since when (Unix time) this release has been in charge, while processes of the one before may still run."""
LEASE_WAS = "lease_was_s"
"""Setting: a longer lease that processes may still hold; there while it is waited for."""
_ASIDE = "tf_verdict_1"
_DROP = "DELETE FROM tf_reservation WHERE scope = ? AND digest = ? AND token = ? AND state = ?"
_KEEP = "UPDATE tf_reservation SET state = 'kept' WHERE scope = ? AND digest = ? AND token = ? AND state = ?"
_UNSETTLED = "SELECT scope, digest, token, owner_bucket, state FROM tf_reservation WHERE state <> 'kept' LIMIT 500"


def upgrade(layout: Layout, cluster: str) -> Steps[list[str]]:
    """From schema_version 1 to 2; → what was done, as lines. Raises CatalogError for a database of somebody else."""
    catalog = layout.catalog
    for shard in layout.shards:
        check_identity(shard, (yield from read_identity(shard)), cluster)
    now_s = (yield Chance()).now_s
    for shard in layout.shards:
        yield from _put_aside(layout, shard)
        objects = on_every_shard(layout.dialect) | (on_the_catalog(layout.dialect) if shard == catalog else {})
        for statement in objects.values():
            yield Send(shard, statement)
        yield from record_objects(catalog, shard, objects, now_s)
    yield from _settle(layout)
    for shard in layout.shards:
        yield Send(shard, f"DROP TABLE IF EXISTS {_ASIDE}")
    rows = [(row[0], row[1], row[2]) for row in (yield Send(catalog, MAP)).rows]
    for shard in layout.shards:
        if not (yield from has_all(shard)):
            yield from lay_map(shard, rows)
    yield from _number_pinned(layout)
    yield Begin(catalog)
    yield from set_setting(catalog, "version", "1")
    yield from set_setting(catalog, OLDER_ROUTERS, f"{now_s:.0f}")
    yield from set_setting(catalog, "schema_version", str(SCHEMA_VERSION))
    yield Commit(catalog)
    return ["the catalog is brought from schema_version 1 to 2"]


def _put_aside(layout: Layout, shard: str) -> Steps[None]:
    """Give the old verdicts another name, once; make room for new ones and, in tf_table, for numbers."""
    if not (yield from _has_column(shard, "tf_verdict", "bucket")) and (
        yield from _has_column(shard, "tf_verdict", "token")
    ):
        if layout.dialect is MYSQL:
            yield Send(shard, f"RENAME TABLE tf_verdict TO {_ASIDE}")
        else:
            # An index keeps its name, and the new table needs it.
            yield Begin(shard)
            yield Send(shard, "DROP INDEX IF EXISTS tf_verdict_at")
            yield Send(shard, f"ALTER TABLE tf_verdict RENAME TO {_ASIDE}")
            yield Commit(shard)
    if shard == layout.catalog and not (yield from _has_column(shard, "tf_table", "bucket")):
        yield Send(shard, "ALTER TABLE tf_table ADD COLUMN bucket INTEGER")


def _has_column(shard: str, table: str, column: str) -> Steps[bool]:
    try:
        # With the table's name before it, SQLite does not take an unknown column for a text.
        yield Send(shard, f"SELECT {table}.{column} FROM {table} LIMIT 1")  # noqa: S608  our own names
    except StatementError:
        return False
    return True


def _settle(layout: Layout) -> Steps[None]:
    """Bring every unfinished reservation to what its writer's verdict was; without one it never committed."""
    owners = dict((row[0], row[1]) for row in (yield Send(layout.catalog, MAP)).rows)
    for shard in layout.shards:
        while unsettled := (yield Send(shard, _UNSETTLED)).rows:
            for scope, digest, token, owner_bucket, state in unsettled:
                kept = yield from _was_kept(owners[owner_bucket], token)
                stays = (state == "pending") is kept
                yield SendMany(shard, _KEEP if stays else _DROP, [(scope, digest, token, state)])


def _was_kept(shard: str, token: str) -> Steps[bool]:
    try:
        rows = (yield Send(shard, f"SELECT verdict FROM {_ASIDE} WHERE token = ?", (token,))).rows  # noqa: S608
    except StatementError:  # an attempt before this one has settled all and dropped it
        return False
    return bool(rows) and rows[0][0] == "kept"


def _number_pinned(layout: Layout) -> Steps[None]:
    rows = (yield Send(layout.catalog, "SELECT table_name, kind, detail, bucket FROM tf_table")).rows
    taken = [row[3] for row in rows]
    for name, kind, owner, number in sorted(rows):
        if kind == "pinned" and number is None:
            taken.append(next_number(taken))
            yield from lay_number(layout.shards, taken[-1], owner)
            yield Send(layout.catalog, "UPDATE tf_table SET bucket = ? WHERE table_name = ?", (taken[-1], name))


def change_lease(catalog: str, settings: Mapping[str, str], lease_s: float) -> Steps[list[str]]:
    """Take over the file's `database.lease_s`; → what was done, and what could not be.

    Refused while a move runs, which counts on the length that it knows. Processes hold leases of the old length until
    they run out: when that was longer, it is waited for here, so that no move begins before.
    """
    was_s = float(settings.get("lease_s", lease_s))
    if LEASE_WAS not in settings and "lease_s" in settings and was_s == lease_s:
        return []
    if (yield Send(catalog, ACTIVE)).rows:
        return [f"database.lease_s stays {was_s:g} s: a move is under way; run this again when it is done"]
    longest_s = max(was_s, float(settings.get(LEASE_WAS, 0)))
    yield Begin(catalog)
    if longest_s > lease_s:
        yield from set_setting(catalog, LEASE_WAS, f"{longest_s:g}")
    yield from set_setting(catalog, "lease_s", f"{lease_s:g}")
    yield Send(catalog, NEXT_VERSION)
    yield Commit(catalog)
    if longest_s > lease_s:
        yield Pause(longest_s * 1.1 + 0.05)
    yield Send(catalog, "DELETE FROM tf_catalog WHERE name = ?", (LEASE_WAS,))
    return [f"processes trust their copy of the bucket map for {lease_s:g} s"] if "lease_s" in settings else []
