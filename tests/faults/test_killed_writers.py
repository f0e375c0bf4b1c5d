"""Processes killed in the middle of anything: afterwards each address has one user or is free. Edge."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import pytest

from tests.faults.conftest import LONG
from tests.faults.writers import ADDRESSES, FORK, sign_up_at_once, write_for_ever
from tests.sharding.engine.sites import Site, mariadb_site

WAITS = "lock_wait_s = 0.3\npool_wait_s = 30.0"


@pytest.fixture(params=["sqlite", "mariadb"])
def site(request: pytest.FixtureRequest, memory: Path) -> Iterator[Site]:
    """Three shards in memory, or on three servers; who waits for a dead writer's value settles it after 0.3 s."""
    if request.param == "sqlite":
        yield _patient(Site(memory / "site"))
        return
    with mariadb_site(memory / "site", request.getfixturevalue("three_servers")) as made:
        yield _patient(made)


def _patient(site: Site) -> Site:
    site.write(settings=WAITS)
    return site.set_up()


@pytest.mark.timeout(3600 if LONG else 60)
def test_killed_writers_leave_one_user_an_address_and_no_address_blocked(site: Site) -> None:
    seed = random.randrange(10**9) if LONG else 7
    drawn = random.Random(seed)
    writers: list[Process] = []
    kills, until = 0, time.monotonic() + (60.0 * LONG or 1.5)
    try:
        while time.monotonic() < until or kills <= 5:
            while len(writers) < 4:
                writers.append(FORK.Process(target=write_for_ever, args=(site.file, drawn.randrange(10**9))))
                writers[-1].start()
            time.sleep(drawn.uniform(0.01, 0.15))
            victim = writers.pop(drawn.randrange(4))
            assert victim.is_alive(), f"seed {seed}: a writer ended by itself"
            victim.kill()
            victim.join()
            kills += 1
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    site.sweep()
    assert kills > 5
    assert site.violations() == [], f"seed {seed}"
    with site.connect() as db:
        for address in ADDRESSES:
            db.execute("DELETE FROM users WHERE email = ?", (address,))
        for address in ADDRESSES:  # and whatever happened to it, it can be taken again
            db.execute("INSERT INTO users (email) VALUES (?)", (address,))
    assert site.violations() == [], f"seed {seed}"


@pytest.mark.timeout(3600 if LONG else 60)
def test_200_concurrent_sign_ups_with_one_address_and_kills_give_exactly_one_user(site: Site) -> None:
    for round_ in range(10 * LONG or 1):
        seed = random.randrange(10**9) if LONG else 11
        drawn = random.Random(seed)
        email, said, at_s = f"ada{round_}@example.org", site.root / f"said_{round_}", time.monotonic() + 0.6
        crowd = [FORK.Process(target=sign_up_at_once, args=(site.file, email, 25, at_s, said)) for _ in range(8)]
        try:
            for process in crowd:
                process.start()
            time.sleep(max(0.0, at_s - time.monotonic()))
            for victim in drawn.sample(crowd, 3):
                time.sleep(drawn.uniform(0.0, 0.06))
                victim.kill()
            for process in crowd:
                process.join(40)
                assert process.exitcode is not None, f"seed {seed}: a sign-up hangs"
        finally:
            for process in crowd:
                process.kill()
                process.join()
        site.sweep()
        rows = [
            row
            for found in site.look_everywhere("SELECT id FROM users WHERE email = ?", (email,)).values()
            for row in found
        ]
        assert len(rows) == 1, f"seed {seed}: {len(rows)} users"
        told = [(int(line),) for line in said.read_text().splitlines()] if said.exists() else []
        assert told in ([], rows), f"seed {seed}: told {told}, stored {rows}"
        assert site.violations() == [], f"seed {seed}"
