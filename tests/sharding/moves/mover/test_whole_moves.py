"""Moves from beginning to end on data that nobody writes: forwards, back, cancelled, killed at every step. Edge."""

from __future__ import annotations

from contextlib import closing

import pytest

from tenfold.errors import MoveError
from tenfold.sharding.engine import mysql
from tenfold.sharding.engine.router import opener
from tenfold.sharding.moves.mover import Limits
from tenfold.sharding.moves.phases import Phase
from tenfold.sharding.moves.record import Leg
from tests.mariadb import Server
from tests.sharding.moves.mover.places import POSTS, Kill, Killed, Place


def test_buckets_go_to_another_shard_and_nothing_is_left_behind(place: Place) -> None:
    leg = place.leg()
    place.fill(leg.source, leg.buckets)
    before = place.rows()
    place.mover().begin([leg])
    assert place.mover().run().phase is Phase.SERVING
    assert place.rows() == before
    done = place.mover().finish()
    assert (done.phase, done.detail["result"]) == (Phase.DONE, "moved")
    assert place.rows() == before and set(leg.buckets) <= set(place.owned(leg.target))
    assert not place.left_behind()


@pytest.mark.sample("mysql")
def test_two_legs_at_once_may_share_a_shard(place: Place) -> None:
    first, second = place.leg("shard_0", "shard_1"), place.leg("shard_1", "shard_2")
    place.fill("shard_0", first.buckets)
    place.fill("shard_1", second.buckets)
    before = place.rows()
    place.mover().begin([first, second])
    place.mover().run()
    assert place.rows() == before
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()


def test_undo_brings_back_what_was_cut_over_and_written_since(place: Place) -> None:
    leg = place.leg()
    user = place.fill(leg.source, leg.buckets)[0]
    place.mover().begin([leg])
    place.mover().run()
    look = place.site.look
    if place.site.engine == "mysql":  # on SQLite only Tenfold's own connections can write now
        look(leg.target, "UPDATE users SET name = 'new' WHERE id = ?", (user,))
        look(leg.target, "DELETE FROM deposits WHERE user_id = ? AND ref = 'r0'", (user,))
    before = place.rows()
    done = place.mover().undo()
    assert (done.phase, done.detail["result"]) == (Phase.DONE, "undone")
    assert place.rows() == before and set(leg.buckets) <= set(place.owned(leg.source))
    assert not place.left_behind()


@pytest.mark.sample("mysql")
def test_a_pinned_table_moves_as_one_bucket(place: Place) -> None:
    ((home,),) = place.site.look("shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", (POSTS,))
    target = "shard_1" if home != "shard_1" else "shard_2"
    for number in range(1, 30):
        place.site.look(home, "INSERT INTO posts (id, title) VALUES (?, ?)", (number, f"post {number}"))
    before = place.site.look(home, "SELECT * FROM posts ORDER BY id")
    place.mover().begin([Leg(home, target, (POSTS,))])
    place.mover().run()
    place.mover().finish()
    assert place.site.look(target, "SELECT * FROM posts ORDER BY id") == before
    assert place.site.look(home, "SELECT * FROM posts") in ([], ())
    assert place.site.look("shard_0", "SELECT detail FROM tf_table WHERE table_name = 'posts'")[0][0] == target
    assert not place.left_behind()


@pytest.mark.sample("mysql", "capture.trigger")
@pytest.mark.parametrize("step", ["announced.leases", "capture.trigger", "copy.rows", "phase.followed"])
def test_a_move_that_was_killed_before_the_cutover_can_be_cancelled(place: Place, step: str) -> None:
    leg = place.leg()
    place.fill(leg.source, leg.buckets)
    before, owned = place.rows(), place.owned(leg.source)
    place.mover().begin([leg])
    with pytest.raises(Killed):
        place.mover(Kill(step)).run()
    assert place.mover().cancel().detail["result"] == "cancelled"
    assert place.rows() == before and place.owned(leg.source) == owned
    assert not place.left_behind()


@pytest.mark.sample("mysql", "undo")
@pytest.mark.parametrize("ending", ["finish", "undo"])
def test_a_mover_that_is_killed_before_every_step_goes_on_when_it_is_run_again(place: Place, ending: str) -> None:
    leg = place.leg()
    place.fill(leg.source, leg.buckets)
    before = place.rows()
    place.mover().begin([leg])
    met: list[str] = []
    for act in ("run", ending):
        while True:
            kill = _Each(met)
            mover = place.mover(kill)
            active = place.active()
            assert active is not None
            begun = act == "run" or active.phase in (Phase.RETURNING, Phase.CLEANING)
            try:
                getattr(mover, "run" if begun else act)()
            except Killed:
                assert place.rows() == before
                continue
            break
    assert len(met) > 20
    assert place.rows() == before and not place.left_behind()


class _Each(Kill):
    """Ends the mover at the first step at which it was not ended before."""

    def __init__(self, met: list[str]) -> None:
        super().__init__()
        self.met = met

    def step(self, name: str) -> None:
        if name not in self.met:
            self.met.append(name)
            raise Killed(name)


@pytest.mark.sample("mysql", "cutover.bump", "cutover.fence")
@pytest.mark.parametrize(
    ("step", "nth"),
    [("cutover.bump", 2), ("cutover.moved", 1), ("cutover.open", 1), ("cutover.fence", 2), ("cutover.compare", 1)],
)
def test_a_cutover_that_was_killed_midway_can_be_undone(place: Place, step: str, nth: int) -> None:
    leg = place.leg()
    place.fill(leg.source, leg.buckets)
    before = place.rows()
    place.mover().begin([leg])
    with pytest.raises(Killed):
        place.mover(Kill(step, nth)).run()
    if step in ("cutover.fence", "cutover.compare"):
        ((fenced,),) = place.site.look(leg.source, "SELECT COUNT(*) FROM tf_fence WHERE state = 'fenced'")
        assert fenced == 0, "the fence was left up before the bump"
    assert place.mover().undo().detail["result"] == "undone"
    assert place.rows() == before and not place.left_behind()


@pytest.mark.sample("mysql", "capture.trigger", "cutover.bump")
@pytest.mark.parametrize("step", ["capture.trigger", "copy.rows", "cutover.bump"])
def test_a_mover_that_was_overtaken_stops_and_damages_nothing(place: Place, step: str) -> None:
    leg = place.leg(count=3)
    place.fill(leg.source, leg.buckets)
    before = place.rows()
    place.mover().begin([leg])

    class Overtaken(Kill):
        def step(self, name: str) -> None:
            if name == self.name and not self.steps:
                self.steps[name] = 1
                place.mover().run()

    with pytest.raises(MoveError, match="taken over"):
        place.mover(Overtaken(step)).run()
    active = place.active()
    assert active is not None and active.phase is Phase.SERVING
    assert place.rows() == before
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()


def test_rows_that_differ_are_mended_before_their_buckets_are_given_away(place: Place) -> None:
    """Whatever made them differ: here a row of the copy was changed behind the mover's back."""
    leg = place.leg(count=3)
    user = place.fill(leg.source, leg.buckets)[0]
    before = place.rows()
    place.mover().begin([leg])
    with pytest.raises(Killed):
        place.mover(Kill("phase.followed")).run()
    place.site.look(leg.target, "UPDATE deposits SET amount = 999 WHERE user_id = ?", (user,))
    place.site.look(leg.target, "DELETE FROM notes WHERE user_id = ?", (user,))
    place.mover().run()
    assert place.rows() == before
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ([], "no buckets"),
        ([Leg("shard_0", "shard_1", ())], "no buckets"),
        ([Leg("shard_0", "shard_0", (1,))], "already"),
        ([Leg("shard_0", "nowhere", (1,))], "not part"),
        ([Leg("shard_0", "shard_1", (4095,))], "not on shard_0"),
    ],
)
def test_what_cannot_be_moved_is_refused(place: Place, legs: list[Leg], why: str) -> None:
    with pytest.raises(MoveError, match=why):
        place.mover().begin(legs)


def test_one_move_at_a_time_and_each_bucket_once(place: Place) -> None:
    leg = place.leg()
    with pytest.raises(MoveError, match="twice"):
        place.mover().begin([leg, leg])
    place.mover().begin([leg])
    with pytest.raises(MoveError, match="one at a time"):
        place.mover().begin([place.leg("shard_1", "shard_2")])
    with pytest.raises(MoveError, match="cannot undo"):
        place.mover().undo()
    place.mover().cancel()
    assert not place.left_behind()


def test_rows_that_lie_on_the_target_already_stop_the_move(place: Place) -> None:
    leg = place.leg()
    stray = place.fill(leg.target, leg.buckets, 3)
    place.mover().begin([leg])
    with pytest.raises(MoveError, match="not its own"):
        place.mover().run()
    place.mover().cancel()
    assert len(place.site.look(leg.target, "SELECT id FROM users")) == len(stray), "what was there is not the move's"


def test_rows_that_changed_places_find_them_however_many_they_are(place: Place) -> None:
    leg = place.leg(count=1)
    (user,) = place.users(leg.buckets, 1)
    for first in range(1, 1201, 300):
        values = ", ".join(f"({n}, {user}, '{n}', 1)" for n in range(first, first + 300))
        place.site.look(leg.source, f"INSERT INTO deposits VALUES {values}")
    place.mover().begin([leg])
    with pytest.raises(Killed):
        place.mover(Kill("phase.copied")).run()
    with closing(opener(place.site.topology(), leg.source)()) as driver:
        driver.execute("UPDATE deposits SET ref = -id", ())  # (user_id, ref) is unique
        driver.execute("UPDATE deposits SET ref = CASE WHEN id <= 600 THEN id + 600 ELSE id - 600 END", ())
    before = place.rows()
    place.mover().run()
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()


def test_a_server_that_was_started_again_has_no_connections_left_to_end(place: Place) -> None:
    if place.site.engine == "sqlite":
        pytest.skip("there are no connections")
    place.mover().begin([place.leg()])
    place.mover().run()
    with pytest.raises(Killed):
        place.mover(Kill("clean.connections")).finish()
    # Its connections are counted from one again: all are older than the one that was noted, for a long time to come.
    place.site.look("shard_0", "UPDATE tf_move SET detail = JSON_SET(detail, '$.markers.shard_1', 1000000000)")
    with closing(place.site.client("shard_1")) as line, line.cursor() as cursor:
        place.mover().run()
        cursor.execute("SELECT 1")
        assert list(cursor.fetchall()) == [(1,)]


def test_servers_that_take_short_statements_alone_get_no_others(
    place: Place, three_servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.site.engine == "sqlite":
        pytest.skip("there a statement may have a gigabyte")
    monkeypatch.setattr(mysql, "LONGEST_UNASKED", 1000)  # no server that is in use takes less than that
    leg = place.leg(count=60)
    place.fill(leg.source, leg.buckets, 1200)
    before = place.rows()
    largest = {server: server.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0] for server in three_servers}
    try:
        for server in three_servers:
            server.sql("SET GLOBAL max_allowed_packet = 8192")
        place.mover().begin([leg])
        place.mover(limits=Limits(grace_s=0.0, ahead=2.0)).run()
        place.mover().finish()
    finally:
        for server, size in largest.items():
            server.sql(f"SET GLOBAL max_allowed_packet = {size}")
    assert place.rows() == before and not place.left_behind()
