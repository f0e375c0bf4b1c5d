"""The functions that triggers of a move call on a SQLite shard, defined on each connection of ours. Edge."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

from tenfold.errors import ShardKeyError
from tenfold.sharding.bucketsql import FUNCTION
from tenfold.sharding.keys import KeyType, bucket_of

DIGEST = "tf_digest"
"""tf_digest(text): an aggregate by which a mover compares rows."""
MOVER_FUNCTION = "tf_mover"
"""tf_mover(): the token of the mover whose connection it is; 0 on all others."""


PASS_FUNCTION = "tf_pass"  # noqa: S105  # nobody's password
"""tf_pass(token): from now on the connection counts as that mover's; see `stale`."""


def define_functions(connection: sqlite3.Connection, mover: int = 0) -> None:
    """Define tf_bucket(kind, key), tf_mover(), tf_pass(token) and tf_digest(text) on a connection.

    mover  its token, if one opened it

    Who has not got the first two cannot write a table that is on the move: "no such function" is what a shell is told.
    """
    connection.create_function(FUNCTION, 2, _bucket, deterministic=True)
    passing = [mover]
    connection.create_function(MOVER_FUNCTION, 0, lambda: passing[0])
    connection.create_function(PASS_FUNCTION, 1, lambda token: passing.__setitem__(0, token))
    connection.create_aggregate(DIGEST, 1, _Digest)  # type: ignore[arg-type]


class _Digest:
    """Of many texts one number: 64 bits of each one's MD5, by XOR."""

    def __init__(self) -> None:
        self._found = 0

    def step(self, text: str) -> None:
        """One text more."""
        digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._found ^= int.from_bytes(digest[:8], "big", signed=True)

    def finalize(self) -> int:
        """The number; 0 of none."""
        return self._found


def _bucket(kind: str, key: Any) -> int | None:
    """NULL too for what no key can be: such a row was written past Tenfold, and belongs to no bucket."""
    if key is None:
        return None
    try:
        return bucket_of(key, KeyType(kind))
    except ShardKeyError:
        return None
