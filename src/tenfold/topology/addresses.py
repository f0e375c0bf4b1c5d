"""Addresses in the file: what listens where, whom to trust, where shards and cache are. Pure."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tenfold.topology import toml
from tenfold.topology.mistakes import Mistake, Path, shown, table, texts

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?:\*\.)?{LABEL}(?:\.{LABEL})*\.?")
LONGEST_NAME = 253  # RFC 1035
SQLITE = "sqlite:///"
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


def check(raw: dict[str, Any], root: PurePath) -> Iterator[Mistake]:
    """What is wrong with the addresses of all sections."""
    yield from _domains(_strings_at(raw, "platform", "domains"))
    balancer = table(raw, "balancer")
    listen = balancer.get("listen")
    if isinstance(listen, str):
        yield from _listen(listen)
    for path, network in _strings_at(raw, "balancer", "trusted_proxies"):
        yield from _network(path, network)
    yield from _shards(raw, root)
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


def _shards(raw: dict[str, Any], root: PurePath) -> Iterator[Mistake]:
    database = table(raw, "database")
    engine = database.get("engine", "sqlite")
    if engine == "mysql":
        remedy = 'write engine = "sqlite"'
        yield Mistake(("database", "engine"), "not yet: MySQL/MariaDB comes with a later version", remedy)
    files: dict[PurePath, str] = {}
    for name, shard in table(database, "shards").items():
        url = shard.get("url") if isinstance(shard, dict) else None
        path: Path = ("database", "shards", name, "url")
        if not isinstance(url, str):
            continue
        if has_password(url):
            yield _literal_password(path, "DB_PASSWORD")
        if engine != "sqlite":
            continue
        try:
            file = sqlite_file(url, root)
        except ValueError:
            yield Mistake(path, _not_sqlite(url), f'write "sqlite:///var/{_file_stem(name)}.db"')
            continue
        if file in files:
            remedy = f'write a file of its own, such as "sqlite:///var/{_file_stem(name)}.db"'
            yield Mistake(path, f"is the file of {files[file]} too", remedy)
        files.setdefault(file, f"database.shards.{toml.key(name)}")


def _not_sqlite(url: str) -> str:
    scheme = url.partition(":")[0] if "://" in url else ""
    if scheme and scheme != "sqlite":
        return f'is a {shown(scheme)} address, but the engine is "sqlite"'
    if url.startswith(SQLITE):
        return f"{shown(url)} does not name a file of its own"
    return f"{shown(url)} is not the address of a SQLite file"


def _file_stem(name: str) -> str:
    return name if re.fullmatch(r"[a-z0-9_]{1,40}", name) else "shard_0"


def _cache(cache: dict[str, Any]) -> Iterator[Mistake]:
    url, path = cache.get("url"), ("cache", "url")
    if not isinstance(url, str):
        return
    if has_password(url):
        yield _literal_password(path, "CACHE_PASSWORD")
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


def _literal_password(path: Path, variable: str) -> Mistake:
    return Mistake(
        path, "holds a password", f'write the address without it, and beside it password = "${{{variable}}}"'
    )
