"""What `plan` shows, and all that it refuses: by name, each with what to do. Edge."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tenfold.errors import MoveError, RoutingError
from tenfold.sharding.moves.obstacles import ShardFacts, server_obstacles, space_obstacles
from tenfold.sharding.moves.proposal import Proposal, propose, propose_buckets, propose_drain, propose_table
from tenfold.sharding.requirements import Finding, Level
from tests.mariadb import Server
from tests.sharding.engine.sites import GROUP, Site, mariadb_site
from tests.sharding.moves.conftest import Command


def uneven(site: Site, weight: int = 3) -> Site:
    """The last shard is to have more than it has."""
    lines = {name: site.shard_line(name) + (f", weight = {weight}" * (name == "shard_2")) for name in site.shards}
    site.write(shards=lines)
    return site


def said(found: Proposal) -> list[str]:
    return [one.said for one in found.obstacles]


def only(found: Proposal) -> tuple[str, str]:
    """The one obstacle and its remedy."""
    assert len(found.obstacles) == 1, said(found)
    return found.obstacles[0].said, found.obstacles[0].remedy


def test_a_plan_shows_legs_rows_and_time_and_changes_nothing(filled_site: Site, tenfold: Command) -> None:
    code, out, err = tenfold(filled_site, "shard", "plan")
    assert (code, out, err) == (0, "every shard has its share: nothing has to move\n", "")
    uneven(filled_site)
    before = filled_site.look_everywhere("SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket")
    code, out, err = tenfold(filled_site, "shard", "plan")
    lines = out.splitlines()
    assert (code, err) == (0, "") and lines[0].split() == ["FROM", "TO", "BUCKETS", "ROWS", "BYTES"]
    assert [" ".join(line.split()[:3]) for line in lines[1:3]] == ["shard_0 shard_2 545", "shard_1 shard_2 547"]
    assert lines[4].startswith("1,092 buckets; ") and " rows; about " in lines[4]
    told = json.loads(tenfold(filled_site, "shard", "plan", "--json")[1])
    rows = 0
    for leg in told["legs"]:
        assert leg["target"] == "shard_2" and leg["bytes"] > 0
        rows += leg["rows"]
    users = sum(int(count) for ((count,),) in filled_site.look_everywhere("SELECT COUNT(*) FROM users").values())
    assert users == 60 and 30 < rows < 80 and told["obstacles"] == []
    assert filled_site.look_everywhere("SELECT bucket, shard, epoch FROM tf_bucket ORDER BY bucket") == before


@pytest.mark.parametrize(
    ("sql", "what", "remedy"),
    [
        ("DROP INDEX deposits_user", "deposits has no index that begins with its shard key user_id",
         'CREATE INDEX "deposits_user_id" ON "deposits" ("user_id")'),
        ("CREATE TRIGGER watch AFTER INSERT ON deposits BEGIN SELECT 1; END", "deposits has the trigger watch on",
         'DROP TRIGGER "watch"'),
        ("CREATE UNIQUE INDEX odd ON posts (lower(title))", "posts has the unique index odd over an expression",
         'DROP INDEX "odd"'),
        ("ALTER TABLE users ADD COLUMN phone TEXT", "phone is only on shard_0", "make the schema the same"),
        ("CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
         "the foreign key of notes to users on shard_0 would cross shards: notes stays, as no one declared it",
         "name notes in tenfold.toml"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_move_safely_is_named(on_files: Site, sql: str, what: str, remedy: str) -> None:
    uneven(on_files)
    shards = ("shard_0",) if "ALTER" in sql else ("shard_2",) if "posts" in sql else on_files.shards
    for shard in shards:
        on_files.look(shard, sql)
    topology = on_files.topology()
    found = propose_table(topology, ["posts"], "shard_1") if "posts" in sql else propose(topology)
    assert found.legs and any(what in line for line in said(found)), said(found)
    assert all(remedy in one.remedy for one in found.obstacles)


def test_an_index_over_some_rows_alone_finds_no_bucket(on_files: Site) -> None:
    for shard in on_files.shards:
        on_files.look(shard, "DROP INDEX deposits_user")
        on_files.look(shard, "CREATE INDEX some ON deposits (user_id) WHERE amount > 5")
    what, remedy = only(propose(uneven(on_files).topology()))
    assert "no index that begins" in what
    for shard in on_files.shards:
        on_files.look(shard, remedy)
    assert not propose(on_files.topology()).obstacles


def test_a_table_without_primary_key_is_named_with_both_ways_out(tmp_path: Path) -> None:
    site = Site(tmp_path / "site").set_up(
        (
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)",
            "CREATE TABLE deposits (user_id INTEGER, amount INTEGER)",
            "CREATE INDEX by_user ON deposits (user_id)",
            "CREATE TABLE posts (id TEXT PRIMARY KEY)",
        )
    )
    what, remedy = only(propose(uneven(site).topology()))
    assert "deposits has no primary key" in what and "PRIMARY KEY" in remedy
    site.look("shard_2", "INSERT INTO posts VALUES (NULL)")
    what, _ = only(propose_table(site.topology(), ["posts"], "shard_1"))
    assert what == "posts has rows on shard_2 whose primary key is NULL"


def test_rows_that_lie_on_the_target_already_are_counted(filled_site: Site) -> None:
    user = filled_site.key("shard_0")
    filled_site.look("shard_2", "INSERT INTO users (id) VALUES (?)", (user,))
    filled_site.look("shard_2", "INSERT INTO tf_reservation VALUES ('s', 'd', ?, 1, 'kept', 't', 0)",
                     (bucket := bucket_of_key(user),))  # fmt: skip
    found = propose_buckets(filled_site.topology(), str(bucket), "shard_2")
    assert said(found) == [
        f"1 rows of {name} lie on shard_2 already, of 1 buckets that are to go there: something wrote them past Tenfold"
        for name in ("tf_reservation", "users")
    ]
    assert "verify --placement" in found.obstacles[0].remedy


def bucket_of_key(user: int) -> int:
    from tenfold.sharding.keys import KeyType, bucket_of

    return bucket_of(user, KeyType.INTEGER)


@pytest.mark.parametrize(
    ("buckets", "what"),
    [
        ("17,40-52,45", "the list names 45 more than once"),
        ("4000-4100", "there is no bucket 4096-4100"),
        ("a-b", '"a-b" in the list of buckets is none'),
        ("9-2", '"9-2" in the list of buckets is none'),
        ("", "the list of buckets is empty"),
        ("4000-4010", "buckets 4000-4010 are on shard_2 already"),
    ],
)
def test_a_list_of_buckets_that_cannot_be_meant_is_refused(on_files: Site, buckets: str, what: str) -> None:
    with pytest.raises(MoveError) as caught:
        propose_buckets(on_files.topology(), buckets, "shard_2")
    assert str(caught.value) == what and caught.value.hint


def test_a_shard_or_table_that_cannot_be_meant_is_refused(on_files: Site) -> None:
    topology = on_files.topology()
    with pytest.raises(MoveError, match="there is no shard shard_9") as caught:
        propose_buckets(topology, "17", "shard_9")
    assert "shard_0, shard_1, shard_2" in caught.value.hint
    with pytest.raises(MoveError, match="users is not pinned: it lies with its group"):
        propose_table(topology, ["users"], "shard_1")
    with pytest.raises(MoveError, match="currencies is not pinned: it is on every shard"):
        propose_table(topology, ["currencies"], "shard_1")
    with pytest.raises(RoutingError, match="no one declared"):
        propose_table(topology, ["nothing"], "shard_1")
    with pytest.raises(MoveError, match="posts is on shard_2 already"):
        propose_table(topology, ["posts"], "shard_2")
    with pytest.raises(MoveError, match="shard_0 holds the catalog and cannot be drained"):
        propose_drain(topology, "shard_0")
    lines = {name: on_files.shard_line(name) for name in on_files.shards}
    on_files.write(shards=lines | {"shard_3": 'url = "sqlite:///var/shard_3.db"'})
    with pytest.raises(MoveError, match="shard_3 is in the file and not yet part") as caught:
        propose_buckets(on_files.topology(), "17", "shard_3")
    assert "tenfold shard add shard_3" in caught.value.hint
    assert "tenfold shard add shard_3" in propose(on_files.topology()).notes[0]


def test_a_drain_takes_everything_and_its_tables(on_files: Site) -> None:
    found = propose_drain(on_files.topology(), "shard_2")
    assert [(one.leg.source, one.leg.target, one.buckets, one.tables) for one in found.legs] == [
        ("shard_2", "shard_0", 683, ("posts",)), ("shard_2", "shard_1", 682, ())
    ]  # fmt: skip
    assert found.detail == {"drains": "shard_2"} and found.obstacles == ()


def test_a_shard_that_is_going_away_takes_nothing(on_files: Site) -> None:
    legs = json.dumps([{"source": "shard_2", "target": "shard_1", "buckets": "4000-4010"}])
    on_files.look(
        "shard_0", "INSERT INTO tf_move VALUES (1, 'serving', 1, ?, '{\"drains\": \"shard_2\"}', 0, 0)", (legs,)
    )
    found = propose_buckets(on_files.topology(), "17", "shard_2")
    assert said(found) == [
        "another move is not done: move 1 is serving", "shard_2 is going away: it is being drained"
    ]  # fmt: skip
    on_files.look(
        "shard_0", 'UPDATE tf_move SET phase = \'done\', detail = \'{"drains": "shard_2", "result": "undone"}\''
    )
    assert said(propose_buckets(on_files.topology(), "17", "shard_2")) == []


def test_processes_that_a_move_would_not_wait_for_are_named(on_files: Site) -> None:
    def router(number: int, version: int, shards: str, seen_s: float) -> None:
        values = (f"{number:032}", version, "web1", number, shards, seen_s, seen_s)
        on_files.look("shard_0", "INSERT INTO tf_router VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    now_s = time.time()
    on_files.look("shard_0", "DELETE FROM tf_router")
    router(1, 2, "shard_0,shard_1,shard_2", now_s)
    router(2, 1, "shard_0,shard_1,shard_2", now_s)
    router(3, 2, "shard_0,shard_1", now_s)
    router(4, 1, "shard_0", now_s - 700)  # long gone
    on_files.look("shard_0", "INSERT INTO tf_catalog VALUES ('older_routers', '1')")
    on_files.look("shard_0", "INSERT INTO tf_catalog VALUES ('lease_was_s', '9')")
    found = propose(uneven(on_files).topology())
    assert said(found) == [
        "processes of the release before may still run; they know no leases, and no move would wait for them",
        "database.lease_s is being changed",
        "process 2 on web1 runs an older release of Tenfold",
        "process 3 on web1 does not know shard_2",
    ]
    assert "--restarted" in found.obstacles[0].remedy


def test_what_mysql_hides_from_triggers_is_refused(three_servers: list[Server], tmp_path: Path) -> None:
    with mariadb_site(tmp_path / "site", three_servers) as site:
        site.write(GROUP.replace('unique = { users = ["email"] }', ""))
        site.set_up(
            (
                "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(100), name VARCHAR(100), "
                "upper_name VARCHAR(100) AS (UPPER(name)) STORED, seen TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
                "CREATE TABLE deposits (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, KEY (user_id),"
                " FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)",
                "CREATE TABLE posts (id BIGINT PRIMARY KEY)",
            )
        )
        lines = {name: site.shard_line(name) + ", weight = 3" * (name == "shard_2") for name in site.shards}
        site.write(GROUP.replace('unique = { users = ["email"] }', ""), lines)
        found = propose(site.topology())
        assert set(said(found)) == {
            f"the foreign key of deposits to users on shard_{n} is ON DELETE CASCADE: the server changes rows by it "
            "without telling any trigger, and the move would not see it"
            for n in range(3)
        }
        for shard in site.shards:
            site.look(shard, "DROP TABLE deposits")
            site.look(shard, "CREATE TABLE deposits (id INT PRIMARY KEY AUTO_INCREMENT, user_id BIGINT NOT NULL)"
                             + (" ENGINE = MyISAM" if shard == "shard_2" else ""))  # fmt: skip
        site.look("shard_2", "ALTER TABLE users MODIFY name VARCHAR(100) COLLATE utf8mb4_bin")
        site.look("shard_0", "ALTER TABLE users ADD SYSTEM VERSIONING")
        told = "\n".join(said(propose(site.topology())))
        for part in (
            "is int(11), too small for ids", "its storage engine is MyISAM", "the collation of name",
            "its storage engine (InnoDB and MyISAM)", "no index that begins with its shard key user_id",
            "users is WITH SYSTEM VERSIONING on shard_0",
        ):  # fmt: skip
            assert part in told, told


def test_rights_a_binary_log_and_branches_that_nobody_ends_stand_in_the_way(on_servers: Site) -> None:
    from tests.mariadb import client

    uneven(on_servers)
    line = client(on_servers.urls["shard_0"])
    try:
        with line.cursor() as cursor:
            cursor.execute("XA START 'left'")
            cursor.execute("UPDATE users SET name = 'x' WHERE id = 1")
            cursor.execute("XA END 'left'")
            cursor.execute("XA PREPARE 'left'")
        what, remedy = only(propose(on_servers.topology()))
        assert what == "shard_0 has 1 prepared XA transaction that nobody ends: left" and "XA ROLLBACK" in remedy
    finally:
        with line.cursor() as cursor:
            cursor.execute("XA ROLLBACK 'left'")
        line.close()


def test_a_server_is_judged_by_what_moves_need_of_it() -> None:
    facts = ShardFacts(
        findings=[
            Finding("writable", Level.MISTAKE, "read_only is ON", "SET GLOBAL read_only = OFF"),
            Finding("moves", Level.NOTE, "no triggers may be made", "GRANT TRIGGER ON `x`.* TO y"),
            Finding("Galera", Level.NOTE, "this node replicates to others of its cluster", "let the url name one node"),
            Finding("two-phase commit", Level.NOTE, "denied", "GRANT"),
            Finding("version", Level.OK, "MariaDB 10.11"),
        ]
    )
    told = [one.said for one in server_obstacles("shard_1", facts)]
    assert told[:2] == ["shard_1: writable: read_only is ON", "shard_1: moves: no triggers may be made"]
    assert len(told) == 3 and "node of a Galera cluster" in told[2]


def test_a_disk_that_is_too_small_is_told_before_it_is_full() -> None:
    facts = {
        "a": ShardFacts(free_bytes=100 * 2**20, disk="1"),
        "b": ShardFacts(free_bytes=100 * 2**20, disk="1"),
        "c": ShardFacts(free_bytes=None),
    }
    assert not list(space_obstacles({"a": 40 * 2**20, "c": 2**40}, facts))
    (found,) = space_obstacles({"a": 40 * 2**20, "b": 40 * 2**20}, facts)
    assert found.said == "a, b: 100 MB are free, and the move may take 160 MB"


def test_a_read_only_server_takes_nothing(three_servers: list[Server], tmp_path: Path) -> None:
    with mariadb_site(tmp_path / "site", three_servers) as site:
        site.set_up()
        uneven(site)
        three_servers[2].sql("SET GLOBAL read_only = ON")
        try:
            assert said(propose(site.topology())) == ["shard_2: writable: read_only is ON"]
        finally:
            three_servers[2].sql("SET GLOBAL read_only = OFF")
