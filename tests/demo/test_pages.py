"""The HTML pages: text stays text, forms are ours, and what is sent twice is done once. Edge."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from tenfold.demo.ledger.seed.residents import PASSWORD as SEEDED_PASSWORD
from tests.demo.platform import PASSWORD, Backend, Member, client

SCRIPT = "<script>alert(1)</script><b>\"'&"


@pytest.fixture
def browser(backend: Backend) -> Iterator[httpx.Client]:
    with client(backend.url) as made:
        yield made


def hidden(page: httpx.Response, name: str, form: str = "") -> str:
    """The value of a hidden field, in the form that posts to `form`."""
    text = page.text.partition(f'action="{form}"')[2] if form else page.text
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, f"{name} is not on {page.url}"
    return found[1]


def submit(browser: httpx.Client, path: str, action: str | None = None, **fields: str) -> httpx.Response:
    """Load the page at `path` and send its form."""
    csrf = hidden(browser.get(path), "csrf", action or path)
    return browser.post(action or path, data={"csrf": csrf, **fields})


def test_a_new_visitor_signs_up_deposits_and_reads_the_history(browser: httpx.Client) -> None:
    signed_up = submit(browser, "/signup", name="Eva", email="eva@example.org", password=PASSWORD, currency="KWD")
    assert (signed_up.status_code, signed_up.headers["location"]) == (303, "/wallet")
    deposited = submit(browser, "/wallet", "/wallet/deposit", amount="1234,567", note="First")
    assert deposited.status_code == 303
    shown = browser.get(deposited.headers["location"])
    assert "1,234.567 KWD" in shown.text and "Your money is in the wallet." in shown.text
    assert "First" in browser.get("/history").text
    out = submit(browser, "/wallet", "/logout")
    assert out.status_code == 303
    assert browser.get("/wallet").headers["location"] == "/login?next=/wallet"


def test_signing_in_leads_back_to_where_one_wanted_to_go(browser: httpx.Client) -> None:
    asked = browser.get("/history")
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/history")
    fields = {"email": "user00059@ledger.example", "password": SEEDED_PASSWORD}
    wrong = submit(browser, "/login", **{**fields, "password": "wrong", "next": "/history"})
    assert wrong.status_code == 401 and "do not belong together" in wrong.text and "wrong" not in hidden(wrong, "next")
    assert submit(browser, "/login", next="/history", **fields).headers["location"] == "/history"


@pytest.mark.parametrize("elsewhere", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1"])
def test_signing_in_never_leads_to_another_site(browser: httpx.Client, elsewhere: str) -> None:
    fields = {"email": "user00058@ledger.example", "password": SEEDED_PASSWORD}
    assert submit(browser, "/login", next=elsewhere, **fields).headers["location"] == "/wallet"


def test_what_people_write_is_shown_as_text(member: Callable[[], Member]) -> None:
    one, other = member(), member()
    one.post("/deposits", amount=1_000, note=SCRIPT)
    one.http.patch("/api/me", json={"name": SCRIPT, "meta": {"about": SCRIPT}})
    assert one.post("/transfers", to=other.email, amount=1, note=SCRIPT).status_code == 201
    assert one.post("/posts/1/comments", body=SCRIPT).status_code == 201
    shown = str(html.escape(SCRIPT))
    with one.browser() as mine, other.browser() as theirs:
        pages = [mine.get(path) for path in ("/wallet", "/history", "/profile", "/posts/1")]
        pages += [theirs.get("/wallet"), mine.get("/login", params={"next": SCRIPT})]
        pages.append(submit(mine, "/wallet", "/wallet/deposit", amount=SCRIPT, note=SCRIPT))
    assert pages[-1].status_code == 422
    for page in pages:
        assert "<script" not in page.text and "<b>" not in page.text, page.url
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert shown in page.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;"), page.url


def test_a_form_of_another_site_is_refused(browser: httpx.Client, member: Callable[[], Member]) -> None:
    one = member()
    before = one.balance()
    with one.browser() as mine:
        for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": hidden(browser.get("/login"), "csrf")}):
            assert mine.post("/wallet/deposit", data={"amount": "5", **csrf}).status_code == 403
            assert mine.post("/logout", data={"other": "field", **csrf}).status_code == 403
    assert one.balance() == before
    fields = {"email": "user00057@ledger.example", "password": SEEDED_PASSWORD}
    assert browser.post("/login", data=fields).status_code == 403  # nor signed in as somebody else


def test_a_form_sent_twice_is_done_once(member: Callable[[], Member]) -> None:
    one = member()
    before = one.balance()
    with one.browser() as mine:
        page = mine.get("/wallet")
        form = {name: hidden(page, name, "/wallet/deposit") for name in ("csrf", "request_key")}
        for _ in range(2):
            assert mine.post("/wallet/deposit", data={**form, "amount": "5"}).status_code == 303
    assert one.balance() == before + 500


@pytest.mark.parametrize("amount", ["", "0", "-5", "1.234", "1e3", "five", "1,000.00", "٥"])
def test_a_wrong_amount_keeps_what_was_typed_and_says_what_is_wrong(member: Callable[[], Member], amount: str) -> None:
    one = member()
    before = one.balance()
    with one.browser() as mine:
        answer = submit(mine, "/wallet", "/wallet/deposit", amount=amount, note="typed before")
        again = mine.get("/wallet/deposit")
    assert (again.status_code, again.headers["location"]) == (303, "/wallet")
    assert answer.status_code == 422
    assert "typed before" in answer.text and "Write an amount above 0" in answer.text
    assert one.balance() == before


def test_pages_of_people_are_kept_by_no_cache_and_styles_by_all(
    member: Callable[[], Member], browser: httpx.Client
) -> None:
    with member().browser() as mine:
        page = mine.get("/wallet")
    assert page.headers["cache-control"] == "no-store"
    assert "served by backend_7" in page.text
    address = re.search(r'href="(/static/ledger.css[^"]*)"', page.text)
    assert address
    style = browser.get(address[1])
    assert style.status_code == 200 and "immutable" in style.headers["cache-control"]


def test_a_wrong_address_is_a_page_that_leads_back(browser: httpx.Client) -> None:
    for path in ("/nothing", "/posts/999999", "/pages/none", "/posts/9999999999999999999"):
        page = browser.get(path)
        assert page.status_code == 404 and "To the front page" in page.text
    assert browser.get("/history", params={"before": "x"}).status_code in (303, 422)
    assert browser.get("/?before=x").status_code == 422


def test_every_page_opens(browser: httpx.Client, admin: Member) -> None:
    for path in ("/", "/?before=3", "/login", "/signup", "/posts/1", "/posts/1?before=2", "/pages/about"):
        assert browser.get(path).status_code == 200, path
    with admin.browser() as mine:
        paths = ("/", "/wallet", "/history", "/profile", "/admin/options", "/admin/post", "/admin/page")
        for path in (*paths, "/admin/page?slug=about", "/admin/page?slug=new", "/posts/2", "/pages/help"):
            assert mine.get(path).status_code == 200, path
