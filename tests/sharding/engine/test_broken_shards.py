"""A shard that is missing, locked, full, read-only or broken costs its own rows and nobody else's. Edge."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import NodeDown, NodeError, PoolTimeout
from tests.sharding.engine.sites import Site
from tests.support import wait_for

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
SIGN_UP = "INSERT INTO users (id, email) VALUES (?, ?)"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def break_table(site: Site, shard: str, table: str) -> None:
    """Fill the root page of a table with nonsense."""
    content = bytearray(site.path(shard).read_bytes())
    ((page,),) = site.look(shard, "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    site.path(shard).write_bytes(content)


def others_work(site: Site, db: tenfold.Database) -> None:
    for shard in ("shard_0", "shard_2"):
        assert db.execute(DEPOSIT, (site.key(shard), 1)).rowcount == 1
        assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (site.key(shard),)).scalar() >= 1


def failure(site: Site, db: tenfold.Database) -> NodeError:
    with pytest.raises(NodeError) as caught:
        db.execute(DEPOSIT, (site.key("shard_1"), 1))
    assert "shard_1" in str(caught.value) and caught.value.retryable and caught.value.hint
    others_work(site, db)
    return caught.value


def test_a_missing_file(site: Site, db: tenfold.Database) -> None:
    away = site.path("shard_1").rename(site.root / "away")
    error = failure(site, db)
    assert isinstance(error, NodeDown) and "see that the file exists" in error.hint
    assert not site.path("shard_1").exists(), "an empty shard must not be made in its place"
    away.rename(site.path("shard_1"))
    db.execute(DEPOSIT, (site.key("shard_1"), 1))


def test_a_file_that_is_no_database(site: Site, db: tenfold.Database) -> None:
    site.path("shard_1").write_bytes(b"garbage " * 4096)
    error = failure(site, db)
    assert isinstance(error, NodeDown) and "correct the url" in error.hint


def test_a_file_with_a_broken_page(site: Site) -> None:
    with site.connect() as db:
        db.executemany(DEPOSIT, [(site.key("shard_1"), 1)] * 2000)
    break_table(site, "shard_1", "deposits")
    with site.connect() as db:
        error = failure(site, db)
        assert isinstance(error, NodeDown) and "backup" in error.hint
        # Another table of the same file still answers: the connection was replaced, not the process stopped.
        assert db.execute("SELECT COUNT(*) FROM users WHERE id = ?", (site.key("shard_1"),)).scalar() == 0


def test_a_transaction_that_met_a_broken_page_is_undone(site: Site) -> None:
    key = site.key("shard_1")
    with site.connect() as db:
        db.executemany(DEPOSIT, [(key, 1)] * 2000)
    break_table(site, "shard_1", "deposits")
    with site.connect() as db:
        with pytest.raises(NodeError, match="has undone the transaction"), db.transaction() as tx:  # noqa: PT012
            tx.execute(SIGN_UP, (key, "a@example.org"))
            with pytest.raises(NodeDown):
                tx.execute("SELECT SUM(amount) FROM deposits WHERE user_id = ?", (key,))
            with pytest.raises(NodeError, match="has undone the transaction"):
                tx.execute("UPDATE users SET name = 'x' WHERE id = ?", (key,))
        assert db.execute("SELECT COUNT(*) FROM users WHERE id = ?", (key,)).scalar() == 0
    site.sweep()
    assert site.violations() == []


def test_a_locked_file(site: Site, db: tenfold.Database) -> None:
    with locked(site.path("shard_1")):
        error = failure(site, db)
        assert not isinstance(error, NodeDown) and "stayed locked for 0.2 s" in str(error)
        assert "lock_wait_s" in error.hint
        assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (site.key("shard_1"),)).scalar() == 0
    db.execute(DEPOSIT, (site.key("shard_1"), 1))


def test_a_sign_up_whose_reservation_cannot_be_made_leaves_nothing(site: Site, db: tenfold.Database) -> None:
    email, key = site.address("shard_1"), site.key("shard_0")
    with locked(site.path("shard_1")), pytest.raises(NodeError, match="shard_1"):
        db.execute(SIGN_UP, (key, email))
    db.execute(SIGN_UP, (key, email))
    assert site.violations() == []


def test_a_sign_up_whose_row_cannot_be_written_gives_the_address_back(site: Site, db: tenfold.Database) -> None:
    email, key = site.address("shard_0"), site.key("shard_1")
    with locked(site.path("shard_1")):
        with pytest.raises(NodeError, match="shard_1"):
            db.execute(SIGN_UP, (key, email))
        db.execute(SIGN_UP, (site.key("shard_2"), email))
    assert site.violations() == []


def test_a_shard_that_fails_while_values_are_freed_leaves_them_to_the_sweeper(site: Site, db: tenfold.Database) -> None:
    email, key = site.address("shard_1"), site.key("shard_0")
    db.execute(SIGN_UP, (key, email))
    with locked(site.path("shard_1")), pytest.raises(NodeError):
        db.execute("DELETE FROM users WHERE id = ?", (key,))
    assert site.violations() == [] and db.execute("SELECT id FROM users WHERE email = ?", (email,)).scalar() == key


def test_one_shard_that_is_down_does_not_keep_the_sweeper_from_the_others(site: Site) -> None:
    left = "INSERT INTO tf_reservation VALUES ('users.email', ?, ?, ?, 'pending', ?, 0)"
    firsts = dict(site.look("shard_0", "SELECT shard, MIN(bucket) FROM tf_bucket GROUP BY shard"))
    # The first verdict is asked of shard_1, the others of shard_2.
    for number, (shard, owner) in enumerate(
        [("shard_0", firsts["shard_1"]), *((shard, 4095) for shard in site.shards)]
    ):
        site.look(shard, left, (str(number), firsts[shard], owner, f"{number:032}"))
    away = site.path("shard_1").rename(site.root / "away")
    with pytest.raises(NodeDown, match="shard_1"):
        site.sweep()
    assert site.look("shard_0", "SELECT digest FROM tf_reservation") == [("0",)]
    assert site.look("shard_2", "SELECT * FROM tf_reservation") == []
    away.rename(site.path("shard_1"))
    assert site.sweep() == 2 and site.violations() == []


FULL_DISK = """
    import resource, sys, tenfold
    from tenfold.errors import NodeDown, NodeError
    db = tenfold.connect(sys.argv[1])
    email, statements, keys = sys.argv[2], int(sys.argv[3]), [int(key) for key in sys.argv[4:]]
    db.execute("SELECT 1 FROM deposits WHERE user_id = ?", (keys[0],))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400 * 1024, resource.RLIM_INFINITY))
    failed = 0
    try:
        with db.transaction() as tx:
            tx.execute("INSERT INTO users (id, email) VALUES (?, ?)", (keys[0], email))
            for key in keys[1 : statements + 1]:
                try:
                    tx.execute("INSERT INTO users (id, name) VALUES (?, ?)", (key, "x" * 700_000))
                    tx.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 1)", (key,))
                except NodeError as error:
                    failed += 1  # and goes on, as a careless application does
    except NodeError as error:
        print(failed, type(error).__name__, error.hint)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    db.execute("INSERT INTO deposits (user_id, amount) VALUES (?, 5)", (keys[0],))
    db.close()
"""


# Few statements stay in SQLite's cache until the commit; many are written before, and a statement fails.
@pytest.mark.parametrize(("statements", "failed"), [(1, "0 NodeDown"), (9, "")])
def test_a_transaction_on_a_full_disk_is_undone_as_a_whole(site: Site, statements: int, failed: str) -> None:
    keys = [str(site.key("shard_1", nth)) for nth in range(10)]
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), site.file, site.address("shard_0"), str(statements), *keys],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    if failed:
        assert ran.stdout.startswith(failed) and "disk" in ran.stdout
    else:
        assert int(ran.stdout.split()[0]) > 1 and "run all of it again" in ran.stdout
    assert site.look("shard_1", "SELECT amount FROM deposits") == [(5,)]
    assert site.look("shard_1", "SELECT id FROM users") == []
    site.sweep()
    assert site.violations() == []


def test_a_file_that_may_not_be_written(pattern: Path) -> None:
    if os.geteuid() != 0:
        directory = Path(tempfile.mkdtemp())
    else:
        directory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        subprocess.run(["cp", "-r", f"{pattern}/.", str(directory)], check=True)
        site = Site(directory)
        key = site.key("shard_1")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for path in (directory, *directory.rglob("*")):
                    if os.geteuid() == 0:
                        os.chown(path, 65534, 65534)
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                with site.connect() as db:
                    site.path("shard_1").chmod(0o444)
                    with pytest.raises(NodeDown) as caught:
                        db.execute(DEPOSIT, (key, 1))
                    assert "writable" in caught.value.hint
                    others_work(site, db)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        subprocess.run(["rm", "-rf", str(directory)], check=True)


def test_more_statements_than_connections_wait_and_then_say_so(site: Site) -> None:
    site.write(settings="pool_size = 2\npool_wait_s = 0.3\nlock_wait_s = 10.0")
    reading, done = threading.Barrier(3), threading.Event()
    key = site.key("shard_1")
    with site.connect() as db:

        def hold(shard: str) -> None:
            with db.transaction() as tx:
                tx.execute(DEPOSIT, (site.key(shard), 1))
                reading.wait()
                done.wait()

        # On shard_1 one transaction is open, and another statement waits for its lock.
        holders = [threading.Thread(target=hold, args=(shard,)) for shard in ("shard_1", "shard_2")]
        for thread in holders:
            thread.start()
        reading.wait()
        waiting = threading.Thread(target=db.execute, args=(DEPOSIT, (key, 1)))
        waiting.start()
        wait_for(lambda: db.pools()["shard_1"].in_use == 2, "both connections are out")
        with pytest.raises(PoolTimeout, match=r"all 2 connections to shard_1 were busy for 0\.3 s") as caught:
            db.execute("SELECT * FROM deposits WHERE user_id = ?", (key,))
        assert caught.value.retryable and "pool_size" in caught.value.hint
        assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (site.key("shard_2"),)).scalar() == 0
        done.set()
        for thread in (*holders, waiting):
            thread.join()
        assert len(db.execute("SELECT * FROM deposits").rows) == 3


def test_threads_that_hammer_a_small_pool_lose_nothing(site: Site) -> None:
    site.write(settings="pool_size = 3\npool_wait_s = 20.0\nlock_wait_s = 20.0")
    failures: list[BaseException] = []
    with site.connect() as db:

        def hammer(own: int) -> None:
            try:
                for number in range(25):
                    key = site_keys[(own + number) % 3]
                    db.execute(DEPOSIT, (key, own + 1))
                    assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (key,)).scalar() > 0
                    if number % 5 == 0:
                        with pytest.raises(ZeroDivisionError), db.transaction() as tx:  # noqa: PT012
                            tx.execute(DEPOSIT, (key, 1000))
                            raise ZeroDivisionError
                        assert len(db.execute("SELECT * FROM deposits WHERE amount >= 1000").rows) == 0
            except BaseException as error:
                failures.append(error)

        site_keys = [site.key(shard) for shard in site.shards]
        threads = [threading.Thread(target=hammer, args=(own,)) for own in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(db.execute("SELECT * FROM deposits").rows) == 200
        open_files = [path for path in Path("/proc/self/fd").iterdir() if str(site.root) in _target(path)]
        assert len(open_files) <= 3 * 3 * 3, "three connections a shard, each with database, log and index"
    assert not [path for path in Path("/proc/self/fd").iterdir() if str(site.root) in _target(path)]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_an_interrupted_statement_costs_its_connection_only(site: Site, db: tenfold.Database) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT COUNT(*) FROM n"
    threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in range(200):
            db.execute(slow)
    threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt), db.transaction() as tx:  # noqa: PT012
        tx.execute(DEPOSIT, (site.key("shard_1"), 1))
        for _ in range(200):
            tx.execute(slow)
    assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ?", (site.key("shard_1"),)).scalar() == 0
    others_work(site, db)
    db.execute(DEPOSIT, (site.key("shard_1"), 1))
