"""Texts that differ in their literals share one plan, and never one another's values. Edge."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tenfold.sharding.plancache import Kept, Normal, Own, normal
from tenfold.topology.model import Engine

SQLITE, MYSQL = Engine.SQLITE, Engine.MYSQL


@pytest.mark.parametrize("engine", [SQLITE, MYSQL])
def test_literals_and_parameters_keep_their_places(engine: Engine) -> None:
    found = normal("SELECT a1, 'n' FROM t WHERE id = 42 AND b = ? AND c = 'it''s' ORDER BY 2 LIMIT 3 -- 7", engine)
    assert found == Normal(
        "SELECT a1, 'n' FROM t WHERE id = ? AND b = ? AND c = ? ORDER BY 2 LIMIT 3 -- 7", (42, Own(0), "it's"), 1
    )
    assert found.params(["x"]) == [42, "x", "it's"]
    assert found.params([]) is None and found.params({"a": 1}) is None


def test_a_decimal_stays_exact_on_mysql_and_is_a_float_on_sqlite() -> None:
    for engine, value in ((MYSQL, Decimal("1.10")), (SQLITE, 1.1)):
        found = normal("SELECT a FROM t WHERE d = 1.10", engine)
        assert found is not None and found.values == (value,) and type(found.values[0]) is type(value)


@pytest.mark.parametrize(
    ("sql", "engine"),
    [
        ("SELECT 1 WHERE a = :name AND b = 5", SQLITE),  # which of the names is meant cannot be told by place
        ("SELECT a FROM t WHERE b = x'00' AND c = 5", SQLITE),
        ("SELECT a FROM t WHERE b = _utf8mb4'a' AND c = 5", MYSQL),
        (r"SELECT 'a\'b', 5", MYSQL),
        ("SELECT a FROM t WHERE b = 5 % 3", SQLITE),
        ("SELECT a FROM t WHERE b = '100%%' AND c = %s", MYSQL),
        ("SELECT a FROM t WHERE CAST(a AS CHAR(5)) = 5", SQLITE),
        ("SELECT a FROM t WHERE a IN (SELECT 5 FROM u WHERE b = 5)", SQLITE),
        ("SELECT count(*) FILTER (WHERE a > 5) FROM t", SQLITE),
        ("SELECT a FROM t", SQLITE),
    ],
)
def test_what_might_be_read_wrongly_is_planned_by_itself(sql: str, engine: Engine) -> None:
    assert normal(sql, engine) is None


@pytest.mark.parametrize("engine", [SQLITE, MYSQL])
@pytest.mark.parametrize("end", ["b5", "t.b5", "_9", "5e", "b.5", "`b5`", "x FROM5"])
def test_a_digit_in_a_name_is_no_literal(engine: Engine, end: str) -> None:
    found = normal(f"SELECT a FROM t WHERE c = 7 AND a = {end}", engine)
    assert found is None or found == Normal(f"SELECT a FROM t WHERE c = ? AND a = {end}", (7,))


def test_double_quotes_are_names_on_sqlite_and_text_on_mysql() -> None:
    assert normal('SELECT a FROM t WHERE "5" = 5', SQLITE) == Normal('SELECT a FROM t WHERE "5" = ?', (5,))
    assert normal('SELECT a FROM t WHERE "5" = 5', MYSQL) == Normal("SELECT a FROM t WHERE ? = ?", ("5", 5))


def test_the_oldest_plan_goes_when_there_are_too_many() -> None:
    kept: Kept[str, int] = Kept(2)
    for number, name in enumerate("abc"):
        kept.put(name, number)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, 1, 2)
