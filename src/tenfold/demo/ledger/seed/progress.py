"""How far the first run is: a bar on a terminal, single lines elsewhere. Edge."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
"""To be told how many more are done."""


@contextmanager
def progress(what: str, total: int, done: int) -> Iterator[Advance]:
    """Show `done` of `total` on stderr, and what is added."""
    if not sys.stderr.isatty():
        print(f"ledger: {what}: {done:,} of {total:,} …", file=sys.stderr, flush=True)  # noqa: T201
        yield lambda _: None
        print(f"ledger: {what}: {total:,} of {total:,}", file=sys.stderr, flush=True)  # noqa: T201
        return
    columns = TextColumn("ledger: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total, completed=done)
        yield lambda more: shown.advance(task, more)
