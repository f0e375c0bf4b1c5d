"""What a router does while buckets move, with a lease and without; moves are made by hand. Edge."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import tenfold
from tenfold.errors import FenceError, MoveError
from tenfold.sharding.keys import KeyType, bucket_of
from tests.sharding.engine.moving import HandMadeMove
from tests.sharding.engine.sites import Site

READ = "SELECT name FROM users WHERE id = ?"
RENAME = "UPDATE users SET name = ? WHERE id = ?"


@pytest.fixture
def db(home: Site) -> Iterator[tenfold.Database]:
    home.look("shard_0", "DELETE FROM tf_move")
    with home.connect() as handle:
        for shard in home.shards:
            handle.execute("INSERT INTO users (id, name) VALUES (?, 'old')", (home.key(shard),))
            handle.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 5)", (home.key(shard),))
        handle.guard._wait_s = 20.0  # of a busy machine
        yield handle


@pytest.fixture
def ada(home: Site, db: tenfold.Database) -> int:
    """A user on shard_0."""
    return home.key("shard_0")


@pytest.fixture
def move(home: Site, ada: int) -> Iterator[HandMadeMove]:
    """Her bucket, on its way to shard_1."""
    made = HandMadeMove(home, bucket_of(ada, KeyType.INTEGER), "shard_0", "shard_1")
    yield made
    _back(made)


def _back(made: HandMadeMove) -> None:
    """Everything as it was, for the next test of the same platform."""
    made.source, made.target = made.target, made.source
    made.bump()
    made.open()
    made.epoch = 1
    for shard in made.site.shards:
        made.site.look(shard, "UPDATE tf_bucket SET epoch = 1")
        made.site.look(shard, "UPDATE tf_fence SET epoch = 1")
    made.site.look("shard_0", "UPDATE tf_catalog SET value = '1' WHERE name = 'epoch'")
    made.end()


def carried(move: HandMadeMove, key: int) -> None:
    """All of a move, past every router: rows, map and fences; the remains stay."""
    move.copy("users", "id", key)
    move.copy("deposits", "user_id", key)
    move.site.look(move.target, "UPDATE users SET name = 'new' WHERE id = ?", (key,))
    move.bump()
    move.open()


def forget(db: tenfold.Database) -> None:
    """The router has slept past its lease."""
    db.guard.lease.lose()


def test_a_router_whose_lease_ran_out_reads_where_the_rows_are(
    db: tenfold.Database, move: HandMadeMove, ada: int
) -> None:
    db.execute(READ, (ada,))
    carried(move, ada)
    forget(db)
    assert db.execute(READ, (ada,)).scalar() == "new"


@pytest.mark.parametrize("leased", [True, False], ids=["leased", "unleased"])
def test_an_update_that_finds_no_row_on_the_old_shard_is_run_again_on_the_new_one(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int, leased: bool
) -> None:
    if leased:
        move.announce()
        db._renewal.once()
    carried(move, ada)
    home.look("shard_0", "DELETE FROM users WHERE id = ?", (ada,))
    if not leased:
        forget(db)
    assert db.execute(RENAME, ("ada", ada)).rowcount == 1
    assert home.look("shard_1", READ, (ada,))[0][0] == "ada"


def test_a_write_without_a_lease_reaches_only_the_shard_that_has_the_bucket(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int
) -> None:
    carried(move, ada)
    forget(db)
    db.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 7)", (ada,))
    db.execute(RENAME, ("ada", ada))
    assert [row[0] for row in home.look("shard_0", "SELECT amount FROM deposits WHERE user_id = ?", (ada,))] == [5]
    assert home.look("shard_0", READ, (ada,))[0][0] == "old"
    assert sorted(row[0] for row in home.look("shard_1", "SELECT amount FROM deposits WHERE user_id = ?", (ada,))) == [
        5, 7,
    ]  # fmt: skip


def test_a_write_to_several_users_of_one_shard_misses_none_that_has_moved(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int
) -> None:
    bob = home.key("shard_0", 1)
    db.execute("INSERT INTO users (id, name) VALUES (?, 'old')", (bob,))
    carried(move, ada)
    home.look("shard_0", "DELETE FROM users WHERE id = ?", (ada,))
    forget(db)
    assert db.execute("UPDATE users SET name = 'both' WHERE id IN (?, ?)", (ada, bob)).rowcount == 2
    assert {db.execute(READ, (key,)).scalar() for key in (ada, bob)} == {"both"}


@pytest.mark.parametrize(
    "text", ["update users set name = ? where id = ?", "/* why */ -- and\n  Update users SET name = ? WHERE id = ?"]
)
def test_however_a_statement_is_written_it_is_looked_after(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int, text: str
) -> None:
    move.announce()
    db._renewal.once()
    carried(move, ada)
    home.look("shard_0", "DELETE FROM users WHERE id = ?", (ada,))
    assert db.execute(text, ("ada", ada)).rowcount == 1
    forget(db)
    assert db.execute("select count(*) from users").scalar() == 3


SCATTERS = [
    ("SELECT COUNT(*) FROM users", 3),
    ("SELECT COUNT(*) FROM users AS u", 3),
    ("SELECT COUNT(*) FROM users u JOIN deposits d ON d.user_id = u.id", 3),
    ("SELECT COUNT(*) FROM users u LEFT JOIN deposits d ON d.user_id = u.id", 3),
    ("SELECT SUM(amount) FROM deposits WHERE amount > 1 OR amount < 0", 15),
    ("SELECT COUNT(*) FROM users WHERE id IN (SELECT user_id FROM deposits)", 3),
    ("SELECT COUNT(*) FROM (SELECT name FROM users ORDER BY name LIMIT 10) AS few", 3),
    ("SELECT COUNT(DISTINCT id) FROM users", 3),
]


@pytest.mark.parametrize(
    ("home", "sql", "expected"),
    [*(("sqlite", *case) for case in SCATTERS), *(("mysql", *case) for case in SCATTERS[::3])],
    indirect=["home"],
)
@pytest.mark.parametrize("knows", ["all", "announcement", "nothing", "no lease"])
@pytest.mark.parametrize("cut_over", [True, False], ids=["remains", "copies"])
def test_a_scatter_sees_a_row_on_its_way_once(
    db: tenfold.Database, move: HandMadeMove, ada: int, sql: str, expected: int, knows: str, cut_over: bool
) -> None:
    db.execute(sql)
    move.announce()
    if knows in ("announcement", "no lease"):
        db._renewal.once()
    move.fence("shard_1", "incoming")
    if cut_over:
        carried(move, ada)
    else:
        move.copy("users", "id", ada)
        move.copy("deposits", "user_id", ada)
    if knows == "all":
        db._renewal.once()
    elif knows != "announcement":
        forget(db)
    assert db.execute(sql).scalar() == expected


def test_a_stream_sees_a_row_on_its_way_once(db: tenfold.Database, move: HandMadeMove, ada: int) -> None:
    move.announce()
    db._renewal.once()
    carried(move, ada)
    for _ in range(3):
        with db.stream("SELECT name FROM users ORDER BY name") as rows:
            assert [row[0] for row in rows] == ["new", "old", "old"]
        forget(db)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("users", "UPDATE users SET name = 'all'"),
        ("users", "UPDATE users SET name = 'all' WHERE name LIKE '%' OR 1 = 0"),
        ("deposits", "DELETE FROM deposits WHERE amount = 5 OR amount = 6"),
    ],
)
@pytest.mark.parametrize("knows_all", [True, False], ids=["current", "stale"])
def test_a_scatter_write_leaves_copies_and_remains_alone(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int, table: str, change: str, knows_all: bool
) -> None:
    move.announce()
    db._renewal.once()
    carried(move, ada)
    if knows_all:
        db._renewal.once()
    column = "id" if table == "users" else "user_id"
    remains = home.look("shard_0", f"SELECT * FROM {table} WHERE {column} = ?", (ada,))
    assert db.execute(change).rowcount == 3
    assert home.look("shard_0", f"SELECT * FROM {table} WHERE {column} = ?", (ada,)) == remains != []
    now = home.look("shard_1", f"SELECT * FROM {table} WHERE {column} = ?", (ada,))
    assert not now if table == "deposits" else now[0][2] == "all"


@pytest.mark.parametrize("leased", [True, False], ids=["leased", "unleased"])
def test_rows_behind_a_fence_are_waited_for(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int, leased: bool
) -> None:
    db.execute(READ, (ada,))
    move.announce()
    db._renewal.once()
    move.fence("shard_0", "fenced")
    if not leased:
        forget(db)

    def cut_over() -> None:
        time.sleep(0.1)
        carried(move, ada)

    thread = threading.Thread(target=cut_over)
    thread.start()
    assert db.execute(READ, (ada,)).scalar() == "new"
    thread.join()
    assert db.execute(READ, (home.key("shard_2"),)).scalar() == "old"


def test_a_fence_that_stays_up_is_an_error_with_a_remedy(db: tenfold.Database, move: HandMadeMove, ada: int) -> None:
    db.guard._wait_s = 0.2
    move.announce()
    db._renewal.once()
    move.fence("shard_0", "fenced")
    with pytest.raises(FenceError, match="were on their way") as caught:
        db.execute(READ, (ada,))
    assert caught.value.retryable and "tenfold shard resume" in caught.value.hint
    move.fence("shard_0", "open")
    assert db.execute(READ, (ada,)).scalar() == "old"


@pytest.mark.parametrize("statement", [READ, "DELETE FROM users WHERE id = ? AND name = 'nobody'"])
def test_a_transaction_whose_rows_have_moved_is_undone_and_says_so(
    home: Site, db: tenfold.Database, move: HandMadeMove, ada: int, statement: str
) -> None:
    if home.engine == "sqlite":
        pytest.skip("whoever has begun a transaction on SQLite keeps the mover out")
    bob = home.key("shard_0", 1)
    db.execute("INSERT INTO users (id, name) VALUES (?, 'old')", (bob,))

    def work() -> None:
        with db.transaction() as tx:
            tx.execute(RENAME, ("bob", bob))
            carried(move, ada)
            forget(db)
            with pytest.raises(FenceError, match="all of it is undone"):
                tx.execute(statement, (ada,))
            with pytest.raises(FenceError, match="all of it is undone"):
                tx.execute(READ, (bob,))  # nothing may follow in it

    with pytest.raises(FenceError, match="all of it is undone") as caught:
        work()
    assert caught.value.retryable
    assert home.look("shard_0", READ, (bob,))[0][0] == "old"
    with db.transaction() as tx:
        assert tx.execute(RENAME, ("ada", ada)).rowcount == 1
    assert home.look("shard_1", READ, (ada,))[0][0] == "ada"


def test_the_schema_does_not_change_while_rows_move(db: tenfold.Database, move: HandMadeMove) -> None:
    move.announce()
    db._renewal.once()
    for ddl in ("CREATE TABLE drafts (id INTEGER)", "DROP TABLE deposits", "ALTER TABLE users ADD COLUMN age INTEGER"):
        with pytest.raises((MoveError, tenfold.errors.RoutingError)):
            db.execute(ddl)


@pytest.mark.parametrize("leased", [True, False], ids=["leased", "unleased"])
def test_while_a_shard_joins_only_reference_tables_are_not_written(
    db: tenfold.Database, home: Site, ada: int, leased: bool
) -> None:
    db.guard._wait_s = 0.2
    home.look("shard_0", "INSERT INTO tf_move VALUES (1, 'copying', 1, '[]', '{\"joins\": \"shard_9\"}', 0, 0)")
    home.look("shard_0", "UPDATE tf_catalog SET value = value + 1 WHERE name = 'version'")
    for shard in home.shards:
        home.look(shard, "UPDATE tf_fence SET state = 'fenced' WHERE bucket = 4096")
    db._renewal.once()
    try:
        for sql in ("SELECT COUNT(*) FROM users", "SELECT COUNT(*) FROM currencies", "UPDATE users SET name = 'x'"):
            if not leased:
                forget(db)
            db.execute(sql)
        if not leased:
            forget(db)
        with pytest.raises(FenceError):
            db.execute("INSERT INTO currencies (code, digits) VALUES ('EUR', 2)")
    finally:
        home.look("shard_0", "DELETE FROM tf_move")
        home.look("shard_0", "UPDATE tf_catalog SET value = value + 1 WHERE name = 'version'")
        for shard in home.shards:
            home.look(shard, "UPDATE tf_fence SET state = 'open' WHERE bucket = 4096")


def test_many_rows_of_which_some_have_moved_are_stored_once(
    db: tenfold.Database, home: Site, move: HandMadeMove, ada: int
) -> None:
    insert = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
    db.execute(insert, (ada, 1))
    rows = [(home.key(shard), 9) for shard in reversed(home.shards)] * 2
    carried(move, ada)
    forget(db)
    assert db.executemany(insert, rows).rowcount == 6
    assert db.execute("SELECT COUNT(*) FROM deposits WHERE amount = 9 AND user_id = ?", (ada,)).scalar() == 2
    found = home.look_everywhere("SELECT COUNT(*) FROM deposits WHERE amount = 9")
    assert {shard: rows[0][0] for shard, rows in found.items()} == {"shard_0": 0, "shard_1": 4, "shard_2": 2}


def test_a_lease_is_renewed_in_the_background(home: Site, db: tenfold.Database, move: HandMadeMove, ada: int) -> None:
    home.look("shard_0", "UPDATE tf_catalog SET value = '0.3' WHERE name = 'lease_s'")
    try:
        with home.connect() as other:
            move.announce()
            until = time.monotonic() + 5
            while not other.guard.catalog.announced and time.monotonic() < until:
                time.sleep(0.02)
            assert other.guard.catalog.announced == {move.bucket}
            assert other.guard.lease.holds(other.guard.catalog.version)
    finally:
        home.look("shard_0", "UPDATE tf_catalog SET value = '2' WHERE name = 'lease_s'")


def test_connections_to_shards_that_are_cleaned_up_are_opened_anew(
    home: Site, db: tenfold.Database, move: HandMadeMove, ada: int
) -> None:
    opened = {shard: counters.opened for shard, counters in db.pools().items()}
    move.announce("cleaning")
    db._renewal.once()
    for shard in home.shards:
        db.execute(READ, (home.key(shard),))
    now = {shard: counters.opened for shard, counters in db.pools().items()}
    assert now["shard_0"] > opened["shard_0"] and now["shard_1"] > opened["shard_1"]


def test_a_process_is_on_the_list_of_routers_while_it_lives(home: Site) -> None:
    before = len(home.look("shard_0", "SELECT id FROM tf_router"))
    with home.connect() as db:
        assert len(home.look("shard_0", "SELECT id FROM tf_router")) == before, "what lives for a moment is not listed"
        db._renewal.once()
        rows = home.look("shard_0", "SELECT schema_version, shards FROM tf_router ORDER BY started_s DESC LIMIT 1")
        assert list(rows[0]) == [2, "shard_0,shard_1,shard_2"]
        assert len(home.look("shard_0", "SELECT id FROM tf_router")) == before + 1
    assert len(home.look("shard_0", "SELECT id FROM tf_router")) == before


def test_without_the_catalog_the_shards_themselves_lead_on(site: Site) -> None:
    """Only where the catalog has a shard of its own can it be lost alone."""
    ada = site.key("shard_1")
    move = HandMadeMove(site, bucket_of(ada, KeyType.INTEGER), "shard_1", "shard_2")
    with site.connect() as db:
        db.execute("INSERT INTO users (id, name) VALUES (?, 'old')", (ada,))
        carried(move, ada)
        away = site.path("shard_0").rename(site.root / "away")
        for pool in (*db._pools.values(), *db._renewal._pools.values()):
            pool.renew()  # an open file stays what it was, whatever becomes of its name
        forget(db)
        db._renewal.once()
        assert not db.guard.lease.holds(db.guard.catalog.version)
        assert db.execute(READ, (ada,)).scalar() == "new"
        assert db.execute(RENAME, ("ada", ada)).rowcount == 1
        away.rename(site.path("shard_0"))
    assert site.look("shard_2", READ, (ada,)) == [("ada",)]


def test_a_process_learns_of_a_shard_that_is_written_into_the_file(site: Site) -> None:
    with site.connect() as db:
        text = site.file.read_text()
        site.file.write_text(text + "[nonsense")
        db._renewal.once()
        site.file.write_text(
            text.replace("[database.shards]", '[database.shards]\nnew = { url = "sqlite:///var/n.db" }')
        )
        db._renewal.once()
        assert "new" in db.pools()
        assert "new" in site.look("shard_0", "SELECT shards FROM tf_router")[0][0]


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_an_answer_that_came_after_the_lease_had_ended_is_asked_for_again(
    db: tenfold.Database, move: HandMadeMove, ada: int, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if known:
        db.execute(READ, (ada,))
    carried(move, ada)
    left = [True, True] if not known else [True]

    def holds(version: int) -> bool:
        return left.pop() if left else False

    monkeypatch.setattr(db.guard.lease, "holds", holds)
    assert db.execute(READ, (ada,)).scalar() == "new"


def test_many_rows_of_which_the_last_have_moved_are_stored_once(
    db: tenfold.Database, home: Site, request: pytest.FixtureRequest
) -> None:
    keys = [home.key(shard) for shard in home.shards]
    insert = "INSERT INTO deposits (user_id, amount) VALUES (?, 9)"
    db.execute(insert, (keys[0],))
    move = HandMadeMove(home, bucket_of(keys[2], KeyType.INTEGER), "shard_2", "shard_1")
    request.addfinalizer(lambda: _back(move))
    carried(move, keys[2])
    forget(db)
    assert db.executemany(insert, [(key,) for key in keys]).rowcount == 3
    found = db.execute("SELECT user_id, COUNT(*) FROM deposits WHERE amount = 9 GROUP BY user_id ORDER BY 2").rows
    assert sorted(map(tuple, found)) == sorted([(keys[0], 2), (keys[1], 1), (keys[2], 1)])


def test_what_is_run_again_waits_for_no_connection_of_its_own(site: Site) -> None:
    site.write(settings="pool_size = 1\npool_wait_s = 0.5\nlock_wait_s = 20.0")
    ada = site.key("shard_0")
    move = HandMadeMove(site, bucket_of(ada, KeyType.INTEGER), "shard_0", "shard_1")
    with site.connect() as db:
        for shard in site.shards:
            db.execute("INSERT INTO users (id, name) VALUES (?, 'old')", (site.key(shard),))
        move.announce()
        db._renewal.once()
        carried(move, ada)
        with db.stream("SELECT name FROM users ORDER BY name") as rows:
            assert [row[0] for row in rows] == ["new", "old", "old"]
