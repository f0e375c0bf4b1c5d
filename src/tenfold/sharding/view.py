"""What a router knows of the platform at one moment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from tenfold.sharding.buckets import BucketMap
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.layout import Layout
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import Move


def _rests(move: Move) -> bool:
    return bool(move.legs) and move.phase in (Phase.SERVING, Phase.CLEANING)


_EVERY = frozenset(range(BUCKETS))


@dataclass(frozen=True)
class Catalog:
    """What the catalog says.

    watermarks  table (lower-case) → ids above it carry their bucket
    version     grows with every announcement, phase and epoch: two readings of one version are the same
    moves       those that are not done
    numbers     pinned table (lower-case) → the number by which it is fenced
    lease_s     how long a router may go by this without asking again
    """

    cluster: str
    map: BucketMap
    layout: Layout
    watermarks: Mapping[str, int]
    version: int = 0
    moves: tuple[Move, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    lease_s: float = 2.0

    @cached_property
    def announced(self) -> frozenset[int]:
        """Buckets, and numbers of pinned tables, that a move may take away at any moment: of them the shards are
        asked. Where it serves, or is cleaned up after, it takes nothing: it would say so before, and wait."""
        return frozenset(bucket for move in self.moves if not _rests(move) for bucket in move.buckets)

    @cached_property
    def moving(self) -> frozenset[int]:
        """All buckets of moves that are not done: copies and remains of their rows lie elsewhere by right."""
        return frozenset(bucket for move in self.moves for bucket in move.buckets)

    @cached_property
    def owning(self) -> tuple[str, ...]:
        """The shards that own a bucket."""
        owners = set(self.map.owners)
        return tuple(shard for shard in self.layout.shards if shard in owners)

    def renewed_since(self, before: Catalog) -> frozenset[str]:
        """Shards that a move is leaving since `before`: connections to them that were opened until then must go."""
        known = {(move.id, move.token) for move in before.moves if move.phase is Phase.CLEANING}
        return frozenset(
            shard
            for move in self.moves
            if move.phase is Phase.CLEANING and (move.id, move.token) not in known
            for shard in move.shards
        )

    def led_on(self, bucket: int, to: str, epoch: int) -> Catalog:
        """What is known once a shard has said where a bucket is; of no version, so that it is never trusted."""
        return replace(self, map=self.map.moved([bucket], to, epoch), version=-1)

    def hidden_on(self, shard: str) -> frozenset[int]:
        """Announced buckets of which a shard may hold rows that are not to be seen: copies on their way, remains."""
        return self._hidden.get(shard, frozenset())

    def announced_on(self, shard: str) -> frozenset[int]:
        """Announced buckets that a shard owns."""
        return self._owned.get(shard, frozenset())

    def owned_by(self, shard: str) -> frozenset[int]:
        """All that a shard alone has: buckets, and pinned tables."""
        return self._all.get(shard, frozenset())

    def foreign_to(self, shard: str) -> frozenset[int]:
        """All buckets that a shard does not have."""
        return self._foreign.setdefault(shard, _EVERY - self.owned_by(shard))

    @cached_property
    def _foreign(self) -> dict[str, frozenset[int]]:
        return {}

    @cached_property
    def _all(self) -> Mapping[str, frozenset[int]]:
        found: dict[str, set[int]] = {}
        for bucket in (*range(BUCKETS), *self.map.pinned):
            found.setdefault(self.map.shard_of(bucket), set()).add(bucket)
        return {shard: frozenset(buckets) for shard, buckets in found.items()}

    @cached_property
    def _hidden(self) -> Mapping[str, frozenset[int]]:
        legs = [leg for move in self.moves for leg in move.legs]
        return {
            shard: frozenset(
                bucket
                for leg in legs
                if shard in (leg.source, leg.target)
                for bucket in leg.buckets
                if self.map.shard_of(bucket) != shard
            )
            for shard in {shard for leg in legs for shard in (leg.source, leg.target)}
        }

    @cached_property
    def _owned(self) -> Mapping[str, frozenset[int]]:
        found: dict[str, set[int]] = {}
        for bucket in self.announced:
            owner = self.map.shard_of(bucket)
            for shard in (owner,) if owner else self.layout.shards:
                found.setdefault(shard, set()).add(bucket)
        return {shard: frozenset(buckets) for shard, buckets in found.items()}
