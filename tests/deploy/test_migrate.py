"""Migrations on three real shards of both engines, also where they are killed in the middle. Edge."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tenfold.deploy.migrate import Migrating
from tenfold.deploy.migrations import File
from tenfold.errors import DeployError, MoveError
from tenfold.sharding.moves.connections import Shards
from tenfold.topology.model import Topology
from tests.support import wait_for

TABLES = File(
    "0001_tables.sql",
    """CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(80));
CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL);
CREATE INDEX orders_by_user ON orders (user_id);
CREATE TABLE posts (id BIGINT PRIMARY KEY, title VARCHAR(80));
CREATE TABLE currencies (code VARCHAR(3) PRIMARY KEY);
INSERT INTO currencies (code) VALUES ('EUR');
""",
)
NICK = File(
    "0002_nick.sql",
    "ALTER TABLE users ADD COLUMN nick VARCHAR(40);\nUPDATE users SET nick = email;\n"
    "ALTER TABLE posts ADD COLUMN teaser VARCHAR(40);\n",
)
RUN = """
import sys
from tenfold.topology.load import load
from tenfold.deploy.migrate import Migrating
from tenfold.deploy.migrations import File
from tenfold.deploy.claim import By
Migrating(load(sys.argv[1]), By("r1", int(sys.argv[4]))).run(File(sys.argv[2], sys.argv[3]))
"""


@pytest.fixture
def migrating(shop: Topology) -> Iterator[Migrating]:
    found = Migrating(shop)
    yield found
    found.close()


def test_a_file_runs_once_on_every_shard_that_has_its_tables(migrating: Migrating, shards: Shards) -> None:
    assert migrating.pending([TABLES], migrating.ground()) == [TABLES]
    assert migrating.run(TABLES) == "statements run: shard_0: 5, shard_1: 5, shard_2: 6"
    assert migrating.pending([TABLES], migrating.ground()) == []
    assert migrating.run(TABLES) == "nothing was left to do"
    for shard in ("shard_0", "shard_1", "shard_2"):
        assert shards.rows(shard, "SELECT COUNT(*) FROM currencies") == [(1,)]
    assert shards.rows("shard_2", "SELECT COUNT(*) FROM posts") == [(0,)]


def test_a_file_that_was_changed_after_it_ran_is_refused(migrating: Migrating) -> None:
    migrating.run(TABLES)
    with pytest.raises(DeployError, match=r"0001_tables\.sql has been changed after it ran on shard_0") as refused:
        migrating.pending([File(TABLES.name, TABLES.text + "-- more\n")], migrating.ground())
    assert "as a new file" in refused.value.hint


def test_a_statement_that_fails_says_which_and_what_is_done_and_the_mended_file_goes_on(
    migrating: Migrating, shards: Shards, shop: Topology
) -> None:
    migrating.run(TABLES)
    broken = File(NICK.name, "ALTER TABLE users ADD COLUMN nick VARCHAR(40);\nUPDATE users SET nack = email;\n")
    with pytest.raises(DeployError, match=r"0002_nick\.sql: statement 2 failed on shard_0"):
        migrating.run(broken)
    assert migrating.pending([TABLES, NICK], migrating.ground()) == [NICK]
    migrating.run(NICK)
    for shard in ("shard_0", "shard_1", "shard_2"):
        assert shards.rows(shard, "SELECT COUNT(nick) FROM users") == [(0,)]
    assert migrating.done(migrating.ground()) == {TABLES.name, NICK.name}


def test_a_mended_file_may_not_change_what_has_run_of_it(migrating: Migrating, shop: Topology) -> None:
    if shop.database.engine.value == "sqlite":
        pytest.skip("a file is one transaction there")
    migrating.run(TABLES)
    with pytest.raises(DeployError):
        migrating.run(File(NICK.name, "ALTER TABLE users ADD COLUMN nick VARCHAR(40);\nUPDATE users SET nack = 1;\n"))
    with pytest.raises(DeployError, match="was changed in what has run on shard_0 already"):
        migrating.run(File(NICK.name, "ALTER TABLE users ADD COLUMN nock VARCHAR(40);\nUPDATE users SET nock = 1;\n"))


def test_killed_in_the_middle_it_goes_on_where_it_was(migrating: Migrating, shards: Shards, shop: Topology) -> None:
    migrating.run(TABLES)
    for number in range(3):
        shards.execute(f"shard_{number}", "INSERT INTO users (id, email) VALUES (?, 'a@b')", (number,))
    migrating._prepare(NICK, migrating.ground())
    # The second shard does not let the UPDATE by: somebody holds the row, or the file.
    with shards.transaction("shard_1", "holder", token=False) as holder:
        holder.execute("UPDATE users SET email = 'c@d' WHERE id = 1", ())
        process = subprocess.Popen([sys.executable, "-c", RUN, str(shop.file), NICK.name, NICK.text, "0"])

        def first_is_done() -> bool:
            line = migrating.ledgers(migrating.ground())["shard_0"].get(NICK.name)
            return line is not None and line.state == "done"

        wait_for(first_is_done, "the first shard is done", 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert migrating.pending([TABLES, NICK], migrating.ground()) == [NICK]
    migrating.run(NICK)
    for number in range(3):
        rows = shards.rows(f"shard_{number}", "SELECT nick FROM users")
        assert rows == [("c@d" if number == 1 else "a@b",)]
    assert migrating.pending([TABLES, NICK], migrating.ground()) == []


def test_ddl_whose_end_nobody_saw_is_found_done(migrating: Migrating, shards: Shards, shop: Topology) -> None:
    if shop.database.engine.value == "sqlite":
        pytest.skip("DDL is part of the transaction there")
    migrating.run(TABLES)
    migrating._prepare(NICK, migrating.ground())
    from tenfold.deploy.migrate import _prefix
    from tenfold.deploy.migrations import statements

    prefix = _prefix(statements(NICK, migrating.ground()), 1)
    # As a deployer leaves it that is killed after the server has done the first statement, and before it could say so.
    shards.execute(
        "shard_0",
        "UPDATE tf_migration SET state = 'running', doing = 1, prefix = ? WHERE name = ?",
        (prefix, NICK.name),
    )
    shards.execute("shard_0", "ALTER TABLE users ADD COLUMN nick VARCHAR(40)")
    migrating.run(NICK)
    assert migrating.pending([TABLES, NICK], migrating.ground()) == []


def test_a_column_that_somebody_else_has_added_is_no_success(
    migrating: Migrating, shards: Shards, shop: Topology
) -> None:
    migrating.run(TABLES)
    shards.execute("shard_0", "ALTER TABLE users ADD COLUMN nick VARCHAR(99)")
    with pytest.raises(DeployError, match=r"statement 1 failed on shard_0: .*uplicate column"):
        migrating.run(NICK)


def test_a_shard_that_joined_later_has_run_what_the_others_had(migrating: Migrating, shards: Shards) -> None:
    migrating.run(TABLES)
    shards.execute("shard_1", "DELETE FROM tf_migration")  # its tables were made like the others', not by files
    assert migrating.pending([TABLES], migrating.ground()) == []
    migrating.run(NICK)
    assert migrating.done(migrating.ground()) == {TABLES.name, NICK.name}


def test_while_rows_move_no_migration_runs(migrating: Migrating, shards: Shards) -> None:
    shards.execute(
        "shard_0",
        "INSERT INTO tf_move (id, phase, token, legs, detail, created_s, changed_s)"
        " VALUES (1, 'copying', 1, '[]', '{}', 0, 0)",
    )
    with pytest.raises(MoveError, match="move 1 is copying"):
        migrating.run(TABLES)
