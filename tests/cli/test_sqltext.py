"""Typed SQL is cut where the engine would cut it. Pure."""

from __future__ import annotations

import pytest

from tenfold.cli.sqltext import Turn, changes, is_blank, is_open, is_secret, reads, split, turn
from tenfold.topology.model import Engine

BOTH = (Engine.SQLITE, Engine.MYSQL)


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize(
    ("text", "ended", "rest"),
    [
        ("SELECT 1; SELECT 2;\n", ["SELECT 1", "SELECT 2"], "\n"),
        ("SELECT 1;\nSELECT", ["SELECT 1"], "\nSELECT"),
        ("SELECT ';', 'it''s;';", ["SELECT ';', 'it''s;'"], ""),
        ('SELECT "a;b", `c;d`;', ['SELECT "a;b", `c;d`'], ""),
        ("SELECT 1 -- one; two\n;", ["SELECT 1 -- one; two"], ""),
        ("SELECT /* ; ' */ 1;", ["SELECT /* ; ' */ 1"], ""),
        ("-- only this;\n;;", [], ""),
        ("SELECT 'open; SELECT 2;", [], "SELECT 'open; SELECT 2;"),
        ("SELECT 1 /* open; ", [], "SELECT 1 /* open; "),
        ("SELECT 3 - 1 / 2;", ["SELECT 3 - 1 / 2"], ""),
    ],
)
def test_a_semicolon_ends_a_statement_unless_it_stands_in_a_text_or_comment(
    engine: Engine, text: str, ended: list[str], rest: str
) -> None:
    assert split(text, engine) == (ended, rest)


def test_the_engines_differ_in_what_a_backslash_a_bracket_and_a_hash_mean() -> None:
    backslash = r"SELECT 'a\'; SELECT 2;'; x"
    assert split(backslash, Engine.MYSQL) == ([r"SELECT 'a\'; SELECT 2;'"], " x")
    assert split(r"SELECT 'a\'; SELECT 2;", Engine.SQLITE) == ([r"SELECT 'a\'", "SELECT 2"], "")
    assert split("SELECT [a;b];", Engine.SQLITE) == (["SELECT [a;b]"], "")
    assert split("SELECT 1 # one;\n;", Engine.MYSQL) == (["SELECT 1 # one;"], "")
    assert split("SELECT 3--1;", Engine.MYSQL) == (["SELECT 3--1"], "")  # minus minus one
    assert split("SELECT 3--1;", Engine.SQLITE) == ([], "SELECT 3--1;")


@pytest.mark.parametrize("engine", BOTH)
def test_an_open_quote_is_told_from_a_statement_without_its_semicolon(engine: Engine) -> None:
    assert is_open("SELECT 'a", engine) and is_open("/* a", engine)
    assert not is_open("SELECT 'a'", engine) and not is_open("-- it's", engine) and not is_open(" \n", engine)
    assert (
        is_blank(" -- a\n/* b */ ", engine) and not is_blank("-- a\nSELECT 1", engine) and not is_blank("/* a", engine)
    )


def test_what_opens_and_ends_a_transaction_is_the_shell_s_own() -> None:
    assert [turn(text) for text in ("begin", "START  TRANSACTION", "BEGIN IMMEDIATE")] == [Turn.BEGIN] * 3
    assert [turn(text) for text in ("COMMIT", "end transaction", "commit work")] == [Turn.COMMIT] * 3
    assert turn("rollback") is Turn.ROLLBACK
    assert turn("ROLLBACK TO here") is turn("SELECT 1") is turn("BEGIN; x") is None


def test_a_statement_is_known_by_its_first_word() -> None:
    assert reads("select 1") and reads("( SELECT 1) UNION SELECT 2") and reads("WITH a AS (SELECT 1) SELECT * FROM a")
    assert not reads("WITH a AS (SELECT 1) DELETE FROM t") and not reads("SELECTED") and not reads("INSERT INTO t")
    assert changes("replace into t") and not changes("CREATE TABLE t (a)")


def test_a_statement_with_a_password_is_not_remembered() -> None:
    assert (
        is_secret("CREATE USER a IDENTIFIED BY 'x'") and is_secret("SET PASSWORD = 'x'") and not is_secret("SELECT 1")
    )
