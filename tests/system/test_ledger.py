"""The main job: a platform on one machine, seen from outside and checked in its files. Edge."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from tests.http import Client
from tests.support import wait_for
from tests.system.ledger import SHARDS, Ledger, Member

pytestmark = pytest.mark.system


def two_on_different_shards(ledger: Ledger, name: str) -> tuple[Member, Member]:
    first = ledger.member(f"{name}0@example.com")
    for number in range(1, 30):
        other = ledger.member(f"{name}{number}@example.com")
        if ledger.home(other.id) != ledger.home(first.id):
            return first, other
    pytest.fail("30 users all live on one shard")


def test_a_user_signs_up_deposits_and_pays_a_user_on_another_shard(ledger: Ledger) -> None:
    ann, bob = two_on_different_shards(ledger, "payer")
    assert ledger.post("/api/deposits", {"amount": 5000, "note": "first"}, ann).status == 201
    paid = ledger.post("/api/transfers", {"to": bob.email, "amount": 1200, "note": "rent"}, ann)
    assert paid.status == 201, paid.body
    assert paid.told["transfer"]["state"] == "done"
    assert [int(row["amount"]) for row in ledger.get("/api/transactions", ann)["transactions"]] == [-1200, 5000]
    assert [int(row["amount"]) for row in ledger.get("/api/transactions", bob)["transactions"]] == [1200]
    assert (ledger.balance(ann.id), ledger.balance(bob.id)) == (3800, 1200)


def test_every_row_of_a_user_lies_on_the_shard_that_the_bucket_map_names(ledger: Ledger) -> None:
    ann, bob = two_on_different_shards(ledger, "placed")
    ledger.post("/api/deposits", {"amount": 100}, ann)
    ledger.post("/api/transfers", {"to": bob.email, "amount": 60}, ann)
    for member, tables in ((ann, {"users", "sessions", "deposits", "transactions", "outbox"}), (bob, {"credits"})):
        found = ledger.where(member.id)
        assert all(shards <= {ledger.home(member.id)} for shards in found.values()), found
        assert tables <= {table for table, shards in found.items() if shards}
    everybody = [(shard, row[0]) for shard in SHARDS for row in ledger.rows(shard, "SELECT id FROM users")]
    assert len(everybody) > 200
    assert all(ledger.home(user_id) == shard for shard, user_id in everybody)


def test_800_requests_without_cookies_are_split_3_3_2(ledger: Ledger) -> None:
    served = Counter(ledger.ask("/healthz").told["backend"] for _ in range(800))
    assert set(served) == {"backend_0", "backend_1", "backend_2"}
    for backend, share in (("backend_0", 300), ("backend_1", 300), ("backend_2", 200)):
        assert abs(served[backend] - share) <= share * 0.05, served


def test_a_backend_killed_under_load_costs_no_request_and_comes_back(ledger: Ledger) -> None:
    failed: list[object] = []
    served: Counter[int] = Counter()
    stop = threading.Event()

    def visitor() -> None:
        while not stop.is_set():
            try:
                with Client(ledger.port) as client:
                    for _ in range(5):
                        answer = client.ask("/login")
                        served[answer.status] += 1
                        if answer.status != 200:
                            failed.append(answer)
            except OSError as error:
                failed.append(error)

    before = ledger.backends()["backend_1"]["pid"]
    threads = [threading.Thread(target=visitor) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: served[200] > 100, "traffic flows")
        ledger.kill("backend_1")
        wait_for(lambda: ledger.backends()["backend_1"]["pid"] not in (before, None), "the supervisor starts it again")
        wait_for(ledger.all_up, "all three backends are well again")
        at = served[200]
        wait_for(lambda: served[200] > at + 100, "traffic flows on")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_an_app_process_killed_between_debit_and_credit_leaves_the_sum_whole(ledger: Ledger) -> None:
    ann, bob = two_on_different_shards(ledger, "crash")
    assert ledger.post("/api/deposits", {"amount": 900}, ann).status == 201
    with ledger.no_credit(bob.id) as allow, ThreadPoolExecutor(1) as background:
        paying = background.submit(ledger.post, "/api/transfers", {"to": bob.email, "amount": 700}, ann)
        wait_for(lambda: ledger.balance(ann.id) == 200, "the sender is debited")
        assert ledger.sums() == (-700, 700)
        for backend in ledger.backends():
            ledger.kill(backend)
        allow()
        broken = paying.exception()
        assert isinstance(broken, OSError) if broken else paying.result().status >= 500
    wait_for(lambda: ledger.sums() == (0, 0), "a sweeper credits the receiver")
    assert ledger.balance(bob.id) == 700
    time.sleep(1.2)  # two more rounds of three sweepers
    assert (ledger.balance(bob.id), ledger.sums()) == (700, (0, 0))
    wait_for(ledger.all_up, "all backends are back")


def test_200_sign_ups_at_once_with_one_address_and_kills_give_one_user(ledger: Ledger) -> None:
    def attempt(number: int) -> int:
        if number in (60, 120):
            ledger.kill(f"backend_{number // 60}")
        try:
            return ledger.sign_up("everyone@example.com").status
        except (OSError, HTTPException):  # killed before its answer, or in the middle of it
            return 0

    with ThreadPoolExecutor(24) as crowd:
        answers = Counter(crowd.map(attempt, range(200)))
    assert answers[201] <= 1
    assert set(answers) <= {0, 201, 409, 502, 503, 504}, answers
    wait_for(ledger.all_up, "all backends are back")
    # A sign-up whose process was killed may hold the address for some seconds; then it is free or taken for good.
    wait_for(lambda: ledger.sign_up("everyone@example.com").status in (201, 409), "the address is settled", 30)
    count = sum(ledger.rows(s, "SELECT COUNT(*) FROM users WHERE email = 'everyone@example.com'")[0][0] for s in SHARDS)
    assert count == 1, answers


def test_status_says_what_runs_and_stopping_leaves_nothing(ledger: Ledger) -> None:
    wait_for(lambda: ledger.tenfold("status").returncode == 0, "all is well")
    status = ledger.tenfold("status")
    assert all(name in status.stdout for name in ("backend_0", "backend_1", "backend_2", "balancer"))
    started = time.monotonic()
    assert ledger.stop() == 0
    assert time.monotonic() - started < 10
    assert ledger.processes() == []
    left = [path for pattern in ("*.pid", "*.sock", "*.lock", "state.json") for path in ledger.root.rglob(pattern)]
    assert left == []
    assert ledger.tenfold("status").returncode == 1
