"""Reservations under InnoDB: it locks rows, and shows a transaction the past of its first read. Edge."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import tenfold
from tenfold.errors import ConstraintError, NodeError, ShardKeyError
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.reserve import PENDING, RESERVE, claim_of
from tests.mariadb import Server
from tests.sharding.engine.sites import MARIADB_SCHEMA, Site

SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"


@pytest.fixture
def other(on_mariadb: Site) -> Iterator[tenfold.Database]:
    """A handle of another process, as it were."""
    with on_mariadb.connect() as handle:
        yield handle


@pytest.fixture
def mine(on_mariadb: Site) -> Iterator[tenfold.Database]:
    """A handle on three MariaDB shards."""
    with on_mariadb.connect() as handle:
        yield handle


def test_a_transaction_that_has_read_before_sees_that_a_value_was_taken_since(
    on_mariadb: Site, mine: tenfold.Database, other: tenfold.Database
) -> None:
    ada, bob = on_mariadb.key("shard_1"), on_mariadb.key("shard_1", 1)
    address = on_mariadb.address("shard_1")
    with mine.transaction() as tx:
        assert tx.execute("SELECT COUNT(*) FROM users WHERE id = ?", (ada,)).scalar() == 0  # from here on, the past
        other.execute(SIGN_UP, (bob, address))
        with pytest.raises(ConstraintError, match=r"users\.email: the value is taken"):
            tx.execute(SIGN_UP, (ada, address))
        tx.execute(SIGN_UP, (ada, on_mariadb.address("shard_1", 1)))
    assert on_mariadb.violations() == []


def test_a_row_that_changed_since_a_transaction_first_read_is_freed_as_it_is_now(
    on_mariadb: Site, mine: tenfold.Database, other: tenfold.Database
) -> None:
    ada, addresses = on_mariadb.key("shard_1"), [on_mariadb.address("shard_1", nth) for nth in range(3)]
    other.execute(SIGN_UP, (ada, addresses[0]))
    with mine.transaction() as tx:
        assert tx.execute("SELECT email FROM users WHERE id = ?", (ada,)).scalar() == addresses[0]
        other.execute("UPDATE users SET email = ? WHERE id = ?", (addresses[1], ada))
        tx.execute("UPDATE users SET email = ? WHERE id = ?", (addresses[2], ada))
    assert on_mariadb.violations() == []
    for nth, address in enumerate(addresses[:2], 1):  # both are free
        other.execute(SIGN_UP, (on_mariadb.key("shard_1", nth), address))
    assert on_mariadb.violations() == []


def test_a_taken_value_holds_up_nobody_else_who_asks_for_it(
    on_mariadb: Site, mine: tenfold.Database, other: tenfold.Database
) -> None:
    taken = on_mariadb.address("shard_1")
    mine.execute(SIGN_UP, (on_mariadb.key("shard_1"), taken))
    started = time.monotonic()
    with mine.transaction() as one, other.transaction() as two:
        for nth, tx in enumerate((one, two), 1):
            tx.execute("SELECT 1 FROM users WHERE id = ?", (on_mariadb.key("shard_1", nth),))  # it is on shard_1 now
            with pytest.raises(ConstraintError, match="the value is taken"):
                tx.execute(SIGN_UP, (on_mariadb.key("shard_1", nth), taken))
            tx.execute(SIGN_UP, (on_mariadb.key("shard_1", nth), on_mariadb.address("shard_1", nth)))
    assert time.monotonic() - started < 1  # lock_wait_s
    assert on_mariadb.violations() == []


def test_who_asks_for_a_value_of_an_open_transaction_is_told_to_come_again(
    on_mariadb: Site, mine: tenfold.Database, other: tenfold.Database
) -> None:
    address = on_mariadb.address("shard_1")
    ada, bob = on_mariadb.key("shard_1"), on_mariadb.key("shard_1", 1)
    with mine.transaction() as tx:
        tx.execute(SIGN_UP, (ada, address))
        with pytest.raises(NodeError, match="shard_1 stayed locked for 1 s") as caught:
            other.execute(SIGN_UP, (bob, address))
        assert caught.value.retryable
    with pytest.raises(ConstraintError, match="the value is taken"):
        other.execute(SIGN_UP, (bob, address))
    assert on_mariadb.violations() == []


def test_a_transaction_does_not_wait_for_what_its_own_locks_keep_from_ending(on_mariadb: Site) -> None:
    on_mariadb.write(settings="lock_wait_s = 60.0")
    key, address = on_mariadb.key("shard_1"), on_mariadb.address("shard_1")
    claim = claim_of("users", "email", address, KeyType.VARCHAR, bucket_of(key, KeyType.INTEGER))
    # Somebody else is between reserving the value and writing their row.
    row = (claim.scope, claim.digest, claim.bucket, claim.owner_bucket, PENDING, "e" * 32, time.time())
    on_mariadb.look("shard_1", RESERVE, row)
    started = time.monotonic()
    with on_mariadb.connect() as db, db.transaction() as tx:
        tx.execute("SELECT 1 FROM users WHERE id = ?", (key,))
        with pytest.raises(NodeError, match="held by a statement that has not ended") as caught:
            tx.execute(SIGN_UP, (key, address))
    assert caught.value.retryable and time.monotonic() - started < 20  # of the 60 s


def test_tidying_up_waits_for_no_writer_at_work(on_mariadb: Site, mine: tenfold.Database) -> None:
    for shard in on_mariadb.shards:
        ((first,),) = on_mariadb.look("shard_0", "SELECT MIN(bucket) FROM tf_bucket WHERE shard = ?", (shard,))
        rows = ", ".join(f"('{number // 2:032x}', {first + number}, 'kept', {number})" for number in range(200))
        on_mariadb.look(shard, f"INSERT INTO tf_verdict (token, bucket, verdict, at_s) VALUES {rows}")
    with mine.transaction() as tx:
        tx.execute(SIGN_UP, (on_mariadb.key("shard_1"), on_mariadb.address("shard_1")))
        assert on_mariadb.sweep(older_than_s=15.0) == 0
    left = on_mariadb.look_everywhere("SELECT COUNT(*) FROM tf_verdict")
    assert left == {"shard_0": [(0,)], "shard_1": [(1,)], "shard_2": [(0,)]}


def test_a_value_that_mariadb_would_store_without_its_last_spaces_is_refused(
    three_servers: list[Server], bare_mariadb: Site
) -> None:
    schema = [statement.replace("email VARCHAR(100)", "email VARCHAR(3)") for statement in MARIADB_SCHEMA]
    bare_mariadb.set_up(schema)
    with bare_mariadb.connect() as db:
        db.execute(SIGN_UP, (1, "a  "))
        db.execute(SIGN_UP, (2, "a"))
        with pytest.raises(ShardKeyError, match=r"users\.email is longer than varchar\(3\)"):
            db.execute(SIGN_UP, (3, "a   "))
        with pytest.raises(ShardKeyError, match="would drop the spaces"):
            db.execute("UPDATE users SET email = ? WHERE id = 2", ("a     ",))
    assert bare_mariadb.violations() == []
