"""What an error tells about a write: surely not done, or in doubt. Pure."""

from __future__ import annotations

from tenfold.errors import ConstraintError, CrossShardError, FenceError, NodeError, PoolTimeout
from tests.faults.moving.log import DOUBT, NOT

_UNDONE = ("stayed locked for", "undid the transaction", "held by a statement that has not ended",
           "its reservation was given up", "is fought over", "cannot be reached")  # fmt: skip


def outcome(error: Exception, *, alone: bool) -> str | None:
    """NOT or DOUBT; None: an error that no fault explains.

    alone  the statement goes to one shard, or all of them are committed as one
    """
    if isinstance(error, FenceError):
        # Where its rows are of several shards, these are written one after the other.
        return NOT if alone else DOUBT
    if isinstance(error, ConstraintError) or (
        isinstance(error, CrossShardError) and "the transaction is on" in str(error)
    ):
        return NOT
    if isinstance(error, PoolTimeout) or (isinstance(error, NodeError) and any(s in str(error) for s in _UNDONE)):
        return NOT if alone else DOUBT
    return DOUBT if isinstance(error, NodeError) else None
