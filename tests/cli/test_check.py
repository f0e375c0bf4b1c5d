"""tenfold check, schema and shard init, as their users call them, over real SQLite files. Edge."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.sharding.engine.sites import Site

PLATFORM = """
[platform]
name = "ledger"
[app]
command = "ledger --port {port}"
backends = [{}, {}]
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
shard_1 = { url = "sqlite:///var/shard_1.db" }
[database.groups.user]
key = "user_id"
tables = { users = "id", deposits = "user_id" }
[database.pinned]
shard_1 = ["posts"]
"""
DDL = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE deposits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER NOT NULL);
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    (tmp_path / "tenfold.toml").write_text(PLATFORM)
    return tmp_path


def call(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD")} | environ
    return subprocess.run(
        [sys.executable, "-m", "tenfold.cli.main", *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def create(directory: Path, ddl: str) -> None:
    """Tables as an app's migration leaves them, on both shards."""
    (directory / "var").mkdir(exist_ok=True)
    for shard in (0, 1):
        with sqlite3.connect(directory / "var" / f"shard_{shard}.db") as database:
            database.executescript(ddl + ("CREATE TABLE posts (id INTEGER PRIMARY KEY);" if shard else ""))
        database.close()


def test_a_right_file_is_said_to_be_right_in_a_few_lines(platform: Path) -> None:
    create(platform, DDL)
    done = call(platform, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "tenfold.toml is right: ledger; 2 backends; 2 shards; 2 tables spread, 1 pinned, 0 on every shard\n"
    )


def test_shards_that_are_not_there_yet_are_a_note_and_with_live_a_failure(platform: Path) -> None:
    done = call(platform, "check")
    assert done.returncode == 0
    assert "  columns not checked: " in done.stdout
    live = call(platform, "check", "--live")
    assert live.returncode == 1
    assert "columns not checked: " in live.stderr and "Try: start the shards" in live.stderr
    assert not (platform / "var").exists()
    create(platform, DDL)
    assert call(platform, "check", "--live").returncode == 0


def test_a_group_table_without_its_column_is_a_mistake(platform: Path) -> None:
    create(platform, DDL.replace("user_id", "usr_id"))
    done = call(platform, "check")
    assert done.returncode == 1
    assert "tenfold.toml: database.groups.user.tables.deposits: " in done.stderr
    assert "usr_id" in done.stderr


def test_every_mistake_of_every_environment_is_told_at_once(platform: Path) -> None:
    file = platform / "tenfold.toml"
    file.write_text(PLATFORM.replace('"ledger"', '"My"') + '[environments.production.balancer]\nlisten = "x"\n')
    done = call(platform, "check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: tenfold.toml: platform.name: " in done.stderr
    assert "       tenfold.toml: environments.production.balancer.listen: " in done.stderr
    assert done.stderr.endswith("Try: correct the file; tenfold check reads it again\n")


def test_json_tells_the_same_to_a_program(platform: Path) -> None:
    file = platform / "tenfold.toml"
    file.write_text(PLATFORM + '[balancer]\nsticky = "ip"\n[environments.production]\n')
    done = call(platform, "check", "--json")
    told = answer(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert (told["ok"], told["mistakes"], told["environments"], told["hint"]) == (True, [], ["production"], "")
    assert told["warnings"][0].startswith("tenfold.toml: balancer.sticky: ") and told["notes"]
    file.write_text(PLATFORM.replace("{}, {}", "{ weight = 0 }"))
    done = call(platform, "check", "--json")
    assert done.returncode == 1
    assert answer(done)["ok"] is False and len(answer(done)["mistakes"]) == 1 and answer(done)["hint"]


def test_a_warning_is_no_mistake(platform: Path) -> None:
    (platform / "tenfold.toml").write_text(PLATFORM + '[balancer]\nsticky = "ip"\n')
    done = call(platform, "check", "--quiet")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("warning: tenfold.toml: balancer.sticky: ")


def test_an_environment_is_chosen_by_name(platform: Path) -> None:
    (platform / "tenfold.toml").write_text(PLATFORM + "[environments.production.app]\nbackends = [{}, {}, {}]\n")
    assert "; 3 backends; " in call(platform, "check", "--env", "production").stdout
    assert "; 3 backends; " in call(platform, "check", TENFOLD_ENV="production").stdout
    done = call(platform, "check", "--env", "prodution")
    assert done.returncode == 1 and "write --env production" in done.stderr


def test_a_secret_that_is_there_is_never_told(platform: Path) -> None:
    (platform / "tenfold.toml").write_text(PLATFORM + '[cache]\npassword = "${CACHE_PASSWORD}"\n')
    for arguments in (["check", "--json"], ["check", "--live"]):
        done = call(platform, *arguments, CACHE_PASSWORD="hunter2")
        assert "hunter2" not in done.stdout + done.stderr
    assert "CACHE_PASSWORD is not set" in call(platform, "check").stderr


def test_a_broken_file_is_told_by_line_and_column(platform: Path) -> None:
    (platform / "tenfold.toml").write_text("[platform]\nname = ledger\n")
    done = call(platform, "check", "--json")
    assert answer(done)["error"].startswith("tenfold.toml: line 2, column 8 (name): not a value; ")
    assert done.returncode == 1


def test_the_schema_is_printed_whatever_else_is_asked(tmp_path: Path) -> None:
    plain, as_json, quiet = (call(tmp_path, "schema", *more) for more in ([], ["--json"], ["--quiet"]))
    assert answer(plain) == answer(as_json) == answer(quiet)
    assert answer(plain)["title"] == "tenfold.toml"
    assert len(as_json.stdout.splitlines()) == 1 < len(plain.stdout.splitlines())


def test_shards_are_set_up_once(platform: Path) -> None:
    create(platform, DDL)
    first = call(platform, "shard", "init")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() and first.stdout != "nothing to do\n"
    again = call(platform, "shard", "init", "--json")
    assert again.returncode == 0 and answer(again)["done"] == []
    assert call(platform, "shard", "init").stdout == "nothing to do\n"


def test_live_tells_what_each_server_can_do_those_that_are_alike_once(own_ledger: Site, tenfold: Command) -> None:
    own_ledger.path("shard_1").chmod(0o666)
    code, out, err = tenfold(own_ledger, "check", "--live")
    assert (code, err) == (0, "")
    assert out.startswith("shard_0, shard_2\n  ok     version      SQLite 3.")
    assert (
        "  note   permissions  every account of the machine may write to it\n"
        "                      Try: chmod o-w, on the file\n\ntenfold.toml is right: "
    ) in out
    told = json.loads(tenfold(own_ledger, "check", "--live", "--json")[1])
    assert [one["feature"] for one in told["servers"]["shard_1"]][:3] == ["version", "writable", "journal"]
    assert "servers" not in json.loads(tenfold(own_ledger, "check", "--json")[1])


def test_live_refuses_a_server_that_is_wrong(mariadb_ledger: Site, tenfold: Command) -> None:
    assert tenfold(mariadb_ledger, "check", "--live")[0] == 0
    mariadb_ledger.write(settings="pool_size = 1000")
    code, out, err = tenfold(mariadb_ledger, "check", "--live")
    assert code == 1 and err.endswith("then check again\n")
    assert "tenfold.toml: database.shards.shard_2: connections: 151 allowed, " in err
    assert "  WRONG  connections " in out and "Try: max_connections = 1010 on the server" in out
