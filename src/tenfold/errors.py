"""The tree of errors: what happened, what to do now, and whether waiting helps. Pure.

TenfoldError
├── ConfigError          the file is wrong                      edit tenfold.toml
├── CatalogError         Tenfold's own tables are missing or not ours
├── RoutingError         the statement cannot be routed         rewrite it as the hint says
│   ├── ShardKeyError        the key has no bucket
│   └── CrossShardError      it would be wrong across shards
├── StatementError       the database refused the statement
│   └── ConstraintError      a value is taken, missing or not allowed
├── NodeError            a machine did not do its part          retryable
│   ├── PoolTimeout          no connection in time
│   ├── NodeDown             refused or vanished
│   ├── HostError            a host cannot be reached, or did not do as it was told
│   └── FenceError           the rows are on their way to another shard; nothing was done
├── MoveError            a move stopped; nothing is lost        `tenfold shard resume`
├── DeployError          a deploy was refused or has failed; the fleet is as it was
│   └── GateError            a gate stopped it                  rolled back
├── BackupError          a backup could not be made, is not what it says, or may not be restored there
├── NotifyError          a notice could not be taken or delivered
├── BalancerError        nginx is missing or refuses its configuration
└── PlatformError        the platform cannot start, stop or be reached
"""

from __future__ import annotations


class TenfoldError(Exception):
    """What happened (`str(error)`), what to do now (`hint`), whether waiting helps (`retryable`)."""

    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling forgets keyword arguments; errors cross process borders in tests and workers.
        return _rebuild, (type(self), str(self), self.hint, self.retryable)


def _rebuild(kind: type[TenfoldError], message: str, hint: str, retryable: bool) -> TenfoldError:
    return kind(message, hint=hint, retryable=retryable)


class ConfigError(TenfoldError):
    """The file is wrong; the message holds every mistake, one a line."""


class CatalogError(TenfoldError):
    """The catalog is missing, of another version, or belongs to another platform."""


class RoutingError(TenfoldError):
    """The statement cannot be routed; the hint is the rewrite that works."""


class ShardKeyError(RoutingError):
    """The shard key is missing, NULL, or not what its column can hold."""


class CrossShardError(RoutingError):
    """The statement or transaction would be wrong across shards."""


class StatementError(TenfoldError):
    """The database refused the statement; nothing of it was applied."""


class ConstraintError(StatementError):
    """A value is taken, missing or not allowed; nothing of the statement was applied."""


class NodeError(TenfoldError):
    """A machine did not do its part."""

    retryable = True


class PoolTimeout(NodeError):
    """Every connection to the shard stayed busy for the whole waiting time."""


class NodeDown(NodeError):
    """The shard refused the connection, or the connection was lost."""


class FenceError(NodeError):
    """The rows are on their way to another shard, or have gone there. Nothing of the statement was done.

    bucket  the first that is not here; None where that is not known
    to      the shard that has it now, since `epoch`; "" where it is not known, or still on its way
    sent    whether anything was sent to a shard; not where the lease had run out before
    done    of an executemany: positions of the rows of parameters that are stored, and how many rows that changed
    """

    sent = True
    done: tuple[frozenset[int], int] = (frozenset(), 0)

    def __init__(
        self, message: str, *, hint: str = "", retryable: bool | None = None,
        bucket: int | None = None, to: str = "", epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(message, hint=hint or "try again", retryable=retryable)
        self.bucket, self.to, self.epoch = bucket, to, epoch


class MoveError(TenfoldError):
    """A move was refused, or has stopped; nothing is lost, and `tenfold shard resume` goes on."""


class HostError(NodeError):
    """A host cannot be reached, is not who it should be, or did not do as it was told."""


class DeployError(TenfoldError):
    """A deploy was refused, or has failed; what runs is what ran before."""


class GateError(DeployError):
    """A gate stopped a deploy; the fleet was taken back to the last good release."""


class BackupError(TenfoldError):
    """A backup could not be made, is not what its manifest says, or may not be restored where it was asked."""


class NotifyError(TenfoldError):
    """A notice could not be taken or delivered."""


class BalancerError(TenfoldError):
    """nginx is missing, or refuses the configuration written for it."""


class PlatformError(TenfoldError):
    """The platform cannot start, stop or be reached."""
