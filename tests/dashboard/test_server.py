"""The page's server, spoken to over plain HTTP. Edge."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import re
import time
from typing import Any

import pytest

from tenfold.dashboard.access import SESSION_S, Access
from tenfold.dashboard.assets import PAGE
from tests.dashboard.served import KEY, TOKEN, Served
from tests.support import wait_for

BUDGET_BYTES = 60 * 1024


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "", "::1",
     "10.0.0.1:{port}", "localhost:{port}:{port}", "user@127.0.0.1:{port}", "127.0.0.1:{port}, evil.example"],
)  # fmt: skip
def test_a_name_that_is_not_this_machines_own_gets_nothing(page: Served, host: str) -> None:
    session = page.session()
    for path in ("/", "/view.json", "/live", page.path):
        answer, body = page.ask(path, headers={**session, "Host": host.format(port=page.port)})
        assert answer.status in (400, 421), path
        assert b"ledger" not in body and "Set-Cookie" not in answer.headers


def test_an_attack_by_name_does_not_use_up_the_link(page: Served) -> None:
    path = page.path
    page.ask(path, headers={"Host": "evil.example"})
    assert page.ask(path)[0].status == 303


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "127.9.8.7:{port}", "[::1]:{port}"]
)
def test_the_machines_own_names_are_answered(page: Served, host: str) -> None:
    assert page.ask("/", headers={"Host": host.format(port=page.port)})[0].status == 401


def test_two_host_headers_are_refused(page: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{page.port}")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)
    connection.close()


def test_a_link_works_once(page: Served) -> None:
    page.stop()
    page.start()  # TOKEN is new again
    first, _ = page.ask(f"/enter?token={TOKEN}")
    second, body = page.ask(f"/enter?token={TOKEN}")
    assert (first.status, first.headers["Location"]) == (303, "/")
    assert second.status == 401 and "Set-Cookie" not in second.headers
    assert b"tenfold status" in body, "it says where to find a new link"
    for wrong in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%ff%fe"):
        assert page.ask(f"/enter{wrong}")[0].status == 401


def test_to_ask_what_a_link_would_do_does_not_use_it_up(page: Served) -> None:
    path = page.path
    assert page.ask(path, "HEAD")[0].status == 401
    assert page.ask(path)[0].status == 303


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(page: Served) -> None:
    answer, _ = page.ask(page.path)
    name, *flags = [part.strip().lower() for part in (answer.headers["Set-Cookie"] or "").split(";")]
    assert {"httponly", "samesite=strict", "path=/"} <= set(flags)
    assert not any(flag.startswith("domain") for flag in flags)
    # Cookies know no ports: another platform on this machine must not share the name.
    assert name.startswith(f"tenfold_{page.port}=")


def test_without_a_session_no_figure_is_given(page: Served) -> None:
    good = page.session()["Cookie"]
    name, _, value = good.partition("=")
    end, nonce, signature = value.split(".")
    forged = [
        "", f"{name}=", f"{name}=x", f"{name}=..", f"{name}={'f' * 400}.1.{signature}",
        f"{name}=zz.{nonce}.{signature}",
        f"{name}={int(end, 16) + 1:x}.{nonce}.{signature}", f"{name}={value[:-1]}0" if value[-1] != "0" else "",
        f"tenfold_1={value}",
    ]  # fmt: skip
    for cookie in forged:
        for path in ("/", "/view.json", "/live"):
            answer, body = page.ask(path, headers={"Cookie": cookie})
            assert answer.status == 401, (cookie, path)
            assert b"backend_0" not in body
    assert page.ask("/view.json", headers={"Cookie": good})[0].status == 200


def test_a_session_ends_and_another_key_does_not_know_it() -> None:
    now = 1_000_000.0
    access = Access("t", KEY, clock=lambda: now)
    session = access.redeem("t")
    assert session is not None and access.until(session) == now + SESSION_S
    assert Access("u", KEY, clock=lambda: now).until(session) is not None, "a restart with the same key keeps it"
    assert Access("u", b"other", clock=lambda: now).until(session) is None
    now += SESSION_S
    assert access.until(session) is None


def test_new_links_can_be_made_and_old_ones_do_not_pile_up() -> None:
    access = Access("first", KEY)
    tokens = [access.issue() for _ in range(16)]
    assert access.redeem("first") is None, "the oldest of seventeen is forgotten"
    assert all(access.redeem(token) for token in tokens)
    assert not any(access.redeem(token) for token in tokens)


@pytest.mark.parametrize("path", ["/", "/view.json", "/nothing", "/assets/x/y.js", "/enter", "/live"])
def test_every_answer_carries_the_policy(page: Served, path: str) -> None:
    answer, _ = page.ask(path)
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_nothing_can_be_changed_through_the_page(page: Served) -> None:
    session = page.session()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/", "/view.json", "/enter?token=x"):
            assert page.ask(path, method, session)[0].status == 405


def addresses(html: str) -> list[str]:
    return sorted(set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', html)))


def test_files_have_addresses_that_change_with_their_content_and_may_be_kept(page: Served) -> None:
    _, body = page.ask("/", headers=page.session())
    for address in addresses(body.decode()):
        answer, content = page.ask(address, headers={"Accept-Encoding": "gzip"})
        assert answer.status == 200, address
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        name = address.split("/", 3)[3]
        assert gzip.decompress(content) == (PAGE / name).read_bytes()
        assert page.ask(address.replace(address.split("/")[2], "0" * 16))[0].status == 404
    for outside in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "index.html", "vendor/../index.html"):
        assert page.ask(f"/assets/{page_version(body)}/{outside}")[0].status == 404


def page_version(body: bytes) -> str:
    return addresses(body.decode())[0].split("/")[2]


def test_the_whole_page_weighs_at_most_sixty_kilobytes(page: Served) -> None:
    zipped = {**page.session(), "Accept-Encoding": "gzip"}
    _, body = page.ask("/", headers=zipped)
    html = gzip.decompress(body).decode()
    weights = {address: len(page.ask(address, headers=zipped)[1]) for address in addresses(html)}
    assert {address.rsplit("/", 1)[1] for address in weights} >= {"page.js", "live.js", "page.css", "uPlot.iife.min.js"}
    imported = {name for path in PAGE.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', path.read_text())}
    assert imported <= {address.rsplit("/", 1)[1] for address in weights}, "every module is asked for at once"
    assert len(body) + sum(weights.values()) <= BUDGET_BYTES, weights


def test_what_others_wrote_is_as_they_published_it_and_carries_their_licence() -> None:
    vendor = PAGE / "vendor"
    lines = [line.split() for line in (vendor / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums.keys() == {path.name for path in vendor.iterdir()} - {"SHA256SUMS"}
    for name, expected in sums.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == expected, name
    # uplot 1.6.32 as npm serves it; a new version means new sums here too, on purpose.
    assert sums["uPlot.iife.min.js"] == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    assert "(v1.6.32)" in (vendor / "uPlot.iife.min.js").read_text()[:100]
    licence = (vendor / "uPlot.LICENSE.txt").read_text()
    assert "The MIT License" in licence and "Leon Sorokin" in licence


class Listener:
    """One open stream, read event by event."""

    def __init__(self, page: Served, session: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
        self.connection.request("GET", "/live", headers=session)
        self.answer = self.connection.getresponse()

    def next(self) -> tuple[str, Any]:
        name = ""
        while True:
            line = self.answer.readline()
            if not line:
                return "end", None
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                return name, json.loads(line[6:])

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_the_stream_sends_all_at_once_and_then_only_what_is_new(page: Served) -> None:
    listener = Listener(page, page.session())
    assert listener.answer.headers["Content-Type"].startswith("text/event-stream")
    name, whole = listener.next()
    assert name == "all" and len(whole["history"]["t"]) == 900
    name, part = listener.next()
    assert name == "new" and part["history"]["t"] == [] and len(part["routes"]) == 15
    listener.close()


def test_the_view_is_made_once_a_tick_however_many_look_and_not_at_all_when_nobody_does(page: Served) -> None:
    session = page.session()
    listeners = [Listener(page, session) for _ in range(5)]
    for listener in listeners:
        listener.next()
    before = page.made
    for _ in range(4):
        for listener in listeners:
            assert listener.next()[0] == "new"
    assert page.made - before <= 6, "five pages, four ticks"
    for listener in listeners:
        listener.close()

    wait_for(lambda: page.app.state.stream.watched == 0, "all have left")
    before = page.made
    time.sleep(0.5)
    assert page.made == before, "five ticks' time, and the clock stands still"


def test_pages_beyond_the_limit_are_told_to_come_back_later(page: Served) -> None:
    stream, session = page.app.state.stream, page.session()
    most, stream.most = stream.most, 2
    listeners = [Listener(page, session) for _ in range(2)]
    for listener in listeners:
        listener.next()
    assert page.ask("/live", headers=session)[0].status == 503
    for listener in listeners:
        listener.close()
    wait_for(lambda: not stream.full, "there is room again")
    stream.most = most


def test_figures_that_cannot_be_made_are_said_so_without_a_word_of_why(page: Served) -> None:
    session = page.session()
    page.broken = True
    for path in ("/", "/view.json"):
        answer, body = page.ask(path, headers=session)
        assert answer.status == 503 and b"secret" not in body
        assert b"could not make its figures" in body
    listener = Listener(page, session)
    name, told = listener.next()
    assert name == "trouble" and "secret" not in told["sentence"]
    made = page.made
    assert [listener.next()[0] for _ in range(3)] == ["trouble"] * 3
    assert page.made - made >= 2, "it is said once a tick, not without end"
    page.broken = False
    while name == "trouble":
        name, _ = listener.next()
    assert name == "all", "and when they can be made again, all of them come"
    listener.close()


def test_the_json_twin_is_the_view(page: Served) -> None:
    answer, body = page.ask("/view.json", headers={**page.session(), "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(gzip.decompress(body)) == json.loads(json.dumps(page.source()))


def test_a_panel_that_cannot_be_made_leaves_the_others_standing(page: Served) -> None:
    page.tamper = {"shards": [{"name": "shard_0"}]}
    answer, body = page.ask("/", headers=page.session())
    html = body.decode()
    assert answer.status == 200 and html.count("This panel cannot be shown") == 1
    assert "backend_2" in html and "redis" in html and "/api/transfer" in html


def test_the_server_stops_though_pages_are_open(page: Served) -> None:
    listener = Listener(page, page.session())
    listener.next()
    page.stop()
    while listener.next()[0] != "end":
        pass
    listener.close()
    page.start()
