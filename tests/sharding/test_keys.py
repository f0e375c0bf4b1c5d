"""Where keys fall, for ever; and which values are one key. Pure."""

from __future__ import annotations

import enum
import hashlib
import sqlite3
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.errors import ShardKeyError
from tenfold.sharding.keys import BUCKETS, KeyType, bucket_of, canonical, key_bytes

INTEGER, TEXT, BINARY, UUID_ = KeyType.INTEGER, KeyType.TEXT, KeyType.BINARY, KeyType.UUID
FROZEN = [
    (42, INTEGER, 2589),
    (43, INTEGER, 382),
    (0, INTEGER, 3324),
    (1, INTEGER, 3148),
    (2, INTEGER, 3201),
    (7, INTEGER, 2289),
    (-1, INTEGER, 1723),
    (1_000_000, INTEGER, 2069),
    (2**63 - 1, INTEGER, 343),
    (-(2**63), INTEGER, 3602),
    ("42", TEXT, 2589),
    ("", TEXT, 3393),
    ("bob", TEXT, 2553),
    ("Bob", TEXT, 764),
    ("bob ", TEXT, 505),
    ("ann@ledger.example", TEXT, 3897),
    ("Zoë", TEXT, 4020),
    ("日本", TEXT, 1243),
    (b"", BINARY, 3393),
    (b"\x00", BINARY, 2363),
    (b"\xff\x00\xfe", BINARY, 314),
    (UUID("0f8fad5b-d9cb-469f-a165-70867728950e"), UUID_, 1393),
    (UUID(int=0), UUID_, 2552),
]


def conv_left_md5(stored: bytes) -> int:
    """CONV(LEFT(MD5(x), 3), 16, 10), as a database computes it."""
    return int(hashlib.md5(stored, usedforsecurity=False).hexdigest()[:3], 16)


@pytest.mark.parametrize(("key", "column", "bucket"), FROZEN)
def test_a_bucket_never_changes_between_releases(key: object, column: KeyType, bucket: int) -> None:
    # If this fails, every row on disk is misplaced: do not mend the numbers, mend the hash.
    assert bucket_of(key, column) == bucket


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])), st.binary()))
def test_a_bucket_is_the_one_that_the_database_computes(key: int | str | bytes) -> None:
    column = {int: INTEGER, str: TEXT, bytes: BINARY}[type(key)]
    stored = key if isinstance(key, bytes) else str(key).encode()
    assert bucket_of(key, column) == conv_left_md5(stored)
    assert 0 <= bucket_of(key, column) < BUCKETS


def test_keys_spread_evenly_over_the_buckets() -> None:
    counts = [0] * 16
    for key in range(16_000):
        counts[bucket_of(key, INTEGER) * 16 // BUCKETS] += 1
    assert min(counts) > 850 and max(counts) < 1150


@pytest.mark.parametrize(
    "value", [42, "42", "042", " 42 ", "+42", 42.0, Decimal(42), Decimal("42.0"), Decimal("4.2E+1")]
)
def test_what_an_integer_column_reads_as_42_is_the_key_42(value: object) -> None:
    assert canonical(value, INTEGER) == 42
    as_sqlite_binds_it = str(value) if isinstance(value, Decimal) else value
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (k INTEGER)")
    connection.execute("INSERT INTO t VALUES (?)", (as_sqlite_binds_it,))
    assert connection.execute("SELECT k, typeof(k) FROM t").fetchone() == (42, "integer")
    connection.close()


@pytest.mark.parametrize(
    ("value", "column"),
    [
        (None, INTEGER), (None, TEXT), (True, INTEGER), (False, TEXT), ("", INTEGER), ("4 2", INTEGER),
        ("42x", INTEGER), ("4.2e1", INTEGER), ("٤٢", INTEGER), (42.5, INTEGER), (float("nan"), INTEGER),
        (float("inf"), INTEGER),
        (Decimal("42.5"), INTEGER), (Decimal("NaN"), INTEGER), (b"42", INTEGER), (2.0**60, INTEGER),
        (Decimal("9007199254740993.0"), INTEGER), (b"bob", TEXT), (4.2, TEXT), (Decimal(1), TEXT), ("bob", BINARY),
        (1, BINARY), ("0f8fad5bd9cb469fa16570867728950e", UUID_), ("0f8fad5b-d9cb-469f-a165-70867728950", UUID_),
        (1, UUID_), (b"\x00" * 16, UUID_), (["a"], TEXT), (object(), INTEGER),
    ],
)  # fmt: skip
def test_a_value_that_the_column_cannot_hold_as_itself_is_refused(value: object, column: KeyType) -> None:
    with pytest.raises(ShardKeyError) as refused:
        bucket_of(value, column)
    assert refused.value.hint


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64 - 1, str(2**63)])
def test_an_integer_that_sqlite_would_round_to_a_float_is_refused(value: object) -> None:
    # 9223372036854775808 and ...809 are one float, so one key to SQLite, and would be two buckets.
    for column in (INTEGER,) if isinstance(value, str) else (INTEGER, TEXT):
        with pytest.raises(ShardKeyError):
            bucket_of(value, column)


def test_a_refused_text_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ShardKeyError) as refused:
        bucket_of("secret-token", INTEGER)
    assert "secret-token" not in str(refused.value)


def test_half_of_a_surrogate_pair_is_no_key() -> None:
    with pytest.raises(ShardKeyError):
        bucket_of("\ud800", TEXT)


def test_text_is_one_key_for_each_spelling() -> None:
    assert len({canonical(text, TEXT) for text in ("bob", "Bob", "bob ", " bob")}) == 4
    assert canonical(7, TEXT) == "7"


def test_a_uuid_is_one_key_however_it_is_passed() -> None:
    value = UUID("0F8FAD5B-D9CB-469F-A165-70867728950E")
    assert key_bytes(value, UUID_) == key_bytes(str(value).upper(), UUID_) == b"0f8fad5b-d9cb-469f-a165-70867728950e"


def test_binary_is_the_bytes_whatever_holds_them() -> None:
    assert {canonical(held, BINARY) for held in (b"\x00a", bytearray(b"\x00a"), memoryview(b"\x00a"))} == {b"\x00a"}


class Number(int, enum.Enum):
    """str() of a member is its name, what the database gets is its value."""

    FORTY_TWO = 42


class Word(str, enum.Enum):  # noqa: UP042  # StrEnum has no such trap
    """The same for text."""

    BOB = "bob"


def test_a_member_of_an_enum_is_the_key_that_the_database_stores() -> None:
    assert bucket_of(Number.FORTY_TWO, INTEGER) == bucket_of(42, INTEGER)
    assert bucket_of(Number.FORTY_TWO, TEXT) == bucket_of("42", TEXT)
    assert bucket_of(Word.BOB, TEXT) == bucket_of("bob", TEXT)
