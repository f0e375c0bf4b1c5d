"""Money is never made, lost, overdrawn or moved twice. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenfold.demo.ledger.amounts import MAX_AMOUNT, MAX_BALANCE
from tests.demo.platform import Backend, Member, Platform


@pytest.fixture
def two_shards(platform: Platform, backend: Backend) -> Iterator[tuple[Member, Member]]:
    """Two people with euros whose rows are on different shards."""
    people = [Member(platform, backend, number) for number in platform.pair_on_two_shards()]
    yield people[0], people[1]
    for person in people:
        person.http.close()


def test_what_goes_in_comes_out_and_is_in_the_history(member: Callable[[], Member]) -> None:
    one = member()
    before = one.balance()
    deposit = one.post("/deposits", amount=2_550, note="Salary")
    assert deposit.status_code == 201 and deposit.json()["balance"] == before + 2_550
    withdrawal = one.post("/withdrawals", amount=50, note="Coffee")
    assert withdrawal.status_code == 201 and withdrawal.json()["balance"] == before + 2_500
    newest = one.get("/transactions", limit=2)["transactions"]
    assert [(e["kind"], e["amount"], e["note"]) for e in newest] == [
        ("withdrawal", -50, "Coffee"),
        ("deposit", 2_550, "Salary"),
    ]
    assert newest[1]["ref"] == deposit.json()["deposit"]["id"]


def test_a_transfer_crosses_shards(two_shards: tuple[Member, Member], platform: Platform) -> None:
    sender, receiver = two_shards
    assert platform.home_of(sender.id) != platform.home_of(receiver.id)
    sender.post("/deposits", amount=700)
    had, other_had = sender.balance(), receiver.balance()
    answer = sender.post("/transfers", to=receiver.email.upper(), amount=700, note="Lunch")
    assert answer.status_code == 201
    sent = answer.json()["transfer"]
    assert sent["state"] == "done" and sent["amount"] == 700 and answer.json()["balance"] == had - 700
    assert receiver.balance() == other_had + 700
    mine, theirs = (p.get("/transactions", limit=1)["transactions"][0] for p in (sender, receiver))
    assert (mine["amount"], theirs["amount"]) == (-700, 700)
    assert mine["ref"] == theirs["ref"] == sent["id"]
    assert theirs["note"] == "Lunch" and theirs["party"] == sender.get("/me")["user"]["name"]
    assert sender.get(f"/transfers/{sent['id']}")["transfer"] == sent
    assert receiver.http.get(f"/api/transfers/{sent['id']}").status_code == 404


def test_all_rows_of_a_user_are_on_one_shard(two_shards: tuple[Member, Member], platform: Platform) -> None:
    sender, receiver = two_shards
    sender.post("/deposits", amount=10, key="homes")
    assert sender.post("/transfers", to=receiver.email, amount=10).status_code == 201
    for person in two_shards:
        for table in ("sessions", "deposits", "transactions", "outbox", "credits", "request_keys", "user_meta"):
            holding = {
                n for n in range(3) if platform.ask(n, f"SELECT 1 FROM {table} WHERE user_id = ?", int(person.id))
            }
            assert holding <= {platform.home_of(person.id)}, table


def test_two_withdrawals_at_once_cannot_overdraw(member: Callable[[], Member]) -> None:
    one = member()
    one.post("/withdrawals", amount=one.balance())
    one.post("/deposits", amount=1_000)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: one.post("/withdrawals", amount=600).status_code, range(8)))
    assert sorted(statuses) == [201, *[422] * 7]
    assert one.balance() == 400


def test_transfers_to_each_other_at_once_keep_every_cent(two_shards: tuple[Member, Member], platform: Platform) -> None:
    for person in two_shards:
        person.post("/deposits", amount=1_000)
    before = [person.balance() for person in two_shards]

    def send(turn: int) -> int:
        sender, receiver = two_shards[turn % 2], two_shards[1 - turn % 2]
        return sender.post("/transfers", to=receiver.email, amount=7 + turn % 2).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(send, range(20))) == {201}
    assert [person.balance() for person in two_shards] == [before[0] + 10, before[1] - 10]
    found = platform.audit()
    assert found.balances and found.entries == 0 and found.unmarked == 0


def test_a_request_sent_again_is_answered_and_not_done_again(two_shards: tuple[Member, Member]) -> None:
    sender, receiver = two_shards
    sender.post("/deposits", amount=5_000)
    had, other_had = sender.balance(), receiver.balance()
    for path, body, change in (
        ("/deposits", {"amount": 300}, 300),
        ("/withdrawals", {"amount": 200}, -200),
        ("/transfers", {"amount": 100, "to": receiver.email}, -100),
    ):
        first, second = (sender.post(path, key=f"again{path}", **body) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.headers["Idempotent-Replayed"] == "true"
        assert first.json() == second.json()
        had += change
        assert sender.balance() == had
    assert receiver.balance() == other_had + 100


def test_one_key_many_times_at_one_moment_is_one_deposit(member: Callable[[], Member]) -> None:
    one = member()
    before = one.balance()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: one.post("/deposits", key="at once", amount=100), range(8)))
    assert {answer.status_code for answer in answers} <= {422}, "a key has no blanks"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: one.post("/deposits", key="at-once", amount=100), range(8)))
    assert sorted(answer.status_code for answer in answers) == [*[200] * 7, 201]
    assert len({answer.json()["deposit"]["id"] for answer in answers}) == 1
    assert one.balance() == before + 100


def test_a_key_is_for_one_request_of_one_user(member: Callable[[], Member]) -> None:
    one, other = member(), member()
    assert one.post("/deposits", key="k", amount=100).status_code == 201
    assert one.post("/deposits", key="k", amount=101).status_code == 409
    assert one.post("/withdrawals", key="k", amount=100).status_code == 409
    assert other.post("/deposits", key="k", amount=100).status_code == 201


def test_a_refused_request_may_be_sent_again_with_its_key(member: Callable[[], Member]) -> None:
    one = member()
    too_much = one.balance() + 1
    assert one.post("/withdrawals", key="later", amount=too_much).status_code == 422
    one.post("/deposits", amount=1)
    assert one.post("/withdrawals", key="later", amount=too_much).status_code == 201


@pytest.mark.parametrize("amount", [0, -1, 1.5, "100", None, True, MAX_AMOUNT + 1, 10**30])
def test_an_amount_is_a_whole_number_within_bounds(member: Callable[[], Member], amount: object) -> None:
    one = member()
    before = one.balance()
    answer = one.post("/deposits", amount=amount)
    assert answer.status_code == 422 and answer.json()["error"]["fields"].keys() == {"amount"}
    assert one.balance() == before


def test_a_wallet_has_a_most_that_deposits_and_transfers_respect(
    two_shards: tuple[Member, Member], platform: Platform
) -> None:
    full, other = two_shards
    filling = MAX_BALANCE - full.balance()
    with platform.db.transaction() as tx:
        tx.execute("UPDATE users SET balance = balance + ? WHERE id = ?", (filling, full.id))
        tx.execute(
            "INSERT INTO transactions (user_id, account, amount, kind, ref, party, note, created_at)"
            " VALUES (?, 'wallet', ?, 'deposit', 1, '', '', 1), (?, 'bank', ?, 'deposit', 1, '', '', 1)",
            (full.id, filling, full.id, -filling),
        )
    other.post("/deposits", amount=1)
    assert full.post("/deposits", amount=1).json()["error"]["fields"].keys() == {"amount"}
    assert other.post("/transfers", to=full.email, amount=1).json()["error"]["fields"].keys() == {"to"}
    for _ in range(2):
        assert full.post("/withdrawals", amount=MAX_AMOUNT).status_code == 201
    assert other.post("/transfers", to=full.email, amount=1).status_code == 201
    assert platform.audit().balances


def test_a_transfer_needs_somebody_else_with_the_same_currency(
    member: Callable[[], Member], platform: Platform
) -> None:
    one = member()
    one.post("/deposits", amount=100)
    before = one.balance()
    strangers = platform.db.execute("SELECT email, currency FROM users WHERE currency <> 'EUR'")
    foreign = next(row["email"] for row in strangers)
    for to in (one.email, foreign, "nobody@ledger.example", ""):
        answer = one.post("/transfers", to=to, amount=1)
        assert answer.status_code == 422 and answer.json()["error"]["fields"].keys() == {"to"}, to
    assert one.balance() == before


def test_paging_shows_each_entry_once_whatever_is_added_meanwhile(member: Callable[[], Member]) -> None:
    one = member()
    for amount in range(1, 12):
        assert one.post("/deposits", amount=amount).status_code == 201
    expected = [e["id"] for e in one.get("/transactions", limit=100)["transactions"]]
    assert len(expected) > 11 and expected == sorted(expected, key=int, reverse=True)
    page = one.get("/transactions", limit=4)
    seen = [e["id"] for e in page["transactions"]]
    while page["next_before"]:
        one.post("/deposits", amount=1)
        page = one.get("/transactions", limit=4, before=page["next_before"])
        assert 1 <= len(page["transactions"]) <= 4
        seen += [e["id"] for e in page["transactions"]]
    assert seen == expected


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"before": "-1"}, {"before": "9" * 20}]
)
def test_a_wrong_page_is_refused(member: Callable[[], Member], query: dict[str, str]) -> None:
    assert member().http.get("/api/transactions", params=query).status_code == 422


def test_ids_in_json_are_text_because_they_exceed_what_javascript_can_count(member: Callable[[], Member]) -> None:
    one = member()
    deposit = one.post("/deposits", amount=1).json()["deposit"]
    entry = one.get("/transactions", limit=1)["transactions"][0]
    for value in (deposit["id"], entry["id"], entry["ref"], one.get("/me")["user"]["id"]):
        assert isinstance(value, str) and value.isdigit()
    assert any(int(value) > 2**53 for value in (deposit["id"], entry["id"]))
