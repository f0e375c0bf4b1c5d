"""tenfold shard explain: what would be done, where, and why not. Edge."""

from __future__ import annotations

import json

from tests.cli.conftest import Command
from tests.sharding.engine.sites import Site


def test_a_key_is_shown_with_its_bucket_and_shard(ledger: Site, tenfold: Command) -> None:
    statement = "SELECT name FROM users WHERE id = ?"
    code, out, err = tenfold(ledger, "shard", "explain", statement, "-p", "42")
    assert (code, err) == (0, "")
    home = ledger.owner(42)
    assert out == f"ByKey ?1\n  Send {statement}\n\ngoes to {home}\n  ?1 = 42: bucket 2589, {home}\n"
    assert tenfold(ledger, "shard", "explain", statement)[1].endswith("\n\ngoes to the shard of ?1\n")


def test_a_statement_for_all_shards_shows_every_part_and_its_bound(ledger: Site, tenfold: Command) -> None:
    _, out, _ = tenfold(ledger, "shard", "explain", "SELECT name FROM users ORDER BY name LIMIT 2")
    assert out.startswith("Limit 2\n  MergeSorted name\n    SendAll SELECT name")
    assert out.endswith("goes to all shards: shard_0, shard_1, shard_2\n")
    _, out, _ = tenfold(ledger, "shard", "explain", "SELECT p.title FROM posts p JOIN users u ON u.name = p.title")
    assert out.startswith("Staged\n  Fill ") and "\n  Finish SELECT p.title" in out
    assert "brings together at most 100,000 rows (database.pull_rows)" in out


def test_a_refusal_is_told_with_its_rewrite(ledger: Site, tenfold: Command) -> None:
    code, out, err = tenfold(ledger, "shard", "explain", "UPDATE users SET id = 2 WHERE id = 1")
    assert code == 1 and out == "" and err.startswith("error: ") and "\nTry: " in err
    code, out, _ = tenfold(ledger, "shard", "explain", "SELECT * FROM nosuch", "--json")
    assert code == 1 and json.loads(out)["hint"]


def test_values_are_typed_as_they_are_written(ledger: Site, tenfold: Command) -> None:
    def keys(*values: str) -> list[str]:
        given = [part for value in values for part in ("-p", value)]
        statement = f"SELECT 1 FROM users WHERE id IN ({', '.join('?' * len(values))})"
        told = json.loads(tenfold(ledger, "shard", "explain", statement, "--json", *given)[1])
        return [key["key"] for key in told["keys"]]

    assert keys("42", "-7", "null", "'8'", "9.0") == ["?1 = 42", "?2 = -7", "?3 = NULL", "?4 = '8'", "?5 = 9.0"]
    named = "SELECT 1 FROM users WHERE email = :mail"
    _, out, _ = tenfold(ledger, "shard", "explain", named, "-p", "mail=ann@example.org", "--json")
    told = json.loads(out)
    assert told["keys"][0]["key"] == "whoever holds users.email: :mail = 'ann@example.org'"
    assert told["shards"] == [ledger.owner(1)] and told["certain"]


def test_values_that_do_not_fit_the_statement_are_refused(ledger: Site, tenfold: Command) -> None:
    code, _, err = tenfold(ledger, "shard", "explain", "SELECT 1 FROM users WHERE id = ?", "-p", "1", "-p", "2")
    assert code == 1 and "takes 1 values, 2 were given" in err
    code, _, err = tenfold(ledger, "shard", "explain", "SELECT 1 FROM users WHERE id = :a", "-p", "b=1")
    assert code == 1 and "Try: write --param a=…" in err


def test_nothing_of_the_statement_is_run(own_ledger: Site, tenfold: Command) -> None:
    for statement in ("DELETE FROM posts", "INSERT INTO users (email) VALUES ('x@y')", "DROP TABLE posts"):
        assert tenfold(own_ledger, "shard", "explain", statement)[0] == 0
    assert own_ledger.look("shard_2", "SELECT count(*) FROM posts") == [(2,)]


def test_without_a_catalog_the_way_out_is_told(own_ledger: Site, tenfold: Command) -> None:
    own_ledger.path("shard_0").unlink()
    code, _, err = tenfold(own_ledger, "shard", "explain", "SELECT 1 FROM users WHERE id = 1")
    assert code == 75 and "shard_0" in err and "Try: " in err


def test_mariadb_is_explained_in_its_own_words(mariadb_ledger: Site, tenfold: Command) -> None:
    _, out, _ = tenfold(mariadb_ledger, "shard", "explain", "SELECT `name` FROM users ORDER BY `name` DESC LIMIT 2")
    assert out.startswith("Limit 2\n  MergeSorted name DESC\n    SendAll SELECT `name`, WEIGHT_STRING(`name`)")
