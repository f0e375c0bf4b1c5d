"""`tenfold top`: the live figures in the terminal. Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Invocation, common
from tenfold.errors import NodeDown
from tenfold.runtime.wording import visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

EVERY_S = 1.0
MOST_ROUTES = 12
COLOURS = {
    "healthy": "green", "degraded": "yellow", "down": "red", "up": "green", "drain": "yellow", "starting": "yellow"
}  # fmt: skip
Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


@click.command()
@click.option("--once", is_flag=True, help="Show it once and end.")
@common
def top(run: Invocation, once: bool) -> int:
    """Show requests, errors and response times as they are now, by backend and route; Ctrl-C ends.

    With --json the whole view, once, as the page has it.
    """
    from rich.console import Console

    from tenfold.hosts.agent_link import AgentLink
    from tenfold.runtime.place import Place

    link = AgentLink(Place.of(run.file).agent_socket)
    view = link.ask({"do": "view"})["view"]
    if run.json:
        run.result(view)
        return 0
    console = Console(highlight=False, markup=False)
    if once or not console.is_terminal:
        console.print(screen(view))
        return 0
    return _live(console, link, view)


def _live(console: Any, link: Any, view: Row) -> int:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(screen(view), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            try:
                view = link.ask({"do": "view"})["view"]
                live.update(screen(view), refresh=True)
            except NodeDown as error:  # it comes back; what was seen last stays in sight
                live.update(Group(Text(f"{error}; trying again", style="red"), screen(view)), refresh=True)


def screen(view: Row) -> RenderableType:
    """All of a view that fits a terminal."""
    from rich.console import Group
    from rich.text import Text

    status, totals = view["status"], view["totals"] or {}
    environment = f" ({view['environment']})" if view["environment"] else ""
    heading = Text.assemble(
        (f"{view['platform']}{environment}  ", "bold"), (status["sentence"], COLOURS.get(status["state"], ""))
    )
    line = "   ".join(
        [
            f"{number(totals.get('rate'))} requests/s",
            f"errors {share(totals.get('error_rate'))}",
            *(f"P{p} {seconds(totals.get(f'p{p}_s'))}" for p in (50, 95, 99)),
            _host(view["host"] or {}),
        ]
    )
    routes = sorted(view["routes"], key=lambda route: -(route["total_s"] or 0))
    parts: list[RenderableType] = [heading, Text(line), Text("")]
    for title, rows, columns in (
        ("BACKEND", view["backends"], _BACKEND),
        ("ROUTE", routes[:MOST_ROUTES], _ROUTE),
        ("SHARD", view["shards"], _SHARD),
        ("SERVICE", view["services"], _SERVICE),
    ):
        if rows:
            parts += [_table(title, rows, columns), Text("")]
    more = len(routes) - MOST_ROUTES
    if more > 0:
        parts.append(Text(f"and {more} more routes on the page", style="dim"))
    return Group(*parts)


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=44)
    for name, _ in columns[1:]:
        table.add_column(name, justify="left" if name in ("STATE", "") else "right", no_wrap=name != "")
    for row in rows:
        # Text, never markup: a route or a reason may hold whatever a stranger has sent.
        cells = [
            Text(cell(row), style=COLOURS.get(row.get("state", ""), "") if n == "STATE" else "") for n, cell in columns
        ]
        table.add_row(*cells)
    return table


def number(value: float | None) -> str:
    """A count or rate in at most four digits; what is not known is a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def share(value: float | None) -> str:
    """0..1 as per cent."""
    return "-" if value is None else f"{value * 100:.1f} %"


def seconds(value: float | None) -> str:
    """A duration in the unit that fits it."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def size(value: float | None) -> str:
    """Bytes in the unit that fits them."""
    if value is None:
        return "-"
    return f"{value / 2**30:.1f} GB" if value >= 2**30 else f"{value / 2**20:.0f} MB"


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: visible(str(row[key] if row[key] is not None else ""))


def _figure(key: str, form: Callable[[float | None], str]) -> Callable[[Row], str]:
    return lambda row: form(row[key])


def _state(row: Row) -> str:
    wanted = row.get("wanted", "ready")
    return str(row["state"]) if wanted in ("ready", row["state"]) else f"{row['state']}, to {wanted}"


def _host(host: Row) -> str:
    memory = f"{size(host.get('memory_used_bytes'))} of {size(host.get('memory_limit_bytes'))}"
    return f"CPU {share(host.get('cpu'))}   memory {memory}"


_TIMES: list[Column] = [(f"P{p}", _figure(f"p{p}_s", seconds)) for p in (50, 95, 99)]
_COMMON: list[Column] = [("REQ/S", _figure("rate", number)), ("ERRORS", _figure("error_rate", share)), *_TIMES]
_WHY: Column = ("", _text("reason"))
_BACKEND: list[Column] = [
    ("", _text("name")), ("STATE", _state), *_COMMON, ("CLIENTS", _figure("sessions", number)),
    ("CPU", _figure("cpu", share)), ("MEMORY", _figure("memory_bytes", size)), _WHY,
]  # fmt: skip
_ROUTE: list[Column] = [("", lambda row: f"{_text('method')(row)} {_text('route')(row)}"), *_COMMON]
_SHARD: list[Column] = [
    ("", _text("name")), ("STATE", _state), ("ANSWERS IN", _figure("latency_s", seconds)),
    ("SIZE", _figure("size_bytes", size)), ("STMT/S", _figure("rate", number)), ("P95", _figure("p95_s", seconds)),
    _WHY,
]  # fmt: skip
_SERVICE: list[Column] = [
    ("", _text("name")), ("STATE", _state), ("ANSWERS IN", _figure("latency_s", seconds)), _WHY
]  # fmt: skip
