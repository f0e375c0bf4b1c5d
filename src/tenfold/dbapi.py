"""PEP 249 over all shards of a platform: `from tenfold import dbapi; dbapi.connect()`. Edge."""

from __future__ import annotations

import os

from tenfold.monitor.recorder import current
from tenfold.sharding.interfaces.dbapi import Connection, Cursor, apilevel, paramstyle, threadsafety
from tenfold.sharding.interfaces.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from tenfold.sharding.interfaces.typecodes import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def connect(
    path: str | os.PathLike[str] | None = None, *, environment: str | None = None, autocommit: bool = False
) -> Connection:
    """Connect to the platform of a tenfold.toml (default: $TENFOLD_FILE, else ./tenfold.toml).

    All connections of a process to one file share its pools: the first opens them, the last to be closed closes them.
    Where `tenfold up` has started this process, its agent is told how long each statement took.

    autocommit  whether each statement is committed by itself; else the first write begins a transaction

    Raises InterfaceError for a wrong file, OperationalError for a platform that cannot be reached.
    """
    return Connection(path, environment, autocommit, current())
