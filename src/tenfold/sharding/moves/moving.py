"""What a person asks for, from a proposal to the end of a move: begin, resume, undo, finish, cancel, add. Edge."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenfold.errors import MoveError
from tenfold.sharding.catalog import MEMBERS, load
from tenfold.sharding.engine.status import status
from tenfold.sharding.layout import Pinned
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.creating import drop_empty, make_room
from tenfold.sharding.moves.joining import Joining, joinable
from tenfold.sharding.moves.mover import Mover, latest
from tenfold.sharding.moves.obstacles import Obstacle, platform_obstacles, server_obstacles
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.progress import Progress
from tenfold.sharding.moves.proposal import Proposal
from tenfold.sharding.moves.record import ACTIVE, REFERENCE, Move, move_of
from tenfold.sharding.moves.survey import leaving, survey
from tenfold.sharding.moves.wording import sentence
from tenfold.sharding.moves.work import Limits
from tenfold.topology.model import Topology


@dataclass(slots=True)
class Moving:
    """The moves of a platform, as one command asks for them."""

    topology: Topology
    progress: Progress
    limits: Limits

    def begin(self, proposal: Proposal) -> Move:
        """Begin what was proposed, and go on until it serves. Raises MoveError where something stands in the way."""
        refuse(proposal.obstacles)
        self._make_room(proposal)
        mover = self._mover()
        mover.begin([one.leg for one in proposal.legs], proposal.detail)
        return mover.run()

    def drained(self, shard: str) -> bool:
        """Let a drained shard leave; → whether it did. False while it owns anything."""
        move = self._active()
        if move is not None:
            return False
        shards = Shards(self.topology)
        try:
            home = self.topology.catalog_shard
            if (shard,) not in shards.rows(home, MEMBERS):
                return False
            if shards.rows(home, "SELECT 1 FROM tf_bucket WHERE shard = ? LIMIT 1", (shard,)):
                return False
        finally:
            shards.close()
        joining = Joining(self.topology, self.progress)
        try:
            joining.leave(shard)
        finally:
            joining.close()
        return True

    def let_go(self, shard: str) -> Move:
        """Let a shard leave that owns nothing. Raises MoveError where it cannot."""
        if not self.drained(shard):
            raise MoveError(f"{shard} cannot leave yet", hint="`tenfold shard status` says what is under way")
        return self._last()

    def resume(self, *, accept: bool = False) -> Move:
        """Go on with what is not done, or with what is left to do after it."""
        move = self._active()
        if move is None:
            for shard in self._leaving():
                if self.drained(shard):
                    return self._last()
            raise MoveError("no move is under way", hint="`tenfold shard plan` proposes one")
        if move.detail.get("joins"):
            joining = Joining(self.topology, self.progress)
            try:
                joining.resume()
            finally:
                joining.close()
            return self._last()
        return self._ended(self._mover().run(accept=accept))

    def undo(self) -> Move:
        """Carry back what was moved."""
        self._refuse_join("undone", "`tenfold shard cancel` takes it back")
        return self._ended(self._mover().undo())

    def finish(self) -> Move:
        """End a move that serves; a shard that it drained leaves."""
        self._refuse_join("finished", "`tenfold shard resume` goes on")
        if self._active() is None and self._leaving():
            return self.resume()
        return self._ended(self._mover().finish())

    def cancel(self) -> Move:
        """Give up what has not moved anything yet."""
        move = self._active()
        if move is not None and move.detail.get("joins"):
            joining = Joining(self.topology, self.progress)
            try:
                joining.cancel()
            finally:
                joining.close()
            return self._last()
        return self._ended(self._mover().cancel())

    def add(self, shard: str) -> Move:
        """Take a shard of the file in. Raises MoveError where something stands in the way."""
        joinable(self.topology, shard)
        joining = Joining(self.topology, self.progress)
        try:
            joining.open_database(shard)
            found = self.before_adding(shard)
            if found:
                # A process reads the file again with each of its leases: it may be about to learn of the shard.
                time.sleep(2 * self.topology.database.lease_s)
                found = self.before_adding(shard)
            refuse(found)
            joining.join(shard)
        finally:
            joining.close()
        return self._last()

    def before_adding(self, shard: str) -> list[Obstacle]:
        """What stands in the way of a shard that is to join."""
        seen = survey(self.topology, joins=[shard])
        taking_part = {*seen.catalog.layout.shards, shard}
        found = list(
            platform_obstacles(seen.settings, seen.catalog.moves, seen.routers, taking_part, seen.now_s)
        )  # fmt: skip
        for one in sorted(taking_part):
            found += server_obstacles(one, seen.facts[one])
        return found

    def _mover(self) -> Mover:
        return Mover(self.topology, self.progress, self.limits, lag=self._lag)

    def _lag(self, shard: str) -> float | None:
        """How far a shard that is a replica itself is behind; its own replicas are not seen from here."""
        if self.topology.database.engine.value != "mysql":
            return None
        return next((one.lag_s for one in status(self.topology).shards if one.shard == shard), None)

    def _make_room(self, proposal: Proposal) -> None:
        """A pinned table is on its shard alone: have an empty one where it goes."""
        for one in proposal.legs:
            for table in one.tables:
                shards = Shards(self.topology)
                try:
                    if shards.rows(self.topology.catalog_shard, ACTIVE):
                        raise MoveError("another move is not done", hint="`tenfold shard status` says which")
                    make_room(shards, one.leg.source, one.leg.target, table)
                finally:
                    shards.close()

    def _ended(self, move: Move) -> Move:
        """After a move is done: what only it needed."""
        if move.phase is not Phase.DONE:
            return move
        shards = Shards(self.topology)
        try:
            catalog = shards.ask(load(self.topology))
            known = {number: name for name, number in catalog.numbers.items()}
            for leg in move.legs:
                for number in leg.buckets:
                    if number <= REFERENCE or number not in known:
                        continue
                    placed = catalog.layout.tables[known[number]]
                    for shard in (leg.source, leg.target):
                        if isinstance(placed, Pinned) and placed.shard != shard:
                            drop_empty(shards, shard, placed.table)
        finally:
            shards.close()
        if move.detail.get("drains") and move.detail.get("result") == "moved":
            self.drained(move.detail["drains"])
        return move

    def _active(self) -> Move | None:
        shards = Shards(self.topology)
        try:
            rows = shards.rows(self.topology.catalog_shard, ACTIVE)
            return move_of(rows[0]) if rows else None
        finally:
            shards.close()

    def _leaving(self) -> list[str]:
        shards = Shards(self.topology)
        try:
            home = self.topology.catalog_shard
            members = {row[0] for row in shards.rows(home, MEMBERS)}
            return sorted(leaving(shards, home) & members)
        finally:
            shards.close()

    def _last(self) -> Move:
        move = latest(self.topology)
        assert move is not None  # noqa: S101  there was one a moment ago
        return move

    def _refuse_join(self, what: str, hint: str) -> None:
        move = self._active()
        if move is not None and move.detail.get("joins"):
            word = "leaving" if move.detail.get("leaves") else "joining"
            raise MoveError(f"{move.detail['joins']} is {word}, which cannot be {what}", hint=hint)


def refuse(obstacles: tuple[Obstacle, ...] | list[Obstacle]) -> None:
    """Raises MoveError that names all that stands in the way."""
    if obstacles:
        raise MoveError(
            "\n".join(f"{one.said}; {one.remedy}" for one in obstacles),
            hint="once it is out of the way, run it again",
        )


def state_of(topology: Topology) -> str:
    """What is under way, in a sentence, and what to do with it."""
    move = latest(topology)
    return sentence(move) if move is not None and move.phase is not Phase.DONE else "no move is under way"
