"""Which columns each table of the page has; the server and page/tables.js both read them from here. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.dashboard.wording import KINDS, said


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `key` of the row's figure, its kind (wording.KINDS, "text" or "state"), and what a hover explains.

    sub      a second, smaller line: template of the row's fields, such as "{address} · weight {weight}"
    share    draw the figure as a bar too, as its share of the largest in the table
    """

    key: str
    label: str
    kind: str = "text"
    title: str = ""
    sub: str = ""
    share: bool = False

    @property
    def numeric(self) -> bool:
        return self.kind in KINDS


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is the list in the view; `identity` the fields that tell its rows apart; `empty` is said without rows."""

    name: str
    title: str
    identity: tuple[str, ...]
    columns: tuple[Column, ...]
    empty: str
    sort: str = ""
    shown: int = 1000


def _percentiles() -> tuple[Column, ...]:
    return (
        Column("p50_s", "P50", "seconds", "Half of the requests took at most this long"),
        Column("p95_s", "P95", "seconds", "19 of 20 requests took at most this long"),
        Column("p99_s", "P99", "seconds", "99 of 100 requests took at most this long"),
    )


RATE = Column("rate", "Req/s", "rate", "Requests a second, over the last minute")
ERRORS = Column("error_rate", "Errors", "ratio", "Share of the requests that failed, over the last minute")
STATE = Column("word", "State", "state", sub="{note}")
REACHED = Column("latency_s", "Answers in", "seconds", "How long the last health check took")

TABLES = (
    Table(
        "backends",
        "Backends",
        ("name",),
        (
            Column("name", "Backend", sub="{address} · weight {weight}"),
            STATE,
            RATE,
            ERRORS,
            *_percentiles(),
            Column("sessions", "Sessions", "count", "Clients that would lose their place if it stopped now"),
            Column("cpu", "CPU", "ratio", "100 % is one whole core"),
            Column("memory_bytes", "Memory", "bytes"),
        ),
        "No backend is known yet.",
    ),
    Table(
        "routes",
        "Routes",
        ("method", "route"),
        (
            Column("route", "Route", sub="{method}"),
            RATE,
            ERRORS,
            *_percentiles(),
            Column("count", "Requests", "count", "In the last minute"),
            Column("total_s", "Time spent", "seconds", "Seconds of all its requests in the last minute", share=True),
        ),
        "No route has been timed in the last minute: either nobody asked, or the app does not use tenfold.middleware.",
        sort="total_s",
        shown=12,
    ),
    Table(
        "shards",
        "Shards",
        ("name",),
        (
            Column("name", "Shard"),
            STATE,
            REACHED,
            Column("size_bytes", "Size", "bytes"),
            Column("rate", "Stmt/s", "rate", "Statements a second, over the last minute"),
            Column("error_rate", "Errors", "ratio", "Share of the statements that failed, over the last minute"),
            Column("p95_s", "P95", "seconds", "19 of 20 statements took at most this long"),
        ),
        "No shard is known yet.",
    ),
    Table(
        "services", "Services", ("name",), (Column("name", "Service"), STATE, REACHED), "No other service is declared."
    ),
    Table(
        "collectors",
        "Collectors",
        ("name",),
        (
            Column("name", "Collector", sub="{error}"),
            Column("age_s", "Last answer", "duration", "How long ago it last answered"),
            Column("cost_ms", "Cost", "milliseconds", "Time that one answer took"),
        ),
        "No collector has run yet.",
    ),
)
BY_NAME = {table.name: table for table in TABLES}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell shows: text, the smaller line below, tone of a state, bar 0..100."""

    column: Column
    text: str
    sub: str = ""
    tone: str = ""
    bar: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `key` tells it apart for as long as the page lives."""

    key: str
    tone: str
    cells: tuple[Cell, ...]


def rows(table: Table, facts: Sequence[Mapping[str, Any]], sort: str = "", descending: bool = True) -> list[Row]:
    """The rows in the file's order, or by `sort`; what is not known comes last either way."""
    by = sort or table.sort
    ordered = list(facts)
    if by:
        known = [fact for fact in ordered if fact[by] is not None]
        known.sort(key=lambda fact: fact[by], reverse=descending)
        ordered = known + [fact for fact in ordered if fact[by] is None]
    largest = {
        column.key: max((fact[column.key] or 0 for fact in facts), default=0)
        for column in table.columns
        if column.share
    }
    return [
        Row(
            key=" ".join(str(fact[field]) for field in table.identity),
            tone=str(fact.get("tone", "")),
            cells=tuple(_cell(column, fact, largest.get(column.key, 0)) for column in table.columns),
        )
        for fact in ordered
    ]


def _cell(column: Column, fact: Mapping[str, Any], largest: float) -> Cell:
    value = fact[column.key]
    told = {name: "" if known is None else known for name, known in fact.items()}
    return Cell(
        column=column,
        text=said(column.kind, value),
        sub=column.sub.format_map(told),
        tone=str(fact.get("tone", "")) if column.kind == "state" else "",
        bar=math.floor((value or 0) / largest * 1000 + 0.5) / 10 if column.share and largest > 0 else None,
    )
