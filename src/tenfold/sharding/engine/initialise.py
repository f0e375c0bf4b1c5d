"""Makes the databases of a file into a platform; run again, it does what is left to do. Edge."""

from __future__ import annotations

from pathlib import Path

from tenfold.errors import NodeDown, PlatformError
from tenfold.sharding.adopt import Adopted, adopt
from tenfold.sharding.catalog import read_settings
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.engine.sqlite import sqlite_path
from tenfold.topology.model import Topology

Initialised = Adopted


def initialise(topology: Topology) -> Initialised:
    """Create files, catalog, bucket map and Tenfold's tables on all shards; idempotent, resumable.

    Raises ConfigError for a schema or file that cannot work (every mistake a line), CatalogError for
    databases of another platform, PlatformError for a directory that cannot be made, NodeError.
    """
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
        return runner.run(adopt(topology))


def _is_platform(topology: Topology) -> bool:
    """Whether the catalog is complete. Then a file that is not there was lost: a new one would hide that."""
    with one_off_runner(topology) as runner:
        try:
            return "initialised" in (runner.run(read_settings(topology.catalog_shard)) or {})
        except NodeDown:
            return False
