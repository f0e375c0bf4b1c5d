"""What SQLite says of a table, as routing reads it. Edge."""

from __future__ import annotations

import sqlite3

import pytest

from tenfold.sharding.keys import KeyType
from tenfold.sharding.shapes import Index, read_sqlite_shape, sqlite_key_type
from tests.sharding.plans import driven, shape_of

# SQLite's own rules of affinity, by declared type; None: no key may be of it.
TYPES = {
    "INTEGER": KeyType.INTEGER, "INT": KeyType.INTEGER, "bigint unsigned": KeyType.INTEGER, "INT2": KeyType.INTEGER,
    "CHARINT": KeyType.INTEGER, "TEXT": KeyType.TEXT, "varchar(40)": KeyType.TEXT, "NCHAR(5)": KeyType.TEXT,
    "CLOB": KeyType.TEXT, "BLOB": KeyType.BINARY, "UUID": KeyType.UUID, "REAL": None, "DOUBLE PRECISION": None,
    "NUMERIC": None, "DECIMAL(10,2)": None, "BOOLEAN": None, "DATETIME": None, "STRING": None, "": None,
}  # fmt: skip


@pytest.mark.parametrize(("declared", "expected"), TYPES.items())
def test_a_declared_type_is_stored_by_its_affinity(declared: str, expected: KeyType | None) -> None:
    assert sqlite_key_type(declared) is expected
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t (k {declared})")
    connection.execute("INSERT INTO t VALUES ('042')")
    stored = connection.execute("SELECT k FROM t").fetchone()[0]
    if expected in (KeyType.INTEGER, KeyType.TEXT, KeyType.BINARY):
        assert stored == (42 if expected is KeyType.INTEGER else "042")
    connection.close()


def test_columns_and_keys_are_known_by_lower_case_names() -> None:
    shape = shape_of('CREATE TABLE t ("User_ID" BIGINT, Name VARCHAR(20), PRIMARY KEY (Name, "User_ID"))')
    assert list(shape.columns) == ["user_id", "name"]
    assert shape.columns["user_id"].name == "User_ID"
    assert shape.primary_key == ("name", "user_id")
    assert shape.integer_primary_key is None and not shape.self_numbering


@pytest.mark.parametrize(
    ("columns", "numbers_itself", "takes_ids"),
    [
        ("id INTEGER PRIMARY KEY", True, True),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", True, True),
        ("id integer, x, PRIMARY KEY (id)", True, True),
        ("id INT PRIMARY KEY", False, True),
        ("id BIGINT NOT NULL PRIMARY KEY", False, True),
        ("id INTEGER PRIMARY KEY) WITHOUT  ROWID --", False, True),
        ("id TEXT PRIMARY KEY", False, False),
        ("id INTEGER, x, PRIMARY KEY (id, x)", False, False),
        ("id INTEGER", False, False),
    ],
)
def test_a_table_numbers_itself_only_by_the_rowid(columns: str, numbers_itself: bool, takes_ids: bool) -> None:
    shape = shape_of(f"CREATE TABLE t ({columns}\n)" if "--" not in columns else f"CREATE TABLE t ({columns}")
    assert shape.self_numbering is numbers_itself
    assert (shape.integer_primary_key == "id") is takes_ids


@pytest.mark.parametrize(
    "created",
    [
        "CREATE TABLE t (k TEXT COLLATE NOCASE)",
        "CREATE TABLE t (a, k TEXT NOT NULL COLLATE nocase DEFAULT 'x' CHECK (k <> ''), b)",
        'CREATE TABLE "t" ("k" TEXT COLLATE "NOCASE" REFERENCES x(y) ON DELETE CASCADE)',
        "CREATE TABLE t (k VARCHAR(20) PRIMARY KEY COLLATE NOCASE, FOREIGN KEY (k) REFERENCES y) WITHOUT ROWID, STRICT",
        "CREATE TABLE t (k TEXT UNIQUE ON CONFLICT IGNORE COLLATE NOCASE, m UNSIGNED BIG INT)",
        "CREATE TABLE t (k TEXT CONSTRAINT c COLLATE 'NOCASE', PRIMARY KEY (k COLLATE RTRIM) ON CONFLICT REPLACE)",
    ],
)
def test_a_declared_collation_is_seen_however_it_is_written(created: str) -> None:
    if "STRICT" in created:
        created = created.replace("VARCHAR(20)", "TEXT")
    assert shape_of(created).columns["k"].collation == "NOCASE"


@pytest.mark.parametrize(
    "created",
    [
        "CREATE TABLE t (k TEXT)",
        "CREATE TABLE t (k TEXT COLLATE BINARY)",
        "CREATE TABLE t (k TEXT, j TEXT COLLATE NOCASE)",
        "CREATE TABLE t (k TEXT /* COLLATE NOCASE */ CHECK (k COLLATE NOCASE <> ''), UNIQUE (k COLLATE RTRIM))",
    ],
)
def test_another_collation_nearby_is_not_the_columns(created: str) -> None:
    assert shape_of(created).columns["k"].collation == "BINARY"


def test_a_column_with_a_value_of_its_own_is_marked() -> None:
    shape = shape_of(
        "CREATE TABLE t (a TEXT, b TEXT DEFAULT 'x', c TEXT DEFAULT NULL, d TEXT AS (lower(a)), e TEXT AS (a) STORED)"
    )
    assert {name for name, column in shape.columns.items() if column.filled} == {"b", "d", "e"}


def test_indexes_are_listed_with_what_they_compare() -> None:
    shape = shape_of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, UNIQUE (b, a))",
        "t",
        "CREATE INDEX plain ON t (a COLLATE NOCASE)",
        "CREATE UNIQUE INDEX folded ON t (a COLLATE NOCASE)",
        "CREATE UNIQUE INDEX lowered ON t (lower(a), b)",
    )
    found = {index.name: index for index in shape.indexes}
    assert found["PRIMARY KEY"] == Index("PRIMARY KEY", ("id",), unique=True)
    assert found["sqlite_autoindex_t_1"].columns == ("b", "a")
    assert found["plain"] == Index("plain", ("a",), unique=False)
    # A unique index by another collation is not the uniqueness that reservations keep.
    assert found["folded"].columns == ("",)
    assert found["lowered"].columns == ("", "b")


def test_a_table_that_is_not_there_has_no_shape() -> None:
    connection = sqlite3.connect(":memory:")
    steps = read_sqlite_shape("shard", "t")
    assert driven(steps, lambda sent: connection.execute(sent.sql, sent.params).fetchall()) is None
    connection.close()
