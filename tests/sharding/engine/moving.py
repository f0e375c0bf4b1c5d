"""A move made by hand, step by step and past Tenfold, to see what routers make of each state. Edge."""

from __future__ import annotations

import json

from tests.sharding.engine.sites import Site


class HandMadeMove:
    """One bucket from one shard to another; what a mover writes, without its waiting."""

    def __init__(self, site: Site, bucket: int, source: str, target: str) -> None:
        self.site, self.bucket, self.source, self.target = site, bucket, source, target
        self.epoch = 1

    def announce(self, phase: str = "copying") -> None:
        legs = json.dumps([{"source": self.source, "target": self.target, "buckets": str(self.bucket)}])
        self.site.look("shard_0", "DELETE FROM tf_move")
        self.site.look("shard_0", "INSERT INTO tf_move VALUES (1, ?, 1, ?, '{}', 0, 0)", (phase, legs))
        self.raise_version()

    def raise_version(self) -> None:
        self.site.look("shard_0", "UPDATE tf_catalog SET value = value + 1 WHERE name = 'version'")

    def fence(self, shard: str, state: str, to: str = "") -> None:
        values = (state, self.epoch, to, self.bucket)
        self.site.look(shard, "UPDATE tf_fence SET state = ?, epoch = ?, to_shard = ? WHERE bucket = ?", values)

    def bump(self) -> None:
        """The catalog gives the bucket to the target."""
        self.epoch += 1
        for shard in self.site.shards:
            values = (self.target, self.epoch, self.bucket)
            self.site.look(shard, "UPDATE tf_bucket SET shard = ?, epoch = ? WHERE bucket = ?", values)
        self.site.look("shard_0", "UPDATE tf_catalog SET value = ? WHERE name = 'epoch'", (str(self.epoch),))
        self.raise_version()

    def open(self) -> None:
        """The shards follow."""
        self.fence(self.source, "moved", self.target)
        self.fence(self.target, "open")

    def end(self) -> None:
        self.site.look("shard_0", "UPDATE tf_move SET phase = 'done'")
        self.raise_version()

    def copy(self, table: str, key: str, value: object) -> None:
        """Copy rows of a table."""
        for row in self.site.look(self.source, f"SELECT * FROM {table} WHERE {key} = ?", (value,)):
            self.site.look(self.target, f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
