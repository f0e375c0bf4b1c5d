"""`tenfold status`: what runs and how it is. Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Invocation, common

if TYPE_CHECKING:
    from tenfold.runtime.status import Row

COLUMNS = ("NAME", "STATE", "PID", "PORT", "UP FOR", "RESTARTS", "MEMORY", "CPU")


@click.command()
@common
def status(run: Invocation) -> int:
    """Say what runs and how it is. Exit code 0: all is well; 1: something is not, or nothing runs."""
    from tenfold.runtime.place import Place
    from tenfold.runtime.status import look, page_link

    place = Place.of(run.file)
    found = look(place)
    if found is None:
        run.say("not running (to start it: tenfold up)")
        run.result({"running": False, "well": False, "processes": []})
        return 1
    run.say("  ".join(filter(None, [found.platform, found.host, found.url])) + "\n")
    for line in table([COLUMNS, *(cells(row) for row in found.rows)]):
        run.say(line)
    # Only for a person: links are few, and one that nobody opens pushes out one that somebody was given.
    if not (run.json or run.quiet) and (page := page_link(place)):
        run.say(f"\npage  {page}  (opens once)")
    run.result(
        {"running": True, "well": found.is_well, "platform": found.platform, "url": found.url, "host": found.host}
        | {"processes": [row.as_json() for row in found.rows]}
    )
    return 0 if found.is_well else 1


def cells(row: Row) -> tuple[str, ...]:
    """A row as text; what is not known is a dash."""
    from tenfold.runtime.wording import duration, size

    state = f"{row.state}, not well" if row.state == "up" and row.healthy is False else row.state
    return (
        row.name,
        state,
        str(row.pid or "-"),
        str(row.port or "-"),
        "-" if row.up_s is None else duration(row.up_s),
        str(row.restarts),
        "-" if row.memory_bytes is None else size(row.memory_bytes),
        "-" if row.cpu_percent is None else f"{row.cpu_percent:.0f} %",
    )


def table(rows: list[tuple[str, ...]], figures: int = 2) -> list[str]:
    """Lines with the cells below each other: text to the left, figures (from the column `figures` on) to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < figures else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
