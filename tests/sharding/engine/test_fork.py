"""A handle made before a fork serves parent and children, and nothing that either committed is lost. Edge."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tenfold
from tenfold.errors import PlatformError
from tests.sharding.engine.sites import Site
from tests.support import free_port, wait_for

DEPOSIT = "INSERT INTO deposits (user_id, amount) VALUES (?, ?)"
PATIENT = "lock_wait_s = 20.0\npool_wait_s = 20.0"  # SQLite's lock goes to whoever asks in the right moment
FORK = multiprocessing.get_context("fork")


def in_child(work: Callable[[], object]) -> Any:
    """Run `work` in a forked child; → what it returned."""
    here, there = FORK.Pipe()

    def child() -> None:
        try:
            there.send((True, work()))
        except BaseException as error:
            there.send((False, repr(error)))

    process = FORK.Process(target=child)
    process.start()
    try:
        assert here.poll(20), "the child does not answer"
        fine, answer = here.recv()
        assert fine, answer
        return answer
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def test_parent_and_children_draw_different_ids_and_read_each_other(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    drawn = [db.execute(DEPOSIT, (key, 1)).lastrowid]

    def work() -> list[int | None]:
        ids = [db.execute(DEPOSIT, (key, 2)).lastrowid for _ in range(20)]
        assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ? AND amount = 2", (key,)).scalar() >= 20
        assert len(db.execute("SELECT * FROM deposits")) >= 21  # a scatter: the threads are new ones
        db.close()
        return ids

    for _ in range(3):
        drawn += in_child(work)
        drawn.append(db.execute(DEPOSIT, (key, 1)).lastrowid)
    assert len(set(drawn)) == len(drawn) == 64
    assert len(db.execute("SELECT * FROM deposits")) == 64


def test_what_a_child_commits_outlives_the_last_connection_of_the_parent(site: Site, db: tenfold.Database) -> None:
    """SQLite counts locks for each process. With a connection open across the fork, the parent's close deletes
    the write-ahead log that the child writes to, and what the child committed is gone."""
    key = site.key("shard_1")
    db.execute(DEPOSIT, (key, 1))  # leaves a connection idle in the pool
    first, go_on = FORK.Event(), FORK.Event()

    def child() -> None:
        db.execute(DEPOSIT, (key, 2))
        first.set()
        assert go_on.wait(20)
        db.execute(DEPOSIT, (key, 3))

    process = FORK.Process(target=child)
    process.start()
    assert first.wait(20)
    db.close()
    go_on.set()
    process.join(20)
    assert process.exitcode == 0
    assert site.look("shard_1", "SELECT amount FROM deposits ORDER BY amount") == [(1,), (2,), (3,)]
    assert site.look("shard_1", "PRAGMA integrity_check") == [("ok",)]


def test_a_fork_waits_for_the_statements_of_other_threads(site: Site) -> None:
    site.write(settings=PATIENT)
    with site.connect() as db:
        _fork_beside_writers(site, db)


def _fork_beside_writers(site: Site, db: tenfold.Database) -> None:
    key, stop = site.key("shard_1"), threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                db.execute(DEPOSIT, (key, 1))
                time.sleep(0.001)
        except BaseException as error:
            failures.append(error)

    def child() -> int:
        for _ in range(5):
            db.execute(DEPOSIT, (key, 2))
        return len([link for link in Path("/proc/self/fd").iterdir() if _opened(link, "shard_1.db")])

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        files = [in_child(child) for _ in range(4)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert files == [3, 3, 3, 3], "the child has its own connection, with log and index, and none of the parent's"
    assert db.execute("SELECT COUNT(*) FROM deposits WHERE user_id = ? AND amount = 2", (key,)).scalar() == 20
    assert site.look("shard_1", "PRAGMA integrity_check") == [("ok",)]


def _opened(link: Path, name: str) -> bool:
    try:
        return name in str(link.readlink())
    except OSError:
        return False


def test_a_fork_inside_a_transaction_is_not_held_up_for_ever(site: Site, db: tenfold.Database) -> None:
    key = site.key("shard_1")
    with db.transaction() as tx:
        tx.execute(DEPOSIT, (key, 1))
        started = time.monotonic()
        assert in_child(lambda: db.execute("SELECT COUNT(*) FROM posts").scalar()) == 0
        assert time.monotonic() - started < 10
        tx.execute(DEPOSIT, (key, 2))
    assert db.execute("SELECT SUM(amount) FROM deposits WHERE user_id = ?", (key,)).scalar() == 3


def test_a_handle_closed_before_the_fork_stays_closed(site: Site) -> None:
    db = site.connect()
    db.close()

    def work() -> str:
        try:
            db.execute("SELECT 1")
        except PlatformError as error:
            return str(error)
        return "worked"

    assert in_child(work) == "the database handle is closed"


@pytest.fixture
def gunicorn(site: Site) -> Iterator[str]:
    """An application of two workers, loaded before they were forked; → its address."""
    site.write(settings=PATIENT)
    port = free_port()
    environment = {**os.environ, "TENFOLD_FILE": str(site.file), "PYTHONPATH": str(Path.cwd())}
    log = site.root / "gunicorn.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4", "--bind",
             f"127.0.0.1:{port}", "--worker-tmp-dir", str(site.root), "tests.sharding.engine.preloaded:app"],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            return get(f"http://127.0.0.1:{port}/user?id=1")[0] == 200

        wait_for(answers, "gunicorn answers")
        yield f"http://127.0.0.1:{port}"
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError:
        return 0, None


def at_once(work: Callable[[int], None], starts: Iterable[int]) -> None:
    """Call it for each, on a thread of its own."""
    threads = [threading.Thread(target=work, args=(start,)) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def made_by(answers: Iterable[tuple[str, int, Any]]) -> dict[str, Any]:
    """What was answered to the sign-ups that were taken, by e-mail."""
    return {email: answer for email, status, answer in answers if status == 200}


def test_workers_forked_from_a_loaded_application_serve_right_answers(site: Site, gunicorn: str) -> None:
    answers: list[tuple[str, int, Any]] = []

    def sign_up(start: int) -> None:
        for number in range(start, start + 20):
            email = f"u{number}@example.org"
            answers.append((email, *get(f"{gunicorn}/sign-up?email={email}")))

    at_once(sign_up, (0, 10, 20, 30))
    made = made_by(answers)
    assert len(made) == 50 and [status for _, status, _ in answers].count(409) == 30

    # Which worker takes a connection is the system's choice: go on until both have.
    starts = iter(range(100, 2000, 20))

    def both_served() -> bool:
        if len({answer["pid"] for answer in made_by(answers).values()}) == 2:
            return True
        at_once(sign_up, [next(starts) for _ in range(4)])
        return False

    wait_for(both_served, "both workers served")
    made = made_by(answers)
    assert len({answer["id"] for answer in made.values()}) == len(made)
    for email, answer in made.items():
        assert get(f"{gunicorn}/user?id={answer['id']}") == (200, [[int(answer["id"]), email]])
    assert site.violations() == []
    for shard in site.shards:
        with closing(sqlite3.connect(site.path(shard))) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
