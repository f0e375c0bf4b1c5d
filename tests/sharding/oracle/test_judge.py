"""The judge lets every permitted answer pass and no other; the list of shapes says what is asked. Edge."""

from __future__ import annotations

import tomllib
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.sharding.oracle.asks import Ask
from tests.sharding.oracle.data import world_of
from tests.sharding.oracle.draw import CORE, Draw
from tests.sharding.oracle.judge import Answer, Row, complaint
from tests.sharding.oracle.run import PARTS, statements_of
from tests.sharding.oracle.shapes import ALL, BY_NAME
from tests.sharding.oracle.tally import Tally

LISTED = tomllib.loads((Path(__file__).parent / "core.toml").read_text())["shape"]
# Two orders: (value, rank); a and b tie.
IT_S = "it's"
RANKED: list[Row] = [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("d", 3)]


def judged(rows: list[Row], whole: list[Row], **of: Any) -> bool:
    """Whether an answer of these rows passes."""
    expected = Answer(("x",), rows, len(rows))
    return not complaint(Ask("SELECT", **of), expected, whole, expected, str.lower)


def letters(text: str) -> list[Row]:
    return [(letter,) for letter in text]


@pytest.mark.parametrize("order", ["abcdd", "bacdd"])
def test_rows_that_tie_may_come_in_any_order(order: str) -> None:
    assert judged(letters(order), RANKED, ranks=True)


@pytest.mark.parametrize("order", ["acbdd", "abdcd", "abcd", "abcddd", "abcde", "aacdd", "ddcab"])
def test_other_orders_and_other_rows_are_caught(order: str) -> None:
    assert not judged(letters(order), RANKED, ranks=True)


@pytest.mark.parametrize(
    ("limit", "right", "wrong"),
    [((1, 0), ["a", "b"], ["c", "d", ""]), ((1, 1), ["a", "b"], ["c"]), ((2, 1), ["ac", "bc"], ["ab", "ca", "cd", "a"]),
     ((2, 3), ["dd"], ["cd", "d"]), ((9, 4), ["d"], ["", "c"]), ((0, 0), [""], ["a"]), ((3, 9), [""], ["a"])],
)  # fmt: skip
def test_a_limit_may_choose_among_ties_only(limit: tuple[int, int], right: list[str], wrong: list[str]) -> None:
    assert all(judged(letters(rows), RANKED, ranks=True, limit=limit) for rows in right)
    assert not any(judged(letters(rows), RANKED, ranks=True, limit=limit) for rows in wrong)


def test_without_an_order_a_limit_may_choose_any_rows_but_none_twice() -> None:
    assert judged(letters("cb"), letters("abc"), limit=(2, 1))
    assert not judged(letters("cc"), letters("abc"), limit=(2, 0))
    assert not judged(letters("c"), letters("abc"), limit=(2, 0))


@pytest.mark.parametrize(
    ("mine", "its"),
    [(1, 1.0), (1, True), ("1", 1), (b"a", "a"), (None, 0), (Decimal("1.0"), Decimal("1.00")), (Decimal(1), 1)],
)
def test_equal_values_of_another_type_are_caught(mine: Any, its: Any) -> None:
    assert not judged([(mine,)], [(its,)])
    assert judged([(mine,)], [(mine,)])


def test_floats_agree_to_twelve_digits() -> None:
    assert judged([(0.1 + 0.2,), (1e300,)], [(0.3,), (1e300 * (1 + 1e-13),)])
    assert not judged([(0.3 * (1 + 1e-11),)], [(0.3,)])


def test_of_texts_that_are_one_to_the_collation_any_may_stand_for_them_where_the_shape_says_so() -> None:
    assert judged([("Ann", 2)], [("ann", 2)], loose={0: "fold"})
    assert not judged([("Ann", 2)], [("ann", 2)]) and not judged([("Ann", 2)], [("ann", 3)], loose={0: "fold"})
    assert judged([("1;2",)], [("2;1",)], loose={0: "bag"}) and not judged([("1;3",)], [("2;1",)], loose={0: "bag"})


def test_columns_and_rowcount_are_compared() -> None:
    expected = Answer(("x",), [(1,)], 1)
    for got in (Answer(("y",), [(1,)], 1), Answer(("x",), [(1,)], 2), Answer(("x", "x"), [(1,)], 1)):
        assert complaint(Ask("SELECT"), expected, expected.rows, got, str)


def test_the_list_names_every_shape_and_the_core_is_as_large_as_promised() -> None:
    assert [shape["name"] for shape in LISTED] == [shape.name for shape in ALL]
    assert [shape.get("part", "") for shape in LISTED] == [shape.part for shape in ALL]
    assert [tuple(shape.get("engines", ("sqlite", "mysql"))) for shape in LISTED] == [shape.engines for shape in ALL]
    assert len(BY_NAME) == len(ALL) >= 64
    assert Counter(shape.part for shape in ALL if shape.part) == CORE and sum(CORE.values()) == 40


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_every_shape_is_drawn_equally_often(engine: str) -> None:
    world = world_of(Random(1), engine)
    # Some are asked again, with other values.
    asked = [(number, ask.shape) for number in range(2 * PARTS) for ask in statements_of("s", number, engine, world)]
    drawn = Counter(shape for _, shape in set(asked))
    assert set(drawn.values()) == {2} and len(drawn) >= 64
    assert len(drawn) * 2 * 1.1 < len(asked) < len(drawn) * 2 * 1.5


def test_what_is_asked_again_has_the_same_text_and_other_values() -> None:
    world = world_of(Random(2), "sqlite")
    asked = [ask for number in range(9) for ask in statements_of("s", number, "sqlite", world)]
    pairs = [(one, two) for one, two in pairwise(asked) if one.shape == two.shape]
    same = [(one, two) for one, two in pairs if one.sql == two.sql]
    assert len(same) > 0.9 * len(pairs) > 50
    assert sum(one.values != two.values for one, two in same) > 30


def test_a_statement_is_the_same_for_the_same_seed() -> None:
    first, again = (statements_of("s", 4, "mysql", world_of(Random(9), "mysql")) for _ in range(2))
    assert first == again != statements_of("t", 4, "mysql", world_of(Random(9), "mysql"))


def test_values_are_written_in_every_style() -> None:
    draw = Draw(Random(1), "mysql", {}, Random(2))
    ask = draw.say(f"SELECT {draw.v(1, literal=False)}, {draw.v(IT_S, literal=True)}, {draw.v(None, literal=False)}")
    assert ask.placed("mysql", "?") == ("SELECT ?, 'it''s', ?", (1, None))
    assert ask.placed("mysql", "%s") == ("SELECT %s, 'it''s', %s", (1, None))
    assert ask.placed("mysql", ":name") == ("SELECT :p0, 'it''s', :p2", {"p0": 1, "p2": None})
    assert ask.placed("mysql", "") == ("SELECT 1, 'it''s', NULL", ())


def test_a_refused_core_shape_is_told_from_another() -> None:
    tally = Tally()
    tally.refused["point read"] += 1
    tally.refused["CTE"] += 1
    assert tally.core_refused() == {"point read": 1}
