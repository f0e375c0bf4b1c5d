"""One plain database and three shards are asked the same; they never answer differently. Edge.

Refusing is not a way to pass: what is refused is counted by shape, and supported shapes are never refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tenfold.errors import ConstraintError, RoutingError
from tests.sharding.pairs import TABLES, Pair, pair_in, seed
from tests.sharding.wild import statements
from tests.sharding.worlds import STATEMENTS, Ask, DepositId, Rows, rows

# The largest share of a shape that may be refused; nothing of the others. A condition made up at random may
# name two keys, or one that the column cannot hold, and a write by it may need several shards.
MAY_BE_REFUSED = {"scatter": 0.1, "write by any condition": 0.8}
ORACLE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair whose rows every example replaces."""
    with pair_in(tmp_path_factory.mktemp("oracle")) as found:
        yield found


def fill(pair: Pair, world: Rows) -> None:
    """Replace all rows: through Tenfold, and then what it stored into the plain database."""
    pair.empty()
    names = {"deposits": "(user_id, amount, currency, note)"}
    for table, found in world.items():
        if found:
            marks = ", ".join("?" * len(found[0]))
            pair.many.executemany(f"INSERT INTO {table} {names.get(table, '')} VALUES ({marks})", found)
    for table in TABLES:
        pair.copy_to_one(table)
        assert len(list(pair.contents(table).elements())) == len(world.get(table, []))


def resolved(pair: Pair, params: tuple[Any, ...]) -> tuple[Any, ...]:
    """Parameters with the ids of deposits that are there; 5 is no id of Tenfold's."""
    ids = [row[0] for row in pair.one.execute("SELECT id FROM deposits ORDER BY user_id, id")]

    def real(item: Any) -> Any:
        return item if not isinstance(item, DepositId) else ids[item.nth % len(ids)] if ids else None

    return tuple(real(item) for item in params)


def ask(pair: Pair, asked: Ask) -> None:
    """Put one statement to both, and see that all tables are alike after it."""
    if any(
        item is None and isinstance(asked.params[place], DepositId)
        for place, item in enumerate(resolved(pair, asked.params))
    ):
        return  # there is no deposit
    if asked.rows is not None:
        ask_many_rows(pair, asked)
    elif asked.draws:
        ask_drawing(pair, asked, asked.draws)
    else:
        pair.compare(asked.sql, resolved(pair, asked.params), asked.shape)
    for table in TABLES:
        assert pair.alike(table), f"{table} differs after {asked}"


def ask_many_rows(pair: Pair, asked: Ask) -> None:
    assert asked.rows is not None
    found = [params for row in asked.rows if None not in (params := resolved(pair, row))[:1]]
    if not found:
        return
    pair.asked[asked.shape] += 1
    assert pair.many.executemany(asked.sql, found).rowcount == pair.one.executemany(asked.sql, found).rowcount, asked


def ask_drawing(pair: Pair, asked: Ask, table: str) -> None:
    """An INSERT whose ids Tenfold draws: the plain database runs it as it is, and then is given the ids."""
    pair.asked[asked.shape] += 1
    before = pair.contents(table)
    highest = pair.one.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
    expected = pair.ask_one(asked.sql, asked.params)
    try:
        result = pair.many.execute(asked.sql, asked.params)
    except ConstraintError:
        assert expected is ConstraintError, asked
        pair.failed[asked.shape] += 1
        return
    assert not isinstance(expected, type) and result.rowcount == expected.rowcount, (asked, expected)
    new = list((pair.contents(table) - before).elements())
    one = pair.one.execute(f"SELECT * FROM {table} WHERE rowid > ?", (highest,)).fetchall()
    assert Counter(row[1:] for row in new) == Counter(row[1:] for row in one), asked
    assert len({row[0] for row in new}) == len(new) and result.lastrowid in {row[0] for row in new}
    assert result.lastrowid == max(row[0] for row in new)
    found = pair.many.execute(f"SELECT * FROM {table} WHERE id = ?", (result.lastrowid,))
    assert [tuple(row) for row in found] == [row for row in new if row[0] == result.lastrowid]
    pair.one.execute(f"DELETE FROM {table} WHERE rowid > ?", (highest,))
    for row in new:
        pair.one.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def report(pair: Pair, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print, for each shape, how many statements there were and what became of them."""
    with capsys.disabled():
        print(f"\n{what}")
        for shape, count in sorted(pair.asked.items()):
            refused, failed = pair.refused[shape], pair.failed[shape]
            print(f"  {shape:24} {count:5} asked, {refused / count:4.0%} refused, {failed} failed on both")


def test_shards_answer_as_one_database_whatever_was_asked_before(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(ORACLE, max_examples=60)
    @given(rows(), st.lists(STATEMENTS, min_size=20, max_size=40))
    def both_are_asked(world: Rows, asked: list[Ask]) -> None:
        fill(pair, world)
        for each in asked:
            ask(pair, each)

    both_are_asked()
    report(pair, "oracle, supported shapes:", capsys)
    for shape, count in pair.asked.items():
        assert pair.refused[shape] <= MAY_BE_REFUSED.get(shape, 0) * count, shape
    assert sum(pair.asked.values()) > 500 and len(pair.asked) >= 18


def test_what_is_not_supported_is_refused_and_never_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pair_in(tmp_path) as pair:
        seed(pair)

        @settings(ORACLE, max_examples=700)
        @given(statements())
        def both_are_asked(sql: str) -> None:
            shape = (
                "sub-queries, unions" if sql.count("SELECT") > 1 else "joins" if "JOIN" in sql else "one or two tables"
            )
            pair.compare(sql, (), shape)

        both_are_asked()
        report(pair, "oracle, random SELECTs:", capsys)
        answered = sum(pair.asked.values()) - sum(pair.refused.values()) - sum(pair.failed.values())
        # If nearly nothing is answered, nothing is compared.
        assert answered > 50


def test_a_transaction_leaves_what_one_database_would(pair: Pair) -> None:
    @settings(ORACLE, max_examples=15)
    @given(rows(), st.integers(1, 9), st.lists(st.sampled_from(["a@x", "b@x", "c@x"]), max_size=4), st.booleans())
    def both_are_asked(world: Rows, key: int, emails: list[str], kept: bool) -> None:
        fill(pair, world)
        pair.one.execute("BEGIN")
        try:
            with pair.many.transaction() as tx:
                for email in emails:
                    for sql, params in (
                        ("UPDATE users SET email = ? WHERE id = ?", (email, key)),
                        ("INSERT INTO notes VALUES (?, ?)", (key, email)),
                        ("DELETE FROM user_meta WHERE user_id = ?", (key,)),
                    ):
                        try:
                            said: object = tx.execute(sql, params).rowcount
                        except RoutingError:
                            continue  # a value that this transaction has freed is claimed in another
                        except ConstraintError as error:
                            said = type(error)
                        expected = pair.ask_one(sql, params)
                        assert said == (expected if isinstance(expected, type) else expected.rowcount)
                if not kept:
                    raise InterruptedError
        except InterruptedError:
            pass
        pair.one.execute("COMMIT" if kept else "ROLLBACK")
        for table in TABLES:
            assert pair.alike(table), table

    both_are_asked()
