"""The errors of PEP 249, which are Tenfold's at the same time. Pure.

    Warning
    Error                     is a TenfoldError: it has `hint` and `retryable`
    ├── InterfaceError            ConfigError, PlatformError; a closed connection or cursor
    └── DatabaseError
        ├── DataError             StatementError: a value that its column or its type cannot hold
        ├── OperationalError      NodeError, PoolTimeout, NodeDown, FenceError, MoveError, CatalogError
        ├── IntegrityError        ConstraintError
        ├── InternalError         never raised
        ├── ProgrammingError      StatementError; no rows to fetch
        └── NotSupportedError     RoutingError, ShardKeyError, CrossShardError

What is raised for an error of Tenfold's is of both classes, so that a program written for either tree catches it.
"""

from __future__ import annotations

from tenfold import errors


class Warning(Exception):  # the name that PEP 249 gives it
    """Never raised."""


class Error(errors.TenfoldError):
    """Any error of this interface."""


class InterfaceError(Error):
    """The interface is used wrongly, or not set up."""


class DatabaseError(Error):
    """Any error of the database."""


class DataError(DatabaseError):
    """A value that its column cannot hold."""


class OperationalError(DatabaseError):
    """A server is down, busy or full; `retryable` says whether waiting helps."""


class IntegrityError(DatabaseError):
    """A value is taken, missing or not allowed."""


class InternalError(DatabaseError):
    """Never raised."""


class ProgrammingError(DatabaseError):
    """The statement is wrong, or a table does not exist."""


class NotSupportedError(DatabaseError):
    """The statement cannot run over shards as it is; `hint` is the rewrite that works."""


class ConfigError(errors.ConfigError, InterfaceError):
    """tenfold.toml is wrong."""


class PlatformError(errors.PlatformError, InterfaceError):
    """The platform cannot be reached by this handle."""


class CatalogError(errors.CatalogError, OperationalError):
    """The catalog is missing, of another version, or belongs to another platform."""


class ConstraintError(errors.ConstraintError, IntegrityError):
    """A value is taken, missing or not allowed; nothing of the statement was applied."""


class StatementError(errors.StatementError, ProgrammingError):
    """The database refused the statement; nothing of it was applied."""


class ValueRefusedError(errors.StatementError, DataError):
    """The database refused a value; nothing of the statement was applied."""


class RoutingError(errors.RoutingError, NotSupportedError):
    """The statement cannot be routed; the hint is the rewrite that works."""


class ShardKeyError(errors.ShardKeyError, NotSupportedError):
    """The shard key is missing, NULL, or not what its column can hold."""


class CrossShardError(errors.CrossShardError, NotSupportedError):
    """The statement or transaction would be wrong across shards."""


class NodeError(errors.NodeError, OperationalError):
    """A machine did not do its part."""


class PoolTimeout(errors.PoolTimeout, OperationalError):
    """Every connection to the shard stayed busy for the whole waiting time."""


class NodeDown(errors.NodeDown, OperationalError):
    """The shard refused the connection, or the connection was lost."""


class FenceError(errors.FenceError, OperationalError):
    """The rows are on their way to another shard, or have gone there. Nothing of the statement was done."""


class MoveError(errors.MoveError, OperationalError):
    """A move was refused, or has stopped; nothing is lost."""


_BOTH: dict[type[errors.TenfoldError], type[Error]] = {
    errors.ConfigError: ConfigError,
    errors.PlatformError: PlatformError,
    errors.CatalogError: CatalogError,
    errors.ConstraintError: ConstraintError,
    errors.StatementError: StatementError,
    errors.RoutingError: RoutingError,
    errors.ShardKeyError: ShardKeyError,
    errors.CrossShardError: CrossShardError,
    errors.NodeError: NodeError,
    errors.PoolTimeout: PoolTimeout,
    errors.NodeDown: NodeDown,
    errors.FenceError: FenceError,
    errors.MoveError: MoveError,
    errors.TenfoldError: DatabaseError,
}


def of_both(error: errors.TenfoldError) -> Error:
    """The same error as PEP 249 knows it, with its message, hint and `retryable`."""
    if isinstance(error, Error):
        return error
    kind = next(_BOTH[ours] for ours in type(error).__mro__ if ours in _BOTH)
    if kind is StatementError and _is_about_a_value(error.__cause__ or error.__context__):
        kind = ValueRefusedError
    return kind(str(error), hint=error.hint, retryable=error.retryable)


def _is_about_a_value(driver_error: BaseException | None) -> bool:
    """Whether the driver called it a DataError; its module is not imported here for that."""
    return isinstance(driver_error, OverflowError) or any(
        one.__name__ == "DataError" for one in type(driver_error).__mro__
    )
