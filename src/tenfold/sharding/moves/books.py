"""What a mover writes into the catalog, each change with the version that tells routers of it. Edge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from tenfold.errors import MoveError, NodeDown, StatementError
from tenfold.sharding.catalog import MIGRATES, VERSION
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.keys import BUCKETS
from tenfold.sharding.moves.connections import Shards, taken_over
from tenfold.sharding.moves.phases import Phase, after
from tenfold.sharding.moves.record import ACTIVE, Leg, Move, legs_text, move_of
from tenfold.sharding.moves.tables import listed
from tenfold.sharding.ports import Driver

_ONE = "SELECT id, phase, token, legs, detail FROM tf_move WHERE id = ?"
_INSERT = (
    "INSERT INTO tf_move (id, phase, token, legs, detail, created_s, changed_s) VALUES (?, 'announced', ?, ?, ?, ?, ?)"
)
_PIN = "UPDATE tf_table SET detail = ? WHERE bucket = ?"


class Books:
    """The catalog, as a mover changes it. now: Unix time in seconds."""

    def __init__(self, shards: Shards, catalog: str, now: Callable[[], float]) -> None:
        self.shards, self.catalog, self._now = shards, catalog, now

    @contextmanager
    def changing(self, move: Move | None = None, *, announce: bool = True) -> Iterator[Driver]:
        """A transaction on the catalog, one after the other; with `move`, only as long as its token is ours.

        announce  raise the version. Raises MoveError for a move that another mover has taken over.
        """
        with self.shards.transaction(self.catalog, token=False) as driver:
            version = int(driver.execute(VERSION + self.shards.dialect.current_read, ()).rows[0][0])
            if move is not None:
                rows = driver.execute("SELECT token FROM tf_move WHERE id = ?", (move.id,)).rows
                if not rows or int(rows[0][0]) != move.token:
                    raise taken_over(self.catalog)
            yield driver
            if announce:
                driver.execute("UPDATE tf_catalog SET value = ? WHERE name = 'version'", (str(version + 1),))

    def active(self) -> Move | None:
        """The move that is not done."""
        rows = self.shards.rows(self.catalog, ACTIVE)
        return move_of(rows[0]) if rows else None

    def lease_s(self) -> float:
        """How long a router may go by what it knows."""
        return float(self.shards.rows(self.catalog, "SELECT value FROM tf_catalog WHERE name = 'lease_s'")[0][0])

    def announce(self, legs: Sequence[Leg], detail: dict[str, Any]) -> Move:
        """Record a new move. Raises MoveError while another is not done, or migrations run (retryable)."""
        with self.changing() as driver:
            rows = driver.execute(MIGRATES, ()).rows
            if rows:
                raise MoveError(
                    f"the deploy of {str(rows[0][0]).partition(' ')[2]} runs its migrations: no move begins meanwhile",
                    hint="wait for its end; where its deployer is dead, `tenfold rollback --unfinished`",
                    retryable=True,
                )
            rows = driver.execute(ACTIVE, ()).rows
            if rows:
                raise MoveError(
                    f"move {rows[0][0]} is {rows[0][1]}, and there is one at a time",
                    hint="end it: `tenfold shard resume`, finish, undo or cancel",
                )
            number, token = driver.execute(
                "SELECT COALESCE(MAX(id), 0) + 1, COALESCE(MAX(token), 0) FROM tf_move", ()
            ).rows[0]
            now_s = self._now()
            values = (number, token, legs_text(legs), _text(detail), now_s, now_s)
            driver.execute(_INSERT, values)
        return Move(number, Phase.ANNOUNCED, int(token), tuple(legs), detail)

    def draw_token(self, move: Move, tokens: Iterable[int]) -> Move:
        """Make a new token the move's, larger than all that the catalog knows and than `tokens`."""
        with self.changing() as driver:
            rows = driver.execute(_ONE, (move.id,)).rows
            if not rows or rows[0][1] == Phase.DONE:
                raise MoveError("the move has ended meanwhile", hint="`tenfold shard status` says how")
            found = move_of(rows[0])
            largest = driver.execute("SELECT COALESCE(MAX(token), 0) FROM tf_move", ()).rows[0][0]
            token = max([int(largest), *tokens]) + 1
            detail = found.detail | {"tokens": [*found.detail.get("tokens", []), token]}
            driver.execute(
                "UPDATE tf_move SET token = ?, detail = ?, changed_s = ? WHERE id = ?",
                (token, _text(detail), self._now(), move.id),
            )
        return replace(found, token=token, detail=detail)

    def advance(self, move: Move, event: str, **detail: Any) -> Move:
        """Record the phase that `event` leads to."""
        return self.record(replace(move, phase=after(move.phase, event)), **detail)

    def record(self, move: Move, *, announce: bool = True, **detail: Any) -> Move:
        """Record the phase and detail of a move; a detail that is None is taken out."""
        merged = {name: value for name, value in (move.detail | detail).items() if value is not None}
        with self.changing(move, announce=announce) as driver:
            driver.execute(
                "UPDATE tf_move SET phase = ?, detail = ?, changed_s = ? WHERE id = ?",
                (move.phase.value, _text(merged), self._now(), move.id),
            )
        return replace(move, detail=merged)

    def note(self, move: Move, shard: str, objects: Iterable[str]) -> None:
        """Write onto the ledger what is about to be created on a shard."""
        with self.changing(move, announce=False) as driver:
            known = {row[0] for row in driver.execute("SELECT object FROM tf_object WHERE shard = ?", (shard,)).rows}
            rows = [(shard, name, self._now()) for name in objects if name not in known]
            if rows:
                driver.execute_many("INSERT INTO tf_object (shard, object, created_s) VALUES (?, ?, ?)", rows)

    def noted(self, shard: str) -> list[str]:
        """What the ledger says of a shard."""
        return [
            row[0] for row in self.shards.rows(self.catalog, "SELECT object FROM tf_object WHERE shard = ?", (shard,))
        ]

    def strike(self, move: Move, shard: str, objects: Iterable[str]) -> None:
        """Take off the ledger what has gone from a shard."""
        with self.changing(move, announce=False) as driver:
            for name in objects:
                driver.execute("DELETE FROM tf_object WHERE shard = ? AND object = ?", (shard, name))

    def owners(self, move: Move, buckets: Iterable[int]) -> dict[int, tuple[str, int]]:
        """bucket → (shard, epoch), once every change that is under way has been committed or undone."""
        with self.changing(move, announce=False) as driver:
            rows = driver.execute("SELECT bucket, shard, epoch FROM tf_bucket", ()).rows
        found = {number: (shard, epoch) for number, shard, epoch in rows}
        return {bucket: found[bucket] for bucket in buckets}

    def bump(self, move: Move, buckets: Sequence[int], giver: str, taker: str) -> int:
        """Give `buckets` to `taker` → the new epoch. It is the point of no return; all of them or none."""
        with self.changing(move) as driver:
            epoch = int(driver.execute("SELECT value FROM tf_catalog WHERE name = 'epoch'", ()).rows[0][0]) + 1
            sql = f"UPDATE tf_bucket SET shard = ?, epoch = ? WHERE bucket IN ({listed(buckets)}) AND shard = ?"
            if driver.execute(sql, (taker, epoch, giver)).rowcount != len(buckets):
                raise MoveError(f"some buckets are not on {giver} any more", hint="run `tenfold shard status`")
            for bucket in buckets:
                if bucket >= BUCKETS:
                    driver.execute(_PIN, (taker, bucket))
            driver.execute("UPDATE tf_catalog SET value = ? WHERE name = 'epoch'", (str(epoch),))
        return epoch

    def copy_map(self, shard: str, owners: Mapping[int, tuple[str, int]]) -> None:
        """Bring a shard's copy of the map up to date, and its fences of what lies elsewhere; never back."""
        grouped: dict[tuple[str, int], list[int]] = {}
        for bucket, place in owners.items():
            grouped.setdefault(place, []).append(bucket)
        with self.shards.transaction(shard, token=False) as driver:
            for (name, epoch), buckets in grouped.items():
                where = f"WHERE bucket IN ({listed(buckets)}) AND epoch < {epoch:d}"
                if shard != self.catalog:  # whose own is the original
                    driver.execute(f"UPDATE tf_bucket SET shard = ?, epoch = ? {where}", (name, epoch))
                sql = f"UPDATE tf_fence SET to_shard = ?, epoch = ? {where} AND state = 'moved'"
                driver.execute(sql, (name, epoch))


def take_shards(shards: Shards, names: Iterable[str], token: int) -> None:
    """Write a mover's token onto shards; waits for transactions of the mover before. Raises MoveError for a larger."""
    for shard in names:
        with shards.transaction(shard, token=False) as driver:
            lock = shards.dialect.current_read
            rows = driver.execute(f"SELECT value FROM tf_shard WHERE name = 'mover'{lock}", ()).rows
            if rows and int(rows[0][0]) > token:
                raise taken_over(shard)
            if rows:
                driver.execute("UPDATE tf_shard SET value = ? WHERE name = 'mover'", (str(token),))
            else:
                driver.execute("INSERT INTO tf_shard (name, value) VALUES ('mover', ?)", (str(token),))


def shard_tokens(shards: Shards, names: Iterable[str]) -> list[int]:
    """The tokens of the last movers on shards."""
    return [
        int(row[0]) for shard in names for row in shards.rows(shard, "SELECT value FROM tf_shard WHERE name = 'mover'")
    ]


def _lock_name(token: int) -> str:
    # Locks have the whole server for a name space.
    return f"CONCAT('tf_mover_', LEFT(MD5(DATABASE()), 16), '_{token:d}')"


def end_ddl(shards: Shards, shard: str, tokens: Iterable[int]) -> None:
    """End the DDL of movers before, whose tokens these are; once theirs is not the last, they begin none."""
    if shards.dialect is not MYSQL:
        return  # in a transaction there, which looks at the token
    for token in tokens:
        for _ in range(200):
            ((holder,),) = shards.rows(shard, f"SELECT IS_USED_LOCK({_lock_name(token)})")
            if holder is None:
                break
            with suppress(StatementError):  # it has just gone
                shards.execute(shard, f"KILL {int(holder)}")
            shards.execute(shard, "DO SLEEP(0.05)")
        else:
            raise NodeDown(
                f"the mover before will not end its DDL on {shard}", hint="look at the server's process list"
            )


@contextmanager
def defining(shards: Shards, shard: str) -> Iterator[Driver]:
    """A connection for DDL on a shard, which no other mover can take over meanwhile."""
    if shards.dialect is not MYSQL:
        with shards.transaction(shard) as driver:
            yield driver
        return
    driver = shards.at(shard, "ddl")
    try:
        if driver.execute(f"SELECT GET_LOCK({_lock_name(shards.token)}, 10)", ()).rows[0][0] != 1:
            raise NodeDown(f"{shard} does not give the mover its lock", hint="try again")
        shards.check_token(driver, shard)
        yield driver
    finally:
        # With the connection the lock goes, too, whatever state an error has left them in.
        shards.forget(shard, "ddl")


def _text(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, separators=(",", ":"))
