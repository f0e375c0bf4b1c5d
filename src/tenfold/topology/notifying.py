"""What may stand in [notify]: addresses that are safe to speak to, and safe in the head of a mail. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from tenfold.topology.addresses import HOST_NAME, LONGEST_NAME, is_loopback
from tenfold.topology.mistakes import Mistake, Path, shown, table, texts

LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
LONGEST_ADDRESS = 254  # RFC 5321
LONGEST_URL = 2000
SHORTEST_SECRET = 16
MOST_RECIPIENTS = 50
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where a webhook is. Its path may be a secret: it never prints."""

    scheme: str
    host: str
    port: int
    target: SecretStr

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def http_address(url: str) -> HttpAddress:
    """The address of a webhook: https, or http to this machine's loopback. ValueError says what is wrong without it."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("is too long, or holds a space or what no address may hold")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not the address of a webhook") from None
    if parts.scheme not in PORTS:
        raise ValueError("does not begin with https://")
    if not _is_host(host, "[" in parts.netloc) or port == 0:
        raise ValueError("names no host")
    if "@" in parts.netloc:
        raise ValueError("holds an account, which is not sent")
    if parts.fragment or url.endswith("#"):
        raise ValueError("has a fragment, which is never sent")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("is plain http, which everybody on the way can read and change")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HttpAddress(parts.scheme, host, port or PORTS[parts.scheme], SecretStr(target))


def is_mail_address(text: str) -> bool:
    """Tell whether a text is one plain mail address, and nothing that a mail server could take for more."""
    local, _, domain = text.rpartition("@")
    return len(text) <= LONGEST_ADDRESS and bool(LOCAL_PART.fullmatch(local)) and _is_host(domain, in_brackets=False)


def check(raw: dict[str, Any], secrets: Mapping[Path, SecretStr]) -> Iterator[Mistake]:
    """What is wrong with [notify]; of secrets those that are known. Never shows one."""
    for channel in ("slack", "webhook"):
        path: Path = ("notify", channel, "url")
        if path in secrets:
            yield from _url(path, secrets[path].get_secret_value())
    path = ("notify", "webhook", "secret")
    if path in secrets and len(secrets[path].get_secret_value()) < SHORTEST_SECRET:
        remedy = "make one with: openssl rand -hex 32"
        yield Mistake(path, f"is shorter than {SHORTEST_SECRET} characters, and could be guessed", remedy)
    yield from _email(table(raw, "notify", "email"))


def _url(path: Path, url: str) -> Iterator[Mistake]:
    try:
        http_address(url)
    except ValueError as wrong:
        remedy = "let it refer to an https:// address as the receiver gave it (http:// only for 127.0.0.1)"
        yield Mistake(path, f"what it refers to {wrong}", remedy)


def _email(email: dict[str, Any]) -> Iterator[Mistake]:
    at: Path = ("notify", "email")
    server, security = email.get("server"), email.get("security", "starttls")
    if isinstance(server, str) and server and not _is_host(server, in_brackets=":" in server):
        remedy = 'write its name alone, such as "smtp.example"; the port has a line of its own'
        yield Mistake((*at, "server"), f"{shown(server)} is not the name of a server", remedy)
    elif isinstance(server, str) and server and security == "none" and not is_loopback(server):
        problem = "none sends mail in the clear, which is for a server on this machine only"
        yield Mistake((*at, "security"), problem, 'write security = "starttls", or "tls" where it speaks TLS at once')
    if security == "none" and "ca" in email:
        yield Mistake((*at, "ca"), "without TLS there is nothing to verify", "remove it")
    if ("user" in email) != ("password" in email):
        given, missing = ("user", "password") if "user" in email else ("password", "user")
        remedy = f'write {missing} = "${{MAIL_PASSWORD}}"' if missing == "password" else 'write user = "…"'
        yield Mistake((*at, given), f"needs {missing} beside it", f"{remedy}, or remove {given}")
    user = email.get("user")
    if isinstance(user, str) and not user.isprintable():
        yield Mistake((*at, "user"), "holds a line break or another control character", "write it without")
    sender = email.get("sender")
    if isinstance(sender, str) and len(sender) >= 3:
        yield from _mail_address((*at, "sender"), sender)
    for position, recipient in texts(email.get("to")):
        yield from _mail_address((*at, "to", position), recipient)
    to = email.get("to")
    if isinstance(to, list) and len(to) > MOST_RECIPIENTS:
        problem = f"has {len(to)} addresses, more than {MOST_RECIPIENTS}"
        yield Mistake((*at, "to"), problem, "write the address of a mailing list")


def _mail_address(path: Path, text: str) -> Iterator[Mistake]:
    if not is_mail_address(text):
        remedy = 'write it without a name and without brackets, such as "oncall@example.com"'
        yield Mistake(path, f"{shown(text)} is not a plain mail address", remedy)


def _is_host(host: str, in_brackets: bool) -> bool:
    if in_brackets:
        try:
            return bool(ipaddress.IPv6Address(host)) and "%" not in host
        except ValueError:
            return False
    return bool(HOST_NAME.fullmatch(host)) and len(host) <= LONGEST_NAME and not host.startswith("*")
