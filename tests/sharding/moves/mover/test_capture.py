"""What is marked, what is refused: every way to write a row, on tables that are on the move. Edge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tenfold.errors import FenceError, MoveError
from tenfold.sharding.engine.router import opener
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.ports import Driver
from tests.sharding.moves.mover.places import Kill, Killed, Place


class Watched:
    """A source whose capture is on, through a router's kind of connection. deposits: table 0 of the move."""

    def __init__(self, place: Place, driver: Driver, leg: Leg, users: list[int], still: int) -> None:
        self.place, self.driver, self.leg, self.users, self.still = place, driver, leg, users, still
        active = place.active()
        assert active is not None
        self.marks_of = f"tf_d{active.id}_0"
        self.lite = place.site.engine == "sqlite"

    def run(self, sql: str, *params: Any) -> int:
        if self.lite:
            sql = sql.replace("INSERT IGNORE", "INSERT OR IGNORE").replace("UPDATE IGNORE", "UPDATE OR IGNORE")
        return self.driver.execute(sql, params).rowcount

    def marked(self) -> set[int]:
        """Ids of deposits that are marked now; they are forgotten."""
        found = {row[0] for row in self.driver.execute(f"SELECT id FROM {self.marks_of}", ()).rows}
        self.driver.execute(f"DELETE FROM {self.marks_of}", ())
        return found

    def fence(self, user: int, state: str) -> None:
        bucket = bucket_of(user, KeyType.INTEGER)
        self.driver.execute("UPDATE tf_fence SET state = ? WHERE bucket = ?", (state, bucket))


@pytest.fixture
def watched(place: Place) -> Iterator[Watched]:
    """Users 0 and 1 are of buckets that move, `still` of one that does not; deposits 1 and 2 of user 0, 3 of user 1."""
    leg = place.leg(count=4)
    users = place.users(leg.buckets[:1], 1) + place.users(leg.buckets[1:2], 1)
    still = place.users(place.owned(leg.source)[10:11], 1)[0]
    with closing(opener(place.site.topology(), leg.source)()) as driver:
        rows = [(1, users[0], "a", 1), (2, users[0], "b", 1), (3, users[1], "a", 1), (4, still, "a", 1)]
        driver.execute_many("INSERT INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)", rows)
        place.mover().begin([leg])
        with pytest.raises(Killed):
            place.mover(Kill("phase.captured")).run()
        yield Watched(place, driver, leg, users, still)
        for user in (*users, still):
            driver.execute("UPDATE tf_fence SET state = 'open' WHERE bucket = ?", (bucket_of(user, KeyType.INTEGER),))


INSERT = "INSERT INTO deposits (id, user_id, ref, amount) VALUES (?, ?, ?, ?)"


def test_every_way_to_write_marks_the_rows_that_changed(watched: Watched) -> None:
    user, other = watched.users
    run, marked = watched.run, watched.marked
    again = "ON CONFLICT DO UPDATE SET amount = 9" if watched.lite else "ON DUPLICATE KEY UPDATE amount = 9"
    assert run(INSERT, 10, user, "x", 1) and marked() == {10}
    assert run("UPDATE deposits SET amount = 7 WHERE id = 1 AND user_id = ?", user) and marked() == {1}
    assert run("DELETE FROM deposits WHERE id = 10 AND user_id = ?", user) and marked() == {10}
    assert run(INSERT.replace("VALUES", "VALUES (11, ?, 'y', 1), "), user, 12, other, "y", 1) and marked() == {11, 12}
    run(f"{INSERT} {again}", 11, user, "y", 1)
    assert marked() == {11}
    run(f"{INSERT} {again}", 99, user, "y", 1)  # meets it by the second UNIQUE
    assert 11 in marked() and watched.place.site.look(watched.leg.source, "SELECT 1 FROM deposits WHERE id = 99") in (
        [],
        (),
    )
    run(INSERT.replace("INSERT", "REPLACE"), 13, user, "y", 2)  # displaces 11
    assert marked() == {11, 13}
    run(INSERT.replace("INSERT", "REPLACE"), 13, user, "z", 2)
    assert marked() == {13}
    run(INSERT.replace("INSERT", "INSERT IGNORE"), 14, user, "q", 1)
    assert marked() == {14}
    run(INSERT.replace("INSERT", "INSERT IGNORE"), 15, user, "q", 1)
    assert 15 not in marked(), "an INSERT that was ignored is no row"
    assert run("UPDATE deposits SET id = 20 WHERE id = 14 AND user_id = ?", user) and marked() == {14, 20}
    assert run("UPDATE deposits SET amount = amount + 1 WHERE user_id IN (?, ?)", user, other) and len(marked()) == 6
    if watched.lite:
        run("UPDATE OR REPLACE deposits SET ref = 'a' WHERE id = 20 AND user_id = ?", user)  # displaces 1
        assert marked() == {1, 20}


def test_rows_of_buckets_that_stay_are_not_marked(watched: Watched) -> None:
    assert watched.run("UPDATE deposits SET amount = 2 WHERE user_id = ?", watched.still)
    assert not watched.marked()


def test_a_row_that_changes_its_shard_key_is_marked_under_both(watched: Watched) -> None:
    user, other = watched.users
    look = watched.driver.execute
    for source, target in ((user, other), (other, watched.still), (watched.still, user)):
        watched.run("UPDATE deposits SET user_id = ? WHERE id = 2 AND user_id = ?", target, source)
        buckets = {row[0] for row in look(f"SELECT tf_bucket FROM {watched.marks_of}", ()).rows}
        moving = {bucket_of(each, KeyType.INTEGER) for each in (source, target) if each != watched.still}
        assert buckets == moving and watched.marked() == {2}


def test_back_pressure_makes_a_write_wait(watched: Watched) -> None:
    if watched.lite:
        pytest.skip("there the mover holds the lock")
    watched.driver.execute("UPDATE tf_fence SET captured = 61 WHERE captured = 1", ())
    began_s = time.monotonic()
    assert watched.run("UPDATE deposits SET amount = 5 WHERE id = 1 AND user_id = ?", watched.users[0])
    assert time.monotonic() - began_s >= 0.06 and watched.marked() == {1}


def test_a_rollback_takes_the_marks_with_it(watched: Watched) -> None:
    watched.driver.begin()
    watched.run("UPDATE deposits SET amount = 5 WHERE user_id = ?", watched.users[0])
    watched.driver.rollback()
    assert not watched.marked()


@pytest.mark.parametrize("state", ["fenced", "moved", "incoming"])
def test_every_way_to_write_a_bucket_that_is_not_here_is_refused_whole(watched: Watched, state: str) -> None:
    user, other = watched.users
    watched.fence(user, state)
    before = list(watched.driver.execute("SELECT * FROM deposits ORDER BY id", ()).rows)
    again = "ON CONFLICT DO UPDATE SET amount = 9" if watched.lite else "ON DUPLICATE KEY UPDATE amount = 9"
    for sql, params in (
        (INSERT, (10, user, "x", 1)),
        (INSERT.replace("INSERT", "INSERT IGNORE"), (10, user, "x", 1)),
        (INSERT.replace("INSERT", "REPLACE"), (1, user, "a", 5)),
        (INSERT.replace("VALUES", "VALUES (11, ?, 'y', 1), "), (other, 12, user, "y", 1)),
        (f"{INSERT} {again}", (1, user, "a", 1)),
        ("UPDATE deposits SET amount = 7 WHERE user_id IN (?, ?)", (user, other)),
        ("UPDATE IGNORE deposits SET amount = 7 WHERE user_id = ?", (user,)),
        ("UPDATE deposits SET user_id = ? WHERE id = 1", (other,)),
        ("UPDATE deposits SET user_id = ? WHERE id = 3", (user,)),
        ("DELETE FROM deposits WHERE user_id = ?", (user,)),
    ):
        with pytest.raises(FenceError):
            watched.run(sql, *params)
    assert list(watched.driver.execute("SELECT * FROM deposits ORDER BY id", ()).rows) == before
    assert not watched.marked()
    assert watched.run("UPDATE deposits SET amount = 7 WHERE user_id = ?", other), "others go on"


def test_a_replace_cannot_displace_a_row_behind_a_fence(watched: Watched) -> None:
    watched.fence(watched.users[0], "fenced")
    with pytest.raises(FenceError):
        watched.run(INSERT.replace("INSERT", "REPLACE"), 1, watched.users[1], "new", 5)


def test_a_fence_waits_for_writers_in_flight(watched: Watched) -> None:
    if watched.lite:
        pytest.skip("there is one writer at a time")
    user = watched.users[0]
    watched.driver.begin()
    watched.run("UPDATE deposits SET amount = 5 WHERE user_id = ?", user)
    with closing(watched.place.site.client(watched.leg.source)) as line, line.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        with pytest.raises(Exception, match="Lock wait"):
            cursor.execute("UPDATE tf_fence SET state = 'fenced' WHERE bucket = %s", [bucket_of(user, KeyType.INTEGER)])
    watched.driver.rollback()


def test_a_snapshot_from_before_the_move_does_not_write_past_it(place: Place) -> None:
    """Inside REPEATABLE READ the fence is read as it is now, not as it was when the transaction began."""
    if place.site.engine == "sqlite":
        pytest.skip("a transaction that writes sees the present")
    leg = place.leg(count=2)
    user = place.fill(leg.source, leg.buckets, 1)[0]
    with closing(opener(place.site.topology(), leg.source)()) as driver:
        driver.begin()
        driver.execute("SELECT * FROM tf_fence LIMIT 1", ())  # the snapshot is taken; no lock is held on the tables
        place.mover().begin([leg])
        with pytest.raises(Killed):
            place.mover(Kill("phase.captured")).run()
        driver.execute("UPDATE deposits SET amount = 77 WHERE user_id = ?", (user,))
        driver.commit()
    place.mover().run()
    place.mover().finish()
    ((amount,),) = place.site.look(leg.target, "SELECT DISTINCT amount FROM deposits WHERE user_id = ?", (user,))
    assert amount == 77


def test_a_table_with_a_trigger_of_its_own_is_refused(place: Place) -> None:
    leg = place.leg(count=2)
    create = "CREATE TRIGGER mine AFTER INSERT ON notes "
    create += "BEGIN SELECT 1; END" if place.site.engine == "sqlite" else "FOR EACH ROW BEGIN END"
    place.site.look(leg.source, create)
    try:
        place.mover().begin([leg])
        with pytest.raises(MoveError, match="the trigger mine"):
            place.mover().run()
        place.mover().cancel()
    finally:
        place.site.look(leg.source, "DROP TRIGGER mine")
    assert not place.left_behind()
