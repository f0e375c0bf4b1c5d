"""What MariaDB says of a table, and that a key falls where MD5(column) puts it, by a real server. Edge."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any, TypeAlias
from uuid import UUID

import pymysql
import pytest

from tenfold.errors import ShardKeyError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.keys import KeyType, bucket_of, canonical
from tenfold.sharding.layout import Grouped, group_mistakes
from tenfold.sharding.mysqlshapes import mysql_key_type, mysql_kind, weights_query
from tenfold.sharding.schema import read_shape
from tenfold.sharding.shapes import ForeignKey, Index, TableShape
from tests.mariadb import Server
from tests.sharding.plans import driven

Client: TypeAlias = "pymysql.Connection[pymysql.cursors.Cursor]"
ASCII = "CHARACTER SET ascii COLLATE ascii_nopad_bin"
UTF8 = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
SEED = 4096


@pytest.fixture(scope="module")
def mariadb(three_servers: list[Server]) -> Iterator[Client]:
    """A bare connection to an empty database, with the settings that Tenfold pins."""
    server = three_servers[0]
    server.sql("CREATE DATABASE shapes CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    with closing(
        pymysql.connect(
            unix_socket=str(server.socket),
            user="root",
            database="shapes",
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,  # to make a context takes longer than all the rest
            sql_mode="STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
        )
    ) as client:
        yield client
    server.drop("shapes")


def ask(client: Client, sql: str, *params: object) -> list[tuple[Any, ...]]:
    with client.cursor() as cursor:
        cursor.execute(sql, params or None)
        return list(cursor.fetchall())


def shape_of(client: Client, columns: str, table: str = "t", options: str = "") -> TableShape:
    """The shape of a table created so."""
    ask(client, f"DROP TABLE IF EXISTS `{table}`")
    ask(client, f"CREATE TABLE `{table}` ({columns}) {options}")
    found = read(client, table)
    assert found is not None
    return found


def read(client: Client, table: str) -> TableShape | None:
    return driven(
        read_shape("shard_0", table, MYSQL), lambda sent: ask(client, sent.sql.replace("?", "%s"), *sent.params)
    )


# Texts that one collation or another, padding, or a conversion takes for each other.
ALIKE = [
    "bob", "Bob", "BOB", "bob ", "bob  ", " bob", "bób", "bo\u0301b", "bób ", "bob\t", "bob\x00", "bob\x1f", "bob\n",
    "", " ", "42", "042", "42x", "4e1", "ß", "ss", "İ", "i", "🙂", "🙂 ", "日本", "\u200b", "a\u00a0", "'", "\\", "%",
]  # fmt: skip
PLAIN = [text for text in ALIKE if text.isascii()]


def numbers(low: int, high: int) -> list[object]:
    drawn = random.Random(SEED)
    edges: list[object] = [low, low + 1, 0, 1, 42, high - 1, high]
    return edges + [drawn.randint(low, high) for _ in range(60)]


def blobs() -> list[object]:
    drawn = random.Random(SEED)
    return [
        b"",
        b"\0",
        b"a",
        b"a\0",
        b"a ",
        b"A",
        b"\xff\xfe",
        *(drawn.randbytes(drawn.randint(0, 16)) for _ in "x" * 50),
    ]


def words(few: list[str]) -> list[object]:
    drawn = random.Random(SEED)
    letters = "".join(few)
    return [*few, *("".join(drawn.choices(letters, k=drawn.randint(0, 12))) for _ in range(60))]


UUIDS: list[object] = [UUID(int=random.Random(SEED + n).getrandbits(128), version=1 + n % 5) for n in range(40)]
# Type as it is declared → how its keys become bytes, and values of it.
KEYS: dict[str, tuple[KeyType, list[object]]] = {
    "TINYINT": (KeyType.INTEGER, numbers(-(2**7), 2**7 - 1)),
    "SMALLINT UNSIGNED": (KeyType.INTEGER, numbers(0, 2**16 - 1)),
    "MEDIUMINT": (KeyType.INTEGER, numbers(-(2**23), 2**23 - 1)),
    "INT": (KeyType.INTEGER, numbers(-(2**31), 2**31 - 1)),
    "INT UNSIGNED": (KeyType.INTEGER, numbers(0, 2**32 - 1)),
    "BIGINT": (KeyType.INTEGER, numbers(-(2**63), 2**63 - 1)),
    "BIGINT UNSIGNED": (KeyType.UNSIGNED, numbers(0, 2**64 - 1)),
    f"VARCHAR(40) {ASCII}": (KeyType.VARCHAR, words(PLAIN)),
    f"VARCHAR(40) {UTF8}": (KeyType.VARCHAR, words(ALIKE)),
    f"CHAR(40) {ASCII}": (KeyType.CHAR, words(PLAIN)),
    f"CHAR(40) {UTF8}": (KeyType.CHAR, words(ALIKE)),
    "VARBINARY(40)": (KeyType.BINARY, blobs()),
    "UUID": (KeyType.UUID, UUIDS),
}


@pytest.mark.parametrize("declared", KEYS)
def test_a_key_falls_where_the_database_puts_it(mariadb: Client, declared: str) -> None:
    kind, values = KEYS[declared]
    shape = shape_of(mariadb, f"n INT PRIMARY KEY, k {declared} NOT NULL")
    assert shape.columns["k"].key_type is kind and shape.columns["k"].by_bytes
    for number, value in enumerate(values):
        ask(mariadb, "INSERT INTO t VALUES (%s, %s)", number, _sent(value))
    placed = ask(mariadb, "SELECT n, CONV(LEFT(MD5(k), 3), 16, 10), k FROM t ORDER BY n")
    assert [(number, int(bucket)) for number, bucket, _ in placed] == [
        (number, bucket_of(value, kind)) for number, value in enumerate(values)
    ], f"seed {SEED}"
    # And what was read back leads to the same shard.
    assert [bucket_of(found, kind) for _, _, found in placed] == [int(bucket) for _, bucket, _ in placed]


@pytest.mark.parametrize("declared", KEYS)
def test_values_that_are_equal_in_the_database_have_one_bucket(mariadb: Client, declared: str) -> None:
    kind, values = KEYS[declared]
    shape_of(mariadb, f"n INT PRIMARY KEY, k {declared} NOT NULL")
    values = values[:40]
    for number, value in enumerate(values):
        ask(mariadb, "INSERT INTO t VALUES (%s, %s)", number, _sent(value))
    for value in values:
        for (number,) in ask(mariadb, "SELECT n FROM t WHERE k = %s", _sent(value)):
            assert canonical(values[number], kind) == canonical(value, kind)


def _sent(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


@pytest.mark.parametrize("kind", [KeyType.VARCHAR, KeyType.CHAR])
def test_a_number_is_no_key_of_a_text_column_as_it_equals_many(mariadb: Client, kind: KeyType) -> None:
    shape_of(mariadb, f"k {kind.value}(9) {UTF8}")
    ask(mariadb, "INSERT INTO t VALUES ('42'), ('042'), ('42x')")
    assert len(ask(mariadb, "SELECT k FROM t WHERE k = 42")) == 3
    with pytest.raises(ShardKeyError, match="42 of type int is no key for a text column"):
        bucket_of(42, kind)


def test_an_unsigned_key_reaches_beyond_63_bits_and_not_beyond_64() -> None:
    assert canonical("18446744073709551615", KeyType.UNSIGNED) == 2**64 - 1
    assert bucket_of(7, KeyType.UNSIGNED) == bucket_of(7, KeyType.INTEGER)
    for value in (2**64, 2.0**60, "x", True, None):
        with pytest.raises(ShardKeyError):
            canonical(value, KeyType.UNSIGNED)
    with pytest.raises(ShardKeyError):
        canonical(2**63, KeyType.INTEGER)


@pytest.mark.parametrize(
    ("declared", "stored", "asked"),
    [
        ("VARCHAR(9) COLLATE utf8mb4_bin", "bob ", "bob"),
        ("VARCHAR(9) COLLATE utf8mb4_general_ci", "BOB", "bob"),
        ("VARCHAR(9) COLLATE utf8mb4_general_nopad_ci", "BOB", "bob"),
        ("VARCHAR(9) CHARACTER SET ascii COLLATE ascii_bin", "bob ", "bob"),
    ],
)
def test_a_text_whose_equal_values_hash_apart_is_no_key(
    mariadb: Client, declared: str, stored: str, asked: str
) -> None:
    shape = shape_of(mariadb, f"k {declared} NOT NULL DEFAULT 'x', PRIMARY KEY (k)")
    ask(mariadb, "INSERT INTO t VALUES (%s)", stored)
    assert ask(mariadb, "SELECT MD5(k) = MD5(%s) FROM t WHERE k = %s", asked, asked) == [(0,)]
    (mistake,) = group_mistakes(Grouped("t", "g", "k"), shape)
    collation = declared.split()[-1]
    assert f'column "k" has the collation {collation}: values that are equal there would fall' in mistake
    remedy = mistake.partition("; run ")[2].partition(" (on MySQL")[0]
    ask(mariadb, remedy)  # the statement that the mistake gives makes it one, and keeps the rest
    mended = read(mariadb, "t")
    assert mended is not None and group_mistakes(Grouped("t", "g", "k"), mended) == []
    assert not mended.columns["k"].nullable and mended.columns["k"].default == "'x'"


@pytest.mark.parametrize(
    ("declared", "stored"),
    [("BINARY(4)", b"a"), ("INT(5) ZEROFILL", 42), ("VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_nopad_bin", "bób")],
)
def test_a_column_whose_bytes_are_not_those_of_its_value_is_no_key(
    mariadb: Client, declared: str, stored: str | bytes | int
) -> None:
    shape = shape_of(mariadb, f"k {declared} NOT NULL PRIMARY KEY")
    ask(mariadb, "INSERT INTO t VALUES (%s)", stored)
    plain = stored if isinstance(stored, bytes) else str(stored).encode()
    assert ask(mariadb, "SELECT MD5(k) = MD5(%s) FROM t", plain) == [(0,)]
    (mistake,) = group_mistakes(Grouped("t", "g", "k"), shape)
    assert "write it as BIGINT, VARCHAR, VARBINARY or UUID" in mistake or "latin1_nopad_bin" in mistake


@pytest.mark.parametrize(
    ("declared", "kind", "key_type"),
    [
        ("bigint(20) unsigned", "integer", KeyType.UNSIGNED), ("int(11)", "integer", KeyType.INTEGER),
        ("tinyint(1)", "integer", KeyType.INTEGER), ("int(5) unsigned zerofill", "integer", None),
        ("decimal(20,0)", "decimal", None), ("double", "float", None), ("float(7,4)", "float", None),
        ("varchar(20)", "text", KeyType.VARCHAR), ("char(3)", "text", KeyType.CHAR), ("longtext", "text", None),
        ("binary(16)", "binary", None), ("varbinary(16)", "binary", KeyType.BINARY), ("blob", "binary", None),
        ("enum('int','b')", "enum", None), ("set('a')", "set", None), ("uuid", "uuid", KeyType.UUID),
        ("bit(3)", "bit", None), ("year(4)", "year", None), ("date", "date", None), ("time(6)", "time", None),
        ("datetime(3)", "datetime", None), ("timestamp", "datetime", None), ("json", "json", None),
        ("point", "other", None), ("inet6", "other", None),
    ],
)  # fmt: skip
def test_a_type_is_known_by_its_first_word(declared: str, kind: str, key_type: KeyType | None) -> None:
    assert mysql_kind(declared) == kind
    assert mysql_key_type(declared) is key_type


def test_a_table_is_told_with_all_that_its_statements_depend_on(mariadb: Client) -> None:
    shape_of(mariadb, "id BIGINT PRIMARY KEY, code CHAR(3), UNIQUE (code, id)", "parents")
    shape_of(
        mariadb,
        "Id BIGINT AUTO_INCREMENT PRIMARY KEY, `Owner` BIGINT NOT NULL, code CHAR(3), note VARCHAR(20) DEFAULT 'x',"
        " bare VARCHAR(9) NULL DEFAULT NULL, twice BIGINT AS (`Owner` * 2) STORED, at TIMESTAMP NOT NULL DEFAULT NOW(),"
        f" word VARCHAR(9) {UTF8}, body BLOB, KEY (`Owner`, code), UNIQUE (note(3)), UNIQUE named (code, `Owner`),"
        " FOREIGN KEY (code, `Owner`) REFERENCES parents (code, id) ON DELETE CASCADE",
        "Children",
    )  # fmt: skip
    ask(mariadb, "CREATE TRIGGER watch BEFORE UPDATE ON Children FOR EACH ROW SET NEW.note = 'y'")
    shape = read(mariadb, "Children")
    assert shape is not None
    columns = shape.columns
    assert list(columns) == ["id", "owner", "code", "note", "bare", "twice", "at", "word", "body"]
    assert columns["owner"].name == "Owner" and columns["id"].declared == "bigint(20)"
    assert {name for name, column in columns.items() if column.filled} == {"id", "note", "twice", "at"}
    assert {name for name, column in columns.items() if column.generated} == {"twice"}
    assert {name for name, column in columns.items() if not column.nullable} == {"id", "owner", "at"}
    assert (columns["note"].collation, columns["note"].pad_space) == ("utf8mb4_general_ci", True)
    assert (columns["word"].collation, columns["word"].pad_space) == ("utf8mb4_nopad_bin", False)
    assert columns["note"].space_weight == b"\x00\x20" and columns["word"].space_weight == b"\x00\x00\x20"
    assert columns["body"].collation == "" and columns["body"].space_weight == b""
    assert shape.primary_key == ("id",) and shape.self_numbering and shape.integer_primary_key == "id"
    assert shape.storage == "InnoDB" and shape.triggers == ("watch",)
    assert shape.foreign_keys == (ForeignKey(("code", "owner"), "parents", ("code", "id"), "CASCADE", "RESTRICT"),)
    found = {index.name: index for index in shape.indexes}
    assert found["PRIMARY"] == Index("PRIMARY", ("id",), unique=True)
    assert found["Owner"] == Index("Owner", ("owner", "code"), unique=False)
    assert found["named"].columns == ("code", "owner") and found["named"].unique
    # Unique by its first three letters is not unique by its value.
    assert found["note"] == Index("note", ("",), unique=True)
    ask(mariadb, "DROP TABLE Children, parents")


def test_a_table_that_is_not_there_has_no_shape(mariadb: Client) -> None:
    assert read(mariadb, "nowhere") is None
    assert read(mariadb, "' OR 1=1 --") is None


def test_tables_of_other_databases_are_not_seen(mariadb: Client) -> None:
    assert read(mariadb, "global_priv") is None


def test_an_integer_key_too_small_for_ids_is_named_with_the_remedy(mariadb: Client) -> None:
    shape = shape_of(mariadb, "id INT AUTO_INCREMENT PRIMARY KEY, user_id BIGINT NOT NULL")
    (mistake, _) = sorted(group_mistakes(Grouped("t", "g", "user_id"), shape))
    assert mistake.startswith('tenfold.toml: database.groups.g.ids: column "id" of t is int(11), too small for ids')
    ask(mariadb, mistake.partition("; run ")[2])
    mended = read(mariadb, "t")
    assert mended is not None and mended.columns["id"].declared == "bigint(20)"
    assert group_mistakes(Grouped("t", "g", "user_id"), mended) == []


def test_the_advice_speaks_the_words_of_the_engine(mariadb: Client) -> None:
    shape = shape_of(
        mariadb, "id BIGINT PRIMARY KEY, email VARCHAR(90) UNIQUE, age DECIMAL(5,1), note TEXT, UNIQUE (note(9))"
    )
    lines = group_mistakes(Grouped("t", "g", "id", unique=("email", "age")), shape)
    assert len(lines) == 3 and not any("BLOB" in line or "SQLite" in line for line in lines)
    assert (
        "run ALTER TABLE `t` MODIFY `email` varchar(90) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin (on" in lines[0]
    )
    assert "write it as BIGINT, VARBINARY, UUID or VARCHAR" in lines[1]
    assert "UNIQUE (the beginning of a column) lacks the shard key" in lines[2]


def test_a_collation_goes_into_sql_only_as_one_word() -> None:
    with pytest.raises(AssertionError):
        weights_query({"utf8mb4_bin) --": "utf8mb4"})
