"""Signing up, in and out; what the cookies and the database hold. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tenfold.demo.ledger.seed.residents import PASSWORD as SEEDED_PASSWORD
from tests.demo.platform import PASSWORD, Backend, Member, Platform, client


@pytest.fixture
def visitor(backend: Backend) -> Iterator[httpx.Client]:
    with client(backend.url) as made:
        yield made


def application(email: str, **other: str) -> dict[str, str]:
    return {"email": email, "name": "Ada Byron", "password": PASSWORD, "currency": "EUR", **other}


def cookie(answer: httpx.Response, name: str) -> str:
    return next(line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}="))


def test_who_signs_up_is_signed_in_and_has_an_empty_wallet(visitor: httpx.Client) -> None:
    answer = visitor.post("/api/users", json=application("  Ada@Example.ORG "))
    assert answer.status_code == 201
    assert answer.json()["user"]["email"] == "ada@example.org"
    me = visitor.get("/api/me").json()["user"]
    assert (me["name"], me["currency"], me["balance"]) == ("Ada Byron", "EUR", 0)
    assert isinstance(me["id"], str) and int(me["id"]) > 0


def test_an_address_is_taken_whatever_its_spelling(visitor: httpx.Client) -> None:
    assert visitor.post("/api/users", json=application("bea@example.org")).status_code == 201
    again = visitor.post("/api/users", json=application("BEA@example.org "))
    assert again.status_code == 409
    assert again.json()["error"]["fields"].keys() == {"email"}


def test_many_who_ask_for_one_address_at_once_make_one_account(visitor: httpx.Client, platform: Platform) -> None:
    def ask(_: int) -> int:
        return visitor.post("/api/users", json=application("one@example.org")).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(ask, range(12)))
    assert sorted(statuses) == [201, *[409] * 11]
    rows = [platform.ask(n, "SELECT id FROM users WHERE email = 'one@example.org'") for n in range(3)]
    assert sum(map(len, rows)) == 1


def test_every_wrong_field_is_named_at_once(visitor: httpx.Client) -> None:
    answer = visitor.post("/api/users", json=application("nobody", name=" ", password="short", currency="XXX"))
    assert answer.status_code == 422
    assert answer.json()["error"]["fields"].keys() == {"email", "name", "password", "currency"}


@pytest.mark.parametrize("email", ["user00001@ledger.example", "nobody@ledger.example"])
def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(visitor: httpx.Client, email: str) -> None:
    answer = visitor.post("/api/login", json={"email": email, "password": "wrong"})
    assert answer.status_code == 401
    message = "The e-mail address and the password do not belong together."
    assert answer.json()["error"] == {"code": "not_signed_in", "message": message, "fields": {}}


def test_seeded_people_sign_in_with_the_demo_password(visitor: httpx.Client) -> None:
    answer = visitor.post("/api/login", json={"email": "USER00060@ledger.example", "password": SEEDED_PASSWORD})
    assert answer.status_code == 200
    token = answer.json()["token"]
    visitor.cookies.clear()
    alone = visitor.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert alone.json()["user"]["email"] == "user00060@ledger.example"


def test_cookies_are_out_of_reach_for_scripts_and_other_sites(visitor: httpx.Client) -> None:
    form = cookie(visitor.get("/login"), "ledger_form").lower()
    session = cookie(visitor.post("/api/users", json=application("cookie@example.org")), "ledger_session").lower()
    for line in (form, session):
        assert "httponly" in line and "samesite=lax" in line and "path=/" in line
        assert "secure" not in line  # plain HTTP on loopback; see the next test
    assert "max-age=2592000" in session


def test_behind_tls_cookies_travel_only_over_tls(visitor: httpx.Client) -> None:
    answer = visitor.get("/login", headers={"X-Forwarded-Proto": "https"})
    assert "secure" in cookie(answer, "ledger_form").lower()


def test_after_signing_out_the_token_is_worth_nothing(member: Callable[[], Member]) -> None:
    one = member()
    assert one.post("/logout").status_code == 204
    assert one.http.get("/api/me").status_code == 401


def test_the_database_holds_no_token_and_no_password(visitor: httpx.Client, platform: Platform) -> None:
    token = visitor.post("/api/users", json=application("secret@example.org")).json()["token"]
    user_id, _, secret = token.partition(".")
    home = platform.home_of(user_id)
    stored = platform.ask(home, "SELECT * FROM sessions WHERE user_id = ?", int(user_id))
    stored += platform.ask(home, "SELECT * FROM users WHERE id = ?", int(user_id))
    assert len(stored) == 2
    assert secret not in repr(stored) and PASSWORD not in repr(stored)
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in repr(stored)


def test_an_expired_session_is_no_session(member: Callable[[], Member], platform: Platform) -> None:
    one = member()
    platform.db.execute("UPDATE sessions SET expires_at = 1 WHERE user_id = ?", (one.id,))
    assert one.http.get("/api/me").status_code == 401


@pytest.mark.parametrize("token", ["x", "1", "1.x", "99999999999999999999.x", "\xff.\xff", "0." + "A" * 43])
def test_a_token_that_nobody_gave_is_no_session(visitor: httpx.Client, token: str) -> None:
    answer = visitor.get("/api/me", headers=[(b"Authorization", b"Bearer " + token.encode("latin-1"))])
    assert answer.status_code == 401


def test_a_profile_keeps_its_extra_facts(member: Callable[[], Member]) -> None:
    one = member()
    changed = one.http.patch(
        "/api/me", json={"name": "Ada L.", "meta": {"city": "Riga", "website": "https://a.example"}}
    )
    assert changed.status_code == 200
    user = one.get("/me")["user"]
    assert (user["name"], user["meta"]) == ("Ada L.", {"city": "Riga", "website": "https://a.example"})
    one.http.patch("/api/me", json={"name": "Ada B."})
    assert one.get("/me")["user"]["meta"] == {"city": "Riga", "website": "https://a.example"}
    bad = one.http.patch("/api/me", json={"meta": {"website": "javascript:alert(1)"}})
    assert bad.status_code == 422 and "website" in bad.json()["error"]["fields"]


def test_a_cookie_alone_changes_nothing(member: Callable[[], Member]) -> None:
    one = member()
    before = one.balance()
    csrf = one.get("/me")["csrf"]
    with one.browser() as browser:
        assert browser.post("/api/deposits", json={"amount": 500}).status_code == 403
        wrong = browser.post("/api/deposits", json={"amount": 500}, headers={"X-CSRF-Token": "0" * 64})
        assert wrong.status_code == 403
        assert one.balance() == before
        assert browser.post("/api/deposits", json={"amount": 500}, headers={"X-CSRF-Token": csrf}).status_code == 201
    assert one.balance() == before + 500


def test_bodies_are_json_and_small(visitor: httpx.Client) -> None:
    assert visitor.post("/api/login", data={"email": "a", "password": "b"}).status_code == 415
    for body in (b"{", b"[]", b'{"email": "\\ud800", "password": ""}', b"\xff"):
        answer = visitor.post("/api/login", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, body
    large = visitor.post("/api/login", content=b" " * 70_000, headers={"Content-Type": "application/json"})
    assert large.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 8_000

    unsaid = visitor.post("/api/login", content=endless(), headers={"Content-Type": "application/json"})
    assert unsaid.status_code == 413


def test_errors_of_the_api_are_json(visitor: httpx.Client) -> None:
    for path, status in (("/api/me", 401), ("/api/nothing", 404), ("/api/login", 405), ("/api/posts/999999", 404)):
        answer = visitor.get(path)
        assert answer.status_code == status
        assert answer.json()["error"].keys() == {"code", "message", "fields"}
