"""The bucket of a row, as the database computes it. Pure."""

from __future__ import annotations

from tenfold.sharding.dialects import MYSQL, Dialect
from tenfold.sharding.keys import KeyType

FUNCTION = "tf_bucket"
"""Of our own SQLite connections: tf_bucket(kind of key, key)."""


def bucket_sql(expression: str, key_type: KeyType, dialect: Dialect) -> str:
    """SQL for the bucket of a shard key, `bucket_of` of the same value: a whole number, NULL for NULL.

    expression  SQL of the key: a column, NEW.column, a parameter
    """
    if dialect is MYSQL:
        # A UUID hashes as lower-case text, which is how a UUID column shows itself; a CHAR may hold it otherwise.
        text = f"LOWER({expression})" if key_type is KeyType.UUID else expression
        return f"CAST(CONV(LEFT(MD5({text}), 3), 16, 10) AS UNSIGNED)"
    return f"{FUNCTION}('{key_type.value}', {expression})"
