"""Pools of connections to servers that are busy, down, slow, restarted, and of processes that fork. Edge."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import NodeDown, NodeError, PlatformError, PoolTimeout, StatementError
from tenfold.sharding.engine.errand import settle
from tenfold.sharding.engine.mysql import MysqlDriver
from tenfold.sharding.engine.mysqloptions import MysqlOptions
from tenfold.sharding.engine.pools import Pool, Source, drop_socket
from tenfold.sharding.poolrules import Rules
from tests.mariadb import ACCOUNT, Server, options_of, server
from tests.sharding.engine.sites import mariadb_site
from tests.sharding.engine.test_fork import in_child
from tests.support import wait_for


@pytest.fixture(scope="module")
def lone(mariadb_pattern: Path) -> Iterator[Server]:
    """A server that tests stop, pause and restart; each leaves it running."""
    with server(mariadb_pattern) as started:
        started.create("pools")
        yield started


def options(lone: Server, connect_s: float = 0.5) -> MysqlOptions:
    return options_of(lone.url("pools"), "shard_1", connect_s=connect_s)


@contextmanager
def pool(lone: Server, rules: Rules | None = None, connect_s: float = 0.5) -> Iterator[Pool]:
    made = options(lone, connect_s)
    found = Pool(rules or Rules("shard_1", 3, 2.0), Source(lambda: MysqlDriver(made), drop=drop_socket, alone=False))
    try:
        yield found
    finally:
        found.close()


def ask(found: Pool, sql: str = "SELECT 7") -> object:
    """One statement by a connection of the pool, as the runner does it."""
    link = found.acquire()
    try:
        answer = link.driver.execute(sql, ())
    except BaseException as error:
        settle(found, link, error)
        raise
    found.release(link)
    return answer.rows[0][0] if answer.rows else None


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """What `work` gave or raised on so many threads at once."""

    def outcome(number: int) -> object:
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(outcome, range(count)))


def test_a_borrower_waits_for_a_place_and_is_told_when_none_comes(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 2, 0.1)) as found:
        links = [found.acquire(), found.acquire()]
        with pytest.raises(PoolTimeout, match=r"all 2 connections to shard_1 were busy for 0\.1 s") as caught:
            found.acquire()
        assert caught.value.retryable and "pool_size" in caught.value.hint
        threading.Timer(0.02, found.release, [links[0]]).start()
        again = found.acquire()
        assert again is links[0]
        found.release(again)
        found.release(links[1])
        counted = found.counters()
    assert (counted.opened, counted.idle, counted.in_use, counted.waiting) == (2, 2, 0, 0)
    assert (counted.borrowed, counted.waited, counted.timed_out) == (4, 2, 1)
    assert counted.waited_s >= 0.1


def test_whoever_asked_first_is_served_first(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 1, 5.0)) as found:
        link, served = found.acquire(), []

        def wait(number: int) -> None:
            mine = found.acquire()
            served.append(number)
            found.release(mine)

        threads = []
        for number in range(8):
            threads.append(threading.Thread(target=wait, args=(number,)))
            threads[-1].start()
            wait_for(partial(_queued, found, number + 1), "the borrower waits")
        found.release(link)
        for thread in threads:
            thread.join(5)
    assert served == list(range(8))


def _queued(found: Pool, count: int) -> bool:
    return found.counters().waiting == count


def test_many_threads_get_their_own_answers_from_few_connections(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 3, 10.0)) as found:
        answers = in_threads(16, lambda mine: [ask(found, f"SELECT {mine * 1000 + n}") for n in range(50)])
        counted = found.counters()
    assert answers == [[mine * 1000 + n for n in range(50)] for mine in range(16)]
    assert counted.opened <= 3 and counted.in_use == 0 and counted.borrowed == 800


def test_a_down_shard_is_not_asked_again_and_again(lone: Server) -> None:
    with pool(lone) as found:
        lone.stop()
        try:
            with pytest.raises(NodeDown, match="shard_1 does not answer"):
                ask(found)
            refused = in_threads(20, lambda _: ask(found))
            assert all(isinstance(error, NodeDown) and error.retryable for error in refused)
            assert "tried again" in str(getattr(refused[-1], "hint", ""))
            counted = found.counters()
            # A slow machine may see the back-off of 0.1 s end within the twenty.
            assert counted.failed <= 3 and counted.refused >= 18 and counted.in_use == 0
        finally:
            lone.start()
        wait_for(lambda: _fine(found), "the pool connects again", 6)
        assert found.counters().failed <= 12


def _fine(found: Pool) -> bool:
    with suppress(NodeError):
        return ask(found) == 7
    return False


def test_after_a_restart_one_statement_is_lost_and_not_one_for_each_connection(lone: Server) -> None:
    with pool(lone) as found:
        links = [found.acquire() for _ in range(3)]
        for link in links:
            found.release(link)
        lone.restart()
        with pytest.raises(NodeDown):
            ask(found)
        assert [ask(found) for _ in range(10)] == [7] * 10
        counted = found.counters()
    assert counted.closed == {"down": 1, "check": 2}
    assert counted.opened == 4


def test_a_connection_that_was_idle_is_asked_before_it_is_lent(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 3, 2.0, check_after_s=0.0)) as found:
        assert ask(found) == 7
        lone.restart()
        assert ask(found) == 7
        assert found.counters().closed == {"check": 1}


def test_old_and_unused_connections_are_closed(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 3, 2.0, idle_s=0.1)) as found:
        links = [found.acquire() for _ in range(3)]
        for link in links:
            found.release(link)
        time.sleep(0.15)
        assert ask(found) == 7
        counted = found.counters()
        assert counted.closed == {"idle": 3} and counted.idle == 1
    with pool(lone, Rules("shard_1", 3, 2.0, age_s=0.1)) as found:
        ask(found)
        link = found.acquire()
        time.sleep(0.15)
        found.release(link)
        assert found.counters().closed == {"age": 1}


def test_a_server_without_connections_to_spare_leaves_those_we_have_usable(lone: Server) -> None:
    with pool(lone, connect_s=2.0) as found:
        held = found.acquire()
        lone.sql("SET GLOBAL max_connections = 10")
        crowd: list[MysqlDriver] = []
        try:
            with suppress(NodeDown):
                while len(crowd) < 12:
                    crowd.append(MysqlDriver(options(lone)))
            with pytest.raises(NodeDown, match="no connection left") as caught:
                found.acquire()
            assert "max_connections" in caught.value.hint
            assert held.driver.execute("SELECT 1", ()).rows
            found.release(held)
            assert ask(found) == 7
        finally:
            for driver in crowd:
                driver.close()
            lone.sql("SET GLOBAL max_connections = 151")


def test_a_statement_whose_server_is_killed_is_told_so_and_the_place_comes_back(lone: Server) -> None:
    with pool(lone, Rules("shard_1", 1, 5.0)) as found:
        threading.Timer(0.1, lone.kill).start()
        try:
            with pytest.raises(NodeDown, match="lost") as caught:
                ask(found, "SELECT SLEEP(20)")
            assert caught.value.retryable
        finally:
            lone.start()
        wait_for(lambda: _fine(found), "the pool connects again", 6)


def test_an_error_of_a_statement_costs_no_connection(lone: Server) -> None:
    with pool(lone) as found:
        for _ in range(5):
            with pytest.raises(StatementError):
                ask(found, "SELECT nothing FROM nowhere")
        assert found.counters().opened == 1


def test_a_closed_pool_refuses_and_closes_what_comes_back(lone: Server) -> None:
    with pool(lone) as found:
        link = found.acquire()
        found.close()
        found.release(link)
        with pytest.raises(PlatformError, match="closed"):
            found.acquire()
        assert found.counters().closed == {"end": 1}


def test_a_child_lets_go_of_the_connections_it_copied_and_the_parent_keeps_them(lone: Server) -> None:
    with pool(lone) as found:
        lent, idle = found.acquire(), found.acquire()
        found.release(idle)
        ours = lent.driver.execute("SELECT CONNECTION_ID()", ()).rows[0][0]

        def child() -> list[object]:
            found.forget()  # as the router does after a fork
            copies = [link.driver.fileno() for link in (lent, idle) if isinstance(link.driver, MysqlDriver)]
            live = [number >= 0 and os.fstat(number).st_mode & 0o170000 == 0o140000 for number in copies]
            lent.driver.close()
            return [ask(found), live, found.counters().opened]

        assert in_child(child) == [7, [False, False], 1]
        assert lent.driver.execute("SELECT CONNECTION_ID()", ()).rows[0][0] == ours
        found.release(lent)
        assert ask(found) == 7 and found.counters().opened == 2


def test_a_shard_that_hangs_holds_up_nobody_who_needs_another(
    three_servers: list[Server], lone: Server, tmp_path: Path
) -> None:
    """Its connections and threads are busy to the last; those of the others are their own."""
    with mariadb_site(tmp_path / "site", [three_servers[0], three_servers[1], lone]) as site:
        site.write(settings="pool_size = 2\npool_wait_s = 1.0\nconnect_s = 1.0\nstatement_s = 2.0")
        with site.set_up().connect() as db:
            for shard in ("shard_0", "shard_1"):
                db.execute("INSERT INTO users (id, name) VALUES (?, 'x')", (site.key(shard),))
            scatters = [threading.Thread(target=_try, args=(db,)) for _ in range(40)]
            lone.pause()
            try:
                for thread in scatters:
                    thread.start()
                wait_for(lambda: db.pools()["shard_2"].in_use == 2, "both connections hang")
                started_s = time.monotonic()
                for shard in ("shard_0", "shard_1"):
                    found = db.execute("SELECT name FROM users WHERE id = ?", (site.key(shard),))
                    assert found.scalar() == "x"
                keys = (site.key("shard_0"), site.key("shard_1"))
                assert len(db.execute("SELECT name FROM users WHERE id IN (?, ?)", keys)) == 2  # by a thread of shard_1
                assert time.monotonic() - started_s < 0.9
            finally:
                lone.resume()
                for thread in scatters:
                    thread.join(20)
            assert not any(thread.is_alive() for thread in scatters)


def _try(db: tenfold.Database) -> None:
    with suppress(NodeError, StatementError):
        db.execute("SELECT name FROM users")


def test_a_port_where_nobody_listens_fails_at_once(lone: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        nowhere = MysqlOptions("shard_1", "127.0.0.1", taken.getsockname()[1], ACCOUNT, "pools", connect_s=5.0)
        found = Pool(Rules("shard_1", 1, 1.0), Source(lambda: MysqlDriver(nowhere)))
        started_s = time.monotonic()
        with pytest.raises(NodeDown):
            found.acquire()
        assert time.monotonic() - started_s < 1
