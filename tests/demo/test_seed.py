"""The first run: the same on every machine, and whole whatever interrupts it. Edge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenfold.demo.ledger.seed.load import seed
from tenfold.sharding.engine.inspect import inspect
from tenfold.topology.load import load
from tests.demo.platform import Platform, client
from tests.mariadb import Server, fresh_databases


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Makes platforms, each in a directory of its own."""
    all_of_them: list[Platform] = []

    def make(people: int, lock_wait_s: float = 5.0) -> Platform:
        root = tmp_path / str(len(all_of_them))
        root.mkdir()
        all_of_them.append(Platform(root, people, lock_wait_s))
        return all_of_them[-1]

    yield make
    for platform in all_of_them:
        platform.close()


def content(platform: Platform) -> dict[str, list[tuple[object, ...]]]:
    """What is stored, without ids and hashes, which differ from run to run."""
    db = platform.db
    names = {row["id"]: row["email"] for row in db.execute("SELECT id, email FROM users")}
    people = db.execute("SELECT email, name, currency, balance, created_at FROM users")
    entries = db.execute("SELECT user_id, account, amount, kind, party, note, created_at FROM transactions")
    meta = db.execute("SELECT user_id, name, value FROM user_meta")
    return {
        "people": sorted(tuple(row) for row in people),
        "entries": sorted((names[row[0]], *row[1:]) for row in entries),
        "meta": sorted((names[row[0]], *row[1:]) for row in meta),
        "comments": [tuple(r) for r in db.execute("SELECT topic_id, author, body FROM comments ORDER BY id")],
        "pages": [tuple(r) for r in db.execute("SELECT slug, title, body FROM pages ORDER BY id")],
        "currencies": sorted(tuple(r) for r in db.execute("SELECT code, name, digits FROM currencies")),
    }


def run_setup(platform: Platform, users: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tenfold.demo.ledger.setup"],
        env={**os.environ, "TENFOLD_FILE": str(platform.file), "LEDGER_SEED_USERS": users},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_platforms_are_seeded_alike_and_a_second_run_changes_nothing(made: Callable[..., Platform]) -> None:
    one, other = made(people=90), made(people=90)
    expected = content(one)
    assert expected == content(other)
    assert len(expected["people"]) == 90 and len(expected["entries"]) > 90 * 4
    assert one.audit().balances and one.audit().entries == 0

    again = run_setup(one, "90")
    said, _ = again.communicate(timeout=30)
    assert again.returncode == 0
    assert said == "note: log in as user00001@ledger.example, password: correct horse battery staple\n"
    assert content(one) == expected


@pytest.mark.parametrize("table", ["users", "transactions"])
def test_a_run_killed_midway_is_completed_by_the_next(made: Callable[..., Platform], table: str) -> None:
    # What the killed one had reserved is waited for as long as for a lock.
    killed, whole = made(people=0, lock_wait_s=0.2), made(people=0)
    seed(whole.db, 120, batch=40)

    program = "import sys, tenfold; from tenfold.demo.ledger.seed.load import seed; "
    program += "seed(tenfold.connect(sys.argv[1]), 120, batch=40)"
    running = subprocess.Popen([sys.executable, "-c", program, str(killed.file)], stderr=subprocess.DEVNULL)
    # More rows than the first batch has: the second has begun.
    least = 41 if table == "users" else 400
    deadline = time.monotonic() + 30
    while sum(killed.ask(n, f"SELECT count(*) FROM {table}")[0][0] for n in range(3)) < least:
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait(10)

    seed(killed.db, 120, batch=40)
    assert content(killed) == content(whole)
    assert killed.audit().balances


def test_mariadb_is_seeded_like_sqlite_and_what_was_cut_short_is_completed(
    made: Callable[..., Platform], three_servers: list[Server], tmp_path: Path
) -> None:
    lite = made(people=90)
    with fresh_databases(three_servers, 3) as databases:
        (tmp_path / "mariadb").mkdir()
        platform = Platform(tmp_path / "mariadb", 50, databases=databases)
        try:
            # As a run that was killed left it: what it had done is not noted.
            platform.db.execute("UPDATE options SET value = '0' WHERE name = 'seeded_users'")
            platform.db.execute("DELETE FROM deposits")
            seed(platform.db, 90)
            assert content(platform) == content(lite)
            assert platform.audit().balances
            assert inspect(load(platform.file)).mistakes == []
            again = run_setup(platform, "90")
            again.communicate(timeout=30)
            assert again.returncode == 0
            assert content(platform) == content(lite)
        finally:
            platform.close()


def test_more_people_may_be_asked_for_later(made: Callable[..., Platform]) -> None:
    platform = made(people=7)
    seed(platform.db, 30)
    found = platform.audit()
    assert found.users == 30 and found.balances


def test_nobody_is_seeded_where_nobody_is_wanted_and_the_first_to_sign_up_runs_the_site(
    made: Callable[..., Platform],
) -> None:
    platform = made(people=0)
    backend = platform.start().wait()
    admins = []
    with client(backend.url) as visitor:
        for email in ("first@example.org", "second@example.org"):
            application = {"email": email, "name": "N", "password": "a password", "currency": "EUR"}
            assert visitor.post("/api/users", json=application).status_code == 201
            admins.append(visitor.get("/api/options").status_code)
    assert admins == [200, 403]


@pytest.mark.parametrize("users", ["-1", "many", "100000", "١"])
def test_a_wrong_number_of_people_is_refused_with_the_remedy(tmp_path: Path, users: str) -> None:
    environment = {**os.environ, "LEDGER_SEED_USERS": users, "TENFOLD_FILE": str(tmp_path / "none.toml")}
    done = subprocess.run(
        [sys.executable, "-m", "tenfold.demo.ledger.setup"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "write a number from 0 to 99999" in done.stderr


def test_the_tables_of_a_group_are_found_fit_by_tenfold(made: Callable[..., Platform]) -> None:
    platform = made(people=0)
    assert inspect(load(platform.file)).mistakes == []
