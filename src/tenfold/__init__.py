"""What an application imports: `connect`, `connect_async`. Edge."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenfold.sharding.engine.async_database import AsyncDatabase, AsyncTransaction, connect_async
    from tenfold.sharding.engine.database import Database, SyncTransaction, connect
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

# Loaded when first used: `tenfold --help` must not wait for a SQL parser.
_HOME = {
    "AsyncDatabase": "tenfold.sharding.engine.async_database",
    "AsyncTransaction": "tenfold.sharding.engine.async_database",
    "connect_async": "tenfold.sharding.engine.async_database",
    "Database": "tenfold.sharding.engine.database",
    "SyncTransaction": "tenfold.sharding.engine.database",
    "connect": "tenfold.sharding.engine.database",
    "Result": "tenfold.sharding.result",
    "Row": "tenfold.sharding.result",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
