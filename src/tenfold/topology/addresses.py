"""Addresses in the file: what listens where, whom to trust, what a shard's or the cache's says. Pure."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from tenfold.topology import toml
from tenfold.topology.mistakes import Mistake, Path, shown, table, texts

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?:\*\.)?{LABEL}(?:\.{LABEL})*\.?")
LONGEST_NAME = 253  # RFC 1035
SQLITE = "sqlite:///"
MYSQL_SCHEMES = ("mysql", "mariadb")
MYSQL_PORT = 3306
# What follows the colon may be a port, and the "@" part of a path: https://host:8443/@scope/package.
ACCOUNT = re.compile(r"""://[^\s/?#:@"'[]*:(?![0-9]{1,5}[/?#])[^\s"']+@""")
QUERY_PASSWORD = re.compile(r"(?i)[?&](password|passwd|pwd|token)=[^&]")
CACHE_SCHEMES = ("redis", "rediss")


def listen_address(listen: str) -> tuple[str, int]:
    """(IP address, port) of "127.0.0.1:8080" or "[::1]:8080". ValueError where it is neither."""
    host, _, port = listen.rpartition(":")
    address = ipaddress.ip_address(host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host)
    if (address.version == 6) != host.startswith("[") or "%" in host:
        raise ValueError("an IPv6 address stands in brackets, without a zone")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return str(address), int(port)


def sqlite_file(url: str, root: PurePath) -> PurePath:
    """The file that a shard's sqlite:/// address names, relative ones below `root`, the directory of tenfold.toml.

    `.` and `..` are resolved as text; symlinks are not looked at. ValueError where the address names no file.
    """
    name = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or name.endswith("/") or not name or name == ":memory:" or re.search(r"[?#\0]", name):
        raise ValueError(f"names no SQLite file: {shown(url)}")
    return PurePosixPath(posixpath.normpath(posixpath.join(root.as_posix(), name)))


def mysql_address(url: str) -> tuple[str, int, str, str]:
    """(host, port, user, database) of mysql://app@db0:3306/ledger; mariadb:// is the same.

    An IPv6 address stands in brackets and is given without them; user and database may be percent-encoded.
    ValueError says what is missing or wrong, as "names no database"; it never repeats a password.
    """
    parts = urlsplit(url)  # ValueError for a bracket that does not close
    if parts.scheme not in MYSQL_SCHEMES or has_password(url) or parts.password is not None:
        raise ValueError("is not the address of a MySQL or MariaDB server")
    if parts.query or parts.fragment or url[-1:] in ("?", "#"):
        raise ValueError("has options or a fragment, which the address of a server does not take")
    host = parts.hostname or ""
    if not host or not (
        _is_ip(host) if "[" in parts.netloc else HOST_NAME.fullmatch(host) and len(host) <= LONGEST_NAME
    ):
        raise ValueError("names no host" if not host else "does not name its host as a name or an IP address")
    try:
        port = parts.port if parts.port is not None else MYSQL_PORT
    except ValueError:
        port = 0
    if not port:
        raise ValueError("has a port that is no number from 1 to 65535")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if not user or "\0" in user:
        raise ValueError("names no account")
    if not re.fullmatch(r"[^/\\.\0]{1,64}", database):
        raise ValueError("names no database" if not database else "does not name one database")
    return host, port, user, database


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine for certain: localhost, 127.0.0.0/8 or ::1."""
    return host.lower().rstrip(".") == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def check(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong with the addresses of all sections but [database], whose shards.py has its own."""
    yield from _domains(_strings_at(raw, "platform", "domains"))
    balancer = table(raw, "balancer")
    listen = balancer.get("listen")
    if isinstance(listen, str):
        yield from _listen(listen)
    for path, network in _strings_at(raw, "balancer", "trusted_proxies"):
        yield from _network(path, network)
    yield from _cache(table(raw, "cache"))


def _strings_at(raw: dict[str, Any], section: str, key: str) -> list[tuple[Path, str]]:
    """(path, text) of each text in an array of a section."""
    return [((section, key, i), text) for i, text in texts(table(raw, section).get(key))]


def _domains(domains: list[tuple[Path, str]]) -> Iterator[Mistake]:
    for path, domain in domains:
        if HOST_NAME.fullmatch(domain) and len(domain) <= LONGEST_NAME:
            continue
        meant = _host_in(domain) or "ledger.example"
        yield Mistake(path, f"{shown(domain)} is not a host name", f"write a name such as {toml.text(meant)}")


def _host_in(text: str) -> str | None:
    """The host name that somebody meant who wrote an address or letters beyond ASCII."""
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname or ""
        host = host.encode("idna").decode()
    except ValueError:
        return None
    return host if HOST_NAME.fullmatch(host) and len(host) <= LONGEST_NAME else None


def _listen(listen: str) -> Iterator[Mistake]:
    try:
        listen_address(listen)
    except ValueError:
        host, _, port = listen.rpartition(":")
        usual = {"localhost": "127.0.0.1", "": "127.0.0.1", "*": "0.0.0.0"}.get(host)  # noqa: S104  what "*" means
        port = port if port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535 else "8080"
        remedy = f'write an IP address and a port from 1 to 65535, such as "{usual or "127.0.0.1"}:{port}"'
        yield Mistake(("balancer", "listen"), f"{shown(listen)} is not an address to listen on", remedy)


def _network(path: Path, network: str) -> Iterator[Mistake]:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        try:
            meant = str(ipaddress.ip_network(network, strict=False))
        except ValueError:
            meant = "10.0.0.0/8"
        yield Mistake(path, f"{shown(network)} is not a network", f"write it as {toml.text(meant)}")


def _cache(cache: dict[str, Any]) -> Iterator[Mistake]:
    url, path = cache.get("url"), ("cache", "url")
    if not isinstance(url, str):
        return
    if has_password(url):
        yield literal_password(path, "CACHE_PASSWORD")
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in CACHE_SCHEMES and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"/?[0-9]{0,3}", parts.path) or parts.query or parts.fragment:
        remedy = 'write redis:// or rediss://, host, port and number, such as "redis://127.0.0.1:6379/0"'
        yield Mistake(path, f"{shown(url)} is not the address of a Redis server", remedy)


def has_password(text: str) -> bool:
    """Tell whether an address carries a password: name:PASSWORD@ (even one with "/" in it), or ?password=."""
    if text.startswith(SQLITE):
        return False  # a file's name may hold anything
    return bool(ACCOUNT.search(text) or ("://" in text and QUERY_PASSWORD.search(text)))


def literal_password(path: Path, variable: str) -> Mistake:
    """The mistake of an address that carries its password."""
    return Mistake(
        path, "holds a password", f'write the address without it, and beside it password = "${{{variable}}}"'
    )
