"""The DDL of both engines and the platform file tell the same story. Edge."""

from __future__ import annotations

import tomllib
from functools import cache

import sqlglot
from sqlglot import exp

from tenfold.demo.ledger.setup import statements
from tests.demo.platform import SHIPPED

Tables = dict[str, exp.Create]


@cache
def tables(engine: str) -> Tables:
    parsed = [sqlglot.parse_one(text, dialect=engine) for text in statements(engine)]
    return {tree.this.this.name: tree for tree in parsed if isinstance(tree, exp.Create) and tree.kind == "TABLE"}


def columns(table: exp.Create) -> list[str]:
    return [column.name for column in table.find_all(exp.ColumnDef)]


def first_columns_of_indexes(engine: str, name: str) -> set[str]:
    """The first column of each index of the table, in whatever way it is declared."""
    table = tables(engine)[name]
    found = {column.name for column in table.find_all(exp.ColumnDef) if column.find(exp.PrimaryKeyColumnConstraint)}
    for key in table.find_all(exp.PrimaryKey, exp.IndexColumnConstraint, exp.UniqueColumnConstraint):
        names = [identifier.name for identifier in key.find_all(exp.Identifier)]
        found |= set(names) & set(columns(table)) and {next(n for n in names if n in columns(table))}
    for text in statements(engine):
        tree = sqlglot.parse_one(text, dialect=engine)
        if isinstance(tree, exp.Create) and tree.kind == "INDEX" and tree.this.args["table"].name == name:
            found.add(tree.this.args["params"].args["columns"][0].name)
    return found


def declared() -> dict[str, str]:
    """Table → shard key of the group in the shipped file."""
    group = tomllib.loads(SHIPPED.read_text())["database"]["groups"]["user"]
    tables: dict[str, str] = group["tables"]
    return tables


def test_both_engines_have_the_same_tables_and_columns() -> None:
    lite, my = tables("sqlite"), tables("mysql")
    assert {name: columns(table) for name, table in lite.items()} == {name: columns(t) for name, t in my.items()}


def test_the_file_names_every_table_once() -> None:
    database = tomllib.loads(SHIPPED.read_text())["database"]
    pinned = [name for names in database["pinned"].values() for name in names]
    assert sorted([*declared(), *pinned, *database["reference"]["tables"]]) == sorted(tables("sqlite"))


def test_every_table_of_the_group_has_an_index_that_begins_with_its_shard_key() -> None:
    for engine in ("sqlite", "mysql"):
        for table, key in declared().items():
            assert key in first_columns_of_indexes(engine, table), f"{engine}: {table}"


def test_no_table_of_the_group_counts_by_itself() -> None:
    for table in declared():
        assert "AUTO_INCREMENT" not in tables("mysql")[table].sql(dialect="mysql").upper()
        assert "AUTOINCREMENT" not in tables("sqlite")[table].sql(dialect="sqlite").upper()


def test_every_statement_can_run_again() -> None:
    for engine in ("sqlite", "mysql"):
        assert all("IF NOT EXISTS" in text for text in statements(engine))
