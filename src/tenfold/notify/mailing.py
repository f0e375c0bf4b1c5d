"""One mail to a server: TLS verified before anything is said that matters, or nothing is sent. Edge."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tenfold.notify.dialling import TOTAL_S, Deadline, Resolve, Unreached, dial, resolved, secured, tls_error, trust
from tenfold.topology.operations import Email, Security

_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}")


def hand_over(
    mail: bytes,
    email: Email,
    to: Sequence[str],
    *,
    ca: Path | None = None,
    total_s: float = TOTAL_S,
    resolve: Resolve = resolved,
) -> None:
    """Give a mail to the server; returns once it has taken it for all of `to`.

    Raises Unreached; `left` has those for whom it was not taken, where it was for others.
    """
    deadline = Deadline(total_s)
    clear = email.security is Security.NONE
    context = None if clear else trust(ca)
    line = dial(email.server, email.port, deadline, loopback_only=clear, resolve=resolve)
    with deadline.ends(line):
        try:
            if context is not None and email.security is Security.TLS:
                line = secured(line, email.server, context, deadline)
            talk = _greeted(line, email, context, deadline)
            try:
                _hand_in(talk, mail, email, to)
            finally:
                talk.close()
        except smtplib.SMTPResponseException as refused:
            raise _refusal(email.server, refused.smtp_code, refused.smtp_error) from None
        except (OSError, smtplib.SMTPException, ValueError):
            # Without what it says: what a server repeats is not ours to show.
            if deadline.is_over:
                raise deadline.error(email.server) from None
            hint = 'see that the port is right: where TLS begins at once (465), write security = "tls"'
            raise Unreached(f"{email.server} hung up, or does not speak SMTP", hint) from None
        finally:
            line.close()


class _Talk(smtplib.SMTP):
    """smtplib on a line that stands already."""

    def __init__(self, line: socket.socket, server: str, deadline: Deadline) -> None:
        self._line = line
        # Asked of the name server otherwise, which may be slow, or silent.
        own = line.getsockname()[0]
        literal = f"[IPv6:{own}]" if ":" in own else f"[{own}]"
        name = socket.gethostname()
        super().__init__(
            server, line.getpeername()[1], name if "." in name and name.isascii() else literal, deadline.left_s
        )

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._line


def _greeted(line: socket.socket, email: Email, context: ssl.SSLContext | None, deadline: Deadline) -> smtplib.SMTP:
    """A conversation in which a mail may be handed in. What is refused until then says nothing of the mail."""
    talk: smtplib.SMTP | None = None
    try:
        talk = _Talk(line, email.server, deadline)
        talk.ehlo_or_helo_if_needed()
        if context is not None and email.security is Security.STARTTLS:
            _start_tls(talk, email.server, context, deadline)
        if email.user is not None and email.password is not None:
            _log_in(talk, email)
    except BaseException as error:
        if talk is not None:
            talk.close()
        if isinstance(error, smtplib.SMTPResponseException):
            why = f"{email.server} refuses to talk to us: {error.smtp_code}"
            raise Unreached(why, "see its log; it may refuse this machine's address", answered=True) from None
        raise
    return talk


def _hand_in(talk: smtplib.SMTP, mail: bytes, email: Email, to: Sequence[str]) -> None:
    code, words = talk.mail(email.sender)
    if code != 250:
        raise smtplib.SMTPResponseException(code, words)
    answers = {recipient: talk.rcpt(recipient) for recipient in to}
    refused = {recipient: answer for recipient, answer in answers.items() if answer[0] not in (250, 251)}
    if len(refused) < len(to):
        code, words = talk.data(mail)
        if code != 250:
            raise smtplib.SMTPResponseException(code, words)
    if refused:
        code, words = min(refused.values(), key=lambda answer: answer[0])  # 4xx first: it may take them yet
        left = tuple(refused) if len(refused) < len(to) else ()
        some = f"{len(refused)} of {len(to)} recipients: " if len(to) > 1 else ""
        raise _refusal(email.server, code, words, some, left)
    # It has the mail; how the conversation ends changes nothing.
    with suppress(smtplib.SMTPException, OSError):
        talk.quit()


def _start_tls(talk: smtplib.SMTP, server: str, context: ssl.SSLContext, deadline: Deadline) -> None:
    if not talk.has_extn("starttls"):
        raise Unreached(
            f"{server} offers no TLS, and nothing is sent in the clear",
            'let it offer STARTTLS; or write its port that begins with TLS (465), and security = "tls"',
            answered=True,
        )
    try:
        talk.starttls(context=context)
    except smtplib.SMTPException:
        raise
    except OSError as error:
        raise tls_error(error, server, deadline) from None
    talk.ehlo()


def _log_in(talk: smtplib.SMTP, email: Email) -> None:
    try:
        talk.login(email.user or "", email.password.get_secret_value() if email.password else "")
    except smtplib.SMTPAuthenticationError as refused:
        raise Unreached(
            f"{email.server} refuses the account ({refused.smtp_code})",
            "correct user and password, then: tenfold notify retry",
            answered=True,
            permanent=500 <= refused.smtp_code < 600,  # to go on trying would lock the account
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise Unreached(f"{email.server} takes no log-in", "remove user and password", answered=True) from None
    except UnicodeError:  # its text holds the password
        raise Unreached(
            "user or password holds letters beyond ASCII, which SMTP does not take", "change them", permanent=True
        ) from None


def _refusal(server: str, code: int, words: object, some: str = "", left: Sequence[str] = ()) -> Unreached:
    found = _ENHANCED.match(words) if isinstance(words, bytes) else None
    more = f" {found[0].decode()}" if found else ""
    return Unreached(
        f"{server} refused {some or 'the mail: '}{code}{more}",
        "see its log" if code < 500 else "correct sender and recipients, then: tenfold notify retry",
        answered=True,
        permanent=500 <= code < 600,
        left=left,
    )
