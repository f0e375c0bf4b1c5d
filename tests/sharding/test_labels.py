"""A statement is called by its kind and its first table, and no value of it gets into the metrics. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.sharding.labels import labels


@pytest.mark.parametrize(
    ("sql", "kind", "table"),
    [
        ("SELECT id FROM users WHERE id = ?", "select", "users"),
        ("select * from main.Users u join x on 1", "select", "users"),
        ('SELECT 1 FROM "user ""meta"', "select", 'user ""meta'),
        ("SELECT 1 FROM `orders`", "select", "orders"),
        ("SELECT 1 FROM [orders]", "select", "orders"),
        ("SELECT 1", "select", ""),
        ("SELECT count(*) FROM (SELECT 1 FROM deep)", "select", "deep"),
        ("WITH a AS (SELECT * FROM deposits) SELECT * FROM a", "select", "deposits"),
        ("WITH a AS (SELECT 1 FROM x) INSERT INTO t SELECT * FROM a", "insert", "t"),
        ("INSERT OR IGNORE INTO tf_reservation (a) VALUES (1)", "insert", "tf_reservation"),
        ("REPLACE INTO t VALUES (1)", "insert", "t"),
        ("UPDATE OR ROLLBACK users SET a = 1", "update", "users"),
        ("DELETE FROM sessions", "delete", "sessions"),
        ("CREATE TABLE IF NOT EXISTS foo (a)", "ddl", "foo"),
        ("CREATE UNIQUE INDEX i ON foo (a)", "ddl", "foo"),
        ("SAVEPOINT tf_write", "other", ""),
        ("ROLLBACK TO tf_write", "other", ""),
        ("", "other", ""),
        ("-- from evil\nSELECT 1 FROM /* from no */ users", "select", "users"),
        ("SELECT 'a from secret' FROM users", "select", "users"),
        ("SELECT 'it''s from secret', x FROM users", "select", "users"),
        ("UPDATE users SET a = 'from secret'", "update", "users"),
        ("INSERT INTO users (a) VALUES ('into secret')", "insert", "users"),
        ("SELECT 'never closed from secret", "select", ""),
        ("SELECT 1 FROM users" + " " * 10_000, "select", "users"),
    ],
)
def test_a_statement_has_the_name_of_what_it_does(sql: str, kind: str, table: str) -> None:
    assert labels(sql) == (kind, table)


@given(value=st.text(), sql=st.sampled_from(["SELECT {} FROM users", "UPDATE users SET a = {}", "SELECT {}, a"]))
def test_no_text_of_a_literal_becomes_a_name(value: str, sql: str) -> None:
    literal = "'" + value.replace("'", "''") + "'"
    assert labels(sql.format(literal)) == labels(sql.format("0"))
