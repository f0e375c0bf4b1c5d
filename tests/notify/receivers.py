"""Receivers of notices that do as a test says: HTTP and HTTPS webhooks, mail servers with and without TLS. Edge."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.support import free_port


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA of the test's own, as a file, and certificates that it signs."""

    authority: trustme.CA
    path: Path

    @classmethod
    def make(cls, path: Path) -> Ca:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(path))
        return cls(authority, path)

    def serves(self, *names: str) -> ssl.SSLContext:
        """The server's side, with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        return context


@dataclass(slots=True)
class Received:
    """One request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """A webhook. `does` says, for one request after the other, what it does; the last word goes on for ever.

    A number is the status it answers; "lost": it takes the request and hangs up; "hang": it never answers;
    "drip": it sends one byte of an answer now and then, without end; "flood": an answer without end.
    """

    does: list[int | str] = field(default_factory=lambda: [200])
    more: dict[str, str] = field(default_factory=dict)
    said: bytes = b"ok"
    port: int = 0
    scheme: str = "https"
    received: list[Received] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/services/T0/S3CRET-PATH", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def keys(self) -> list[str]:
        return [one.headers["Idempotency-Key"] for one in self.received]


def _handler(told: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed in the middle: no receiver counts that as received
                return
            told.received.append(Received(self.path, dict(self.headers), body))
            act = told.does.pop(0) if len(told.does) > 1 else told.does[0]
            with suppress(OSError):
                self._act(act)

        def _act(self, act: int | str) -> None:
            if isinstance(act, int):
                self.send_response(act)
                for name, value in told.more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(told.said)))
                self.end_headers()
                self.wfile.write(told.said)
            elif act == "hang":
                told._over.wait(60)
            elif act == "drip":
                self.wfile.write(b"HTTP/1.1 200 O")
                while not told._over.wait(0.05):
                    self.wfile.write(b"K")
            elif act == "flood":
                self.wfile.write(b"HTTP/1.1 500 No\r\n\r\n")
                while not told._over.is_set():
                    self.wfile.write(b"x" * 65536)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def receiver(context: ssl.SSLContext | None, *does: int | str) -> Iterator[Receiver]:
    """A webhook on loopback that runs as long as the block; without `context` it speaks plain HTTP."""
    told = Receiver(list(does) or [200], port=free_port(), scheme="https" if context else "http")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            line, address = super().get_request()
            line.settimeout(30)
            return (context.wrap_socket(line, server_side=True) if context else line), address

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", told.port), _handler(told))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        told._over.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass
class Mails:
    """A mail server and what it was given.

    refuses    recipients that it refuses, with the answer
    answers    what it says to a whole mail, one after the other; the last goes on for ever
    tried      (user, password) of every log-in, and whether the line was encrypted
    """

    port: int
    refuses: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=lambda: ["250 OK"])
    mails: list[tuple[tuple[str, ...], EmailMessage]] = field(default_factory=list)
    tried: list[tuple[str, str, bool]] = field(default_factory=list)
    lines: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.startswith("250") or answer == "lost":
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.mails.append((tuple(envelope.rcpt_tos), message))
        if answer == "lost":
            server.transport.abort()
        return answer if answer != "lost" else "250 OK"

    def authenticator(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        user, password = data.login.decode(), data.password.decode()
        self.tried.append((user, password, session.ssl is not None or server.transport.get_extra_info("ssl_object")))
        return AuthResult(success=password == "right", handled=False)


@contextmanager
def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, log_in: bool = False
) -> Iterator[Mails]:
    """A mail server on loopback: with STARTTLS, with TLS from the beginning, or with neither."""
    told = Mails(free_port())
    loop = asyncio.new_event_loop()
    started = threading.Event()

    def make() -> SMTP:
        told.lines += 1
        return SMTP(
            told, hostname="mail.test", loop=loop, tls_context=starttls, require_starttls=starttls is not None,
            authenticator=told.authenticator if log_in else None, auth_require_tls=starttls is not None,
            auth_required=log_in and starttls is not None,
        )  # fmt: skip

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(loop.create_server(make, "127.0.0.1", told.port, ssl=tls))
        started.set()
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield told
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
