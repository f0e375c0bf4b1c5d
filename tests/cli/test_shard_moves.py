"""The commands that move rows, from a new shard to one that leaves: what they do, say and refuse. Edge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tenfold as package
from tenfold.cli.moving import Telling, bar
from tenfold.cli.options import Invocation
from tests.sharding.engine.sites import GROUP, Site, mariadb_site
from tests.sharding.moves import conftest as moves
from tests.sharding.moves.conftest import LEASE, USERS, filled, widened

Command = Callable[..., tuple[int, str, str]]
filled_pattern, on_files, on_servers, filled_site = (
    moves.filled_pattern, moves.on_files, moves.on_servers, moves.filled_site
)  # fmt: skip
four, four_files = moves.four, moves.four_files


def counts(site: Site) -> dict[str, int]:
    return {shard: int(rows[0][0]) for shard, rows in site.look_everywhere("SELECT COUNT(*) FROM users").items()}


def assert_whole(site: Site) -> None:
    """Every row is there once, and where the map says."""
    with package.connect(site.file) as db:
        assert db.execute("SELECT COUNT(*), SUM(id) FROM users").rows == [(USERS, USERS * (USERS + 1) // 2)]
        assert db.execute("SELECT COUNT(*), SUM(amount) FROM deposits").rows == [(2 * USERS, 11 * USERS)]
        for user in range(1, USERS + 1, 7):
            assert db.execute("SELECT email FROM users WHERE id = ?", (user,)).scalar() == f"u{user}@example.org"
            assert site.look(site.owner(user), "SELECT COUNT(*) FROM users WHERE id = ?", (user,)) == [(1,)]
        assert db.execute("SELECT COUNT(*) FROM posts").scalar() == 2


def assert_clean(site: Site) -> None:
    """Nothing of a move is left, and no row where it does not belong."""
    assert sum(counts(site).values()) == USERS
    own = moves_objects(site)
    for shard, names in own.items():
        assert not [name for name in names if name.startswith("tf_") and any(c.isdigit() for c in name)], shard
    assert site.violations() == []


def moves_objects(site: Site) -> dict[str, list[str]]:
    from tests.sharding.moves.test_joining import OWN

    return {shard: [row[0] for row in site.look(shard, OWN[site.engine])] for shard in site.shards}


def test_a_shard_is_added_filled_taken_back_filled_again_and_finished(four: Site, tenfold: Command) -> None:
    code, out, err = tenfold(four, "shard", "add", "shard_3")
    assert (code, err) == (0, "") and "currencies: 2 rows copied and compared" in out
    assert out.endswith("shard_3 belongs to the platform; `tenfold shard plan` shows what it may take\n")
    before = counts(four)
    assert before["shard_3"] == 0
    weights = {name: f"{four.shard_line(name)}, weight = {1 if name == 'shard_3' else 40}" for name in four.shards}
    four.write(shards=weights, settings=LEASE)
    code, out, err = tenfold(four, "shard", "rebalance", "--yes")
    assert (code, err) == (0, "")
    assert "shard_0  shard_3" in out and "33 buckets; " in out
    for phase in ("announced", "capturing", "copying", "following", "cutting over", "serving"):
        assert f"\n{phase}" in out, out
    assert "`tenfold shard finish` deletes" in out.splitlines()[-1] and "undo" in out.splitlines()[-1]
    assert_whole(four)
    code, out, _ = tenfold(four, "shard", "verify")
    assert code == 0, out
    assert "\nmove 2 of 33 buckets is serving: " in tenfold(four, "shard", "status")[1]
    code, out, err = tenfold(four, "shard", "undo")
    assert (code, err) == (0, "") and out.endswith("undone: every bucket is where it was before\n")
    assert counts(four) == before
    assert_whole(four)
    assert_clean(four)
    code, out, err = tenfold(four, "shard", "rebalance", "--yes", "--json", "--rows-per-second", "100000")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and events[0]["event"] == "plan" and events[-1]["phase"] == "serving"
    assert [one["phase"] for one in events if one["event"] == "phase"][:3] == ["announced", "capturing", "copying"]
    code, out, err = tenfold(four, "shard", "finish", "--yes")
    assert (code, err) == (0, "") and out.endswith("moved: nothing is left on the old shards\n")
    assert four.look("shard_3", "SELECT COUNT(*) FROM tf_fence WHERE state = 'open' AND bucket < 4096") == [(33,)]
    assert_whole(four)
    assert_clean(four)
    assert "every shard has its share" in tenfold(four, "shard", "plan")[1]


@pytest.fixture(params=["sqlite", "mysql"])
def light(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A filled site whose last shard has few buckets."""
    weights = {"shard_0": 40, "shard_1": 40}
    if request.param == "sqlite":
        yield filled(Site(tmp_path / "light"), weights)
        return
    with mariadb_site(tmp_path / "light", request.getfixturevalue("three_servers")) as site:
        yield filled(site, weights)


@pytest.mark.sample("mysql")
def test_a_shard_is_drained_and_leaves_with_its_tables_on_another(light: Site, tenfold: Command) -> None:
    site = light
    assert tenfold(site, "shard", "drain", "shard_0", "--yes")[0] == 1  # which holds the catalog
    code, out, err = tenfold(site, "shard", "drain", "shard_2", "--yes")
    assert (code, err) == (0, "") and "posts" in out
    assert_whole(site)
    code, out, _ = tenfold(site, "shard", "plan")
    assert code == 1 and "another move is not done: move 1 is serving" in out
    code, out, err = tenfold(site, "shard", "finish", "--yes")
    assert (code, err) == (0, ""), out
    assert site.look("shard_0", "SELECT shard FROM tf_member ORDER BY position") == [("shard_0",), ("shard_1",)]
    site.write(GROUP.replace("shard_2 =", "shard_1 ="), {s: site.shard_line(s) for s in site.shards[:2]}, LEASE)
    assert counts(site)["shard_2"] == 0
    assert_whole(site)
    assert "posts" not in moves_objects(site)["shard_2"]


@pytest.mark.sample("mysql")
def test_a_pinned_table_moves_and_comes_back(filled_site: Site, tenfold: Command) -> None:
    site = filled_site
    code, out, err = tenfold(site, "shard", "move", "--table", "posts", "--to", "shard_1", "--yes")
    assert (code, err) == (0, ""), out + err
    with package.connect(site.file) as db:
        db.execute("INSERT INTO posts (title) VALUES ('three')")
    assert site.look("shard_1", "SELECT COUNT(*) FROM posts") == [(3,)]
    assert tenfold(site, "shard", "undo")[0] == 0
    assert site.look("shard_2", "SELECT COUNT(*) FROM posts") == [(3,)]
    assert "posts" not in moves_objects(site)["shard_1"]
    assert tenfold(site, "shard", "move", "--table", "posts", "--to", "shard_1", "--yes")[0] == 0
    assert tenfold(site, "shard", "finish", "--yes")[0] == 0
    assert "posts" not in moves_objects(site)["shard_2"]
    with package.connect(site.file) as db:
        assert db.execute("SELECT COUNT(*) FROM posts").scalar() == 3


def test_what_cannot_be_meant_is_refused_before_anything_begins(on_files: Site, tenfold: Command) -> None:
    for arguments, code, what in (
        (("move", "--buckets", "17,17", "--to", "shard_1"), 1, "the list names 17 more than once"),
        (("move", "--buckets", "17", "--table", "posts", "--to", "shard_1"), 2, "and not both"),
        (("move", "--to", "shard_1"), 2, "name --buckets or --table"),
        (("move", "--buckets", "5000", "--to", "shard_1"), 1, "there is no bucket 5000"),
        (("move", "--buckets", "17", "--to", "shard_9"), 1, "there is no shard shard_9"),
        (("drain", "shard_9"), 1, "there is no shard shard_9"),
        (("add", "shard_9"), 1, "shard_9 is not in tenfold.toml"),
        (("add", "shard_1"), 1, "shard_1 belongs to the platform already"),
        (("resume",), 1, "no move is under way"),
        (("undo",), 1, "no move is under way"),
        (("finish", "--yes"), 1, "no move is under way"),
        (("cancel",), 1, "no move is under way"),
    ):
        found, _, err = tenfold(on_files, "shard", *arguments)
        assert found == code and what in err and "\nTry: " in err, (arguments, err)
    assert on_files.look("shard_0", "SELECT * FROM tf_move") == []


def test_a_process_whose_file_lacks_the_new_shard_holds_it_up(on_files: Site, tenfold: Command) -> None:
    values = ("1" * 32, 2, "web2", 77, "shard_0,shard_1,shard_2", time.time(), time.time())
    with widened(on_files) as site, package.connect(on_files.file) as db:
        # One that reads the file here knows it; one on another machine may have another file.
        site.look("shard_0", "INSERT INTO tf_router VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        code, _, err = tenfold(site, "shard", "add", "shard_3")
        assert code == 1 and "error: process 77 on web2 does not know shard_3; start it again" in err
        assert err.count("does not know") == 1 and site.look("shard_0", "SELECT * FROM tf_move") == []
        site.look("shard_0", "DELETE FROM tf_router WHERE pid = 77")
        assert tenfold(site, "shard", "add", "shard_3")[0] == 0
        db.execute("INSERT INTO currencies VALUES ('EUR', 2)")
    assert on_files.look("shard_3", "SELECT COUNT(*) FROM currencies") == [(3,)]


def test_without_an_answer_nothing_moves(four_files: Site, tenfold: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    assert tenfold(four_files, "shard", "add", "shard_3")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = tenfold(four_files, "shard", "rebalance")
    assert code == 1 and "a question was not answered" in err
    assert four_files.look("shard_0", "SELECT COUNT(*) FROM tf_move") == [(1,)]


def test_an_interrupted_move_says_where_it_is_and_how_to_go_on(
    on_files: Site, tenfold: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.sharding.moves.mover import Mover

    def interrupted(self: Mover, *_: object) -> None:
        raise KeyboardInterrupt

    bucket = on_files.look("shard_0", "SELECT bucket FROM tf_bucket WHERE shard = 'shard_0' LIMIT 1")[0][0]
    monkeypatch.setattr(Mover, "_copying", interrupted)
    code, _, err = tenfold(on_files, "shard", "move", "--buckets", str(bucket), "--to", "shard_1", "--yes")
    assert code == 130
    assert err.rstrip() == (
        "interrupted, and nothing is lost: move 1 of 1 bucket is copying: nothing has moved yet; "
        "`tenfold shard resume` goes on, `tenfold shard cancel` deletes the copies"
    )
    monkeypatch.undo()
    # What it has put on the shards is nobody's mistake, and not to be dropped by hand.
    assert tenfold(on_files, "shard", "init") == (0, "nothing to do\n", "")
    code, out, _ = tenfold(on_files, "shard", "move", "--buckets", str(bucket), "--to", "shard_1")
    assert code == 1 and out.count("in the way") == 1 and "another move is not done: move 1 is copying" in out
    assert tenfold(on_files, "shard", "resume")[0] == 0
    assert tenfold(on_files, "shard", "cancel")[0] == 1  # it serves: there is nothing to cancel any more
    assert tenfold(on_files, "shard", "undo")[0] == 0
    assert_whole(on_files)
    assert_clean(on_files)


def test_a_drain_is_one_from_its_first_moment_on(
    on_files: Site, tenfold: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.sharding.moves.books import Books

    def interrupted(self: Books, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Begun as any other move, it would leave a shard that the next rebalance fills again.
    monkeypatch.setattr(Books, "record", interrupted)
    assert tenfold(on_files, "shard", "drain", "shard_1", "--yes")[0] == 130
    ((detail,),) = on_files.look("shard_0", "SELECT detail FROM tf_move")
    assert json.loads(detail)["drains"] == "shard_1"


def test_a_stopped_join_is_gone_on_with_or_taken_back_by_command(
    on_files: Site, tenfold: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.sharding.moves.joining import Joining

    def interrupted(self: Joining, *_: object) -> None:
        raise KeyboardInterrupt

    with widened(on_files) as site:
        for command, members in (("cancel", 3), ("resume", 4)):
            monkeypatch.setattr(Joining, "_copying", interrupted)
            code, _, err = tenfold(site, "shard", "add", "shard_3")
            assert code == 130 and "shard_3 is joining: `tenfold shard resume` goes on" in err
            monkeypatch.undo()
            assert tenfold(site, "shard", "undo")[0] == tenfold(site, "shard", "finish", "--yes")[0] == 1
            code, out, err = tenfold(site, "shard", command)
            assert (code, err) == (0, ""), out
            assert site.look("shard_0", "SELECT COUNT(*) FROM tf_member") == [(members,)]


def test_a_bar_tells_share_rate_and_time_left() -> None:
    assert bar(12_345, 30_000, 12_345.0, 1.43) == (
        "##########                41%  12,345 of 30,000 rows  12,345/s  1 s left"
    )
    assert bar(0, 0, 0.0, None, width=0) == "100%  0 of 0 rows  0/s"


def test_lines_are_told_now_and_then_and_objects_of_json_more_often(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    times: Iterator[float] = iter([0.0, 1.0, 2.0, 6.0, 7.0, 7.0])
    telling = Telling(Invocation(tmp_path), clock=lambda: next(times) + 100)
    for done in (0, 100, 200, 600, 690):
        telling.rows(done, 700)
    telling.say({"event": "phase", "phase": "following"})
    assert capsys.readouterr().out.splitlines() == [
        "   86%  600 of 700 rows  100/s  1 s left", "  100%  690 of 690 rows  99/s",
        "following: what has changed meanwhile",
    ]  # fmt: skip
    clock = iter([100.0, 101.0])
    telling = Telling(Invocation(tmp_path, json=True), clock=lambda: next(clock))
    telling.rows(0, 10)
    telling.rows(5, 10)
    told = json.loads(capsys.readouterr().out)
    assert told == {"event": "rows", "done": 5, "total": 10, "rate": 5, "left_s": 1.0}
