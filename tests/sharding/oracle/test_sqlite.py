"""Three SQLite shards answer as one SQLite database does. Edge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.sharding.oracle.beside import ask_after_changes_of_the_schema, ask_at_once, ask_large, ask_made_up
from tests.sharding.oracle.sides import Pair, pair_on
from tests.sharding.oracle.soak import ENGINES, SEED, ask_again, cases_for, soak

pytestmark = pytest.mark.skipif(ENGINES == "mysql", reason="ENGINE=mysql")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A plain file and three shards, in memory where there is such a directory: every write waits for the disk."""
    memory = Path("/dev/shm")
    with (
        TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory,
        pair_on("sqlite", Path(directory)) as found,
    ):
        yield found


@pytest.mark.parametrize("file", cases_for("sqlite"), ids=lambda file: file.stem)
def test_what_was_once_answered_wrongly_is_answered_rightly(pair: Pair, file: Path) -> None:
    ask_again(pair, file)


def test_selects_made_up_at_random_are_never_answered_wrongly(pair: Pair) -> None:
    ask_made_up(pair, SEED, worlds=25)


def test_three_sqlite_shards_answer_as_one_database(pair: Pair, record_property: Callable[[str, object], None]) -> None:
    soak(pair, record_property)


def test_tables_of_many_rows_are_answered_as_small_ones(pair: Pair) -> None:
    ask_large(pair, SEED)


def test_readers_side_by_side_get_each_their_own_answer(pair: Pair) -> None:
    ask_at_once(pair, SEED, worlds=3)


def test_a_changed_schema_is_seen_by_the_next_statement(pair: Pair) -> None:
    ask_after_changes_of_the_schema(pair)
