"""A writer: changes rows that are its own, and moves amounts between accounts that are everybody's. Edge."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.errors import ConstraintError, CrossShardError, NodeError
from tests.faults.moving.board import Board
from tests.faults.moving.errors import outcome
from tests.faults.moving.handle import Handle, Speaks
from tests.faults.moving.log import DOUBT, NOT, OK, Log
from tests.faults.moving.world import SLOTS, Key, Own, World, email

Row = tuple[Any, ...]
"""After a write: (v, e-mail) of a user, (v, id) of an item or post, (v,) of a pillar. None: there is no row."""
Act = Callable[[Handle], int | None]
"""Does it → the number of rows it was told of, where that says something."""
KEPT_IN_PLAY = 6


class _Undo(Exception):
    """The writer changes its mind."""


@dataclass
class Writer:
    """One thread or task of a writing router."""

    number: int
    engine: str
    own: Own
    world: World
    board: Board
    log: Log
    drawn: random.Random
    keys: dict[int, Key] = field(default_factory=dict)
    places: dict[Key, int] = field(default_factory=dict)
    rows: dict[int, Row | None] = field(default_factory=dict)
    version: int = 0
    next_id: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.keys = self.own.keys()
        self.places = {key: place for place, key in self.keys.items()}
        self.rows = dict.fromkeys(self.keys)
        for user in self.own.pillars:
            self.rows[self.places[Key("pillars", user)]] = (0,)
        self.next_id = (self.number + 1) * 1_000_000

    def run(self, db: Handle) -> None:
        """Until the board says that it is enough."""
        acts: list[tuple[Callable[[Handle], None], int]] = [
            (self.user, 6), (self.item, 5), (self.items, 3), (self.pillar, 3), (self.pillars, 3), (self.several, 2),
            (self.mixed, 4), (self.two_users, 2), (self.post, 3), (self.transfer, 6),
        ]  # fmt: skip
        chosen, weights = [act for act, _ in acts], [weight for _, weight in acts]
        while not self.board.stopped:
            self.drawn.choices(chosen, weights)[0](db)
            self.done += 1
            # The processor has to do for all.
            time.sleep(self.drawn.choice([0.001, 0.003, 0.008]))

    # --- what all writes share ---

    def attempt(
        self, db: Handle, changes: dict[int, Row | None], act: Act, *, alone: bool = True, rows: int | None = None
    ) -> str:
        """Write: intent, act, outcome. A key whose write is in doubt is left alone from then on.

        changes  place → the row as it will be
        alone    all of it happens or nothing; else each key by itself
        rows     how many it must be told of
        """
        begun = {}
        self.log.line(op=self.version, what=act.__name__, keys=changes, alone=alone)
        for place, row in changes.items():
            home = row is not None and (self.keys[place].table != "users" or row[1] == email(self.keys[place].user))
            begun[place] = self.board.begin(place, self.version, present=row is not None, home=home)
        end, why = self._end_of(db, act, alone=alone, rows=rows)
        for place, row in changes.items():
            home = row is not None and (self.keys[place].table != "users" or row[1] == email(self.keys[place].user))
            if end == OK:
                self.rows[place] = row
                self.board.acknowledge(place, self.version, present=row is not None, home=home)
            elif end == NOT:
                self.board.give_up(place, begun[place])
            else:
                self.rows.pop(place)
        self.log.line(end=end, of=self.version, why=why)
        if end != DOUBT and self.drawn.random() < 0.25:
            self.look_back(db, self.drawn.choice(list(changes)))
        return end

    def look_back(self, db: Handle, place: int) -> None:
        """Read one of its own rows, which nobody else writes: it must be exactly as it was left."""
        key, row = self.keys[place], self.rows[place]
        sql, values = {
            "users": ("SELECT v, email FROM users WHERE id = ?", [key.user]),
            "items": ("SELECT v, id FROM items WHERE user_id = ? AND slot = ?", [key.user, key.slot]),
            "pillars": ("SELECT v FROM pillars WHERE user_id = ?", [key.user]),
            "posts": ("SELECT v, id FROM posts WHERE slot = ?", [key.slot]),
        }[key.table]
        try:
            rows = db.execute(sql, values).rows
        except NodeError:
            return
        if rows != ([] if row is None else [row]):
            self.log.line(wrong=f"after op {self.version} {key} (place {place}) was read as {rows}, not as {row}")

    def _end_of(self, db: Handle, act: Act, *, alone: bool, rows: int | None) -> tuple[str, str]:
        try:
            told = act(db)
        except _Undo:
            return NOT, "undone"
        except Exception as error:  # what no fault explains is told of
            end = outcome(error, alone=alone)
            why = f"{type(error).__name__}: {error}"
            if end is None or isinstance(error, ConstraintError):
                self.log.line(wrong=f"op {self.version} ({act.__name__}): {why}", trace=traceback.format_exc())
            return end or DOUBT, why
        if rows is not None and told != rows:
            self.log.line(wrong=f"op {self.version} ({act.__name__}) was told of {told} rows, not of {rows}")
        return OK, ""

    def begin(self) -> int:
        """The version of the next write."""
        self.version += 1
        return self.version

    def fresh(self) -> int:
        """An id that nobody has had."""
        self.next_id += 1
        return self.next_id

    def usable(self, table: str, users: Iterable[int]) -> list[int]:
        """Places of a table's keys of some users that are not in doubt."""
        wanted = set(users)
        return [place for place in self.rows if self.keys[place].table == table and self.keys[place].user in wanted]

    def a_user(self) -> int | None:
        """One of those in play; others take the place of those in doubt."""
        found = [user for user in self.own.users if self.places[Key("users", user)] in self.rows][:KEPT_IN_PLAY]
        return self.drawn.choice(found) if found else None

    # --- rows of users ---

    def user(self, db: Handle) -> None:
        """Insert, update, rename or delete one."""
        user = self.a_user()
        if user is None:
            return
        place, v = self.places[Key("users", user)], self.begin()
        row = self.rows[place]
        if row is None:
            address = email(user, home=self.drawn.random() < 0.7)

            def insert_user(db: Handle) -> int:
                return db.execute("INSERT INTO users (id, email, v) VALUES (?, ?, ?)", (user, address, v)).rowcount

            self.attempt(db, {place: (v, address)}, insert_user, rows=1)
        else:
            self._change_user(db, place, user, v, row)

    def _change_user(self, db: Handle, place: int, user: int, v: int, row: Row) -> None:
        def update_user(db: Handle) -> int:
            return db.execute("UPDATE users SET v = ? WHERE id = ?", (v, user)).rowcount

        def rename_user(db: Handle) -> int:
            return db.execute("UPDATE users SET email = ?, v = ? WHERE id = ?", (other, v, user)).rowcount

        def delete_user(db: Handle) -> int:
            return db.execute("DELETE FROM users WHERE id = ?", (user,)).rowcount

        other = email(user, home=row[1] != email(user))
        how = self.drawn.random()
        if how < 0.5:
            self.attempt(db, {place: (v, row[1])}, update_user, rows=1)
        elif how < 0.7:
            self.attempt(db, {place: (v, other)}, rename_user, rows=1)
        else:
            self.attempt(db, {place: None}, delete_user, rows=1)

    def two_users(self, db: Handle) -> None:
        """Two users in one transaction, if one shard has both."""
        there = [place for place in self.usable("users", self.own.users) if self.rows[place] is not None]
        if len(there) < 2:
            return
        some, v = self.drawn.sample(there, 2), self.begin()

        def update_two(db: Handle) -> int:
            with db.transaction() as tx:
                return sum(
                    tx.execute("UPDATE users SET v = ? WHERE id = ?", (v, self.keys[place].user)).rowcount
                    for place in some
                )

        self.attempt(db, {place: (v, *(self.rows[place] or ())[1:]) for place in some}, update_two, rows=2)

    # --- rows of items ---

    def item(self, db: Handle) -> None:
        """REPLACE through a second unique key, an upsert, or a delete."""
        user = self.a_user()
        places = self.usable("items", [user]) if user else []
        if not user or not places:
            return
        place, v = self.drawn.choice(places), self.begin()
        slot, row = self.keys[place].slot, self.rows[place]

        def delete_item(db: Handle) -> int:
            return db.execute("DELETE FROM items WHERE user_id = ? AND slot = ?", (user, slot)).rowcount

        def replace_item(db: Handle) -> None:
            self.replace_item(db, new, user, slot, v)

        def upsert_item(db: Handle) -> None:
            self.upsert_item(db, new, user, slot, v)

        how, new = self.drawn.random(), self.fresh()
        if how < 0.25:
            self.attempt(db, {place: None}, delete_item, rows=0 if row is None else 1)
        elif how < 0.65:
            self.attempt(db, {place: (v, new)}, replace_item)
        else:
            self.attempt(db, {place: (v, new if row is None else row[1])}, upsert_item)

    @staticmethod
    def replace_item(db: Speaks, new: int, user: int, slot: int, v: int) -> None:
        db.execute("REPLACE INTO items (id, user_id, slot, v) VALUES (?, ?, ?, ?)", (new, user, slot, v))

    def upsert_item(self, db: Speaks, new: int, user: int, slot: int, v: int) -> None:
        sql = "INSERT INTO items (id, user_id, slot, v) VALUES (?, ?, ?, ?)" + self.or_update("user_id, slot")
        db.execute(sql, (new, user, slot, v))

    def or_update(self, columns: str) -> str:
        """The end of an upsert that sets v."""
        if self.engine == "sqlite":
            return f" ON CONFLICT ({columns}) DO UPDATE SET v = excluded.v"
        return " ON DUPLICATE KEY UPDATE v = VALUES(v)"

    def items(self, db: Handle) -> None:
        """All items of a user by one statement."""
        user = self.a_user()
        places = self.usable("items", [user]) if user else []
        if not user or len(places) < SLOTS:
            return
        there = {place: row for place in places if (row := self.rows[place]) is not None}
        v = self.begin()

        def update_items(db: Handle) -> int:
            return db.execute("UPDATE items SET v = ? WHERE user_id = ?", (v, user)).rowcount

        def delete_items(db: Handle) -> int:
            return db.execute("DELETE FROM items WHERE user_id = ?", (user,)).rowcount

        def insert_items(db: Handle) -> int:
            values = [value for place, new in fresh.items() for value in (new, user, self.keys[place].slot, v)]
            rows = ", ".join(["(?, ?, ?, ?)"] * len(fresh))
            return db.execute(f"INSERT INTO items (id, user_id, slot, v) VALUES {rows}", values).rowcount

        if not there:
            fresh = {place: self.fresh() for place in places}
            self.attempt(db, {place: (v, new) for place, new in fresh.items()}, insert_items, rows=len(fresh))
        elif self.drawn.random() < 0.7:
            self.attempt(db, {place: (v, row[1]) for place, row in there.items()}, update_items, rows=len(there))
        else:
            self.attempt(db, dict.fromkeys(there), delete_items, rows=len(there))

    def mixed(self, db: Handle) -> None:
        """A user and its items in one transaction, sometimes undone by the writer itself."""
        user = self.a_user()
        places = self.usable("items", [user]) if user else []
        if not user or len(places) < 2:
            return
        first, second = self.drawn.sample(places, 2)
        owner, v, new = self.places[Key("users", user)], self.begin(), self.fresh()
        row, undo = self.rows[owner], self.drawn.random() < 0.15
        changes: dict[int, Row | None] = {first: (v, new), second: None}
        if row is not None:
            changes[owner] = (v, row[1])

        def change_all(db: Handle) -> None:
            with db.transaction() as tx:
                if row is not None:
                    tx.execute("UPDATE users SET v = ? WHERE id = ?", (v, user))
                self.replace_item(tx, new, user, self.keys[first].slot, v)
                slot = self.keys[second].slot
                gone = tx.execute("DELETE FROM items WHERE user_id = ? AND slot = ?", (user, slot)).rowcount
                if gone != (self.rows[second] is not None):
                    self.log.line(
                        wrong=f"op {v} (change_all) deleted {gone} items of slot {slot}; {self.rows[second]} was there"
                    )
                if undo:
                    raise _Undo

        self.attempt(db, changes, change_all)

    # --- rows that are always there ---

    def pillar(self, db: Handle) -> None:
        """One."""
        places = self.usable("pillars", self.own.pillars)
        if places:
            place, v = self.drawn.choice(places), self.begin()

            def update_pillar(db: Handle) -> int:
                return db.execute("UPDATE pillars SET v = ? WHERE user_id = ?", (v, self.keys[place].user)).rowcount

            self.attempt(db, {place: (v,)}, update_pillar, rows=1)

    def pillars(self, db: Handle) -> None:
        """Several by one statement, whichever shards have them."""
        places = self.usable("pillars", self.own.pillars)
        if len(places) > 3:
            some, v = self.drawn.sample(places, 3), self.begin()

            def update_pillars(db: Handle) -> int:
                users = [self.keys[place].user for place in some]
                return db.execute("UPDATE pillars SET v = ? WHERE user_id IN (?, ?, ?)", (v, *users)).rowcount

            self.attempt(db, {place: (v,) for place in some}, update_pillars, alone=False, rows=3)

    def several(self, db: Handle) -> None:
        """Several by one statement for each."""
        places = self.usable("pillars", self.own.pillars)
        if len(places) > 3:
            some, v = self.drawn.sample(places, 3), self.begin()

            def update_each(db: Handle) -> int:
                rows = [(v, self.keys[place].user) for place in some]
                return db.executemany("UPDATE pillars SET v = ? WHERE user_id = ?", rows).rowcount

            self.attempt(db, {place: (v,) for place in some}, update_each, alone=False, rows=3)

    # --- the pinned table ---

    def post(self, db: Handle) -> None:
        """Insert or replace, upsert, update or delete a row of it."""
        places = [place for place in self.rows if self.keys[place].table == "posts"]
        if not places:
            return
        place, v, new, how = self.drawn.choice(places), self.begin(), self.fresh(), self.drawn.random()
        slot, row = self.keys[place].slot, self.rows[place]

        def delete_post(db: Handle) -> int:
            return db.execute("DELETE FROM posts WHERE slot = ?", (slot,)).rowcount

        def update_post(db: Handle) -> int:
            return db.execute("UPDATE posts SET v = ? WHERE slot = ?", (v, slot)).rowcount

        def replace_post(db: Handle) -> None:
            db.execute("REPLACE INTO posts (id, slot, v) VALUES (?, ?, ?)", (new, slot, v))

        def upsert_post(db: Handle) -> None:
            db.execute("INSERT INTO posts (id, slot, v) VALUES (?, ?, ?)" + self.or_update("slot"), (new, slot, v))

        if how < 0.2:
            self.attempt(db, {place: None}, delete_post, rows=0 if row is None else 1)
        elif how < 0.4 and row is not None:
            self.attempt(db, {place: (v, row[1])}, update_post, rows=1)
        elif how < 0.7:
            self.attempt(db, {place: (v, new)}, replace_post)
        else:
            self.attempt(db, {place: (v, new if row is None else row[1])}, upsert_post)

    # --- transfers ---

    def transfer(self, db: Handle) -> None:
        """An amount from one account to another: in one transaction, or as a debit that says so and then a credit."""
        source, target = self.drawn.sample(self.world.accounts, 2)
        amount, number = self.drawn.randint(1, 9), 2 * self.fresh()
        legs = [(number, source, -amount), (number + 1, target, amount)]
        self.log.line(transfer=number, legs=legs)
        end, why, crossed = self._carried(db, legs)
        self.log.line(carried=number, end=end, why=why)
        if not crossed:
            return
        for leg in legs:
            for _ in range(3):
                self.log.line(transfer=leg[0], legs=[leg])
                end, why, _ = self._carried(db, [leg])
                self.log.line(carried=leg[0], end=end, why=why)
                if end != NOT:
                    break
            if end != OK:
                return

    def _carried(self, db: Handle, legs: list[tuple[int, int, int]]) -> tuple[str, str, bool]:
        try:
            with db.transaction() as tx:
                for number, user, amount in sorted(legs, key=lambda leg: leg[1]):
                    changed = tx.execute("UPDATE accounts SET balance = balance + ? WHERE user_id = ?", (amount, user))
                    if changed.rowcount != 1:
                        self.log.line(wrong=f"transfer {number}: the account of {user} was not found")
                    tx.execute("INSERT INTO transfers (id, user_id, amount) VALUES (?, ?, ?)", (number, user, amount))
        except CrossShardError as error:
            crossed = "the transaction is on" in str(error) and len(legs) > 1
            if not crossed:
                self.log.line(wrong=f"transfer {legs}: {error}")
            return NOT, str(error), crossed
        except Exception as error:  # what no fault explains is told of
            end = outcome(error, alone=True)
            if end is None or isinstance(error, ConstraintError):
                self.log.line(wrong=f"transfer {legs}: {type(error).__name__}: {error}")
            return end or DOUBT, f"{type(error).__name__}: {error}", False
        return OK, "", False


def write(number: int, engine: str, world: World, root: Path, db: Handle, seed: str) -> None:
    """Be writer `number` until the board says that it is enough."""
    own = world.own[number]
    board, log = Board(root / "board", world.size), Log(root / f"writer_{number}.log")
    Writer(number, engine, own, world, board, log, random.Random(seed)).run(db)
