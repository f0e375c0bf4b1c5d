"""Where a shard key falls. Pure."""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from enum import StrEnum
from operator import index
from uuid import UUID

from tenfold.errors import ShardKeyError

BUCKETS = 4096

_MAX_INTEGER = 2**63
_MAX_UNSIGNED = 2**64
_EXACT_FLOAT = 2**53

_INTEGER_TEXT = re.compile(r"\s*([+-]?[0-9]+)\s*", re.ASCII)
_UUID_TEXT = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)


class KeyType(StrEnum):
    """How a column's declared type turns a value into the bytes that MD5(column) sees."""

    INTEGER = "integer"
    TEXT = "text"
    BINARY = "binary"
    UUID = "uuid"
    # On MySQL BIGINT UNSIGNED, and text: there a text equals a number if it begins with it, so no number is its key.
    UNSIGNED = "unsigned"
    VARCHAR = "varchar"
    CHAR = "char"


Key = int | str | bytes
"""A shard key in the one form that its column gives it: see `canonical`."""


def canonical(value: object, column: KeyType) -> Key:
    """The value as `column` stores and compares it: int, str or bytes.

    An INTEGER column reads 42, "042" and 42.0 as one key, so they are one key here too.
    Raises ShardKeyError for None, bool, and what the column cannot hold.
    """
    if value is None:
        raise ShardKeyError("the shard key is NULL", hint="give every row its shard key; NULL belongs to no shard")
    if not isinstance(value, bool):
        found = _CANONICAL[column](value)
        if found is not None:
            return found
    shown = "a value" if isinstance(value, str | bytes | bytearray) else repr(value)
    raise ShardKeyError(
        f"{shown} of type {type(value).__name__} is no key for {_A_COLUMN[column]} column", hint=_HINT[column]
    )


def key_bytes(value: object, column: KeyType) -> bytes:
    """The bytes that MD5(column) sees in the database. Raises ShardKeyError as `canonical` does."""
    key = canonical(value, column)
    if isinstance(key, bytes):
        return key
    try:
        return str(key).encode()
    except UnicodeEncodeError:
        raise ShardKeyError("the shard key is not valid text", hint="it holds half of a surrogate pair") from None


def bucket_of(shard_key: object, column: KeyType) -> int:
    """The bucket of a shard key, as the database's own MD5(column) would place it.

    shard_key  the value; `column` decides how it becomes bytes, not its Python type:
               an INTEGER column hashes the decimal text, so 42 and "42" are one key.
    Returns    an int in [0, BUCKETS): the first 12 bits of the MD5, as Vitess's
               `binary_md5` vindex; the same on every machine and in every release,
               because rows already on disk were placed by it.
    Raises     ShardKeyError for None, bool, and what the column cannot hold.
    """
    if type(shard_key) is int and column is KeyType.INTEGER and -_MAX_INTEGER <= shard_key < _MAX_INTEGER:
        seen = b"%d" % shard_key  # what key_bytes gives, at a third of its time
    else:
        seen = key_bytes(shard_key, column)
    digest = hashlib.md5(seen, usedforsecurity=False).digest()
    return digest[0] << 4 | digest[1] >> 4


def _integer(value: object) -> int | None:
    # Beyond 63 bits SQLite turns an integer into a float, and neighbours become one key.
    return _whole(value, _MAX_INTEGER)


def _unsigned(value: object) -> int | None:
    # Below zero there is no row; to ask for one is no mistake.
    return _whole(value, _MAX_UNSIGNED)


def _whole(value: object, limit: int) -> int | None:
    if isinstance(value, str):
        found = _INTEGER_TEXT.fullmatch(value)
        value = int(found[1]) if found and len(found[1]) <= 21 else None
    elif isinstance(value, float):
        # Above 2**53 a float no longer says which integer it means.
        value = int(value) if value.is_integer() and abs(value) <= _EXACT_FLOAT else None
    elif isinstance(value, Decimal):
        # The database reads "9007199254740993.0" as a float, too.
        whole = value.is_finite() and value == value.to_integral_value()
        exact = whole and (abs(value) <= _EXACT_FLOAT or value.as_tuple().exponent == 0)
        value = int(value) if exact else None
    # index(), as the str of an enum's member is its name.
    return index(value) if isinstance(value, int) and -_MAX_INTEGER <= value < limit else None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return str.__str__(value)  # of an enum's member its value, not its name
    if isinstance(value, int):
        return str(index(value)) if -_MAX_INTEGER <= value < _MAX_INTEGER else None
    return str(value) if isinstance(value, UUID) else None


def _varchar(value: object) -> str | None:
    return _text(value) if isinstance(value, str | UUID) else None


def _char(value: object) -> str | None:
    # CHAR drops the spaces at the end of what it stores, so MD5(column) never sees them.
    found = _varchar(value)
    return None if found is None else found.rstrip(" ")


def _binary(value: object) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def _uuid(value: object) -> str | None:
    if isinstance(value, UUID):
        return str(value)
    lower = value.lower() if isinstance(value, str) else ""
    return lower if _UUID_TEXT.fullmatch(lower) else None


_CANONICAL = {
    KeyType.INTEGER: _integer,
    KeyType.TEXT: _text,
    KeyType.BINARY: _binary,
    KeyType.UUID: _uuid,
    KeyType.UNSIGNED: _unsigned,
    KeyType.VARCHAR: _varchar,
    KeyType.CHAR: _char,
}
_A_COLUMN = {
    KeyType.INTEGER: "an integer",
    KeyType.TEXT: "a text",
    KeyType.BINARY: "a binary",
    KeyType.UUID: "a UUID",
    KeyType.UNSIGNED: "an unsigned integer",
    KeyType.VARCHAR: "a text",
    KeyType.CHAR: "a text",
}
_HINT = {
    KeyType.INTEGER: "pass an int, or its decimal text",
    KeyType.TEXT: "pass a str",
    KeyType.BINARY: "pass bytes",
    KeyType.UUID: "pass a uuid.UUID or its 36-character text",
    KeyType.UNSIGNED: "pass an int, or its decimal text",
    KeyType.VARCHAR: "pass a str",
    KeyType.CHAR: "pass a str",
}
