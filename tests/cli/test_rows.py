"""Rows are printed so that nothing is lost, and nothing in them can act on the terminal. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tenfold.cli.rows import JsonLines, Printer, Table, Tabs


def printed(printer: Any, columns: Sequence[str], *batches: Sequence[Sequence[Any]]) -> list[str]:
    """printer: takes where to write to."""
    lines: list[str] = []
    made: Printer = printer(lines.append)
    made.head(columns)
    for rows in batches:
        made.rows(rows)
    return lines


def table(columns: Sequence[str], *batches: Sequence[Sequence[Any]], width: int = 100, wide: bool | None = None) -> str:
    lines = printed(lambda write: Table(write, width, wide, lambda text: f"<{text}>"), columns, *batches)
    return "\n".join(lines)


def test_numbers_stand_right_texts_left_and_null_is_no_text() -> None:
    assert table(("id", "name", "n"), [(7, "Ann", 1.5), (1234, None, None), (5, "NULL", 2)]) == (
        "   id | name |    n\n------+------+------\n    7 | Ann  |  1.5\n 1234 | <NULL> | <NULL>\n    5 | NULL |    2"
    )


def test_letters_of_two_columns_keep_the_cells_below_each_other() -> None:
    assert table(("a", "b"), [("日本", "x"), ("ab", "y")]) == " a    | b\n------+---\n 日本 | x\n ab   | y"


def test_what_a_stranger_stored_cannot_reach_the_terminal() -> None:
    shown = table(("a",), [("\x1b]0;owned\x07",), ("two\nlines\ttab",)])
    assert "\x1b" not in shown and "\\x1b]0;owned\\x07" in shown and "two\\nlines\\ttab" in shown
    assert "x'00ff'" in table(("a",), [(b"\x00\xff",)])


def test_no_rows_have_their_heading_once() -> None:
    assert table(("id", "name"), []) == " id | name\n----+------"
    assert table(("id",), [(1,)], [(2,)]).count("id") == 1


def test_a_row_that_does_not_fit_is_a_list_of_its_columns() -> None:
    assert table(("id", "text"), [(1, "x" * 30), (2, None)], width=30) == (
        f"-[ row 1 ]----\nid   | 1\ntext | {'x' * 30}\n-[ row 2 ]----\nid   | 2\ntext | NULL"
    ).replace("-[ row 1 ]----", "-[ row 1 ]".ljust(16, "-")).replace("-[ row 2 ]----", "-[ row 2 ]".ljust(16, "-"))
    assert table(("id", "text"), [(1, "x" * 30)], width=30, wide=False).startswith(" id | text")
    assert table(("id",), [(1,)], wide=True).startswith("-[ row 1 ]")


def test_json_holds_every_value_as_it_is() -> None:
    columns = ("big", "small", "big", "price", "day", "raw", "none", "inf", "yes", "span")
    row = (
        2**53 + 1, 2**53, -(2**60), Decimal("1.10"), datetime.fromisoformat("2024-01-02T03:04:05"), b"a\x00", None,
        math.inf, True, timedelta(hours=1),
    )  # fmt: skip
    (line,) = printed(JsonLines, columns, [row])
    assert json.loads(line) == {
        "big": "9007199254740993", "small": 9007199254740992, "big_2": "-1152921504606846976", "price": "1.10",
        "day": "2024-01-02T03:04:05", "raw": "0x6100", "none": None, "inf": "inf", "yes": True, "span": "1:00:00",
    }  # fmt: skip


def test_tabs_are_read_back_as_they_were() -> None:
    rows = [("a\tb\\c\nd", None, "\\N"), (date(2024, 1, 2), b"\xff", 1)]
    assert printed(Tabs, ("x", "y", "z"), rows) == ["x\ty\tz", "a\\tb\\\\c\\nd\t\\N\t\\\\N", "2024-01-02\t0xff\t1"]
