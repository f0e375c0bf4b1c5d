"""Statements that a shard alone would answer wrongly are answered as by one database, or refused. Edge.

Each trap was looked for with one question: what would a shard answer, that one database would not?
"""

from __future__ import annotations

import pytest

from tenfold.errors import RoutingError, StatementError, TenfoldError
from tenfold.sharding.ports import Params
from tests.sharding.pairs import TABLES, Pair

# Names that mean something else to SQLite than to a reader.
NAMES = [
    # x is the derived table, not the user outside
    "SELECT id FROM users x WHERE x.id = 1 AND EXISTS (SELECT 1 FROM (SELECT 5 AS id) x, notes n"
    " WHERE n.user_id = x.id)",
    "SELECT id FROM users x WHERE x.id = 1 AND EXISTS (WITH x AS (SELECT 5 AS id) SELECT 1 FROM x, notes n"
    " WHERE n.user_id = x.id)",
    # id is the output column, since notes has none
    "SELECT u.id FROM users u WHERE u.id = 1 AND EXISTS (SELECT 7 AS id FROM notes n WHERE n.user_id = id)",
    # id is a column of json_each
    "SELECT id FROM users u WHERE u.id = 1 AND EXISTS (SELECT 1 FROM notes n, json_each('[7]') WHERE n.user_id = id)",
    # oid is the number of the row of members, not clubs.oid
    "SELECT title FROM clubs WHERE oid = 2 AND EXISTS (SELECT 1 FROM members m WHERE m.club = oid)",
    # "handle" is text, since a sub-query in FROM or WITH does not see people
    "SELECT f.note FROM people p, (SELECT * FROM fans WHERE who = \"handle\") f WHERE p.handle = 'bob'",
    "SELECT f.note FROM people p JOIN (SELECT * FROM fans WHERE who = \"handle\") f ON 1 WHERE p.handle = 'bob'",
    "WITH f AS (SELECT * FROM fans WHERE who = \"handle\") SELECT f.note FROM people p, f WHERE p.handle = 'bob'",
]
JOINS = [
    # USING compares with the first table that has the column
    "SELECT n.body FROM deposits d CROSS JOIN notes n JOIN user_meta m USING (user_id) WHERE m.user_id = 1",
    "SELECT n.body FROM currencies c CROSS JOIN notes n JOIN user_meta m USING (user_id) WHERE n.user_id = 1",
    "SELECT n.body FROM (SELECT 2 AS user_id) c CROSS JOIN notes n JOIN user_meta m USING (user_id)"
    " WHERE n.user_id = 1",
    # ON binds only the right side of a LEFT JOIN, and nothing of a RIGHT or FULL one
    "SELECT count(*) FROM users u LEFT JOIN deposits d ON d.user_id = u.id AND u.id = 2",
    "SELECT count(*) FROM users u LEFT JOIN deposits d ON d.user_id = u.id AND d.user_id = 2",
    "SELECT count(*) FROM users u LEFT JOIN notes n ON n.body = u.name WHERE u.id = 1 AND n.user_id IS NULL",
    "SELECT count(*) FROM users u RIGHT JOIN deposits d ON d.user_id = u.id AND u.id = 2 AND d.user_id = 2",
    "SELECT count(*) FROM users u FULL JOIN deposits d ON d.user_id = u.id AND d.user_id = 2 WHERE u.id = 2",
    "SELECT count(*) FROM notes NATURAL JOIN user_meta WHERE notes.user_id = 1",
    "SELECT count(*) FROM users u JOIN (deposits d LEFT JOIN notes n ON n.body = d.note) ON d.user_id = u.id"
    " WHERE u.id = 1",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 OR n.user_id = u.id",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 AND NOT n.user_id = u.id",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 AND (n.user_id = u.id) = 0",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 AND n.user_id IS u.id",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 AND n.user_id = u.id + 1",
    "SELECT count(*) FROM users u, notes n WHERE u.id = 1 AND n.user_id IN (u.id, 2)",
]
SUB_QUERIES = [
    "SELECT u.name, (SELECT max(body) FROM notes n WHERE n.user_id = 2 AND u.id = 2) FROM users u",
    "SELECT u.name FROM users u WHERE NOT EXISTS (SELECT 1 FROM notes n WHERE n.user_id = 2 AND u.id = n.user_id)",
    "SELECT name FROM users WHERE id = 2 AND score > (SELECT avg(score) FROM users)",
    "SELECT (SELECT count(*) FROM deposits) FROM users WHERE id = 2",
    "SELECT name FROM users WHERE id IN (SELECT user_id FROM deposits)",
    "SELECT name FROM users WHERE id = 2 AND id IN (SELECT user_id FROM deposits UNION SELECT user_id FROM notes)",
    "SELECT name FROM users WHERE id = 2 UNION SELECT body FROM notes WHERE user_id = 3",
    "SELECT 1 FROM users WHERE users.id = 2 AND EXISTS (SELECT 1 FROM users WHERE users.id = 3)",
    "WITH RECURSIVE t(id) AS (SELECT id FROM users WHERE id = 1 UNION SELECT u.id FROM users u JOIN t"
    " ON u.id = t.id + 1) SELECT id FROM t",
    "WITH d AS (SELECT * FROM deposits) SELECT amount FROM d WHERE user_id = 2",
    "SELECT 1 FROM users ORDER BY (SELECT max(score) FROM users)",
]
WHOLE_ANSWERS = [
    "SELECT total(amount) FROM deposits",
    "SELECT [max](amount) FROM deposits",
    'SELECT "count"(*) FROM deposits',
    "SELECT json_group_array(amount) FROM deposits",
    "SELECT group_concat(currency) FROM deposits",
    "SELECT count(*) FILTER (WHERE amount > 0) FROM deposits",
    "SELECT 1 + max(amount) FROM deposits",
    "SELECT upper(max(currency)) FROM deposits",
    "SELECT amount, row_number() OVER () FROM deposits",
    "SELECT sum(amount) OVER w FROM deposits WINDOW w AS (ORDER BY id)",
    "SELECT count(*) FROM notes WHERE user_id IN (2, 3)",
    "SELECT body FROM notes WHERE user_id IN (2, 3) LIMIT 1",
]
HIDDEN = [
    # banned is a table
    "SELECT * FROM users WHERE id IN banned",
    "SELECT * FROM users WHERE id = 3 AND id IN banned",
    "SELECT * FROM currencies WHERE user_id IN banned",
    # the CTE is not what is deleted from
    "WITH zz AS (SELECT 1) DELETE FROM zz",
    "WITH tf_bucket AS (SELECT 1) DELETE FROM tf_bucket",
    "SELECT count(*) FROM tf_bucket, (WITH tf_bucket AS (SELECT 1) SELECT * FROM tf_bucket)",
    "WITH notes AS (SELECT 1 AS user_id) SELECT * FROM notes WHERE user_id = 1",
]
ROWS = [
    # a row that another shard numbers otherwise; what another connection did
    "SELECT rowid FROM notes",
    "SELECT body FROM notes WHERE _rowid_ = 1",
    "SELECT last_insert_rowid()",
    "SELECT changes() FROM notes WHERE user_id = 1",
]
WRITES = [
    "UPDATE users SET rowid = 99 WHERE id = 1",
    'UPDATE users SET "OID" = 99 WHERE id = 1',
    "UPDATE users SET 'id' = 99 WHERE id = 1",
    "UPDATE users SET (id, name) = (99, 'x') WHERE id = 1",
    "UPDATE notes SET body = (SELECT name FROM users WHERE id = 3) WHERE user_id = 2",
    "UPDATE notes SET body = (SELECT min(name) FROM users) WHERE user_id = 2",
    "UPDATE notes SET body = u.name FROM users u WHERE u.id = notes.user_id AND notes.user_id = 2",
    "UPDATE users SET email = email || 'x' WHERE id = 2",
    "WITH x AS (SELECT 2 AS id) UPDATE users SET email = 'q' WHERE id = 2 AND id IN (SELECT id FROM x)",
    "DELETE FROM notes WHERE user_id = 2 AND EXISTS (SELECT 1 FROM deposits d WHERE d.user_id = 3)",
    "DELETE FROM notes WHERE user_id = 2 RETURNING (SELECT count(*) FROM users)",
    "UPDATE currencies SET name = (SELECT title FROM posts WHERE id = 1)",
    "UPDATE currencies SET name = (SELECT name FROM users WHERE id = 1)",
    "UPDATE currencies SET name = random()",
]
INSERTS = [
    "INSERT INTO notes (user_id, user_id, body) VALUES (1, 2, 'b')",
    "INSERT INTO notes VALUES (1, (SELECT name FROM users WHERE id = 2))",
    "INSERT INTO notes VALUES (1, (SELECT min(name) FROM users))",
    "INSERT INTO notes VALUES (1, 'x') RETURNING (SELECT count(*) FROM notes WHERE user_id = 2)",
    "INSERT INTO notes VALUES (\"7\", 'x')",
    "INSERT INTO notes VALUES (7.5, 'x')",
    "INSERT INTO notes VALUES (9223372036854775808, 'x')",
    # An id that does not name its row's shard would never be found again by `WHERE id = ?`,
    # and nobody could see that another shard has it already.
    "INSERT INTO deposits (id, user_id, amount) VALUES (5, 1, 3)",
    "INSERT INTO deposits (id, user_id, amount) VALUES ('99', 1, 3)",
    "INSERT INTO deposits (id, user_id, amount) VALUES (99.0, 1, 3)",
    "INSERT INTO deposits (id, user_id, amount) VALUES (-5, 1, 3)",
    "INSERT INTO deposits (id, user_id, amount) VALUES (0, 1, 3)",
    "INSERT INTO deposits (rowid, user_id, amount) VALUES (5, 1, 3)",
    "INSERT INTO users (rowid, email) VALUES (92, 'u92@x')",
    "INSERT INTO user_meta VALUES (1, 'lang', 5) ON CONFLICT (user_id, name) DO UPDATE SET (user_id, value) = (2, 6)",
    "INSERT INTO user_meta VALUES (1, 'lang', 5) ON CONFLICT (user_id, name) DO UPDATE SET user_id = 2",
    "INSERT INTO user_meta VALUES (1, 'lang', 5) ON CONFLICT (user_id, name) DO UPDATE SET rowid = 2",
    "INSERT INTO user_meta VALUES (1, 'lang', 5) ON CONFLICT (user_id, name) DO UPDATE SET value ="
    " (SELECT count(*) FROM notes)",
    "INSERT OR REPLACE INTO users (id, email) VALUES (1, 'z@x')",
    "INSERT INTO currencies SELECT title, title, id FROM posts",
    "INSERT INTO currencies VALUES ('X', CURRENT_TIMESTAMP, NULL)",
]
SCHEMAS = [
    "CREATE TABLE temp.users (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE users (id INTEGER PRIMARY KEY)",
    "DROP TABLE temp.users",
    "CREATE UNIQUE INDEX one_body ON notes (body)",
    "CREATE VIEW banned AS SELECT 1",
    "ATTACH 'other.db' AS other",
    "PRAGMA foreign_keys = OFF",
]
READS = NAMES + JOINS + SUB_QUERIES + WHOLE_ANSWERS
REFUSED = HIDDEN + ROWS + WRITES + INSERTS + SCHEMAS

HONEST: list[tuple[str, Params]] = [
    # the same key, however it is written
    ("SELECT body FROM notes WHERE user_id = '02'", ()),
    ("SELECT body FROM notes WHERE user_id = 2.0 AND user_id = ' 2 '", ()),
    ("SELECT body FROM notes WHERE user_id = 0x2", ()),
    ("SELECT body FROM notes WHERE user_id = -(-2)", ()),
    ("SELECT body FROM notes WHERE user_id IN ('02', 3.0, NULL, 3)", ()),
    ("SELECT body FROM notes WHERE user_id IN ()", ()),
    ("SELECT bio FROM people WHERE handle = 42", ()),
    ("SELECT bio FROM people WHERE handle IN (42, 'it''s', 'Zoë')", ()),
    ("SELECT bio FROM people WHERE handle = 'ANN' COLLATE NOCASE", ()),
    ("SELECT bio FROM people WHERE handle COLLATE NOCASE = 'ANN'", ()),
    ("SELECT bio FROM people WHERE handle = 'ann '", ()),
    # quotes, case, comments, and where a parameter stands
    ('SELECT bio FROM people WHERE handle = "ann"', ()),
    ("SELECT bio FROM people WHERE [handle] = 'ann'", ()),
    ("SELECT bio FROM people WHERE 'handle' = 'ann'", ()),
    ("SELECT BIO FROM PEOPLE WHERE HANDLE = 'Zoë'", ()),
    ("SELECT bio FROM people /* é ? */ WHERE handle = ? -- ?", ("bob",)),
    ("SELECT body FROM notes WHERE user_id=?AND 1", (2,)),
    ("SELECT body FROM notes WHERE user_id = 2; -- the end", ()),
    ("SELECT body FROM notes -- \r WHERE user_id = 2", ()),
    ("SELECT body FROM notes /* /* */ WHERE user_id = 2 OR 1 -- */", ()),
    ("SELECT body FROM notes WHERE main.notes.user_id = :n LIMIT :m", {"n": 2, "m": 1}),
    # what looks like a key and is not one
    ("SELECT body FROM notes WHERE (user_id = 1) = 0", ()),
    ("SELECT body FROM notes WHERE user_id = 1 ISNULL", ()),
    ("SELECT body FROM notes WHERE user_id IN (1) = 0", ()),
    ("SELECT body FROM notes WHERE NOT user_id = 1", ()),
    ("SELECT body FROM notes WHERE user_id NOT IN (1)", ()),
    ("SELECT body FROM notes WHERE user_id BETWEEN 1 AND user_id = 5", ()),
    ("SELECT body FROM notes WHERE user_id = 1 OR 1", ()),
    ("SELECT name FROM users WHERE CASE WHEN id = 1 THEN 1 END", ()),
    ("SELECT name FROM users WHERE (id, name) = (1, 'n1')", ()),
    ("SELECT 5 AS user_id FROM users WHERE user_id = 5", ()),
    ("SELECT id FROM users WHERE email = 'u2@x' OR id = 3", ()),
    # joins and sub-queries of one key
    (
        "SELECT body FROM deposits d JOIN notes n USING (user_id) JOIN user_meta m USING (user_id) WHERE m.user_id = 1",
        (),
    ),
    ("SELECT n.body FROM deposits d LEFT JOIN notes n USING (user_id) WHERE user_id = 1", ()),
    ("SELECT c.name, d.amount FROM currencies c LEFT JOIN deposits d ON d.user_id = 2 AND d.currency = c.code", ()),
    ("SELECT c.name FROM currencies c LEFT JOIN users u ON u.email = 'u2@x'", ()),
    ("SELECT u.id, n.body FROM users u LEFT JOIN notes n ON n.body = u.name AND n.user_id = 1 WHERE u.id = 1", ()),
    ("SELECT (SELECT count(*) FROM deposits d WHERE d.user_id = u.id) FROM users u WHERE u.id = 2", ()),
    ("SELECT 1 FROM users WHERE users.id = 2 AND EXISTS (SELECT 1 FROM users v WHERE v.id = users.id)", ()),
    ("SELECT d.amount, j.value FROM deposits d, json_each('[1,2]') j WHERE d.user_id = 2", ()),
    ("WITH n AS (SELECT 3 AS user_id) SELECT body FROM notes FULL JOIN n USING (user_id) WHERE user_id = 3", ()),
    ("SELECT sum(amount) OVER (ORDER BY id) FROM deposits WHERE user_id = 2", ()),
    ("SELECT p.id, c.code FROM posts p JOIN currencies c ON c.user_id = p.author ORDER BY 1 LIMIT 2", ()),
    # writes
    ("UPDATE notes SET body = (SELECT name FROM users WHERE id = notes.user_id) WHERE user_id = '02'", ()),
    ("UPDATE users SET email = ?, name = ? WHERE name = 'n3' AND id = ? RETURNING email", ("new@x", "n3", 11)),
    ("DELETE FROM notes WHERE user_id = 9 AND EXISTS (SELECT 1 FROM users u WHERE u.id = notes.user_id)", ()),
    ("DELETE FROM users WHERE email = 'u12@x' RETURNING id", ()),
    ("INSERT INTO notes VALUES (?, (SELECT name FROM users WHERE id = ?))", (1, "01")),
    ("INSERT INTO notes VALUES ('07', 'x'), (7.0, 'y')", ()),
    ("INSERT INTO 'notes' ('user_id', body) VALUES (2, 'q')", ()),
    ("replace into user_meta VALUES (1, 'lang', 9)", ()),
    (
        "INSERT INTO user_meta VALUES (1, 'lang', 5) ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value",
        (),
    ),
    ("INSERT OR IGNORE INTO user_meta VALUES (1, 'lang', 8)", ()),
    ("INSERT INTO posts SELECT NULL, user_id, name FROM currencies", ()),
    ("UPDATE currencies SET name = upper(name) WHERE code = 'CHF' RETURNING name", ()),
    ("DELETE FROM notes WHERE user_id IN (SELECT user_id FROM banned)", ()),
    ("INSERT INTO notes (user_id, body) VALUES (1, 'a'), (2, 'b')", ()),
    ("INSERT INTO notes SELECT id, name FROM users WHERE id = 1", ()),
]


@pytest.mark.parametrize("sql", READS)
def test_what_a_shard_alone_would_answer_wrongly_is_answered_as_by_one_database(seeded: Pair, sql: str) -> None:
    assert seeded.compare(sql), "refused"


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_be_silently_wrong_is_refused_with_a_way_out(seeded: Pair, sql: str) -> None:
    before = {table: seeded.contents(table) for table in TABLES}
    with pytest.raises((RoutingError, StatementError)) as refused:
        seeded.many.execute(sql)
    assert isinstance(refused.value, RoutingError) or "does not parse" in str(refused.value)
    assert refused.value.hint
    assert {table: seeded.contents(table) for table in TABLES} == before


@pytest.mark.parametrize(("sql", "params"), HONEST)
def test_its_honest_neighbour_is_answered_as_by_one_database(seeded: Pair, sql: str, params: Params) -> None:
    assert seeded.compare(sql, params), "refused"
    assert [table for table in TABLES if not seeded.alike(table)] == []


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT * FROM users WHERE id = ?", ()),
        ("SELECT * FROM users WHERE id = :id", (1,)),
        ("SELECT * FROM users WHERE id = ?", {"id": 1}),
        ("SELECT * FROM users WHERE id = ? AND name = ?", (1,)),
        ("SELECT * FROM users WHERE id = ?", (1, 2)),
        ("SELECT * FROM users WHERE id = ?", (None,)),
        ("SELECT * FROM users WHERE id = ?", (True,)),
        ("SELECT * FROM users WHERE id = ?", (2**63,)),
        ("SELECT * FROM users WHERE email = ?", (b"u2@x",)),
        ("SELECT * FROM users WHERE id = :tf_param_0", {"tf_param_0": 1}),
        ("INSERT INTO deposits (user_id, amount) VALUES (:u, :tf_id_0)", {"u": 1, "tf_id_0": 5}),
        ("SELECT * FROM users WHERE id = @id", {"id": 1}),
        ("SELECT * FROM users WHERE id = ?1", (1,)),
        ("SELECT * FROM users WHERE id = ? AND name = :n", (1,)),
    ],
)
def test_parameters_that_do_not_fit_end_in_an_error_with_a_hint(seeded: Pair, sql: str, params: Params) -> None:
    with pytest.raises(TenfoldError) as refused:
        seeded.many.execute(sql, params)
    assert refused.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ; ",
        "-- nothing",
        "SELECT my_sum(amount) FROM deposits",
        "SELECT name FROM users HAVING max(score)",
        "SELECT",
        "SELECT 'open",
        "SELECT * FROM users WHERE id = 1 /* open",
        "SELECT * FROM users WHERE id = 1 \0 OR 1",
        "SELECT 1; DELETE FROM notes",
        "SELECT body FROM notes WHERE user_id = " + "(" * 5000 + "2" + ")" * 5000,
        "SELECT body FROM notes WHERE user_id = 2" + " AND 1" * 5000,
        "SELECT body FROM notes WHERE " + " OR ".join(["user_id = 2"] * 5000),
        "SELECT body FROM notes WHERE user_id = " + "- " * 3000 + "2",
    ],
    ids=lambda sql: sql[:40] or "empty",
)
def test_broken_and_monstrous_statements_end_in_an_error_with_a_hint(seeded: Pair, sql: str) -> None:
    with pytest.raises(TenfoldError) as refused:
        seeded.many.execute(sql)
    assert refused.value.hint


def test_long_statements_that_sqlite_takes_are_answered(seeded: Pair) -> None:
    keys = ", ".join(str(key) for key in range(3000))
    assert seeded.compare(f"SELECT body FROM notes WHERE user_id IN ({keys})")
    assert seeded.compare("SELECT body FROM notes WHERE user_id = 2" + " AND 1" * 900)
    assert seeded.compare("INSERT INTO notes VALUES " + ", ".join(["(8, 'x')"] * 1000))


def test_a_refused_id_says_how_to_draw_one(seeded: Pair) -> None:
    with pytest.raises(RoutingError) as refused:
        seeded.many.execute("INSERT INTO deposits (id, user_id, amount) VALUES (5, 1, 3)")
    assert 'db.new_id("deposits", key)' in refused.value.hint
    drawn = seeded.many.new_id("deposits", 1)
    assert seeded.compare("INSERT INTO deposits (id, user_id, amount) VALUES (?, 1, 3)", (drawn,))
    assert seeded.compare("SELECT amount FROM deposits WHERE id = ?", (str(drawn),))


def test_a_scatter_inside_a_transaction_is_refused_since_it_has_one_shard(seeded: Pair) -> None:
    with seeded.many.transaction() as tx, pytest.raises(RoutingError, match="needs 3 shards, a transaction has one"):
        tx.execute("SELECT body FROM notes")


@pytest.mark.parametrize("sql", ["SELECT body FROM notes WHERE user_id = ?", "CREATE TABLE banned (user_id INTEGER)"])
def test_executemany_is_for_writes_to_rows(seeded: Pair, sql: str) -> None:
    with pytest.raises(StatementError, match="executemany is for"):
        seeded.many.executemany(sql, [(1,), (2,)])
