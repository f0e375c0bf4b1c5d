"""How a shard on MySQL or MariaDB is reached, and what is pinned in each of its sessions. Edge."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tenfold.errors import ConfigError, NodeDown, NodeError
from tenfold.topology.addresses import is_loopback, mysql_address
from tenfold.topology.model import Tls, Topology

SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
DRIVER_VARIABLE = "TENFOLD_MYSQL_DRIVER"
KILL_WAIT_S = 1.0
"""How long the side connection that stops an abandoned statement may take."""


@dataclass(frozen=True, slots=True)
class MysqlOptions:
    """What a connection needs to know.

    password     in UTF-8; never part of repr()
    tls          whether the connection is encrypted and the server's certificate and name are verified
    ca           file of the CA certificates to trust; None: the system's
    connect_s    until the server has let us in
    statement_s  until the server ends a statement; the client waits `read_s` for an answer
    lock_wait_s  for a row or a table's definition; servers count whole seconds
    driver       "pymysql" or "mysqlclient", for threads; None: mysqlclient where it is installed
    """

    shard: str
    host: str
    port: int
    user: str
    database: str
    password: bytes = field(default=b"", repr=False)
    tls: bool = False
    ca: str | None = None
    connect_s: float = 5.0
    statement_s: float = 60.0
    lock_wait_s: float = 5.0
    driver: str | None = None

    @property
    def read_s(self) -> float:
        """How long the client waits for the server: a little more than a statement may take."""
        return self.statement_s + self.connect_s

    @property
    def limits(self) -> dict[str, float]:
        """As errors name them."""
        return {"statement": self.statement_s, "lock": self.lock_wait_s, "connect": self.connect_s}


def mysql_options(topology: Topology, shard: str) -> MysqlOptions:
    """The options of a shard, as the file says. Raises ConfigError."""
    database, entry = topology.database, topology.database.shards[shard]
    try:
        host, port, user, name = mysql_address(entry.url)
    except ValueError as error:
        raise ConfigError(f"the url of {shard} {error}", hint="write mysql://app@db0:3306/ledger") from None
    tls = database.tls is Tls.REQUIRE or (database.tls is None and not is_loopback(host))
    return MysqlOptions(
        shard,
        host,
        port,
        user,
        name,
        entry.password.get_secret_value().encode() if entry.password else b"",
        tls,
        str(Path(topology.root, database.tls_ca)) if database.tls_ca else None,
        database.connect_s,
        database.statement_s,
        database.lock_wait_s,
        os.environ.get(DRIVER_VARIABLE) or None,
    )


def tls_context(options: MysqlOptions) -> ssl.SSLContext | None:
    """The context of this process for `options`, shared by all connections with the same CA; None: no TLS.

    Making one takes tens of milliseconds. A CA file that changes is read anew.
    Raises  ConfigError for a CA file that cannot be read.
    """
    if not options.tls:
        return None
    try:
        return _context(options.ca, Path(options.ca).stat().st_mtime_ns if options.ca else 0)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no certificate"
        raise ConfigError(
            f"database.tls_ca: {options.ca} cannot be read: {why}", hint="name a file of PEM certificates"
        ) from None


@lru_cache(maxsize=16)
def _context(ca: str | None, changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)  # verifies chain and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def ways_in(options: MysqlOptions, error: type[Exception]) -> dict[str, Callable[[Any], Any]]:
    """For the libraries in Python: what answers a server that asks for the password itself on a line that is not
    encrypted, by way of authentication. error: the library's own, of a code and words."""

    class NotInTheClear:
        def __init__(self, connection: object) -> None:
            pass

        def authenticate(self, packet: object) -> None:
            raise error(2059, "the server asks for the password in the clear")

    return {} if options.tls else dict.fromkeys(("mysql_clear_password", "dialog"), NotInTheClear)


def session_pins(server_version: str, options: MysqlOptions) -> str:
    """The one statement that makes a session ours, whatever the server's defaults are.

    server_version  as its greeting says: "10.11.6-MariaDB", "8.0.36"
    """
    # MySQL's limit is in milliseconds and holds for SELECT alone; the client's own holds for all.
    limit = (
        f"max_statement_time = {options.statement_s:.6f}"
        if "mariadb" in server_version.lower()
        else f"max_execution_time = {math.ceil(options.statement_s * 1000)}"
    )
    wait_s = max(1, math.ceil(options.lock_wait_s))
    return (
        f"SET NAMES utf8mb4, sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, "
        f"innodb_lock_wait_timeout = {wait_s}, lock_wait_timeout = {wait_s}, {limit}"
    )


def unanswered(options: MysqlOptions, error: BaseException) -> NodeDown:
    """The error to raise when no connection came about because of `error`."""
    return NodeDown(
        f"{options.shard} does not answer: {_why(error)} ({options.host} port {options.port})",
        hint="see that the server runs and is reachable from here, and that the url is right",
    )


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else "the connection was cut"


def untrusted(shard: str, error: ssl.SSLError) -> NodeError:
    """The error to raise when TLS could not be agreed on."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NodeError(
            f"{shard} is not trusted: {error.verify_message}",
            hint="name the CA of its certificate in database.tls_ca, and in the url the host that it is made out to",
            retryable=False,
        )
    return NodeError(
        f"{shard}: TLS failed: {error.reason or 'no common version'}",
        hint="see that the server offers TLS 1.2 or later",
        retryable=False,
    )
