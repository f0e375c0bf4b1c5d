"""Making MariaDB databases a platform: what a server does otherwise than a file. Edge."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import tenfold
from tenfold.errors import CatalogError, ConfigError, ConstraintError, NodeError
from tenfold.sharding.adopt import adopt
from tenfold.sharding.engine.inspect import inspect
from tenfold.sharding.engine.router import one_off_runner
from tenfold.sharding.ports import Reply, Send
from tests.faults.test_killed_initialisation import Killed, stopped
from tests.mariadb import ACCOUNT, Server, fresh_databases
from tests.sharding.engine.sites import GROUP, MARIADB_SCHEMA, Site, mariadb_site

OWN = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'tf%'"
KEPT = {
    "tf_shard": "name, value", "tf_bucket": "bucket, shard, epoch", "tf_reservation": "scope, digest, bucket, state",
    "tf_catalog": "name, value", "tf_member": "shard, position", "tf_table": "table_name, kind, detail, watermark",
    "tf_object": "shard, object",
}  # fmt: skip


def state(site: Site) -> dict[str, list[tuple[object, ...]]]:
    """All that Tenfold keeps, without what differs by time and chance."""
    found = {}
    for shard in site.shards:
        for (table,) in site.look(shard, OWN):
            if table in KEPT:
                rows = sorted(site.look(shard, f"SELECT {KEPT[table]} FROM {table}"), key=repr)
                found[f"{shard}.{table}"] = [row for row in rows if row[0] != "cluster"]
    return found


def lived_in(site: Site) -> Site:
    """One database that an application has used for years, now the first of three shards."""
    for statement in MARIADB_SCHEMA[:2]:
        site.look("shard_0", statement)
    users = ", ".join(f"({number}, 'u{number}@example.org', 'name')" for number in range(1, 21))
    site.look("shard_0", f"INSERT INTO users VALUES {users}")
    site.look("shard_0", "INSERT INTO deposits VALUES (70, 7, 100)")
    return site


def test_a_second_initialisation_changes_nothing(bare_mariadb: Site) -> None:
    first = bare_mariadb.initialise()
    assert any("catalog on shard_0" in line for line in first.done)
    before = state(bare_mariadb)
    copies = [before[f"{shard}.tf_bucket"] for shard in bare_mariadb.shards]
    assert copies[0] == copies[1] == copies[2] and len(copies[0]) == 4097  # posts has a number too
    second = bare_mariadb.initialise()
    assert second.done == [] and second.cluster == first.cluster and state(bare_mariadb) == before
    for shard in bare_mariadb.shards:
        ledger = bare_mariadb.look("shard_0", "SELECT object FROM tf_object WHERE shard = ? ORDER BY 1", (shard,))
        assert ledger == sorted(bare_mariadb.look(shard, OWN))


def test_tenfolds_own_tables_are_transactional_and_compare_by_bytes(bare_mariadb: Site) -> None:
    bare_mariadb.initialise()
    engines = bare_mariadb.look_everywhere(OWN.replace("table_name FROM", "DISTINCT engine, table_collation FROM"))
    assert list(engines.values()) == [[("InnoDB", "ascii_bin")]] * 3


def test_adopting_a_database_moves_nothing_and_reserves_what_it_holds(bare_mariadb: Site) -> None:
    site = lived_in(bare_mariadb)
    assert "users.email: unique over all shards, 20 values reserved" in site.initialise().done
    assert site.look("shard_1", "SELECT DISTINCT shard FROM tf_bucket WHERE bucket < 4096") == [("shard_0",)]
    assert site.look("shard_0", "SELECT watermark FROM tf_table ORDER BY table_name")[1] == (70,)
    assert site.look("shard_0", "SELECT COUNT(*) FROM tf_reservation WHERE state = 'kept'") == [(20,)]
    assert not site.look("shard_1", "SELECT 1 FROM information_schema.tables WHERE table_name = 'users'"
                                    " AND table_schema = DATABASE()")  # fmt: skip


@pytest.mark.timeout(60)
def test_an_initialisation_killed_after_any_step_is_finished_by_the_next(
    three_servers: list[Server], tmp_path: Path
) -> None:
    with mariadb_site(tmp_path / "undisturbed", three_servers) as undisturbed:
        lived_in(undisturbed).initialise()
        expected = state(undisturbed)
    steps, done = 3, False
    while not done:
        with mariadb_site(tmp_path / f"killed_{steps}", three_servers) as site:
            lived_in(site)
            with one_off_runner(site.topology()) as runner, suppress(Killed):
                runner.run(stopped(adopt(site.topology()), steps))
                done = True
            if not done:
                with pytest.raises(CatalogError):  # half a platform is none
                    site.connect()
            site.initialise()
            assert state(site) == expected, f"stopped after {steps} effects"
        steps += 17
    assert steps > 80, steps


def test_a_database_that_is_not_there_is_named_with_the_statements_that_make_it(
    three_servers: list[Server], tmp_path: Path
) -> None:
    with fresh_databases(three_servers, 2) as databases:
        absent = three_servers[2].url("not_there")
        site = Site(tmp_path / "site", databases=[*databases, absent])
        with pytest.raises(NodeError, match=r"no database for shard_2 \(127.0.0.1: not_there\)") as caught:
            site.initialise()
        assert not caught.value.retryable
        assert site.look("shard_0", OWN) == []  # nothing was begun
        statements = caught.value.hint.partition("on 127.0.0.1: ")[2].split("; ")
        three_servers[2].sql(*(text.rstrip(";").replace("'%'", "'127.0.0.1'") for text in statements))
        try:
            assert site.initialise().done
            # Which gives the account that database alone: the _ of its name stands for no other letter.
            grants = three_servers[2].sql(f"SHOW GRANTS FOR {ACCOUNT}@'127.0.0.1'")
            assert any("`not\\_there`.*" in grant for (grant,) in grants)
        finally:
            three_servers[2].sql("DROP DATABASE not_there")


def test_a_shard_that_was_emptied_is_not_taken_for_a_new_one(bare_mariadb: Site) -> None:
    bare_mariadb.initialise()
    for (table,) in bare_mariadb.look("shard_1", OWN):
        bare_mariadb.look("shard_1", f"DROP TABLE {table}")
    with pytest.raises(CatalogError, match="shard_1 held rows of this platform once") as caught:
        bare_mariadb.initialise()
    assert "backup" in caught.value.hint and bare_mariadb.look("shard_1", OWN) == []


def test_addresses_that_were_swapped_are_noticed(bare_mariadb: Site) -> None:
    bare_mariadb.initialise()
    urls = bare_mariadb.urls
    urls["shard_0"], urls["shard_1"] = urls["shard_1"], urls["shard_0"]
    bare_mariadb.write()
    with pytest.raises(CatalogError, match="the database of shard_0 is shard_1"):
        bare_mariadb.initialise()


def test_a_schema_that_cannot_work_is_refused_by_name(bare_mariadb: Site) -> None:
    look = bare_mariadb.look
    look("shard_0", "CREATE TABLE posts (id BIGINT PRIMARY KEY) ENGINE = MyISAM")
    look("shard_0", "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(90))")
    look("shard_0", "CREATE TABLE deposits (id BIGINT PRIMARY KEY, user_id INT, post_id BIGINT, n INT, KEY (n),"
                    " FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)")  # fmt: skip
    look("shard_0", "ALTER TABLE posts ENGINE = InnoDB")
    look("shard_0", "ALTER TABLE deposits ADD FOREIGN KEY (post_id) REFERENCES posts (id)")
    look("shard_0", "CREATE TRIGGER fold BEFORE INSERT ON users FOR EACH ROW SET NEW.email = LOWER(NEW.email)")
    bare_mariadb.write(GROUP.replace("shard_2 =", "shard_0 ="))
    with pytest.raises(ConfigError) as caught:
        bare_mariadb.initialise()
    said = str(caught.value)
    assert 'ids: column "id" of users is int(11), too small for ids' in said
    assert 'unique.users: column "email" has the collation utf8mb4_general_ci' in said
    assert "tables.users: the trigger fold may change email" in said
    assert "tables.deposits: its foreign key (post_id) to posts would cross shards" in said
    assert "foreign key (user_id)" not in said
    assert len(said.splitlines()) == 4 and bare_mariadb.look("shard_0", OWN) == []


def test_a_storage_engine_without_transactions_is_refused(bare_mariadb: Site) -> None:
    bare_mariadb.look("shard_2", "CREATE TABLE posts (id BIGINT PRIMARY KEY) ENGINE = MyISAM")
    with pytest.raises(ConfigError, match=r"pinned\.shard_2: posts: its storage engine is MyISAM") as caught:
        bare_mariadb.initialise()
    bare_mariadb.look("shard_2", str(caught.value).partition("; run ")[2])
    bare_mariadb.initialise()


def test_nodes_of_one_galera_cluster_are_not_shards(bare_mariadb: Site) -> None:
    steps = adopt(bare_mariadb.topology())
    effect = next(steps)
    while isinstance(effect, Send) and "wsrep" not in effect.sql:
        effect = steps.send(Reply())
    told = Reply(rows=[("wsrep_cluster_state_uuid", "6d2e")])
    steps.send(told)
    steps.send(told)
    with pytest.raises(ConfigError, match="shard_0, shard_1, shard_2 are nodes of one Galera cluster"):
        steps.send(told)


def test_schemas_that_differ_are_named_with_all_that_does(bare_mariadb: Site) -> None:
    bare_mariadb.initialise()
    for shard in bare_mariadb.shards:
        for statement in MARIADB_SCHEMA:
            bare_mariadb.look(shard, statement)
    found = inspect(bare_mariadb.topology())
    assert (found.mistakes, found.notes, found.reachable) == ([], [], True)
    bare_mariadb.look("shard_1", "ALTER TABLE users ADD COLUMN phone VARCHAR(9), MODIFY name VARCHAR(50) DEFAULT 'x'")
    bare_mariadb.look("shard_2", "ALTER TABLE users ADD KEY (name), MODIFY name VARCHAR(100) COLLATE utf8mb4_bin")
    bare_mariadb.look("shard_2", "ALTER TABLE deposits DROP PRIMARY KEY, MODIFY amount BIGINT NOT NULL FIRST")
    bare_mariadb.look("shard_2", "ALTER TABLE currencies ENGINE = MyISAM")
    lines = inspect(bare_mariadb.topology()).mistakes
    told = [line.removeprefix("tenfold.toml: database: ").partition("; make the schema")[0] for line in lines]
    for expected in (
        "users differs between shard_0 and shard_1: phone is only on shard_1",
        "users differs between shard_0 and shard_1: the type of name (varchar(100) and varchar(50))",
        "users differs between shard_0 and shard_1: the default of name (none and 'x')",
        "users differs between shard_0 and shard_2: the collation of name (utf8mb4_general_ci and utf8mb4_bin)",
        "users differs between shard_0 and shard_2: the index (name) is only on shard_2",
        "deposits differs between shard_0 and shard_2: the order of its columns "
        "(id, user_id, amount and amount, id, user_id)",
        "deposits differs between shard_0 and shard_2: the primary key (id and )",
        "currencies differs between shard_0 and shard_2: its storage engine (InnoDB and MyISAM)",
    ):
        assert expected in told, told
    assert len(told) == 9  # and that currencies is no InnoDB


def test_the_sharded_platform_answers_for_an_adopted_one(bare_mariadb: Site) -> None:
    lived_in(bare_mariadb).initialise()
    with tenfold.connect(bare_mariadb.file) as db:
        assert db.execute("SELECT name FROM users WHERE id = 7").scalar() == "name"
        assert db.execute("SELECT id FROM users WHERE email = 'u7@example.org'").scalar() == 7
        with pytest.raises(ConstraintError, match=r"users\.email: the value is taken"):
            db.execute("INSERT INTO users (email) VALUES ('u7@example.org')")
