"""A process dies in the middle of a transfer: nothing is lost, nothing arrives twice. Edge."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.demo.platform import Backend, Member, Platform
from tests.support import wait_for

AMOUNT = 1_234
SWEEP_SOON = {"LEDGER_SWEEP_AFTER_S": "0", "LEDGER_SWEEP_EVERY_S": "0.1"}


class Interrupted:
    """A transfer between shards whose credit waits for a lock that the test holds."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.backend = platform.start().wait()
        sender, receiver = self.platform.pair_on_two_shards()
        self.sender = Member(self.platform, self.backend, sender)
        self.receiver = Member(self.platform, self.backend, receiver)
        # Also draws the first ids, so that the transfer needs none from the catalog.
        assert self.sender.post("/deposits", amount=AMOUNT).status_code == 201
        self.had = self.sender.balance(), self.receiver.balance()
        self.home = self.platform.home_of(self.sender.id)
        self.far = self.platform.home_of(self.receiver.id)
        self.locks: list[sqlite3.Connection] = []
        self.client = threading.Thread(target=self.send)

    def send(self, backend: Backend | None = None) -> httpx.Response | None:
        url = (backend or self.backend).url
        body = {"to": self.receiver.email, "amount": AMOUNT}
        headers = {"Authorization": f"Bearer {self.sender.token}", "Idempotency-Key": "once"}
        try:
            return httpx.post(f"{url}/api/transfers", json=body, headers=headers, timeout=15)
        except httpx.TransportError:
            return None  # its process was killed

    def lock(self, shard: int) -> sqlite3.Connection:
        held = self.platform.shard(shard)
        held.execute("PRAGMA busy_timeout = 5000")
        held.execute("BEGIN IMMEDIATE")
        self.locks.append(held)
        return held

    def debited(self) -> bool:
        return bool(self.platform.ask(self.home, "SELECT 1 FROM outbox WHERE amount = ? AND done_at IS NULL", AMOUNT))

    def credits(self) -> int:
        sql = "SELECT count(*) FROM credits WHERE user_id = ? AND amount = ?"
        return int(self.platform.ask(self.far, sql, int(self.receiver.id), AMOUNT)[0][0])

    def crash(self) -> None:
        self.backend.kill()
        self.client.join(15)
        for held in self.locks:
            held.close()

    def close(self) -> None:
        for held in self.locks:
            held.close()
        self.sender.http.close()
        self.receiver.http.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Platform]:
    """Waits for locks just long enough for a test to see the debit and kill the process while the credit waits."""
    made = Platform(tmp_path, people=60, lock_wait_s=1.0)
    yield made
    made.close()


@pytest.fixture
def interrupted(impatient: Platform) -> Iterator[Interrupted]:
    made = Interrupted(impatient)
    yield made
    made.close()


def test_a_crash_between_debit_and_credit_is_finished_by_the_next_backend(interrupted: Interrupted) -> None:
    interrupted.lock(interrupted.far)
    interrupted.client.start()
    wait_for(interrupted.debited, "the debit")
    interrupted.crash()

    torn = interrupted.platform.audit()
    assert torn.balances and (torn.entries, torn.on_the_way, torn.unmarked) == (-AMOUNT, AMOUNT, 1)
    assert interrupted.credits() == 0

    # Two sweepers at once, on purpose.
    backends = [interrupted.platform.start(**SWEEP_SOON) for _ in range(2)]
    for backend in backends:
        backend.wait()
    wait_for(lambda: not interrupted.debited(), "the sweep")
    whole = interrupted.platform.audit()
    assert whole.balances and (whole.entries, whole.on_the_way, whole.unmarked) == (0, 0, 0)
    assert interrupted.credits() == 1

    # The client, who never got an answer, asks again.
    answer = interrupted.send(backends[0])
    assert answer is not None and answer.status_code == 200
    assert answer.json()["transfer"]["state"] == "done"
    interrupted.sender.http.base_url = interrupted.receiver.http.base_url = httpx.URL(f"{backends[1].url}")
    assert interrupted.sender.balance() == interrupted.had[0] - AMOUNT
    assert interrupted.receiver.balance() == interrupted.had[1] + AMOUNT


def test_a_crash_between_credit_and_mark_does_not_credit_again(interrupted: Interrupted) -> None:
    far = interrupted.lock(interrupted.far)
    interrupted.client.start()
    wait_for(interrupted.debited, "the debit")
    interrupted.lock(interrupted.home)  # the mark will wait here
    far.execute("ROLLBACK")
    wait_for(interrupted.credits, "the credit")
    interrupted.crash()

    torn = interrupted.platform.audit()
    assert torn.balances and (torn.entries, torn.on_the_way, torn.unmarked) == (0, 0, 1)

    backend = interrupted.platform.start(**SWEEP_SOON).wait()
    wait_for(lambda: not interrupted.debited(), "the sweep")
    whole = interrupted.platform.audit()
    assert whole.balances and (whole.entries, whole.unmarked) == (0, 0)
    assert interrupted.credits() == 1
    interrupted.receiver.http.base_url = httpx.URL(backend.url)
    assert interrupted.receiver.balance() == interrupted.had[1] + AMOUNT


def test_a_transfer_to_a_busy_shard_is_pending_and_arrives_later(interrupted: Interrupted) -> None:
    far = interrupted.lock(interrupted.far)
    answer = interrupted.send()
    assert answer is not None and answer.status_code == 201
    assert answer.json()["transfer"]["state"] == "pending"
    assert answer.json()["balance"] == interrupted.had[0] - AMOUNT
    far.execute("ROLLBACK")
    again = interrupted.send()  # asking again delivers it
    assert again is not None and again.json()["transfer"]["state"] == "done"
    assert interrupted.receiver.balance() == interrupted.had[1] + AMOUNT
    assert interrupted.platform.audit().entries == 0


def test_a_busy_shard_is_answered_with_a_request_to_come_again(interrupted: Interrupted) -> None:
    interrupted.lock(interrupted.home)
    answer = interrupted.sender.post("/deposits", amount=1)
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "1"
    assert answer.json()["error"]["code"] == "busy"
    with interrupted.sender.browser() as browser:
        assert browser.get("/wallet").status_code == 200  # reading goes on
    assert interrupted.receiver.post("/deposits", amount=1).status_code == 201  # and so do the other shards
