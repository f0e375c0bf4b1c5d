"""The shell: statements one after the other over one handle, and what it obeys by itself. Edge."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tenfold.cli.background import Background
from tenfold.cli.options import Invocation
from tenfold.cli.sqltext import Turn, changes, is_blank, is_open, reads, split, turn
from tenfold.errors import StatementError, TenfoldError

if TYPE_CHECKING:
    from tenfold.cli.rows import Printer
    from tenfold.sharding.engine.async_database import AsyncDatabase, AsyncTransaction
    from tenfold.sharding.layout import Layout
    from tenfold.sharding.ports import Steps
    from tenfold.topology.model import Topology

T = TypeVar("T")
AT_ONCE = 500
"""Rows that are printed together; the widths of a table's columns are those of the first so many."""
HELP = r"""
A statement ends with a semicolon; BEGIN; … COMMIT; is a transaction on one shard. Ctrl-C stops a statement.
  \d [TABLE]      the tables, or the columns of one
  \explain SQL    how a statement would be carried out
  \x              rows as lists of their columns: always, never, where they do not fit
  \timing         say how long a statement took, or do not
  \q              leave (or Ctrl-D)
""".strip()


class Shell:
    """Statements one after the other over one handle, with at most one transaction open."""

    def __init__(self, run: Invocation, tsv: bool) -> None:
        self.run, self.timing = run, True
        self.wide: bool | None = None
        self.topology: Topology = run.topology()
        self._tsv = tsv
        self._loop = Background()
        self._open: tuple[AbstractAsyncContextManager[AsyncTransaction], AsyncTransaction] | None = None

    def __enter__(self) -> Shell:
        from tenfold.sharding.engine.async_database import connect_async

        with ExitStack() as leaving:
            leaving.enter_context(self._loop)
            connecting = connect_async(self.topology.file, environment=self.topology.environment)
            self._db: AsyncDatabase = self._wait(connecting)
            leaving.callback(lambda: self._wait(self._db.close()))
            leaving.callback(self.drop)
            self._leaving = leaving.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    @property
    def layout(self) -> Layout:
        """Which table lives where."""
        return self._db.guard.layout

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said and its end not yet."""
        return self._open is not None

    def obey_all(self, lines: Iterable[str], *, each_ends: bool) -> None:
        """Run everything in a text that comes in lines; the first error ends it. Raises what the statement raises.

        each_ends  whether a line that is no whole statement ends there all the same
        """
        engine, rest = self.topology.database.engine, ""
        for line in lines:
            if not rest and line.startswith("\\"):
                self.command(line)
                continue
            statements, rest = split(rest + line, engine) if ";" in line or each_ends else ([], rest + line)
            for statement in statements:
                self.obey(statement)
            if each_ends:
                self._finish(rest)
                rest = ""
        self._finish(rest)
        if self.in_transaction:
            self.drop()
            raise StatementError(
                "the text ends inside a transaction, which was rolled back", hint="end it with COMMIT;"
            )

    def _finish(self, rest: str) -> None:
        """Run what no semicolon ended."""
        engine = self.topology.database.engine
        if is_open(rest, engine):
            raise StatementError("the text ends inside a quote or a comment", hint="close it")
        if not is_blank(rest, engine):
            self.obey(rest.strip())

    def obey(self, statement: str) -> None:
        """Run one statement and print its answer. Raises TenfoldError; KeyboardInterrupt once it is stopped."""
        what = turn(statement)
        try:
            if what is not None:
                self._wait(self._turn(what))
            else:
                self._wait(self._answer(statement))
        except KeyboardInterrupt:
            if self._open is not None:  # its connection was given up with the statement
                self.drop()
                self.run.say("the transaction was rolled back")
            raise

    def command(self, line: str) -> bool:
        r"""Obey a line that begins with a backslash; → False for \q. Raises StatementError for an unknown one."""
        from tenfold.cli.explain import explaining, sentences

        word, _, rest = line.strip().partition(" ")
        rest = rest.strip().rstrip(";")
        if word == "\\q":
            return False
        if word in ("\\?", "\\h", "\\help"):
            click.echo(HELP)
        elif word == "\\x":
            self.wide = {None: True, True: False, False: None}[self.wide]
            self.run.say(
                {None: "lists where rows do not fit", True: "always lists", False: "always a table"}[self.wide]
            )
        elif word == "\\timing":
            self.timing = not self.timing
            self.run.say(f"timing is {'on' if self.timing else 'off'}")
        elif word == "\\d":
            self._describe(rest)
        elif word == "\\explain" and rest:
            found = self._asked(explaining(self._db.guard.executor, self.topology.database.pull_rows, rest))
            for sentence in sentences(found):
                click.echo(sentence)
        else:
            raise StatementError(f"there is no command {word}", hint="\\? lists them")
        return True

    def drop(self) -> None:
        """Give an open transaction up, with its connection: a statement may still run there."""
        if self._open is not None:
            self._wait(self._leave(asyncio.CancelledError()))

    def _describe(self, table: str) -> None:
        from tenfold.cli.describe import columns, tables

        names, rows = self._asked(columns(self.layout, table)) if table else tables(self.layout)
        printer = self._printer()
        printer.head(names)
        printer.rows(rows)

    def _asked(self, steps: Steps[T]) -> T:
        return self._wait(self._db.runner.run(steps))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    async def _turn(self, what: Turn) -> None:
        if what is Turn.BEGIN:
            if self._open is not None:
                raise StatementError("a transaction is open already", hint="COMMIT; or ROLLBACK; first")
            block = self._db.transaction()
            self._open = block, await block.__aenter__()
        elif self._open is None:
            raise StatementError("no transaction is open", hint="BEGIN; opens one")
        else:
            await self._leave(None if what is Turn.COMMIT else _Undone())

    async def _leave(self, error: BaseException | None) -> None:
        """Leave the block of the open transaction by `error`: none commits it, a cancellation gives it up with its
        connection, any other rolls it back."""
        held, self._open = self._open, None
        if held is not None:
            await held[0].__aexit__(type(error) if error else None, error, None)

    async def _answer(self, statement: str) -> None:
        started_s = asyncio.get_running_loop().time()
        printer = self._printer()
        if self._open is None and reads(statement):
            said = await self._streamed(statement, printer)
        else:
            result = await (self._open[1] if self._open else self._db).execute(statement)
            if result.columns:
                printer.head(result.columns)
                printer.rows(result.rows)
                said = _counted(len(result.rows), "row")
            else:
                printer.done(result.rowcount, result.lastrowid)
                said = _counted(result.rowcount, "row") + " changed" if changes(statement) else "done"
                said += f", id {result.lastrowid}" if result.lastrowid else ""
        took = f" in {_duration(asyncio.get_running_loop().time() - started_s)}" if self.timing else ""
        if not self._tsv:
            self.run.say(f"({said}{took})")

    async def _streamed(self, statement: str, printer: Printer) -> str:
        count = 0
        batch: list[Sequence[Any]] = []
        async with self._db.stream(statement) as rows:
            printer.head(rows.columns)
            async for row in rows:
                batch.append(row)
                if len(batch) == AT_ONCE:
                    printer.rows(batch)
                    count, batch = count + AT_ONCE, []
            if batch or not count:
                printer.rows(batch)
        return _counted(count + len(batch), "row")

    def _printer(self) -> Printer:
        from tenfold.cli.rows import JsonLines, Table, Tabs

        if self.run.json:
            return JsonLines(click.echo)
        if self._tsv:
            return Tabs(click.echo)
        on_screen = sys.stdout.isatty()
        wide = self.wide if on_screen or self.wide else False
        width = shutil.get_terminal_size().columns if on_screen else 0
        return Table(click.echo, width, wide, _dim if on_screen and "NO_COLOR" not in os.environ else _as_it_is)


class _Undone(Exception):
    """Leaves the block of a transaction so that it is rolled back."""


def _dim(text: str) -> str:
    return click.style(text, dim=True)


def _as_it_is(text: str) -> str:
    return text


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def tell(error: TenfoldError) -> None:
    """An error in a conversation: what happened, and what to do."""
    click.echo("error: " + str(error).replace("\n", "\n       "), err=True)
    if error.hint:
        click.echo(f"Try: {error.hint}", err=True)
