"""What is interrupted by a signal (Ctrl-C, a worker's time-out) leaves no answer for the next one. Edge."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest

import tenfold
from tenfold.errors import NodeDown, NodeError
from tenfold.sharding.engine.router import opener
from tenfold.sharding.ports import Begin, Gather, Open, Send, Steps
from tests.mariadb import Server
from tests.sharding.engine.sites import Site
from tests.support import wait_for

SHARDS = ("shard_0", "shard_1", "shard_2")
DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
SEED = 20261


class Interrupt(BaseException):
    """What the handler of a signal raises; KeyboardInterrupt would end the tests."""


@pytest.fixture
def handle(emptied: Site) -> Iterator[tenfold.Database]:
    """A handle on empty tables, with one connection to each shard."""
    emptied.write(settings="pool_size = 1\npool_wait_s = 3.0")
    with emptied.connect() as db:
        yield db


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupt


def ran_until_interrupted(seconds: float, work: Callable[[], object]) -> bool:
    """Run `work`, interrupted after so long; → whether it came to its end. No context manager: in the code of one
    the signal would pass by its handler."""
    done = False
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            work()
            done = True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupt:
        pass
    finally:
        signal.signal(signal.SIGALRM, before)
    return done


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """The block is interrupted while it waits."""
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
        pytest.fail("the block came to its end")
    except Interrupt:
        pass
    finally:
        signal.signal(signal.SIGALRM, before)


def running(servers: list[Server]) -> bool:
    """Whether the servers do anything for the application."""
    return any(server.sessions("Query") for server in servers)


def answers_are_their_own(db: tenfold.Database, key: int) -> None:
    """Ask every shard several times, and one alone."""
    for number in range(4):
        assert db.execute("SELECT ? FROM deposits WHERE user_id = ? UNION SELECT ?", (number, key, number)).rows == [
            (number,)
        ]
        replies = db.runner.run(scattered("SELECT ?", number))
        assert [list(reply.rows) for reply in replies] == [[(number,)]] * 3
    assert {counted.in_use for counted in db.pools().values()} == {0}


def scattered(sql: str, *params: object) -> Steps[Any]:
    return (yield Gather([Send(shard, sql, params) for shard in SHARDS]))


def test_a_statement_of_a_transaction_leaves_its_answer_to_nobody(
    kept: Site, handle: tenfold.Database, three_servers: list[Server]
) -> None:
    key = kept.key("shard_0")
    handle.execute(DEPOSIT, (key, 1))
    started_s = time.monotonic()
    with interrupted_after(0.1), handle.transaction() as tx:
        tx.execute("UPDATE deposits SET amount = 2 WHERE user_id = ?", (key,))
        tx.execute("SELECT 'of the interrupted', SLEEP(9) FROM deposits WHERE user_id = ?", (key,))
    assert time.monotonic() - started_s < 4
    wait_for(lambda: not running(three_servers), "the statement is stopped on the server", 2)
    answers_are_their_own(handle, key)
    assert kept.look("shard_0", "SELECT amount FROM deposits") == [(1,)]


def test_nothing_more_can_be_asked_on_an_interrupted_connection(kept: Site) -> None:
    for begun in (False, True):
        with closing(opener(kept.topology(), "shard_0")()) as driver:
            if begun:
                driver.begin()
            with interrupted_after(0.1):
                driver.execute("SELECT SLEEP(9)", ())
            with pytest.raises(NodeError, match="ended the transaction" if begun else "was lost before"):
                driver.execute("SELECT 1", ())
            with pytest.raises(NodeDown, match="was lost before"):
                driver.rollback()


def test_nothing_follows_in_a_transaction_after_an_interrupted_statement(kept: Site, handle: tenfold.Database) -> None:
    key = kept.key("shard_0")
    with pytest.raises(NodeError, match="was interrupted, and all of it is undone"), handle.transaction() as tx:  # noqa: PT012
        tx.execute(DEPOSIT, (key, 1))
        with interrupted_after(0.1):
            tx.execute("SELECT SLEEP(9) FROM deposits WHERE user_id = ?", (key,))
        with pytest.raises(NodeError, match="was interrupted"):
            tx.execute(DEPOSIT, (key, 2))
    assert kept.look("shard_0", "SELECT amount FROM deposits") == []
    answers_are_their_own(handle, key)


def test_an_interrupted_scatter_is_stopped_on_every_shard(
    kept: Site, handle: tenfold.Database, three_servers: list[Server]
) -> None:
    for warm in (False, True):  # by threads, as no connection is ready; then without
        if warm:
            answers_are_their_own(handle, 1)
        started_s = time.monotonic()
        with interrupted_after(0.3):
            handle.runner.run(scattered("SELECT 'of the interrupted', SLEEP(9)"))
        assert time.monotonic() - started_s < 6
        wait_for(lambda: not running(three_servers), "nothing runs on any shard", 2)
        answers_are_their_own(handle, 1)


def test_an_interrupted_scatter_in_transactions_undoes_them_all(
    kept: Site, handle: tenfold.Database, three_servers: list[Server]
) -> None:
    keys = [kept.key(shard) for shard in SHARDS]

    def steps() -> Steps[None]:
        for shard in SHARDS:
            yield Begin(shard)
        # The first answers at once: the interrupt strikes whoever waits for the threads.
        yield Gather(
            [
                Send(shard, f"INSERT INTO deposits VALUES (?, ?, 1 + SLEEP({9 if n else 0}))", (key, key))
                for n, (shard, key) in enumerate(zip(SHARDS, keys, strict=True))
            ]
        )

    with interrupted_after(0.3):
        handle.runner.run(steps())
    wait_for(lambda: not running(three_servers), "nothing runs on any shard", 2)
    answers_are_their_own(handle, keys[0])
    assert kept.look_everywhere("SELECT amount FROM deposits") == {shard: [] for shard in SHARDS}


def test_cursors_that_were_being_opened_are_closed(handle: tenfold.Database, three_servers: list[Server]) -> None:
    def steps() -> Steps[None]:
        yield Gather([Open(shard, "SELECT SLEEP(?)", (9 if n else 0,)) for n, shard in enumerate(SHARDS)])

    with interrupted_after(0.3):
        handle.runner.run(steps())
    wait_for(lambda: not running(three_servers), "nothing runs on any shard", 2)
    wait_for(lambda: {c.in_use for c in handle.pools().values()} == {0}, "every place is free", 2)
    answers_are_their_own(handle, 1)


def test_a_stream_interrupted_amid_its_rows_is_stopped(
    kept: Site, handle: tenfold.Database, three_servers: list[Server]
) -> None:
    key = kept.key("shard_0")
    handle.executemany(DEPOSIT, [(key, number) for number in range(1, 40)])
    with (
        interrupted_after(0.3),
        handle.stream("SELECT amount, SLEEP(0.2) FROM deposits WHERE user_id = ?", (key,)) as rows,
    ):
        list(rows)
    wait_for(lambda: not running(three_servers), "the statement is stopped on the server", 2)
    answers_are_their_own(handle, -1)


# A signal amid the constructor of an object of PyMySQL's leaves one whose __del__ fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_at_whatever_moment_the_next_answer_is_its_own(kept: Site) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    key = kept.key("shard_1")
    kept.write(settings="pool_size = 50")  # a signal between two lines of the pool costs a place
    struck = 0
    with kept.connect() as db:

        def work(number: int) -> None:
            with db.transaction() as tx:
                for step in range(3):
                    sql = "SELECT ?, ? FROM deposits WHERE user_id = ?"
                    assert tx.execute(sql, (number, step, key)).rows == [(number, step)]
            assert [list(reply.rows) for reply in db.runner.run(scattered("SELECT ?", number))] == [[(number,)]] * 3

        db.execute("DELETE FROM deposits")
        db.execute(DEPOSIT, (key, 1))
        for number in range(1000):
            db.runner.run(scattered("SELECT 1"))  # whoever connects while a signal comes leaves an open socket behind
            struck += not ran_until_interrupted(chance.random() * 0.0015, partial(work, number))
            assert db.execute("SELECT ? FROM deposits WHERE user_id = ?", (number, key)).rows == [(number,)]
            if struck == 60:
                break
    assert struck == 60
