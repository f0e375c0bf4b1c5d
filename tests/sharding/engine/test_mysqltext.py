"""What MySQL is sent: markers found by its own lexical rules, values that stay values, errors without them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from tenfold.errors import ConstraintError, NodeDown, NodeError, StatementError
from tenfold.sharding.engine.mysqlerrors import translated, without_values
from tenfold.sharding.engine.mysqltext import LONGEST_KEPT, literal, rendered, row_template

WAITS = {"statement": 60.0, "lock": 5.0, "connect": 5.0}


class Colour(StrEnum):
    RED = "r'ed"


class Level(IntEnum):
    HIGH = 3


class Shape(Enum):
    ROUND = ("round",)
    FLAT = 2.5


class Shout(str):
    """A text whose own methods lie."""

    def replace(self, *_: Any) -> str:
        return "' OR 1=1 -- "

    def __str__(self) -> str:
        return "' OR 1=1 -- "


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("SELECT ?", "SELECT 7"),
        ("SELECT '?', \"?\", `?`, ?", "SELECT '?', \"?\", `?`, 7"),
        (r"SELECT 'it\'s ?', ?", r"SELECT 'it\'s ?', 7"),
        (r"SELECT 'back\\', ?", r"SELECT 'back\\', 7"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', 7"),
        ('SELECT "a\\"?", ?', 'SELECT "a\\"?", 7'),
        ("SELECT `a\\`, ?", "SELECT `a\\`, 7"),
        ("SELECT 1 -- ?\n, ?", "SELECT 1 -- ?\n, 7"),
        ("SELECT 1 # ?\n, ?", "SELECT 1 # ?\n, 7"),
        ("SELECT /* ? ' */ ?", "SELECT /* ? ' */ 7"),
        ("SELECT /*! STRAIGHT_JOIN */ ?", "SELECT /*! STRAIGHT_JOIN */ 7"),
        ("SELECT 1--?", "SELECT 1-- 7"),  # no comment: two signs
        ("SELECT ? -- ?", "SELECT 7 -- ?"),
        ("SELECT ? --", "SELECT 7 --"),
        ("SELECT a FROM t LIMIT?", "SELECT a FROM t LIMIT 7"),
        ("SELECT 100 % ?, '%s'", "SELECT 100 % 7, '%s'"),
        ("SELECT :a, ?", "SELECT :a, 7"),
    ],
)
def test_a_marker_is_one_only_where_mysql_would_read_it(sql: str, sent: str) -> None:
    assert rendered(sql, (7,)) == sent


def test_named_markers_are_filled_by_name_and_an_assignment_is_none() -> None:
    sql = "SELECT @x:=:b, ':b', :a, ? -- :a"
    assert rendered(sql, {"a": 1, "b": "x", "unused": 2}) == "SELECT @x:='x', ':b', 1, ? -- :a"


def test_a_negative_number_behind_a_minus_begins_no_comment() -> None:
    assert rendered("SELECT 5-?, 5 -?", (-1, -1)) == "SELECT 5- -1, 5 - -1"


def test_a_value_beside_a_literal_does_not_continue_it() -> None:
    assert rendered("SELECT 'a'?", ("b",)) == "SELECT 'a' 'b'"


def test_a_statement_without_parameters_is_sent_as_it_is() -> None:
    assert rendered("SELECT '", ()) == "SELECT '"
    assert rendered("SELECT ?", {}) == "SELECT ?"


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'a, ?", 'SELECT "a, ?', "SELECT `a, ?", "SELECT /* ?", "SELECT /*! '*/ ? ' */", "SELECT /*!99999 ? */ ?"],
)
def test_parameters_are_not_filled_into_a_text_whose_quotes_and_comments_are_unsure(sql: str) -> None:
    with pytest.raises(StatementError, match="cannot be filled in safely"):
        rendered(sql, ("x",))


@pytest.mark.parametrize("params", [(1,), (1, 2, 3), {"a": 1}])
def test_too_few_and_too_many_parameters_are_refused_before_anything_is_sent(params: Any) -> None:
    sql = "SELECT :a, :b" if isinstance(params, dict) else "SELECT ?, ?"
    with pytest.raises(StatementError) as refused:
        rendered(sql, params)
    assert refused.value.hint


def test_a_text_too_long_to_be_remembered_is_filled_in_all_the_same() -> None:
    sql = f"SELECT '{'x' * LONGEST_KEPT}', ?"
    assert rendered(sql, (1,)) == sql.replace("?", "1")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "NULL"),
        (True, "1"),
        (False, "0"),
        (-42, "-42"),
        (2**64 - 1, "18446744073709551615"),
        (0.1, "0.1e0"),
        (1e300, "1e+300"),
        ("", "''"),
        ("it's", "'it''s'"),
        ("back\\", "'back\\\\'"),
        ("\\' OR 1=1 -- ", "'\\\\'' OR 1=1 -- '"),
        (b"", "_binary X''"),
        (b"\0'\\", "_binary X'00275c'"),
        (bytearray(b"a"), "_binary X'61'"),
        (memoryview(b"a"), "_binary X'61'"),
        (Decimal("-1.50"), "-1.50"),
        (Decimal("1E+3"), "1000"),
        (datetime.fromisoformat("2026-01-02 03:04:05"), "'2026-01-02 03:04:05'"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "'2026-01-02 03:04:05.000006'"),
        (datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))), "'2026-01-01 23:00:00'"),
        (date(7, 1, 2), "'0007-01-02'"),
        (time(1, 2, 3, 4), "'01:02:03.000004'"),
        (timedelta(days=1, seconds=61), "'24:01:01'"),
        (-timedelta(seconds=1, microseconds=5), "'-00:00:01.000005'"),
        (UUID(int=7), "'00000000-0000-0000-0000-000000000007'"),
        (Colour.RED, "'r''ed'"),
        (Level.HIGH, "3"),
        (Shape.FLAT, "2.5e0"),
        (Shout("plain"), "'plain'"),
    ],
)
def test_a_value_is_written_as_mysql_reads_it(value: Any, written: str) -> None:
    assert literal(value) == written


UNWRITABLE = [
    float("nan"), float("inf"), Decimal("NaN"), Decimal("1E+999999"), Decimal("1E-999999"), [1], (1,), {1}, {},
    object(), Shape.ROUND, 10**5000, time(1, tzinfo=UTC), range(3), iter(()),
]  # fmt: skip


@pytest.mark.parametrize("position", range(len(UNWRITABLE)))
def test_a_value_that_no_column_holds_is_refused_without_showing_it(position: int) -> None:
    with pytest.raises(StatementError) as refused:
        literal(UNWRITABLE[position])
    assert refused.value.hint and len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("sql", "rows", "sent"),
    [
        ("INSERT INTO t (a, b) VALUES (?, ?)", [(1, "x"), (2, "y)")], "INSERT INTO t (a, b) VALUES (1, 'x'),(2, 'y)')"),
        ("replace into t value (?, f(?));", [(1, 2)], "replace into t value (1, f(2))"),
        ("INSERT INTO `VALUES (` VALUES (':a', :a)", [{"a": 1}], "INSERT INTO `VALUES (` VALUES (':a', 1)"),
        ("INSERT IGNORE INTO t SELECT 1", [(1,)], None),
        ("INSERT INTO t VALUES (?), (?)", [(1, 2)], None),
        ("INSERT INTO t VALUES (?) RETURNING id", [(1,)], None),
        ("INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = ?", [(1, 2)], None),
        ("INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = a + VALUES(a)", [(1,), (2,)],
         "INSERT INTO t VALUES (1),(2) ON DUPLICATE KEY UPDATE a = a + VALUES(a)"),
        ("INSERT INTO t VALUES (1)", [()], None),
        ("UPDATE t SET a = ? WHERE b IN (?)", [(1, 2)], None),
    ],
)  # fmt: skip
def test_only_an_insert_of_one_row_is_sent_as_one_of_many(sql: str, rows: Sequence[Any], sent: str | None) -> None:
    template = row_template(sql, isinstance(rows[0], dict))
    if sent is None:
        assert template is None
    else:
        assert template is not None
        assert template.head + ",".join(template.written(row) for row in rows) + template.tail == sent


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (1062, "Duplicate entry 'hun'ter2' for key 'users.email'", "Duplicate entry '…' for key 'users.email'"),
        (1366, "Incorrect integer value: 'hunter2' for column `d`.`t`.`n` at row 1",
         "Incorrect integer value: '…' for column `d`.`t`.`n` at row 1"),
        (1366, "Incorrect integer value: 'hunter2' for column 'n' at row 1",
         "Incorrect integer value: '…' for column 'n' at row 1"),
        (1292, "Truncated incorrect DOUBLE value: 'hunter2'", "Truncated incorrect DOUBLE value: '…'"),
        (1064, "You have an error; near 'FRM t WHERE a = 'hun''ter2' AND b = 'hunter2' at line 1",
         "You have an error; near 'FRM t WHERE a = '…' AND b = '…'' at line 1"),
        (1690, "BIGINT value is out of range in '(1 + 'hunter2')'", "BIGINT value is out of range in '…'"),
        (1054, "Unknown column 'usr_id' in 'where clause'", "Unknown column 'usr_id' in 'where clause'"),
        (1146, "Table 'ledger.users' doesn't exist", "Table 'ledger.users' doesn't exist"),
        (9999, "Something 'hunter2' and 'hunter2'", "Something '…'"),
    ],
)  # fmt: skip
def test_the_servers_words_are_kept_and_values_of_rows_are_not(code: int, said: str, told: str) -> None:
    assert without_values(code, said) == told


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [(1062, ConstraintError, False), (1452, ConstraintError, False), (1213, NodeError, True), (1205, NodeError, True),
     (1969, NodeError, True), (3024, NodeError, True), (1045, NodeError, False), (1142, NodeError, False),
     (1049, NodeError, False), (1040, NodeDown, True), (1203, NodeDown, True), (2006, NodeDown, True),
     (1927, NodeDown, True), (1114, NodeDown, True), (1836, NodeDown, True), (2026, NodeError, False),
     (1064, StatementError, False), (1146, StatementError, False)],
)  # fmt: skip
def test_each_error_says_whether_waiting_helps(code: int, kind: type, retryable: bool) -> None:
    error = translated("shard_0", code, "the server is read-only; error 28", WAITS)
    assert type(error) is kind and error.retryable is retryable and error.hint
