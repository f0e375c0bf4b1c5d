"""Three MariaDB servers answer as one does. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mariadb import Server, fresh_databases
from tests.sharding.oracle.beside import ask_after_changes_of_the_schema, ask_at_once, ask_large, ask_made_up
from tests.sharding.oracle.sides import Pair, pair_on
from tests.sharding.oracle.soak import ENGINES, SEED, ask_again, cases_for, soak

pytestmark = pytest.mark.skipif(ENGINES == "sqlite", reason="ENGINE=sqlite")


@pytest.fixture(scope="module")
def pair(three_servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A plain database and three shards, each of them on another server."""
    with (
        fresh_databases(three_servers, 4) as urls,
        pair_on("mysql", tmp_path_factory.mktemp("oracle"), urls) as found,
    ):
        yield found


@pytest.mark.parametrize("file", cases_for("mysql"), ids=lambda file: file.stem)
def test_what_was_once_answered_wrongly_is_answered_rightly(pair: Pair, file: Path) -> None:
    ask_again(pair, file)


def test_three_mariadb_shards_answer_as_one_database(
    pair: Pair, record_property: Callable[[str, object], None]
) -> None:
    soak(pair, record_property)


def test_selects_made_up_at_random_are_never_answered_wrongly(pair: Pair) -> None:
    ask_made_up(pair, SEED, worlds=15)


def test_tables_of_many_rows_are_answered_as_small_ones(pair: Pair) -> None:
    ask_large(pair, SEED)


def test_readers_side_by_side_get_each_their_own_answer(pair: Pair) -> None:
    ask_at_once(pair, SEED, worlds=3)


def test_a_changed_schema_is_seen_by_the_next_statement(pair: Pair) -> None:
    ask_after_changes_of_the_schema(pair)
