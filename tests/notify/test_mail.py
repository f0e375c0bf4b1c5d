"""Mail goes over verified TLS or not at all, against real SMTP servers. Edge."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tenfold.notify import messages
from tenfold.notify.dialling import Unreached
from tests.notify.receivers import Ca, mail_server
from tests.notify.samples import ORIGIN, email, notice

LOG_IN: dict[str, Any] = {"user": "tenfold", "password": "right"}


def refusal(send: Callable[[], None]) -> Unreached:
    with pytest.raises(Unreached) as raised:
        send()
    text = f"{raised.value.reason} {raised.value.hint} {raised.value!r}"
    assert "hunter2" not in text and "ann@" not in text
    return raised.value


def test_mail_goes_by_starttls_and_logs_in_only_behind_it(ca: Ca) -> None:
    with mail_server(starttls=ca.serves(), log_in=True) as there:
        email(there.port, ca.path, **LOG_IN).send(notice(text="a line\n.\n.. and dots; ümläut"))
    ((to, mail),) = there.mails
    assert to == ("ann@example.com",)
    assert mail["Subject"] == "[ledger production] critical: shard_1 is down"
    assert mail["From"] == "tenfold@example.com" and mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == f"<{notice().identity}@example.com>"
    assert "a line\n.\n.. and dots; ümläut\n" in mail.get_content().replace("\r\n", "\n")
    assert [(user, password) for user, password, _ in there.tried] == [("tenfold", "right")]
    assert all(encrypted for _, _, encrypted in there.tried)


def test_mail_goes_by_tls_from_the_beginning(ca: Ca) -> None:
    with mail_server(tls=ca.serves()) as there:
        email(there.port, ca.path, security="tls").send(notice())
    assert len(there.mails) == 1


def test_a_server_without_tls_gets_neither_mail_nor_password(ca: Ca) -> None:
    with mail_server(log_in=True) as there:
        error = refusal(lambda: email(there.port, ca.path, user="tenfold", password="hunter2").send(notice()))
    assert error.reason == "localhost offers no TLS, and nothing is sent in the clear" and "465" in error.hint
    assert there.mails == [] and there.tried == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_wrong_certificate_gets_neither_mail_nor_password(ca: Ca, security: str) -> None:
    context = ca.serves("other.example")
    with mail_server(**{security: context}, log_in=security == "starttls") as there:
        more: dict[str, Any] = {"security": security, "user": "tenfold", "password": "hunter2"}
        error = refusal(lambda: email(there.port, ca.path, **more).send(notice()))
    assert "certificate of localhost is not good" in error.reason
    assert there.mails == [] and there.tried == []


def test_a_port_that_begins_with_tls_is_not_waited_for_in_the_clear(ca: Ca) -> None:
    with mail_server(tls=ca.serves()) as there:
        error = refusal(lambda: email(there.port, ca.path, total_s=0.7).send(notice()))
    # A server with little to do gives up first: either way it is said what to look at.
    assert "within 0.7 s" in error.reason or "does not speak SMTP" in error.reason
    assert "port and security" in error.hint


def test_without_tls_mail_goes_to_this_machine_and_nowhere_else() -> None:
    with mail_server() as there:
        email(there.port, security="none").send(notice())
        elsewhere = email(there.port, security="none")
        elsewhere._resolve = lambda host, port: [(2, 1, 6, "", ("192.0.2.7", port))]
        error = refusal(lambda: elsewhere.send(notice()))
    assert len(there.mails) == 1 and error.permanent and "not this machine" in error.reason


def test_a_refused_account_is_not_tried_again(ca: Ca) -> None:
    with mail_server(starttls=ca.serves(), log_in=True) as there:
        error = refusal(lambda: email(there.port, ca.path, user="tenfold", password="hunter2").send(notice()))
    assert error.permanent and "refuses the account (535)" in error.reason and there.mails == []


def test_a_password_that_smtp_cannot_carry_is_never_shown(ca: Ca) -> None:
    with mail_server(starttls=ca.serves(), log_in=True) as there:
        error = refusal(lambda: email(there.port, ca.path, user="tenfold", password="hunter2ä").send(notice()))
    assert error.permanent and "ASCII" in error.reason


@pytest.mark.parametrize(
    ("answer", "permanent"), [("450 4.2.0 greylisted ann@example.com", False), ("550 5.1.1 no such ann@", True)]
)
def test_who_is_refused_alone_is_the_only_one_served_again(ca: Ca, answer: str, permanent: bool) -> None:
    with mail_server(starttls=ca.serves()) as there:
        both = email(there.port, ca.path, to=("bob@example.com", "ann@example.com", "bob@example.com"))
        there.refuses = {"ann@example.com": answer}
        error = refusal(lambda: both.send(notice()))
        assert error.left == ("ann@example.com",) and error.permanent == permanent
        assert "refused 1 of 2 recipients: " + answer[:9] in error.reason
        there.refuses = {}
        both.send(notice(), error.left)
    assert [to for to, _ in there.mails] == [("bob@example.com",), ("ann@example.com",)]
    assert there.mails[0][1]["To"] == there.mails[1][1]["To"] == "bob@example.com, ann@example.com"
    assert there.mails[0][1]["Message-ID"] == there.mails[1][1]["Message-ID"]


def test_a_mail_that_is_refused_is_said_by_its_codes_alone(ca: Ca) -> None:
    with mail_server(starttls=ca.serves()) as there:
        there.answers = ["554 5.7.1 <ann@example.com>: looks like hunter2", "451 4.3.0 later"]
        channel = email(there.port, ca.path)
        first = refusal(lambda: channel.send(notice()))
        second = refusal(lambda: channel.send(notice()))
    assert first.reason == "localhost refused the mail: 554 5.7.1" and first.permanent
    assert second.reason == "localhost refused the mail: 451 4.3.0" and not second.permanent


@pytest.mark.parametrize("said", [b"554 not from your address\r\n", b"220 " + b"x" * 9000 + b"\r\n"])
def test_a_server_that_refuses_to_talk_has_not_refused_the_mail_for_ever(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:

        def answer() -> None:
            line = there.accept()[0]
            line.sendall(said)
            line.recv(100)
            line.close()

        server = threading.Thread(target=answer)
        server.start()
        error = refusal(lambda: email(there.getsockname()[1]).send(notice()))
        server.join()
    assert error.reason.startswith("localhost refuses to talk to us: 5") and error.answered and not error.permanent


def test_what_speaks_no_smtp_is_said_so(ca: Ca) -> None:
    from tests.notify.receivers import receiver

    with receiver(None) as there:
        error = refusal(lambda: email(there.port, ca.path, total_s=0.6).send(notice()))
    assert "does not speak SMTP" in error.reason or "within" in error.reason


@pytest.mark.parametrize(
    "evil",
    [
        "down\r\nBcc: all@example.com\r\n\r\nhello\x00\u2028 \ud800",
        "=?utf-8?q?down=0D=0ABcc:_all@example.com=0D=0A?= and more",
        "=?utf-8?b?eA0KQmNjOiBhbGxAZXhhbXBsZS5jb20NCg==?=",
        "==?utf-8?q?x=0ABcc:_y?=",
    ],
)
def test_no_line_of_a_notice_becomes_a_line_of_the_head(evil: str) -> None:
    mail = messages.mail(notice(title=evil, facts={evil: evil}), ORIGIN, "a@example.com", ["b@example.com"])
    head = mail.partition(b"\r\n\r\n")[0]
    assert b"\nBcc" not in head and b"\nbcc" not in head.lower()
    assert head.count(b"\r\nSubject:") + head.startswith(b"Subject:") == 1
