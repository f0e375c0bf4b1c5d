"""Rows that are compared before their fence is up: which are in doubt after that, and are compared behind it. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tenfold.sharding.engine.router import opener
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves import ahead
from tenfold.sharding.moves.ahead import Ahead, worthwhile
from tenfold.sharding.moves.cutover import Cutover
from tenfold.sharding.moves.follow import Follower
from tenfold.sharding.moves.mover import Mover
from tenfold.sharding.moves.work import Limits, Work
from tests.sharding.moves.mover.places import Killed, Place

WRITE = "UPDATE deposits SET amount = amount + 1 WHERE user_id = ? AND ref = 'r0'"


class Looked(Mover):
    """A mover that is stopped where it would cut over: `look` is given all that it would do so with."""

    def __init__(self, *arguments: Any, look: Callable[[Ahead], None], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._look = look

    def _cutting(self, work: Work) -> Any:
        work.clock = lambda: 0.0  # a survey that takes long would carry marks in between
        (leg,) = work.move.legs
        tables = work.tables(leg)
        self._look(Ahead(work, Follower(work, leg.source, leg.target, tables, leg.buckets)))
        raise Killed


@pytest.fixture
def users(place: Place) -> list[int]:
    """Ten of the first six buckets, with two deposits and a note each."""
    leg = place.leg()
    return place.fill(leg.source, leg.buckets)


@pytest.fixture
def write(place: Place) -> Iterator[Callable[..., None]]:
    """Writes to the source as a router does."""
    with closing(opener(place.site.topology(), "shard_0")()) as driver:

        def run(sql: str, *params: Any) -> None:
            driver.execute(sql, params)

        yield run


def looking(place: Place, look: Callable[[Ahead], None]) -> None:
    """Call `look` in the midst of a move of the first six buckets."""
    place.mover().begin([place.leg()])
    mover = Looked(place.site.topology(), look=look, limits=Limits(grace_s=0.0, ahead=0.0), sleep=lambda _: None)
    with pytest.raises(Killed):
        mover.run()


def spoilt(place: Place, user: int) -> None:
    """A copy that is not what it should be, changed past every trigger."""
    place.site.look("shard_1", "UPDATE deposits SET amount = 999 WHERE user_id = ?", (user,))


@pytest.mark.parametrize("chunk", [3, 20_000])
def test_rows_that_are_the_same_are_in_no_doubt_and_all_others_are(
    place: Place, users: list[int], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "CHUNK", chunk)

    def look(seen: Ahead) -> None:
        buckets = seen.follower.buckets
        seen.survey()
        assert seen.doubts(buckets) == 0
        spoilt(place, users[3])
        place.site.look("shard_1", "DELETE FROM notes WHERE user_id = ?", (users[4],))
        last = max(users) + 1_000_000  # beyond all that the source holds
        while bucket_of(last, KeyType.INTEGER) not in buckets:
            last += 1
        place.site.look("shard_1", "INSERT INTO users (id) VALUES (?)", (last,))
        seen.survey()
        assert seen.doubts(buckets) == 2 + 1 + 1
        assert {table.shape.name for table in seen.differing(buckets, "")} == {"deposits", "notes", "users"}
        place.site.look("shard_1", "DELETE FROM users WHERE id = ?", (last,))
        seen.relieve(buckets, 0)
        assert seen.doubts(buckets) == 2 + 1

    looking(place, look)


def test_a_row_whose_change_was_carried_is_compared_again_behind_the_fence(
    place: Place, users: list[int], write: Callable[..., None]
) -> None:
    def look(seen: Ahead) -> None:
        buckets = seen.follower.buckets
        seen.survey()
        write(WRITE, users[0])
        seen.follower.drain(buckets)
        assert seen.doubts(buckets) == 1 and seen.differing(buckets, "") == []
        spoilt(place, users[0])
        (table,) = seen.differing(buckets, "")
        assert table.shape.name == "deposits"
        write(WRITE, users[0])
        seen.follower.drain(buckets)
        seen.relieve(buckets, 0)
        assert seen.doubts(buckets) == 0

    looking(place, look)


def test_a_change_that_is_still_marked_leaves_its_row_in_doubt(
    place: Place, users: list[int], write: Callable[..., None]
) -> None:
    def look(seen: Ahead) -> None:
        buckets = seen.follower.buckets
        write(WRITE, users[0])
        seen.survey()
        assert seen.doubts(buckets) == 1
        seen.relieve(buckets, 0)
        assert seen.doubts(buckets) == 1 and len(seen.differing(buckets, "")) == 1
        seen.follower.drain(buckets)
        assert seen.differing(buckets, "") == []
        seen.forget(buckets)
        assert seen.doubts(buckets) == 0

    looking(place, look)


def test_beside_a_prepared_branch_all_rows_are_compared_behind_their_fence(place: Place, users: list[int]) -> None:
    # It may be older than capture, and be committed without a mark.
    if place.site.engine != "mysql":
        pytest.skip("there are none")
    before = place.rows()

    def look(seen: Ahead) -> None:
        with place.site.client("shard_0") as line, line.cursor() as cursor:
            for word in ("START", "END", "PREPARE"):
                if word == "END":
                    cursor.execute("INSERT INTO posts (title) VALUES ('of a branch')")
                cursor.execute(f"XA {word} 'left'")

            def give_up(_: float) -> None:
                cursor.execute("XA ROLLBACK 'left'")

            seen.work.sleep = give_up
            cutover = Cutover(seen.work, "shard_0", "shard_1", seen.follower.tables, seen.follower.buckets)
            cutover.run()
            assert cutover.ahead is None

    looking(place, look)
    assert place.rows() == before
    assert place.mover().undo().detail["result"] == "undone"


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["ahead", "all behind the fence"])
def test_a_copy_that_was_spoilt_is_mended_before_its_buckets_are_given_away(
    place: Place, users: list[int], write: Callable[..., None], share: float
) -> None:
    before = place.rows()
    place.mover().begin([place.leg()])
    spoiling = Looked(place.site.topology(), look=lambda _: spoilt(place, users[0]), sleep=lambda _: None)
    with pytest.raises(Killed):
        spoiling.run()
    place.mover(limits=Limits(grace_s=0.0, ahead=share)).run()
    assert place.rows() == before
    place.mover().finish()
    assert place.rows() == before and not place.left_behind()


def test_a_few_of_many_buckets_are_found_by_their_keys_sooner(place: Place) -> None:
    def look(seen: Ahead) -> None:
        owned = place.owned("shard_0")
        for count, worth in ((len(owned), True), (len(owned) // 2, True), (6, False)):
            assert worthwhile(seen.work, "shard_0", owned[:count], 0.125) is worth
        assert worthwhile(seen.work, "shard_0", [4097], 0.125) and not worthwhile(seen.work, "shard_0", owned, 2.0)

    looking(place, look)
