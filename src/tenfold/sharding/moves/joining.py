"""A shard becomes part of the platform, or leaves it: schema, reference tables, membership. Repeatable. Edge.

No bucket moves, so there is one thing to keep: all members hold the same reference rows. While a shard joins or
leaves, REFERENCE is announced, and routers that hold a lease do not write these tables. Those that hold none ask the
shards: the fence of REFERENCE is `fenced`, and open again only with a new epoch, which they do not know before they
have read the new members. Triggers on the reference tables wait for writers in flight, and refuse those that were
stopped between their look at the fence and their write.

    announced   the new shard gets its identity, a map and its tables; leases run out
    capturing   triggers and the fence go up on every member
    copying     reference rows are copied and compared; then, in one transaction, the members change
    cleaning    leases run out; the fence opens with the new epoch; triggers go; last of all the announcement
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tenfold.errors import MoveError, NodeDown, PlatformError, StatementError
from tenfold.sharding.catalog import (
    MEMBERS,
    check_identity,
    load,
    on_every_shard,
    read_identity,
)
from tenfold.sharding.engine.sqlite import SqliteDriver, sqlite_path
from tenfold.sharding.fences import COPY, FENCE, fence_row
from tenfold.sharding.layout import Grouped, Layout, Referenced, layout_of
from tenfold.sharding.moves.books import Books, end_ddl, shard_tokens, take_shards
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.creating import create_like, has_table, is_empty
from tenfold.sharding.moves.installing import define, drop_triggers, installed, set_fences
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.progress import Progress
from tenfold.sharding.moves.record import REFERENCE
from tenfold.sharding.moves.referencing import (
    compare_rows,
    copy_rows,
    reference_entry,
    reference_tables,
    refusal,
)
from tenfold.sharding.moves.tables import trigger_name
from tenfold.sharding.moves.work import Limits, Work
from tenfold.sharding.schema import read_shape
from tenfold.sharding.schemarules import drift
from tenfold.topology.model import Engine, Topology

JOINED, LEFT, CANCELLED = "joined", "left", "cancelled"


class Joining:
    """One shard on its way in, or out."""

    def __init__(
        self, topology: Topology, progress: Progress, *,
        sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.topology, self.progress, self._sleep, self._now = topology, progress, sleep, now
        self.catalog = topology.catalog_shard
        self._shards = Shards(topology)
        self._books = Books(self._shards, self.catalog, now)

    def close(self) -> None:
        """Close the connections."""
        self._shards.close()

    def join(self, shard: str) -> None:
        """Take a shard of the file in. Raises MoveError where it cannot be, NodeError."""
        self.open_database(shard)
        self._refuse(shard)
        self._books.announce((), {"joins": shard})
        self.resume()

    def leave(self, shard: str) -> None:
        """Let a shard go that owns nothing any more; nothing when it has left."""
        if shard not in self._members():
            return
        owned = self._shards.rows(self.catalog, "SELECT bucket FROM tf_bucket WHERE shard = ? LIMIT 1", (shard,))
        if owned:
            raise MoveError(f"{shard} still owns bucket {owned[0][0]}", hint=f"`tenfold shard drain {shard}`")
        self._books.announce((), {"joins": shard, "leaves": True})
        self.resume()

    def resume(self) -> None:
        """Go on with what was begun, whoever began it, to its end."""
        work = self._take_over()
        while work.move.phase is not Phase.DONE:
            {
                Phase.ANNOUNCED: self._announced,
                Phase.CAPTURING: self._capturing,
                Phase.COPYING: self._copying,
                Phase.CLEANING: self._cleaning,
            }[work.move.phase](work)

    def cancel(self) -> None:
        """Take it back; after the members have changed there is nothing to take back any more."""
        work = self._take_over()
        if work.move.phase is Phase.CLEANING:
            if work.move.detail["result"] != CANCELLED:
                raise MoveError(
                    f"{work.move.detail['joins']} has {work.move.detail['result']}",
                    hint="`tenfold shard resume` tidies up",
                )
        else:
            work.move = self._books.record(replace(work.move, phase=Phase.CLEANING), result=CANCELLED)
        self._cleaning(work)

    # ---------------------------------------------------------------- before it begins

    def open_database(self, shard: str) -> None:
        """Have a database there: of SQLite a file is made. Raises PlatformError for a directory that cannot be."""
        if self.topology.database.engine is not Engine.SQLITE:
            return
        path = Path(sqlite_path(self.topology.database.shards[shard].url, self.topology.root))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlatformError(
                f"the directory of {shard} cannot be made: {path.parent}: {error.strerror}",
                hint=f"make it writable for this user, or change database.shards.{shard}.url",
            ) from None
        SqliteDriver(shard, path, self.topology.database.lock_wait_s, mode="rwc").close()

    def _refuse(self, shard: str) -> None:
        """Raises MoveError for a database that holds something, CatalogError for one of another shard or platform."""
        cluster = self._cluster()
        identity = self._shards.ask(read_identity(shard))
        check_identity(shard, {"cluster": cluster, "shard": shard} | identity, cluster)
        layout = self._layout()
        full = []
        for name, placed in layout.tables.items():
            there = has_table(self._shards, shard, placed.table)
            mine = isinstance(placed, Referenced) and identity  # left of when it was a member: it is copied anew
            if there and not mine and not is_empty(self._shards, shard, placed.table):
                full.append(name)
        if full:
            raise MoveError(
                f"the database of {shard} holds rows already: {', '.join(full)}",
                hint="name an empty database; rows of another platform come in by an import",
            )

    # ---------------------------------------------------------------- the steps

    def _take_over(self) -> Work:
        """Draw a token, write it everywhere, and end what the mover before may still be doing."""
        move = self._books.active()
        if move is None or not move.detail.get("joins"):
            raise MoveError("no shard is joining or leaving", hint="`tenfold shard status` says what is under way")
        shard = move.detail["joins"]
        members = self._members()
        present = [*members, *([shard] if shard not in members else [])]
        known = [one for one in present if self._has_identity(one)]
        old = {move.token, *move.detail.get("tokens", [])}
        move = self._books.draw_token(move, shard_tokens(self._shards, known))
        self._shards.close()
        self._shards = Shards(self.topology, move.token)
        self._books = Books(self._shards, self.catalog, self._now)
        take_shards(self._shards, known, move.token)
        for one in known:
            end_ddl(self._shards, one, old)
        return Work(
            self.topology, self._shards, self._books, move, self.progress, Limits(), time.monotonic, self._sleep
        )  # fmt: skip

    def _has_identity(self, shard: str) -> bool:
        try:
            return bool(self._shards.ask(read_identity(shard)))
        except NodeDown:
            # Its file or server has gone before it held anything that counts.
            if shard in self._members():
                raise
            return False

    def _announced(self, work: Work) -> None:
        if not work.move.detail.get("leaves"):
            self._prepare(work)
        self.progress.step("join.lease")
        work.wait_leases()
        work.move = self._books.record(replace(work.move, phase=Phase.CAPTURING))

    def _prepare(self, work: Work) -> None:
        """Identity, Tenfold's own tables, a map on which it owns nothing, and empty tables."""
        shard, layout = work.move.detail["joins"], self._layout()
        own = on_every_shard(layout.dialect)
        self._books.note(work.move, shard, own)
        self.progress.step("join.own_tables")
        for statement in own.values():
            self._shards.execute(shard, statement)
        identity = self._shards.ask(read_identity(shard))
        for name, value in (("cluster", self._cluster()), ("shard", shard)):
            if name not in identity:
                self._shards.execute(shard, "INSERT INTO tf_shard (name, value) VALUES (?, ?)", (name, value))
        take_shards(self._shards, [shard], work.move.token)
        self.progress.step("join.map")
        rows = self._shards.rows(self.catalog, "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
        fences = [
            fence_row(shard, *row) for row in [*[row for row in rows if row[0] != REFERENCE], reference_entry(rows)]
        ]
        with self._shards.transaction(shard) as driver:
            driver.execute("DELETE FROM tf_bucket", ())
            driver.execute("DELETE FROM tf_fence", ())
            driver.execute_many(COPY, rows)
            driver.execute_many(FENCE, fences)
            driver.execute("UPDATE tf_fence SET state = 'fenced' WHERE bucket = ?", (REFERENCE,))
        for name, model in self._models(layout):
            table = layout.tables[name].table
            if not has_table(self._shards, shard, table):
                self._books.note(work.move, shard, [name])
                self.progress.step("join.table")
                create_like(self._shards, model, shard, table)
        self._compare_schemas(layout, shard)

    def _models(self, layout: Layout) -> Iterator[tuple[str, str]]:
        """(lower-case table, a member that has it) of all but pinned tables; what others refer to comes first."""
        waiting: dict[str, tuple[str, set[str]]] = {}
        for name, placed in layout.tables.items():
            if isinstance(placed, Grouped | Referenced):
                for member in self._members():
                    shape = self._shards.ask(read_shape(member, placed.table, layout.dialect))
                    if shape is not None:
                        waiting[name] = (member, {key.target for key in shape.foreign_keys} - {name})
                        break
        while waiting:
            # In a circle none comes first; checks of foreign keys are off, so that any may.
            free = next(
                (name for name, (_, needs) in waiting.items() if not needs & waiting.keys()), next(iter(waiting))
            )
            yield free, waiting.pop(free)[0]

    def _compare_schemas(self, layout: Layout, shard: str) -> None:
        differing = []
        for name, model in self._models(layout):
            table = layout.tables[name].table
            shapes = {one: self._shards.ask(read_shape(one, table, layout.dialect)) for one in (model, shard)}
            known = {one: replace(shape, triggers=()) for one, shape in shapes.items() if shape is not None}
            differing += [line.partition("database: ")[2] for line in drift(name, known)]
        if differing:
            raise MoveError("\n".join(differing), hint="then `tenfold shard resume`; or `tenfold shard cancel`")

    def _capturing(self, work: Work) -> None:
        """Nobody writes reference rows any more: who has begun ends first."""
        for shard in self._members():
            there = {(number, event) for _, number, event in installed(work, shard).values()}
            for table in reference_tables(self._shards, self._layout(), shard):
                for event in ("bi", "bu", "bd"):
                    if (table.number, event) not in there:
                        name = trigger_name(work.move.token, table.number, event)
                        self._books.note(work.move, shard, [name])
                        self.progress.step("join.trigger")
                        define(work, shard, refusal(table, name, event))
            self.progress.step("join.fence")
            set_fences(work, shard, [REFERENCE], "state = 'fenced'")
        work.move = self._books.record(replace(work.move, phase=Phase.COPYING))

    def _copying(self, work: Work) -> None:
        shard, leaves = work.move.detail["joins"], work.move.detail.get("leaves")
        members = self._members()
        if not leaves:
            for table in reference_tables(self._shards, self._layout(), members[0]):
                compare_rows(self._shards, table, members)
                self.progress.step("join.copy")
                copy_rows(work, table, members[0], shard)
        self.progress.step("join.members")
        detail = work.move.detail | {"result": LEFT if leaves else JOINED}
        with self._books.changing(work.move) as driver:
            epoch = int(driver.execute("SELECT value FROM tf_catalog WHERE name = 'epoch'", ()).rows[0][0]) + 1
            driver.execute("UPDATE tf_catalog SET value = ? WHERE name = 'epoch'", (str(epoch),))
            driver.execute("DELETE FROM tf_bucket WHERE bucket = ?", (REFERENCE,))
            driver.execute(COPY, (REFERENCE, "", epoch))
            driver.execute("DELETE FROM tf_member WHERE shard = ?", (shard,))
            if not leaves:
                last = driver.execute("SELECT MAX(position) FROM tf_member", ()).rows[0][0]
                driver.execute("INSERT INTO tf_member (shard, position) VALUES (?, ?)", (shard, int(last) + 1))
            driver.execute(
                "UPDATE tf_move SET phase = 'cleaning', detail = ?, changed_s = ? WHERE id = ?",
                (json.dumps(detail, separators=(",", ":")), self._now(), work.move.id),
            )
        work.move = replace(work.move, phase=Phase.CLEANING, detail=detail)

    def _cleaning(self, work: Work) -> None:
        shard, result = work.move.detail["joins"], work.move.detail["result"]
        members = self._members()
        self.progress.step("join.lease")
        work.wait_leases()
        rows = self._shards.rows(self.catalog, "SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
        epoch = reference_entry(rows)[2]
        for one in members:
            self.progress.step("join.open")
            set_fences(work, one, [REFERENCE], f"state = 'open', epoch = {epoch:d}")
            drop_triggers(work, one)
            self._books.strike(work.move, one, [name for name in self._books.noted(one) if name.startswith("tf_") and
                                                name.rpartition("_")[2] in ("bi", "bu", "bd")])  # fmt: skip
            if one != self.catalog:
                with self._shards.transaction(one) as driver:
                    driver.execute("DELETE FROM tf_bucket WHERE bucket = ?", (REFERENCE,))
                    driver.execute(COPY, reference_entry(rows))
        if result == CANCELLED and not work.move.detail.get("leaves"):
            self._remove(work, shard)
        elif result == LEFT:
            self._books.strike(work.move, shard, self._books.noted(shard))
        elif result == JOINED:
            tables = self._layout().tables
            self._books.strike(work.move, shard, [name for name in self._books.noted(shard) if name in tables])
        self.progress.step("join.done")
        work.move = self._books.record(replace(work.move, phase=Phase.DONE))
        work.say(result, shard=shard)

    def _remove(self, work: Work, shard: str) -> None:
        """Take away what was created on a shard that is not to join after all."""
        tables = self._layout().tables
        noted = self._books.noted(shard)
        own = [name for name in noted if name not in tables]
        try:
            self._shards.ask(read_identity(shard))
            for name in [*[one for one in reversed(noted) if one in tables], *own]:
                self.progress.step("join.remove")
                quoted = self._shards.dialect.quoted(tables[name].table if name in tables else name)
                try:
                    self._shards.execute(shard, f"DROP TABLE IF EXISTS {quoted}")
                except StatementError:
                    continue  # an index of SQLite, which goes with its table
        except NodeDown:
            pass  # the database has gone; nothing is left to be taken away
        self._books.strike(work.move, shard, noted)

    # ---------------------------------------------------------------- what is known

    def _members(self) -> list[str]:
        return [str(name) for (name,) in self._shards.rows(self.catalog, MEMBERS)]

    def _cluster(self) -> str:
        return str(self._shards.rows(self.catalog, "SELECT value FROM tf_catalog WHERE name = 'cluster'")[0][0])

    def _layout(self) -> Layout:
        return layout_of(self.topology.database, self.catalog, tuple(self._members()))


def joinable(topology: Topology, shard: str) -> None:
    """Raises MoveError for a name that is not declared, or belongs to the platform already."""
    shards = Shards(topology)
    try:
        members = shards.ask(load(topology)).layout.shards
    finally:
        shards.close()
    if shard not in topology.database.shards:
        raise MoveError(
            f"{shard} is not in {topology.file.name}",
            hint=f"declare it under [database.shards], then `tenfold shard add {shard}`",
        )
    if shard in members:
        raise MoveError(f"{shard} belongs to the platform already", hint="`tenfold shard plan` shows what it may take")
