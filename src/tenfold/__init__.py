"""What an application imports: `connect`, `connect_async`, `middleware`. Edge."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenfold.sharding.engine.async_database import AsyncDatabase, AsyncTransaction
    from tenfold.sharding.engine.database import Database, SyncTransaction
    from tenfold.sharding.result import Result, Row

__version__ = "0.1.0"
__all__ = [
    "AsyncDatabase",
    "AsyncTransaction",
    "Database",
    "Result",
    "Row",
    "SyncTransaction",
    "connect",
    "connect_async",
]


def connect(path: str | os.PathLike[str] | None = None, *, environment: str | None = None) -> Database:
    """Connect to the platform of a tenfold.toml (default: $TENFOLD_FILE, else ./tenfold.toml).

    Where `tenfold up` has started this process, its agent is told how long each statement took.
    Raises ConfigError for a wrong file, CatalogError for one that was not initialised, NodeError.
    """
    from tenfold.monitor.recorder import current
    from tenfold.sharding.engine import database

    return database.connect(path, environment=environment, observer=current())


async def connect_async(path: str | os.PathLike[str] | None = None, *, environment: str | None = None) -> AsyncDatabase:
    """As `connect`, for the tasks of one event loop."""
    from tenfold.monitor.recorder import current
    from tenfold.sharding.engine import async_database

    return await async_database.connect_async(path, environment=environment, observer=current())


# Loaded when first used: `tenfold --help` must not wait for a SQL parser.
_HOME = {
    "AsyncDatabase": "tenfold.sharding.engine.async_database",
    "AsyncTransaction": "tenfold.sharding.engine.async_database",
    "Database": "tenfold.sharding.engine.database",
    "SyncTransaction": "tenfold.sharding.engine.database",
    "Result": "tenfold.sharding.result",
    "Row": "tenfold.sharding.result",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name == "middleware":
        return import_module("tenfold.middleware")
    raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
