"""Files of migrations: numbers, places, and what a running release survives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.deploy.migrations import File, Ground, ordered, statements
from tenfold.errors import DeployError
from tenfold.sharding.dialects import MYSQL
from tenfold.sharding.layout import Grouped, layout_of
from tenfold.sharding.shapes import Column
from tenfold.topology.load import load
from tests.deploy.places import FILE


@pytest.fixture(params=["sqlite", "mysql"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Three shards: users and orders everywhere, posts moved from shard_2 to shard_1, currencies a reference table."""
    text = FILE
    if request.param == "mysql":
        text = FILE.replace('engine = "sqlite"', 'engine = "mysql"')
        for n in range(3):
            text = text.replace(f'"sqlite:///var/shard_{n}.db"', f'"mysql://app@127.0.0.1/shop_{n}"')
    (tmp_path / "tenfold.toml").write_text(text)
    topology = load(tmp_path / "tenfold.toml")
    layout = layout_of(topology.database, "shard_0")
    columns = {
        "n": Column("n", "int(11)", None, "", nullable=False),
        "name": Column("name", "varchar(20)", None, "", nullable=True),
        "price": Column("price", "decimal(10,2)", None, "", nullable=True),
    }
    return Ground(layout, {"posts": "shard_1"}, {"users": columns})


def of(sql: str, ground: Ground, name: str = "0001_x.sql") -> list[tuple[str, ...]]:
    return [one.shards for one in statements(File(name, sql), ground)]


ALL = ("shard_0", "shard_1", "shard_2")


@pytest.mark.parametrize(
    ("sql", "shards"),
    [
        ("ALTER TABLE users ADD COLUMN nick VARCHAR(40)", ALL),
        ("CREATE TABLE IF NOT EXISTS orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL)", ALL),
        ("CREATE INDEX by_user ON orders (user_id)", ALL),
        ("UPDATE users SET nick = 'a;b' WHERE id > 5", ALL),
        ("ALTER TABLE posts ADD COLUMN teaser TEXT", ("shard_1",)),
        ("INSERT INTO posts (id) VALUES (1)", ("shard_1",)),
        ("INSERT INTO currencies (code) VALUES ('EUR')", ALL),
        ("UPDATE orders SET paid = 1 WHERE code IN (SELECT code FROM currencies)", ALL),
    ],
)
def test_a_statement_runs_where_its_tables_are(sql: str, shards: tuple[str, ...], ground: Ground) -> None:
    assert of(sql, ground) == [shards]


def test_statements_are_split_where_they_end_and_nowhere_else(ground: Ground) -> None:
    text = "-- first; not this\nUPDATE users SET a = 'x;y';\n\n/* ; */ UPDATE posts SET b = 'it''s;';\n;\n-- end\n"
    found = statements(File("0001_x.sql", text), ground)
    assert [one.sql.split("UPDATE")[1] for one in found] == [" users SET a = 'x;y'", " posts SET b = 'it''s;'"]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("ALTER TABLE users DROP COLUMN nick", "it drops something"),
        ("DROP TABLE posts", "it drops something"),
        ("ALTER TABLE users RENAME COLUMN a TO b", "it renames something"),
        ("ALTER TABLE users RENAME TO people", "it renames something"),
        ("ALTER TABLE users ADD COLUMN a INT NOT NULL", "NOT NULL and has no default"),
    ],
)
def test_what_the_release_that_runs_needs_is_not_taken_from_it(sql: str, why: str, ground: Ground) -> None:
    with pytest.raises(DeployError, match=why) as refused:
        of(sql, ground)
    assert "contract.sql" in str(refused.value)


def test_a_file_called_contract_may_take_away(ground: Ground) -> None:
    assert of("ALTER TABLE users DROP COLUMN nick", ground, "0002_x.contract.sql") == [ALL]


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE users ADD COLUMN a INT NOT NULL DEFAULT 0",
        "ALTER TABLE users ADD COLUMN a INT NULL",
        "ALTER TABLE users ADD COLUMN a INT, ADD COLUMN b TEXT",
    ],
)
def test_what_only_adds_may_run_beside_the_release_before(sql: str, ground: Ground) -> None:
    assert of(sql, ground) == [ALL]


@pytest.mark.parametrize(
    ("definition", "fits"),
    [
        ("n BIGINT NOT NULL", True),
        ("n INT NOT NULL", True),
        ("n SMALLINT NOT NULL", False),
        ("n INT UNSIGNED NOT NULL", False),
        ("name VARCHAR(40)", True),
        ("name VARCHAR(10)", False),
        ("name VARCHAR(40) NOT NULL", False),  # rows without a name, and the release before writes some
        ("name TEXT", True),
        ("price DECIMAL(12,2)", True),
        ("price DECIMAL(12,4)", False),
        ("price INT", False),
        ("unknown BIGINT", False),
    ],
)
def test_a_column_may_become_wider_and_not_narrower(definition: str, fits: bool, ground: Ground) -> None:
    if ground.layout.dialect.engine.value == "sqlite":
        pytest.skip("SQLite changes no types")
    sql = f"ALTER TABLE users MODIFY COLUMN {definition}"
    if fits:
        assert of(sql, ground) == [ALL]
    else:
        with pytest.raises(DeployError, match="may not hold all"):
            of(sql, ground)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("INSERT INTO users (id) VALUES (1)", "write the row on every shard"),
        ("UPDATE orders SET user_id = 5", "shard key"),
        ("INSERT INTO currencies (code) SELECT code FROM orders", "differ from shard to shard"),
        ("UPDATE currencies SET at = CURRENT_TIMESTAMP", "differ from shard to shard"),
        ("UPDATE users SET a = (SELECT MAX(id) FROM posts)", "not in one place"),
        ("UPDATE nobody SET a = 1", "no one declared the table nobody"),
        ("ALTER TABLE tf_catalog ADD COLUMN a INT", "Tenfold's own"),
        ("CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM posts; END", "triggers, views"),
        ("COMMIT", "transactions"),
        ("SET foreign_key_checks = 0", "sessions"),
        ("PRAGMA foreign_keys = OFF", "sessions"),
        ("SELECT 1", "no change of tables"),
        ("/*!50003 DROP TABLE users */", "depends on the server"),
        ("-- nothing here", "holds no statement"),
        ("UPDATE users SET a = 'open", "cannot be read as SQL"),
        ("CREATE VIEW v AS SELECT * FROM users", "triggers, views"),
    ],
)
def test_what_would_go_wrong_over_shards_is_refused_by_name(sql: str, why: str, ground: Ground) -> None:
    with pytest.raises(DeployError, match=why) as refused:
        of(sql, ground)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT, no VARCHAR(9) UNIQUE)", r"UNIQUE \(no\) lacks"),
        ("CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT, UNIQUE (no, x))", r"as \(user_id, no, x\)"),
        ("CREATE TABLE orders (user_id BIGINT, a INT, CONSTRAINT c UNIQUE (a))", r'unique = { orders = \["a"\] }'),
        ("CREATE TABLE orders (no VARCHAR(9) PRIMARY KEY, user_id BIGINT)", r"UNIQUE \(no\) lacks"),
        ("CREATE TABLE orders (a INT, user_id BIGINT, b INT, PRIMARY KEY (a, b))", r"UNIQUE \(a, b\) lacks"),
        ("CREATE UNIQUE INDEX one ON users (lower(name))", r"UNIQUE \(LOWER\(name\)\) lacks"),
        ("ALTER TABLE users ADD COLUMN nick VARCHAR(9) UNIQUE", r"UNIQUE \(nick\) lacks"),
        ("CREATE TABLE orders (id BIGINT PRIMARY KEY, usr BIGINT)", "no column user_id"),
        ("UPDATE users SET Email = 'x'", "email of users is unique over all shards by its reservations"),
        ("DELETE FROM users WHERE id = 5", "through tenfold.connect"),
    ],
)
def test_what_no_shard_alone_can_keep_is_refused_before_any_has_it(sql: str, why: str, ground: Ground) -> None:
    users = ground.layout.tables["users"]
    assert isinstance(users, Grouped)
    tables = {**ground.layout.tables, "users": replace(users, unique=("email",))}
    ground = replace(ground, layout=replace(ground.layout, tables=tables))
    with pytest.raises(DeployError, match=why):
        of(sql, ground)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, user_id BIGINT)", "write it as BIGINT"),
        ("CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT) ENGINE = MyISAM", "no transactions"),
        ("CREATE TABLE posts (id BIGINT PRIMARY KEY) ENGINE = Aria", "no transactions"),
        ("ALTER TABLE users ADD UNIQUE KEY k (nick)", r"UNIQUE \(nick\) lacks"),
    ],
)
def test_what_mysql_would_make_and_not_take_back_is_refused_before(sql: str, why: str, ground: Ground) -> None:
    if ground.layout.dialect is not MYSQL:
        pytest.skip("SQLite does not know it")
    with pytest.raises(DeployError, match=why):
        of(sql, ground)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, UNIQUE (user_id, id))",
        "CREATE TABLE orders (id BIGINT NOT NULL, User_Id BIGINT NOT NULL, PRIMARY KEY (id))",
        "CREATE UNIQUE INDEX one ON orders (user_id, id)",
        "CREATE TABLE posts (id INT PRIMARY KEY, slug VARCHAR(9) UNIQUE)",
        "CREATE TABLE currencies (code VARCHAR(3) PRIMARY KEY)",
    ],
)
def test_what_each_shard_can_keep_is_not_refused(sql: str, ground: Ground) -> None:
    assert len(of(sql, ground)) == 1


def test_every_mistake_of_a_file_is_told_at_once_with_its_line(ground: Ground) -> None:
    with pytest.raises(DeployError) as refused:
        of("UPDATE users SET a = 1;\nDROP TABLE posts;\n\nCOMMIT;\n", ground)
    assert [line.partition(" ")[0] for line in str(refused.value).splitlines()] == ["0001_x.sql:2:", "0001_x.sql:4:"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["0001_a.sql", "0001_b.sql"], "0001_b.sql: has the number of 0001_a.sql"),
        (["0001_a.sql", "0003_c.sql"], "0003_c.sql: number 2 is missing before it"),
        (["a.sql"], "a.sql: is not called like"),
        (["0001 a.sql"], "is not called like"),
    ],
)
def test_numbers_neither_meet_nor_leave_gaps(names: list[str], why: str) -> None:
    with pytest.raises(DeployError, match=why):
        ordered(dict.fromkeys(names, b"SELECT 1"))


def test_files_come_in_the_order_of_their_numbers_and_others_are_passed_over() -> None:
    files = {"10_b.sql": b"x", "9_a.sql": b"\xef\xbb\xbfy\r\n", "README.md": b""}
    assert [(file.name, file.text) for file in ordered(files)] == [("9_a.sql", "y\n"), ("10_b.sql", "x")]


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(DeployError, match=r"0001_a\.sql: is not UTF-8"):
        ordered({"0001_a.sql": b"\xff"})
