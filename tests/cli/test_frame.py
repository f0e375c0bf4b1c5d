"""The frame of all commands: help, usage, endings and exit codes. Edge."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tenfold.cli.main import COMMANDS
from tests.support import wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]
MAIN = [sys.executable, "-m", "tenfold.cli.main"]

# A command that ends in every way that a command may end in.
ENDINGS = """
import os, click
from tenfold.cli.options import common
from tenfold.errors import ConfigError, NodeDown

@click.command()
@click.option("--how")
@common
def end(run, how):
    match how:
        case "wrong": raise ConfigError("tenfold.toml: a: x\\ntenfold.toml: b: y", hint="mend it")
        case "later": raise NodeDown("shard_1 is away", hint="wait")
        case "crash": raise ValueError("first line\\nsecond line")
        case "code": return 1
        case "tell":
            run.say("for people"); run.warn("mind this"); run.result({"for": "programs", "env": run.environment})
"""
START = """
import sys
from tenfold.cli import main
main.COMMANDS["end"] = main.Entry("endings:end", "End.")
sys.exit(main.main())
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TENFOLD")} | environ
        return subprocess.run(
            [*MAIN, *arguments], cwd=tmp_path, input=stdin, env=environment, capture_output=True, text=True, timeout=30
        )

    return call


@pytest.fixture
def end(tmp_path: Path) -> Run:
    (tmp_path / "endings.py").write_text(ENDINGS)

    def call(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", START, "end", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), **environ},
        )  # fmt: skip

    return call


def test_help_lists_every_command_and_imports_none() -> None:
    probe = (
        "import sys\nfrom tenfold.cli.main import main\ncode = main(['--help'])\n"
        "slow = {'pydantic', 'sqlglot', 'rich', 'starlette', 'redis', 'psutil', 'jinja2', 'sqlite3', 'asyncio'}\n"
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    for name, entry in COMMANDS.items():
        assert f"  {name} " in done.stdout and entry.summary in done.stdout


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    assert run().stdout == run("--help").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_and_explains_itself(name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.help


def test_the_version_is_the_packages(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"tenfold {version('tenfold')}\n"


def test_an_unknown_command_names_the_nearest_one(run: Run) -> None:
    done = run("chekc")
    assert done.returncode == 2
    assert done.stderr == 'error: there is no command "chekc"; did you mean "check"?\nTry: tenfold --help\n'
    assert "did you mean" not in run("frobnicate").stderr


def test_wrong_usage_ends_with_2_and_names_the_help_of_the_command(run: Run) -> None:
    done = run("check", "--frobnicate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Try: tenfold check --help\n")
    assert run("shard", "frobnicate").returncode == 2


def test_mistakes_stand_below_each_other_with_the_way_out(end: Run) -> None:
    done = end("--how", "wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: tenfold.toml: a: x\n       tenfold.toml: b: y\nTry: mend it\n"


def test_what_waiting_helps_against_ends_with_75(end: Run) -> None:
    done = end("--how", "later")
    assert (done.returncode, done.stderr) == (75, "error: shard_1 is away\nTry: wait\n")


def test_with_json_an_error_is_json_on_stdout(end: Run) -> None:
    done = end("--how", "later", "--json")
    assert json.loads(done.stdout) == {"error": "shard_1 is away", "hint": "wait", "retryable": True}
    assert (done.returncode, done.stderr) == (75, "")
    assert json.loads(end("--frob", "--json").stdout)["hint"] == "tenfold end --help"


def test_a_crash_is_one_line_and_a_traceback_only_for_who_asks(end: Run) -> None:
    done = end("--how", "crash")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: ValueError: first line"
    assert "Traceback" not in done.stderr and "second" not in done.stderr
    assert "Traceback" in end("--how", "crash", TENFOLD_DEBUG="1").stderr


def test_a_command_may_end_with_a_code_of_its_own(end: Run) -> None:
    assert end("--how", "code").returncode == 1
    assert end("--how", "nothing").returncode == 0


def test_people_read_lines_and_programs_read_json(end: Run) -> None:
    plain, as_json, quiet = (end("--how", "tell", *more) for more in ([], ["--json"], ["--quiet"]))
    assert (plain.stdout, plain.stderr) == ("for people\n", "warning: mind this\n")
    assert (json.loads(as_json.stdout), as_json.stderr) == ({"for": "programs", "env": None}, "")
    assert (quiet.stdout, quiet.stderr) == ("", "warning: mind this\n")


def test_file_and_environment_come_from_options_or_variables(end: Run, run: Run) -> None:
    variable = {"TENFOLD_ENV": "a"}
    calls: list[tuple[list[str], dict[str, str]]] = [
        ([], variable), (["--env", "b"], variable), (["--env", ""], variable), ([], {"TENFOLD_ENV": ""})
    ]  # fmt: skip
    told = [json.loads(end("--how", "tell", "--json", *more, **env).stdout)["env"] for more, env in calls]
    assert told == ["a", "b", None, None]
    assert "other.toml: there is no such file" in run("check", TENFOLD_FILE="other.toml").stderr
    assert "third.toml: there is no such file" in run("check", "-f", "third.toml", TENFOLD_FILE="other.toml").stderr


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*MAIN, "init"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdin and process.stdout and process.stderr
        os.set_blocking(process.stderr.fileno(), False)
        shown = b""

        def asked() -> bool:
            nonlocal shown
            shown += process.stderr.read() or b"" if process.stderr else b""
            return b"Name of the platform" in shown

        wait_for(asked, "a question")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert b"Traceback" not in shown + (process.stderr.read() or b"")
        assert not (tmp_path / "tenfold.toml").exists()


def test_a_question_that_nobody_answers_ends_with_the_way_out(run: Run) -> None:
    done = run("init", stdin="")
    assert done.returncode == 1
    assert "Try: add --yes to take the defaults" in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen([*MAIN, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 1
