"""Statements that read rows as literals, write them and mark them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.moves.codec import after, among, digest, joined, key_literals, key_text, row_text, until
from tenfold.sharding.moves.tables import Moved, dirty_table, keys_table, listed, one_of

NEAR = 65_536
"""A text that lacks no more bytes than these to the longest that a server makes may have been cut off."""
UNEQUAL = "CONCAT('?',UUID())"
"""A text that is equal to no other. (Beside a bare UUID() MariaDB would take other texts for UUIDs.)"""


def boundary(table: Moved, position: Sequence[str], count: int) -> tuple[str, str]:
    """Two SELECTs of primary keys, a literal a column: the last of the next `count` rows, and the last of fewer."""
    columns, order = ", ".join(key_literals(table, table.shape.primary_key)), ", ".join(table.primary_key)
    found = f"SELECT {columns} FROM {table.name} WHERE {after(table, position)} ORDER BY "
    backwards = ", ".join(f"{column} DESC" for column in table.primary_key)
    return f"{found}{order} LIMIT 1 OFFSET {count - 1}", f"{found}{backwards} LIMIT 1"


def _between(table: Moved, position: Sequence[str], end: Sequence[str], buckets: Collection[int]) -> str:
    last = until(table, end) if end else "1 = 1"
    return f"{after(table, position)} AND {last} AND {table.within(buckets)}"


def read_chunk(table: Moved, position: Sequence[str], end: Sequence[str], buckets: Collection[int]) -> str:
    """SELECT of (rows, their literals as one text), for the rows after `position` up to `end`."""
    return (
        f"SELECT COUNT(*), {joined(row_text(table), table)} FROM {table.name}"
        f" WHERE {_between(table, position, end, buckets)}"
    )


def read_singly(table: Moved, position: Sequence[str], end: Sequence[str], buckets: Collection[int]) -> str:
    """The same rows one by one: (primary key, bucket, row), the first and last as literals."""
    return (
        f"SELECT {key_text(table, table.shape.primary_key)}, {table.bucket()}, {row_text(table)} FROM {table.name}"
        f" WHERE {_between(table, position, end, buckets)}"
    )


def read_rows(table: Moved, keys: Sequence[str], buckets: Collection[int]) -> str:
    """The rows with these primary keys, likewise."""
    return (
        f"SELECT {key_text(table, table.shape.primary_key)}, {table.bucket()}, {row_text(table)} FROM {table.name}"
        f" WHERE {among(table, table.primary_key, keys)} AND {table.within(buckets)}"
    )


def insert_rows(table: Moved, rows: str) -> str:
    """INSERT of rows as they were read."""
    return f"INSERT INTO {table.name} ({', '.join(map(table.quoted, table.stored))}) VALUES {rows}"


def delete_rows(table: Moved, keys: Sequence[str], buckets: Collection[int]) -> str:
    """DELETE of the rows with these primary keys, where they are of these buckets."""
    return f"DELETE FROM {table.name} WHERE {among(table, table.primary_key, keys)} AND {table.within(buckets)}"


def mark(move: int, table: Moved, rows: Sequence[tuple[str, int]]) -> str:
    """INSERT of marks for (primary key as literals, bucket)."""
    values = ",".join(f"{key[:-1]},{bucket:d},1)" for key, bucket in rows)
    columns = ", ".join(table.primary_key)
    again = "ON DUPLICATE KEY UPDATE" if table.dialect is MYSQL else "ON CONFLICT DO UPDATE SET"
    return (
        f"INSERT INTO {dirty_table(move, table)} ({columns}, tf_bucket, tf_version) VALUES {values}"
        f" {again} tf_version = tf_version + 1"
    )


def read_marks(
    move: int, table: Moved, buckets: Collection[int], count: int, lock: str = "", *, skip: int = 0
) -> str:  # fmt: skip
    """SELECT of at most `count` marks after the first `skip`: (primary key as literals, bucket, version)."""
    chosen = table.of(buckets)
    # With a lock each by itself: a range locks what comes after its end, which others may hold.
    wanted = f"tf_bucket IN ({listed(chosen)})" if lock else one_of("tf_bucket", chosen)
    return (
        f"SELECT {key_text(table, table.shape.primary_key)}, tf_bucket, tf_version FROM {dirty_table(move, table)}"
        f" WHERE {wanted} LIMIT {count} OFFSET {skip}{lock}"
    )


def delete_marks(move: int, table: Moved, marks: Sequence[tuple[str, int, int]]) -> str:
    """DELETE of marks that have not changed since they were read."""
    columns = [*table.primary_key, "tf_bucket", "tf_version"]
    literals = [f"{key[:-1]},{bucket:d},{version:d})" for key, bucket, version in marks]
    return f"DELETE FROM {dirty_table(move, table)} WHERE {among(table, columns, literals)}"


def key_boundary(table: Moved, position: str, count: int) -> tuple[str, str]:
    """As `boundary`, for distinct shard keys in their order."""
    key, literal = table.quoted(table.key), key_literals(table, [table.key])[0]
    beyond = f"{key} > {position}" if position else f"{key} IS NOT NULL"
    found = f"SELECT {literal} FROM (SELECT DISTINCT {key} FROM {table.name} WHERE {beyond} ORDER BY "
    return (
        f"{found}{key} LIMIT {count}) AS d ORDER BY {key} LIMIT 1 OFFSET {count - 1}",
        f"{found}{key} DESC LIMIT 1) AS d",
    )


def read_keys(table: Moved, position: str, end: str, buckets: Collection[int]) -> str:
    """SELECT of (keys, their literals as "(bucket,key),…") for the shard keys after `position` up to `end`."""
    key, literal = table.quoted(table.key), key_literals(table, [table.key])[0]
    beyond = f"{key} > {position} AND " if position else ""
    one = f"CONCAT('(',{table.bucket()},',',{literal},')')"
    if table.dialect is not MYSQL:
        one = f"'('||{table.bucket()}||','||{literal}||')'"
    return (
        f"SELECT COUNT(*), {joined(one, table)} FROM (SELECT DISTINCT {key} FROM {table.name}"
        f" WHERE {beyond}{key} <= {end}) AS d WHERE {table.within(buckets)}"
    )


def insert_keys(move: int, table: Moved, keys: str) -> str:
    """INSERT of shard keys, each "(bucket,key)", where they are not there."""
    ignore = "INSERT IGNORE" if table.dialect is MYSQL else "INSERT OR IGNORE"
    return f"{ignore} INTO {keys_table(move, table)} (tf_bucket, tf_key) VALUES {keys}"


def keys_of_rows(table: Moved, keys: Sequence[str], buckets: Collection[int]) -> str:
    """SELECT of (keys, their literals) of the rows with these primary keys, as `read_keys`."""
    key, literal = table.quoted(table.key), key_literals(table, [table.key])[0]
    one = f"CONCAT('(',{table.bucket()},',',{literal},')')"
    if table.dialect is not MYSQL:
        one = f"'('||{table.bucket()}||','||{literal}||')'"
    return (
        f"SELECT COUNT(*), {joined(one, table)} FROM (SELECT DISTINCT {key} FROM {table.name}"
        f" WHERE {among(table, table.primary_key, keys)} AND {table.within(buckets)}) AS d"
    )


def _of_buckets(move: int, table: Moved, buckets: Collection[int]) -> str:
    """FROM and WHERE of all rows of buckets, by way of their shard keys."""
    if not table.key:
        return f"{table.name} AS t WHERE {table.within(buckets)}"
    # The keys first, whatever an optimizer thinks of it: by the hash it would read the whole table.
    join = "STRAIGHT_JOIN" if table.dialect is MYSQL else "CROSS JOIN"
    return (
        f"{keys_table(move, table)} AS k {join} {table.name} AS t ON t.{table.quoted(table.key)} = k.tf_key"
        f" WHERE k.tf_bucket IN ({listed(table.of(buckets))})"
    )


def any_key(move: int, table: Moved, buckets: Collection[int]) -> str:
    """SELECT of the primary key, as literals, of one row of buckets, whichever comes first."""
    return f"SELECT {key_text(table, table.shape.primary_key, 't.')} FROM {_of_buckets(move, table, buckets)} LIMIT 1"


def has_key(table: Moved, key: str) -> str:
    """SELECT of 1 where there is a row with this primary key."""
    return f"SELECT 1 FROM {table.name} WHERE {among(table, table.primary_key, [key])}"


def summary(move: int, table: Moved, buckets: Collection[int], lock: str = "") -> str:
    """SELECT of (rows, digest) of all rows of buckets."""
    return f"SELECT COUNT(*), {digest(row_text(table, 't.'), table)} FROM {_of_buckets(move, table, buckets)}{lock}"


def digest_between(table: Moved, position: Sequence[str], end: Sequence[str], buckets: Collection[int]) -> str:
    """SELECT of (rows, bytes of their texts, digest) of the rows after `position` up to `end`, or to the last.

    Equal digests are of equal rows. Unequal ones may be, too: where a server came by them in another order, or where
    their texts, or one of them, are longer than it makes.
    """
    source = f"FROM {table.name} WHERE {_between(table, position, end, buckets)}"
    if table.dialect is not MYSQL:
        row = row_text(table)
        return f"SELECT COUNT(*), COALESCE(SUM(LENGTH({row})), 0), {digest(row, table)} {source}"
    # One digest of all texts takes half of what one of each row takes. GROUP_CONCAT cuts off what goes beyond the
    # limits, by which two different texts might become the same.
    whole = f"LENGTH(d.t) + {NEAR} < LEAST(@@group_concat_max_len, @@max_allowed_packet)"
    return (
        f"SELECT d.n, COALESCE(LENGTH(d.t), 0), IF(d.n = 0, '', IF({whole}, MD5(d.t), {UNEQUAL}))"
        f" FROM (SELECT COUNT(*) AS n, {joined(f'IFNULL({row_text(table)},{UNEQUAL})', table)} AS t {source}) AS d"
    )


def digests_between(table: Moved, position: Sequence[str], end: Sequence[str], buckets: Collection[int]) -> str:
    """SELECT of (primary key as literals, bucket, digest) of each of these rows."""
    return f"{_each(table)} WHERE {_between(table, position, end, buckets)}"


def digests_among(table: Moved, keys: Sequence[str], buckets: Collection[int]) -> str:
    """SELECT of the same, of the rows with these primary keys."""
    return f"{_each(table)} WHERE {among(table, table.primary_key, keys)} AND {table.within(buckets)}"


def _each(table: Moved) -> str:
    return (
        f"SELECT {key_text(table, table.shape.primary_key)}, {table.bucket()}, {_one_digest(table, row_text(table))}"
        f" FROM {table.name}"
    )


def _one_digest(table: Moved, row: str) -> str:
    # A text that is too long for a server is NULL, and may be of any row: it is equal to none.
    return f"IFNULL(MD5({row}),{UNEQUAL})" if table.dialect is MYSQL else row


def each_digest(move: int, table: Moved, buckets: Collection[int]) -> str:
    """SELECT of (primary key as literals, bucket, digest) of each row of buckets."""
    key, one = key_text(table, table.shape.primary_key, "t."), _one_digest(table, row_text(table, "t."))
    return f"SELECT {key}, {table.bucket('t.')}, {one} FROM {_of_buckets(move, table, buckets)}"


def keys_of(move: int, table: Moved, buckets: Collection[int], position: tuple[int, str] | None, count: int) -> str:
    """SELECT of the next (bucket, shard key as a literal) of some buckets, in their order."""
    literal = key_literals(table, [table.key])[0].replace(table.quoted(table.key), "tf_key")
    beyond = ""
    if position is not None:
        bucket, key = position
        beyond = f" AND tf_bucket >= {bucket:d} AND (tf_bucket > {bucket:d} OR tf_key > {key})"
    return (
        f"SELECT tf_bucket, {literal} FROM {keys_table(move, table)}"
        f" WHERE tf_bucket IN ({listed(table.of(buckets))}){beyond} ORDER BY tf_bucket, tf_key LIMIT {count}"
    )


def delete_some(table: Moved, keys: Sequence[str], count: int) -> str:
    """DELETE of at most `count` rows with these shard keys; of a pinned table, of any rows."""
    chosen = f"{table.quoted(table.key)} IN ({','.join(keys)})" if table.key else "1 = 1"
    if table.dialect is MYSQL:
        return f"DELETE FROM {table.name} WHERE {chosen} LIMIT {count}"
    columns = ", ".join(table.primary_key)
    some = f"SELECT {columns} FROM {table.name} WHERE {chosen} LIMIT {count}"
    return f"DELETE FROM {table.name} WHERE ({columns}) IN ({some})"
