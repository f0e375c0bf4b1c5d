"""All shards of a backup are of one moment, while money moves between them: none is lost, none is made. Edge."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tenfold
from tenfold.demo.ledger.audit import audit
from tenfold.demo.ledger.records import Person
from tenfold.demo.ledger.store.request_keys import RequestKeys
from tenfold.demo.ledger.store.transfers import Transfers
from tenfold.deploy.backup.barrier import Barrier
from tenfold.deploy.backup.create import Creation
from tenfold.deploy.backup.restore import Restoring
from tenfold.deploy.backup.shelf import Kept
from tenfold.errors import BackupError, NodeError
from tenfold.sharding.keys import KeyType, bucket_of
from tenfold.sharding.moves.connections import Shards
from tenfold.sharding.moves.placement import strays
from tenfold.topology.load import load
from tests.demo.platform import SHIPPED, Platform
from tests.deploy.backup.conftest import Key
from tests.mariadb import ACCOUNT, Server, fresh_databases, on_mariadb, server
from tests.support import wait_for

TRANSFERS, SEQUENCES = 4, 3
BOTH = ["sqlite", "mysql"] if os.environ.get("TENFOLD_DRILLS") == "1" else ["sqlite"]
HELD_S = 0.3
"""How long the test keeps the barrier up between two snapshots, so that a write that gets through is seen."""


@dataclass
class Writers:
    """Money that moves between users of all shards, and rows numbered one after the other over all shards."""

    file: Path
    people: list[Person]
    homes: list[list[int]]
    acknowledged: list[tuple[int, int, float, float]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Writers:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        wait_for(lambda: len(self.acknowledged) > 20 or self.errors, "the writers write")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(60)

    async def _run(self) -> None:
        async with await tenfold.connect_async(self.file) as db:
            tasks = [self._transfer(db, n) for n in range(TRANSFERS)] + [self._count(db, n) for n in range(SEQUENCES)]
            try:
                await asyncio.gather(*tasks)
            except BaseException as error:
                self.errors.append(error)

    async def _transfer(self, db: tenfold.AsyncDatabase, who: int) -> None:
        def clock() -> int:
            return int(time.time() * 1000)

        transfers = Transfers(db, RequestKeys(db, clock), clock)
        number = 0
        while not self.stop.is_set():
            sender = self.people[(who + number) % len(self.people)]
            receiver = self.people[(who + number + 1) % len(self.people)]
            try:
                await transfers.send(sender, receiver, 1, "", f"{who}-{number}")
            except NodeError:  # two wanted the same rows: the sweeper's work
                await asyncio.sleep(0.01)
            number += 1

    async def _count(self, db: tenfold.AsyncDatabase, who: int) -> None:
        """The nth row goes to the nth shard, in turn; the next is begun when it is acknowledged."""
        number = 0
        while not self.stop.is_set():
            user, began_s = self.homes[number % 3][who], time.monotonic()
            await db.execute(
                "INSERT INTO user_meta (user_id, name, value) VALUES (?, ?, '')", (user, f"seq-{who}-{number}")
            )
            self.acknowledged.append((who, number, began_s, time.monotonic()))
            number += 1


class Ledger:
    """The ledger on three shards, with a key."""

    def __init__(self, platform: Platform, key: Key, target: Path) -> None:
        self.platform, self.key, self.target = platform, key, target
        with platform.file.open("a") as file:
            file.write(f'\n[backup]\nrecipient = "{key.recipient}"\nbarrier_s = 20.0\n')
        found = platform.db.execute("SELECT id, email, name, currency FROM users WHERE currency = 'EUR' ORDER BY id")
        homes: dict[str, list[Person]] = {}
        owners = dict(_map(self.topology))
        for row in found:
            person = Person(*row)
            homes.setdefault(owners[bucket_of(person.id, KeyType.INTEGER)], []).append(person)
        three = [homes[shard][:6] for shard in sorted(homes)]
        self.homes = [[person.id for person in some] for some in three]
        # One after the other on another shard, so that every transfer crosses.
        self.people = [some[nth] for nth in range(6) for some in three]
        for person in self.people:
            platform.db.execute("UPDATE users SET balance = balance + 100000 WHERE id = ?", (person.id,))
            platform.db.execute(
                "INSERT INTO transactions (user_id, account, amount, kind, ref, party, note, created_at)"
                " VALUES (?, 'wallet', 100000, 'deposit', 1, '', '', 1), (?, 'bank', -100000, 'deposit', 1, '', '', 1)",
                (person.id, person.id),
            )

    @property
    def topology(self) -> Any:
        return load(self.platform.file)

    def writers(self) -> Writers:
        return Writers(self.platform.file, self.people, self.homes)

    def backed_up(self, **how: Any) -> tuple[Kept, float, float]:
        """(backup, when it began to hold writes up at the earliest, when it had let go at the latest)."""
        times: dict[str, float] = {}

        def note(event: dict[str, Any]) -> None:
            times.setdefault(f"{event['event']} {event.get('phase', '')}", time.monotonic())

        kept = Creation(self.topology, note).run(**how)
        return kept, times["phase barrier"], times["barrier "]

    def restored(self, kept: Kept) -> tenfold.Database:
        target = load(self.target)
        Restoring(kept, self.key.identity, target, lambda event: None).run(None)
        assert strays(target) == []
        return tenfold.connect(self.target)


def _map(topology: Any) -> list[tuple[int, str]]:
    with closing(Shards(topology)) as shards:
        return [(int(row[0]), str(row[1])) for row in shards.rows("shard_0", "SELECT bucket, shard FROM tf_bucket")]


@pytest.fixture(params=["sqlite", "mysql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, key: Key) -> Iterator[Ledger]:
    """Of either engine; on servers by LOCK TABLES, which the application's account may."""
    home, target = tmp_path / "ledger", tmp_path / "target"
    home.mkdir()
    target.mkdir()
    if request.param == "sqlite":
        (target / "tenfold.toml").write_text(SHIPPED.read_text())
        (target / "var").mkdir()
        made = Platform(home, people=90)
        yield Ledger(made, key, target / "tenfold.toml")
        made.close()
        return
    servers = request.getfixturevalue("three_servers")
    with fresh_databases(servers, 3) as urls, fresh_databases(servers, 3) as others:
        (target / "tenfold.toml").write_text(on_mariadb(target, SHIPPED.read_text(), others))
        made = Platform(home, people=90, databases=urls)
        yield Ledger(made, key, target / "tenfold.toml")
        made.close()


def slowly(monkeypatch: pytest.MonkeyPatch, between: Callable[[], object]) -> None:
    """Do `between` after each snapshot is opened."""
    plain = Barrier._open

    def opened(barrier: Barrier, shard: str) -> None:
        plain(barrier, shard)
        between()

    monkeypatch.setattr(Barrier, "_open", opened)


def whole(ledger: Ledger, writers: Writers, kept: Kept, began_s: float, ended_s: float) -> list[str]:
    """What is wrong with the restored platform, in sentences; none: it is one that existed."""
    wrong = []
    with ledger.restored(kept) as db:
        books = audit(db)
        if not books.balances:
            wrong.append(f"the books do not balance: {books}")
        rows = db.execute("SELECT name FROM user_meta WHERE name LIKE 'seq-%'")
        there = {tuple(map(int, str(row["name"]).split("-")[1:])) for row in rows}
    for who in range(SEQUENCES):
        numbers = sorted(number for one, number in there if one == who)
        if numbers != list(range(len(numbers))):
            wrong.append(f"writer {who} has gaps: {numbers[-3:]} of {len(numbers)}")
    for who, number, sent_s, done_s in writers.acknowledged:
        if done_s < began_s and (who, number) not in there:
            wrong.append(f"{who}-{number} was acknowledged before, and is not there")
        if sent_s > ended_s and (who, number) in there:
            wrong.append(f"{who}-{number} was sent after, and is there")
    return wrong


def test_money_that_moves_between_shards_is_in_a_backup_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with ledger.writers() as writers:
        through: list[int] = []

        def between() -> None:
            before = len(writers.acknowledged)
            time.sleep(HELD_S)
            through.append(len(writers.acknowledged) - before)

        slowly(monkeypatch, between)
        kept, began_s, ended_s = ledger.backed_up(consistent=True)
        wait_for(lambda: writers.acknowledged[-1][2] > ended_s + 0.05 or writers.errors, "the writers go on")
    assert writers.errors == []
    # An answer that was under way may still arrive in the first moment; then nothing does.
    assert sum(through[1:]) == 0 and through[0] <= TRANSFERS + SEQUENCES
    assert whole(ledger, writers, kept, began_s, ended_s) == []
    assert kept.manifest is not None and kept.manifest.pause_s > 3 * HELD_S


@pytest.mark.parametrize("ledger", BOTH, indirect=True)
def test_without_the_barrier_it_would_not_be(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the test above is worth: the same backup, with nothing held up.
    monkeypatch.setattr(Barrier, "_hold", lambda barrier, shard: "none")
    with ledger.writers() as writers:

        def between() -> None:
            before = len(writers.acknowledged)
            wait_for(lambda: len(writers.acknowledged) > before + 30 or writers.errors, "the writers write")

        slowly(monkeypatch, between)
        kept, began_s, ended_s = ledger.backed_up()
    assert writers.errors == []
    assert whole(ledger, writers, kept, began_s, ended_s) != []


def test_an_account_that_may_flush_holds_whole_servers_up(mariadb_pattern: Path, tmp_path: Path, key: Key) -> None:
    with server(mariadb_pattern, ["--log-bin=log", "--server-id=7"]) as one:
        one.sql(f"GRANT RELOAD ON *.* TO {ACCOUNT}@'127.0.0.1'")
        home, target = tmp_path / "ledger", tmp_path / "target"
        home.mkdir()
        target.mkdir()
        with fresh_databases([one], 3) as urls, fresh_databases([one], 3) as others:
            (target / "tenfold.toml").write_text(on_mariadb(target, SHIPPED.read_text(), others))
            made = Platform(home, people=60, databases=urls)
            ledger = Ledger(made, key, target / "tenfold.toml")
            with ledger.writers() as writers:
                kept, began_s, ended_s = ledger.backed_up(consistent=True)
                wait_for(lambda: writers.acknowledged[-1][2] > ended_s or writers.errors, "the writers go on")
            assert writers.errors == []
            assert whole(ledger, writers, kept, began_s, ended_s) == []
            assert kept.manifest is not None
            parts = kept.manifest.shards.values()
            assert {part.barrier for part in parts} == {"global"}
            positions = {tuple(sorted(part.positions.items())) for part in parts}
            assert len(positions) == 1, "one server has one position"
            found = dict(next(iter(positions)))
            assert found["file"] == "log.000001" or found["file"].startswith("log."), found
            assert int(found["position"]) > 0 and found["gtid"].count("-") == 2
            made.close()


def test_who_may_neither_flush_nor_lock_gets_shards_of_different_moments(
    mariadb_pattern: Path, tmp_path: Path, key: Key
) -> None:  # fmt: skip
    with server(mariadb_pattern) as one, fresh_databases([one], 3) as urls:
        made = Platform(tmp_path, people=10, databases=urls)
        with made.file.open("a") as file:
            file.write(f'\n[backup]\nrecipient = "{key.recipient}"\n')
        made.db.close()
        names = [url.rpartition("/")[2] for url in urls]
        for name in names[:2]:
            one.sql(f"REVOKE LOCK TABLES ON `{name.replace('_', chr(92) + '_')}`.* FROM {ACCOUNT}@'127.0.0.1'")
        topology = load(made.file)
        with pytest.raises(BackupError, match="writes cannot be held up on shard_0, shard_1") as told:
            Creation(topology, lambda event: None).run(consistent=True)
        assert "GRANT RELOAD" in told.value.hint
        kept = Creation(topology, lambda event: None).run()
        assert kept.manifest is not None
        assert (kept.manifest.consistent, kept.manifest.moments) == (False, ["shard_0", "shard_1"])
        one.sql(f"UPDATE `{names[0]}`.tf_catalog SET value = '2' WHERE name = 'epoch'")
        one.sql(
            f"INSERT INTO `{names[0]}`.tf_move VALUES (1, 'copying', 1,"
            ' \'[{"source":"shard_0","target":"shard_1","buckets":"3"}]\', \'{}\', 1, 1)'
        )
        with pytest.raises(BackupError, match="buckets are on the move") as told:
            Creation(topology, lambda event: None).run()
        assert told.value.retryable


@pytest.mark.parametrize("ledger", BOTH, indirect=True)
def test_a_shard_that_is_busy_for_too_long_stops_the_backup_and_nothing_stays_held(
    ledger: Ledger, three_servers: list[Server]
) -> None:
    text = ledger.platform.file.read_text()
    ledger.platform.file.write_text(text.replace("barrier_s = 20.0", "barrier_s = 0.5"))
    with closing(ledger.platform.connect()) as db, db.transaction() as tx:
        user = ledger.homes[1][0]
        tx.execute("UPDATE users SET name = 'busy' WHERE id = ?", (user,))
        with pytest.raises(BackupError, match=r"within 0.5 s: shard_1 was busy") as told:
            ledger.backed_up()
        assert told.value.retryable
        # The shard before it was held, and is free again.
        ledger.platform.db.execute("UPDATE users SET name = 'free' WHERE id = ?", (ledger.homes[0][0],))
    ledger.backed_up()
