"""Drives a move from phase to phase: begin, run (which is resume), cancel, undo, finish. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenfold.errors import MoveError
from tenfold.sharding.catalog import load
from tenfold.sharding.moves.books import Books, end_ddl, shard_tokens, take_shards
from tenfold.sharding.moves.catchup import catch_up
from tenfold.sharding.moves.clean import clean, markers
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.copy import about_rows, copy_table
from tenfold.sharding.moves.cutover import Cutover, settle
from tenfold.sharding.moves.follow import Follower
from tenfold.sharding.moves.installing import check, create_tables, create_triggers, refuse_remains, set_fences
from tenfold.sharding.moves.phases import Phase, after
from tenfold.sharding.moves.progress import Progress, Silence
from tenfold.sharding.moves.record import LATEST, Leg, Move, move_of
from tenfold.sharding.moves.tables import table_names
from tenfold.sharding.moves.throttle import Throttle
from tenfold.sharding.moves.work import Limits, Work
from tenfold.sharding.view import Catalog
from tenfold.topology.model import Topology

ENDINGS = {"cancel": "cancelled", "undo": "undone", "finish": "moved"}


class Mover:
    """Moves of one platform, one at a time. clock: monotonic seconds; now: Unix time."""

    def __init__(
        self, topology: Topology, progress: Progress | None = None, limits: Limits | None = None, *,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time, lag: Callable[[str], float | None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.topology, self.progress, self.limits = topology, progress or Silence(), limits or Limits()
        self._clock, self._sleep, self._now, self._lag = clock, sleep, now, lag

    def begin(self, legs: Sequence[Leg], detail: Mapping[str, Any] | None = None) -> Move:
        """Announce a move; nothing has moved yet. Raises MoveError for what cannot be moved, or while another is on.

        detail  what its record is to say besides
        """
        shards = Shards(self.topology)
        try:
            catalog = shards.ask(load(self.topology))
            shards.cluster = catalog.cluster
            _refuse(catalog, legs)
            tables = table_names(catalog.layout, dict(catalog.numbers), legs)
            self.progress.step("begin")
            return self._books(shards).announce(legs, {"tables": tables, **(detail or {})})
        finally:
            shards.close()

    def run(self, *, accept: bool = False) -> Move:
        """Take the active move over, whoever began it, and go on until it serves, or is done.

        accept  go on although a shard's server is another than the one the move began with
        Raises  MoveError where there is none, or it cannot go on; nothing is lost, and it may be run again.
        """
        return self._taken(None, accept)

    def cancel(self) -> Move:
        """End a move of which no bucket was cut over: its copies are deleted."""
        return self._taken("cancel")

    def undo(self) -> Move:
        """Carry back what was cut over, with all that was written since, and end the move."""
        return self._taken("undo")

    def finish(self) -> Move:
        """End a move that serves: what is left on the sources is deleted, and there is no way back."""
        return self._taken("finish")

    def _books(self, shards: Shards) -> Books:
        return Books(shards, self.topology.catalog_shard, self._now)

    def _taken(self, event: str | None, accept: bool = False) -> Move:
        shards = Shards(self.topology)
        try:
            move = self._books(shards).active()
            if move is None:
                raise MoveError("no move is under way", hint="`tenfold shard plan` proposes one")
            if event is not None and not (event == "finish" and move.phase is Phase.CLEANING):
                after(move.phase, event)
            work = self._taking_over(shards, move, accept)
            if event is not None and work.move.phase is not Phase.CLEANING:
                work.move = self._ended(work, event)
            return self._steps(work)
        finally:
            shards.close()

    def _taking_over(self, shards: Shards, move: Move, accept: bool) -> Work:
        """Draw a token, and write it everywhere before anything else."""
        books = self._books(shards)
        names = sorted(move.shards)
        self.progress.step("token.draw")
        earlier = [*move.detail.get("tokens", [])]
        move = books.draw_token(move, shard_tokens(shards, names))
        shards.close()
        shards.token = move.token
        shards.servers = {} if accept else dict(move.detail.get("servers", {}))
        self.progress.step("token.shards")
        take_shards(shards, names, move.token)
        for shard in names:
            end_ddl(shards, shard, earlier)
        work = Work(self.topology, shards, books, move, self.progress, self.limits, self._clock, self._sleep, self._lag)
        shards.cluster = work.catalog.cluster
        servers = {shard: shards.identity(shard) for shard in names}
        if servers != move.detail.get("servers"):
            work.move = books.record(move, announce=False, servers=servers)
        shards.servers = servers
        return work

    def _ended(self, work: Work, event: str) -> Move:
        """Record what a person asked for."""
        self.progress.step(f"phase.{event}")
        detail: dict[str, Any] = {"ending": ENDINGS[event]}
        if after(work.move.phase, event) is Phase.CLEANING:
            detail["markers"] = self._last_markers(work)
        return work.books.advance(work.move, event, **detail)

    def _steps(self, work: Work) -> Move:
        acts: dict[Phase, Callable[[Work], tuple[str, dict[str, Any]]]] = {
            Phase.ANNOUNCED: self._announced,
            Phase.CAPTURING: self._capturing,
            Phase.COPYING: self._copying,
            Phase.FOLLOWING: self._following,
            Phase.CUTTING: self._cutting,
            Phase.RETURNING: self._returning,
            Phase.CLEANING: self._cleaning,
        }
        while work.move.phase in acts:
            work.say("phase", phase=work.move.phase.value)
            event, detail = acts[work.move.phase](work)
            self.progress.step(f"phase.{event}")
            work.move = work.books.advance(work.move, event, **detail)
        work.say("phase", phase=work.move.phase.value)
        return work.move

    def _announced(self, work: Work) -> tuple[str, dict[str, Any]]:
        self.progress.step("announced.leases")
        work.wait_leases()
        return "leased", {}

    def _capturing(self, work: Work) -> tuple[str, dict[str, Any]]:
        for leg in work.move.legs:
            check(work, leg)
            refuse_remains(work, leg)
        for leg in work.move.legs:
            create_tables(work, leg.source, work.tables(leg), positions=False)
            create_tables(work, leg.target, work.tables(leg), positions=True)
            self.progress.step("capture.fences")
            set_fences(work, leg.target, leg.buckets, "state = 'incoming'", "state = 'moved'")
            set_fences(work, leg.source, leg.buckets, "captured = 1")
            create_triggers(work, leg.source, work.tables(leg))
        return "captured", {}

    def _copying(self, work: Work) -> tuple[str, dict[str, Any]]:
        throttle = self._throttle(work)
        total = sum(about_rows(work, leg) for leg in work.move.legs)
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            self.progress.rows(done, max(done, total))

        for leg in work.move.legs:
            for table in work.tables(leg):
                copy_table(work, leg, table, throttle, progress)
        return "copied", {}

    def _following(self, work: Work) -> tuple[str, dict[str, Any]]:
        for leg in work.move.legs:
            catch_up(work, Follower(work, leg.source, leg.target, work.tables(leg), leg.buckets))
        return "followed", {}

    def _cutting(self, work: Work) -> tuple[str, dict[str, Any]]:
        for leg in work.move.legs:
            tables = work.tables(leg)
            # Marks on the target come first: from its first write on, the way back must be known.
            create_triggers(work, leg.target, tables)
            set_fences(work, leg.target, leg.buckets, "captured = 1")
            mine = settle(work, leg.source, leg.target, leg.buckets)
            Cutover(work, leg.source, leg.target, tables, mine).run()
        _copy_maps(work)
        return "cut_over", {}

    def _returning(self, work: Work) -> tuple[str, dict[str, Any]]:
        # While it served, routers did not ask the shards: each has to learn first that it does not any more.
        self.progress.step("returning.leases")
        work.wait_leases()
        for leg in work.move.legs:
            tables = work.tables(leg)
            # First what the cutover left unfinished, then what an attempt to return did.
            settle(work, leg.source, leg.target, leg.buckets)
            back = settle(work, leg.target, leg.source, leg.buckets)
            if back:
                self.progress.step("return.fences")
                set_fences(work, leg.source, back, "state = 'incoming'", "state = 'moved'")
                catch_up(work, Follower(work, leg.target, leg.source, tables, back))
                Cutover(work, leg.target, leg.source, tables, back).run()
        _copy_maps(work)
        return "returned", {"markers": self._last_markers(work)}

    @staticmethod
    def _last_markers(work: Work) -> dict[str, int]:
        """Taken once no lease from before the last bump is left: whoever connects later knows who owns what."""
        work.wait_leases()
        return markers(work)

    def _cleaning(self, work: Work) -> tuple[str, dict[str, Any]]:
        self.progress.step("clean.leases")
        work.wait_leases()
        clean(work, self._throttle(work))
        gone = {"markers": None, "ending": None, "tokens": None, "servers": None}
        return "cleaned", gone | {"result": work.move.detail.get("ending", "moved")}

    def _throttle(self, work: Work) -> Throttle:
        limits = self.limits
        return Throttle(
            work.shards, limits.rows_s, limits.latency_ms, limits.lag_s, self._lag, self._clock, self._sleep
        )


def _refuse(catalog: Catalog, legs: Sequence[Leg]) -> None:
    """Raises MoveError for legs that cannot be moved."""
    seen: set[int] = set()
    hint = "`tenfold shard plan` proposes what can be moved"
    if not legs:
        raise MoveError("the move has no buckets", hint=hint)
    for leg in legs:
        for shard in (leg.source, leg.target):
            if shard not in catalog.layout.shards:
                raise MoveError(f"{shard} is not part of the platform", hint="add it: `tenfold shard add`")
        if leg.source == leg.target:
            raise MoveError(f"the buckets are on {leg.target} already", hint=hint)
        if not leg.buckets:
            raise MoveError("the move has no buckets", hint=hint)
        for bucket in leg.buckets:
            if bucket in seen:
                raise MoveError(f"bucket {bucket} is named twice", hint="name each once")
            seen.add(bucket)
            if catalog.map.shard_of(bucket) != leg.source:
                raise MoveError(f"bucket {bucket} is not on {leg.source}", hint=hint)


def _copy_maps(work: Work) -> None:
    """Bring the copies of the map on all shards up to date."""
    buckets = sorted(work.move.buckets)
    owners = work.books.owners(work.move, buckets)
    for shard in work.catalog.layout.shards:
        work.progress.step("map.copy")
        work.books.copy_map(shard, owners)


__all__ = ["Limits", "Mover", "latest"]


def latest(topology: Topology) -> Move | None:
    """The last move, done or not; None before the first."""
    shards = Shards(topology)
    try:
        rows = shards.rows(topology.catalog_shard, LATEST)
        return move_of(rows[0]) if rows else None
    finally:
        shards.close()
