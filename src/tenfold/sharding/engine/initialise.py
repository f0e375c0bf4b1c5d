"""Makes the databases of a file into a platform; run again, it does what is left to do. Edge."""

from __future__ import annotations

import re
from pathlib import Path

from tenfold.errors import NodeDown, NodeError, PlatformError
from tenfold.sharding.adopt import Adopted, adopt
from tenfold.sharding.catalog import read_settings
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.engine.router import one_off_runner, opener
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.topology.addresses import mysql_address
from tenfold.topology.model import Engine, Topology

Initialised = Adopted

_NO_DATABASE = re.compile(r"Unknown database|Access denied .* to database")


def initialise(topology: Topology, *, restarted: bool = False) -> Initialised:
    """Create catalog, bucket map and Tenfold's tables on all shards, and the files of SQLite; idempotent, resumable.

    A database of a server is not created: that takes rights which the application's account should not have.
    restarted: as `adopt` takes it.
    Raises ConfigError for a schema or file that cannot work (every mistake a line), CatalogError for
    databases of another platform, PlatformError for a directory that cannot be made, NodeError.
    """
    if topology.database.engine is Engine.MYSQL:
        _see_databases(topology)
        with one_off_runner(topology) as runner:
            return runner.run(adopt(topology, restarted=restarted))
    for name, shard in topology.database.shards.items():
        directory = sqlite_path(shard.url, topology.root).parent
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlatformError(
                f"the directory of {name} cannot be made: {directory}: {error.strerror}",
                hint=f"make it writable for this user, or change database.shards.{name}.url",
            ) from None
    with one_off_runner(topology, mode="rw" if _is_platform(topology) else "rwc") as runner:
        return runner.run(adopt(topology, restarted=restarted))


def _see_databases(topology: Topology) -> None:
    """Connect to every shard before anything is written. Raises NodeError, for all databases that are not there."""
    missing: list[str] = []
    statements: list[str] = []
    for name, shard in topology.database.shards.items():
        try:
            opener(topology, name)().close()
        except NodeError as error:
            if not _NO_DATABASE.search(str(error)):
                raise
            host, _, user, database = mysql_address(shard.url)
            missing.append(f"{name} ({host}: {database})")
            # In a GRANT, _ and % stand for any letter.
            pattern = MYSQL.quoted(re.sub(r"([_%\\])", r"\\\1", database))
            account = user.replace("\\", "\\\\").replace("'", "''")
            statements.append(
                f"on {host}: CREATE DATABASE IF NOT EXISTS {MYSQL.quoted(database)} CHARACTER SET utf8mb4; "
                f"GRANT ALL ON {pattern}.* TO '{account}'@'%';"
            )
    if missing:
        raise NodeError(
            f"there is no database for {', '.join(missing)}, or the account may not use it",
            hint="as an administrator run, " + " ".join(statements),
            retryable=False,
        )


def _is_platform(topology: Topology) -> bool:
    """Whether the catalog is complete. Then a file that is not there was lost: a new one would hide that."""
    with one_off_runner(topology) as runner:
        try:
            return "initialised" in (runner.run(read_settings(topology.catalog_shard)) or {})
        except NodeDown:
            return False
