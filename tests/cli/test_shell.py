"""tenfold shard sql: SQL typed, piped and passed, over real shards. Edge."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import Command
from tests.cli.conversation import Conversation
from tests.sharding.engine.sites import Site
from tests.support import wait_for

FOREVER = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c;"


def piped(site: Site, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD")}
    return subprocess.run(
        [sys.executable, "-m", "tenfold.cli.main", "shard", "sql", "-f", str(site.file), *arguments],
        input=text, capture_output=True, text=True, timeout=30, env=environment,
    )  # fmt: skip


@contextmanager
def conversation(site: Site, state: Path) -> Iterator[Conversation]:
    talk = Conversation(site.file, state)
    try:
        yield talk
    finally:
        talk.close()


def without_times(text: str) -> str:
    return "\n".join(line.partition(" in ")[0] if line.startswith("(") else line for line in text.splitlines())


def test_a_statement_passed_is_answered_as_a_table(ledger: Site, tenfold: Command) -> None:
    code, out, err = tenfold(ledger, "shard", "sql", "-e", "SELECT id, name FROM users ORDER BY id DESC")
    assert (code, err) == (0, "")
    assert without_times(out) == " id | name\n----+------\n  7 | Cy\n  2 | NULL\n  1 | Ann\n(3 rows"


def test_programs_get_a_line_of_json_or_of_tabs_for_each_row(ledger: Site, tenfold: Command) -> None:
    text = "SELECT id, name FROM users WHERE id < 3 ORDER BY id; SELECT 9007199254740993 AS n"
    assert tenfold(ledger, "shard", "sql", "--json", "-e", text)[1].splitlines() == [
        '{"id": 1, "name": "Ann"}', '{"id": 2, "name": null}', '{"n": "9007199254740993"}'
    ]  # fmt: skip
    assert tenfold(ledger, "shard", "sql", "--tsv", "-e", text)[1] == "id\tname\n1\tAnn\n2\t\\N\nn\n9007199254740993\n"
    code, out, _ = tenfold(ledger, "shard", "sql", "--tsv", "--json", "-e", text)
    assert code == 2 and "two forms" in out


def test_the_first_error_ends_a_run_with_its_hint(ledger: Site, tenfold: Command) -> None:
    code, out, err = tenfold(ledger, "shard", "sql", "-e", "SELECT 1 AS a; SELECT nosuch FROM users; SELECT 2 AS b")
    assert code == 1 and " a\n" in out and " b\n" not in out
    assert "nosuch" in err and "\nTry: " in err
    code, out, _ = tenfold(ledger, "shard", "sql", "--json", "-e", "SELECT * FROM nosuch")
    assert code == 1 and json.loads(out)["hint"]


def test_what_is_left_open_is_an_error(ledger: Site, tenfold: Command) -> None:
    assert "ends inside a quote" in tenfold(ledger, "shard", "sql", "-e", "SELECT 'a")[2]
    for text, said in (("COMMIT", "no transaction is open"), ("BEGIN; BEGIN", "open already")):
        code, _, err = tenfold(ledger, "shard", "sql", "-e", text)
        assert code == 1 and said in err


def test_a_piped_transaction_is_committed_rolled_back_or_not_ended(own_ledger: Site) -> None:
    done = piped(own_ledger, "BEGIN;\nINSERT INTO posts (title) VALUES ('three');\nCOMMIT;\n-- the end; \n")
    assert (done.returncode, done.stderr) == (0, "")
    done = piped(
        own_ledger, "BEGIN; DELETE FROM posts;\nROLLBACK; SELECT count(*) AS n FROM posts;\nBEGIN; DELETE FROM posts;"
    )
    assert done.returncode == 1 and "rolled back" in done.stderr and "\n 3\n" in done.stdout
    assert own_ledger.look("shard_2", "SELECT count(*) FROM posts") == [(3,)]


def test_commands_work_in_a_script(ledger: Site, tenfold: Command) -> None:
    texts = ["\\d", "\\d users", "\\explain SELECT * FROM users WHERE id = 7", "SELECT count(*) AS n FROM posts"]
    code, out, err = tenfold(ledger, "shard", "sql", "-q", *(part for text in texts for part in ("-e", text)))
    assert (code, err) == (0, "")
    assert " deposits   | group user, by user_id | all shards\n" in out
    assert " posts      | pinned                 | shard_2\n" in out
    assert " id     | INTEGER | yes  |    NULL | primary key, shard key\n" in out
    assert " email  | TEXT    | yes  |    NULL | unique over all shards\n" in out
    assert "ByKey 7\n  Send SELECT * FROM users WHERE id = 7\n" in out
    assert out.endswith(" n\n---\n 2\n")
    for text, said in (("\\nosuch", "there is no command"), ("\\d nosuch", "no one declared")):
        code, _, err = tenfold(ledger, "shard", "sql", "-e", text)
        assert code == 1 and said in err


def test_many_rows_are_printed_as_they_come(own_ledger: Site, tenfold: Command) -> None:
    with own_ledger.connect() as db:
        db.executemany("INSERT INTO posts (title) VALUES (?)", [(f"post {n}",) for n in range(1200)])
    _, out, _ = tenfold(own_ledger, "shard", "sql", "-e", "SELECT id, title FROM posts ORDER BY id")
    assert out.count("\n") == 1202 + 3 and out.count("title") == 1 and "(1,202 rows in " in out


def test_a_conversation_over_several_lines_survives_errors_and_remembers(ledger: Site, tmp_path: Path) -> None:
    with conversation(ledger, tmp_path) as talk:
        assert "tiny: 3 shards, sqlite" in talk.says("> $")
        talk.type("SELECT name", r"\.{4}> $")
        assert "(1 row" in talk.type("FROM users WHERE id = 1;")
        assert "error: no one declared" in talk.type("SELECT * FROM nosuch; SELECT 2;")
        assert "-[ row 1 ]" in talk.type("SELECT id, '" + "x" * 120 + "' AS wide FROM users WHERE id = 1;")
        assert "\\explain SQL" in talk.type("\\?")
        assert "timing is off" in talk.type("\\timing") and "(1 row)" in talk.type("SELECT 1;")
        talk.press("SELECT 'half")
        talk.says("half$")  # Ctrl-C throws away what the terminal has not handed over yet
        talk.interrupted(r"\n.*> $")
        assert "no transaction" in talk.type("ROLLBACK;")
        talk.type("SELECT 1 AS identified;")
        talk.press("\x04")
        assert talk.ends() == 0
    history = tmp_path / "tenfold" / "sql_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "FROM users WHERE id = 1;" in history.read_text() and "identified" not in history.read_text()


def test_ctrl_c_stops_the_statement_and_its_transaction_not_the_shell(own_ledger: Site, tmp_path: Path) -> None:
    with conversation(own_ledger, tmp_path) as talk:
        talk.says("> $")
        talk.press(FOREVER + "\n")
        talk.works()
        talk.interrupted("stopped\n.*> $")
        talk.type("BEGIN;", r"tiny\*> $")
        assert "1 row changed" in talk.type("DELETE FROM posts WHERE title = 'one';")
        talk.press("SELECT (" + FOREVER.rstrip(";") + ") FROM posts;\n")
        talk.works()
        assert "rolled back" in talk.interrupted(r"stopped\ntiny> $")
        assert " 2\n" in talk.type("SELECT count(*) FROM posts;")
        talk.type("BEGIN;", r"tiny\*> $")
        talk.type("DELETE FROM posts;")
        talk.press("\\q\n")
        talk.says("the open transaction was rolled back")
        assert talk.ends() == 0
    assert own_ledger.look("shard_2", "SELECT count(*) FROM posts") == [(2,)]


def test_ctrl_c_stops_the_statement_on_the_server_too(mariadb_ledger: Site, tmp_path: Path) -> None:
    def running() -> list[object]:
        return mariadb_ledger.look(
            "shard_2", "SELECT info FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        )

    with conversation(mariadb_ledger, tmp_path) as talk:
        talk.says("> $")
        talk.press("SELECT SLEEP(60) FROM posts;\n")
        wait_for(running, "the statement runs")
        talk.interrupted("stopped\n.*> $")
        wait_for(lambda: not running(), "the statement has ended on the server")
        assert "(2 rows" in talk.type("SELECT title FROM posts ORDER BY title;")
        assert "| bigint(20)" in talk.type("\\d users")
        talk.press("\x04")
        assert talk.ends() == 0
