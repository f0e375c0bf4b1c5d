"""Writes that need several shards: executemany, and reference tables with a copy on each. Edge."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import pytest

import tenfold
from tenfold.errors import ConstraintError, CrossShardError, NodeError, StatementError
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.reserve import PENDING, RESERVE, claim_of
from tests.sharding.engine.sites import Site

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"
TABLE_OF_USERS = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'users'"
CURRENCY = "INSERT INTO currencies (code, digits) VALUES (?, ?)"


def counts(site: Site, table: str) -> dict[str, int]:
    return {shard: rows[0][0] for shard, rows in site.look_everywhere(f"SELECT COUNT(*) FROM {table}").items()}


def test_rows_reach_their_shards_and_ids_are_drawn_for_each(site: Site, db: tenfold.Database) -> None:
    rows = [(site.key(shard, nth), 1) for nth in range(20) for shard in site.shards]
    result = db.executemany(DEPOSIT, rows)
    assert result.rowcount == 60 and counts(site, "deposits") == dict.fromkeys(site.shards, 20)
    last = db.execute("SELECT user_id FROM deposits WHERE id = ?", (result.lastrowid,)).scalar()
    assert last == rows[-1][0]
    assert db.executemany(DEPOSIT, []).rowcount == 0
    assert (
        db.executemany("UPDATE deposits SET amount = 2 WHERE user_id = ?", [(key,) for key, _ in rows]).rowcount == 60
    )
    assert db.executemany("DELETE FROM deposits WHERE user_id = ?", [(key,) for key, _ in rows]).rowcount == 60


def test_a_bad_row_costs_its_shard_all_rows_and_the_error_says_what_is_stored(site: Site, db: tenfold.Database) -> None:
    rows = [(site.key("shard_0"), 1), (site.key("shard_1"), 1), (site.key("shard_1", 1), -1), (site.key("shard_2"), 1)]
    with pytest.raises(ConstraintError, match=r"\(rows for shard_0 are stored, those for shard_1 are not\)"):
        db.executemany(DEPOSIT, rows)
    assert counts(site, "deposits") == {"shard_0": 1, "shard_1": 0, "shard_2": 0}
    with pytest.raises(ConstraintError) as caught:
        db.executemany(DEPOSIT, rows[2:])
    assert "are stored" not in str(caught.value)


def test_unique_values_of_many_rows_are_all_or_none_of_a_shard(site: Site, db: tenfold.Database) -> None:
    first = [(site.key("shard_0"), "a@example.org"), (site.key("shard_1"), "b@example.org")]
    assert db.executemany(SIGN_UP, first).rowcount == 2
    second = [
        (site.key("shard_0", 1), "c@example.org"),
        (site.key("shard_1", 1), "d@example.org"),
        (site.key("shard_1", 2), "a@example.org"),
    ]
    with pytest.raises(ConstraintError, match=r"value is taken \(rows for shard_0 are stored"):
        db.executemany(SIGN_UP, second)
    twice = [(site.key("shard_2"), "e@example.org"), (site.key("shard_2", 1), "e@example.org")]
    with pytest.raises(ConstraintError, match="the value is taken"):
        db.executemany(SIGN_UP, twice)
    assert counts(site, "users") == {"shard_0": 2, "shard_1": 1, "shard_2": 0}
    assert site.violations() == []


def test_changes_of_unique_values_say_how_far_they_came(site: Site, db: tenfold.Database) -> None:
    keys = [site.key(shard) for shard in site.shards]
    db.executemany(SIGN_UP, [(key, f"{key}@example.org") for key in keys])
    rows = [("x@example.org", keys[0]), ("x@example.org", keys[1]), ("y@example.org", keys[2])]
    with pytest.raises(ConstraintError, match="the first 1 of 3 rows of parameters are done, the rest is not"):
        db.executemany("UPDATE users SET email = ? WHERE id = ?", rows)
    assert db.execute("SELECT id FROM users WHERE email = 'y@example.org'").rows == []
    assert site.violations() == []


def test_only_writing_statements_take_many_rows(db: tenfold.Database) -> None:
    for sql in ("SELECT * FROM users WHERE id = ?", "CREATE TABLE users (id INTEGER PRIMARY KEY)"):
        with pytest.raises(StatementError, match="executemany"):
            db.executemany(sql, [(1,)])


def test_a_reference_table_has_the_same_rows_everywhere_or_none(site: Site, db: tenfold.Database) -> None:
    assert db.execute(CURRENCY, ("EUR", 2)).rowcount == 1
    assert db.executemany(CURRENCY, [("USD", 2), ("JPY", 0)]).rowcount == 2
    site.look("shard_1", "INSERT INTO currencies VALUES ('CHF', 2)")
    with pytest.raises(ConstraintError):
        db.execute(CURRENCY, ("CHF", 2))
    with pytest.raises(ConstraintError):
        db.executemany(CURRENCY, [("SEK", 2), ("CHF", 2)])
    site.look("shard_1", "DELETE FROM currencies WHERE code = 'CHF'")
    copies = site.look_everywhere("SELECT code FROM currencies ORDER BY code")
    assert all(copy == [("EUR",), ("JPY",), ("USD",)] for copy in copies.values()), copies


def test_a_reference_table_waits_for_no_shard_that_is_away(site: Site, db: tenfold.Database) -> None:
    away = site.path("shard_2").rename(site.root / "away")
    with pytest.raises(NodeError, match="shard_2"):
        db.execute(CURRENCY, ("EUR", 2))
    assert db.execute("SELECT COUNT(*) FROM currencies").scalar() == 0
    away.rename(site.path("shard_2"))
    db.execute(CURRENCY, ("EUR", 2))
    assert counts(site, "currencies") == dict.fromkeys(site.shards, 1)


def test_rows_of_one_statement_go_to_their_shards_or_nowhere(site: Site, db: tenfold.Database) -> None:
    here, there = site.key("shard_0"), site.key("shard_1")
    pair = "INSERT INTO deposits (user_id, amount) VALUES (?, 1), (?, ?)"
    assert db.execute(pair, (here, there, 1)).rowcount == 2
    with pytest.raises(ConstraintError) as caught:
        db.execute(pair, (here, there, -1))
    assert "are stored" not in str(caught.value)
    assert counts(site, "deposits") == {"shard_0": 1, "shard_1": 1, "shard_2": 0}
    with db.transaction() as tx, pytest.raises(CrossShardError, match="the transaction is on shard_0"):
        tx.execute(pair, (here, there, 1))


KILLED_BETWEEN_COMMITS = """
    import os, signal, sys, threading
    from tenfold.sharding.engine.router import one_off_runner, read_topology
    from tenfold.sharding.catalog import load
    from tenfold.sharding.execute import Executor
    from tenfold.sharding.ports import Commit

    topology = read_topology(sys.argv[1], None)

    def until_first_commit(steps):
        answer = None
        while True:
            effect = steps.send(answer)
            answer = yield effect
            if isinstance(effect, Commit):
                os.kill(os.getpid(), signal.SIGKILL)

    with one_off_runner(topology) as runner:
        executor = Executor(runner.run(load(topology)), threading.Lock(), 1.0)
        runner.run(until_first_commit(executor.execute("INSERT INTO currencies VALUES ('EUR', 2)", (), None)))
"""


def test_a_kill_between_the_commits_leaves_copies_that_differ(site: Site) -> None:
    """A known limit: SQLite has no commit over several files. It shows in the counts, and a repeat mends it."""
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED_BETWEEN_COMMITS), str(site.file)], timeout=20)
    assert ran.returncode == -signal.SIGKILL
    assert counts(site, "currencies") == {"shard_0": 1, "shard_1": 0, "shard_2": 0}
    with site.connect() as db:
        with pytest.raises(ConstraintError):
            db.execute(CURRENCY, ("EUR", 2))
        db.execute("INSERT OR REPLACE INTO currencies VALUES ('EUR', 2)")
    assert counts(site, "currencies") == dict.fromkeys(site.shards, 1)


def test_the_values_of_a_dropped_table_are_free_again(site: Site, db: tenfold.Database) -> None:
    for nth, shard in enumerate(site.shards):
        db.execute(SIGN_UP, (site.key(shard), f"gone{nth}@example.com"))
    (created,) = {row[0] for rows in site.look_everywhere(TABLE_OF_USERS).values() for row in rows}
    db.execute("DROP TABLE users")
    assert counts(site, "tf_reservation") == dict.fromkeys(site.shards, 0)
    db.execute(created)
    assert db.execute(SIGN_UP, (site.key("shard_0"), "gone1@example.com")).rowcount == 1


def test_what_a_killed_writer_left_long_ago_holds_nobody_up(site: Site, db: tenfold.Database) -> None:
    db.execute(SIGN_UP, (site.key("shard_0"), "stale@example.com"))
    db.execute("DELETE FROM users WHERE id = ?", (site.key("shard_0"),))
    claim = claim_of("users", "email", "stale@example.com", KeyType.TEXT, 7)
    shard = site.topology().catalog_shard
    with closing(sqlite3.connect(site.path(owner_of(site, shard, claim.bucket)))) as file, file:
        row = (claim.scope, claim.digest, claim.bucket, 7, PENDING, "f" * 32, time.time() - 3600)
        file.execute(RESERVE, row)
    started = time.monotonic()
    assert db.execute(SIGN_UP, (site.key("shard_1"), "stale@example.com")).rowcount == 1
    assert time.monotonic() - started < 0.9 * site.topology().database.lock_wait_s


def test_a_bucket_that_went_elsewhere_took_the_verdict_of_its_rows_along(site: Site, db: tenfold.Database) -> None:
    ada, bob = site.key("shard_1"), site.key("shard_1", 1)
    two = "INSERT INTO users (id, email) VALUES (?, ?), (?, ?)"
    db.execute(two, (ada, site.address("shard_0"), bob, site.address("shard_0", 1)))
    # The writer was killed before it confirmed, and bob's bucket was moved before anybody tidied up.
    site.look("shard_0", "UPDATE tf_reservation SET state = 'pending'")
    bucket = bucket_of(bob, KeyType.INTEGER)
    for table, column, value in (("users", "id", bob), ("tf_verdict", "bucket", bucket)):
        (row,) = site.look("shard_1", f"SELECT * FROM {table} WHERE {column} = ?", (value,))
        site.look("shard_1", f"DELETE FROM {table} WHERE {column} = ?", (value,))
        site.look("shard_2", f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    for shard in site.shards:
        site.look(shard, "UPDATE tf_bucket SET shard = 'shard_2', epoch = 2 WHERE bucket = ?", (bucket,))
        state = "open" if shard == "shard_2" else "moved"
        site.look(shard, "UPDATE tf_fence SET state = ?, epoch = 2 WHERE bucket = ?", (state, bucket))
    assert site.sweep() == 2 and site.violations() == []
    kept = site.look_everywhere("SELECT bucket, verdict FROM tf_verdict")
    assert kept == {
        "shard_0": [],
        "shard_1": [(bucket_of(ada, KeyType.INTEGER), "kept")],
        "shard_2": [(bucket, "kept")],
    }


def owner_of(site: Site, catalog: str, bucket: int) -> str:
    return str(site.look(catalog, "SELECT shard FROM tf_bucket WHERE bucket = ?", (bucket,))[0][0])
