"""The text of an INSERT is cut at its rows, whatever stands in and between them. Pure."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.sharding.dialects import MYSQL, SQLITE, Dialect
from tenfold.sharding.rowcuts import RowCuts, cut
from tenfold.sharding.statement import parse


def cut_of(sql: str, rows: int, added: str | None = None, dialect: Dialect = SQLITE) -> tuple[str, object, RowCuts]:
    """`cut` of a statement that can be cut."""
    text, slots, cuts = cut(parse(sql, dialect), rows, added)
    assert cuts is not None
    return text, slots, cuts


def test_rows_keep_what_the_caller_wrote_in_them() -> None:
    sql = (
        "INSERT INTO t (a, b) VALUES (1, '), ('), -- ), (\n ( ? , f(?, (2)) )  ,(\")\", /* ( */ x'00')"
        " ON CONFLICT (a) DO NOTHING"
    )
    _, _, cuts = cut_of(sql, 3)
    assert cuts.rows == ("(1, '), (')", "( ? , f(?, (2)) )", "(\")\", /* ( */ x'00')")
    assert cuts.only([1]) == "INSERT INTO t (a, b) VALUES ( ? , f(?, (2)) ) ON CONFLICT (a) DO NOTHING"
    assert cuts.slots([1]) == [0, 1] and cuts.slots([0, 2]) == []


def test_each_row_takes_its_own_parameters_and_those_of_the_tail() -> None:
    sql = "INSERT INTO t (a, b) VALUES (?, ?), (1, ?), (?, 2) ON CONFLICT (a) DO UPDATE SET b = ? RETURNING ?"
    _, _, cuts = cut_of(sql, 3)
    assert cuts.slots([0, 1, 2]) == [0, 1, 2, 3, 4, 5]
    assert cuts.slots([1]) == [2, 4, 5] and cuts.slots([0, 2]) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(
    ("sql", "sent", "slots"),
    [
        ("INSERT INTO t (a) VALUES (?), (2)", 'INSERT INTO t (a, "id") VALUES (?, ?), (2, ?)', (1, 2)),
        ("INSERT INTO t (a) VALUES (:a), (:b)", 'INSERT INTO t (a, "id") VALUES (:a, :tf_id_0), (:b, :tf_id_1)', ()),
        ("insert into t(a)values(1);", 'insert into t(a, "id")values(1, ?);', (0,)),
    ],
)
def test_an_id_is_added_to_the_columns_and_to_each_row(sql: str, sent: str, slots: tuple[int, ...]) -> None:
    text, found, cuts = cut_of(sql, sql.count("(") - 1, '"id"')
    assert text == sent and found == slots
    assert cuts.only(range(len(cuts.rows))).replace(" ", "") == sent.replace(" ", "")


@pytest.mark.parametrize(
    ("sql", "sent", "slots"),
    [
        ("INSERT INTO t () VALUES ()", "INSERT INTO t (`id`) VALUES (?)", (0,)),
        ("INSERT t (a) VALUE (?)", "INSERT t (a, `id`) VALUE (?, ?)", (1,)),
        ("INSERT INTO value (a) VALUES (?)", "INSERT INTO value (a, `id`) VALUES (?, ?)", (1,)),
        ('REPLACE INTO t (a) VALUES ("\\"), (")', 'REPLACE INTO t (a, `id`) VALUES ("\\"), (", ?)', (0,)),
        ("INSERT INTO t SET a = f(?, 1), b = 2", "INSERT INTO t SET a = f(?, 1), b = 2, `id` = ?", (1,)),
        (
            "INSERT INTO t SET a = ? ON DUPLICATE KEY UPDATE a = ?",
            "INSERT INTO t SET a = ?, `id` = ? ON DUPLICATE KEY UPDATE a = ?",
            (1,),
        ),
        (
            "INSERT INTO t (a) VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a), b = (?)",
            "INSERT INTO t (a, `id`) VALUES (?, ?) ON DUPLICATE KEY UPDATE a = VALUES(a), b = (?)",
            (1,),
        ),
    ],
)
def test_what_only_mysql_writes_takes_an_id_too(sql: str, sent: str, slots: tuple[int, ...]) -> None:
    text, found, _ = cut(parse(sql, MYSQL), 1, "`id`")
    assert (text, found) == (sent, slots)


TEXTS = st.sampled_from(["?", "1", "'(?)'", "abs(?)", "(2 + ?)", "NULL", "'it''s'", '")("', "/* , ( */ 3", "-- ?\n 4"])


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_part_of_the_rows_means_just_these_rows(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    sql = "INSERT INTO t (a, b) VALUES " + ",\n".join(f"({a}, {b})" for a, b in rows)
    wanted = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1)))
    values = [f"p{number}" for number in range(parse(sql, SQLITE).positional)]
    _, _, cuts = cut_of(sql, len(rows))
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute('CREATE TABLE t (n INTEGER PRIMARY KEY, a, b, ")(" DEFAULT 0)')
        if any('")("' in item for row in rows for item in row):  # SQLite takes it for a column, and says no
            return
        connection.execute(sql, values)
        whole = connection.execute("SELECT a, b FROM t ORDER BY n").fetchall()
        connection.execute("DELETE FROM t")
        connection.execute(cuts.only(wanted), [values[slot] for slot in cuts.slots(wanted)])
        assert connection.execute("SELECT a, b FROM t ORDER BY n").fetchall() == [whole[row] for row in wanted]
    finally:
        connection.close()
