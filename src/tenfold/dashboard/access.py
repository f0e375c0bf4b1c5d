"""Who may see the page on this machine: a link that works once, and the session it opens. Edge."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Callable

SESSION_S = 7 * 86_400
MOST_LINKS = 16
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")


def loopback_port(host: str) -> int | None:
    """The port of a Host header that names this machine's loopback, 80 where it names none; None for all others.

    A page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read what we serve as its
    own; the name it came by gives it away. An address cannot be rebound, so every loopback address is fine.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found["name"].strip("[]").lower()
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = name == "localhost"
    return int(found["port"] or 80) if loopback else None


class Access:
    """Links that open a session once, and sessions that are signed rather than kept.

    key     signs the sessions; the same key after a restart of the agent lets open pages go on
    clock   Unix seconds
    """

    def __init__(self, token: str, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = key
        # Kept as hashes: a look at the memory or a core file opens no session.
        self._links = [_digest(token)]

    def issue(self) -> str:
        """A new token for /enter; the oldest unused one is forgotten when there are too many."""
        token = secrets.token_urlsafe(32)
        self._links = [*self._links[-(MOST_LINKS - 1) :], _digest(token)]
        return token

    def redeem(self, token: str) -> str | None:
        """A session for an unused token, which is used from now on; None for any other."""
        given = _digest(token)
        for link in self._links:
            if hmac.compare_digest(link, given):
                self._links.remove(link)
                return self._session()
        return None

    def until(self, session: str) -> float | None:
        """Unix seconds until which the session is good; None when it is not ours or has ended."""
        body, _, signature = session.rpartition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        end = float(int(body.partition(".")[0], 16))
        return end if end > self._clock() else None

    def _session(self) -> str:
        body = f"{int(self._clock()) + SESSION_S:x}.{secrets.token_hex(8)}"
        return f"{body}.{self._sign(body)}"

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, b"tenfold page session:" + body.encode(), hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
