"""Where the shards are: one place each, reached as their engine is, and not in the clear over a network. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from tenfold.topology import toml
from tenfold.topology.addresses import (
    MYSQL_SCHEMES,
    SQLITE,
    has_password,
    is_loopback,
    literal_password,
    mysql_address,
    sqlite_file,
)
from tenfold.topology.mistakes import Mistake, Path, shown, table

LOCAL = "local"
"""The environment in which servers of a private network may be reached without TLS."""


def check(raw: dict[str, Any], root: PurePath, environment: str | None) -> Iterator[Mistake]:
    """What is wrong with the addresses of the shards, as `environment` sees them.

    root  the directory of the file, at which relative paths start
    """
    database = table(raw, "database")
    engine = database.get("engine", "sqlite")
    taken: dict[object, str] = {}
    hosts: dict[str, str] = {}
    for name, shard in table(database, "shards").items():
        url = shard.get("url") if isinstance(shard, dict) else None
        path: Path = ("database", "shards", name, "url")
        if not isinstance(url, str):
            continue
        if has_password(url):
            yield literal_password(path, "DB_PASSWORD")
        place: object
        if engine == "sqlite":
            try:
                place = sqlite_file(url, root)
            except ValueError:
                yield Mistake(path, _not_sqlite(url), f'write "sqlite:///var/{_stem(name)}.db"')
                continue
        elif engine == "mysql":
            if has_password(url):
                continue
            try:
                host, port, _, base = mysql_address(url)
            except ValueError as error:
                yield Mistake(path, _not_mysql(url, str(error)), _meant(url))
                continue
            place = ("127.0.0.1" if host == "localhost" else host, port, base)
            hosts[name] = host
        else:
            continue
        if place in taken:
            yield _taken(path, name, taken[place], engine)
        taken.setdefault(place, f"database.shards.{toml.key(name)}")
    if database.get("tls") == "off":
        yield from _in_the_clear(hosts, environment)


def _in_the_clear(hosts: dict[str, str], environment: str | None) -> Iterator[Mistake]:
    away = next((name for name, host in hosts.items() if not is_loopback(host)), None)
    if away is not None and environment != LOCAL:
        yield Mistake(
            ("database", "tls"),
            f"would send all rows of {toml.key(away)} over a network in the clear",
            f'write tls = "require"; "off" is for servers on this machine, or below [environments.{LOCAL}.database]',
        )


def _taken(path: Path, name: str, other: str, engine: str) -> Mistake:
    if engine == "sqlite":
        remedy = f'write a file of its own, such as "sqlite:///var/{_stem(name)}.db"'
        return Mistake(path, f"is the file of {other} too", remedy)
    return Mistake(path, f"is the database of {other} too", "write a server or a database of its own")


def _not_sqlite(url: str) -> str:
    scheme = _scheme(url)
    if scheme and scheme != "sqlite":
        return f'is a {shown(scheme)} address, but the engine is "sqlite"'
    if url.startswith(SQLITE):
        return f"{shown(url)} does not name a file of its own"
    return f"{shown(url)} is not the address of a SQLite file"


def _not_mysql(url: str, problem: str) -> str:
    scheme = _scheme(url)
    if scheme and scheme not in MYSQL_SCHEMES:
        return f'is a {shown(scheme)} address, but the engine is "mysql"'
    return f"{shown(url)} {problem if scheme else 'is not the address of a MySQL or MariaDB server'}"


def _meant(url: str) -> str:
    """What to write: the address with the parts that it lacks, where the rest can be read."""
    if _scheme(url) == "sqlite":
        return 'write engine = "sqlite", or "mysql://app@127.0.0.1:3306/ledger"'
    host = re.fullmatch(r"\w+://(?:[^/@]*@)?([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]*)?(?:[/?#].*)?", url)
    return f'write account, host, port and database, such as "mysql://app@{host[1] if host else "db0"}:3306/ledger"'


def _scheme(url: str) -> str:
    return url.partition(":")[0] if "://" in url else ""


def _stem(name: str) -> str:
    return name if re.fullmatch(r"[a-z0-9_]{1,40}", name) else "shard_0"
