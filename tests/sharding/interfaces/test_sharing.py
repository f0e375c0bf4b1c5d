"""Connections of one process share one router, which is there as long as one of them is. Edge."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tenfold import dbapi
from tests.sharding.engine.sites import Site
from tests.sharding.interfaces.conftest import Connect
from tests.support import wait_for

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (%s, %s)"


def opened(site: Site) -> int:
    """How many connections this process has to shard_1: the file descriptors of its file."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except OSError:
            continue
    return links.count(str(site.path("shard_1")))


@pytest.fixture
def site(on_sqlite: Site) -> Site:
    """Three SQLite shards."""
    return on_sqlite


def exit_code(child: int) -> int:
    """Of a child of a fork, once it has ended."""

    def ended() -> tuple[int, int] | None:
        found = os.waitpid(child, os.WNOHANG)
        return found if found[0] else None

    return os.waitstatus_to_exitcode(wait_for(ended, "the child has ended", 20)[1])


def test_connections_share_the_pools_and_the_last_closes_them(site: Site, connect: Connect) -> None:
    threads = threading.active_count()
    connections = [connect() for _ in range(20)]
    for one in connections:
        one.cursor().execute("SELECT * FROM deposits WHERE user_id = %s", (site.key("shard_1"),))
    assert opened(site) == 1
    started = time.perf_counter()
    for _ in range(100):
        connect().close()
    assert time.perf_counter() - started < 1.0, "connecting again costs next to nothing"
    for one in connections[:-1]:
        one.close()
    assert connections[-1].cursor().execute("SELECT COUNT(*) FROM posts").fetchone() == (0,)
    assert threading.active_count() > threads
    connections[-1].close()
    assert opened(site) == 0 and threading.active_count() == threads
    assert connect().cursor().execute("SELECT COUNT(*) FROM posts").fetchone() == (0,)


def test_one_file_under_two_names_is_one_router(site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)
    monkeypatch.setenv("TENFOLD_FILE", str(site.file))
    reads = "SELECT * FROM deposits WHERE user_id = %s"
    with connect() as one, dbapi.connect("tenfold.toml") as two, dbapi.connect() as three:
        for connection in (one, two, three):
            connection.cursor().execute(reads, (site.key("shard_1"),))
        assert opened(site) == 1


def test_a_connection_that_nobody_holds_any_more_frees_what_it_had(site: Site, connect: Connect) -> None:
    site.write(settings="pool_size = 1\npool_wait_s = 0.2")
    other, key = connect(), site.key("shard_1")
    with pytest.warns(ResourceWarning, match="was not closed"):
        dbapi.connect(site.file).cursor().execute(DEPOSIT, (key, 1))
    site.look("shard_1", "INSERT INTO deposits VALUES (1, ?, 2)", (key,))  # at once the lock is free
    other.cursor().execute(DEPOSIT, (key, 3))  # and the place in the pool
    other.commit()
    assert site.look("shard_1", "SELECT amount FROM deposits ORDER BY amount") == [(2,), (3,)]
    other.close()
    assert opened(site) == 0, "the lost one does not keep the router open"


def test_threads_that_connect_and_close_at_once_lose_nothing(site: Site, connect: Connect) -> None:
    site.write(settings="lock_wait_s = 20.0\npool_wait_s = 20.0")
    key, failures = site.key("shard_1"), list[BaseException]()

    def work() -> None:
        try:
            for _ in range(10):
                with dbapi.connect(site.file) as connection:
                    connection.cursor().execute(DEPOSIT, (key, 1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert site.look("shard_1", "SELECT COUNT(*) FROM deposits") == [(80,)]
    assert opened(site) == 0


def test_a_child_of_a_fork_connects_while_a_thread_of_the_parent_was_connecting(site: Site, connect: Connect) -> None:
    connect()
    stop = threading.Event()

    def connect_always() -> None:
        while not stop.is_set():
            dbapi.connect(site.file).close()

    thread = threading.Thread(target=connect_always)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                status = 1
                try:
                    with dbapi.connect(site.file) as connection:
                        assert connection.cursor().execute("SELECT COUNT(*) FROM posts").fetchone() == (0,)
                    status = 0
                finally:
                    os._exit(status)
            assert exit_code(child) == 0
    finally:
        stop.set()
        thread.join(20)


def test_a_connection_lost_before_a_fork_does_not_keep_the_router_of_the_child_open(site: Site) -> None:
    with pytest.warns(ResourceWarning, match="was not closed"):
        dbapi.connect(site.file).cursor().execute(DEPOSIT, (site.key("shard_1"), 1))
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            # Other routers of this process go on in the child, too: each has a thread.
            with dbapi.connect(site.file) as connection:
                connection.cursor().execute(DEPOSIT, (site.key("shard_1"), 2))
                threads = threading.active_count()
            assert opened(site) == 0 and threading.active_count() == threads - 2, "the last has closed it"
            status = 0
        finally:
            os._exit(status)
    assert exit_code(child) == 0
    dbapi.connect(site.file).close()  # gives back what was lost here
    assert site.look("shard_1", "SELECT amount FROM deposits") == [(2,)]
