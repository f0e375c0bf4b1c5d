"""A conversation with the shell: prompt, history, completion. Edge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from tenfold.cli.shell import Shell, tell
from tenfold.cli.sqltext import is_blank, is_secret, split
from tenfold.errors import TenfoldError

LONGEST_HISTORY = 2000
COMMANDS = ("\\d", "\\explain", "\\x", "\\timing", "\\q", "\\?")


def converse(shell: Shell) -> None:
    r"""Read and obey until \q or the end of the input. An error ends a statement, never the conversation."""
    topology = shell.topology
    name = topology.platform.name + (f":{topology.environment}" if topology.environment else "")
    engine = topology.database.engine
    shell.run.say(f"{name}: {len(topology.database.shards)} shards, {engine.value}. \\? for help, \\q to leave")
    with _history([*COMMANDS, *(placed.table for placed in shell.layout.tables.values())]):
        typed: str | None = ""
        while typed is not None:
            try:
                typed = _turn(shell, name, typed)
            except KeyboardInterrupt:  # what was typed is thrown away
                click.echo()
                typed = ""
    if shell.in_transaction:
        shell.drop()
        shell.run.say("the open transaction was rolled back")


def _turn(shell: Shell, name: str, typed: str) -> str | None:
    """Read a line and run what it completes; → what is not complete yet, None at the end."""
    engine = shell.topology.database.engine
    try:
        line = input(_prompt(name, shell, typed)) + "\n"
    except EOFError:
        click.echo()
        return None
    if not typed and line.startswith("\\"):
        return "" if _obeyed(shell, line) else None
    statements, rest = split(typed + line, engine)
    for statement in statements:
        if not _ran(shell, statement):
            break
    return "" if is_blank(rest, engine) else rest


def _prompt(name: str, shell: Shell, rest: str) -> str:
    if rest:
        return "." * len(name) + "> "
    return f"{name}{'*' if shell.in_transaction else ''}> "


def _obeyed(shell: Shell, line: str) -> bool:
    """Whether to go on."""
    try:
        return shell.command(line)
    except TenfoldError as error:
        tell(error)
        return True


def _ran(shell: Shell, statement: str) -> bool:
    """Whether what stands on the same line is run too."""
    try:
        shell.obey(statement)
    except TenfoldError as error:
        tell(error)
        return False
    except KeyboardInterrupt:
        click.echo("stopped")
        return False
    return True


def history_file() -> Path:
    """Where the history of this account is."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "tenfold" / "sql_history"


@contextmanager
def _history(words: list[str]) -> Iterator[None]:
    """Line editing with the history of earlier conversations, and completion of `words`. For this account alone."""
    try:
        import readline
    except ImportError:  # a Python built without it
        yield
        return
    file = history_file()
    with suppress(OSError):
        readline.read_history_file(file)
    readline.set_completer_delims(" \t\n,()=;")
    readline.set_completer(lambda text, state: ([w for w in words if w.startswith(text)] + [None])[state])
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        for position in range(readline.get_current_history_length(), 0, -1):
            if is_secret(readline.get_history_item(position) or ""):
                readline.remove_history_item(position - 1)
        readline.set_history_length(LONGEST_HISTORY)
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)  # libedit, in place of readline, would let others read it
            readline.write_history_file(file)
