"""What a webhook gets, and what is never sent, against real receivers with real certificates. Edge."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tenfold.notify import signing
from tenfold.notify.dialling import Unreached
from tests.notify.receivers import Ca, receiver
from tests.notify.samples import NOW_S, SECRET, notice, slack, webhook
from tests.support import free_port


def refusal(send: Callable[[], None]) -> Unreached:
    with pytest.raises(Unreached) as raised:
        send()
    text = f"{raised.value.reason} {raised.value.hint} {raised.value!r}"
    assert "S3CRET" not in text and SECRET not in text
    return raised.value


def test_a_receiver_can_verify_who_sent_it_and_when(ca: Ca) -> None:
    with receiver(ca.serves()) as there:
        webhook(there.url(), ca.path, clock=lambda: NOW_S + 7.9).send(notice())
    (got,) = there.received
    assert got.path == "/services/T0/S3CRET-PATH"
    # As docs/guides/notify.md tells receivers to do it.
    stamp, given = got.headers["Tenfold-Timestamp"], got.headers["Tenfold-Signature"]
    mine = "v1=" + hmac.new(SECRET.encode(), f"{stamp}.".encode() + got.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(mine, given) and int(stamp) == NOW_S + 7
    assert signing.is_ours(SECRET, int(stamp), got.body, given, NOW_S)
    assert not signing.is_ours(SECRET, int(stamp), got.body + b" ", given, NOW_S), "another body"
    assert not signing.is_ours(SECRET, int(stamp) + 1, got.body, given, NOW_S), "another time"
    assert not signing.is_ours("another key 12345", int(stamp), got.body, given, NOW_S)
    assert not signing.is_ours(SECRET, int(stamp), got.body, given, NOW_S + 400), "an old one, sent again"
    told = json.loads(got.body)
    assert told["severity"] == "critical" and told["title"] == "shard_1 is down" and told["platform"] == "ledger"
    assert told["id"] == got.headers["Idempotency-Key"] == notice().identity


def test_the_lines_that_the_guide_gives_to_receivers_do_verify(ca: Ca) -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "notify.md"
    (code,) = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)  # noqa: S102  our own guide
    verify = known["is_from_tenfold"]
    with receiver(ca.serves()) as there:
        webhook(there.url(), ca.path).send(notice())
        webhook(there.url(), ca.path, clock=lambda: time.time() - 400).send(notice())
    now, old = there.received
    assert verify(SECRET, now.headers, now.body)
    assert not verify(SECRET, now.headers, now.body + b" ") and not verify("another key 1234", now.headers, now.body)
    assert not verify(SECRET, old.headers, old.body)


def test_slack_gets_text_in_which_nothing_of_ours_is_a_command(ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.path))  # what the system trusts
    with receiver(ca.serves()) as there:
        slack(there.url()).send(notice(title="<!channel> & <b>", link="https://x.example/?a=1&b=2|c"))
    text = json.loads(there.received[0].body)["text"]
    assert "*&lt;!channel&gt; &amp; &lt;b&gt;*" in text and "<!channel" not in text
    assert text.endswith("<https://x.example/?a=1&amp;b=2%7Cc>")


@pytest.mark.parametrize("names", [("other.example",), ("127.0.0.1",)])
def test_a_certificate_for_another_name_gets_nothing(ca: Ca, names: Sequence[str]) -> None:
    with receiver(ca.serves(*names)) as there:
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert "certificate of localhost is not good" in error.reason and "localhost" in error.reason
    assert there.received == []


def test_a_certificate_that_nobody_trusts_gets_nothing(ca: Ca) -> None:
    with receiver(ca.serves()) as there:
        error = refusal(lambda: webhook(there.url()).send(notice()))
    assert "certificate" in error.reason and "ca =" in error.hint and there.received == []


def test_an_old_tls_is_not_spoken(ca: Ca) -> None:
    old = ca.serves()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with receiver(old) as there:
        refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert there.received == []


def test_a_redirect_is_not_followed(ca: Ca) -> None:
    with receiver(ca.serves()) as elsewhere, receiver(ca.serves(), 302) as there:
        there.more = {"Location": elsewhere.url()}
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert "redirects (302 Found)" in error.reason and error.answered and not error.permanent
    assert len(there.received) == 1 and elsewhere.received == []


@pytest.mark.parametrize("act", ["hang", "drip"])
def test_a_receiver_that_does_not_come_to_an_end_is_left_behind(ca: Ca, act: str) -> None:
    with receiver(ca.serves(), act) as there:
        error = refusal(lambda: webhook(there.url(), ca.path, total_s=0.6).send(notice()))
    assert error.reason == "localhost did not answer within 0.6 s" and not error.answered


def test_a_receiver_that_takes_a_connection_and_says_nothing_is_left_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}/"
        error = refusal(lambda: webhook(url, total_s=0.6).send(notice()))
    assert "within 0.6 s" in error.reason


def test_of_an_answer_without_end_little_is_read(ca: Ca) -> None:
    with receiver(ca.serves(), "flood") as there:
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert "answered 500" in error.reason


def test_a_receiver_that_repeats_the_address_does_not_make_us_print_it(ca: Ca) -> None:
    with receiver(ca.serves(), 404) as there:
        there.said = b"Cannot POST /services/T0/S3CRET-PATH"
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert error.reason == "localhost answered 404 Not Found" and "withdrawn" in error.hint


def test_slacks_own_words_are_shown(ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.path))
    with receiver(ca.serves(), 410) as there:
        there.said = b"channel_is_archived"
        error = refusal(lambda: slack(there.url()).send(notice()))
    assert error.reason == "localhost answered 410 Gone (channel_is_archived)" and error.permanent


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (401, False), (403, False), (404, False), (408, False), (410, True), (413, True), (422, True),
     (429, False), (500, False), (503, False), (599, False)],
)  # fmt: skip
def test_what_will_never_be_taken_is_told_from_what_may_be_mended(ca: Ca, status: int, permanent: bool) -> None:
    with receiver(ca.serves(), status) as there:
        there.more = {"Retry-After": "17"}
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert (error.permanent, error.answered, error.asked_s) == (permanent, True, 17.0)


@pytest.mark.parametrize(
    ("after", "asked_s"),
    [(lambda: formatdate(time.time() + 120, usegmt=True), 120), (lambda: "Sun, 06 Nov 1994 08:49:37 GMT", 0),
     (lambda: "in a minute", None), (lambda: "-5", None), (lambda: "Mon, 99 Nov 2026 99:99:99 GMT", None),
     (lambda: "9" * 40, None), (lambda: "", None)],
)  # fmt: skip
def test_a_receiver_asks_for_time_in_seconds_or_until_a_date(
    ca: Ca, after: Callable[[], str], asked_s: float | None
) -> None:
    with receiver(ca.serves(), 429) as there:
        there.more = {"Retry-After": after()}
        error = refusal(lambda: webhook(there.url(), ca.path).send(notice()))
    assert error.asked_s == (None if asked_s is None else pytest.approx(asked_s, abs=60 if asked_s else 0))


def test_nobody_there_is_said_in_a_sentence() -> None:
    url = f"https://localhost:{free_port()}/S3CRET"
    assert "takes no connection" in refusal(lambda: webhook(url).send(notice())).reason
    unknown = refusal(lambda: webhook("https://no-such-host.invalid/S3CRET").send(notice()))
    assert unknown.reason == "the name no-such-host.invalid is not known"


def answer(address: str, port: int) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


def test_plain_http_goes_to_this_machine_and_nowhere_else() -> None:
    with receiver(None) as there:
        webhook(there.url(host="127.0.0.1")).send(notice())
        webhook(there.url(host="localhost")).send(notice())
        asked: list[str] = []

        def rebound(host: str, port: int) -> list[tuple[Any, ...]]:
            # A name server that says "another machine", though the name is that of this one.
            asked.append(host)
            return answer("192.0.2.7", port)

        error = refusal(lambda: webhook(there.url(), resolve=rebound).send(notice()))
    assert len(there.received) == 2 and asked == ["localhost"]
    assert error.permanent and "not this machine" in error.reason


def test_what_is_connected_to_is_what_was_checked(ca: Ca) -> None:
    # A name that is this machine at the first question and another at the second: there is no second.
    with receiver(None) as there:
        answers = [answer("127.0.0.1", there.port), answer("192.0.2.7", there.port)]
        webhook(there.url(), resolve=lambda host, port: answers.pop(0)).send(notice())
    assert len(there.received) == 1 and len(answers) == 1


def test_a_name_server_that_is_silent_is_not_waited_for() -> None:
    over = threading.Event()

    def silent(host: str, port: int) -> list[tuple[Any, ...]]:
        over.wait(60)
        return []

    error = refusal(lambda: webhook("https://localhost:1/", total_s=0.3, resolve=silent).send(notice()))
    over.set()
    assert "not resolved in time" in error.reason


def test_a_file_that_is_no_ca_is_said_so(ca: Ca, tmp_path_factory: pytest.TempPathFactory) -> None:
    wrong = tmp_path_factory.mktemp("wrong")
    (wrong / "ca.pem").write_text("not a certificate")
    with receiver(ca.serves()) as there:
        for path in (wrong / "ca.pem", wrong / "missing.pem"):
            error = refusal(lambda path=path: webhook(there.url(), path).send(notice()))  # type: ignore[misc]
            assert str(path) in error.reason and "PEM" in error.hint
    assert there.received == []
