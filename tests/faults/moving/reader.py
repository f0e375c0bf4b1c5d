"""A reader: compares what it reads with what was acknowledged or read before it asked. Edge."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.faults.moving.board import Board
from tests.faults.moving.errors import outcome
from tests.faults.moving.handle import Handle
from tests.faults.moving.log import Log
from tests.faults.moving.world import LASTING_POSTS, SLOTS, Key, World, email


class Reader:
    """One thread of a reading router."""

    def __init__(self, number: int, world: World, board: Board, log: Log, drawn: random.Random) -> None:
        self.number, self.world, self.board, self.log, self.drawn = number, world, board, log, drawn
        self.places = {key: place for own in world.own for place, key in own.keys().items()}
        self.users = [user for own in world.own for user in own.users[:8]]
        self.weights = world.pillars
        self.done = 0

    def run(self, db: Handle) -> None:
        """Until the board says that it is enough."""
        acts: list[tuple[Callable[[Handle], None], int]] = [
            (self.user, 5), (self.by_address, 4), (self.join, 4), (self.pillar, 4), (self.in_transaction, 2),
            (self.post, 3), (self.totals, 4), (self.all_pillars, 3), (self.account, 3), (self.several, 3),
        ]  # fmt: skip
        chosen, weights = [act for act, _ in acts], [weight for _, weight in acts]
        while not self.board.stopped:
            act = self.drawn.choices(chosen, weights)[0]
            try:
                act(db)
                self.done += 1
            except Exception as error:  # what no fault explains is told of
                if outcome(error, alone=True) is None:
                    why = f"{act.__name__}: {type(error).__name__}: {error}"
                    self.log.line(wrong=why, trace=traceback.format_exc())
            time.sleep(self.drawn.choice([0.001, 0.003, 0.008]))
        self.log.line(done=self.done)

    def judge(self, key: Key, floor: int, seen: int | None, how: str, *, by_home: bool = False) -> None:
        """Write down what is wrong with a read of one row."""
        wrong = self.board.wrong(self.number, self.places[key], floor, seen, by_home=by_home)
        if wrong:
            self.log.line(wrong=f"{how}: {key} (place {self.places[key]}): {wrong}")

    def floor(self, key: Key) -> int:
        return self.board.floor(self.places[key])

    # --- rows ---

    def user(self, db: Handle) -> None:
        """By its key."""
        key = Key("users", self.drawn.choice(self.users))
        floor = self.floor(key)
        rows = db.execute("SELECT v FROM users WHERE id = ?", (key.user,)).rows
        self.judge(key, floor, rows[0][0] if rows else None, "user by key")

    def by_address(self, db: Handle) -> None:
        """By what is unique over all shards."""
        key = Key("users", self.drawn.choice(self.users))
        floor = self.floor(key)
        rows = db.execute("SELECT id, v FROM users WHERE email = ?", (email(key.user),)).rows
        self.judge(key, floor, rows[0][1] if rows else None, "user by address", by_home=True)
        if len(rows) > 1:
            self.log.line(wrong=f"user by address: {rows}")

    def join(self, db: Handle) -> None:
        """A user with its items."""
        user = self.drawn.choice(self.users)
        keys = [Key("users", user), *(Key("items", user, slot) for slot in range(SLOTS))]
        floors = {key: self.floor(key) for key in keys}
        sql = "SELECT u.v, i.slot, i.v FROM users u LEFT JOIN items i ON i.user_id = u.id WHERE u.id = ?"
        rows = db.execute(sql, (user,)).rows
        self.judge(keys[0], floors[keys[0]], rows[0][0] if rows else None, "user of a join")
        found = {slot: v for _, slot, v in rows}
        if rows:
            for key in keys[1:]:
                self.judge(key, floors[key], found.get(key.slot), "item of a join")
        if len(found) != len(rows) or len({row[0] for row in rows}) > 1:
            self.log.line(wrong=f"join of user {user}: {rows}")

    def pillar(self, db: Handle) -> None:
        """A row that is always there."""
        key = Key("pillars", self.drawn.choice(list(self.weights)))
        floor = self.floor(key)
        rows = db.execute("SELECT v FROM pillars WHERE user_id = ?", (key.user,)).rows
        self.judge(key, floor, rows[0][0] if rows else None, "pillar by key")

    def several(self, db: Handle) -> None:
        """Some by one statement."""
        keys = [Key("pillars", user) for user in self.drawn.sample(list(self.weights), 4)]
        floors = {key: self.floor(key) for key in keys}
        rows = db.execute("SELECT user_id, v FROM pillars WHERE user_id IN (?, ?, ?, ?)", [k.user for k in keys]).rows
        self._each_once(keys, floors, rows, "pillars by keys")

    def in_transaction(self, db: Handle) -> None:
        """Two statements that see one moment, or none before they began."""
        user = self.drawn.choice(self.users)
        keys = [Key("items", user, slot) for slot in range(SLOTS)]
        owner = Key("users", user)
        floors = {key: self.floor(key) for key in [owner, *keys]}
        with db.transaction() as tx:
            first = tx.execute("SELECT v FROM users WHERE id = ?", (user,)).rows
            second = tx.execute("SELECT slot, v FROM items WHERE user_id = ?", (user,)).rows
        self.judge(owner, floors[owner], first[0][0] if first else None, "user in a transaction")
        found = dict(second)
        for key in keys:
            self.judge(key, floors[key], found.get(key.slot), "item in a transaction")

    def post(self, db: Handle) -> None:
        """Of the pinned table: one, and how many are always there."""
        own = self.drawn.choice(self.world.own)
        key = Key("posts", 0, self.drawn.choice(own.posts))
        floor = self.floor(key)
        rows = db.execute("SELECT v FROM posts WHERE slot = ?", (key.slot,)).rows
        self.judge(key, floor, rows[0][0] if rows else None, "post")
        ((count,),) = db.execute("SELECT COUNT(*) FROM posts WHERE slot < ?", (LASTING_POSTS,)).rows
        if count != LASTING_POSTS:
            self.log.line(wrong=f"{count} of {LASTING_POSTS} posts that are always there")

    # --- scatters ---

    def totals(self, db: Handle) -> None:
        """Over rows that are always there, nothing may be counted twice or missed."""
        weights = list(self.weights.values())
        wanted: list[tuple[int, ...]]
        if self.drawn.random() < 0.5:
            wanted = [(len(weights), sum(weights))]
            sql = "SELECT COUNT(*), SUM(weight) FROM pillars"
        else:
            wanted = sorted((weight, weights.count(weight)) for weight in set(weights))
            sql = "SELECT weight, COUNT(*) FROM pillars GROUP BY weight ORDER BY weight"
        rows = [tuple(map(int, row)) for row in db.execute(sql).rows]
        if rows != wanted:
            self.log.line(wrong=f"{sql}: {rows}, not {wanted}")

    def all_pillars(self, db: Handle) -> None:
        """Each row once, and none older than at the beginning."""
        keys = [Key("pillars", user) for user in self.weights]
        floors = {key: self.floor(key) for key in keys}
        rows = db.execute("SELECT user_id, v FROM pillars").rows
        self._each_once(keys, floors, rows, "all pillars")

    def _each_once(self, keys: list[Key], floors: dict[Key, int], rows: list[tuple[int, ...]], how: str) -> None:
        found: dict[int, int] = dict(rows)  # type: ignore[arg-type]  # of two columns
        if len(found) != len(rows):
            twice = sorted(user for user in found if [row[0] for row in rows].count(user) > 1)
            self.log.line(wrong=f"{how}: users {twice} were seen twice")
        for key in keys:
            self.judge(key, floors[key], found.get(key.user), how)

    def account(self, db: Handle) -> None:
        """What lies on an account is what was transferred to it: no transaction is seen by halves."""
        user = self.drawn.choice(self.world.accounts)
        sql = (
            "SELECT a.balance, COALESCE(SUM(t.amount), 0) FROM accounts a LEFT JOIN transfers t"
            " ON t.user_id = a.user_id WHERE a.user_id = ? GROUP BY a.user_id, a.balance"
        )
        rows = db.execute(sql, (user,)).rows
        if len(rows) != 1 or rows[0][0] != rows[0][1]:
            self.log.line(wrong=f"account of {user}: {rows}")


def read(number: int, world: World, root: Path, db: Handle, seed: str) -> None:
    """Be reader `number` until the board says that it is enough."""
    board, log = Board(root / "board", world.size), Log(root / f"reader_{number}.log")
    Reader(number, world, board, log, random.Random(seed)).run(db)
