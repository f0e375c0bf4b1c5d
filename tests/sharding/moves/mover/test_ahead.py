"""Rows that are compared before their fence is up: which are in doubt after that, and are compared behind it. Edge."""

from __future__ import annotations

import itertools
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
from tenfold.sharding.moves.progress import Silence
from tenfold.sharding.moves.record import Leg
from tenfold.sharding.moves.verify import SIDE
from tenfold.sharding.moves.work import Limits, Work
from tests.sharding.moves.mover.places import POSTS, Kill, Killed, Place

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


def looking(place: Place, look: Callable[[Ahead], None], leg: Leg | None = None) -> None:
    """Call `look` in the midst of a move of the first six buckets, or of a leg."""
    place.mover().begin([leg or place.leg()])
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


def test_texts_that_a_server_cuts_off_are_not_taken_for_equal(place: Place, users: list[int]) -> None:
    if place.site.engine != "mysql":
        pytest.skip("SQLite fails there")

    def look(seen: Ahead) -> None:
        for shard in ("shard_0", "shard_1"):
            seen.work.shards.at(shard, SIDE).execute("SET SESSION group_concat_max_len = 70", ())
        seen.survey()
        assert seen.doubts(seen.follower.buckets) == 0
        spoilt(place, max(users))
        seen.survey()
        assert seen.doubts(seen.follower.buckets) == 2

    looking(place, look)


# What a comparison by collation, as numbers, in another mode or by their looks would take for the same.
ALIKE = {
    "mysql": (
        ("VARCHAR(20) COLLATE utf8mb4_general_ci", "'a'", "'A'"), ("VARCHAR(20)", "'a'", "'a '"),
        ("TEXT", "''", "NULL"), ("VARCHAR(20)", "'NULL'", "NULL"), ("VARCHAR(20)", r"'\''", r"'\\'"),
        ("LONGTEXT", "'\u00e9'", "'e\u0301'"), ("VARCHAR(9) CHARACTER SET sjis", "_sjis x'815f'", "_sjis x'5c'"),
        ("BINARY(4)", "x'01'", "x'02'"), ("BLOB", "x'00'", "x'0000'"), ("DOUBLE", "0.1", "0.10000000000000002"),
        ("FLOAT", "16777216", "16777218"),
        ("DECIMAL(65,30)", "1", "1.000000000000000000000000000001"), ("ENUM('x','')", "0", "2"),
        ("BIT(64)", "b'1'", "b'0'"), ("YEAR", "'0000'", "'2000'"), ("DATE", "'0000-00-00'", "NULL"),
        ("DATETIME(6)", "'2024-01-01'", "'2024-01-01 00:00:00.000001'"),
        ("TIME(6)", "'-838:59:59'", "'-838:59:59.999999'"), ("TIMESTAMP NULL", "'1970-01-02'", "NULL"),
    ),
    "sqlite": (
        ("", "1", "'1'"), ("", "1", "1.0"), ("", "'a'", "x'61'"), ("", "NULL", "''"), ("", "'a'", "'a' || char(0)"),
        ("TEXT COLLATE NOCASE", "'a'", "'A'"), ("REAL", "0.1", "0.10000000000000002"), ("", "9e999", "'Inf'"),
    ),
}  # fmt: skip


def test_a_row_is_in_doubt_whatever_value_differs(place: Place) -> None:
    site, pairs = place.site, ALIKE["sqlite" if place.site.engine == "sqlite" else "mysql"]
    ((home,),) = site.look("shard_0", "SELECT shard FROM tf_bucket WHERE bucket = ?", (POSTS,))
    target = "shard_1" if home != "shard_1" else "shard_2"
    for shard in site.shards:
        for nth, (kind, _, _) in enumerate(pairs):
            site.look(shard, f"ALTER TABLE posts ADD COLUMN v{nth} {kind}")

    def write(shard: str, sql: str) -> None:
        if site.engine == "sqlite":
            site.look(shard, sql)
            return
        with site.client(shard) as line, line.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', @tf_mover = 1")
            cursor.execute(sql)

    def look(seen: Ahead) -> None:
        for nth, (kind, one, other) in enumerate(pairs):
            write(target, f"UPDATE posts SET v{nth} = {other}")
            seen.survey()
            assert seen.doubts((POSTS,)) == 1, f"{kind}: {one} and {other}"
            write(target, f"UPDATE posts SET v{nth} = {one}")
            seen.relieve((POSTS,), 0)
            assert seen.doubts((POSTS,)) == 0, f"{kind}: {one}"

    write(home, f"INSERT INTO posts VALUES (1, 'a title', {', '.join(one for _, one, _ in pairs)})")
    looking(place, look, Leg(home, target, (POSTS,)))


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


def test_all_buckets_have_the_rows_of_one_half_and_of_the_other(place: Place, users: list[int]) -> None:
    def look(seen: Ahead) -> None:
        for table in seen.follower.tables:
            all_of_them, one, other = (
                seen.work.shards.rows("shard_0", f"SELECT COUNT(*) FROM {table.name} WHERE {table.within(some)}")[0][0]
                for some in (range(4096), range(2048), range(2048, 4096))
            )
            assert all_of_them == one + other
            assert all_of_them or table.shape.name.startswith("tf_")

    looking(place, look)


def test_on_slow_servers_as_many_buckets_are_given_away_at_once(place: Place, users: list[int]) -> None:
    seconds = itertools.count()

    class Told(Silence):
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def say(self, event: dict[str, Any]) -> None:
            if event["event"] == "cut over":
                self.sizes.append(event["buckets"])

    told = Told()
    place.mover().begin([place.leg(count=30)])
    place.mover(told, clock=lambda: float(next(seconds))).run()
    assert told.sizes == [4, 16, 10]
    place.mover().undo()


def test_a_few_of_many_buckets_are_found_by_their_keys_sooner(place: Place) -> None:
    def look(seen: Ahead) -> None:
        owned = place.owned("shard_0")
        for count, worth in ((len(owned), True), (len(owned) // 2, True), (6, False)):
            assert worthwhile(seen.work, "shard_0", owned[:count], 0.125) is worth
        assert worthwhile(seen.work, "shard_0", [4097], 0.125) and not worthwhile(seen.work, "shard_0", owned, 2.0)

    looking(place, look)


def test_a_table_that_was_emptied_past_its_triggers_does_not_come_back(place: Place, users: list[int]) -> None:
    if place.site.engine != "mysql":
        pytest.skip("there every write meets the triggers")

    class Truncated(Kill):
        def step(self, name: str) -> None:
            super().step(name)
            if (name, self.steps[name]) == ("cutover.fence", 1):  # compared already, and in no doubt
                place.site.look("shard_0", "TRUNCATE deposits")

    place.mover().begin([place.leg()])
    place.mover(Truncated()).run()
    assert place.rows()["deposits"] == [] and len(place.rows()["notes"]) == len(users)
    place.mover().finish()
    assert place.rows()["deposits"] == [] and not place.left_behind()
