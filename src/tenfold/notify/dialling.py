"""Connections to receivers: to the address that was checked, within a time that nobody can stretch. Edge."""

from __future__ import annotations

import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CONNECT_S, TOTAL_S = 10.0, 30.0
MOST_ADDRESSES = 8
Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]
"""As socket.getaddrinfo for TCP."""


class Unreached(Exception):
    """A receiver that has not taken a notice.

    reason     what happened; names the host at most
    hint       what to do now
    answered   it spoke, so that another notice may fare better
    permanent  it will never take this one
    asked_s    for how long it asks to be left alone
    left       recipients that have not got it; empty: none has
    """

    def __init__(
        self, reason: str, hint: str = "", *, answered: bool = False, permanent: bool = False,
        asked_s: float | None = None, left: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.reason, self.hint, self.left = reason, hint, tuple(left)
        self.answered, self.permanent, self.asked_s = answered, permanent, asked_s


def resolved(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The addresses of a host."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Deadline:
    """An end for all of one delivery: names, connection, words.

    A time-out of a socket begins anew with every byte; a receiver that sends one each second would hold us for ever.
    """

    def __init__(self, total_s: float = TOTAL_S) -> None:
        self._total_s = total_s
        self._until_s = time.monotonic() + total_s
        self.is_over = False

    @property
    def left_s(self) -> float:
        """Seconds until the end, at least a moment."""
        return max(0.01, self._until_s - time.monotonic())

    def error(self, host: str) -> Unreached:
        """What is said when it is over."""
        return Unreached(
            f"{host} did not answer within {self._total_s:g} s",
            "see that it runs and can be reached from here; for mail, that port and security fit each other",
        )

    @contextmanager
    def ends(self, line: socket.socket) -> Iterator[None]:
        """End `line` when it is over, whoever reads from it, and though it is wrapped in TLS later on."""
        twin = line.dup()

        def end() -> None:
            self.is_over = True
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.left_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            twin.close()


def dial(
    host: str, port: int, deadline: Deadline, *, loopback_only: bool, resolve: Resolve = resolved
) -> socket.socket:
    """A connection. Raises Unreached.

    The name is resolved once, and what it resolves to is what is connected to: a name that is this machine when it is
    checked and another when it is dialled (DNS rebinding) gets nothing.
    """
    failed: OSError | None = None
    for family, kind, protocol, _, address in _addresses(host, port, deadline, resolve)[:MOST_ADDRESSES]:
        if loopback_only and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise Unreached(
                f"{host} is not this machine, and nothing is sent in the clear to another",
                "let it speak TLS, and write so",
                permanent=True,
            )
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(min(CONNECT_S, deadline.left_s))
            line.connect(address)
            line.settimeout(deadline.left_s)
            return line
        except OSError as error:
            line.close()
            failed = error
    if isinstance(failed, TimeoutError):
        raise Unreached(f"{host} did not take a connection in time", "see that it can be reached from here")
    why = failed.strerror if failed is not None and failed.strerror else "it has no address"
    raise Unreached(f"{host} takes no connection on port {port}: {why}", "see that it runs, and that the port is right")


def secured(
    line: socket.socket, host: str, context: ssl.SSLContext, deadline: Deadline
) -> ssl.SSLSocket:  # fmt: skip
    """The line with TLS on it, the certificate verified for `host`. Raises Unreached."""
    try:
        return context.wrap_socket(line, server_hostname=host)
    except OSError as error:
        line.close()
        raise tls_error(error, host, deadline) from None


def tls_error(error: OSError, host: str, deadline: Deadline) -> Unreached:
    """What is said when TLS was not to be had."""
    if deadline.is_over or isinstance(error, TimeoutError):
        return deadline.error(host)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreached(
            f"the certificate of {host} is not good: {error.verify_message}",
            'renew it, or write the file of the CA that signed it: ca = "…"',
        )
    why = error.reason if isinstance(error, ssl.SSLError) and error.reason else (error.strerror or "it hung up")
    return Unreached(f"{host} speaks no TLS that we take: {why}", "see that the port is the one that speaks TLS")


def trust(ca: Path | None) -> ssl.SSLContext:
    """Whom to trust: the system's CAs, or the file's alone. Raises Unreached.

    Made anew for each delivery: a CA that was renewed counts from the next one on.
    """
    try:
        context = ssl.create_default_context(cafile=ca) if ca else ssl.create_default_context()
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise Unreached(f"the file of the CA, {ca}, cannot be used: {why}", "write a file in PEM format") from None
    return context


def _addresses(host: str, port: int, deadline: Deadline, resolve: Resolve) -> Sequence[tuple[Any, ...]]:
    """The addresses of a host; a name server that is silent is not waited for beyond the deadline."""
    answer: queue.SimpleQueue[Sequence[tuple[Any, ...]] | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(host, port))
        except (OSError, UnicodeError):
            answer.put(None)

    threading.Thread(target=ask, daemon=True, name="resolve").start()
    try:
        found = answer.get(timeout=min(CONNECT_S, deadline.left_s))
    except queue.Empty:
        raise Unreached(f"the name {host} was not resolved in time", "see that the name server answers") from None
    if not found:
        raise Unreached(f"the name {host} is not known", "correct it; see that this machine has a name server")
    return found
